//! Shared fetches without shared fate: origins that cut the line anywhere, clients that are killed, that resume, and that fetch in splits.
//!
//! `EDDY_CUTS` (4) is how many bytes are drawn at which the origin cuts; `EDDY_SEED` where they begin.

use eddy_tests::hostile::{Ask, Behaviour, BodyFault, Framing, HostileOrigin, RangeAnswer, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, from_environment, mount};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LARGE: u64 = 20 << 20;
const AT_ONCE: u64 = 8;

fn lives() -> Behaviour {
    Behaviour::default().with_header("Cache-Control: max-age=3600")
}

fn gateway(origin: &HostileOrigin) -> Gateway<'static> {
    Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), "")).unwrap()
}

fn is_here(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        eprintln!("skipped: {program} is not here");
    }
    is_here
}

/// A client that asks the gateway and nobody else.
fn client(program: &str, arguments: &[&str], folder: &Path) -> Child {
    let mut command = Command::new(program);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Runs such a client to its good end.
async fn run(program: &'static str, arguments: Vec<String>, folder: &Path) {
    let folder = folder.to_path_buf();
    let ended = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        client(program, &arguments, &folder).wait().unwrap()
    });
    let ended = ended.await.unwrap();
    assert!(ended.success(), "{program}: {ended}");
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_origin_cuts_the_line_every_client_gets_every_byte() {
    let seed = from_environment("EDDY_SEED", 1);
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    for number in 0..from_environment("EDDY_CUTS", 4) {
        // Small ones grow in memory, large ones go through the store.
        let (path, length) = if number % 2 == 0 { ("middle", 3 << 20) } else { ("large.iso", LARGE) };
        let path = format!("/{number}-{path}");
        let hash = blake3::keyed_hash(&[7; 32], &[seed.to_le_bytes(), number.to_le_bytes()].concat());
        let place = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) % length.min(16 << 20);
        println!("seed {seed}, {path}: cut at byte {place}");
        let version = Version::new(number, length);
        let whole = version.whole();
        let script = move |ask: &Ask| {
            (Behaviour { body: (ask.number == 1).then_some(BodyFault::ResetAfter(place)), ..lives() }, None)
        };
        origin.publish(&path, Resource::scripted(version, script));
        let path = format!("/m{path}");
        let clients = (0..AT_ONCE).map(|_| gateway.get(&path, &[]));
        for got in futures::future::join_all(clients).await {
            let got = got.unwrap();
            assert!(got.status == 200 && got.whole() == whole, "{path}: {:?}", got.fields);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_that_began_is_killed_and_the_others_do_not_notice() {
    if !is_here("curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = Arc::new(gateway(&origin));
    for (path, length) in [("/middle", 3 << 20), ("/large.iso", LARGE)] {
        let version = Version::new(5, length);
        let whole = version.whole();
        origin.publish(path, Resource::new(version, Behaviour { rate: Some(8 << 20), ..lives() }));
        let url = gateway.url(&format!("/m{path}"));
        let mut leader = client("curl", &["-sS", "--noproxy", "*", &url], folder.path());
        let begun = tokio::task::spawn_blocking(move || {
            leader.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            leader
        });
        let mut leader = begun.await.unwrap();
        let others = (1..AT_ONCE).map(|_| {
            let (gateway, path) = (gateway.clone(), format!("/m{path}"));
            tokio::spawn(async move { gateway.get(&path, &[]).await.unwrap() })
        });
        let others: Vec<_> = others.collect();
        leader.kill().unwrap();
        leader.wait().unwrap();
        for got in others {
            let got = got.await.unwrap();
            assert!(got.status == 200 && got.whole() == whole, "{path}: {:?}", got.fields);
        }
        assert_eq!(origin.counters().path(path).body_bytes, length, "{path}: one copy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloaders_resume_and_split_through_it_byte_for_byte() {
    let origin = HostileOrigin::start().await.unwrap();
    let version = Version::new(6, LARGE);
    let whole = version.whole();
    let tools: [(&'static str, &str); 3] = [
        ("wget", "--quiet --no-proxy -c -O got"),
        ("curl", "-sS --noproxy * --fail -C - -o got"),
        ("aria2c", "--quiet --no-conf --all-proxy= --allow-overwrite=true -c -x4 -s4 -k1M -o got"),
    ];
    for (tool, arguments) in tools.into_iter().filter(|(tool, _)| is_here(tool)) {
        // From nothing and from a part that an earlier run has left; what nobody holds, and what is held though the origin has no ranges.
        for (state, ranges, is_held, has_part) in [
            ("cold", RangeAnswer::Honest, false, false),
            ("cold-part", RangeAnswer::Honest, false, true),
            ("held", RangeAnswer::Ignored, true, false),
            ("held-part", RangeAnswer::Ignored, true, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = format!("/{tool}-{state}.iso");
            origin
                .publish(&path, Resource::new(version.clone(), Behaviour { ranges, rate: Some(64 << 20), ..lives() }));
            let gateway = gateway(&origin);
            let path = format!("/m{path}");
            if is_held {
                assert!(gateway.get(&path, &[]).await.unwrap().whole() == whole);
            }
            // aria2c believes its own notes alone about what is there.
            if has_part && tool != "aria2c" {
                std::fs::write(folder.path().join("got"), &whole[..7_654_321]).unwrap();
            }
            let mut arguments = words(arguments);
            arguments.push(gateway.url(&path));
            run(tool, arguments, folder.path()).await;
            let got = std::fs::read(folder.path().join("got")).unwrap();
            assert!(got == whole, "{tool}, {state}: {} bytes", got.len());
            if is_held {
                assert_eq!(
                    origin.counters().path(path.strip_prefix("/m").unwrap()).body_bytes,
                    LARGE,
                    "{tool}, {state}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_can_tell_an_end_by_the_connection_alone_sees_that_an_answer_broke_off() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    for fault in [None, Some(BodyFault::ResetAfter(100_000))] {
        // Kept for nobody, and of a length that nobody knows.
        let unkept = Behaviour::framing(Framing::Chunked).with_header("Set-Cookie: a=b");
        let behaviour = Behaviour { ranges: RangeAnswer::Ignored, body: fault, ..unkept };
        origin.publish("/own", Resource::new(Version::new(9, 200_000), behaviour));
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(b"GET /m/own HTTP/1.0\r\n\r\n").await.unwrap();
        let mut all = Vec::new();
        let ended = stream.read_to_end(&mut all).await;
        assert!(all.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&all[..all.len().min(300)]));
        assert_eq!(ended.is_ok(), fault.is_none(), "{fault:?}: {} bytes", all.len());
    }
}
