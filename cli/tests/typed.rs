//! The real binary without a node: help, refusals with their exit statuses, completions and manual pages.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn eddy(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
    command.args(args).env_clear().env("EDDY_HOME", home).current_dir(home);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_is_as_reviewed() {
    let home = tempfile::tempdir().unwrap();
    let nouns: [&[&str]; 24] = [
        &[],
        &["get"],
        &["why"],
        &["events"],
        &["job"],
        &["job", "create"],
        &["job", "set"],
        &["job", "auth"],
        &["cache"],
        &["cache", "ls"],
        &["cache", "set"],
        &["cache", "verify"],
        &["cache", "export"],
        &["cache", "import"],
        &["cache", "rm"],
        &["cache", "clear"],
        &["doctor"],
        &["config"],
        &["config", "set"],
        &["service"],
        &["peers"],
        &["group"],
        &["report"],
        &["explain"],
    ];
    for noun in nouns {
        let output = eddy(home.path(), &[noun, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0), "{noun:?}");
        insta::assert_snapshot!(format!("help_{}", noun.join("_")), text(&output.stdout));
    }
}

#[test]
fn what_is_missing_is_asked_for_and_not_what_the_environment_gives() {
    let home = tempfile::tempdir().unwrap();
    for (args, usage) in [
        (&["get"][..], "Usage: eddy get [OPTIONS] <URL>..."),
        (&["--json", "cache", "set"], "Usage: eddy cache set [OPTIONS]"),
        (&["--config", "cache", "job", "set"], "Usage: eddy job set [OPTIONS]"),
        (&["job", "frob"], "Usage: eddy job [OPTIONS] <COMMAND>"),
        (&["gte"], "Usage: eddy [OPTIONS] <COMMAND>"),
    ] {
        let output = eddy(home.path(), args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(usage) && !said.contains("--home"), "{args:?}: {said}");
    }
}

#[test]
fn verbs_and_codes_of_bits_are_told_apart_from_commands() {
    let home = tempfile::tempdir().unwrap();
    let table = text(&eddy(home.path(), &["help", "bits"]).stdout);
    assert_eq!(table.lines().count(), 1 + 109 + 8, "a heading, every switch, every cmdlet");
    insta::assert_snapshot!("help_bits", table);
    let json: Vec<serde_json::Value> =
        serde_json::from_slice(&eddy(home.path(), &["help", "bits", "--json"]).stdout).unwrap();
    assert_eq!(json.len(), 117);
    for code in ["0x80200013", "BG_E_DESTINATION_LOCKED", "80190194", "disk-full"] {
        let output = eddy(home.path(), &["explain", code]);
        assert_eq!(output.status.code(), Some(0), "{code}");
        insta::assert_snapshot!(format!("explain_{code}"), text(&output.stdout));
    }
}

#[test]
fn the_name_alone_asks_for_help() {
    let home = tempfile::tempdir().unwrap();
    let alone = eddy(home.path(), &[]);
    assert_eq!((alone.status.code(), alone.stdout), (Some(0), eddy(home.path(), &["--help"]).stdout));
}

