//! Where the origin shell connects to, and what it takes along: redirects, TLS, credentials, budgets, proxies.

use eddy_content::ResourceUrl;
use eddy_content::http::Asked;
use eddy_content::url::TypedUrl;
use eddy_node::origin::{
    Cause, DigestUser, Fault, Opened, Origin, OriginConfig, OriginError, OriginRequest, Pace, PersonalHeaders, Phase,
    PrivateAddresses, Proxies, Retry, TlsFault,
};
use eddy_tests::hostile::{
    Ask, Behaviour, Certificate, DigestGuard, HostileOrigin, Protocol, Resource, TlsPlan, Version,
};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

fn config() -> OriginConfig {
    OriginConfig { proxies: Proxies::Direct, ..OriginConfig::default() }
}

fn client() -> Origin {
    Origin::new(config()).expect("sets up")
}

fn version() -> Version {
    Version::new(3, 10_000)
}

fn file() -> Resource {
    Resource::new(version(), Behaviour::default())
}

async fn get(origin: &Origin, request: &OriginRequest) -> Result<(ResourceUrl, Vec<u8>), OriginError> {
    let Opened::Body { final_url, mut body, .. } = origin.open(request).await? else { panic!("no body") };
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok((final_url, bytes))
}

fn whole(url: &str) -> OriginRequest {
    OriginRequest::new(ResourceUrl::parse(url).expect("a URL"), Asked::Whole)
}

async fn cause(origin: &Origin, url: &str) -> Cause {
    get(origin, &whole(url)).await.expect_err("fails").cause
}

#[tokio::test]
async fn redirects_are_followed_to_the_file_and_the_final_url_is_told() {
    let (first, second) =
        (HostileOrigin::start().await.expect("starts"), HostileOrigin::start().await.expect("starts"));
    first.publish("/a/start", Resource::new(version(), Behaviour::redirect("../b")));
    first.publish("/b", Resource::new(version(), Behaviour::redirect(second.url("/file?x=1"))));
    second.publish("/file", file());
    let (final_url, bytes) = get(&client(), &whole(&first.url("/a/start"))).await.expect("gets");
    assert_eq!(final_url.as_str(), second.url("/file?x=1"));
    assert_eq!(bytes, version().whole());
}

#[tokio::test]
async fn t20_redirects_without_an_end_end() {
    let server = HostileOrigin::start().await.expect("starts");
    server.publish("/self", Resource::new(version(), Behaviour::redirect("/self")));
    server.publish("/ping", Resource::new(version(), Behaviour::redirect("/pong")));
    server.publish("/pong", Resource::new(version(), Behaviour::redirect("/ping")));
    for path in ["/self", "/ping"] {
        assert_eq!(cause(&client(), &server.url(path)).await, Cause::TooManyRedirects { limit: 10 }, "{path}");
    }
    let counters = server.counters();
    assert_eq!(counters.path("/ping").requests + counters.path("/pong").requests, 11, "the first and ten redirects");
}

#[tokio::test]
async fn t20_redirects_to_what_is_no_web_page_are_refused() {
    let server = HostileOrigin::start().await.expect("starts");
    for location in ["file:///etc/passwd", "ftp://h/x", "http://", "data:,x"] {
        server.publish("/f", Resource::new(version(), Behaviour::redirect(location)));
        let cause = cause(&client(), &server.url("/f")).await;
        assert!(matches!(cause, Cause::BadRedirect(_)), "{location}: {cause}");
    }
    server.publish("/f", Resource::new(version(), Behaviour::redirect("")));
    assert!(matches!(cause(&client(), &server.url("/f")).await, Cause::Protocol(_)));
}

