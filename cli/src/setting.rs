//! What the global options mean.

use crate::args::Global;
use crate::failure::Failure;
use crate::text::{safe, units};
use eddy_node::config::service::SYSTEM_SOCKET;
use eddy_node::control::socket_of;
use eddy_node::owner::{Hand, name_of};
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use etcetera::BaseStrategy;
use serde::Serialize;
use std::fs::DirBuilder;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tracing::{Event, Level};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format as Line, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// For whom a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// People: tables, units, sentences.
    People,
    /// Programs: JSON.
    Json,
}

/// What the global options mean.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The node's directory, absolute.
    pub(crate) home: PathBuf,
    /// The configuration file, if one was named.
    pub(crate) config: Option<PathBuf>,
    /// Where a node is looked for.
    pub(crate) socket: PathBuf,
    /// Where a node of this home listens.
    pub(crate) inside: PathBuf,
    /// Whether the socket was named.
    pub(crate) is_socket_named: bool,
    /// For whom to write.
    pub(crate) format: Format,
    /// How to write sizes.
    pub(crate) sizes: units::Sizes,
    /// Whether to say nothing but errors.
    pub(crate) quiet: bool,
    verbose: u8,
    /// The home as it was named, if it was.
    named: Option<PathBuf>,
}

impl Setting {
    /// Gives the options their meaning.
    pub(crate) fn of(global: &Global) -> Result<Self, Failure> {
        let home = match &global.home {
            Some(home) => std::path::absolute(home)
                .map_err(|error| Failure::new(ErrorCode::BadConfig, format!("--home: {error}")))?,
            None => default_home()?,
        };
        let own = socket_of(&home);
        // The daemon of this home first; who named no home means the one that this machine has.
        let found = match &global.socket {
            Some(named) => std::path::absolute(named)
                .map_err(|error| Failure::new(ErrorCode::BadConfig, format!("--socket: {error}")))?,
            None if global.home.is_none() && !own.exists() => {
                trusted_socket(Path::new(SYSTEM_SOCKET)).unwrap_or_else(|| own.clone())
            }
            None => own.clone(),
        };
        Ok(Self {
            inside: if global.socket.is_some() { found.clone() } else { own },
            socket: found,
            is_socket_named: global.socket.is_some(),
            home,
            config: global.config.clone(),
            format: if global.json { Format::Json } else { Format::People },
            sizes: if global.bytes { units::Sizes::Exact } else { units::Sizes::Human },
            quiet: global.quiet,
            verbose: global.verbose,
            named: global.home.clone(),
        })
    }

    /// Writes an answer: JSON for programs, or what `people` makes of it.
    pub(crate) fn answer<T: Serialize>(&self, value: &T, people: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Json => safe::json(value) + "\n",
            Format::People if self.quiet => return Ok(()),
            Format::People => people(),
        };
        write(&text)
    }

    /// The one command that starts a daemon for what this command is about.
    pub(crate) fn start_command(&self) -> String {
        match &self.named {
            None if self.is_service() => "systemctl start eddy".to_owned(),
            None => "eddy daemon".to_owned(),
            Some(home) => format!("eddy --home {} daemon", quoted(&home.to_string_lossy())),
        }
    }

    /// The one command that makes the daemon read its configuration.
    pub(crate) fn restart_command(&self) -> String {
        self.service_command("restart")
    }

    /// The one command that stops the daemon.
    pub(crate) fn stop_command(&self) -> String {
        self.service_command("stop")
    }

    fn service_command(&self, verb: &str) -> String {
        match &self.named {
            Some(home) => format!("eddy --home {} service {verb}", quoted(&home.to_string_lossy())),
            None => format!("eddy service {verb}"),
        }
    }

    /// Whether the machine's service manager has the daemon of this home.
    pub(crate) fn is_service(&self) -> bool {
        let units = ["/etc/systemd/system/eddy.service", "/usr/lib/systemd/system/eddy.service"];
        let is_its = self.socket == Path::new(SYSTEM_SOCKET) || self.home == Path::new(SYSTEM_HOME);
        is_its && Path::new("/run/systemd/system").exists() && units.iter().any(|unit| Path::new(unit).exists())
    }

    /// Makes the home, for its owner alone (T-48).
    pub(crate) fn make_home(&self) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.home)
    }

    /// Refuses what would put root's files into a home of somebody else: its owner's node could not read them.
    pub(crate) fn own_home(&self) -> Result<(), Failure> {
        let Some(owner) = self.other_owner() else { return Ok(()) };
        let who = name_of(owner).unwrap_or_else(|| format!("#{owner}"));
        // What root's environment names is not named in another's.
        let home = quoted(&self.home.to_string_lossy());
        let words = harmless(std::env::args().skip(1));
        let remedy = format!("Give it as that user: sudo -u {} eddy --home {home} {words}", quoted(&who));
        let detail = format!("{} is {who}'s", self.home.display());
        Err(Problem { remedy, ..Problem::new(ErrorCode::HomeForeign, detail) }.into())
    }

    /// By whose hand something is written into the home: root writes for the home's owner, as that user and with no other rights.
    pub(crate) fn hand(&self) -> Hand {
        self.other_owner().map_or(Hand::Own, Hand::of)
    }

    /// Whose the home is, where root is about to use somebody else's.
    fn other_owner(&self) -> Option<u32> {
        let owner = std::fs::metadata(&self.home).ok()?.uid();
        let is_roots = !rustix::process::geteuid().is_root() || owner == 0;
        (!is_roots).then_some(owner)
    }

    /// Says something to a person, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && self.format == Format::People {
            // Nobody has to read it.
            let _ = writeln!(std::io::stderr().lock(), "{}", safe::line(text));
        }
    }

    /// Whether a person looks at standard error, so that something may move there.
    pub(crate) fn may_animate(&self) -> bool {
        !self.quiet && self.format == Format::People && self.verbose == 0 && std::io::stderr().is_terminal()
    }

    /// Starts the log on standard error: what `-v` or the environment asks for.
    pub(crate) fn start_log(&self, daemon: bool) {
        let level = match (self.verbose, daemon, self.quiet) {
            (0, true, false) | (1, false, _) => "info",
            (0, _, _) => "error",
            (1, true, _) | (2, _, _) => "debug",
            (3.., _, _) => "trace",
        };
        let ours = format!("error,eddy_node={level},eddy_cache={level},eddy_discovery={level},eddy_engine={level}");
        let filter = EnvFilter::try_from_env("EDDY_LOG").unwrap_or_else(|_| EnvFilter::new(ours));
        let terminal = std::io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
        // Only fails when there is a log already.
        let _ = match is_journal() {
            true => log.event_format(ForJournal(Line::default().without_time().with_target(true))).try_init(),
            false => log.with_target(self.verbose > 1).try_init(),
        };
    }
}