/// Who writes the destination as `cp` has it is told how eddy has it; who left the scheme out is told that as well.
#[test]
fn a_destination_behind_the_url_is_told_where_it_goes() {
    let home = tempfile::tempdir().unwrap();
    let remedy = |args: &[&str]| {
        let refused = eddy(home.path(), args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        String::from_utf8(refused.stderr).unwrap()
    };
    assert!(remedy(&["get", "https://h/a", "here"]).contains("eddy get URL -o PATH"));
    let either = remedy(&["get", "https://h/a", "h.example/b"]);
    assert!(either.contains("eddy get URL -o PATH") && either.contains("https://h.example/b"), "{either}");
    for no_path in [&["get", "here"][..], &["get", "here", "https://h/a"], &["get", "https://h/a", "here", "-o", "."]] {
        assert!(!remedy(no_path).contains("-o PATH"), "{no_path:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_a_code_a_remedy_and_an_exit_status() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("present"), "precious").unwrap();
    let long = format!("https://h/{}", "x".repeat(9000));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["get", "ftp://h/a"], 2, "unknown-scheme"),
        (&["get", "file:///etc/passwd"], 2, "unknown-scheme"),
        (&["get", "nonsense"], 2, "bad-url"),
        (&["get", "https://"], 2, "bad-url"),
        (&["get", &long], 2, "too-long"),
        (&["get", "https://h/"], 2, "bad-destination"),
        (&["get", "https://h/a", "-o", "present"], 7, "destination-exists"),
        (&["get", "https://h/a", "-o", "missing/a"], 7, "destination-no-parent"),
        (&["get", "https://h/a", "-o", "/proc/self/cmdline/a"], 2, "bad-destination"),
        (&["get", "https://h/a", "https://h/b", "-o", "c"], 2, "bad-destination"),
        (&["get", "https://h/a", "https://i/a"], 2, "destination-twice"),
        (&["get", "https://h/a", "--digest", "sha256:12"], 2, "bad-digest"),
        (&["get", "https://h/a", "https://h/b", "--digest", "md5:12"], 2, "bad-usage"),
        (&["get", "https://h/a", "--background"], 10, "daemon-unreachable"),
        (&["status"], 10, "daemon-unreachable"),
        (&["peers", "ls"], 10, "daemon-unreachable"),
        (&["explain", "no-such-code"], 2, "bad-usage"),
        (&["cache", "ls", "--larger", "5 parsecs"], 2, "bad-amount"),
        (&["cache", "ls", "--unused-for", "30"], 2, "bad-amount"),
        (&["cache", "ls", "--url", &"*".repeat(1025)], 2, "too-long"),
        (&["cache", "show", "nonsense"], 11, "entity-not-found"),
        (&["cache", "show", "abc"], 2, "ambiguous-name"),
        (&["cache", "show", "https://h/a"], 11, "entity-not-found"),
        (&["cache", "pin", "0123"], 11, "entity-not-found"),
        (&["cache", "set", "quota"], 2, "unknown-setting"),
        (&["cache", "set", "qouta=1GiB"], 2, "unknown-setting"),
        (&["cache", "set", "quota=50 parsecs"], 2, "bad-amount"),
        (&["cache", "set", "max-age=30"], 2, "bad-amount"),
        (&["cache", "set", "quota=1GiB", "quota=2GiB"], 2, "bad-usage"),
        (&["cache", "rm", "0123"], 11, "entity-not-found"),
        (&["cache", "rm"], 2, "bad-usage"),
        (&["cache", "rm", "0123", "--private"], 2, "bad-usage"),
        (&["cache", "rm", "--private"], 2, "not-confirmed"),
        (&["cache", "clear"], 2, "not-confirmed"),
    ];
    for (args, exit, code) in cases {
        let output = eddy(home.path(), args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*exit), "{args:?}: {error}");
        assert!(error.starts_with(&format!("error[{code}]: ")), "{args:?}: {error}");
        assert!(error.contains("\nremedy: "), "{args:?}: {error}");
        assert!(output.stdout.is_empty(), "{args:?}");

        let json = eddy(home.path(), &[*args, &["--json"]].concat());
        let problem: serde_json::Value = serde_json::from_slice(&json.stderr).unwrap();
        assert_eq!((json.status.code(), problem["code"].as_str()), (Some(*exit), Some(*code)), "{args:?}");
    }
}

#[test]
fn a_refusal_repeats_no_secret_of_a_url() {
    let home = tempfile::tempdir().unwrap();
    for url in ["ftp://u:geheim@h/?geheim", "https://u:geheim@h/?sig=geheim", "geheim"] {
        let output = eddy(home.path(), &["get", url]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!text(&output.stderr).contains("geheim"), "{}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_understood_ends_with_2_and_a_hint() {
    let home = tempfile::tempdir().unwrap();
    for args in [["gett"].as_slice(), &["get"], &["job"], &["get", "--prioritty", "low", "u"], &["cache", "show"]] {
        let output = eddy(home.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("--help"), "{args:?}");
    }
}

#[test]
fn every_error_is_explained_by_its_code_and_by_bits() {
    let home = tempfile::tempdir().unwrap();
    let output = eddy(home.path(), &["explain", "0x80200001"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout));
    let all = eddy(home.path(), &["explain", "--json"]);
    let all: Vec<serde_json::Value> = serde_json::from_slice(&all.stdout).unwrap();
    assert!(all.len() > 50);
    insta::assert_snapshot!("exit_statuses", text(&eddy(home.path(), &["explain", "--exits"]).stdout));
}

#[test]
fn a_misspelt_key_of_the_configuration_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("eddy.toml"), "[cache]\nqouta = \"1 GiB\"\n").unwrap();
    let output = eddy(home.path(), &["cache", "ls"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(13), "{error}");
    assert!(error.starts_with("error[bad-config]: ") && error.contains("qouta"), "{error}");
}

#[test]
fn what_is_stored_can_be_seen_without_a_daemon() {
    let home = tempfile::tempdir().unwrap();
    for (args, shown) in [(["cache", "ls"], "the cache is empty\n"), (["job", "ls"], "no jobs\n")] {
        let output = eddy(home.path(), &args);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), shown), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty());
    }
    assert!(!home.path().join("run/control.sock").exists(), "the node has gone with the command");
}

