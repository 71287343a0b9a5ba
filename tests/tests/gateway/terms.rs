//! What a gateway keeps is for who asks under the same terms: of one URL, each mount and the proxy has its own.

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, Gateway, Nginx, NginxSpec, mount, write_sample};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const SMALL: u64 = 10_000;
/// How long the store may take to take something in.
const PATIENCE: Duration = Duration::from_secs(60);
/// A shared cache of everything, which sends all fields on.
const OWN: &str = "keep = \"rfc\"\nfields = \"all\"";

/// An origin that says who asks, and lets it be kept.
fn greeter() -> Nginx {
    let directives = "location / { default_type text/plain; add_header Cache-Control max-age=3600; return 200 \"for $http_cookie.\"; }";
    Nginx::here(&NginxSpec { directives: directives.into(), ..NginxSpec::default() }).unwrap()
}

/// A page that promises another digest than its file has.
fn publish_false_promise(origin: &Nginx, folder: &str) {
    std::fs::create_dir_all(origin.files().join(folder)).unwrap();
    write_sample(&origin.files().join("bad.whl"), 1, SMALL).unwrap();
    let page = format!("<a href=\"/bad.whl#sha256={}\">bad</a>", "1".repeat(64));
    std::fs::write(origin.files().join(folder).join("index.html"), page).unwrap();
}

