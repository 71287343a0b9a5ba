//! The gateway answers tools from what is held, and asks the origin once for all who want the same.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

use eddy_tests::hostile::{
    Behaviour, BodyFault, Framing, HostileOrigin, Mark, RangeAnswer, RangeLie, Resource, Version,
};
use eddy_tests::process::{Eddy, Gateway, Nginx, NginxSpec, http_client, mount, write_sample};
use eddy_wire::api::{EntityView, GatewayView};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_answer_is_held_and_the_origin_is_not_asked_again() {
    let origin = HostileOrigin::start().await.unwrap();
    let lives = || saying(&["Cache-Control: max-age=3600", "Content-Type: text/x-test"]);
    let small = publish(&origin, "/small", SMALL, lives());
    let middle = publish(&origin, "/middle", 1 << 20, lives());
    let large = publish(&origin, "/large.iso", LARGE, lives());
    let gateway = gateway(&origin, "");
    for (path, whole) in [("/m/small", &small), ("/m/middle", &middle), ("/m/large.iso", &large)] {
        let first = gateway.get(path, &[]).await.unwrap();
        assert_eq!((first.status, first.whole() == whole.as_slice()), (200, true), "{path}");
        assert!(!first.is_hit() && first.field("cache-status").contains("fwd=uri-miss"), "{first:?}");
        // A request is counted when it comes; bytes when they have been written, which may be a moment after they are read.
        let asked = |path: &str| origin.counters().path(path.strip_prefix("/m").unwrap()).requests;
        let before = asked(path);
        let second = gateway.get(path, &[]).await.unwrap();
        assert_eq!((second.status, second.whole() == whole.as_slice()), (200, true), "{path}");
        assert!(second.is_hit(), "{:?}", second.fields);
        assert_eq!((second.field("content-type"), second.field("accept-ranges")), ("text/x-test", "bytes"));
        assert!(second.field("age").parse::<u64>().is_ok(), "{:?}", second.fields);
        assert_eq!(asked(path), before, "the origin is not asked for a hit");
        let head = gateway.ask(Method::HEAD, path, &[]).await.unwrap();
        assert_eq!((head.status, head.field("content-length")), (200, whole.len().to_string().as_str()));
    }
    assert_eq!(origin.counters().body_bytes(), SMALL + (1 << 20) + LARGE, "one copy of each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_one_object_share_one_transfer() {
    let origin = HostileOrigin::start().await.unwrap();
    let slow = |lines: &[&str]| Behaviour { rate: Some(16 << 20), ..saying(lines) };
    let middle = publish(&origin, "/middle", 2 << 20, slow(&["Cache-Control: max-age=3600"]));
    let large = publish(&origin, "/large.iso", LARGE, slow(&["Cache-Control: max-age=3600"]));
    let gateway = gateway(&origin, "");
    for (path, whole) in [("/m/middle", &middle), ("/m/large.iso", &large)] {
        let clients = (0..8).map(|_| gateway.get(path, &[]));
        for got in futures::future::join_all(clients).await {
            let got = got.unwrap();
            assert_eq!((got.status, got.whole() == whole.as_slice()), (200, true), "{path} {:?}", got.fields);
        }
    }
    let counters = origin.counters();
    assert_eq!((counters.path("/middle").body_bytes, counters.path("/large.iso").body_bytes), (2 << 20, LARGE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_is_validated_and_what_changed_is_fetched() {
    let origin = HostileOrigin::start().await.unwrap();
    let first = publish(&origin, "/index", SMALL, saying(&["Cache-Control: max-age=0"]));
    let gateway = gateway(&origin, "");
    assert_eq!(gateway.get("/m/index", &[]).await.unwrap().whole(), first);
    let again = gateway.get("/m/index", &[]).await.unwrap();
    assert_eq!(again.whole(), first);
    assert!(again.field("cache-status").contains("fwd=stale; fwd-status=304"), "{:?}", again.fields);
    assert_eq!(origin.counters().body_bytes(), SMALL);
    let version = Version::new(8, SMALL + 5);
    let second = version.whole();
    origin.publish("/index", Resource::new(version, saying(&["Cache-Control: max-age=0"])));
    let changed = gateway.get("/m/index", &[]).await.unwrap();
    assert_eq!(changed.whole(), second);
    assert!(changed.field("cache-status").contains("fwd-status=200"), "{:?}", changed.fields);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_and_conditions_are_answered_from_what_is_held() {
    let origin = HostileOrigin::start().await.unwrap();
    let no_ranges =
        Behaviour { ranges: eddy_tests::hostile::RangeAnswer::Ignored, ..saying(&["Cache-Control: max-age=3600"]) };
    for (path, length) in [("/small", SMALL), ("/large.iso", LARGE)] {
        let whole = publish(&origin, path, length, no_ranges.clone());
        let gateway = gateway(&origin, "");
        let path = format!("/m{path}");
        let got = gateway.get(&path, &[]).await.unwrap();
        assert_eq!(got.whole(), whole);
        let etag = got.field("etag").to_owned();
        let range = async |value: &str| gateway.get(&path, &[("range", value)]).await.unwrap();
        let part = range("bytes=100-299").await;
        assert_eq!((part.status, part.whole()), (206, &whole[100..300]));
        assert_eq!(part.field("content-range"), format!("bytes 100-299/{length}"));
        let last = range("bytes=-7").await;
        assert_eq!((last.status, last.whole()), (206, &whole[whole.len() - 7..]));
        let rest = range("bytes=9000-").await;
        assert_eq!((rest.status, rest.whole() == &whole[9000..]), (206, true));
        let beyond = range(&format!("bytes={length}-")).await;
        assert_eq!((beyond.status, beyond.field("content-range")), (416, format!("bytes */{length}").as_str()));
        let parts = range("bytes=0-1,500-501").await;
        let text = String::from_utf8_lossy(parts.whole()).into_owned();
        assert!(parts.status == 206 && parts.field("content-type").starts_with("multipart/byteranges"), "{parts:?}");
        assert!(text.contains(&format!("Content-Range: bytes 500-501/{length}")), "{text}");
        assert_eq!(parts.field("content-length"), parts.whole().len().to_string());
        let other = gateway.get(&path, &[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await.unwrap();
        assert_eq!(
            (other.status, other.whole() == whole.as_slice()),
            (200, true),
            "another version: no part of this one"
        );
        let known = gateway.get(&path, &[("if-none-match", &etag)]).await.unwrap();
        assert_eq!((known.status, known.whole().len()), (304, 0));
        assert_eq!(gateway.get(&path, &[("if-match", "\"other\"")]).await.unwrap().status, 412);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_may_want_it_newer_or_not_from_the_origin_at_all() {
    let origin = HostileOrigin::start().await.unwrap();
    publish(&origin, "/f", SMALL, saying(&["Cache-Control: max-age=3600"]));
    let gateway = gateway(&origin, "");
    let control = async |value: &'static str| gateway.get("/m/f", &[("cache-control", value)]).await.unwrap();
    assert_eq!(control("only-if-cached").await.status, 504);
    assert_eq!(origin.counters().path("/f").requests, 0);
    assert_eq!(control("max-age=10").await.status, 200);
    assert!(control("only-if-cached").await.is_hit());
    assert!(control("no-cache").await.field("cache-status").contains("fwd=request; fwd-status=304"));
    assert!(control("min-fresh=7200").await.field("cache-status").contains("fwd-status=304"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_kept_is_passed_on_unchanged() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    for (number, line) in
        ["Cache-Control: no-store", "Cache-Control: private", "Set-Cookie: a=b", "Vary: *"].iter().enumerate()
    {
        let path = format!("/f{number}");
        let whole = publish(&origin, &path, SMALL, saying(&[line]));
        for _ in 0..2 {
            let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
            assert!(got.whole() == whole && !got.is_hit(), "{line} {:?}", got.fields);
        }
        assert_eq!(origin.counters().path(&path).requests, 2, "{line}");
    }
    let whole = publish(&origin, "/known", SMALL, saying(&["Cache-Control: max-age=3600"]));
    for _ in 0..2 {
        let got = gateway.get("/m/known", &[("authorization", "Bearer x")]).await.unwrap();
        assert!(got.whole() == whole && !got.is_hit(), "T-34");
    }
    assert_eq!(origin.counters().path("/known").last_headers["authorization"], "Bearer x");
    let missing = gateway.get("/m/missing", &[]).await.unwrap();
    assert_eq!(missing.status, 404);
    assert_eq!(gateway.ask(Method::POST, "/m/known", &[]).await.unwrap().status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_cuts_the_body_is_asked_for_the_rest_and_nobody_notices() {
    let origin = HostileOrigin::start().await.unwrap();
    for (path, length) in [("/middle", 3 << 20), ("/large.iso", LARGE)] {
        let version = Version::new(9, length);
        let whole = version.whole();
        let script = move |ask: &eddy_tests::hostile::Ask| {
            let cut = (ask.number == 1).then_some(BodyFault::ResetAfter(length / 2));
            (Behaviour { body: cut, ..saying(&["Cache-Control: max-age=3600"]) }, None)
        };
        origin.publish(path, Resource::scripted(version, script));
        let gateway = gateway(&origin, "");
        let path = format!("/m{path}");
        let clients = (0..8).map(|_| gateway.get(&path, &[]));
        for got in futures::future::join_all(clients).await {
            let got = got.unwrap();
            assert_eq!((got.status, got.whole() == whole.as_slice()), (200, true), "{path} {:?}", got.fields);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_in_mid_stream_ends_the_answer_and_is_never_spliced() {
    let origin = HostileOrigin::start().await.unwrap();
    for (path, length) in [("/middle", 3 << 20), ("/large.iso", LARGE)] {
        let before = Version::new(10, length);
        let first = before.whole();
        let after = Version::new(11, length);
        let second = after.whole();
        let script = move |ask: &eddy_tests::hostile::Ask| {
            let cut = (ask.number == 1).then_some(BodyFault::ResetAfter(length / 2));
            let behaviour = Behaviour { body: cut, ..saying(&["Cache-Control: max-age=3600"]) };
            (behaviour, (ask.number > 1).then(|| after.clone()))
        };
        origin.publish(path, Resource::scripted(before, script));
        let gateway = gateway(&origin, "");
        let path = format!("/m{path}");
        let mut answer = http_client().get(gateway.url(&path)).send().await.unwrap();
        let mut came = Vec::new();
        let ended = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => came.extend_from_slice(&bytes),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert!(!ended && came.len() < first.len() && came == first[..came.len()], "{path}: {} bytes", came.len());
        let next = gateway.get(&path, &[]).await.unwrap();
        assert!(next.whole() == second, "{path}: the next answer is the new version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_dies_or_reads_slowly_holds_nobody_back() {
    let origin = HostileOrigin::start().await.unwrap();
    let slow = Behaviour { rate: Some(16 << 20), ..saying(&["Cache-Control: max-age=3600"]) };
    let gateway = gateway(&origin, "");
    for (path, length) in [("/middle", 3 << 20), ("/large.iso", LARGE)] {
        let whole = publish(&origin, path, length, slow.clone());
        let path = format!("/m{path}");
        // The first client, which causes the transfer, dies with its first bytes; the second reads nothing behind its first.
        let mut first = http_client().get(gateway.url(&path)).send().await.unwrap();
        first.chunk().await.unwrap().unwrap();
        let mut lazy = http_client().get(gateway.url(&path)).send().await.unwrap();
        lazy.chunk().await.unwrap().unwrap();
        drop(first);
        let got = gateway.get(&path, &[]).await.unwrap();
        assert!(got.whole() == whole, "{path}");
        drop(lazy);
        assert_eq!(origin.counters().path(path.strip_prefix("/m").unwrap()).body_bytes, length);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_version_is_served_from_memory_and_never_joined() {
    let origin = HostileOrigin::start().await.unwrap();
    let plain = Behaviour { mark: Mark::None, ..saying(&["Cache-Control: max-age=3600"]) };
    let whole = publish(&origin, "/f", SMALL, plain.clone());
    let chunked = Behaviour { framing: eddy_tests::hostile::Framing::Chunked, ..plain };
    let other = publish(&origin, "/chunked", 2 << 20, chunked);
    let gateway = gateway(&origin, "");
    for (path, whole) in [("/m/f", &whole), ("/m/chunked", &other)] {
        assert!(gateway.get(path, &[]).await.unwrap().whole() == whole.as_slice());
        let again = gateway.get(path, &[]).await.unwrap();
        assert!(again.whole() == whole.as_slice() && again.is_hit(), "{path} {:?}", again.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_serves_again_after_a_restart_with_one_question_for_the_head() {
    let origin = HostileOrigin::start().await.unwrap();
    let whole = publish(&origin, "/large.iso", LARGE, saying(&["Cache-Control: max-age=3600"]));
    let gateway = gateway(&origin, "");
    assert!(gateway.get("/m/large.iso", &[]).await.unwrap().whole() == whole);
    let Gateway { eddy, mut daemon, .. } = gateway;
    let eddy = tokio::task::spawn_blocking(move || {
        daemon.stop(Duration::from_secs(30)).unwrap();
        eddy
    });
    let gateway = Gateway::restart(eddy.await.unwrap()).unwrap();
    assert!(gateway.get("/m/large.iso", &[]).await.unwrap().whole() == whole);
    assert_eq!(origin.counters().body_bytes(), LARGE, "no byte of it twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_kept_joined_and_completed_under_one_version_and_never_without() {
    let origin = HostileOrigin::start().await.unwrap();
    let lives = || saying(&["Cache-Control: max-age=3600"]);
    let whole = publish(&origin, "/marked", SMALL, lives());
    let bare = publish(&origin, "/bare", SMALL, Behaviour { mark: Mark::None, ..lives() });
    let gateway = gateway(&origin, "");
    let ask = async |path: &str, range: &str| gateway.get(&format!("/m{path}"), &[("range", range)]).await.unwrap();
    let bytes = |path: &str| origin.counters().path(path).body_bytes;
    for (range, from, to) in
        [("bytes=0-2999", 0, 3000), ("bytes=6000-6999", 6000, 7000), ("bytes=2000-5999", 2000, 6000)]
    {
        let got = ask("/marked", range).await;
        assert_eq!((got.status, got.whole() == &whole[from..to], got.is_hit()), (206, true, false), "{range}");
    }
    assert_eq!(bytes("/marked"), 8000);
    for (range, from, to) in
        [("bytes=0-6999", 0, 7000), ("bytes=2500-6500", 2500, 6501), ("bytes=6000-6000", 6000, 6001)]
    {
        let got = ask("/marked", range).await;
        assert_eq!((got.status, got.whole() == &whole[from..to], got.is_hit()), (206, true, true), "{range} {got:?}");
        assert_eq!(got.field("content-range"), format!("bytes {from}-{}/{SMALL}", to - 1));
    }
    let beyond = ask("/marked", "bytes=6500-7500").await;
    assert!(beyond.field("cache-status").contains("fwd=partial") && beyond.whole() == &whole[6500..7501], "{beyond:?}");
    let sent = bytes("/marked");
    let all = gateway.get("/m/marked", &[]).await.unwrap();
    assert!(all.status == 200 && all.whole() == whole && all.field("content-range").is_empty(), "{:?}", all.fields);
    assert_eq!(bytes("/marked") - sent, SMALL - 7501, "only the rest was asked for");
    assert!(gateway.get("/m/marked", &[]).await.unwrap().is_hit());

    for _ in 0..2 {
        let got = ask("/bare", "bytes=0-2999").await;
        assert_eq!((got.status, got.whole() == &bare[..3000], got.is_hit()), (206, true, false), "it has no version");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_another_version_is_never_joined_to_a_part() {
    let origin = HostileOrigin::start().await.unwrap();
    publish(&origin, "/f", SMALL, saying(&["Cache-Control: max-age=3600"]));
    let gateway = gateway(&origin, "");
    assert_eq!(gateway.get("/m/f", &[("range", "bytes=0-4999")]).await.unwrap().status, 206);
    let version = Version::new(8, SMALL);
    let second = version.whole();
    origin.publish("/f", Resource::new(version, saying(&["Cache-Control: max-age=3600"])));
    let got = gateway.get("/m/f", &[]).await.unwrap();
    assert!(got.status == 200 && got.whole() == second, "the version that is there, whole");
    let part = gateway.get("/m/f", &[("range", "bytes=0-4999")]).await.unwrap();
    assert!(part.is_hit() && part.whole() == &second[..5000], "{:?}", part.fields);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mount_counts_what_it_was_asked_and_where_its_bytes_came_from() {
    let origin = HostileOrigin::start().await.unwrap();
    publish(&origin, "/small", SMALL, saying(&["Cache-Control: max-age=3600"]));
    publish(&origin, "/large.iso", LARGE, saying(&["Cache-Control: max-age=3600"]));
    publish(&origin, "/index", SMALL, saying(&["Cache-Control: max-age=0"]));
    let gateway = gateway(&origin, &mount("/other", &origin.url(""), ""));
    for path in ["/m/small", "/m/small", "/m/large.iso", "/m/index", "/m/index"] {
        assert_eq!(gateway.get(path, &[]).await.unwrap().status, 200);
    }
    assert_eq!(gateway.ask(Method::POST, "/m/small", &[]).await.unwrap().status, 405);
    let view = gateway.eddy.ask::<GatewayView>(&["report", "--by", "mount"]).unwrap();
    let [other, mount] = view.mounts.as_slice() else { panic!("{view:#?}") };
    assert_eq!((other.path.as_str(), other.requests, other.sent), ("/other/", 0, 0));
    assert_eq!((mount.requests, mount.hits, mount.validated, mount.refused), (6, 1, 1, 1), "{view:#?}");
    assert_eq!((mount.sent_held, mount.came.peers), (2 * SMALL, 0));
    assert!(mount.sent >= 4 * SMALL + LARGE, "{mount:?}");
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
    let cases: [Passed; 9] = [
        ("a cookie", SMALL, unkept("Set-Cookie: a=b"), &[]),
        ("a cookie on a large one", LARGE, unkept("Set-Cookie: a=b"), &[]),
        ("private", 1 << 20, unkept("Cache-Control: private"), &[]),
        ("not to be stored", 5 << 20, unkept("Cache-Control: no-store"), &[]),
        ("not to be stored by the request", SMALL, unkept("X-A: b"), &[("cache-control", "no-store")]),
        ("chunked", 5 << 20, chunked, &[]),
        ("up to the end of the line", SMALL, close, &[]),
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
                // The line may end before the head of what is false goes out.
                let got = gateway.get(&format!("/m{path}"), fields).await.ok();
                let is_given = got.as_ref().is_some_and(|got| got.status == 200 && got.content.is_some());
                let is_whole = got.as_ref().is_some_and(|got| got.content.as_ref() == Some(&whole));
                assert!(is_given == is_right && is_whole == is_right, "{what} {path}: {got:?}");
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
async fn what_is_held_is_not_taken_for_what_the_hub_names_later() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    let path = "/org/model/resolve/main/a.bin";
    for seed in [1, 2] {
        // The place keeps one entity tag, whatever it holds.
        let version = Version { tag: "one".to_owned(), ..Version::new(seed, SMALL) };
        let whole = version.whole();
        store.publish(path, Resource::new(version, saying(&["Cache-Control: max-age=0"])));
        hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), &whole)));
        let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        assert!(got.status == 200 && got.whole() == whole, "{seed}: {:?}", got.fields);
    }
    let before = store.counters().path(path).body_bytes;
    let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
    assert!(got.status == 200 && store.counters().path(path).body_bytes == before, "the same promise, the same bytes");
    // The place has not followed.
    hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), b"a third one")));
    assert_eq!(gateway.get(&format!("/m{path}"), &[]).await.unwrap().status, 502);
}

/// A redirect to a place, by which a hub promises these bytes.
fn leading(place: &str, bytes: &[u8]) -> Behaviour {
    let promised = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    Behaviour::redirect(place).with_header(format!("X-Linked-Etag: \"{promised}\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_promises_needs_no_version_of_the_place_it_leads_to() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    for (path, is_right) in [("/resolve/main/right.bin", true), ("/resolve/main/wrong.bin", false)] {
        let whole = publish(&store, path, LARGE, Behaviour::mark(Mark::None));
        let promised = if is_right { whole.as_slice() } else { b"something else" };
        hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), promised)));
        let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        let is_whole = got.content.as_ref() == Some(&whole);
        assert!(is_whole == is_right && (is_right || got.content.is_none()), "{path}: {:?}", got.fields);
    }
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
    let large = gateway.get("/m/bad-large.whl", &[]).await.unwrap();
    assert!(large.content.is_none(), "the last block is given to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_redirects_to_a_file_promises_its_digest_and_says_its_version() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    for (name, length) in [("small.json", SMALL), ("large.safetensors", LARGE)] {
        for is_right in [true, false] {
            let path = format!("/org/model/resolve/main/{is_right}-{name}");
            let liar = saying(&["Cache-Control: max-age=3600", "X-Repo-Commit: of-the-store"]);
            let whole = publish(&store, &path, length, liar);
            let promised = Sha256::digest(if is_right { whole.as_slice() } else { b"something else" });
            let promised = format!("\"{}\"", data_encoding::HEXLOWER.encode(&promised));
            let (place, tag) = (store.url(&path), promised.clone());
            // Signed anew each time.
            let leads = move |ask: &eddy_tests::hostile::Ask| {
                let leads = Behaviour::redirect(format!("{place}?signature={}", ask.number))
                    .with_header(format!("X-Linked-Etag: {tag}"))
                    .with_header(format!("X-Linked-Size: {length}"))
                    .with_header("X-Repo-Commit: 0123abcd");
                (leads, None)
            };
            hub.publish(&path, Resource::scripted(Version::new(1, 0), leads));
            let path = format!("/m{path}");
            for turn in 0..2 {
                // As its client does: HEAD first, which must say all of it.
                let head = gateway.ask(Method::HEAD, &path, &[]).await.unwrap();
                for (field, value) in [("x-linked-etag", promised.as_str()), ("x-repo-commit", "0123abcd")] {
                    assert_eq!((head.status, head.field(field)), (200, value), "{path} {:?}", head.fields);
                }
                assert_eq!(head.field("x-linked-size"), length.to_string());
                let got = gateway.get(&path, &[]).await.unwrap();
                if is_right {
                    assert!(got.status == 200 && got.whole() == whole, "{path}: {:?}", got.fields);
                    assert_eq!((got.field("x-repo-commit"), got.is_hit()), ("0123abcd", turn == 1), "{:?}", got.fields);
                } else {
                    assert!(got.status == 502 || got.content.is_none(), "{path}: {} {:?}", got.status, got.fields);
                }
            }
        }
    }
    let path = "/org/model/resolve/main/true-large.safetensors";
    let before = store.counters().path(path).body_bytes;
    assert_eq!(before, LARGE, "one copy");
    // Who is led back to the hub is at another file, which the first word is not said of.
    let other = publish(&hub, "/other.bin", SMALL, saying(&["X-Linked-Etag: \"of-the-other\""]));
    let back = hub.url("/other.bin");
    store.publish("/back", Resource::new(Version::new(2, 0), Behaviour::redirect(back)));
    let first = format!("\"{}\"", data_encoding::HEXLOWER.encode(&Sha256::digest(b"the first word")));
    let there = Behaviour::redirect(store.url("/back")).with_header(format!("X-Linked-Etag: {first}"));
    hub.publish("/there", Resource::new(Version::new(3, 0), there));
    let got = gateway.get("/m/there", &[]).await.unwrap();
    assert!(got.status == 502 && got.content.as_deref() != Some(other.as_slice()), "{} {:?}", got.status, got.fields);
    let Gateway { eddy, mut daemon, .. } = gateway;
    let asking = tokio::task::spawn_blocking(move || (eddy.ask::<Vec<EntityView>>(&["cache", "ls"]).unwrap(), eddy));
    let (listed, eddy) = asking.await.unwrap();
    let kept = listed.iter().find(|entity| entity.url.ends_with("/true-large.safetensors")).unwrap();
    assert!(kept.shareable, "its place is signed, and yet it is named by a digest: {kept:?}");
    let eddy = tokio::task::spawn_blocking(move || {
        daemon.stop(Duration::from_secs(30)).unwrap();
        eddy
    });
    let gateway = Gateway::restart(eddy.await.unwrap()).unwrap();
    assert_eq!(gateway.get(&format!("/m{path}"), &[]).await.unwrap().whole().len() as u64, LARGE);
    assert_eq!(store.counters().path(path).body_bytes, before, "it is known again under the hub's own name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_whose_links_are_replaced_take_no_more_memory_than_they_have_bytes() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "links = { \"https://files.example/\" = \"/files/\" }");
    // All the memory for small bodies would be gone, if each took as much as the longest of them.
    let pages: Vec<String> = (0..80).map(|number| format!("/simple/{number}/")).collect();
    for page in &pages {
        publish(&origin, page, SMALL, saying(&["Content-Type: text/html", "Cache-Control: max-age=3600"]));
    }
    let long = publish(&origin, "/long/", 9 << 20, saying(&["Content-Type: text/html", "Cache-Control: max-age=3600"]));
    for turn in 0..2 {
        for page in &pages {
            let got = gateway.get(&format!("/m{page}"), &[]).await.unwrap();
            assert_eq!((got.status, got.is_hit()), (200, turn == 1), "{page} {:?}", got.fields);
        }
        let got = gateway.get("/m/long/", &[]).await.unwrap();
        assert!(got.whole() == long && got.is_hit() == (turn == 1), "{:?}", got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_kept_for_nobody_leads_through_the_gateway_as_well() {
    if !Nginx::ready() {
        return;
    }
    let directives =
        "types { text/html html; } add_header Cache-Control max-age=0; location /own/ { add_header Set-Cookie a=b; }";
    let origin = Nginx::here(&NginxSpec { directives: directives.into(), ..NginxSpec::default() }).unwrap();
    // A short one, and one that is not gone through where clients are served.
    for (name, count) in [("short", 1), ("long", 20_000)] {
        for folder in ["own", "all"] {
            std::fs::create_dir_all(origin.files().join(folder)).unwrap();
            let page = "<a href=\"/p/a.whl\">a</a>\n".repeat(count);
            std::fs::write(origin.files().join(folder).join(format!("{name}.html")), page).unwrap();
        }
    }
    let url = origin.url("");
    let settings = mount("/m", url.trim_end_matches('/'), "links = { \"/\" = \"/m/\" }");
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    for (name, count) in [("short", 1), ("long", 20_000)] {
        let led = "<a href=\"/m/p/a.whl\">a</a>\n".repeat(count);
        let (own, all) = (format!("/m/own/{name}.html"), format!("/m/all/{name}.html"));
        let personal: &[(&str, &str)] = &[("authorization", "Basic eDp5")];
        for (path, fields) in
            [(&own, &[][..]), (&own, personal), (&all, personal), (&all, &[("cache-control", "no-store")])]
        {
            let got = gateway.get(path, fields).await.unwrap();
            assert!(got.status == 200 && got.whole() == led.as_bytes() && !got.is_hit(), "{path}: {:?}", got.fields);
            assert!(got.field("etag").starts_with("W/"), "{:?}", got.fields);
        }
        for turn in 0..3 {
            let got = gateway.get(&all, &[]).await.unwrap();
            assert!(got.whole() == led.as_bytes() && got.field("etag").starts_with("W/"), "{turn}: {:?}", got.fields);
            assert_eq!(got.field("cache-status").contains("fwd-status=304"), turn > 0, "{:?}", got.fields);
        }
    }
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
async fn a_running_daemon_follows_what_is_mounted() {
    let origin = HostileOrigin::start().await.unwrap();
    let whole = publish(&origin, "/f", SMALL, saying(&["Cache-Control: max-age=3600"]));
    let eddy = Eddy::here().unwrap();
    let (settings, mounts) = (eddy.home().join("eddy.toml"), eddy.home().join("gateway"));
    std::fs::create_dir_all(&mounts).unwrap();
    let listen = "[peers]\nmdns = false\n[gateway]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&settings, listen).unwrap();
    let daemon = eddy.daemon().unwrap();
    let view = || eddy.ask::<GatewayView>(&["report", "--by", "mount"]).unwrap();
    assert_eq!(view().listens, None, "there is nothing to serve");
    // As a command writes it for a tool.
    std::fs::write(mounts.join("tool.toml"), mount("/a", &origin.url(""), "").replace("gateway.mount", "mount"))
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let base = loop {
        if let Some(base) = view().listens {
            break base;
        }
        assert!(Instant::now() < deadline, "{}", daemon.log());
    };
    let client = http_client();
    let status = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap().status().as_u16();
    let becomes = async |path: &str, wanted: u16| {
        while status(path).await != wanted {
            assert!(Instant::now() < deadline, "{path} does not become {wanted}: {}", daemon.log());
        }
    };
    let got = client.get(format!("{base}/a/f")).send().await.unwrap().bytes().await.unwrap();
    assert!(got == whole);
    // As a person writes it.
    std::fs::write(&settings, format!("{listen}{}", mount("/b", &origin.url(""), ""))).unwrap();
    becomes("/b/f", 200).await;
    assert_eq!(status("/a/f").await, 200, "what was mounted stays");
    std::fs::write(&settings, "[gateway]\nlisten = 7\n").unwrap();
    daemon.wait_line("what is mounted stays as it is", Duration::from_secs(60)).unwrap();
    assert_eq!((status("/a/f").await, status("/b/f").await), (200, 200));
    std::fs::write(&settings, listen).unwrap();
    std::fs::remove_file(mounts.join("tool.toml")).unwrap();
    becomes("/b/f", 404).await;
    becomes("/a/f", 404).await;
    assert!(view().mounts.is_empty() && view().listens.is_some());
}
