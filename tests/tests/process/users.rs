//! One daemon, several users, the real ones: whatever verb a user tries on another's job, they learn nothing of it, and it stays
//! as it is (T-40); what an administrator does to it is written down.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eddy_node::control::access::{May, TABLE};
use eddy_node::control::audit::AuditLine;
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, hash_of, write_sample};
use eddy_wire::api::{JobState, JobView};
use tempfile::TempDir;

/// Two users that this machine need not know by name.
const ANNA: u32 = 61_001;
const BERT: u32 = 61_002;
const ROOT: u32 = 0;

const PATIENCE: Duration = Duration::from_secs(60);

/// What nobody but its owner may see of a job.
const SECRET: &str = "sesame-7781";
const MARK: &str = "annas-own-words";

/// A daemon that serves everybody.
struct Machine {
    eddy: Eddy<'static>,
    /// Where everybody may go, with a folder for each user.
    public: TempDir,
    daemon: Option<Running>,
}

/// An answer of the API.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Machine {
    fn start() -> Self {
        let eddy = Eddy::here().unwrap();
        let public = tempfile::Builder::new().prefix("eddy-users-").tempdir().unwrap();
        std::fs::set_permissions(public.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for user in [ANNA, BERT] {
            let folder = public.path().join(user.to_string());
            std::fs::create_dir(&folder).unwrap();
            std::os::unix::fs::chown(&folder, Some(user), Some(user)).unwrap();
        }
        let socket = public.path().join("run/control.sock");
        let text = format!("[peers]\nmdns = false\n[service]\nusers = \"all\"\nsocket = {socket:?}\n");
        std::fs::write(eddy.home().join("eddy.toml"), text).unwrap();
        let daemon = Some(eddy.daemon().unwrap());
        Self { eddy, public, daemon }
    }

    /// Ends the daemon without a word, and starts another one.
    fn restart(&mut self) {
        drop(self.daemon.take());
        self.daemon = Some(self.eddy.daemon().unwrap());
    }

    /// Makes a job of Anna's that has everything, and gives it to root.
    fn take_whole(&self, url: &str, name: &str) -> (String, PathBuf) {
        let path = self.folder(ANNA).join(name);
        let file = serde_json::json!({"url": url, "destination": path.to_str().unwrap()});
        let spec = serde_json::json!({"name": name, "files": [file], "finish": "manual"}).to_string();
        let made = self.call(ANNA, "POST", "/v1/jobs", Some(&spec));
        let id = serde_json::from_str::<JobView>(&made.body).unwrap().id;
        self.wait(ANNA, &id, JobState::Transferred);
        assert_eq!(self.call(ROOT, "POST", &format!("/v1/jobs/{id}/take"), None).status, 200);
        (id, path)
    }

    fn wait(&self, user: u32, id: &str, state: JobState) {
        let deadline = Instant::now() + PATIENCE;
        while self.job(user, id).state != state {
            assert!(Instant::now() < deadline, "{:?}", self.job(user, id));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn socket(&self) -> PathBuf {
        self.public.path().join("run/control.sock")
    }

    fn folder(&self, user: u32) -> PathBuf {
        self.public.path().join(user.to_string())
    }

    fn curl(&self, user: u32, method: &str, path: &str) -> Command {
        let id = user.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", "curl", "--silent", "--no-buffer"]);
        command.args(["--request", method, "--unix-socket"]).arg(self.socket()).arg(format!("http://eddy{path}"));
        command.stdin(Stdio::null());
        command
    }

    /// One call as a user.
    fn call(&self, user: u32, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut curl = self.curl(user, method, path);
        curl.args(["--write-out", "\n%{http_code}", "--max-time", "60"]);
        if let Some(body) = body {
            curl.args(["--header", "content-type: application/json", "--data", body]);
        }
        let text = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        Answer { status: status.parse().unwrap(), body: body.to_owned() }
    }

    /// Makes a paused job of a user.
    fn make(&self, user: u32, name: &str) -> JobView {
        let mut curl = self.curl(user, "POST", "/v1/jobs");
        let spec = spec(&self.folder(ANNA), name);
        curl.args(["--header", "content-type: application/json", "--header", "idempotency-key: one", "--data", &spec]);
        let answer = finish(curl);
        assert_eq!(answer.status, 201, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn job(&self, user: u32, id: &str) -> JobView {
        let answer = self.call(user, "GET", &format!("/v1/jobs/{id}"), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn audited(&self) -> Vec<AuditLine> {
        let read = |name: &str| std::fs::read_to_string(self.eddy.home().join(name)).unwrap_or_default();
        let lines = |text: String| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
        // What anybody may do first, then what takes more.
        [read("audit-own.log"), read("audit.log")].into_iter().flat_map(lines).collect()
    }
}

fn finish(mut curl: Command) -> Answer {
    curl.args(["--write-out", "\n%{http_code}", "--max-time", "60"]);
    let text = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    Answer { status: status.parse().unwrap(), body: body.to_owned() }
}

fn spec(folder: &Path, name: &str) -> String {
    serde_json::json!({
        "name": name,
        "files": [{"url": "http://127.0.0.1:9/annas-file", "destination": folder.join("out").to_str().unwrap()}],
        "start": false,
        "adopt": true,
        "terms": {"description": name, "headers": [{"name": "X-Key", "value": SECRET, "secret": true}]},
    })
    .to_string()
}

/// A body that each verb takes, so that it is the role that decides.
fn body(path: &str, folder: &Path) -> Option<String> {
    let file =
        serde_json::json!({"url": "http://127.0.0.1:9/more", "destination": folder.join("more").to_str().unwrap()});
    let removal = serde_json::json!({"ids": []});
    match path {
        "/v1/jobs" => Some(spec(folder, "berts")),
        "/v1/jobs/batch" => Some(format!("{{\"jobs\": [{}]}}", spec(folder, "berts"))),
        "/v1/jobs/{id}" => Some(serde_json::json!({"name": "taken over"}).to_string()),
        "/v1/jobs/{id}/ranges" => Some(serde_json::json!({"file": 0}).to_string()),
        "/v1/jobs/{id}/files" => Some(serde_json::json!({"files": [file]}).to_string()),
        "/v1/cache/limits" | "/v1/cache/plan" | "/v1/cache/remove" | "/v1/cache/export" => Some(removal.to_string()),
        _ => None,
    }
}

fn ready() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    let has = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_root || !Nginx::ready() || !has("setpriv") || !has("curl") {
        println!("skipped: other users are played by root alone, with setpriv and curl");
        return false;
    }
    true
}

#[test]
fn no_verb_gives_one_user_anothers_job_secret_file_event_or_report() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let job = machine.make(ANNA, MARK);
    assert_eq!(job.owner, ANNA);
    let before = machine.job(ANNA, &job.id);
    assert!(!serde_json::to_string(&before).unwrap().contains(SECRET), "not even its owner reads a secret again");
    let secrets = [MARK, SECRET, job.id.as_str(), "annas-file"];
    // As whoever asks: by the whole id, by a beginning of it, and by one that is nobody's.
    for id in [job.id.clone(), job.id[..8].to_owned(), "0".repeat(32)] {
        for rule in TABLE {
            let path = rule.path.replace("{id}", &id);
            if rule.path == "/v1/events/follow" {
                continue; // has a test of its own: it does not end
            }
            let text = body(rule.path, &machine.folder(BERT));
            let sent = text.as_deref().filter(|_| rule.method != "GET");
            let answer = machine.call(BERT, rule.method, &path, sent);
            let expected = match (rule.owner, rule.other) {
                (_, May::Yes) => 200,
                (May::Yes, May::No) if rule.path.contains("{id}") => 404,
                (May::Yes, May::No) if rule.path == "/v1/jobs" && rule.method == "POST" => 201,
                (May::Yes, May::No) => 200,
                (May::No, May::No) => 403,
            };
            assert_eq!(answer.status, expected, "{rule:?}: {answer:?}");
            // A path that was asked for may come back in the refusal.
            let told = answer.body.replace(&id, "");
            // What is Bert's own has the URL that he named.
            let told = if rule.path.starts_with("/v1/jobs") { told.replace("annas-file", "") } else { told };
            for secret in secrets {
                assert!(!told.contains(secret), "{rule:?} tells {secret}: {answer:?}");
            }
        }
    }
    // Since when it waits is reckoned anew each time.
    let settled = |job: JobView| JobView { waiting: None, ..job };
    assert_eq!(settled(machine.job(ANNA, &job.id)), settled(before), "nothing of it has changed");
}

#[test]
fn a_file_is_its_owners_and_goes_only_where_its_owner_may_write() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("image"), 5, 2 * MIB).unwrap();
    let protected = machine.public.path().join("roots");
    std::fs::create_dir(&protected).unwrap();
    let get = |folder: &Path| {
        let destination = folder.join("image");
        let file = serde_json::json!({"url": origin.url("image"), "destination": destination.to_str().unwrap()});
        let answer = machine.call(ANNA, "POST", "/v1/jobs", Some(&serde_json::json!({"files": [file]}).to_string()));
        assert_eq!(answer.status, 201, "{answer:?}");
        let job: JobView = serde_json::from_str(&answer.body).unwrap();
        let look = || machine.call(ANNA, "GET", &format!("/v1/jobs/{}/wait?seconds=1", job.id), None).body;
        let is_told = |body: &String| destination.exists() || body.contains("destination-not-writable");
        let told = std::iter::repeat_with(look).take(60).find(is_told);
        (destination.clone(), told.expect("it ends or says why not"))
    };
    let (file, rested) = get(&machine.folder(ANNA));
    assert_eq!(hash_of(&file).unwrap(), hash, "{rested}");
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), ANNA);
    for folder in [protected, machine.folder(BERT)] {
        let (file, rested) = get(&folder);
        assert!(!file.exists() && rested.contains("destination-not-writable"), "{rested}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing was made there");
    }
}

