//! `eddy help bits`: every switch of bitsadmin and every cmdlet of BitsTransfer, and what does the same here or why nothing does.

use crate::failure::Failure;
use crate::setting::Setting;
use crate::text::table::{Column, table};

/// What eddy has for a verb of BITS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counterpart {
    /// This command.
    Command(&'static str),
    /// Nothing, for this reason.
    Declined(&'static str),
}

use Counterpart::{Command as Does, Declined as No};

/// What is asked of a job is in what is shown of it.
pub(crate) const SHOW: Counterpart = Does("eddy job show ID");
const UPLOADS: Counterpart = No("this version does not upload");
const IDENTITY: Counterpart =
    No("a job runs as its owner, who has to be logged on only where it says --while-logged-on");
const NOTIFY: Counterpart = Does("eddy events --follow");
const CERTIFICATE: Counterpart = Does("eddy job set ID client-certificate=NAME");
const AUTOMATIC: Counterpart = No("eddy verifies every byte itself; a digest: eddy get URL --digest");

/// The switches of bitsadmin; a sub-switch stands behind its switch.
#[rustfmt::skip]
pub(crate) const BITSADMIN: [(&str, Counterpart); 109] = [
    ("/create", Does("eddy job create NAME")),
    ("/transfer", Does("eddy get URL")),
    ("/addfile", Does("eddy job add ID --file URL PATH")),
    ("/addfileset", Does("eddy job add ID --from LIST")),
    ("/addfilewithranges", Does("eddy job add ID --file URL PATH --range RANGES")),
    ("/listfiles", Does("eddy job files ID")),
    ("/replaceremoteprefix", Does("eddy job relocate ID --from PREFIX --to PREFIX")),
    ("/resume", Does("eddy job resume ID")),
    ("/suspend", Does("eddy job pause ID")),
    ("/cancel", Does("eddy job cancel ID")),
    ("/complete", Does("eddy job finish ID")),
    ("/reset", Does("eddy job purge --yes")),
    ("/takeownership", Does("eddy job take ID")),
    ("/list", Does("eddy job ls")),
    ("/info", SHOW),
    ("/monitor", Does("eddy job watch ID")),
    ("/getstate", SHOW),
    ("/gettype", No("all jobs of this version download")),
    ("/getowner", SHOW),
    ("/getpriority", SHOW),
    ("/getdisplayname", SHOW),
    ("/getdescription", SHOW),
    ("/getcreationtime", SHOW),
    ("/getmodificationtime", SHOW),
    ("/getcompletiontime", SHOW),
    ("/getbytestotal", SHOW),
    ("/getbytestransferred", SHOW),
    ("/getfilestotal", SHOW),
    ("/getfilestransferred", SHOW),
    ("/geterror", Does("eddy why ID")),
    ("/geterrorcount", SHOW),
    ("/setdisplayname", Does("eddy job set ID name=...")),
    ("/setdescription", Does("eddy job set ID description=...")),
    ("/setpriority", Does("eddy job set ID priority=...")),
    ("/setminretrydelay", Does("eddy job set ID retry-delay=...")),
    ("/getminretrydelay", SHOW),
    ("/setnoprogresstimeout", Does("eddy job set ID give-up-after=...")),
    ("/getnoprogresstimeout", SHOW),
    ("/setmaxdownloadtime", Does("eddy job set ID max-transfer-time=...")),
    ("/getmaxdownloadtime", SHOW),
    ("/setnotifycmdline", Does("eddy job set ID hook=NAME")),
    ("/getnotifycmdline", SHOW),
    ("/setnotifyflags", NOTIFY),
    ("/getnotifyflags", NOTIFY),
    ("/getnotifyinterface", NOTIFY),
    ("/setcustomheaders", Does("eddy job set ID header=...")),
    ("/getcustomheaders", SHOW),
    ("/makecustomheaderswriteonly", Does("eddy job set ID secret-header=...")),
    ("/sethttpmethod", Does("eddy job set ID method=...")),
    ("/gethttpmethod", SHOW),
    ("/setsecurityflags", Does("eddy job set ID redirects=...")),
    ("/getsecurityflags", SHOW),
    ("/setclientcertificatebyid", CERTIFICATE),
    ("/setclientcertificatebyname", CERTIFICATE),
    ("/getclientcertificate", SHOW),
    ("/removeclientcertificate", Does("eddy job set ID client-certificate=")),
    ("/setcredentials", Does("eddy job auth ID --user NAME")),
    ("/removecredentials", Does("eddy job auth ID --forget")),
    ("/sethelpertoken", IDENTITY),
    ("/sethelpertokenflags", IDENTITY),
    ("/gethelpertokenflags", IDENTITY),
    ("/gethelpertokensid", IDENTITY),
    ("/setproxysettings", Does("eddy job set ID proxy=...")),
    ("/getproxyusage", SHOW),
    ("/getproxylist", SHOW),
    ("/getproxybypasslist", No("a job has one proxy, `system` or `direct`; exceptions are NO_PROXY's")),
    ("/setreplyfilename", UPLOADS),
    ("/getreplyfilename", UPLOADS),
    ("/getreplydata", UPLOADS),
    ("/getreplyprogress", UPLOADS),
    ("/gettemporaryname", No("what is not verified is not shown to anybody")),
    ("/setvalidationstate", AUTOMATIC),
    ("/getvalidationstate", SHOW),
    ("/setaclflag", No("files are made with the rights of their directory; there is no SMB")),
    ("/getaclflags", No("files are made with the rights of their directory; there is no SMB")),
    ("/setpeercachingflags", Does("eddy job set ID peers=...")),
    ("/getpeercachingflags", SHOW),
    ("/peercaching", Does("eddy peers ls")),
    ("/peercaching /help", Does("eddy peers --help")),
    ("/peercaching /getconfigurationflags", Does("eddy config show")),
    ("/peercaching /setconfigurationflags", Does("eddy config set peers.fetch=... peers.serve=...")),
    ("/peers", Does("eddy peers ls")),
    ("/peers /help", Does("eddy peers --help")),
    ("/peers /list", Does("eddy peers ls")),
    ("/peers /discover", No("peers are looked for all the time")),
    ("/peers /clear", No("a peer that is gone is forgotten by itself; a member is removed with: eddy group revoke")),
    ("/cache", Does("eddy cache info")),
    ("/cache /help", Does("eddy cache --help")),
    ("/cache /info", Does("eddy cache show ID")),
    ("/cache /list", Does("eddy cache ls")),
    ("/cache /delete", Does("eddy cache rm ID")),
    ("/cache /deleteurl", Does("eddy cache rm --url URL")),
    ("/cache /clear", Does("eddy cache clear")),
    ("/cache /getlimit", Does("eddy cache info")),
    ("/cache /setlimit", Does("eddy cache set quota=...")),
    ("/cache /getexpirationtime", Does("eddy cache info")),
    ("/cache /setexpirationtime", Does("eddy cache set max-age=...")),
    ("/util", Does("eddy status")),
    ("/util /help", Does("eddy --help")),
    ("/util /version", Does("eddy --version")),
    ("/util /repairservice", Does("eddy doctor --fix")),
    ("/util /enableanalyticchannel", Does("eddy daemon --verbose")),
    ("/util /setieproxy", No("the daemon takes its proxy from its environment, a job its own: eddy job set ID proxy=...")),
    ("/util /getieproxy", No("the daemon takes its proxy from its environment, a job its own: eddy job set ID proxy=...")),
    ("/rawreturn", Does("eddy job show ID --json")),
    ("/wrap", No("tables are as wide as they have to be")),
    ("/nowrap", No("tables are as wide as they have to be")),
    ("/help", Does("eddy --help")),
    ("/examples", Does("eddy man")),
];

/// The cmdlets of the module BitsTransfer.
pub(crate) const CMDLETS: [(&str, Counterpart); 8] = [
    ("Start-BitsTransfer", Does("eddy get URL")),
    ("Add-BitsFile", Does("eddy job add ID --file URL PATH")),
    ("Get-BitsTransfer", Does("eddy job ls")),
    ("Set-BitsTransfer", Does("eddy job set ID KEY=VALUE")),
    ("Resume-BitsTransfer", Does("eddy job resume ID")),
    ("Suspend-BitsTransfer", Does("eddy job pause ID")),
    ("Complete-BitsTransfer", Does("eddy job finish ID")),
    ("Remove-BitsTransfer", Does("eddy job cancel ID")),
];

pub(crate) fn run(setting: &Setting) -> Result<(), Failure> {
    let all = || BITSADMIN.iter().chain(&CMDLETS);
    let value = |(bits, counterpart): &(&str, Counterpart)| match counterpart {
        Does(command) => serde_json::json!({"bits": bits, "eddy": command}),
        No(reason) => serde_json::json!({"bits": bits, "declined": reason}),
    };
    let values: Vec<_> = all().map(value).collect();
    setting.answer(&values, || {
        let row = |(bits, counterpart): &(&str, Counterpart)| match counterpart {
            Does(command) => vec![(*bits).to_owned(), (*command).to_owned()],
            No(reason) => vec![(*bits).to_owned(), format!("- ({reason})")],
        };
        table(&[Column::Text("IN BITS"), Column::Text("HERE")], all().map(row))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;
    use std::collections::HashSet;

    #[test]
    fn every_switch_and_cmdlet_is_there_once() {
        let names: HashSet<_> = BITSADMIN.iter().chain(&CMDLETS).map(|(name, _)| name).collect();
        assert_eq!(names.len(), 117);
    }

    #[test]
    fn every_counterpart_is_a_command_that_can_be_typed() {
        for (name, counterpart) in BITSADMIN.iter().chain(&CMDLETS) {
            let Does(text) = counterpart else { continue };
            let mut words = text.split(' ').skip(1).peekable();
            let mut command = Cli::command();
            command.build();
            while let Some(next) = words.peek().and_then(|word| command.find_subcommand(word).cloned()) {
                command = next;
                words.next();
            }
            for word in words {
                let option = word.strip_prefix("--");
                let is_known = option.is_none_or(|option| {
                    matches!(option, "help" | "version")
                        || command.get_arguments().any(|argument| argument.get_long() == Some(option))
                });
                assert!(is_known, "{name}: `{text}` has no {word}");
                let is_verb = option.is_none() && word.chars().all(|c| c.is_ascii_lowercase());
                assert!(!is_verb, "{name}: `{text}` has no verb {word}");
                if let Some((key, _)) = word.split_once('=').filter(|_| text.starts_with("eddy job set")) {
                    assert!(key == "KEY" || crate::job::set::KEYS.contains(key), "{name}: `{text}` has no key {key}");
                }
            }
        }
    }
}