fn pages() -> Nginx {
    let directives = "types { text/html html; } add_header Cache-Control max-age=3600;".into();
    Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mount_keeps_of_one_client_goes_to_no_client_of_another_mount() {
    if !Nginx::ready() {
        return;
    }
    let origin = greeter();
    let url = origin.url("");
    let url = url.trim_end_matches('/');
    let mounts = [mount("/own", url, OWN), mount("/files", url, ""), mount("/same", url, OWN)];
    let gateway = Gateway::start(Eddy::here().unwrap(), &mounts.concat()).unwrap();
    let cookie: &[(&str, &str)] = &[("cookie", "me=1")];
    for (path, fields, content, is_hit) in [
        ("/own/a", cookie, "for me=1.", false),
        ("/files/a", &[][..], "for .", false),
        // The origin says that it is for all, and so does whoever mounts it.
        ("/own/a", &[], "for me=1.", true),
        ("/same/a", &[], "for me=1.", true),
        ("/files/a", &[], "for .", true),
        ("/files/b", &[], "for .", false),
        ("/own/b", cookie, "for me=1.", false),
        ("/files/b", &[], "for .", true),
    ] {
        let got = gateway.get(path, fields).await.unwrap();
        assert_eq!((String::from_utf8_lossy(got.whole()).as_ref(), got.is_hit()), (content, is_hit), "{path} {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_two_mounts_of_one_url_share_no_flight() {
    let origin = HostileOrigin::start().await.unwrap();
    let slow = Behaviour { first_byte_delay: Duration::from_millis(500), ..Behaviour::default() };
    origin.publish("/f", Resource::new(Version::new(1, SMALL), slow.with_header("Cache-Control: max-age=3600")));
    let mounts = [mount("/own", &origin.url(""), OWN), mount("/files", &origin.url(""), "")];
    let gateway = Gateway::start(Eddy::here().unwrap(), &mounts.concat()).unwrap();
    let asks = ["/own/f", "/files/f", "/own/f", "/files/f"].map(|path| gateway.get(path, &[]));
    for got in futures::future::join_all(asks).await {
        assert_eq!(got.unwrap().whole().len() as u64, SMALL);
    }
    assert_eq!(origin.counters().path("/f").requests, 2, "one for each mount");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_promises_though_it_came_by_a_mount_that_is_not_believed() {
    if !Nginx::ready() {
        return;
    }
    let origin = pages();
    publish_false_promise(&origin, "simple");
    let url = origin.url("");
    let url = url.trim_end_matches('/');
    let mounts = [mount("/plain", url, "indexes = \"ignored\""), mount("/m", url, "")].concat();
    let gateway = Gateway::start(Eddy::here().unwrap(), &mounts).unwrap();
    assert_eq!(gateway.get("/plain/simple/index.html", &[]).await.unwrap().status, 200);
    assert_eq!(gateway.get("/plain/bad.whl", &[]).await.unwrap().status, 200, "nothing is promised yet");
    let deadline = Instant::now() + PATIENCE;
    while gateway.eddy.cached().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "the store takes both in");
    }
    assert_eq!(gateway.get("/m/simple/index.html", &[]).await.unwrap().status, 200);
    for path in ["/m/bad.whl", "/plain/bad.whl"] {
        let got = gateway.get(path, &[]).await.unwrap();
        assert_eq!(got.status, 502, "{path}: {:?}", got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_the_store_has_kept_promises_after_a_restart() {
    if !Nginx::ready() {
        return;
    }
    let origin = pages();
    publish_false_promise(&origin, "simple");
    let settings = mount("/m", origin.url("").trim_end_matches('/'), "");
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    assert_eq!(gateway.get("/m/simple/index.html", &[]).await.unwrap().status, 200);
    let deadline = Instant::now() + PATIENCE;
    while gateway.eddy.cached().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the store takes it in");
    }
    let Gateway { eddy, mut daemon, .. } = gateway;
    let eddy = tokio::task::spawn_blocking(move || {
        daemon.stop(Duration::from_secs(30)).unwrap();
        eddy
    });
    let gateway = Gateway::restart(eddy.await.unwrap()).unwrap();
    assert_eq!(gateway.get("/m/simple/index.html", &[]).await.unwrap().status, 200);
    assert_eq!(gateway.get("/m/bad.whl", &[]).await.unwrap().status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dots_in_a_path_lead_to_the_mount_that_the_plain_path_names() {
    if !Nginx::ready() {
        return;
    }
    for dots in ["/m/./simple/", "/m/x/../simple/", "/m/%2e/simple/", "/m/x/%2E./simple/", "/other/../m/simple/"] {
        let origin = pages();
        publish_false_promise(&origin, "simple");
        let url = origin.url("");
        let url = url.trim_end_matches('/');
        let mounts = [mount("/m", url, "indexes = \"ignored\""), mount("/m/simple", &format!("{url}/simple"), "")];
        let gateway = Gateway::start(Eddy::here().unwrap(), &mounts.concat()).unwrap();
        let ask = format!("GET {dots}index.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let (status, text) = gateway.raw(ask.as_bytes()).await;
        assert_eq!(status, 200, "{dots}: {text}");
        assert_eq!(gateway.get("/m/bad.whl", &[]).await.unwrap().status, 502, "{dots}: the page was read");
        let out = format!("GET {dots}../../../bad.whl HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(gateway.raw(out.as_bytes()).await.0, 404, "{dots}: nothing is mounted there");
    }
}

/// A public address: it exists in the lab alone.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(172, 15, 79, 1);

#[test]
fn what_a_mount_keeps_of_one_client_goes_to_no_client_of_the_proxy() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 1, lan_rate: None, wan_rate: None }).unwrap();
    let host = &lab.hosts()[0];
    host.add_address(PUBLIC).unwrap();
    let directives = format!(
        "listen {PUBLIC}:80; location / {{ default_type text/plain; add_header Cache-Control max-age=3600; \
         return 200 \"for $http_cookie.\"; }}"
    );
    let _origin = Nginx::on(host, &NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let settings = format!("proxy = true\n{}", mount("/own", &format!("http://{PUBLIC}"), OWN));
    let gateway = Gateway::start(Eddy::on(host).unwrap(), &settings).unwrap();
    let ask = |arguments: &[&str]| {
        let output = host.command("curl").args(["-sS", "--fail", "--noproxy", ""]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (proxy, there) = (gateway.url(""), format!("http://{PUBLIC}/a"));
    assert_eq!(ask(&["-H", "Cookie: me=1", &gateway.url("/own/a")]), "for me=1.");
    assert_eq!(ask(&["--proxy", &proxy, &there]), "for .");
    assert_eq!(ask(&["--proxy", &proxy, &format!("{there}?b")]), "for .");
    assert_eq!(ask(&["-H", "Cookie: me=1", &gateway.url("/own/a?b")]), "for me=1.");
    // A client that uses the proxy for the gateway itself gets what is mounted.
    assert_eq!(ask(&["--proxy", &proxy, &gateway.url("/own/a")]), "for me=1.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t34_a_part_of_one_clients_own_is_kept_for_nobody_and_takes_nothing_off_the_shelf() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), "")).unwrap();
    let (personal, part) = (("private-token", "secret"), ("range", "bytes=0-99"));
    for path in ["/cold", "/hot"] {
        let version = Version::new(3, SMALL);
        let whole = version.whole();
        let lives = Behaviour::default().with_header("Cache-Control: max-age=3600");
        origin.publish(path, Resource::new(version, lives));
        let path = format!("/m{path}");
        let is_hot = path.ends_with("hot");
        if is_hot {
            assert!(gateway.get(&path, &[]).await.unwrap().whole() == whole);
        }
        // What is another client's own may carry an origin's leave to keep it: the mount's rules say no (T-34).
        let own = gateway.get(&path, &[personal, part]).await.unwrap();
        assert_eq!((own.status, own.whole(), own.is_hit()), (206, &whole[..100], false), "{:?}", own.fields);
        let other = gateway.get(&path, &[part]).await.unwrap();
        assert_eq!((other.whole(), other.is_hit()), (&whole[..100], is_hot), "{path}: {:?}", other.fields);
        // The part that has just been kept for all takes the place of nothing that is whole either.
        let all = gateway.get(&path, &[]).await.unwrap();
        assert!(all.whole() == whole && all.is_hit() == is_hot, "{path}: {:?}", all.fields);
    }
}
