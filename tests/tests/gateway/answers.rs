//! The gateway answers tools from what is held, and asks the origin once for all who want the same.

use eddy_tests::hostile::{AskedRange, Behaviour, BodyFault, HostileOrigin, Mark, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, http_client, mount};
use eddy_wire::api::{GatewayView, ReportRow};
use reqwest::Method;
use std::time::{Duration, Instant};

const SMALL: u64 = 10_000;
/// More than a block, so that it has files in the store, and still no job's.
const MIDDLE: u64 = 200_000;
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
    let metric = |name: &str| gateway.eddy.metric(name).unwrap();
    assert_eq!((metric("eddy_gateway_requests_total"), metric("eddy_gateway_hits_total")), (Some(6), Some(1)));
    assert_eq!(metric("eddy_gateway_sent_bytes_total"), Some(mount.sent));
    // The account of all bytes has a row for what no job asked for. It is stored after it was answered.
    publish(&origin, "/middle", MIDDLE, saying(&["Cache-Control: max-age=3600"]));
    assert_eq!(gateway.get("/m/middle", &[]).await.unwrap().status, 200);
    let deadline = Instant::now() + Duration::from_secs(60);
    let own = || gateway.eddy.report().unwrap().rows.into_iter().filter(|row| row.gateway).collect::<Vec<_>>();
    let is_all_there = |rows: &[ReportRow]| matches!(rows, [row] if row.account.received.origin == 2 * SMALL + MIDDLE);
    while !is_all_there(&own()) {
        assert!(Instant::now() < deadline, "{:#?}", gateway.eddy.report().unwrap());
    }
    let told = gateway.eddy.run(["report"]).unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let names: Vec<_> = told.lines().skip(1).take(2).map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let large = origin.url("/large.iso");
    assert!(names.contains(&"(files of the gateway)") && names.contains(&large.as_str()), "{told}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_a_file_whose_turn_is_interrupted_goes_on_as_soon_as_more_comes() {
    const BEYOND: u64 = LARGE / 2 + (2 << 20);
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "");
    let version = Version::new(12, LARGE);
    let whole = version.whole();
    // The line breaks before a half, then the origin wants a pause; in the next turn it stands still a little behind the half.
    let script = |ask: &eddy_tests::hostile::Ask| {
        let lives = saying(&["Cache-Control: max-age=3600"]);
        let behaviour = match ask.number {
            1 => Behaviour { body: Some(BodyFault::ResetAfter(LARGE / 2)), ..lives },
            2 => Behaviour::status(503).with_header("Retry-After: 1"),
            _ => {
                let first = match ask.range() {
                    Some(AskedRange::Within(first, _) | AskedRange::From(first)) => first,
                    _ => 0,
                };
                let stall = BodyFault::StallAfter(BEYOND.saturating_sub(first), Duration::from_secs(600));
                Behaviour { body: Some(stall), ..lives }
            }
        };
        (behaviour, None)
    };
    origin.publish("/large.iso", Resource::scripted(version, script));
    let mut answer = http_client().get(gateway.url("/m/large.iso")).send().await.unwrap();
    let mut came = Vec::new();
    let reading = async {
        while (came.len() as u64) < BEYOND - (1 << 20) {
            came.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
    assert!(read.is_ok() && came == whole[..came.len()], "{} bytes: {}", came.len(), gateway.daemon.log());
}