/// A proxy stands in for the Internet: it answers for public names, and what it redirects to is somebody else's choice.
#[tokio::test]
async fn t20_a_public_origin_cannot_send_this_node_into_its_own_network() {
    let internet = HostileOrigin::start().await.expect("starts");
    let victim = HostileOrigin::start().await.expect("starts");
    let port = victim.address().port();
    victim.publish("/secret", file());
    let proxies = Proxies::Fixed { url: internet.url(""), except: "127.0.0.1,localhost,::1,10.0.0.0/8".to_owned() };
    let origin = Origin::new(OriginConfig { proxies, ..config() }).expect("sets up");
    for host in [
        "127.0.0.1",
        "localhost",
        "x.localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "192.168.1.1",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        let location = format!("http://{host}:{port}/secret");
        internet.publish("/lure", Resource::new(version(), Behaviour::redirect("/second")));
        internet.publish("/second", Resource::new(version(), Behaviour::redirect(location)));
        let cause = cause(&origin, "http://public.example/lure").await;
        assert!(matches!(cause, Cause::Address { .. }), "{host}: {cause}");
    }
    assert_eq!(victim.counters().connections, 0);
}

#[tokio::test]
async fn t20_a_node_can_be_told_to_stay_out_of_private_networks_altogether() {
    let server = HostileOrigin::start().await.expect("starts");
    let closed = OriginConfig { private_addresses: PrivateAddresses::Refused, ..config() };
    let origin = Origin::new(closed).expect("sets up");
    for host in ["127.0.0.1", "localhost"] {
        let cause = cause(&origin, &format!("http://{host}:{}/f", server.address().port())).await;
        assert!(matches!(cause, Cause::Address { .. }), "{host}: {cause}");
    }
    assert_eq!(server.counters().connections, 0);
}

#[tokio::test]
async fn r15_credentials_and_personal_fields_stay_with_the_named_origin() {
    let (named, stranger) =
        (HostileOrigin::start().await.expect("starts"), HostileOrigin::start().await.expect("starts"));
    named.publish("/start", Resource::new(version(), Behaviour::redirect("/next")));
    named.publish("/next", Resource::new(version(), Behaviour::redirect(stranger.url("/file"))));
    stranger.publish("/file", file());
    let typed = TypedUrl::parse(&named.url("/start").replace("//", "//user:p%40ss@")).expect("a URL");
    let mut request = OriginRequest::new(typed.resource, Asked::Whole);
    request.credentials = typed.userinfo;
    request.personal = PersonalHeaders::parse([("X-Api-Key", "k"), ("Cookie", "c=1")]).expect("legal");
    get(&client(), &request).await.expect("gets");
    let next = named.counters().path("/next").last_headers;
    assert_eq!(next.get("authorization").map(String::as_str), Some("Basic dXNlcjpwQHNz"), "user:p@ss");
    assert_eq!(next.get("x-api-key").map(String::as_str), Some("k"));
    let taken = stranger.counters().path("/file").last_headers;
    for secret in ["authorization", "x-api-key", "cookie", "referer"] {
        assert!(!taken.contains_key(secret), "{secret}");
    }
}

#[tokio::test]
async fn f69_a_password_is_proved_by_hashes_with_one_refusal_for_many_questions() {
    let (named, stranger) =
        (HostileOrigin::start().await.expect("starts"), HostileOrigin::start().await.expect("starts"));
    let guard = DigestGuard::new("eve", "pass", 3);
    let next = stranger.url("/file");
    let script = move |ask: &Ask| match guard.refuse(ask) {
        Some(refusal) => (refusal, None),
        None if ask.path() == "/f" => (Behaviour::default(), None),
        None => (Behaviour::redirect(next.clone()), None),
    };
    let script = Arc::new(script);
    for path in ["/f", "/moved"] {
        let script = Arc::clone(&script);
        named.publish(path, Resource::scripted(version(), move |ask| script(ask)));
    }
    stranger.publish("/file", file());
    let origin = Origin::new(OriginConfig { requests_per_origin: 1, ..config() }).expect("sets up");
    let ask = |path: &str, password: &str| {
        let digest = Some(DigestUser { user: "eve".to_owned(), password: password.to_owned() });
        OriginRequest { digest, ..whole(&named.url(path)) }
    };
    let asked = |path| named.counters().path(path).requests;
    // The first is refused, three pass, the fifth comes too late for its nonce and is asked again.
    for (questions, requests) in [(1, 2), (2, 3), (3, 4), (4, 6)] {
        assert_eq!(get(&origin, &ask("/f?q=1", "pass")).await.expect("gets").1, version().whole());
        assert_eq!(asked("/f"), requests, "{questions}");
    }
    // A wrong password is tried with the known challenge and with that of its refusal, and then no more.
    let refused = get(&origin, &ask("/f", "wrong")).await.expect_err("refused").cause;
    assert_eq!(refused, Cause::Status { status: 401, retry: Retry::Permanent });
    assert_eq!(asked("/f"), 8);
    get(&origin, &ask("/moved", "pass")).await.expect("gets");
    assert!(!stranger.counters().path("/file").last_headers.contains_key("authorization"));
    // Nobody else is told, and who has nothing to prove is refused at once.
    let plain = get(&origin, &whole(&named.url("/f"))).await.expect_err("refused").cause;
    assert_eq!((plain, asked("/f")), (Cause::Status { status: 401, retry: Retry::Permanent }, 9));
}

