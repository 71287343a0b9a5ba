//! The entities that all scenarios work on: of every size at which the store does something else.

use crate::support::{self, BLOCK};
use eddy_cache::{Account, NewEntity};
use eddy_content::{BlockHash, Geometry, LookupSecret};
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes of each entity.
const LENGTHS: [u64; 8] = {
    let block = BLOCK as u64;
    [0, 1, 4101, block - 1, block, block + 1, 3 * block, 5 * block + 777]
};
/// How many there are.
pub(crate) const TAGS: u64 = LENGTHS.len() as u64;
/// A quota under which they do not all fit.
pub(crate) const TIGHT: u64 = 640 * 1024;

static BYTES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| (0..TAGS).map(|tag| support::content(tag, 0..length(tag))).collect());

static HASHES: LazyLock<Vec<Vec<BlockHash>>> = LazyLock::new(|| {
    let hashes = |tag| support::hashes_of(tag, &geometry(tag), geometry(tag).all_blocks());
    (0..TAGS).map(hashes).collect()
});

/// Bytes of the entity number `tag`.
pub(crate) fn length(tag: u64) -> u64 {
    LENGTHS[tag as usize]
}

/// Whether its bytes lie in the index: it is one block at most.
pub(crate) fn lies_in_index(tag: u64) -> bool {
    length(tag) <= BLOCK as u64
}

/// The entity number `tag`.
pub(crate) fn entity(tag: u64) -> NewEntity {
    support::new_entity(tag, length(tag))
}

pub(crate) fn geometry(tag: u64) -> Geometry {
    Geometry::new(length(tag)).expect("a geometry")
}

/// What stands in some blocks of it.
pub(crate) fn right_bytes(tag: u64, blocks: Range<u32>) -> &'static [u8] {
    let bytes = geometry(tag).bytes_of(blocks);
    &BYTES[tag as usize][bytes.start as usize..bytes.end as usize]
}

/// What these blocks hash to.
pub(crate) fn right_hashes(tag: u64, blocks: Range<u32>) -> Vec<BlockHash> {
    HASHES[tag as usize][blocks.start as usize..blocks.end as usize].to_vec()
}

/// The account on which its bytes are booked.
pub(crate) fn account(tag: u64) -> Account {
    Account { job: [3; 16], file: tag as u32 }
}

/// The secret under which peers ask.
pub(crate) fn key() -> LookupSecret {
    LookupSecret::new([5; 32])
}
