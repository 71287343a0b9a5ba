//! What a name, an index or a hub promises of a file is held, whichever way the file goes to a client of the gateway.

use eddy_tests::hostile::{
    Ask, Behaviour, BodyFault, Framing, HostileOrigin, RangeAnswer, RangeLie, Resource, Version,
};
use eddy_tests::process::{Eddy, Gateway, Nginx, NginxSpec, mount, write_sample};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SMALL: u64 = 10_000;
const LARGE: u64 = 20 << 20;

fn saying(lines: &[&str]) -> Behaviour {
    Behaviour { extra_headers: lines.iter().map(|line| (*line).to_owned()).collect(), ..Behaviour::default() }
}

fn publish(origin: &HostileOrigin, path: &str, length: u64, behaviour: Behaviour) -> Vec<u8> {
    let version = Version::new(7, length);
    let whole = version.whole();
    origin.publish(path, Resource::new(version, behaviour));
    whole
}

fn gateway(origin: &HostileOrigin, more: &str) -> Gateway<'static> {
    Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), more)).unwrap()
}

/// The path of a name that promises the SHA-256 of these bytes.
fn by_hash(bytes: &[u8]) -> String {
    format!("/by-hash/SHA256/{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_as_its_name_promises_is_given_whole_to_nobody_and_kept_nowhere() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    for length in [SMALL, 1 << 20, LARGE] {
        let whole = Version::new(length, length).whole();
        let (right, wrong) = (by_hash(&whole), by_hash(&whole[1..]));
        for path in [&right, &wrong] {
            origin.publish(path, Resource::new(Version::new(length, length), saying(&["Cache-Control: max-age=3600"])));
        }
        let first = gateway.get(&format!("/m{right}"), &[]).await.unwrap();
        assert!(first.whole() == whole, "{length}");
        assert!(gateway.get(&format!("/m{right}"), &[]).await.unwrap().is_hit(), "{length}");
        for _ in 0..2 {
            let asked = origin.counters().path(&wrong).requests;
            let got = gateway.get(&format!("/m{wrong}"), &[]).await.unwrap();
            let is_refused = got.status == 502 || got.content.is_none();
            assert!(is_refused && !got.is_hit(), "{length}: {} {:?}", got.status, got.fields);
            assert!(origin.counters().path(&wrong).requests > asked, "nothing of it is held");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_says_nothing_of_an_answer_that_is_not_the_file() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    let gone = by_hash(b"it was taken back");
    assert_eq!(gateway.get(&format!("/m{gone}"), &[]).await.unwrap().status, 404);
    let wrong = by_hash(b"something else");
    publish(&origin, &wrong, SMALL, saying(&["Set-Cookie: a=b"]));
    let part = gateway.get(&format!("/m{wrong}"), &[("range", "bytes=0-9")]).await.unwrap();
    assert_eq!((part.status, part.whole().len()), (206, 10), "nor of a part");
    assert_eq!(gateway.ask(Method::HEAD, &format!("/m{wrong}"), &[]).await.unwrap().status, 200, "nor of a head");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coding_that_nobody_asked_for_does_not_end_a_promise() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    for length in [SMALL, 1 << 20, 5 << 20] {
        let whole = Version::new(7, length).whole();
        // Servers that call each `.gz` coded send the file's own bytes.
        for (path, is_right) in [(by_hash(&whole), true), (by_hash(&whole[1..]), false)] {
            publish(&origin, &path, length, saying(&["Content-Encoding: x-gzip", "Cache-Control: max-age=3600"]));
            let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
            if is_right {
                assert_eq!((got.status, got.whole() == whole), (200, true), "{length}: {:?}", got.fields);
            } else {
                assert!(got.status == 502 || got.content.is_none(), "{length}: {} {:?}", got.status, got.fields);
            }
        }
    }
}

/// Why it is passed on, its length, how the origin sends it, and what is asked with.
type Passed = (&'static str, u64, Behaviour, &'static [(&'static str, &'static str)]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_passed_on_and_not_kept_is_held_against_its_promise_as_well() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    let unkept = |line: &str| saying(&[line]);
    let chunked = Behaviour { framing: Framing::Chunked, ranges: RangeAnswer::Ignored, ..unkept("X-A: b") };
    let close = Behaviour { framing: Framing::Close, ranges: RangeAnswer::Ignored, ..unkept("X-A: b") };
    // Ten pieces, each known to be one of several before the next comes.
    let drip = Behaviour { body: Some(BodyFault::Drip(1000, Duration::from_millis(20))), ..unkept("Set-Cookie: a=b") };
    let cases: [Passed; 10] = [
        ("a cookie", SMALL, unkept("Set-Cookie: a=b"), &[]),
        ("a cookie on a large one", LARGE, unkept("Set-Cookie: a=b"), &[]),
        ("private", 1 << 20, unkept("Cache-Control: private"), &[]),
        ("not to be stored", 5 << 20, unkept("Cache-Control: no-store"), &[]),
        ("not to be stored by the request", SMALL, unkept("X-A: b"), &[("cache-control", "no-store")]),
        ("chunked", 5 << 20, chunked, &[]),
        ("up to the end of the line", SMALL, close, &[]),
        ("a cookie in pieces", SMALL, drip, &[]),
        ("nothing at all", 0, unkept("Cache-Control: max-age=3600"), &[]),
        ("somebody's own", SMALL, unkept("X-A: b"), &[("authorization", "Bearer x")]),
    ];
    for (number, (what, length, behaviour, fields)) in cases.into_iter().enumerate() {
        let version = Version::new(100 + number as u64, length);
        let whole = version.whole();
        let other = [whole.as_slice(), b"x"].concat();
        let digest = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
        for (bytes, is_right) in [(&whole, true), (&other, false)] {
            for path in [by_hash(bytes), format!("/v2/a/blobs/sha256:{}", digest(bytes))] {
                origin.publish(&path, Resource::new(version.clone(), behaviour.clone()));
                // Of what is large and false, the line may end before the head goes out; what is small is refused with a status.
                let got = gateway.get(&format!("/m{path}"), fields).await.ok();
                let is_given = got.as_ref().is_some_and(|got| got.status == 200 && got.content.is_some());
                let is_whole = got.as_ref().is_some_and(|got| got.content.as_ref() == Some(&whole));
                assert!(is_given == is_right && is_whole == is_right, "{what} {path}: {got:?}");
                let is_refused = got.as_ref().is_some_and(|got| got.status == 502);
                assert!(is_right || length > SMALL || is_refused, "{what} {path}: {got:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_host_that_many_share_speaks_of_no_other_file_there() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { application/json json; text/html html; }".into();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let victim = origin.files().join("victim.bin");
    write_sample(&victim, 5, SMALL).unwrap();
    let whole = std::fs::read(&victim).unwrap();
    let bad = "1".repeat(64);
    for (name, page) in [
        ("config.json", format!("{{\"files\":[{{\"url\":\"/victim.bin\",\"hashes\":{{\"sha256\":\"{bad}\"}}}}]}}")),
        ("evil.html", format!("<a href=\"/victim.bin#sha256={bad}\">x</a>")),
    ] {
        std::fs::create_dir_all(origin.files().join("evil")).unwrap();
        std::fs::write(origin.files().join("evil").join(name), page).unwrap();
    }
    let url = origin.url("");
    let url = url.trim_end_matches('/');
    // The index lies in its folder, and is believed there; the rest of the host is not.
    let index = mount("/m/index", &format!("{url}/index"), "");
    let settings = format!("{}{index}", mount("/m", url, "indexes = \"ignored\""));
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    for page in ["config.json", "evil.html"] {
        assert_eq!(gateway.get(&format!("/m/evil/{page}"), &[]).await.unwrap().status, 200);
        let got = gateway.get("/m/victim.bin", &[]).await.unwrap();
        assert_eq!((got.status, got.whole() == whole), (200, true), "{page}");
    }
    std::fs::create_dir_all(origin.files().join("index")).unwrap();
    std::fs::write(origin.files().join("other.bin"), &whole).unwrap();
    std::fs::write(origin.files().join("index/a.html"), format!("<a href=\"/other.bin#sha256={bad}\">x</a>")).unwrap();
    assert_eq!(gateway.get("/m/index/a.html", &[]).await.unwrap().status, 200);
    assert_eq!(gateway.get("/m/other.bin", &[]).await.unwrap().status, 502, "the index speaks for all of its host");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_behind_the_end_of_a_part_are_given_to_nobody() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    // The first half of a large file, and all of a small one as a part of it; behind each comes what is of neither.
    for (length, ranges) in [(8 << 20, RangeAnswer::Lie(RangeLie::Shorter)), (SMALL, RangeAnswer::Honest)] {
        let version = Version::new(length, length);
        let whole = version.whole();
        let path = by_hash(&whole);
        let script = move |ask: &eddy_tests::hostile::Ask| {
            let lives = saying(&["Cache-Control: max-age=3600"]);
            let framing = eddy_tests::hostile::Framing::Chunked;
            let first = Behaviour { ranges, framing, body: Some(BodyFault::Extra(4 << 20)), ..lives.clone() };
            (if ask.number == 1 { first } else { lives }, None)
        };
        origin.publish(&path, Resource::scripted(version, script));
        for _ in 0..2 {
            let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
            assert_eq!((got.status, got.whole() == whole), (200, true), "{length}: {:?}", got.fields);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_promises_the_digests_of_the_files_it_lists() {
    if !Nginx::ready() {
        return;
    }
    let spec = NginxSpec { directives: "types { text/html html; }".into(), ..NginxSpec::default() };
    let origin = Nginx::here(&spec).unwrap();
    let mut page = String::new();
    for (seed, name, length) in [(1, "small.whl", SMALL), (2, "large.whl", LARGE)] {
        for kind in ["good", "bad"] {
            let file = origin.files().join(format!("{kind}-{name}"));
            write_sample(&file, seed, length).unwrap();
            let bytes = std::fs::read(&file).unwrap();
            let promised = Sha256::digest(if kind == "good" { bytes.as_slice() } else { b"something else" });
            let promised = data_encoding::HEXLOWER.encode(&promised);
            page += &format!("<a href=\"{kind}-{name}#sha256={promised}\">{name}</a>\n");
        }
    }
    std::fs::write(origin.files().join("index.html"), &page).unwrap();
    let gateway =
        Gateway::start(Eddy::here().unwrap(), &mount("/m", origin.url("").trim_end_matches('/'), "")).unwrap();
    assert_eq!(gateway.get("/m/index.html", &[]).await.unwrap().whole(), page.as_bytes());
    for name in ["good-small.whl", "good-large.whl"] {
        let got = gateway.get(&format!("/m/{name}"), &[]).await.unwrap();
        assert!(got.whole() == std::fs::read(origin.files().join(name)).unwrap(), "{name}");
    }
    let small = gateway.get("/m/bad-small.whl", &[]).await.unwrap();
    assert_eq!(small.status, 502, "{small:?}");
    let again = gateway.get("/m/bad-small.whl", &[]).await.unwrap();
    assert!(again.status == 502 && String::from_utf8_lossy(again.whole()).contains("in a minute"), "{again:?}");
    let large = gateway.get("/m/bad-large.whl", &[]).await.unwrap();
    assert!(large.content.is_none(), "the last block is given to nobody");
    for _ in 0..2 {
        let again = gateway.get("/m/bad-large.whl", &[]).await.unwrap();
        assert!(again.content.is_none() || again.status == 502, "{} {:?}", again.status, again.fields);
    }
    let log = origin.access().unwrap();
    let asked = log.iter().filter(|access| access.uri == "/bad-large.whl");
    assert_eq!(
        asked.map(|access| access.body_bytes).sum::<u64>(),
        LARGE,
        "what broke its promise is not fetched again"
    );
    assert_eq!(log.iter().filter(|access| access.uri == "/bad-small.whl").count(), 1, "nor is a small one");
    // As soon as the index takes its word back, the file is asked for.
    let bytes = std::fs::read(origin.files().join("bad-small.whl")).unwrap();
    let right = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
    let page = format!("<a href=\"bad-small.whl#sha256={right}\">the right one</a>");
    std::fs::write(origin.files().join("index.html"), &page).unwrap();
    assert_eq!(gateway.get("/m/index.html", &[("cache-control", "no-cache")]).await.unwrap().whole(), page.as_bytes());
    assert!(gateway.get("/m/bad-small.whl", &[]).await.unwrap().whole() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_the_end_of_an_index_when_its_promises_are_known() {
    if !Nginx::ready() {
        return;
    }
    let spec = NginxSpec { directives: "types { text/html html; }".into(), ..NginxSpec::default() };
    let origin = Nginx::here(&spec).unwrap();
    // So long that it is read while it comes, and that a pass over it takes its time.
    let mut page = String::new();
    while page.len() < 3 << 19 {
        page += &format!("<a href=\"{0:0>40}.whl#sha256={1}\">{0:0>40}.whl</a>\n", page.len(), "2".repeat(64));
    }
    let gateway =
        Gateway::start(Eddy::here().unwrap(), &mount("/m", origin.url("").trim_end_matches('/'), "")).unwrap();
    for number in 0..4 {
        write_sample(&origin.files().join(format!("bad-{number}.whl")), 1, SMALL).unwrap();
        let link = format!("<a href=\"bad-{number}.whl#sha256={}\">bad</a>\n", "1".repeat(64));
        std::fs::write(origin.files().join(format!("{number}.html")), format!("{page}{link}")).unwrap();
        assert!(gateway.get(&format!("/m/{number}.html"), &[]).await.unwrap().whole().ends_with(link.as_bytes()));
        assert_eq!(gateway.get(&format!("/m/bad-{number}.whl"), &[]).await.unwrap().status, 502);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_its_promise_is_held_against_it_once_there_is_one() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { text/html html; } add_header Cache-Control max-age=3600;".into();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let names = [("small.whl", SMALL), ("middle.whl", 1 << 20), ("large.whl", LARGE)];
    let mut page = String::new();
    for (name, length) in names {
        for kind in ["good", "bad"] {
            let file = origin.files().join(format!("{kind}-{name}"));
            write_sample(&file, length, length).unwrap();
            let bytes = std::fs::read(&file).unwrap();
            let promised = Sha256::digest(if kind == "good" { bytes.as_slice() } else { b"something else" });
            let promised = data_encoding::HEXLOWER.encode(&promised);
            page += &format!("<a href=\"{kind}-{name}#sha256={promised}\">{name}</a>\n");
        }
    }
    std::fs::write(origin.files().join("index.html"), &page).unwrap();
    let gateway =
        Gateway::start(Eddy::here().unwrap(), &mount("/m", origin.url("").trim_end_matches('/'), "")).unwrap();
    for (name, _) in names {
        for kind in ["good", "bad"] {
            for turn in 0..2 {
                let got = gateway.get(&format!("/m/{kind}-{name}"), &[]).await.unwrap();
                let whole = std::fs::read(origin.files().join(format!("{kind}-{name}"))).unwrap();
                assert!(got.whole() == whole && got.is_hit() == (turn == 1), "{kind} {name}: {:?}", got.fields);
            }
        }
    }
    let held = |name: &str| gateway.eddy.cached().unwrap().iter().any(|e| e.url.ends_with(name) && e.held == LARGE);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !held("good-large.whl") {
        assert!(Instant::now() < deadline, "{}", gateway.daemon.log());
    }
    assert_eq!(gateway.get("/m/index.html", &[]).await.unwrap().whole(), page.as_bytes());
    for (name, _) in names {
        for turn in 0..2 {
            let got = gateway.get(&format!("/m/good-{name}"), &[]).await.unwrap();
            let whole = std::fs::read(origin.files().join(format!("good-{name}"))).unwrap();
            assert!(got.whole() == whole && got.is_hit() == (turn == 1), "{name}: {:?}", got.fields);
            let got = gateway.get(&format!("/m/bad-{name}"), &[]).await.unwrap();
            assert!(got.status == 502 || got.content.is_none(), "{name}, {turn}: {} {:?}", got.status, got.fields);
        }
    }
    assert!(held("bad-large.whl"), "an index's word takes nothing out of the store");
    for name in ["/good-large.whl", "/bad-large.whl"] {
        let log = origin.access().unwrap();
        let large = log.iter().filter(|access| access.uri == name).map(|access| access.body_bytes).sum::<u64>();
        assert_eq!(large, LARGE, "{name}: what is held is read here, and not fetched again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_job_has_filled_up_is_held_against_its_promise_before_it_is_given() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    let version = Version::new(21, LARGE);
    let whole = version.whole();
    for (path, is_right) in [(by_hash(&whole), true), (by_hash(&whole[1..]), false)] {
        let is_mended = Arc::new(AtomicBool::new(false));
        let seen = is_mended.clone();
        let lives = || saying(&["Cache-Control: max-age=3600"]);
        let script = move |ask: &Ask| match (ask.number, seen.load(Ordering::Relaxed)) {
            (1, _) => (Behaviour { body: Some(BodyFault::ResetAfter(LARGE / 2)), ..lives() }, None),
            (_, false) => (Behaviour::status(404), None),
            (_, true) => (lives(), None),
        };
        origin.publish(&path, Resource::scripted(version.clone(), script));
        let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        assert!(got.content.is_none(), "the rest is not there: {}", got.status);
        is_mended.store(true, Ordering::Relaxed);
        let destination = gateway.eddy.home().join(format!("{is_right}.bin"));
        tokio::task::block_in_place(|| gateway.eddy.get(&origin.url(&path), &destination).unwrap());
        assert!(std::fs::read(&destination).unwrap() == whole);
        for _ in 0..2 {
            let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
            let is_given = got.status == 200 && got.content.as_ref() == Some(&whole);
            assert_eq!(is_given, is_right, "{} {:?}", got.status, got.fields);
            assert!(is_right || got.content.is_none() || got.status == 502, "{} {:?}", got.status, got.fields);
        }
    }
}
