//! A job that waits for a condition of this machine to end: a full disk, a lost right, too many open files.
//!
//! Waiting out such a condition with the pauses that are right for a network would be wrong twice: asking the origin again
//! frees no disk, and somebody who has just made room wants to see the job go on. So the condition itself is looked at, which
//! is cheap, and the turn is given when it has ended.

use crate::file::CacheUse;
use crate::port::FailureClass;
use std::time::Duration;

/// What a job waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Condition {
    /// The file that met it.
    pub(crate) file: u32,
    /// Where it was met.
    pub(crate) class: FailureClass,
    /// Whether a look has found the way free.
    pub(crate) is_over: bool,
    /// When it is looked at next; `None` while a look is under way, and when it is over.
    pub(crate) look_at: Option<Duration>,
    /// Looks that found it standing.
    pub(crate) looks: u32,
}

/// Turns in a row that met a condition of this node's disk, though looks had found none, before the cache is passed by.
const MISTAKES: u32 = 3;

impl Condition {
    /// What a turn may do with the cache that is given after `attempts` turns met this condition in a row.
    pub(crate) fn cache_use(&self, attempts: u32) -> CacheUse {
        let is_cache_believed = self.is_over && attempts < MISTAKES;
        if self.class == FailureClass::Disk && !is_cache_believed { CacheUse::PassedBy } else { CacheUse::Allowed }
    }
}
