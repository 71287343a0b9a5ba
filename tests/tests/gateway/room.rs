//! What the store has no room for, or loses its room in the middle of, reaches every client of the gateway byte for byte, and what its name
//! promises is held there as well.

use eddy_tests::hostile::{Ask, Behaviour, BodyFault, HostileOrigin, RangeAnswer, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, MIB, Mounts, http_client, mount};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long something may take that another program does.
const PATIENCE: Duration = Duration::from_secs(60);

fn lives() -> Behaviour {
    Behaviour::default().with_header("Cache-Control: max-age=3600")
}

fn by_hash(bytes: &[u8]) -> String {
    format!("/by-hash/SHA256/{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// A gateway whose cache has these limits.
fn gateway<'lab>(eddy: Eddy<'lab>, origin: &HostileOrigin, cache: &str) -> Gateway<'lab> {
    let common = "[peers]\nmdns = false\n[gateway]\nlisten = \"127.0.0.1:0\"";
    let settings = format!("[cache]\n{cache}\n{common}\n{}", mount("/m", &origin.url(""), ""));
    std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
    Gateway::restart(eddy).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_is_held_where_the_store_has_no_room_for_the_file() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(Eddy::here().unwrap(), &origin, "quota = \"4 MiB\"\nreserve = \"1 MiB\"");
    let version = Version::new(3, 5 * MIB);
    let whole = version.whole();
    let (right, wrong) = (by_hash(&whole), by_hash(&whole[1..]));
    for path in [&right, &wrong] {
        origin.publish(path, Resource::new(version.clone(), lives()));
    }
    for _ in 0..3 {
        let got = gateway.get(&format!("/m{right}"), &[]).await.unwrap();
        assert_eq!((got.status, got.whole() == whole), (200, true), "{:?}", got.fields);
        let got = gateway.get(&format!("/m{wrong}"), &[]).await.unwrap();
        assert!(got.status == 502 || got.content.is_none(), "{} {:?}", got.status, got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_the_store_reaches_every_client_whatever_the_origin_does() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(Eddy::here().unwrap(), &origin, "quota = \"4 MiB\"\nreserve = \"1 MiB\"");
    for ranges in [RangeAnswer::Honest, RangeAnswer::Ignored] {
        let version = Version::new(4, 20 * MIB);
        let whole = version.whole();
        for path in ["/large.iso".to_owned(), by_hash(&whole)] {
            // Every other answer breaks off, where ranges can be asked for behind it.
            let script = move |ask: &Ask| {
                let is_cut = ranges == RangeAnswer::Honest && !ask.number.is_multiple_of(2);
                (Behaviour { ranges, body: is_cut.then_some(BodyFault::ResetAfter(5 * MIB + 7)), ..lives() }, None)
            };
            origin.publish(&path, Resource::scripted(version.clone(), script));
            let path = format!("/m{path}");
            let clients = (0..4).map(|_| gateway.get(&path, &[]));
            for got in futures::future::join_all(clients).await {
                let got = got.unwrap();
                assert!(got.status == 200 && got.whole() == whole, "{ranges:?} {path}: {:?}", got.fields);
            }
            let got = gateway.get(&path, &[("range", "bytes=-100000")]).await.unwrap();
            // A part of what is not held is passed on as it comes.
            let (status, from) = if ranges == RangeAnswer::Honest { (206, whole.len() - 100_000) } else { (200, 0) };
            assert!(got.status == status && got.whole() == &whole[from..], "{ranges:?} {path}: {:?}", got.fields);
        }
    }
    assert!(gateway.eddy.cached().unwrap().is_empty(), "none of it is held");
}

/// The file below a folder that has so many bytes, as soon as there is one.
fn file_of(folder: &Path, length: u64) -> PathBuf {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            } else if path.metadata().is_ok_and(|file| file.len() == length) {
                return path;
            }
        }
        assert!(Instant::now() < deadline, "the store makes no file of {length} bytes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_in_mid_stream_costs_no_client_a_byte() {
    const LENGTH: u64 = 20 * MIB;
    if !Mounts::ready() {
        return;
    }
    let mounts = Mounts::new().unwrap();
    for (ranges, is_promised) in
        [(RangeAnswer::Honest, false), (RangeAnswer::Honest, true), (RangeAnswer::Ignored, true)]
    {
        let what = format!("{ranges:?}, promised: {is_promised}");
        let origin = HostileOrigin::start().await.unwrap();
        let eddy = Eddy::among(&mounts).unwrap();
        let cache = eddy.home().join("cache");
        mounts.tmpfs(&cache, 48 * MIB).unwrap();
        let gateway = gateway(eddy, &origin, "quota = \"100 %\"\nreserve = \"1 KiB\"");
        let version = Version::new(5, LENGTH);
        let whole = version.whole();
        let path = if is_promised { by_hash(&whole) } else { "/large.iso".to_owned() };
        // The first answer breaks off at a fifth, and no other comes before the disk is full.
        let is_full = Arc::new(AtomicBool::new(false));
        let seen = is_full.clone();
        let script = move |ask: &Ask| match (ask.number, seen.load(Ordering::Relaxed)) {
            (1, _) => (Behaviour { ranges, body: Some(BodyFault::ResetAfter(LENGTH / 5)), ..lives() }, None),
            (_, false) => (Behaviour::status(503), None),
            (_, true) => (Behaviour { ranges, ..lives() }, None),
        };
        origin.publish(&path, Resource::scripted(version, script));
        let url = gateway.url(&format!("/m{path}"));
        let mut first = http_client().get(&url).send().await.unwrap();
        let begun = first.chunk().await.unwrap().unwrap();
        let range = format!("bytes={}-{}", LENGTH / 2, LENGTH - 1);
        let others = [None, Some(range)].map(|range| {
            let ask = http_client().get(&url);
            let ask = match &range {
                Some(range) => ask.header("range", range),
                None => ask,
            };
            tokio::spawn(async move { ask.send().await.unwrap().bytes().await.unwrap() })
        });
        // The disk takes back what it had set aside for the rest of the file, as those do that copy on each write.
        let file = file_of(&mounts.seen(&cache), LENGTH);
        let hole = [format!("--offset={}", LENGTH / 4), format!("--length={}", LENGTH - LENGTH / 4)];
        let punched = Command::new("fallocate").arg("--punch-hole").args(hole).arg(&file).status().unwrap();
        assert!(punched.success());
        let filler = mounts.fill(&cache).unwrap();
        is_full.store(true, Ordering::Relaxed);
        let mut all = begun.to_vec();
        while let Some(bytes) = first.chunk().await.unwrap() {
            all.extend_from_slice(&bytes);
        }
        assert!(all == whole, "{what}: {} bytes", all.len());
        let [another, part] = others;
        assert!(another.await.unwrap() == whole, "{what}");
        assert!(part.await.unwrap() == whole[(LENGTH / 2) as usize..], "{what}");
        gateway.daemon.wait_line("a file is filled no further", PATIENCE).unwrap();
        std::fs::remove_file(filler).unwrap();
        let again = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        assert!(again.status == 200 && again.whole() == whole, "{what}: {:?}", again.fields);
    }
}