/// Writes to standard output.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Whether standard error is the journal's (systemd.exec(5), `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Ok(error) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", error.st_dev, error.st_ino))
}

/// Lines as the journal takes them: the level as its priority in front (sd-daemon(3)), and no time, which it knows itself.
struct ForJournal(Line<Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, at: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(out, "<{priority}>")?;
        self.0.format_event(at, out, event)
    }
}

/// The home of root's daemon.
const SYSTEM_HOME: &str = "/var/lib/eddy";

/// What may be said again of a command: its name and switches. What follows may be a secret, as what somebody joins a group by or the query of
/// a URL is.
fn harmless(words: impl Iterator<Item = String>) -> String {
    let is_harmless = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let (mut said, mut names, mut is_value) = (Vec::new(), 0, false);
    for word in words {
        let is_home = word == "--home" || word.starts_with("--home=");
        if std::mem::replace(&mut is_value, word == "--home") || is_home {
            continue;
        }
        names += usize::from(!word.starts_with('-'));
        if names > 2 || !is_harmless(&word) || said.last().is_some_and(|before| before == "join") {
            said.push("...".to_owned());
            break;
        }
        said.push(word);
    }
    said.join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The machine's own socket, where it is there and nobody but the service can have put it there (T-44).
fn trusted_socket(path: &Path) -> Option<PathBuf> {
    let (socket, directory) = (std::fs::symlink_metadata(path).ok()?, std::fs::symlink_metadata(path.parent()?).ok()?);
    let is_kept = directory.is_dir() && directory.mode() & 0o022 == 0;
    let is_its = socket.uid() == directory.uid() || directory.uid() == 0;
    (socket.file_type().is_socket() && is_kept && is_its).then(|| path.to_owned())
}

/// `/var/lib/eddy` for root, else `eddy` in the user's data directory.
fn default_home() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(SYSTEM_HOME));
    }
    let base = etcetera::choose_base_strategy().map_err(|error| {
        Failure::new(ErrorCode::BadConfig, format!("this user has no home directory ({error}); name one with --home"))
    })?;
    Ok(base.data_dir().join("eddy"))
}

/// A path as text, for JSON and for people; bytes that are no UTF-8 cannot be told to the node.
pub(crate) fn utf8(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(ErrorCode::BadDestination, format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_nothing_is_said_again_that_may_be_a_secret() {
        let said = |command: &str| harmless(command.split(' ').map(str::to_owned));
        assert_eq!(said("--home /x doctor --fix"), "doctor --fix");
        assert_eq!(said("cache ls"), "cache ls");
        assert_eq!(said("group join secretcode"), "group join ...");
        assert_eq!(said("--home=/x get https://h/a?token=b -H x"), "get ...");
        assert_eq!(said("job create hunter"), "job create ...");
    }
}
