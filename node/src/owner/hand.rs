//! Work on files that is done as the user whom they belong to (T-41).
//!
//! A daemon that makes a file for somebody must not lend them its own rights. So each step at a destination is done on a thread of its own
//! that looks to the file system like its owner: the groups and the identity for files (setfsuid(2)) are theirs, and no capability is in
//! effect. Linux keeps these for each thread. The thread's other identities stay the daemon's, so that its owner can neither
//! signal nor trace it; it ends with the step and never does anything else. Bytes go through the descriptor that it opened.
//!
//! A thread in place of a process was chosen because nothing of the daemon is in the owner's reach that way, no protocol is to be kept
//! with a process that its owner may stop, and a step costs microseconds.

use super::Account;
use nix::unistd::{setfsgid, setfsuid};
use rustix::io::{Errno, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, set_capabilities, set_thread_groups};
use std::sync::Arc;

/// Who does it.
#[derive(Debug, Clone)]
pub enum Hand {
    /// This process's own user.
    Own,
    /// Another user of the system.
    Other(Arc<Account>),
}

impl Hand {
    /// The hand of a user. May block on the user database.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        if uid == rustix::process::geteuid().as_raw() { Self::Own } else { Self::Other(Arc::new(Account::of(uid))) }
    }

    /// Whose it is.
    #[must_use]
    pub fn uid(&self) -> u32 {
        match self {
            Self::Own => rustix::process::geteuid().as_raw(),
            Self::Other(account) => account.uid,
        }
    }

    /// Does a step as this user. [`Errno::PERM`] when this process may not be another: then nothing was done.
    pub fn act<T: Send>(&self, step: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let Self::Other(account) = self else { return step() };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("owner".to_owned());
            let started = thread.spawn_scoped(scope, || {
                become_one(account)?;
                step()
            });
            match started {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(_) => Err(Errno::AGAIN),
            }
        })
    }
}

/// Makes this thread look like a user to the file system, for the rest of its life.
fn become_one(account: &Account) -> Result<()> {
    let groups: Vec<Gid> = account.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    let (uid, gid) = (nix::unistd::Uid::from_raw(account.uid), nix::unistd::Gid::from_raw(account.gid));
    // These calls say what was before them, and nothing else: whether they did it is asked by a second one.
    setfsgid(gid);
    setfsuid(uid);
    if setfsgid(gid) != gid || setfsuid(uid) != uid {
        return Err(Errno::PERM);
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    const SOMEBODY: u32 = 61_001;

    fn is_root() -> bool {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            println!("skipped: only root is another user");
        }
        is_root
    }

    #[test]
    fn a_step_has_its_users_rights_and_makes_its_users_files() {
        if !is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let place = |name: &str| directory.path().join(name);
        std::fs::create_dir(place("theirs")).expect("made");
        chown(place("theirs"), Some(SOMEBODY), Some(SOMEBODY)).expect("given");
        std::fs::write(place("roots"), "secret").expect("written");
        std::fs::set_permissions(place("roots"), std::fs::Permissions::from_mode(0o600)).expect("a mode");
        let hand = Hand::of(SOMEBODY);
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        assert_eq!(hand.act(|| std::fs::write(place("theirs/file"), "x").map_err(io)), Ok(()));
        assert_eq!(std::fs::metadata(place("theirs/file")).expect("there").uid(), SOMEBODY);
        assert_eq!(hand.act(|| std::fs::write(place("file"), "x").map_err(io)), Err(Errno::ACCESS));
        assert_eq!(hand.act(|| std::fs::read(place("roots")).map_err(io)), Err(Errno::ACCESS));
        // The rest of the process is what it was.
        assert!(std::fs::read(place("roots")).is_ok() && std::fs::write(place("file"), "x").is_ok());
        assert_eq!(std::fs::metadata(place("file")).expect("there").uid(), 0);
    }

    #[test]
    fn no_capability_is_left_to_a_step() {
        if !is_root() {
            return;
        }
        let status =
            Hand::of(SOMEBODY).act(|| std::fs::read_to_string("/proc/thread-self/status").map_err(|_| Errno::IO));
        let status = status.expect("a status");
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim().to_owned();
        for set in ["CapEff:", "CapPrm:", "CapInh:"] {
            assert_eq!(line(set).trim_start_matches('0'), "", "{set}");
        }
        assert_eq!(line("Groups:"), "");
        assert_eq!(line("Uid:").split_whitespace().collect::<Vec<_>>(), ["0", "0", "0", "61001"], "only for files");
    }

    #[test]
    fn the_own_user_needs_no_rights_for_it() {
        let here = std::thread::current().id();
        assert_eq!(Hand::of(rustix::process::geteuid().as_raw()).act(|| Ok(std::thread::current().id())), Ok(here));
    }
}