#[test]
fn a_key_or_the_same_files_give_nobody_anothers_job() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let (annas, berts) = (machine.make(ANNA, MARK), machine.make(BERT, MARK));
    assert_ne!(annas.id, berts.id, "the same key and the same files of somebody else are another job");
    assert_eq!((annas.owner, berts.owner), (ANNA, BERT));
    assert_eq!(machine.make(ANNA, MARK).id, annas.id, "of the same user they are the same job");
    // Until somebody takes it, and may say with it what is theirs.
    assert_eq!(machine.call(ROOT, "POST", &format!("/v1/jobs/{}/take", annas.id), None).status, 200);
    let mut curl = machine.curl(ANNA, "POST", "/v1/jobs");
    let spec = spec(&machine.folder(ANNA), MARK);
    curl.args(["--header", "content-type: application/json", "--header", "idempotency-key: one", "--data", &spec]);
    let answer = finish(curl);
    assert!(answer.body.contains("key-reused") && !answer.body.contains(&annas.id), "{answer:?}");
}

#[test]
fn a_stream_of_events_tells_each_user_of_their_own() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let annas = machine.make(ANNA, MARK);
    let berts = machine.make(BERT, "berts");
    let mut curl = machine.curl(BERT, "GET", "/v1/events/follow?after=0");
    let mut curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(curl.stdout.take().unwrap()).lines() {
        told += &line.unwrap();
        if told.contains(&berts.id) {
            break;
        }
    }
    curl.kill().unwrap();
    curl.wait().unwrap();
    assert!(!told.contains(&annas.id) && !told.contains(MARK), "{told}");
    let all = machine.call(ROOT, "GET", "/v1/events", None).body;
    assert!(all.contains(&annas.id) && all.contains(&berts.id), "an administrator sees all: {all}");
}

