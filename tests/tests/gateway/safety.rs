//! The gateway is no open relay, and what comes in broken, oversized, idle or in disguise is refused with a clear status.

use eddy_tests::hostile::{Behaviour, HeadFault, HostileOrigin, Resource, Version};
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, Gateway, MIB, Nginx, NginxSpec, http_client, mount, write_sample};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const LENGTH: u64 = 10_000;
/// How long something may take that another program does.
const PATIENCE: Duration = Duration::from_secs(60);
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
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x20\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length : 4\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nX: a\rContent-Length: 40\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\n Host: localhost\r\n\r\n{hidden}"),
        format!(
            "GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("GET /m/f HTTP/1.1\r\nHost: localhost/m/hidden\r\n\r\n{hidden}"),
        "GET http://localhost@other/m/f HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    for bytes in &corpus {
        let (status, text) = gateway.raw(bytes.as_bytes()).await;
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
    assert_eq!(gateway.raw(field.as_bytes()).await.0, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    assert_eq!(gateway.raw(format!("GET /m/f HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes()).await.0, 431);
    let url = format!("GET /m/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(9 << 10));
    assert_eq!(gateway.raw(url.as_bytes()).await.0, 414);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_mounted_is_served() {
    let (origin, gateway) = setting("").await;
    assert_eq!(gateway.get("/elsewhere", &[]).await.unwrap().status, 404);
    assert_eq!(gateway.get("/mm/f", &[]).await.unwrap().status, 404);
    let absolute = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.url("/f"), origin.address());
    assert_eq!(gateway.raw(absolute.as_bytes()).await.0, 403, "no proxy unless it is wanted");
    let tunnel = format!("CONNECT {} HTTP/1.1\r\nHost: localhost\r\n\r\n", origin.address());
    assert_eq!(gateway.raw(tunnel.as_bytes()).await.0, 405);
    assert_eq!(origin.counters().path("/f").requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_own_url_may_be_written_whole_and_http_1_0_may_name_no_host() {
    for more in ["", "proxy = true"] {
        let (_origin, gateway) = setting(&format!("{more}\nnames = [\"cache.lan\"]")).await;
        let (own, port) = (gateway.address(), gateway.address().rsplit(':').next().unwrap());
        let foreign = if more.is_empty() { 403 } else { 502 };
        for (ask, wanted) in [
            (format!("GET http://{own}/m/f HTTP/1.1\r\nHost: {own}\r\n\r\n"), 200),
            (format!("GET http://localhost:{port}/m/f HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"), 200),
            (format!("GET http://cache.lan:{port}/m/f HTTP/1.1\r\nHost: cache.lan\r\n\r\n"), 200),
            (format!("GET http://{own}/n/f HTTP/1.1\r\nHost: {own}\r\n\r\n"), 404),
            (format!("GET http://{own}/m/f HTTP/1.0\r\n\r\n"), 200),
            ("GET /m/f HTTP/1.0\r\n\r\n".to_owned(), 200),
            ("GET /m/f HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned(), 200),
            // Pages of others may not lead here, in whatever words.
            (format!("GET http://{own}/m/f HTTP/1.1\r\nHost: {own}\r\nOrigin: http://evil.example\r\n\r\n"), 403),
            ("GET /m/f HTTP/1.0\r\nSec-Fetch-Site: cross-site\r\n\r\n".to_owned(), 403),
            ("GET /m/f HTTP/1.0\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
            (format!("GET http://elsewhere.invalid:{port}/m/f HTTP/1.1\r\nHost: {own}\r\n\r\n"), foreign),
            ("GET /m/f HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(), 400),
            ("GET /m/f HTTP/1.1\r\n\r\n".to_owned(), 400),
            (format!("GET https://{own}/m/f HTTP/1.1\r\nHost: {own}\r\n\r\n"), if more.is_empty() { 403 } else { 400 }),
        ] {
            let (status, text) = gateway.raw(ask.as_bytes()).await;
            assert_eq!(status, wanted, "{more} {ask:?}: {text}");
        }
    }
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
        let (status, text) = gateway.raw(format!("GET /m/f HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()).await;
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

/// A request with content.
fn with_content(fields: &str, content: &str) -> String {
    format!("POST /m/f HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{content}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_what_the_content_of_a_forwarded_request_looks_like_is_no_request_to_the_origin() {
    if !Nginx::ready() {
        return;
    }
    let origin =
        Nginx::here(&NginxSpec { directives: "location / { return 204; }".into(), ..NginxSpec::default() }).unwrap();
    let forward = mount("/m", origin.url("").trim_end_matches('/'), "unsafe-methods = \"forward\"");
    let gateway = Gateway::start(Eddy::here().unwrap(), &forward).unwrap();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (length, chunk) = (hidden.len(), format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()));
    let understood = [
        with_content(&format!("Content-Length: {length}\r\n"), hidden),
        with_content("Transfer-Encoding: chunked\r\n", &chunk),
        with_content("Transfer-Encoding: chunked\r\n", &format!("0{chunk}")),
    ];
    // RFC 9112 section 6.1: by the coding alone, or not at all.
    let either = [
        with_content(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunk.len()), &chunk),
        with_content("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &chunk),
    ];
    let refused = [
        with_content(&format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), hidden),
        with_content("Transfer-Encoding: chunked, identity\r\n", &chunk),
        with_content("Transfer-Encoding: xchunked\r\n", &chunk),
        with_content("Transfer-Encoding: chunked\r\n", &format!("-{chunk}")),
        with_content("Transfer-Encoding: chunked\r\n", &format!("0x{chunk}")),
        with_content("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{hidden}")),
        with_content("Transfer-Encoding: chunked\r\n", &format!("{length:x}\r\n{hidden}GET /hidden HTTP/1.1\r\n\r\n")),
    ];
    for bytes in &understood {
        let (status, text) = gateway.raw(bytes.as_bytes()).await;
        assert!(status == 204 && text.matches("HTTP/1.1 ").count() == 1, "{bytes:?} got {text}");
    }
    for bytes in &either {
        let (status, text) = gateway.raw(bytes.as_bytes()).await;
        let is_good = status == 204 || (400..=505).contains(&status);
        assert!(is_good && text.matches("HTTP/1.1 ").count() == 1, "{bytes:?} got {text}");
    }
    for bytes in &refused {
        let (status, text) = gateway.raw(bytes.as_bytes()).await;
        assert!(status == 0 || (400..=505).contains(&status), "{bytes:?} got {text}");
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "what follows is not read as a request: {text}");
    }
    let log = origin.access().unwrap();
    assert!(log.iter().all(|access| access.method == "POST" && access.uri == "/f"), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t38_an_answer_whose_end_is_in_doubt_reaches_nobody_and_the_next_is_right() {
    let (origin, gateway) = setting("").await;
    for fault in [
        HeadFault::LengthAndChunked,
        HeadFault::TwoLengths,
        HeadFault::NegativeLength,
        HeadFault::HugeField(1 << 20),
        HeadFault::ManyFields(10_000),
        HeadFault::EndlessFields,
        HeadFault::EndlessInterim,
        HeadFault::NotHttp,
        HeadFault::Silence,
    ] {
        origin.publish("/broken", Resource::new(Version::new(2, LENGTH), Behaviour::head_fault(fault)));
        let got = gateway.get("/m/broken", &[]).await.unwrap();
        assert!(matches!(got.status, 502 | 504), "{fault:?}: {} {:?}", got.status, got.fields);
        assert_eq!(gateway.get("/m/f", &[]).await.unwrap().whole().len() as u64, LENGTH, "after {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_have_gone_are_not_served_before_those_who_are_there() {
    // As many as an origin sees at a time, again and again.
    const GONE: u64 = 4 * 64;
    let (origin, gateway) = setting("").await;
    let path = |number| format!("/hangs/{number}");
    for number in 0..GONE {
        origin.publish(&path(number), Resource::new(Version::new(1, LENGTH), Behaviour::head_fault(HeadFault::Hang)));
    }
    let mut clients = Vec::new();
    for number in 0..GONE {
        let mut client = TcpStream::connect(gateway.address()).await.unwrap();
        let ask = format!("GET /m{} HTTP/1.1\r\nHost: localhost\r\n\r\n", path(number));
        client.write_all(ask.as_bytes()).await.unwrap();
        clients.push(client);
    }
    let deadline = Instant::now() + PATIENCE;
    while origin.counters().most_at_once < 64 {
        assert!(Instant::now() < deadline, "the origin is asked by those who came first");
        tokio::task::yield_now().await;
    }
    drop(clients);
    // The origin is silent for half a minute each time.
    let got = tokio::time::timeout(PATIENCE, gateway.get("/m/f", &[])).await.expect("it waits for none of them");
    assert_eq!(got.unwrap().status, 200);
}
