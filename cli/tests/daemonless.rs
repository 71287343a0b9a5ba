//! Every command of the program where no daemon runs: those that need one say so, with the one command that starts it; the
//! others do what they are for.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use clap::CommandFactory;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a command does where no daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// It cannot do anything, and says which command starts one.
    Refuses,
    /// It works on what lies in the home, and says that no daemon carries on with it.
    Notes,
    /// It needs no daemon.
    Works,
}

use Alone::{Notes, Refuses, Works};

/// Every command with arguments that reach the point where a daemon is needed, if one is.
const COMMANDS: &[(&str, Alone)] = &[
    ("get --background http://127.0.0.1:9/a -o out", Refuses),
    ("job create x --file http://127.0.0.1:9/a out", Refuses),
    ("job add 01234567 --file http://127.0.0.1:9/a out", Refuses),
    ("job set 01234567 name=a", Refuses),
    ("job auth 01234567 --forget", Refuses),
    ("job relocate 01234567 --from http://127.0.0.1:9/ --to http://127.0.0.1:9/b/", Refuses),
    ("job purge --yes", Refuses),
    ("job watch 01234567", Refuses),
    ("job take 01234567", Notes),
    ("job pause 01234567", Notes),
    ("job resume 01234567", Notes),
    ("job cancel 01234567", Notes),
    ("job finish 01234567", Notes),
    ("job ls", Works),
    ("job show 01234567", Works),
    ("job headers 01234567", Works),
    ("job files 01234567", Works),
    ("job filled 01234567", Works),
    ("job range 01234567 0 0-9", Refuses),
    ("events --follow", Refuses),
    ("why 01234567", Works),
    ("cache ls", Works),
    ("cache show http://127.0.0.1:9/a", Works),
    ("cache info", Works),
    ("cache rm --private --yes", Works),
    ("cache clear --yes", Works),
    ("cache set quota=1GiB", Works),
    ("cache pin 0123", Works),
    ("cache unpin 0123", Works),
    ("cache verify 0123", Works),
    ("cache export --all pack", Works),
    ("cache import pack", Works),
    ("peers ls", Refuses),
    ("peers show 12D3KooWJRpN", Works),
    ("peers verify-evidence none", Works),
    ("group init", Works),
    ("group join none", Works),
    ("group show", Works),
    ("group leave", Works),
    ("group invite", Works),
    ("group invites ls", Works),
    ("group invites rm a", Works),
    ("group ls", Works),
    ("group revoke a", Works),
    ("gateway ls", Works),
    ("gateway test pip", Works),
    ("gateway enable pip --dry-run", Works),
    ("gateway disable pip", Works),
    ("report", Works),
    ("status", Refuses),
    ("config show", Works),
    ("config check", Works),
    ("config set cache.quota=1GiB", Works),
    ("service status", Refuses),
    ("service stop", Works),
    // These two would start one.
    ("service start --help", Works),
    ("service restart --help", Works),
    ("daemon --help", Works),
    ("doctor", Works),
    ("explain", Works),
    ("bits", Works),
    ("completions bash", Works),
    ("man", Works),
];

fn eddy(home: &Path, words: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
    command.args(words.split(' ')).args(more).env_remove("EDDY_HOME").env_remove("EDDY_SOCKET");
    command.env("HOME", home).env("NO_COLOR", "1").current_dir(home).stdin(Stdio::null());
    command.output().unwrap()
}

/// The commands that have none below them.
fn leaves(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    let mut below = command.get_subcommands().filter(|below| below.get_name() != "help").peekable();
    if below.peek().is_none() {
        found.insert(path.trim().to_owned());
    }
    for below in below {
        leaves(below, &format!("{path} {}", below.get_name()), found);
    }
}

#[test]
fn every_command_says_which_one_starts_the_daemon_that_it_needs() {
    let mut missing = BTreeSet::new();
    leaves(&eddy_cli::args::Cli::command(), "", &mut missing);
    for (words, alone) in COMMANDS {
        let name = missing.iter().filter(|name| format!("{words} ").starts_with(&format!("{name} "))).max();
        let name = name.cloned().unwrap_or_else(|| panic!("there is no command `{words}`, or it is here twice"));
        missing.remove(&name);
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("it's a home");
        let named = ["--home", place.to_str().unwrap()];
        let output = eddy(home.path(), words, &named);
        let error = String::from_utf8(output.stderr).unwrap();
        let start = format!("eddy --home '{}' daemon", place.to_str().unwrap().replace('\'', r"'\''"));
        assert!(!error.contains("Usage:"), "{words} was not understood: {error}");
        match alone {
            Refuses => {
                assert_eq!(output.status.code(), Some(10), "{words}: {error}");
                assert!(error.starts_with("error[daemon-unreachable]: no node answers"), "{words}: {error}");
                assert!(error.contains(&format!("remedy: Start one: {start}\n")), "{words}: {error}");
                let output = eddy(home.path(), words, &[&named[..], &["--json"]].concat());
                let problem: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
                assert_eq!(problem["remedy"], format!("Start one: {start}"), "{words}");
            }
            Notes => assert!(error.contains("no daemon runs") && error.contains(&start), "{words}: {error}"),
            Works => assert!(!error.contains("daemon-unreachable"), "{words}: {error}"),
        }
    }
    assert!(missing.is_empty(), "what do these do without a daemon? {missing:?}");
}
