//! The gateway is no open relay, and what comes in broken, oversized, idle or in disguise is refused with a clear status.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, Gateway, MIB, Nginx, NginxSpec, http_client, mount, write_sample};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LENGTH: u64 = 10_000;
/// Memory that a thousand idle connections may take: heads of up to 64 KiB are read into buffers that begin small.
const IDLE_BYTES: u64 = 64 << 20;

async fn setting(more: &str) -> (HostileOrigin, Gateway<'static>) {
    let origin = HostileOrigin::start().await.unwrap();
    let lives = Behaviour::default().with_header("Cache-Control: max-age=3600");
    origin.publish("/f", Resource::new(Version::new(1, LENGTH), lives));
    let gateway =
        Gateway::start(Eddy::here().unwrap(), &format!("{more}\n{}", mount("/m", &origin.url(""), ""))).unwrap();
    (origin, gateway)
}

/// Sends bytes and takes what comes until the end or a pause; the status of the first answer, 0 for none, and all text.
async fn raw(gateway: &Gateway<'_>, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut all = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            all.extend_from_slice(&piece[..count]);
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(700), reading).await;
    let text = String::from_utf8_lossy(&all).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_what_could_smuggle_a_request_is_refused_and_nothing_of_it_reaches_the_origin() {
    let (origin, gateway) = setting("").await;
    let hidden = "GET /m/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let corpus = [
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n{hidden}"),
        format!(
            "GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: +4\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 4\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nX\0: a\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\n\r\n{hidden}"),
        format!("GET /m/f\r\n HTTP/1.1\r\nHost: localhost\r\n\r\n{hidden}"),
        format!("GET  /m/f HTTP/1.1\r\nHost: localhost\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/9.1\r\nHost: localhost\r\n\r\n{hidden}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    for bytes in &corpus {
        let (status, text) = raw(&gateway, bytes.as_bytes()).await;
        assert!(status == 0 || (400..=505).contains(&status), "{bytes:?} got {text}");
    }
    assert_eq!(origin.counters().path("/hidden").requests, 0, "a hidden request was heard");
    assert_eq!(origin.counters().path("/f").requests, 0);
    assert_eq!(gateway.get("/m/f", &[]).await.unwrap().status, 200, "it goes on serving");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t22_oversized_requests_get_a_clear_status() {
    let (_origin, gateway) = setting("").await;
    let field = format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(200 << 10));
    assert_eq!(raw(&gateway, field.as_bytes()).await.0, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    assert_eq!(raw(&gateway, format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes()).await.0, 431);
    let url = format!("GET /m/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9 << 10));
    assert_eq!(raw(&gateway, url.as_bytes()).await.0, 414);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_mounted_is_served() {
    let (origin, gateway) = setting("").await;
    assert_eq!(gateway.get("/elsewhere", &[]).await.unwrap().status, 404);
    assert_eq!(gateway.get("/mm/f", &[]).await.unwrap().status, 404);
    let absolute = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/f"), origin.address());
    assert_eq!(raw(&gateway, absolute.as_bytes()).await.0, 403, "no proxy unless it is wanted");
    let tunnel = format!("CONNECT {} HTTP/1.1\r\nHost: localhost\r\n\r\n", origin.address());
    assert_eq!(raw(&gateway, tunnel.as_bytes()).await.0, 405);
    assert_eq!(origin.counters().path("/f").requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t20_a_proxys_client_reaches_public_addresses_alone() {
    let (origin, gateway) = setting("proxy = true\ntunnel = true").await;
    let port = origin.address().port();
    let private = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
    ];
    for host in private {
        let plain = format!("GET http://{host}:{port}/f HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        let (status, text) = raw(&gateway, plain.as_bytes()).await;
        assert_eq!(status, 403, "{host}: {text}");
    }
    for target in [
        format!("127.0.0.1:{port}"),
        "127.0.0.1:443".to_owned(),
        "localhost:443".to_owned(),
        "example.org:25".to_owned(),
    ] {
        let tunnel = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        assert_eq!(raw(&gateway, tunnel.as_bytes()).await.0, 403, "{target}");
    }
    let secure = "GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n";
    assert_eq!(raw(&gateway, secure.as_bytes()).await.0, 400);
    assert_eq!(origin.counters().path("/f").requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t45_pages_of_other_sites_and_foreign_names_are_refused() {
    let (origin, gateway) = setting("names = [\"cache.lan\"]").await;
    let asks = [
        ("Host: evil.example", 421),
        ("Host: 127.0.0.1.evil.example", 421),
        ("Host: cache.lan:1", 200),
        ("Host: localhost", 200),
        ("Host: [::1]:7", 200),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site", 403),
        ("Host: localhost\r\nSec-Fetch-Site: none", 200),
    ];
    for (fields, wanted) in asks {
        let (status, text) = raw(&gateway, format!("GET /m/f HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await;
        assert_eq!(status, wanted, "{fields}: {text}");
    }
    assert!(origin.counters().path("/f").requests <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t31_what_one_client_says_changes_nothing_for_the_next() {
    let (origin, gateway) = setting("").await;
    let poison = [
        ("x-forwarded-host", "evil"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/other"),
        ("forwarded", "host=evil"),
        ("user-agent", "evil"),
        ("referer", "http://evil/"),
    ];
    assert_eq!(gateway.get("/m/f", &poison).await.unwrap().status, 200);
    let seen = origin.counters().path("/f").last_headers;
    for (name, value) in poison {
        assert!(seen.get(name).is_none_or(|seen| seen != value), "{name} went through: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_and_slow_readers_cost_little_and_hold_nobody_back() {
    let (origin, gateway) = setting("").await;
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: Some(4096),
            maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        },
    )
    .unwrap();
    origin.publish(
        "/large.iso",
        Resource::new(Version::new(2, 32 << 20), Behaviour::default().with_header("Cache-Control: max-age=60")),
    );
    assert_eq!(gateway.get("/m/large.iso", &[]).await.unwrap().whole().len(), 32 << 20);
    let before = gateway.daemon.resident_bytes().unwrap();
    let mut idle = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(b"GET /m/f HTTP/1.1\r\nHost: local").await.unwrap();
        }
        idle.push(stream);
    }
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut answer = http_client().get(gateway.url("/m/large.iso")).send().await.unwrap();
        answer.chunk().await.unwrap().unwrap();
        slow.push(answer);
    }
    assert_eq!(gateway.get("/m/large.iso", &[]).await.unwrap().whole().len(), 32 << 20, "others are served");
    let after = gateway.daemon.resident_bytes().unwrap();
    // Each slow reader has at most two pieces of 1 MiB in its queue, and one that is being read.
    assert!(after < before + IDLE_BYTES + 50 * (4 << 20), "{} MiB more", (after - before) >> 20);
    drop((idle, slow));
}

/// A public address: it exists in the lab alone.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(172, 15, 77, 1);

#[test]
fn t31_a_mounts_client_gets_what_its_index_promises_whatever_a_proxys_client_fetches() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 1, lan_rate: None, wan_rate: None }).unwrap();
    let host = &lab.hosts()[0];
    host.add_address(PUBLIC).unwrap();
    // So slow that what two clients want at once is on its way at once.
    let directives = format!("listen {PUBLIC}:80; limit_rate 4m; types {{ text/html html; }}");
    let origin = Nginx::on(host, &NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let work = tempfile::tempdir().unwrap();
    let files = [("small.whl", 3 * MIB), ("large.whl", 8 * MIB)];
    let mut page = String::new();
    for (name, length) in files {
        write_sample(&origin.files().join(name), 3, length).unwrap();
        page += &format!("<a href=\"{name}#sha256={}\">{name}</a>\n", "1".repeat(64));
    }
    std::fs::write(origin.files().join("index.html"), page).unwrap();
    let settings = format!("proxy = true\n{}", mount("/m", &format!("http://{PUBLIC}"), ""));
    let gateway = Gateway::start(Eddy::on(host).unwrap(), &settings).unwrap();
    let mounted = |name: &str| -> Command {
        let mut command = host.command("curl");
        command.args(["-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", &gateway.url(&format!("/m/{name}"))]);
        command
    };
    assert!(mounted("index.html").status().unwrap().success());
    for (name, _) in files {
        let taken = work.path().join(name);
        let mut command = host.command("curl");
        command.args(["-sS", "--fail", "--no-buffer", "--noproxy", "", "--proxy", &gateway.url("")]);
        let mut proxied = command.arg("-o").arg(&taken).arg(format!("http://{PUBLIC}/{name}")).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while taken.metadata().map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < deadline && proxied.try_wait().unwrap().is_none(), "{}", gateway.daemon.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let refused = |when: &str| assert!(!mounted(name).status().unwrap().success(), "{name} is not so: {when}");
        refused("while a proxy's client fetches it");
        assert!(proxied.wait().unwrap().success(), "{name}: nothing is promised there");
        assert!(std::fs::read(&taken).unwrap() == std::fs::read(origin.files().join(name)).unwrap());
        refused("after a proxy's client has fetched it");
    }
}