#[test]
fn a_home_is_examined_without_a_daemon_and_without_making_one() {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let nowhere = home.path().join("nowhere");
    let output = eddy(home.path(), &["doctor", "--home", nowhere.to_str().unwrap()]);
    assert_eq!((output.status.code(), nowhere.exists()), (Some(0), false), "{}", text(&output.stderr));

    // Whatever disk the test runs on.
    std::fs::write(home.path().join("eddy.toml"), "[cache]\nreserve = \"1 B\"\n").unwrap();
    eddy(home.path(), &["cache", "ls"]);
    for args in [["doctor"].as_slice(), &["doctor", "--strict"], &["doctor", "--fix"]] {
        let output = eddy(home.path(), args);
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).ends_with(": everything is in order\n"), "{}", text(&output.stdout));
    }
    std::fs::write(home.path().join("eddy.toml"), "[cache]\nqouta = 1\n").unwrap();
    let output = eddy(home.path(), &["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), report["findings"][0]["severity"].as_str()), (Some(8), Some("error")));
}

#[test]
fn a_secret_makes_two_homes_one_group() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(eddy(here.path(), &["group", "show"]).status.code(), Some(9));
    let made = eddy(here.path(), &["group", "init"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    std::fs::write(there.path().join("secret"), &made.stdout).unwrap();
    assert_eq!(eddy(there.path(), &["group", "join", "secret"]).status.code(), Some(0));
    let show = |home: &Path| text(&eddy(home, &["group", "show"]).stdout);
    assert_eq!(show(here.path()), show(there.path()));
    assert!(!show(here.path()).contains(text(&made.stdout).trim()), "the secret is shown only on demand");
    assert!(text(&eddy(there.path(), &["group", "show", "--secret"]).stdout).contains(text(&made.stdout).trim()));

    let again = eddy(here.path(), &["group", "init"]);
    assert_eq!(again.status.code(), Some(9));
    assert!(text(&again.stderr).starts_with("error[group-exists]: "), "{}", text(&again.stderr));
    assert_eq!(eddy(here.path(), &["group", "leave"]).status.code(), Some(0));
    assert_eq!(eddy(here.path(), &["group", "leave"]).status.code(), Some(9));
}

#[test]
fn a_secret_typed_at_a_terminal_is_asked_for_and_not_shown() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = text(&eddy(here.path(), &["group", "init"]).stdout);

    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let terminal = || std::fs::File::options().read(true).write(true).open(&name).unwrap();
    let mut join = Command::new(env!("CARGO_BIN_EXE_eddy"));
    join.args(["group", "join", "-"]).env_clear().env("EDDY_HOME", there.path());
    let mut join = join.stdin(terminal()).stderr(terminal()).stdout(Stdio::null()).spawn().unwrap();
    let is_shown = || tcgetattr(&keyboard).unwrap().local_modes.contains(LocalModes::ECHO);
    while is_shown() {
        assert!(join.try_wait().unwrap().is_none(), "it asked for nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut screen = std::fs::File::from(keyboard.try_clone().unwrap());
    screen.write_all(secret.as_bytes()).unwrap();
    assert!(join.wait().unwrap().success());
    assert!(is_shown(), "the terminal is as it was");
    let mut seen = vec![0; 4096];
    let length = screen.read(&mut seen).unwrap();
    let seen = text(&seen[..length]);
    assert!(seen.contains("(not shown as you type)") && !seen.contains(secret.trim()), "{seen}");
    assert!(text(&eddy(there.path(), &["group", "show", "--secret"]).stdout).contains(secret.trim()));
}

#[test]
fn a_group_with_a_root_invites_and_keeps_its_root() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = eddy(home.path(), &[&["group"], args].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let code_of = |error: &str| error.split_once("error[").map(|(_, rest)| rest.split(']').next().unwrap().to_owned());
    assert_eq!(run(&["init", "--ca"]).0, Some(0));
    let (_, shown, _) = run(&["show"]);
    assert!(shown.contains("issuer, with the root key") && shown.contains("standing"), "{shown}");
    let (status, code, note) = run(&["invite", "--uses", "3", "--role", "anchor", "--address", "192.0.2.7:7717"]);
    assert_eq!(status, Some(0), "{note}");
    assert!(code.starts_with("eddy-join-v1:") && code.lines().count() == 1, "{code}");
    assert!(note.contains("no daemon runs here") && note.contains("3 machines as anchor"), "{note}");
    let (_, listed, _) = run(&["invites", "ls"]);
    let name = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(listed.contains("anchor") && listed.contains("open") && !listed.contains(&code[13..24]), "{listed}");
    assert_eq!(run(&["invites", "rm", &name]).0, Some(0));
    for (args, wanted) in [
        (&["invites", "rm", &name][..], "invite-not-found"),
        (&["revoke", "nobody"], "member-not-found"),
        (&["leave"], "root-would-be-lost"),
        (&["init"], "group-exists"),
    ] {
        let (status, _, error) = run(args);
        assert_eq!(code_of(&error).as_deref(), Some(wanted), "{args:?}: {status:?} {error}");
    }
    // Another machine: the code is not right, or nobody is there; either way it stays as it was.
    let other = tempfile::tempdir().unwrap();
    let most = code.trim().len() - 1;
    let mistyped = format!("{}{}", &code[..most], if code.trim().ends_with('a') { "b" } else { "a" });
    let output = eddy(other.path(), &["group", "join", &mistyped]);
    assert_eq!(code_of(&text(&output.stderr)).as_deref(), Some("join-code-invalid"));
    assert!(!text(&output.stderr).contains(&mistyped[13..24]), "the code is not repeated");
    let output = eddy(other.path(), &["group", "join", code.trim(), "127.0.0.1:9"]);
    assert_eq!(code_of(&text(&output.stderr)).as_deref(), Some("issuer-unreachable"), "{}", text(&output.stderr));
    assert!(!other.path().join("node.key").exists() && !other.path().join("group.member").exists());
    assert_eq!(run(&["leave", "--force"]).0, Some(0));
    assert_eq!(run(&["init"]).0, Some(0));
    for args in [&["invite"][..], &["ls"], &["revoke", "12D3KooWJRpN"]] {
        let (_, _, error) = run(args);
        let code = code_of(&error);
        assert!(matches!(code.as_deref(), Some("group-without-authority" | "not-an-issuer")), "{args:?}: {error}");
    }
}

#[test]
fn a_wrong_secret_is_refused_and_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let made = text(&eddy(home.path(), &["group", "init"]).stdout);
    assert_eq!(eddy(home.path(), &["group", "leave"]).status.code(), Some(0));
    let (most, last) = made.trim().split_at(made.trim().len() - 1);
    let mistyped = format!("{most}{}", if last == "a" { "b" } else { "a" });
    for wrong in ["", "geheim", &mistyped] {
        std::fs::write(home.path().join("secret"), wrong).unwrap();
        let output = eddy(home.path(), &["group", "join", "secret"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(9), "{error}");
        assert!(error.starts_with("error[group-secret-invalid]: "), "{error}");
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    assert_eq!(eddy(home.path(), &["group", "join", "missing"]).status.code(), Some(9));
    assert_eq!(eddy(home.path(), &["group", "show"]).status.code(), Some(9), "nothing was joined");
    // A name that looks like a secret is refused as one only where there is no such file.
    for name in ["a".repeat(64).as_str(), "eddy-group-v1"] {
        let refused = eddy(home.path(), &["group", "join", name]);
        assert!(text(&refused.stderr).starts_with("error[group-secret-exposed]: "), "{refused:?}");
        std::fs::write(home.path().join(name), &made).unwrap();
        assert_eq!(eddy(home.path(), &["group", "join", name]).status.code(), Some(0));
        assert_eq!(eddy(home.path(), &["group", "leave"]).status.code(), Some(0));
    }
    let absent = eddy(home.path(), &["group", "join", "eddy-group.txt"]);
    assert!(text(&absent.stderr).starts_with("error[group-secret-unreadable]: "), "{absent:?}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = eddy(home.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("no-peers"), "{shell}");
    }
    assert!(text(&eddy(home.path(), &["man"]).stdout).contains(".SH SYNOPSIS"));
    let pages = home.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    assert_eq!(eddy(home.path(), &["man", "pages"]).status.code(), Some(0));
    for page in ["eddy.1", "eddy-get.1", "eddy-cache-rm.1", "eddy-cache-ls.1"] {
        assert!(std::fs::read_to_string(pages.join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
    assert_eq!(eddy(home.path(), &["man", "missing/directory"]).status.code(), Some(7));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
    let output = command.arg("explain").env("EDDY_HOME", home.path()).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
