//! `eddy job show`: all that is known of one job and its files, for people. What nobody has said and what is not known is left out.

use super::{ranges, sources};
use crate::setting::Setting;
use crate::text::table::facts;
use crate::text::units;
use eddy_wire::api::{
    DigestCheck, FileState, FileView, Finish, HeaderView, JobState, JobView, PeerUse, Priority, Problem, Redirects,
};
use std::time::Duration;

pub(super) fn show(job: &JobView, setting: &Setting) -> String {
    let mut text = facts(&[standing(job, setting).as_slice(), &wishes(job, setting)].concat());
    for file in &job.files {
        text.push('\n');
        text += &facts(&file_facts(file, setting));
    }
    text
}

/// How the job stands.
fn standing(job: &JobView, setting: &Setting) -> [(&'static str, String); 12] {
    let problem = |problem: &Problem| format!("{problem} [{}]", problem.code);
    let time = |at: Option<u64>| at.map_or_else(String::new, units::time);
    // While bytes arrive, and where there is an error, the other lines say it.
    let is_told = job.error.is_some() || matches!(job.state, JobState::Transferring | JobState::Suspended);
    let waiting = job.waiting.as_ref().filter(|_| !is_told && !job.state.is_final());
    [
        ("job", job.id.clone()),
        ("name", job.name.clone()),
        ("state", job.state.word().to_owned()),
        ("done", done(job, setting)),
        ("waiting", waiting.map_or_else(String::new, |waiting| waiting.sentence.clone())),
        ("error", job.error.as_ref().map_or_else(String::new, problem)),
        ("remedy", job.error.as_ref().map_or_else(String::new, |error| error.remedy.clone())),
        ("next attempt", time(job.next_attempt_unix_ms)),
        ("faults", if job.faults == 0 { String::new() } else { job.faults.to_string() }),
        ("made", units::time(job.created_unix_ms)),
        ("changed", units::time(job.changed_unix_ms)),
        ("whole since", time(job.transferred_unix_ms)),
    ]
}

/// Bytes and files that are here.
fn done(job: &JobView, setting: &Setting) -> String {
    let is_here = |file: &&FileView| matches!(file.state, FileState::Transferred | FileState::Delivered);
    let (here, all) = (job.files.iter().filter(is_here).count(), job.files.len());
    let (bytes, length) = (setting.sizes.size(job.done()), setting.sizes.size_if_known(job.length()));
    format!("{bytes} of {length}, {here} of {all} files")
}

/// What is wished of it.
fn wishes(job: &JobView, setting: &Setting) -> [(&'static str, String); 17] {
    let terms = &job.terms;
    let time = |seconds: u64| units::duration(Duration::from_secs(seconds));
    let wish = |seconds: Option<u64>| seconds.map_or_else(String::new, time);
    let header = |field: &HeaderView| format!("{}: {}", field.name, field.value.as_deref().unwrap_or("(secret)"));
    let gives_up = match terms.give_up_after_seconds {
        0 => String::from("the first fault"),
        seconds => time(seconds),
    };
    let redirects = match terms.redirects {
        Redirects::Follow => "",
        Redirects::Report => "report",
        Redirects::Refuse => "refuse",
    };
    let peers = match job.peers {
        PeerUse { fetch: true, share: true } => "fetch, share",
        PeerUse { fetch: true, share: false } => "fetch",
        PeerUse { fetch: false, share: true } => "share",
        PeerUse { fetch: false, share: false } => "off",
    };
    let priority = match job.priority {
        Priority::Foreground => "foreground",
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let finish = match job.finish {
        Finish::Auto => "",
        Finish::Manual => "with: eddy job finish",
    };
    [
        ("owner", format!("uid {}", job.owner)),
        ("description", terms.description.clone()),
        ("priority", priority.to_owned()),
        ("finishes", finish.to_owned()),
        ("peers", peers.to_owned()),
        ("method", terms.method.clone().unwrap_or_default()),
        ("headers", terms.headers.iter().map(header).collect::<Vec<_>>().join(", ")),
        ("authorization", terms.authorization.clone().unwrap_or_default()),
        ("client certificate", terms.client_certificate.clone().unwrap_or_default()),
        ("proxy", if terms.proxy == "system" { String::new() } else { terms.proxy.clone() }),
        ("redirects", redirects.to_owned()),
        ("retry delay", wish(terms.retry_delay_seconds)),
        ("gives up after", gives_up),
        ("max transfer", wish(terms.max_transfer_seconds)),
        ("limit", terms.limit_bytes_per_second.map_or_else(String::new, |limit| setting.sizes.rate(limit))),
        ("runs", if terms.while_logged_on { "while its owner is logged on".to_owned() } else { String::new() }),
        ("hook", terms.hook.clone().unwrap_or_default()),
    ]
}

fn file_facts(file: &FileView, setting: &Setting) -> [(&'static str, String); 11] {
    let size = |bytes| setting.sizes.size(bytes);
    let digest = match file.digest {
        DigestCheck::None => "",
        DigestCheck::Pending => "not checked yet",
        DigestCheck::Holds => "holds",
        DigestCheck::Differs => "DIFFERS",
    };
    [
        ("file", file.destination.clone()),
        ("from", file.url.clone()),
        ("ranges", ranges(file)),
        ("done", format!("{} of {}", size(file.done), setting.sizes.size_if_known(file.length))),
        ("sources", sources(file.sources, setting)),
        ("wasted", if file.wasted == 0 { String::new() } else { size(file.wasted) }),
        ("blake3", file.blake3.clone().unwrap_or_default()),
        ("digest", digest.to_owned()),
        ("trust", file.trust.clone().unwrap_or_default()),
        ("why origin", file.origin_reason.clone().unwrap_or_default()),
        ("what was held", file.held_reason.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use crate::bits::{BITSADMIN, SHOW};
    use clap::Parser;

    /// What each switch of bitsadmin asks for, by the name under which it is shown.
    const ASKED: [(&str, &str); 26] = [
        ("/info", "job"),
        ("/getstate", "state"),
        ("/getowner", "owner"),
        ("/getpriority", "priority"),
        ("/getdisplayname", "name"),
        ("/getdescription", "description"),
        ("/getcreationtime", "made"),
        ("/getmodificationtime", "changed"),
        ("/getcompletiontime", "whole since"),
        ("/getbytestotal", "done"),
        ("/getbytestransferred", "done"),
        ("/getfilestotal", "done"),
        ("/getfilestransferred", "done"),
        ("/geterrorcount", "faults"),
        ("/getminretrydelay", "retry delay"),
        ("/getnoprogresstimeout", "gives up after"),
        ("/getmaxdownloadtime", "max transfer"),
        ("/getnotifycmdline", "hook"),
        ("/getcustomheaders", "headers"),
        ("/gethttpmethod", "method"),
        ("/getsecurityflags", "redirects"),
        ("/getclientcertificate", "client certificate"),
        ("/getproxyusage", "proxy"),
        ("/getproxylist", "proxy"),
        ("/getvalidationstate", "digest"),
        ("/getpeercachingflags", "peers"),
    ];

    /// A job about which everything has been said.
    fn job() -> JobView {
        let text = serde_json::json!({
            "id": "0a", "name": "all", "state": "error", "priority": "low", "finish": "manual",
            "peers": {"fetch": true, "share": false}, "owner": 1001,
            "terms": {
                "description": "nightly", "retry_delay_seconds": 30, "give_up_after_seconds": 3600,
                "max_transfer_seconds": 86_400, "authorization": "digest", "proxy": "http://proxy.example:3128/",
                "headers": [{"name": "x-key", "value": null}, {"name": "x-a", "value": "1"}], "redirects": "refuse",
                "hook": "told", "while_logged_on": true, "client_certificate": "work", "method": "POST",
                "limit_bytes_per_second": 1_048_576,
            },
            "created_unix_ms": 0, "changed_unix_ms": 0, "transferred_unix_ms": 0, "faults": 3, "waiting": null,
            "files": [{
                "url": "https://h/a", "destination": "/srv/a", "state": "transferred", "length": 2_097_152,
                "done": 2_097_152, "sources": {"origin": 1_048_576, "peers": 1_048_576, "cache": 0}, "wasted": 0,
                "blake3": null, "digest": "differs", "rung": null, "witnesses": null, "trust": null,
                "origin_reason": null, "held_reason": null,
            }],
            "rate": 0, "eta_seconds": null, "error": null, "next_attempt_unix_ms": null,
        });
        serde_json::from_value(text).expect("a job")
    }

    fn setting() -> Setting {
        let cli = Cli::try_parse_from(["eddy", "--home", "/nowhere", "status"]).expect("parses");
        Setting::of(&cli.global).expect("a setting")
    }

    #[test]
    fn what_has_been_said_and_what_is_known_is_shown() {
        let text = show(&job(), &setting());
        // Times are those of the machine's zone.
        let lines = text.lines().filter(|line| !line.starts_with("made") && !line.starts_with("changed"));
        let lines: Vec<_> = lines.filter(|line| !line.starts_with("whole since")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn each_switch_of_bits_that_asks_for_something_finds_it() {
        let text = show(&job(), &setting());
        for (switch, counterpart) in BITSADMIN.iter().filter(|(_, counterpart)| *counterpart == SHOW) {
            let asked = ASKED.iter().find(|(name, _)| name == switch);
            let (_, label) = asked.unwrap_or_else(|| panic!("{switch} {counterpart:?}: what does it ask for?"));
            let is_shown = text.lines().any(|line| line.starts_with(&format!("{label} ")));
            assert!(is_shown, "{switch}: `{label}` is not in\n{text}");
        }
    }
}
