//! The real `eddy` program, each with a home of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{Mounts, Running};
use crate::lab::Host;

/// Environment that must not leak from the person's shell into a test.
const LEAKS: [&str; 8] =
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// An installation of eddy: the program, a home directory and a place to run.
#[derive(Debug)]
pub struct Eddy<'lab> {
    home: TempDir,
    host: Option<&'lab Host>,
    mounts: Option<&'lab Mounts>,
    /// The user that it runs as, where that is not the test's.
    user: Option<u32>,
    /// What stands in the place of `/etc/hosts`, for it alone.
    names: Option<PathBuf>,
    program: PathBuf,
}

impl Eddy<'static> {
    /// An eddy on this machine.
    ///
    /// # Errors
    /// When no home directory can be made.
    pub fn here() -> Result<Self> {
        Ok(Self { home: home()?, host: None, mounts: None, user: None, names: None, program: program() })
    }

    /// An eddy on this machine whose home is made in `folder`: for benches that choose their disk.
    ///
    /// # Errors
    /// When no home directory can be made.
    pub fn inside(folder: &Path) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("eddy-").tempdir_in(folder).context("a home for eddy")?;
        Ok(Self { home, host: None, mounts: None, user: None, names: None, program: program() })
    }
}

impl<'lab> Eddy<'lab> {
    /// An eddy on a host of the lab.
    ///
    /// # Errors
    /// When no home directory can be made.
    pub fn on(host: &'lab Host) -> Result<Self> {
        Ok(Self { home: home()?, host: Some(host), mounts: None, user: None, names: None, program: program() })
    }

    /// An eddy on this machine that sees a test's own file systems.
    ///
    /// # Errors
    /// When no home directory can be made.
    pub fn among(mounts: &'lab Mounts) -> Result<Self> {
        Ok(Self { home: home()?, host: None, mounts: Some(mounts), user: None, names: None, program: program() })
    }

    /// The same, run by a user without privileges, to whom its home belongs.
    ///
    /// # Errors
    /// When the home cannot be given to the user, or the program cannot be put where the user reaches it.
    pub fn run_by(mut self, user: u32) -> Result<Self> {
        // The target folder may lie where only its owner goes.
        let copy = self.home().join("eddy");
        std::fs::copy(&self.program, &copy)?;
        std::os::unix::fs::chown(self.home(), Some(user), Some(user))?;
        self.program = copy;
        self.user = Some(user);
        Ok(self)
    }

    /// The same, for which names mean what this file says, in the form of `/etc/hosts`, each time that it looks. It may be written anew
    /// in place while the program runs.
    #[must_use]
    pub fn with_names(mut self, file: &Path) -> Self {
        self.names = Some(file.to_owned());
        self
    }

    /// Its home directory (`EDDY_HOME`): configuration, store, socket, group. Kept over restarts, removed on drop.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `eddy` with these arguments, to be changed further.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let place = |program: &OsStr| match (self.host, self.mounts) {
            (Some(host), _) => host.command(program),
            (None, Some(mounts)) => mounts.command(program),
            (None, None) => Command::new(program),
        };
        let inner = |program: &OsStr| match &self.names {
            None => place(program),
            Some(names) => {
                let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                let mut command = place(OsStr::new("unshare"));
                command.args(["--mount", "--propagation", "private", "--", "sh", "-c", script]).arg(names).arg(program);
                command
            }
        };
        let mut command = match self.user {
            None => inner(self.program.as_os_str()),
            Some(user) => {
                let mut command = inner(OsStr::new("setpriv"));
                let id = user.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(&self.program);
                command
            }
        };
        command.args(arguments).env("EDDY_HOME", self.home()).env("NO_COLOR", "1").env_remove("RUST_LOG");
        for name in LEAKS {
            command.env_remove(name);
        }
        command
    }

    /// Starts `eddy` and leaves it running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Running> {
        Running::start(self.command(arguments))
    }

    /// Runs `eddy` to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<Output> {
        let mut command = self.command(arguments);
        command.stdin(std::process::Stdio::null());
        command.output().with_context(|| format!("{command:?}"))
    }
}

fn home() -> Result<TempDir> {
    tempfile::Builder::new().prefix("eddy-").tempdir().context("a home for eddy")
}

/// The program, in the same target folder as the running test.
///
/// # Panics
/// When it has not been built.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let found = test.ancestors().skip(1).take(2).map(|dir| dir.join("eddy")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("no eddy beside {}; build it first: cargo build -p eddy-cli", test.display());
    })
}