#[test]
fn what_an_administrator_does_to_a_job_is_written_down_and_what_its_owner_does_is_not() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let job = machine.make(ANNA, MARK);
    let path = |verb: &str| format!("/v1/jobs/{}/{verb}", job.id);
    assert_eq!(machine.call(ANNA, "POST", &path("pause"), None).status, 200);
    assert_eq!(machine.call(BERT, "POST", "/v1/shutdown", None).status, 403);
    assert_eq!(machine.call(ROOT, "POST", &path("cancel"), None).status, 200);
    let lines = machine.audited();
    let told: Vec<_> = lines.iter().map(|line| (line.uid.unwrap(), line.verb.as_str(), line.outcome)).collect();
    let expected =
        [(ANNA, "POST /v1/jobs", 201), (BERT, "POST /v1/shutdown", 403), (ROOT, "POST /v1/jobs/{id}/cancel", 200)];
    assert_eq!(told, expected, "{lines:?}");
    assert_eq!(lines[0].hosts, ["127.0.0.1"]);
    assert_eq!((lines[2].owner, lines[2].subject.as_str()), (Some(ANNA), path("cancel").as_str()));
}

#[test]
fn who_takes_a_job_takes_it_without_the_secrets_and_its_last_owner_sees_it_no_more() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let job = machine.make(ANNA, MARK);
    let taken = machine.call(ROOT, "POST", &format!("/v1/jobs/{}/take", job.id), None);
    let taken: JobView = serde_json::from_str(&taken.body).unwrap();
    assert_eq!((taken.owner, taken.terms.headers.len()), (ROOT, 0));
    assert_eq!(machine.call(ANNA, "GET", &format!("/v1/jobs/{}", job.id), None).status, 404);
}

