//! Everything that must be true of a store on disk, checked: `eddy doctor --strict`, and the end of every test that hurts one.
//!
//! A check takes the store's lock, so no node runs meanwhile. [`Repair::No`] looks only (redb's own repair and an upgrade of
//! the format aside, which every opening does). [`Repair::Yes`] lets the machinery mend what it can: recovery, rebuild, scrub;
//! then looks again, and says what is left. It throws nothing away that could still be of use.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`finding`] | what can be wrong, how bad is it, and what helps? |
//! | [`look`] | what is wrong? |
//! | [`repair`] | what could be mended? |

mod finding;
mod look;
mod repair;

use crate::disk::{self, Disk, Lock, RealDisk};
use crate::fault::OpenError;
use std::path::Path;
use std::sync::Arc;

pub use finding::{CheckReport, Finding, Object, Severity};

/// How thoroughly is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Rows and files against each other.
    Quick,
    /// Every page of the index and every held block as well.
    Strict,
}

/// Whether something is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// No.
    No,
    /// What can be mended is.
    Yes,
}

/// Checks the store of a directory that no process has open.
pub fn check(directory: &Path, depth: Depth, repair: Repair) -> Result<CheckReport, OpenError> {
    check_on(directory, &(Arc::new(RealDisk) as Arc<dyn Disk>), depth, repair)
}

/// Checks the store of a directory on another disk than this machine's.
pub fn check_on(
    directory: &Path,
    disk: &Arc<dyn Disk>,
    depth: Depth,
    repair: Repair,
) -> Result<CheckReport, OpenError> {
    let before = locked(directory, disk, depth)?;
    if repair == Repair::No || before.findings.iter().all(|finding| !finding.is_fixable) {
        return Ok(before);
    }
    repair::repair(directory, disk, &before)?;
    let after = locked(directory, disk, depth)?;
    Ok(before.compared_with(after))
}

/// Looks, with the lock held.
fn locked(directory: &Path, disk: &Arc<dyn Disk>, depth: Depth) -> Result<CheckReport, OpenError> {
    let _lock = match disk::lock(&**disk, &directory.join("lock"))? {
        Lock::Ours(lock) => lock,
        Lock::Theirs(holder) => return Err(OpenError::InUse { directory: directory.to_owned(), holder }),
    };
    look::look(directory, disk, depth)
}
