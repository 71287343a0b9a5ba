//! Pages whose links are replaced lead through the gateway.

use eddy_tests::hostile::{Ask, Behaviour, BodyFault, Framing, HostileOrigin, RangeAnswer, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, Nginx, NginxSpec, http_client, mount};
use reqwest::Method;
use std::time::{Duration, Instant};

const SMALL: u64 = 10_000;
/// Requests that one origin sees from the gateway at a time.
const AT_ONCE: usize = 64;

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
async fn many_pages_of_unknown_length_come_at_the_same_time() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "links = { \"https://files.example/\" = \"/files/\" }");
    // Each is under way until all have begun. As much memory as the longest of them takes is not there for all.
    let slow = Behaviour {
        framing: Framing::Chunked,
        ranges: RangeAnswer::Ignored,
        body: Some(BodyFault::StallAfter(SMALL / 2, Duration::from_secs(2))),
        ..saying(&["Content-Type: text/html"])
    };
    let pages: Vec<String> = (0..60).map(|number| format!("/simple/{number}/")).collect();
    let whole: Vec<_> = pages.iter().map(|page| publish(&origin, page, SMALL, slow.clone())).collect();
    let asks = pages.iter().map(async |page| gateway.get(&format!("/m{page}"), &[]).await.unwrap());
    for (got, whole) in futures::future::join_all(asks).await.iter().zip(whole) {
        assert!(got.status == 200 && got.whole() == whole, "{} {:?}", got.status, got.fields);
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
async fn each_mount_of_one_page_leads_by_its_own_links() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { text/html html; } add_header Cache-Control max-age=3600;".into();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("a.html"), "<a href=\"/p/a.whl\">a</a>").unwrap();
    let url = origin.url("");
    let url = url.trim_end_matches('/');
    let led = |path: &str| mount(path, url, &format!("links = {{ \"/\" = \"{path}/\" }}"));
    let settings = [led("/one"), led("/two"), mount("/plain", url, "")].concat();
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    assert_eq!(gateway.get("/plain/a.html", &[]).await.unwrap().status, 200);
    let deadline = Instant::now() + Duration::from_secs(60);
    while gateway.eddy.cached().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the store takes in what has the origin's own links");
    }
    for _ in 0..2 {
        for (mounted, link) in [("/one", "/one/p/a.whl"), ("/two", "/two/p/a.whl"), ("/plain", "/p/a.whl")] {
            let asks = (0..4).map(async |_| gateway.get(&format!("{mounted}/a.html"), &[]).await.unwrap());
            for got in futures::future::join_all(asks).await {
                assert_eq!(String::from_utf8_lossy(got.whole()), format!("<a href=\"{link}\">a</a>"), "{mounted}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_that_is_passed_on_leads_through_the_gateway() {
    let origin = HostileOrigin::start().await.unwrap();
    let more = "unsafe-methods = \"forward\"\nlinks = { \"https://files.example/\" = \"/files/\" }";
    let gateway = gateway(&origin, more);
    for (place, wanted) in [
        ("/there?a=b", "/m/there?a=b".to_owned()),
        ("there", "/m/there".to_owned()),
        (&origin.url("/there"), "/m/there".to_owned()),
        ("https://files.example/a", "/files/a".to_owned()),
        ("https://other.example/a", "https://other.example/a".to_owned()),
    ] {
        origin.publish("/post", Resource::new(Version::new(1, 0), Behaviour::redirect(place)));
        let got = gateway.ask(Method::POST, "/m/post", &[]).await.unwrap();
        assert_eq!((got.status, got.field("location")), (302, wanted.as_str()), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_gateway_without_a_name_are_led_to_what_they_have_called_it() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { text/html html; } add_header Cache-Control max-age=3600; \
                      location /post { return 303 /b.html; }";
    let origin = Nginx::here(&NginxSpec { directives: directives.into(), ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("a.html"), "<a href=\"https://files.example/a\">a</a>").unwrap();
    let url = origin.url("");
    let more = "unsafe-methods = \"forward\"\nlinks = { \"https://files.example/\" = \"/files/\" }";
    let eddy = Eddy::here().unwrap();
    let common = "[peers]\nmdns = false\n[gateway]\nlisten = \"0.0.0.0:0\"\nallow = [\"127.0.0.0/8\"]";
    let settings = format!("{common}\n{}", mount("/m", url.trim_end_matches('/'), more));
    std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
    let gateway = Gateway::restart(eddy).unwrap();
    let port = gateway.address().rsplit(':').next().unwrap();
    for turn in 0..2 {
        for host in ["127.0.0.1", "127.0.0.2"] {
            let here = format!("http://{host}:{port}");
            let got = http_client().get(format!("{here}/m/a.html")).send().await.unwrap();
            let status = got.headers()["cache-status"].to_str().unwrap().to_owned();
            assert_eq!(status.contains("; hit"), turn > 0, "{status}");
            assert_eq!(got.text().await.unwrap(), format!("<a href=\"{here}/files/a\">a</a>"));
            let posted = http_client().post(format!("{here}/m/post")).send().await.unwrap();
            assert_eq!((posted.status().as_u16(), posted.headers()["location"].to_str().unwrap()), (303, "/m/b.html"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_origins_page_is_none_of_the_page_that_leads_here() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { text/html html; } add_header Cache-Control max-age=3600;".into();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("a.html"), "<a href=\"/p/a.whl\">a</a>").unwrap();
    let url = origin.url("");
    let settings = mount("/m", url.trim_end_matches('/'), "links = { \"/\" = \"/m/\" }");
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    let led = b"<a href=\"/m/p/a.whl\">a</a>";
    let length = led.len().to_string();
    for personal in [&[("authorization", "Basic eDp5")][..], &[]] {
        let head = gateway.ask(Method::HEAD, "/m/a.html", personal).await.unwrap();
        assert!(head.field("etag").starts_with("W/") && head.field("content-length").is_empty(), "{:?}", head.fields);
        let fields = [personal, &[("range", "bytes=12-")]].concat();
        let got = gateway.get("/m/a.html", &fields).await.unwrap();
        assert_eq!((got.status, got.whole()), (200, led.as_slice()), "{:?}", got.fields);
    }
    assert_eq!(gateway.get("/m/a.html", &[]).await.unwrap().whole(), led);
    let part = gateway.get("/m/a.html", &[("range", "bytes=12-")]).await.unwrap();
    assert_eq!((part.status, part.whole()), (206, &led[12..]));
    let head = gateway.ask(Method::HEAD, "/m/a.html", &[]).await.unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, length.as_str()));
    // In terms of the page that leads here, which is the longer one.
    let (beyond, last) = (format!("bytes={}-", led.len()), format!("bytes={}-", led.len() - 1));
    let beyond = gateway.get("/m/a.html", &[("range", &beyond)]).await.unwrap();
    assert_eq!((beyond.status, beyond.field("content-range")), (416, format!("bytes */{length}").as_str()));
    let last = gateway.get("/m/a.html", &[("range", &last)]).await.unwrap();
    assert_eq!((last.status, last.whole()), (206, &led[led.len() - 1..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_a_page_that_is_not_held_are_none_of_the_origins() {
    if !Nginx::ready() {
        return;
    }
    let directives = "types { text/html html; } default_type application/octet-stream;".into();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("a.html"), "<a href=\"/p/a.whl\">a</a>").unwrap();
    std::fs::write(origin.files().join("plain"), "0123456789").unwrap();
    let url = origin.url("");
    let settings = mount("/m", url.trim_end_matches('/'), "links = { \"/\" = \"/m/\" }");
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
    let led = "<a href=\"/m/p/a.whl\">a</a>";
    // Behind the end of the origin's page, and of the page that leads here.
    let behind = [format!("bytes={}-", led.len() - 1), format!("bytes={}-", led.len() + 9)];
    for personal in [&[("authorization", "Basic eDp5")][..], &[]] {
        for range in ["bytes=0-1,5-6", "bytes=-3,0-0", "bytes=3-", &behind[0], &behind[1]] {
            let got = gateway.get("/m/a.html", &[personal, &[("range", range)]].concat()).await.unwrap();
            let text = String::from_utf8_lossy(got.whole()).into_owned();
            assert_eq!((got.status, text.as_str()), (200, led), "{range}: {:?}", got.fields);
            assert!(got.field("etag").starts_with("W/") && got.field("content-range").is_empty(), "{:?}", got.fields);
        }
        // What is no page has its ranges as ever.
        let got = gateway.get("/m/plain", &[personal, &[("range", "bytes=0-1,5-6")]].concat()).await.unwrap();
        assert!(got.status == 206 && got.field("content-type").starts_with("multipart/byteranges"), "{:?}", got.fields);
        let got = gateway.get("/m/plain", &[personal, &[("range", "bytes=50-")]].concat()).await.unwrap();
        assert_eq!((got.status, got.field("content-range")), (416, "bytes */10"));
        // By the mark that the page has here, which is none of the origin's.
        let mark = gateway.get("/m/a.html", personal).await.unwrap().field("etag").to_owned();
        let same = gateway.get("/m/a.html", &[personal, &[("if-none-match", &mark)]].concat()).await.unwrap();
        assert_eq!((same.status, same.field("etag")), (304, mark.as_str()), "{:?}", same.fields);
        let part = [personal, &[("if-range", &mark), ("range", "bytes=3-")]].concat();
        assert_eq!(gateway.get("/m/a.html", &part).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_without_a_type_is_one_of_a_page_where_the_whole_is_a_page() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "links = { \"https://files.example/\" = \"/files/\" }");
    for (path, kind, status) in [("/page", "text/html", 200), ("/file", "application/octet-stream", 206)] {
        let version = Version::new(7, SMALL);
        let whole = version.whole();
        let script = move |ask: &Ask| {
            let lines = if ask.headers.contains_key("range") { vec![] } else { vec![format!("Content-Type: {kind}")] };
            (Behaviour { extra_headers: lines, ..Behaviour::default() }, None)
        };
        origin.publish(path, Resource::scripted(version, script));
        let got = gateway.get(&format!("/m{path}"), &[("range", "bytes=100-")]).await.unwrap();
        let from = if status == 206 { 100 } else { 0 };
        assert!(got.status == status && got.whole() == &whole[from..], "{path}: {} {:?}", got.status, got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_parts_as_an_origin_may_be_asked_for_at_once_wait_for_no_place_there() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "links = { \"https://files.example/\" = \"/files/\" }");
    let whole = Version::new(7, SMALL).whole();
    let paths: Vec<String> = (0..AT_ONCE).map(|number| format!("/{number}")).collect();
    for path in &paths {
        // None has its answer before all have asked.
        let behaviour = Behaviour { first_byte_delay: Duration::from_secs(2), ..Behaviour::default() };
        publish(&origin, path, SMALL, behaviour);
    }
    let asks = paths.iter().map(async |path| gateway.get(&format!("/m{path}"), &[("range", "bytes=100-")]).await);
    let answered = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(asks)).await;
    for got in answered.expect("nobody waits for ever") {
        let got = got.unwrap();
        assert!(got.status == 206 && got.whole() == &whole[100..], "{} {:?}", got.status, got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_too_long_says_that_its_links_are_its_own() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin, "links = { \"https://files.example/\" = \"/files/\" }");
    let whole = publish(&origin, "/long", 17 << 20, saying(&["Content-Type: text/html"]));
    for personal in [&[("authorization", "Basic eDp5")][..], &[]] {
        let got = gateway.get("/m/long", personal).await.unwrap();
        assert!(got.whole() == whole, "{:?}", got.fields);
        assert!(got.field("cache-status").ends_with("; detail=own-links"), "{:?}", got.fields);
    }
    let lines = gateway.daemon.log().matches("keeps its own links").count();
    assert_eq!(lines, 1, "it is said once: {}", gateway.daemon.log());
}
