//! Who is logged on, and which jobs run only while their owner is (F-80 to F-82).
//!
//! BITS runs every job under that rule, which breaks whatever nobody sits in front of; here it is a wish of the single job. A job
//! whose owner is away is queued and has no place in the queue. Where nobody can say who is logged on, such a job waits too: its
//! owner wanted it never to run behind their back, and that is not to be broken by a service that is missing.

use crate::job::terms::{Owner, Presence};
use std::collections::BTreeSet;

/// The last number of the accounts of the system itself, as systemd and shadow have it (`SYS_UID_MAX` of login.defs(5)). They never
/// log on, and count as always being there (F-81).
const LAST_SYSTEM_ACCOUNT: u32 = 999;

/// Who is logged on at this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sessions {
    /// Nobody can say, or has said yet.
    #[default]
    Unknown,
    /// These users, and the accounts of the system.
    Of(BTreeSet<Owner>),
}

impl Sessions {
    /// Whether a job with this wish may run for its owner.
    #[must_use]
    pub fn admit(&self, presence: Presence, owner: Owner) -> bool {
        match (presence, self) {
            (Presence::NotNeeded, _) => true,
            (Presence::WhileLoggedOn, _) if owner.0 <= LAST_SYSTEM_ACCOUNT => true,
            (Presence::WhileLoggedOn, Self::Unknown) => false,
            (Presence::WhileLoggedOn, Self::Of(users)) => users.contains(&owner),
        }
    }
}