#[tokio::test]
async fn an_origin_sees_no_more_requests_at_once_than_its_budget() {
    let server = HostileOrigin::start().await.expect("starts");
    let far_away = Behaviour::default().far_away(Duration::from_millis(60));
    server.publish("/f", Resource::new(version(), far_away));
    let origin = Origin::new(OriginConfig { requests_per_origin: 3, ..config() }).expect("sets up");
    let request = Arc::new(whole(&server.url("/f")));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (origin, request) = (origin.clone(), Arc::clone(&request));
        tasks.spawn(async move { get(&origin, &request).await.expect("gets").1.len() });
    }
    while let Some(length) = tasks.join_next().await {
        assert_eq!(length.expect("ran"), 10_000);
    }
    assert_eq!(server.counters().most_at_once, 3);
    assert!(server.counters().connections <= 3, "connections are used again");
}

#[tokio::test]
async fn a_dropped_body_gives_its_place_back() {
    let server = HostileOrigin::start().await.expect("starts");
    server.publish("/f", Resource::new(Version::new(3, 50_000_000), Behaviour::default()));
    let origin = Origin::new(OriginConfig { requests_per_origin: 1, ..config() }).expect("sets up");
    for _ in 0..5 {
        let opened = origin.open(&whole(&server.url("/f"))).await.expect("opens");
        drop(opened);
    }
    assert_eq!(server.counters().path("/f").requests, 5);
}

/// A client whose patience is short: for servers that never answer.
fn impatient(config: OriginConfig) -> Origin {
    Origin::new(OriginConfig { read_timeout: Duration::from_millis(900), ..config }).expect("sets up")
}

async fn tls(certificate: Certificate, protocol: Protocol) -> (HostileOrigin, Origin) {
    let (server, config) = tls_config(certificate, protocol).await;
    (server, Origin::new(config).expect("sets up"))
}

async fn tls_config(certificate: Certificate, protocol: Protocol) -> (HostileOrigin, OriginConfig) {
    let server = HostileOrigin::start_tls(TlsPlan { certificate, protocol }).await.expect("starts");
    server.publish("/f", file());
    let mut roots = tempfile::NamedTempFile::new().expect("a file");
    roots.write_all(server.root_pem().expect("speaks TLS").as_bytes()).expect("writes");
    let (_, extra_roots) = roots.keep().expect("keeps");
    (server, OriginConfig { extra_roots: Some(extra_roots), ..config() })
}

#[tokio::test]
async fn every_fault_of_a_certificate_has_its_name() {
    let (server, origin) = tls(Certificate::Good, Protocol::Http1).await;
    let (_, bytes) = get(&origin, &whole(&server.url("/f"))).await.expect("gets");
    assert_eq!(bytes, version().whole());
    for (certificate, fault) in [
        (Certificate::Expired, TlsFault::Expired),
        (Certificate::NotYetValid, TlsFault::NotYetValid),
        (Certificate::OtherName, TlsFault::WrongName),
        (Certificate::UnknownIssuer, TlsFault::UnknownIssuer),
    ] {
        let (server, origin) = tls(certificate, Protocol::Http1).await;
        assert_eq!(cause(&origin, &server.url("/f")).await, Cause::Tls(fault), "{certificate:?}");
        assert_eq!(server.counters().path("/f").requests, 0);
    }
}

