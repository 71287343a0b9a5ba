//! Room: how much the store may use, and what became of an order to make some.
//!
//! Who goes first is decided in [`eddy_content::evict`]; what somebody has a handle on counts there as in use.

use crate::disk::Volume;
use crate::row::Place;
use eddy_content::EntityId;
use std::time::Duration;

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
/// The unit in which file systems hand out room, and the index.
const PAGE: u64 = 4096;
/// Bytes of an entity's row in the index beside its own: key, number, hash, seal, and redb's accounts.
const ROW_OVERHEAD: u64 = 160;
/// Bytes of the rows that speak of an entity: record, names, lookup key, held blocks, line, order.
const ROWS_ABOUT: u64 = 1536;

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

/// How much may be here, and for how long; may change while the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How much the store may use.
    pub quota: Quota,
    /// How much it leaves to others.
    pub reserve: Reserve,
    /// What nobody used for so long goes; `None` for no such limit.
    pub max_age: Option<Duration>,
}

/// What a plan is to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// So many bytes go, or none at all when not enough may.
    Free(u64),
    /// Everything keeps to these limits, as far as it may go.
    Fit(Limits),
    /// What was last used before that moment goes, in seconds since 1970.
    UnusedSince(i64),
    /// These go.
    These(Vec<EntityId>),
    /// Everything goes.
    Everything,
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
    /// Of what is used: what is pinned.
    pub pinned: u64,
}

/// Bytes that an entity of `length` bytes takes on disk. In files: data, block hashes, header, a page of statements. In the
/// index: its row in pages of a power of two, as redb gives them, or its share of one; and the rows about it.
pub(crate) fn footprint(length: u64, place: Place) -> u64 {
    match place {
        Place::Files => {
            let hashes = length.div_ceil(eddy_content::BLOCK_SIZE) * crate::outboard::HASH_LENGTH;
            length.next_multiple_of(PAGE) + hashes.next_multiple_of(PAGE) + 2 * PAGE
        }
        Place::Index => {
            let row = length + ROW_OVERHEAD;
            ROWS_ABOUT + if row <= PAGE / 2 { row } else { row.next_power_of_two().max(PAGE) }
        }
    }
}

/// Whether an entity may be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// It stays, whatever room is needed.
    Pinned,
    /// It goes when its turn comes.
    Free,
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
    /// Entities that are pinned and that stayed.
    pub pinned: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: Volume = Volume { total: 100 << 30, available: 50 << 30 };

    #[test]
    fn the_standard_reserve_is_a_twentieth_but_never_below_2_gib() {
        assert_eq!(Reserve::Standard.bytes(&VOLUME), 5 << 30);
        assert_eq!(Reserve::Standard.bytes(&Volume { total: 10 << 30, ..VOLUME }), 2 << 30);
    }

    #[test]
    fn a_quota_in_percent_is_of_the_whole_file_system_and_at_most_all_of_it() {
        assert_eq!(Quota::Percent(50).bytes(&VOLUME), VOLUME.total / 100 * 50);
        assert!(Quota::Percent(255).bytes(&VOLUME) <= VOLUME.total);
    }

    #[test]
    fn a_footprint_covers_data_and_outboard() {
        let in_files = |length| footprint(length, Place::Files);
        assert_eq!(in_files(0), 2 * PAGE);
        assert_eq!(in_files(1), 4 * PAGE);
        assert!(in_files(100 << 30) > (100 << 30) + 50 * (1 << 20));
        assert!(in_files(eddy_content::geometry::MAX_LENGTH) > eddy_content::geometry::MAX_LENGTH);
    }

    #[test]
    fn a_footprint_in_the_index_covers_the_row_and_what_is_said_of_it() {
        let in_index = |length| footprint(length, Place::Index) - ROWS_ABOUT;
        assert_eq!(in_index(100), 260);
        assert_eq!(in_index(3000), PAGE);
        assert_eq!(in_index(10_000), 4 * PAGE);
        assert_eq!(in_index(eddy_content::BLOCK_SIZE), 32 * PAGE);
    }
}
