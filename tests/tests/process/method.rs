//! Another method than GET: sent once, led nowhere else, kept nowhere, and settled before the job runs.

use eddy_tests::process::{Eddy, Nginx, NginxSpec};
use eddy_wire::api::{JobView, Priority};

#[test]
fn f68_another_method_is_sent_once_and_its_answer_is_the_file() {
    if !Nginx::ready() {
        return;
    }
    let directives = "location = /made { if ($request_method != POST) { return 405; } return 200 made; }\n\
                      location = /busy { return 503; }\nlocation = /moved { return 307 /made; }\n"
        .to_owned();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let _daemon = node.daemon().unwrap();
    let place = |name: &str| node.home().join(name);
    let get = |name: &str, method: &str| {
        let (url, path) = (origin.url(name), place(name));
        node.ended(&["get", &url, "--method", method, "-o", path.to_str().unwrap()]).unwrap()
    };
    let made = get("made", "POST");
    assert_eq!(made.status, Some(0), "{made:?}");
    assert_eq!(std::fs::read(place("made")).unwrap(), b"made");
    assert!(node.cached().unwrap().is_empty());
    assert_eq!(get("moved", "POST").code(), Some("http-redirect"));
    let busy = get("busy", "POST");
    assert_ne!(busy.status, Some(0), "{busy:?}");
    assert!(format!("{busy:?}").contains("asks again, from the start"), "{busy:?}");
    for refused in ["TRACE", "CONNECT", "HEAD", "A B"] {
        assert_eq!(get("busy", refused).code(), Some("bad-method"), "{refused}");
    }
    let log = origin.access().unwrap();
    for name in ["made", "moved", "busy"] {
        let asked = log.iter().filter(|access| access.uri.ends_with(name)).count();
        assert_eq!(asked, 1, "{name}: {log:?}");
    }
    let (url, path) = (origin.url("made"), place("x"));
    let words = ["job", "create", "x", "--set", "method=POST", "--file", &url, path.to_str().unwrap()];
    let job: JobView = node.ask(&words).unwrap();
    assert_eq!((job.priority, job.peers.fetch, job.peers.share), (Priority::Foreground, false, false));
    assert_eq!(job.terms.method.as_deref(), Some("POST"));
    for locked in ["priority=low", "peers=on"] {
        assert_eq!(node.ended(&["job", "set", &job.id, locked]).unwrap().code(), Some("bad-method"), "{locked}");
    }
    // The other way round as well.
    let other = place("y");
    let more = ["job", "add", &job.id, "--range", "0-1", "--file", &url, other.to_str().unwrap()];
    assert_eq!(node.ended(&more).unwrap().code(), Some("bad-method"));
    let more = ["job", "add", &job.id, "--on-demand", "--file", &url, other.to_str().unwrap()];
    assert_eq!(node.ended(&more).unwrap().code(), Some("bad-method"));
    let plain: JobView = node.ask(&["job", "set", &job.id, "method="]).unwrap();
    assert_eq!(plain.terms.method, None);
}
