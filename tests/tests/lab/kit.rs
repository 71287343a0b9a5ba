//! The lab itself: hosts reach each other and the origin, the WAN has its rate and is counted, nothing is left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::process::{Nginx, NginxSpec, Running, Scheme};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn hosts_fetch_from_the_origin_at_the_rate_of_the_shaped_line_and_every_byte_is_counted() {
    if !lab::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: Some(Mbit(40)) }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    std::fs::write(origin.files().join("four"), vec![7_u8; 4 << 20]).unwrap();
    let before = lab.wan_bytes().unwrap();
    let began = Instant::now();
    let mut fetch =
        lab.host(1).spawn("curl", ["-sS", "-r", "0-4194303", "-o", "/dev/null", &origin.url("four")]).unwrap();
    assert!(fetch.wait(PATIENCE).unwrap().success(), "{}", fetch.log());
    let seconds = began.elapsed().as_secs_f64();

    let sent = lab.wan_bytes().unwrap().sent - before.sent;
    assert!((4 << 20..5 << 20).contains(&sent), "{sent} bytes on the line for 4 MiB");
    // 4 MiB at 40 Mbit/s are 0.84 s; faster would mean that nothing shapes, slower is the machine's business.
    assert!(seconds > 0.7, "4 MiB in {seconds:.2} s is faster than the line");
    println!("4 MiB over 40 Mbit/s: {seconds:.2} s, {sent} bytes on the line");

    let log = origin.wait_access(PATIENCE, |log| !log.is_empty()).unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].status, log[0].body_bytes, log[0].uri.as_str()), (206, 4 << 20, "/four"));
    assert_eq!(log[0].range.as_deref(), Some("bytes=0-4194303"));
}

#[test]
fn a_lab_leaves_nothing_behind_not_even_its_processes() {
    if !lab::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 1, lan_rate: Some(Mbit(100)), wan_rate: None }).unwrap();
    let name = lab.host(0).namespace().to_owned();
    // Not held by a `Running`: as if a test had lost it.
    let mut lost = lab.host(0).command("sleep").arg("1000").spawn().unwrap();
    assert!(namespaces().contains(&name));
    drop(lab);
    assert!(!namespaces().contains(&name));
    assert!(!lost.wait().unwrap().success(), "killed with its lab");
}

#[test]
fn a_tls_origin_is_trusted_by_its_certificate_and_by_nothing_else() {
    if !nginx_is_installed() {
        assert!(std::env::var_os("CI").is_none(), "nginx must be there in CI");
        eprintln!("skipped: nginx is not installed");
        return;
    }
    let origin = Nginx::here(&NginxSpec { scheme: Scheme::Https, ..NginxSpec::default() }).unwrap();
    std::fs::write(origin.files().join("a"), b"hello").unwrap();
    let fetch = |trust: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*"]).args(trust).arg(origin.url("a"));
        let mut running = Running::start(command).unwrap();
        (running.wait(PATIENCE).unwrap().success(), running.log())
    };
    let certificate = origin.certificate().unwrap();
    assert_eq!(fetch(&["--cacert", certificate.to_str().unwrap()]), (true, "hello\n".into()));
    let (trusted, log) = fetch(&[]);
    assert!(!trusted, "{log}");
}

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn nginx_is_installed() -> bool {
    Command::new("nginx").arg("-v").output().is_ok_and(|output| output.status.success())
}
