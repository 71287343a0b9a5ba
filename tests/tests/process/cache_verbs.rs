//! Every verb of `eddy cache` and `eddy doctor` on real content, with a daemon and without one.

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, Ended, MIB, Running, hash_of};
use eddy_wire::api::{
    CacheView, DoctorReport, EntityDetail, EntityView, ExportView, ImportView, LimitsOutcome, PinChange, PlanView,
    Removed,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Whether the verbs go to a daemon or do it themselves.
#[derive(Debug, Clone, Copy)]
enum Way {
    Daemon,
    Alone,
}

const WAYS: [Way; 2] = [Way::Daemon, Way::Alone];

/// A node with some content: `/a` of 5 MiB, `/b` of 3 MiB that is private, `/c` of 1 MiB.
struct Stage {
    node: Eddy<'static>,
    origin: HostileOrigin,
    daemon: Option<Running>,
}

impl Stage {
    async fn new(way: Way) -> Self {
        let node = Eddy::here().unwrap();
        std::fs::set_permissions(node.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
        // Whatever disk the test runs on.
        std::fs::write(node.home().join("eddy.toml"), "# mine\n[cache]\nreserve = \"1 MiB\" # little\n").unwrap();
        let origin = HostileOrigin::start().await.unwrap();
        let daemon = matches!(way, Way::Daemon).then(|| node.daemon().unwrap());
        let stage = Self { node, origin, daemon };
        for (path, seed, length, header) in
            [("/a", 1, 5 * MIB, "x-y: z"), ("/b", 2, 3 * MIB, "cache-control: private"), ("/c", 3, MIB, "x-y: z")]
        {
            stage
                .origin
                .publish(path, Resource::new(Version::new(seed, length), Behaviour::default().with_header(header)));
            stage.get(path);
        }
        stage
    }

    fn get(&self, path: &str) {
        let to =
            self.node.home().join(format!("copy{}-{}", path.replace('/', "-"), self.origin.counters().body_bytes()));
        self.node.get(&self.origin.url(path), &to).unwrap();
        std::fs::remove_file(to).unwrap();
    }

    fn ls(&self, more: &[&str]) -> Vec<String> {
        let list: Vec<EntityView> = self.node.ask(&[&["cache", "ls"], more].concat()).unwrap();
        list.iter().map(|entity| entity.url.rsplit_once('/').unwrap().1.to_owned()).collect()
    }

    fn entity(&self, path: &str) -> EntityDetail {
        let mut found: Vec<EntityDetail> = self.node.ask(&["cache", "show", &self.origin.url(path)]).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let ended: Ended = self.node.ended(arguments).unwrap();
        (ended.status, ended.code().unwrap_or_default().to_owned())
    }

    /// The data files of the cache.
    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.node.home().join("cache/entities")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // Killed with its handle if it does not want to.
            let _ = daemon.stop(std::time::Duration::from_secs(60));
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_listed_by_condition_and_shown_in_full() {
    for way in WAYS {
        let stage = Stage::new(way).await;
        assert_eq!(stage.ls(&["--sort", "size"]), ["a", "b", "c"], "{way:?}");
        assert_eq!(stage.ls(&["--sort", "url", "--limit", "2"]), ["a", "b"]);
        assert_eq!(stage.ls(&["--larger", "2MiB", "--smaller", "4MiB"]), ["b"]);
        assert_eq!(stage.ls(&["--private"]), ["b"]);
        assert_eq!(stage.ls(&["--url", "*/c"]), ["c"]);
        assert_eq!(stage.ls(&["--host", "127.0.0.*", "--sort", "url"]), ["a", "b", "c"]);
        for nothing in [["--unused-for", "1d"].as_slice(), &["--partial"], &["--pinned"], &["--host", "h"]] {
            assert!(stage.ls(nothing).is_empty(), "{nothing:?}");
        }
        let a = stage.entity("/a");
        assert_eq!(a.blake3.as_deref(), Some(blake3::hash(&Version::new(1, 5 * MIB).whole()).to_hex().as_str()));
        assert_eq!((a.from_origin, a.from_peers, a.entity.held), (5 * MIB, 0, 5 * MIB));
        let info: CacheView = stage.node.ask(&["cache", "info"]).unwrap();
        assert_eq!((info.entities, info.findings), (3, Vec::new()));
        assert_eq!(info.limits.reserve.value, "1 MiB");
        assert!(info.limits.reserve.set_by.ends_with("eddy.toml"), "{:?}", info.limits);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_removed_was_shown_before_and_what_is_pinned_stays() {
    for way in WAYS {
        let stage = Stage::new(way).await;
        let [a, b] = ["/a", "/b"].map(|path| stage.entity(path).entity.id);
        // Twice is as good as once.
        for changed in [true, false] {
            let pinned: Vec<PinChange> = stage.node.ask(&["cache", "pin", &a[..8]]).unwrap();
            assert_eq!((pinned[0].pinned, pinned[0].changed), (true, changed), "{way:?}");
        }
        assert_eq!(stage.ls(&["--pinned"]), ["a"]);

        let plan: PlanView = stage.node.ask(&["cache", "clear", "--dry-run"]).unwrap();
        assert_eq!((plan.count, plan.kept.len()), (2, 1));
        assert_eq!(stage.ls(&[]).len(), 3, "a plan removes nothing");
        assert_eq!(stage.refused(&["cache", "clear"]), (Some(2), "not-confirmed".to_owned()));
        assert_eq!(stage.refused(&["cache", "rm", &a]), (Some(12), "entity-pinned".to_owned()));
        assert_eq!(stage.refused(&["cache", "rm", "--larger", "1MiB"]), (Some(2), "not-confirmed".to_owned()));
        assert_eq!(stage.ls(&[]).len(), 3);

        let removed: Removed = stage.node.ask(&["cache", "rm", "--private", "--yes"]).unwrap();
        assert_eq!(removed.removed, std::slice::from_ref(&b));
        assert_eq!(stage.refused(&["cache", "rm", &b]), (Some(11), "entity-not-found".to_owned()));
        let removed: Removed = stage.node.ask(&["cache", "clear", "--yes"]).unwrap();
        assert_eq!((removed.removed.len(), removed.kept.len()), (1, 1));
        assert!(removed.freed >= MIB, "{removed:?}");
        let freed: Vec<PinChange> = stage.node.ask(&["cache", "unpin", &stage.origin.url("/a")]).unwrap();
        assert!(freed[0].changed && !freed[0].pinned);
        let removed: Removed = stage.node.ask(&["cache", "rm", &stage.origin.url("/a")]).unwrap();
        assert_eq!(removed.removed, [a]);
        assert!(stage.ls(&[]).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_somebody_made_up_takes_nothing_from_the_store() {
    let stage = Stage::new(Way::Daemon).await;
    stage.node.ask::<Vec<PinChange>>(&["cache", "pin", &stage.origin.url("/a")]).unwrap();
    let to = stage.node.home().join("wrong");
    let made_up = format!("blake3:{}", "0".repeat(64));
    for path in ["/a", "/c"] {
        let sent = stage.origin.counters().body_bytes();
        let wrong = ["get", &stage.origin.url(path), "--digest", &made_up, "-o", to.to_str().unwrap()];
        assert_eq!(stage.node.ended(&wrong).unwrap().code(), Some("digest-mismatch"), "{path}");
        let entity = stage.entity(path).entity;
        // once more, from the origin alone.
        assert_eq!(stage.origin.counters().body_bytes() - sent, entity.length, "{path}");
        assert_eq!((entity.held, entity.pinned), (entity.length, path == "/a"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_the_digest_gets_the_file_though_what_is_held_is_another() {
    let stage = Stage::new(Way::Daemon).await;
    // Whoever stood in the middle gave other bytes under the true tag.
    let true_one = Version { tag: Version::new(1, 5 * MIB).tag, ..Version::new(9, 5 * MIB) };
    let hash = blake3::hash(&true_one.whole());
    stage.origin.publish("/a", Resource::new(true_one, Behaviour::default().with_header("x-y: z")));
    let to = stage.node.home().join("right");
    let digest = format!("blake3:{}", hash.to_hex());
    let right = ["get", &stage.origin.url("/a"), "--digest", &digest, "-o", to.to_str().unwrap()];
    assert_eq!(stage.node.ended(&right).unwrap().status, Some(0));
    assert_eq!(blake3::hash(&std::fs::read(&to).unwrap()), hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_at_once_and_after_the_next_start_and_comments_stay() {
    for way in WAYS {
        let stage = Stage::new(way).await;
        let config = stage.node.home().join("eddy.toml");
        let before = std::fs::read_to_string(&config).unwrap();
        let set = |more: &[&str]| -> LimitsOutcome { stage.node.ask(&[&["cache", "set"], more].concat()).unwrap() };

        let shown = set(&["quota=6MiB", "--dry-run"]);
        assert!(shown.plan.count > 0 && shown.written_to.is_none(), "{way:?} {shown:?}");
        assert_eq!((stage.ls(&[]).len(), std::fs::read_to_string(&config).unwrap()), (3, before));
        for (wrong, code) in
            [("quota=6MoB", "bad-amount"), ("qouta=6MiB", "unknown-setting"), ("quota", "unknown-setting")]
        {
            assert_eq!(stage.refused(&["cache", "set", wrong]), (Some(2), code.to_owned()));
        }

        let done = set(&["quota=6MiB", "max-age=30d"]);
        assert_eq!((done.plan.count, done.old.quota.set_by.as_str()), (shown.plan.count, "default"));
        assert_eq!(stage.ls(&[]).len() as u64, 3 - shown.plan.count);
        let info: CacheView = stage.node.ask(&["cache", "info"]).unwrap();
        assert!(info.used <= 6 * MIB && info.quota == 6 * MIB, "{info:?}");
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.starts_with("# mine\n[cache]\nreserve = \"1 MiB\" # little\n"), "{text}");
        assert!(text.contains("quota = \"6MiB\"") && text.contains("max-age = \"30d\""), "{text}");

        let back = set(&["quota=default", "max-age=none"]);
        assert_eq!(back.new.quota.set_by, "default");
        assert!(!std::fs::read_to_string(&config).unwrap().contains("quota"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found_on_demand_set_aside_and_fetched_again() {
    for way in WAYS {
        let stage = Stage::new(way).await;
        let clean = stage.node.ended(&["cache", "verify", "--all"]).unwrap();
        assert_eq!(clean.status, Some(0), "{way:?} {clean:?}");
        let file = stage.files().into_iter().find(|path| {
            path.extension().is_some_and(|end| end == "data") && path.metadata().unwrap().len() == 5 * MIB
        });
        flip(&file.unwrap(), 1_000_000);
        let found = stage.node.ended(&["cache", "verify", &stage.origin.url("/a")]).unwrap();
        assert_eq!((found.status, found.code()), (Some(6), Some("content-corrupt")), "{found:?}");
        assert_eq!(stage.entity("/a").entity.held, 5 * MIB - 65_536);
        assert_eq!(stage.ls(&["--partial"]), ["a"]);
        let before = stage.origin.counters().body_bytes();
        stage.get("/a");
        assert!(stage.origin.counters().body_bytes() - before <= MIB, "one block is fetched, not the file");
        assert_eq!(stage.node.ended(&["cache", "verify", "--all"]).unwrap().status, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_carries_content_to_a_member_and_to_nobody_else() {
    for way in WAYS {
        let stage = Stage::new(Way::Alone).await;
        let secret = stage.node.found_group().unwrap();
        let package = stage.node.home().join("package");
        let file = package.to_str().unwrap();
        let made: ExportView = stage.node.ask(&["cache", "export", file, "--all"]).unwrap();
        assert_eq!((made.entities, made.bytes, made.left_out.len()), (2, 6 * MIB, 1), "{way:?} {made:?}");
        assert_eq!(
            stage.refused(&["cache", "export", &format!("{file}2"), "--private"]),
            (Some(8), "nothing-packed".into())
        );

        let far = Eddy::here().unwrap();
        let refused = |file: &Path, more: &[&str]| {
            let ended = far.ended(&[&["cache", "import", file.to_str().unwrap()], more].concat()).unwrap();
            (ended.status, ended.code().unwrap_or_default().to_owned())
        };
        // In no group, and in another one.
        assert_eq!(refused(&package, &[]), (Some(6), "package-untrusted".to_owned()));
        far.found_group().unwrap();
        assert_eq!(refused(&package, &["--dry-run"]), (Some(6), "package-untrusted".to_owned()));
        assert_eq!(far.ended(&["group", "leave"]).unwrap().status, Some(0));
        far.join_group(&secret).unwrap();
        let _daemon = matches!(way, Way::Daemon).then(|| far.daemon().unwrap());

        let looked: ImportView = far.ask(&["cache", "import", file, "--dry-run"]).unwrap();
        assert_eq!((looked.entities.len(), looked.bytes, &looked.signer), (2, 0, &made.signer));
        assert!(far.cached().unwrap().is_empty());
        let bytes = std::fs::read(&package).unwrap();
        let bad = far.home().join("bad");
        for (content, status, code) in [
            (&b"\x7fELF and more"[..], 2, "not-a-package"),
            (&[], 2, "not-a-package"),
            (&bytes[..bytes.len() - 100_000], 6, "package-damaged"),
        ] {
            std::fs::write(&bad, content).unwrap();
            assert_eq!(refused(&bad, &["--dry-run"]), (Some(status), code.to_owned()));
        }
        let taken: ImportView = far.ask(&["cache", "import", file]).unwrap();
        assert_eq!((taken.bytes, taken.left_out.len()), (6 * MIB, 0));

        // The origin is asked which version there is; not one byte of it crosses the line.
        let before = stage.origin.counters().body_bytes();
        let to = far.home().join("a");
        far.get(&stage.origin.url("/a"), &to).unwrap();
        assert_eq!(hash_of(&to).unwrap(), blake3::hash(&Version::new(1, 5 * MIB).whole()));
        assert_eq!(stage.origin.counters().body_bytes(), before);
        assert_eq!(far.ended(&["cache", "verify", "--all"]).unwrap().status, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_examined_while_it_runs_and_while_it_does_not() {
    let mut stage = Stage::new(Way::Daemon).await;
    let running: DoctorReport = stage.node.ask(&["doctor", "--strict"]).unwrap();
    assert_eq!((running.entities, running.hashed, running.findings), (3, 9 * MIB, Vec::new()));
    let pid = stage.daemon.as_ref().unwrap().id();
    assert_eq!(running.running, Some(pid));
    let refused = stage.node.ended(&["doctor", "--fix"]).unwrap();
    assert_eq!((refused.status, refused.code()), (Some(8), Some("store-in-use")));
    assert!(refused.err.contains(&format!("process {pid}")) && refused.err.contains("service stop`"), "{refused:?}");
    assert!(stage.daemon.take().unwrap().stop(std::time::Duration::from_secs(60)).unwrap().success());

    let alone: DoctorReport = stage.node.ask(&["doctor", "--strict"]).unwrap();
    assert_eq!((alone.running, alone.entities, alone.findings), (None, 3, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_index_is_reported_and_made_again_from_the_files_on_demand() {
    let stage = Stage::new(Way::Alone).await;
    std::fs::remove_file(stage.node.home().join("cache/index.redb")).unwrap();
    let looked = stage.node.ended(&["doctor", "--json"]).unwrap();
    assert_eq!((looked.status, looked.code()), (Some(8), None), "{looked:?}");
    let report: DoctorReport = serde_json::from_str(&looked.out).unwrap();
    assert!(report.findings.iter().any(|finding| finding.is_open()), "{report:?}");

    let mended = stage.node.ended(&["doctor", "--fix", "--strict"]).unwrap();
    assert_eq!(mended.status, Some(0), "{mended:?}");
    assert_eq!(stage.ls(&["--sort", "url"]), ["a", "b", "c"]);
    assert_eq!(stage.ls(&["--private"]), ["b"], "what was private stays so");
    assert_eq!(stage.node.ended(&["cache", "verify", "--all"]).unwrap().status, Some(0));
    let before = stage.origin.counters().body_bytes();
    stage.get("/a");
    assert_eq!(stage.origin.counters().body_bytes(), before, "not one byte was lost with the index");
}