#[test]
fn f84_who_steers_a_job_changes_what_it_fetches_and_shows_only_once_it_is_theirs() {
    if !ready() {
        return;
    }
    let machine = Machine::start();
    let job = machine.make(ANNA, MARK);
    let path = format!("/v1/jobs/{}", job.id);
    let change = |wish: &serde_json::Value| machine.call(ROOT, "PATCH", &path, Some(&wish.to_string()));
    let relocation = serde_json::json!({"relocate": {"from": "http://127.0.0.1:9/", "to": "http://127.0.0.1:10/"}});
    let more = body("/v1/jobs/{id}/files", &machine.folder(ANNA));
    let added = machine.call(ROOT, "POST", &format!("{path}/files"), more.as_deref());
    let order = serde_json::json!({"file": 0}).to_string();
    let ordered = machine.call(ROOT, "POST", &format!("{path}/ranges"), Some(&order));
    for refused in [change(&relocation), added, ordered] {
        assert!(refused.status == 403 && refused.body.contains("not-the-owner"), "{refused:?}");
    }
    assert_eq!(change(&serde_json::json!({"priority": "low"})).status, 200, "it may be steered");
    assert_eq!(machine.job(ANNA, &job.id).files, job.files);
    assert_eq!(machine.call(ROOT, "POST", &format!("{path}/take"), None).status, 200);
    assert_eq!(change(&relocation).status, 200);
}

#[test]
fn what_an_origin_answered_is_told_whole_to_the_jobs_owner_alone() {
    if !ready() {
        return;
    }
    let directives = format!("add_header Set-Cookie {SECRET};");
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    write_sample(&origin.files().join("file"), 5, MIB).unwrap();
    let machine = Machine::start();
    let file = serde_json::json!({"url": origin.url("file"), "destination": machine.folder(ANNA).join("file")});
    let spec = serde_json::json!({"files": [file], "finish": "manual"}).to_string();
    let made = machine.call(ANNA, "POST", "/v1/jobs", Some(&spec));
    let id = serde_json::from_str::<JobView>(&made.body).unwrap().id;
    machine.wait(ANNA, &id, JobState::Transferred);
    let told = |user| machine.call(user, "GET", &format!("/v1/jobs/{id}/headers"), None);
    assert!(told(ANNA).body.contains(SECRET), "{:?}", told(ANNA));
    assert_eq!(told(BERT).status, 404);
    let administrators = told(ROOT);
    assert!(administrators.body.contains("set-cookie") && !administrators.body.contains(SECRET), "{administrators:?}");
    assert!(administrators.body.contains("content-length"), "{administrators:?}");
    let lines = machine.audited();
    let last = lines.last().unwrap();
    assert_eq!((last.uid, last.owner, last.verb.as_str()), (Some(ROOT), Some(ANNA), "GET /v1/jobs/{id}/headers"));
    assert_eq!(machine.call(ROOT, "POST", &format!("/v1/jobs/{id}/take"), None).status, 200);
    let of_new_owner: serde_json::Value = serde_json::from_str(&told(ROOT).body).unwrap();
    assert_eq!(of_new_owner["items"], serde_json::json!([]), "what was answered to another is no more");
    assert_eq!(told(ANNA).status, 404);
}

#[test]
fn what_is_held_of_somebodys_private_content_is_shown_to_no_job_that_was_not_given_it() {
    if !ready() || !Nginx::ready() {
        return;
    }
    let directives = "add_header Cache-Control private;".to_owned();
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    write_sample(&origin.files().join("file"), 5, MIB).unwrap();
    let machine = Machine::start();
    let make = |user: u32, start: bool| {
        let file = serde_json::json!({"url": origin.url("file"), "destination": machine.folder(user).join("file")});
        let terms = serde_json::json!({"headers": [{"name": "X-Key", "value": "any"}]});
        let spec = serde_json::json!({"files": [file], "finish": "manual", "start": start, "terms": terms});
        let made = machine.call(user, "POST", "/v1/jobs", Some(&spec.to_string()));
        serde_json::from_str::<JobView>(&made.body).unwrap().id
    };
    let filled = |user: u32, id: &str| {
        let told = machine.call(user, "GET", &format!("/v1/jobs/{id}/ranges?file=0"), None);
        assert_eq!(told.status, 200, "{told:?}");
        serde_json::from_str::<serde_json::Value>(&told.body).unwrap()
    };
    let annas = make(ANNA, true);
    machine.wait(ANNA, &annas, JobState::Transferred);
    assert_eq!(filled(ANNA, &annas)["filled"][0]["length"], MIB);
    let seen = filled(BERT, &make(BERT, false));
    assert!(seen["filled"] == serde_json::json!([]) && seen["length"].is_null(), "{seen}");
}