#[tokio::test]
async fn t20_https_is_never_left_for_http() {
    let (secure, origin) = tls(Certificate::Good, Protocol::Http1).await;
    let plain = HostileOrigin::start().await.expect("starts");
    plain.publish("/f", file());
    secure.publish("/f", Resource::new(version(), Behaviour::redirect(plain.url("/f"))));
    assert_eq!(cause(&origin, &secure.url("/f")).await, Cause::Downgrade);
    assert_eq!(plain.counters().connections, 0);
}

#[tokio::test]
async fn a_stalled_http2_server_is_asked_with_http1_the_next_time() {
    let (server, config) = tls_config(Certificate::Good, Protocol::StallingHttp2).await;
    let origin = impatient(config);
    let error = get(&origin, &whole(&server.url("/f"))).await.expect_err("stalls");
    assert_eq!(error.retry(), Retry::Transient { after: None }, "{error}");
    let (_, bytes) = get(&origin, &whole(&server.url("/f"))).await.expect("gets");
    assert_eq!(bytes, version().whole());
}

#[tokio::test]
async fn f110_a_job_with_a_limit_shares_no_http2_connection_with_others() {
    let (server, config) = tls_config(Certificate::Good, Protocol::StallingHttp2).await;
    let request = OriginRequest { pace: Some(Pace::new(Some(1 << 30))), ..whole(&server.url("/f")) };
    let (_, bytes) = get(&impatient(config), &request).await.expect("is asked with HTTP/1.1 at once");
    assert_eq!(bytes, version().whole());
}

#[tokio::test]
async fn every_way_not_to_connect_has_its_name() {
    let origin = client();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port, free again");
    let closed = format!("http://{free}/f");
    assert_eq!(cause(&origin, &closed).await, Cause::Refused);
    let nowhere = get(&origin, &whole("http://no-such-host.invalid/f?token=secret")).await.expect_err("fails");
    assert!(matches!(nowhere.cause, Cause::Dns { .. }), "{nowhere}");
    assert!(!nowhere.to_string().contains("secret"), "{nowhere}");
    let plain = HostileOrigin::start().await.expect("starts");
    let no_tls = cause(&impatient(config()), &plain.url("/f").replace("http:", "https:")).await;
    assert!(matches!(no_tls, Cause::Tls(TlsFault::Handshake(_)) | Cause::Timeout(Phase::Answer)), "{no_tls}");
    assert_eq!(Cause::Refused.fault(), Fault::Origin);
}

#[test]
fn settings_that_cannot_work_are_found_at_start() {
    let missing = OriginConfig { extra_roots: Some("/no/such/file".into()), ..config() };
    assert!(Origin::new(missing).is_err());
    let empty = tempfile::NamedTempFile::new().expect("a file");
    assert!(Origin::new(OriginConfig { extra_roots: Some(empty.path().into()), ..config() }).is_err());
    let proxies = Proxies::Fixed { url: "not a proxy".to_owned(), except: String::new() };
    assert!(Origin::new(OriginConfig { proxies, ..config() }).is_err());
}

/// Runs [`fetches_as_told_by_its_environment`] in a process of its own, since the environment belongs to a process.
#[tokio::test]
async fn the_platforms_roots_can_be_named_by_ssl_cert_file() {
    let (server, config) = tls_config(Certificate::Good, Protocol::Http1).await;
    let roots = config.extra_roots.expect("written");
    let url = server.url("/f");
    let run = |roots: std::path::PathBuf| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            std::process::Command::new(std::env::current_exe().expect("this test"))
                .args(["--ignored", "--exact", "hops::fetches_as_told_by_its_environment"])
                .env("SSL_CERT_FILE", roots)
                .env("TEST_URL", url)
                .status()
        })
    };
    assert!(run(roots).await.expect("ran").expect("started").success());
    assert_eq!(server.counters().path("/f").requests, 1);
    let none = tempfile::NamedTempFile::new().expect("a file");
    let refused = run(none.path().to_owned()).await.expect("ran").expect("started");
    assert!(!refused.success(), "a machine without roots trusts nobody");
}

#[tokio::test]
#[ignore = "is run by the_platforms_roots_can_be_named_by_ssl_cert_file"]
async fn fetches_as_told_by_its_environment() {
    let Ok(url) = std::env::var("TEST_URL") else { return }; // nobody's child
    assert_eq!(get(&client(), &whole(&url)).await.expect("gets").1, version().whole());
}
