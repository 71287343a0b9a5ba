//! What a client of the gateway can reach: what is mounted, by the proxy public addresses, and nothing of this house by any way round (T-20).

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, Gateway, Mounts, Nginx, NginxSpec, mount};
use std::net::Ipv4Addr;

/// A public address: it exists in the lab alone.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(172, 15, 77, 1);

async fn origin_with_a_file() -> HostileOrigin {
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/f", Resource::new(Version::new(1, 10_000), Behaviour::default()));
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t20_a_proxys_client_reaches_public_addresses_alone() {
    let origin = origin_with_a_file().await;
    let settings = format!("proxy = true\ntunnel = true\n{}", mount("/m", &origin.url(""), ""));
    let gateway = Gateway::start(Eddy::here().unwrap(), &settings).unwrap();
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
        let (status, text) = gateway.raw(plain.as_bytes()).await;
        assert_eq!(status, 403, "{host}: {text}");
    }
    for target in [
        format!("127.0.0.1:{port}"),
        "127.0.0.1:443".to_owned(),
        "localhost:443".to_owned(),
        "example.org:25".to_owned(),
    ] {
        let tunnel = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        assert_eq!(gateway.raw(tunnel.as_bytes()).await.0, 403, "{target}");
    }
    let secure = "GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n";
    assert_eq!(gateway.raw(secure.as_bytes()).await.0, 400);
    assert_eq!(origin.counters().path("/f").requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t20_a_name_that_leads_to_a_private_address_is_refused_to_a_proxys_client() {
    if !Mounts::ready() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ("lan.example", "10.0.0.1"),
        ("here.example", "127.0.0.1"),
        ("metadata.example", "169.254.169.254"),
        ("here6.example", "::1"),
        ("mapped.example", "::ffff:127.0.0.1"),
    ];
    let lines: String = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    std::fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    let mounts = Mounts::new().unwrap();
    let mut bind = mounts.command("mount");
    assert!(bind.arg("--bind").arg(folder.path().join("hosts")).arg("/etc/hosts").status().unwrap().success());
    let origin = origin_with_a_file().await;
    let port = origin.address().port();
    let settings = format!("proxy = true\ntunnel = true\n{}", mount("/m", &format!("http://here.example:{port}"), ""));
    let gateway = Gateway::start(Eddy::among(&mounts).unwrap(), &settings).unwrap();
    for (name, address) in names {
        let plain = format!("GET http://{name}:{port}/f HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n");
        let tunnel = format!("CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n");
        for bytes in [plain, tunnel] {
            let (status, text) = gateway.raw(bytes.as_bytes()).await;
            assert_eq!(status, 403, "{name}, which is {address}: {text}");
        }
    }
    assert_eq!(origin.counters().path("/f").requests, 0);
    assert_eq!(gateway.get("/m/f", &[]).await.unwrap().status, 200, "the administrator has named it");
}

#[test]
fn t20_a_redirect_inward_leads_nobody_there() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 1, lan_rate: None, wan_rate: None }).unwrap();
    let host = &lab.hosts()[0];
    host.add_address(PUBLIC).unwrap();
    let lan = host.address();
    let inward = [
        ("/literal", "http://127.0.0.1/secret".to_owned()),
        ("/name", "http://localhost/secret".to_owned()),
        ("/lan", format!("http://{lan}/secret")),
        ("/six", "http://[::1]/secret".to_owned()),
        ("/metadata", "http://169.254.169.254/secret".to_owned()),
        ("/hop", format!("http://{PUBLIC}/lan")),
    ];
    let places: String =
        inward.iter().map(|(from, to)| format!("location = {from} {{ return 302 {to}; }}\n")).collect();
    let directives = format!("listen {PUBLIC}:80; listen 127.0.0.1:80; listen [::1]:80;\n{places}");
    let origin = Nginx::on(host, &NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("secret"), "of this house").unwrap();
    let settings = format!("proxy = true\n{}", mount("/m", &format!("http://{PUBLIC}"), ""));
    let gateway = Gateway::start(Eddy::on(host).unwrap(), &settings).unwrap();
    let asked = |arguments: &[&str]| {
        let mut command = host.command("curl");
        let output = command.args(["-sS", "-w", " %{http_code}"]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (from, to) in &inward {
        let mounted = asked(&["--noproxy", "*", &gateway.url(&format!("/m{from}"))]);
        assert!(mounted.ends_with(" 403") && !mounted.contains("house"), "{from} to {to}: {mounted}");
        // A proxy's client is told, and may not go there either.
        let proxied = asked(&["-L", "--noproxy", "", "--proxy", &gateway.url(""), &format!("http://{PUBLIC}{from}")]);
        assert!(proxied.ends_with(" 403") && !proxied.contains("house"), "{from} to {to}: {proxied}");
    }
    let log = origin.access().unwrap();
    assert!(!log.is_empty() && log.iter().all(|access| access.uri != "/secret"), "{log:#?}");
    assert!(
        asked(&["--noproxy", "*", &gateway.url("/m/secret")]).starts_with("of this house"),
        "it was there all the time"
    );
}
