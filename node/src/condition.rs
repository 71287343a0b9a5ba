//! Conditions of this machine that stop a job: which error of the system is which, and what the user is told.
//!
//! The engine waits for them to end and has them looked at meanwhile (`eddy_engine::Effect::Probe`). Here is only what they
//! mean: full, read-only, without rights, out of descriptors, failing.

use crate::deliver::refusal;
use eddy_cache::{AdmitError, CommitError, FaultKind, OpenError, ReadError, StoreError};
use eddy_engine::{Failure, FailureClass};
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

/// The row of an error at the user's destination.
#[must_use]
pub fn at_destination(kind: FaultKind) -> ErrorCode {
    match kind {
        FaultKind::Denied => ErrorCode::DestinationNotWritable,
        other => anywhere(other),
    }
}

/// The row of an error in the node's own directory.
#[must_use]
pub fn at_home(kind: FaultKind) -> ErrorCode {
    match kind {
        FaultKind::Denied => ErrorCode::StoreUnusable,
        other => anywhere(other),
    }
}

fn anywhere(kind: FaultKind) -> ErrorCode {
    match kind {
        FaultKind::Full => ErrorCode::DiskFull,
        FaultKind::TooManyFiles => ErrorCode::TooManyOpenFiles,
        FaultKind::ReadOnly => ErrorCode::DiskReadOnly,
        FaultKind::Denied | FaultKind::Medium | FaultKind::Other => ErrorCode::DiskFailed,
    }
}

/// A failure of the node's own disk. The directory is named, because not every error of the store names a file.
#[must_use]
pub fn of_cache(kind: FaultKind, directory: &Path, error: &dyn std::fmt::Display) -> Failure {
    let detail = format!("the cache in `{}`: {error}", directory.display());
    Failure { class: FailureClass::Disk, ..refusal(at_home(kind), detail) }
}

/// What an error of the store says of the disk.
#[must_use]
pub fn of_store(error: &StoreError) -> FaultKind {
    match error {
        StoreError::Disk(fault) => fault.kind(),
        StoreError::Index(fault) => fault.kind(),
        StoreError::RowTooLarge { .. } | StoreError::Closing => FaultKind::Other,
    }
}

/// The same of a refused admission; `None` when the disk has nothing to do with it.
#[must_use]
pub fn of_admission(error: &AdmitError) -> Option<FaultKind> {
    match error {
        AdmitError::TooLarge { .. } | AdmitError::NoRoom { .. } | AdmitError::BeyondProtocol { .. } => None,
        AdmitError::Disk(fault) => Some(fault.kind()),
        AdmitError::Store(error) => Some(of_store(error)),
    }
}

/// The same of a failed commit.
#[must_use]
pub fn of_commit(error: &CommitError) -> FaultKind {
    of_store(&error.source)
}

/// The same of a read; `None` for a block that is not held or not right.
#[must_use]
pub fn of_read(error: &ReadError) -> Option<FaultKind> {
    match error {
        ReadError::NotHeld { .. } | ReadError::Corrupt { .. } | ReadError::Replaced { .. } => None,
        ReadError::Disk(fault) => Some(fault.kind()),
    }
}

/// The same of a store that does not open; `None` when the disk has nothing to do with it.
#[must_use]
pub fn of_opening(error: &OpenError) -> Option<FaultKind> {
    match error {
        OpenError::Disk(fault) => Some(fault.kind()),
        OpenError::Index(fault) => Some(fault.kind()),
        OpenError::InUse { .. } | OpenError::TooNew { .. } => None,
    }
}
