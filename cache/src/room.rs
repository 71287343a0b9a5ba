//! Room: how much the store may use, and what goes when more is needed.
//!
//! The plan is pure and can be shown before anything is executed; what somebody has a handle on is not in it.

use crate::disk::Volume;
use eddy_content::EntityId;

/// The largest share of the disk, or number of bytes, that the store may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the file system.
    Percent(u8),
}

/// Room on the file system that the store always leaves to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reserve {
    /// 5 % of the file system, at least 2 GiB.
    #[default]
    Standard,
    /// So many bytes.
    Bytes(u64),
}

/// Bytes of the smallest standard reserve.
const LEAST_RESERVE: u64 = 2 << 30;
/// The unit in which file systems hand out room.
const PAGE: u64 = 4096;

impl Quota {
    pub(crate) fn bytes(self, volume: &Volume) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => volume.total / 100 * u64::from(percent.min(100)),
        }
    }
}

impl Reserve {
    pub(crate) fn bytes(self, volume: &Volume) -> u64 {
        match self {
            Self::Standard => (volume.total / 20).max(LEAST_RESERVE),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What the store uses and may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Set aside for entities, whether their blocks have arrived or not.
    pub used: u64,
    /// The quota.
    pub quota: u64,
    /// What is left free for others.
    pub reserve: u64,
    /// What could come in now without anything going.
    pub available: u64,
    /// Number of entities.
    pub entities: u64,
}

/// Bytes that an entity of `length` bytes takes on disk: data, block hashes, header, a page of statements.
pub(crate) fn footprint(length: u64) -> u64 {
    let hashes = length.div_ceil(eddy_content::BLOCK_SIZE) * crate::outboard::HASH_LENGTH;
    length.next_multiple_of(PAGE) + hashes.next_multiple_of(PAGE) + 2 * PAGE
}

/// What may go, oldest use first, until the need is met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvictionPlan {
    /// What goes, in order.
    pub victims: Vec<Victim>,
    /// Bytes that this frees.
    pub frees: u64,
    /// Whether that is enough.
    pub is_enough: bool,
}

/// An entity that would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub id: EntityId,
    /// Bytes that it takes.
    pub bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub last_used: i64,
}

/// Least recently used first, until `missing` bytes are free.
pub(crate) fn plan(mut candidates: Vec<Victim>, missing: u64) -> EvictionPlan {
    candidates.sort_by_key(|victim| (victim.last_used, victim.id));
    let mut plan = EvictionPlan::default();
    for victim in candidates {
        if plan.frees >= missing {
            break;
        }
        plan.frees += victim.bytes;
        plan.victims.push(victim);
    }
    plan.is_enough = plan.frees >= missing;
    plan
}

/// What became of an order to remove an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// It is gone.
    Removed {
        /// Bytes that this freed.
        bytes: u64,
    },
    /// Somebody uses it; nothing was done.
    InUse,
    /// It is not here.
    NotFound,
}

/// What became of an order to remove everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClearOutcome {
    /// Entities that are gone.
    pub removed: u64,
    /// Bytes that this freed.
    pub bytes: u64,
    /// Entities that somebody uses and that stayed.
    pub in_use: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn victim(tag: u8, bytes: u64, last_used: i64) -> Victim {
        Victim { id: EntityId([tag; 32]), bytes, last_used }
    }

    #[test]
    fn the_longest_unused_goes_first_and_no_more_than_needed() {
        let plan = plan(vec![victim(1, 10, 30), victim(2, 10, 10), victim(3, 10, 20)], 15);
        assert_eq!(plan.victims, [victim(2, 10, 10), victim(3, 10, 20)]);
        assert!(plan.is_enough);
    }

    #[test]
    fn a_plan_that_cannot_free_enough_says_so() {
        assert!(!plan(vec![victim(1, 10, 30)], 11).is_enough);
    }
}
