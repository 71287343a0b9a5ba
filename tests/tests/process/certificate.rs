//! Origins that want a certificate see one that the administrator has registered, if the job names it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Scheme, hash_of, write_sample};
use eddy_wire::api::{JobState, JobView};

const PATIENCE: Duration = Duration::from_secs(60);

fn https(directives: &str) -> Nginx {
    let directives = format!("ssl_verify_client optional_no_ca; {directives}");
    Nginx::here(&NginxSpec { scheme: Scheme::Https, directives, ..NginxSpec::default() }).unwrap()
}

#[test]
fn f71_a_certificate_is_shown_to_the_origin_that_the_job_names_and_to_no_other() {
    if !Nginx::ready() {
        return;
    }
    let stranger = https("if ($ssl_client_verify != NONE) { return 403; }");
    let moved = format!("location /moved {{ return 302 {}; }}", stranger.url("file"));
    let named = https(&format!("if ($ssl_client_verify = NONE) {{ return 403; }} {moved}"));
    for (nginx, seed) in [(&stranger, 1), (&named, 2)] {
        write_sample(&nginx.files().join("file"), seed, 4 * MIB).unwrap();
    }
    let eddy = Eddy::here().unwrap();
    let place = |name: &str| eddy.home().join(name);
    let root = |nginx: &Nginx| std::fs::read_to_string(nginx.certificate().unwrap()).unwrap();
    std::fs::write(place("roots.pem"), root(&stranger) + &root(&named)).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["client.test".to_owned()]).unwrap();
    std::fs::write(place("client.pem"), made.cert.pem()).unwrap();
    for (name, mode) in [("client.key", 0o600), ("exposed.key", 0o640)] {
        std::fs::write(place(name), made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(place(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let settings = format!(
        "[peers]\nmdns = false\n[origin]\nextra-roots = {:?}\n[origin.certificates]\n\
         work = {{ certificate = {:?}, key = {:?} }}\nlost = {{ certificate = {:?}, key = {:?} }}\n\
         exposed = {{ certificate = {:?}, key = {:?} }}\n",
        place("roots.pem"),
        place("client.pem"),
        place("client.key"),
        place("none.pem"),
        place("none.key"),
        place("client.pem"),
        place("exposed.key"),
    );
    std::fs::write(place("eddy.toml"), settings).unwrap();
    let _daemon = eddy.daemon().unwrap();
    let create = |url: &str, name: &str, certificate: &str| -> JobView {
        let (path, set) = (place(name), format!("client-certificate={certificate}"));
        let words = ["job", "create", name, "--set", &set, "--start", "--auto", "--file", url, path.to_str().unwrap()];
        eddy.ask(&words).unwrap()
    };
    for (url, name, from) in [(named.url("file"), "plain", &named), (named.url("moved"), "moved", &stranger)] {
        let job = create(&url, name, "work");
        assert_eq!(job.terms.client_certificate.as_deref(), Some("work"));
        eddy.wait_delivered(&place(name), PATIENCE).unwrap();
        assert_eq!(hash_of(&place(name)).unwrap(), hash_of(&from.files().join("file")).unwrap(), "{name}");
    }
    let refused = [("", "http-forbidden"), ("lost", "client-certificate"), ("exposed", "client-certificate")];
    for (certificate, code) in refused {
        let job = create(&named.url("file"), "refused", certificate);
        let failed = eddy.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Error).unwrap();
        assert_eq!(failed.error.unwrap().code, code);
        assert_eq!(eddy.ended(&["job", "cancel", &job.id]).unwrap().status, Some(0));
    }
    let unknown = ["job", "create", "x", "--set", "client-certificate=none", "--file", "https://a.example/x", "/tmp/x"];
    assert_eq!(eddy.ended(&unknown).unwrap().code(), Some("client-certificate"));
}
