//! Whether what a node has delivered stands where this command sees it.
//!
//! A node that is a service may see other folders under the same names: a `/tmp` of its own, say. What it puts there is there for nobody, and
//! to say that all was done would be the one answer that is certainly wrong.

use crate::failure::Failure;
use eddy_wire::api::{FileView, JobSpec, JobState, JobView};
use eddy_wire::catalogue::ErrorCode;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

/// By what a file that was replaced is told from the one before: some file systems give the same number to both.
type Mark = (u64, u64, i64, i64, i64, i64);

/// What stands at each destination of a job, before it is asked for.
pub(crate) fn before(spec: &JobSpec) -> Vec<Option<Mark>> {
    spec.files.iter().map(|file| std::fs::symlink_metadata(&file.destination).ok().as_ref().map(mark)).collect()
}

/// Fails where the node says that a file was delivered and here it was not.
pub(crate) fn check(job: &JobView, before: &[Option<Mark>]) -> Result<(), Failure> {
    // A hook is there to do something with what was delivered.
    if job.state != JobState::Acknowledged || job.terms.hook.is_some() {
        return Ok(());
    }
    match job.files.iter().zip(before).find(|(file, before)| !is_seen(file, **before)) {
        Some((file, _)) => Err(Failure::new(ErrorCode::DestinationUnseen, file.destination.clone())),
        None => Ok(()),
    }
}

fn is_seen(file: &FileView, before: Option<Mark>) -> bool {
    match std::fs::symlink_metadata(&file.destination) {
        Ok(found) => {
            let is_whole = file.length.is_none_or(|length| found.len() == length);
            found.is_file() && is_whole && before != Some(mark(&found))
        }
        // What cannot be looked at may well be there.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

fn mark(found: &Metadata) -> Mark {
    (found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec())
}
