//! Room: how much the store may use, and what became of an order to make some.
//!
//! Who goes first is decided in [`eddy_content::evict`]; what somebody has a handle on counts there as in use.

use crate::disk::Volume;
use crate::row::Place;
use eddy_content::{Entity, EntityId, ResourceUrl};
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
/// Bytes at the beginning of a page of rows.
const PAGE_HEAD: u64 = 4;
/// Bytes of the row with an entity's bytes, beside them: key, number, hash, seal, and where key and value end.
const ROW_OVERHEAD: u64 = 97;
/// Bytes of an entity's record beside its two URLs: key, name, seal, numbers, a short entity tag.
const RECORD_OVERHEAD: u64 = 136;
/// Bytes of the other rows that speak of an entity, with their share of pages: name, lookup key, held blocks, line, order.
const ROWS_ABOUT: u64 = 615;
/// One page in so many is free between two changes: a change writes pages anew, and gives the old ones back with the next.
const FREE: u64 = 25;

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

/// Bytes that an entity takes on disk. In files: data, block hashes, header, a page of statements. In the index: its bytes, its
/// record, and the other rows about it; measured, and held against real files by a test.
pub(crate) fn footprint(entity: &Entity, requested: &ResourceUrl, place: Place) -> u64 {
    let length = entity.length;
    match place {
        Place::Files => {
            let hashes = length.div_ceil(eddy_content::BLOCK_SIZE) * crate::outboard::HASH_LENGTH;
            length.next_multiple_of(PAGE) + hashes.next_multiple_of(PAGE) + 2 * PAGE
        }
        Place::Index => {
            let urls = (entity.url.as_str().len() + requested.as_str().len()) as u64;
            let rows = ROWS_ABOUT + share_of_pages(RECORD_OVERHEAD + urls) + share_of_pages(ROW_OVERHEAD + length);
            rows + rows / FREE
        }
    }
}

/// Bytes of pages that a row of the index takes, among others like it that come in any order. A long one has pages of its own, a
/// power of two of them; a full page is split in halves, so pages are filled to ln 2, but those of few rows more.
fn share_of_pages(row: u64) -> u64 {
    match (PAGE - PAGE_HEAD) / row {
        0 => (row + PAGE_HEAD).next_power_of_two(),
        1 => PAGE,
        2 => PAGE * 2 / 3,
        rows => PAGE * 1000 / (693 * rows + 307),
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

    fn footprint_of(url: &str, length: u64, place: Place) -> u64 {
        let url = ResourceUrl::parse(url).expect("a URL");
        let validator = eddy_content::Validator::StrongEtag("\"v\"".to_owned());
        footprint(&Entity { url: url.clone(), validator, length }, &url, place)
    }

    #[test]
    fn a_footprint_covers_data_and_outboard() {
        let in_files = |length| footprint_of("https://origin.example/f", length, Place::Files);
        assert_eq!(in_files(0), 2 * PAGE);
        assert_eq!(in_files(1), 4 * PAGE);
        assert!(in_files(100 << 30) > (100 << 30) + 50 * (1 << 20));
        assert!(in_files(eddy_content::geometry::MAX_LENGTH) > eddy_content::geometry::MAX_LENGTH);
    }

    #[test]
    fn a_footprint_in_the_index_is_the_share_of_its_pages() {
        let none = footprint_of("https://origin.example/f", 0, Place::Index);
        let in_index = |length| footprint_of("https://origin.example/f", length, Place::Index) - none;
        let ascends = (1..BLOCK).step_by(7).is_sorted_by_key(in_index);
        assert!(ascends && in_index(400) > 400 && in_index(2500) > 2500);
        // Pages of a power of two, and what is said of the entity beside them.
        let whole = footprint_of("https://origin.example/f", BLOCK, Place::Index);
        assert!((32 * PAGE..34 * PAGE).contains(&whole), "{whole}");
        let long = format!("https://origin.example/{}", "u".repeat(1500));
        assert!(footprint_of(&long, 400, Place::Index) > in_index(400) + none + 3000, "a long URL counts, twice");
    }

    const BLOCK: u64 = eddy_content::BLOCK_SIZE;
}
