//! What is on the shelf, and not in the store any more, or there by a part alone, is asked for again: nobody is refused for it.

use eddy_tests::hostile::{Ask, Behaviour, BodyFault, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, mount};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// How long something may take that another program does.
const PATIENCE: Duration = Duration::from_secs(60);
const LARGE: u64 = 20 << 20;
/// Where the first answer breaks off.
const CUT: u64 = 6 << 20;

fn gateway(origin: &HostileOrigin) -> Gateway<'static> {
    Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), "")).unwrap()
}

/// As many servers answer by default, and one that names a lifetime.
fn servers() -> [Behaviour; 2] {
    [Behaviour::default(), Behaviour::default().with_header("Cache-Control: max-age=3600")]
}

/// Takes everything out of the store.
fn empty(gateway: &Gateway<'_>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = gateway.eddy.cached().unwrap();
        if held.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "somebody still reads what is to be removed");
        for entity in held {
            // Refused as long as it is filled or read.
            gateway.eddy.run(["cache", "rm", &entity.id]).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_left_the_store_is_fetched_again() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    for (number, behaviour) in servers().into_iter().enumerate() {
        let (path, version) = (format!("/{number}.iso"), Version::new(5, LARGE));
        let whole = version.whole();
        origin.publish(&path, Resource::new(version, behaviour));
        let path = format!("/m{path}");
        assert!(gateway.get(&path, &[]).await.unwrap().whole() == whole);
        for range in [None, Some("bytes=100-199")] {
            empty(&gateway);
            let fields: Vec<_> = range.into_iter().map(|range| ("range", range)).collect();
            let got = gateway.get(&path, &fields).await.unwrap();
            let wanted = if range.is_some() { (206, &whole[100..200]) } else { (200, &whole[..]) };
            assert!((got.status, got.whole()) == wanted, "{path} {range:?}: {} {:?}", got.status, got.fields);
            assert!(gateway.get(&path, &[]).await.unwrap().whole() == whole, "it is held again");
        }
    }
}

/// Bytes of the file that the store holds, as soon as there are some.
fn held(gateway: &Gateway<'_>) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held: u64 = gateway.eddy.cached().unwrap().iter().map(|entity| entity.held).sum();
        if held > 0 {
            return held;
        }
        assert!(Instant::now() < deadline, "nothing of what came is kept");
    }
}

/// Has the gateway hold the beginning of a file that such a server has, and nothing behind that; from then on the server is well. How much that is.
async fn partly(gateway: &Gateway<'_>, origin: &HostileOrigin, behaviour: Behaviour, version: Version) -> u64 {
    // The first answer breaks off, and no other comes before something is held; then there is no such file, which ends its job.
    let stage = Arc::new(AtomicU8::new(0));
    let seen = stage.clone();
    let script = move |ask: &Ask| match (ask.number, seen.load(Ordering::Relaxed)) {
        (1, _) => (Behaviour { body: Some(BodyFault::CloseAfter(CUT)), ..behaviour.clone() }, None),
        (_, 0) => (Behaviour::status(503), None),
        (_, 1) => (Behaviour::status(404), None),
        _ => (behaviour.clone(), None),
    };
    origin.publish("/x.iso", Resource::scripted(version, script));
    let mut client = TcpStream::connect(gateway.address()).await.unwrap();
    client.write_all(b"GET /m/x.iso HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    held(gateway);
    stage.store(1, Ordering::Relaxed);
    gateway.daemon.wait_line("a file is filled no further", PATIENCE).unwrap();
    stage.store(2, Ordering::Relaxed);
    drop(client);
    held(gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_partly_held_goes_on_from_there() {
    for behaviour in servers() {
        let origin = HostileOrigin::start().await.unwrap();
        let gateway = gateway(&origin);
        let version = Version::new(6, LARGE);
        let whole = version.whole();
        let held = partly(&gateway, &origin, behaviour.clone(), version).await;
        let before = origin.counters().path("/x.iso").body_bytes;
        let got = gateway.get("/m/x.iso", &[]).await.unwrap();
        assert!(got.status == 200 && got.whole() == whole, "{behaviour:?}: {} {:?}", got.status, got.fields);
        let sent = origin.counters().path("/x.iso").body_bytes - before;
        assert!(sent <= LARGE - held, "{behaviour:?}: {held} are held, and {sent} were sent");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_another_version_than_the_part_that_is_held_gets_the_whole() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    let [_, lives] = servers();
    let version = Version::new(6, LARGE);
    let whole = version.whole();
    partly(&gateway, &origin, lives, version).await;
    let part = ("range", "bytes=0-99");
    let got = gateway.get("/m/x.iso", &[part]).await.unwrap();
    assert_eq!((got.status, got.whole(), got.is_hit()), (206, &whole[..100], true), "{:?}", got.fields);
    // RFC 9110 section 13.1.5.
    let got = gateway.get("/m/x.iso", &[part, ("if-range", "\"another\"")]).await.unwrap();
    assert!(got.status == 200 && got.whole() == whole, "{} {:?}", got.status, got.fields);
}