#[test]
fn what_was_whole_when_a_job_was_taken_is_made_anew_by_its_new_owner_also_after_a_restart() {
    if !ready() || !Nginx::ready() {
        return;
    }
    let nginx = Nginx::here(&NginxSpec::default()).unwrap();
    let hash = write_sample(&nginx.files().join("file"), 5, 2 * MIB).unwrap();
    let mut machine = Machine::start();
    let finish = |machine: &Machine, id: &str| machine.call(ROOT, "POST", &format!("/v1/jobs/{id}/finish"), None);
    let (at_once, first) = machine.take_whole(&nginx.url("file"), "first");
    let (later, second) = machine.take_whole(&nginx.url("file"), "second");
    let (changed, third) = machine.take_whole(&nginx.url("file"), "third");
    assert_eq!(finish(&machine, &at_once).status, 200);
    machine.wait(ROOT, &at_once, JobState::Acknowledged);
    machine.restart();
    assert_eq!(finish(&machine, &later).status, 200);
    machine.wait(ROOT, &later, JobState::Acknowledged);
    for path in [&first, &second] {
        assert_eq!((std::fs::metadata(path).unwrap().uid(), hash_of(path).unwrap()), (ROOT, hash));
    }
    // Anna's file is hers to change until then, but what she made of it is delivered to nobody.
    let part = machine.folder(ANNA).join(format!(".eddy-{changed}-0.part"));
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[MIB as usize] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    assert_eq!(finish(&machine, &changed).status, 200);
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        match machine.job(ROOT, &changed).error {
            Some(error) => break error.code,
            None => assert!(Instant::now() < deadline, "{:?}", machine.job(ROOT, &changed)),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(refused, "destination-unsafe");
    let left = std::fs::read_dir(machine.folder(ANNA)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, [part.file_name().unwrap().to_str().unwrap(), "first", "second"]);
    assert!(!third.exists());
}

#[test]
fn a_user_who_takes_every_place_takes_them_from_nobody_else() {
    let has_python = || Command::new("/usr/bin/python3").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !ready() || !has_python() {
        return;
    }
    let machine = Machine::start();
    let id = ANNA.to_string();
    let mut greedy = Command::new("setpriv");
    greedy.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", "/usr/bin/python3", "-c", HOLD]);
    greedy.arg(machine.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut greedy = greedy.spawn().unwrap();
    let mut answer = String::new();
    BufReader::new(greedy.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
    assert_eq!(answer.trim(), "32 answered, 8 refused");
    for user in [BERT, ROOT] {
        assert_eq!(machine.call(user, "GET", "/v1/jobs", None).status, 200, "{user}");
    }
    let refused = machine.call(ANNA, "GET", "/v1/jobs", None);
    assert!(refused.status == 503 && refused.body.contains("\"busy\""), "{refused:?}");
    // Whoever gives places back has them again.
    drop(greedy.stdin.take());
    assert!(greedy.wait().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    while machine.call(ANNA, "GET", "/v1/jobs", None).status != 200 {
        assert!(Instant::now() < deadline, "places stay taken");
    }
}

/// Calls forty times and keeps each connection until its standard input ends.
const HOLD: &str = "import socket, sys\n\
    held, refused = [], 0\n\
    for _ in range(40):\n\
    \x20   call = socket.socket(socket.AF_UNIX); call.connect(sys.argv[1]); held.append(call)\n\
    \x20   call.sendall(b'GET /v1/jobs HTTP/1.1\\r\\nhost: eddy\\r\\n\\r\\n')\n\
    \x20   refused += b' 503 ' in call.recv(64)\n\
    print(len(held) - refused, 'answered,', refused, 'refused', flush=True)\n\
    sys.stdin.read()\n";
