//! Block hashes, and how they combine to the plain BLAKE3 hash of the file (what `b3sum` prints).
//!
//! A block's hash is the chaining value of its subtree in the file's own BLAKE3 tree, so blocks may arrive in any order and
//! a run of block hashes that is an aligned subtree merges into one node (BLAKE3 paper, section 2.1; `blake3::hazmat`).
//! An entity of one block or less has no inner node: its only block hash is the root itself.

use crate::geometry::{BLOCK_SIZE, Geometry};
use blake3::hazmat::{self, HasherExt, Mode};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The hash of one block at its place in one entity: a BLAKE3 chaining value, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockHash(pub [u8; 32]);

/// The BLAKE3 hash of a whole entity, equal to what `b3sum` prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root(pub [u8; 32]);

/// The hash over a run of block hashes: what a statement signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunHash(pub [u8; 32]);

impl Root {
    /// The root of the entity without a byte.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self(*blake3::hash(b"").as_bytes())
    }

    /// Lower-case hexadecimal, as `b3sum` prints it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

macro_rules! short_debug {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}..)"), data_encoding::HEXLOWER.encode(&self.0[..6]))
            }
        }
    )*};
}
short_debug!(BlockHash, Root, RunHash);

/// Hashes block number `block` of an entity; `bytes` must be the whole block.
///
/// Feed whole blocks: below 16 KiB a call BLAKE3 loses its SIMD width.
#[must_use]
pub fn hash_block(geometry: &Geometry, block: u32, bytes: &[u8]) -> BlockHash {
    debug_assert_eq!(bytes.len(), geometry.block_len(block), "a block is hashed whole");
    if geometry.block_count() <= 1 {
        return BlockHash(*blake3::hash(bytes).as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(u64::from(block) * BLOCK_SIZE);
    hasher.update(bytes);
    BlockHash(hasher.finalize_non_root())
}

/// Combines all block hashes of an entity to its root; `None` unless there is exactly one hash a block.
#[must_use]
pub fn root(geometry: &Geometry, hashes: &[BlockHash]) -> Option<Root> {
    if hashes.len() != geometry.block_count() as usize {
        return None;
    }
    match hashes {
        [] => Some(Root::of_nothing()),
        [only] => Some(Root(only.0)),
        _ => {
            let split = left_blocks(hashes.len());
            let (left, right) = (subtree(&hashes[..split]), subtree(&hashes[split..]));
            Some(Root(*hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()))
        }
    }
}

/// The chaining value over a run of block hashes that is one aligned subtree (a segment, or the last part of one).
///
/// Panics on an empty run, which no caller inside the project can form.
fn subtree(hashes: &[BlockHash]) -> [u8; 32] {
    match hashes {
        [only] => only.0,
        _ => {
            let split = left_blocks(hashes.len());
            let (left, right) = (subtree(&hashes[..split]), subtree(&hashes[split..]));
            hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// The segment hash: the BLAKE3 subtree chaining value of one segment's blocks; `None` for an empty run.
#[must_use]
pub fn segment_hash(hashes: &[BlockHash]) -> Option<[u8; 32]> {
    (!hashes.is_empty()).then(|| subtree(hashes))
}

/// Hashes a run of block hashes into the one value that a statement signs.
#[must_use]
pub fn run_hash(first_block: u32, hashes: &[BlockHash]) -> RunHash {
    let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 run of block hashes");
    hasher.update(&first_block.to_le_bytes());
    for hash in hashes {
        hasher.update(&hash.0);
    }
    RunHash(*hasher.finalize().as_bytes())
}

/// Blocks of the left subtree of `count` blocks: the largest power of two below `count` (BLAKE3 paper, section 2.1).
fn left_blocks(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
    }

    fn hashes_in_order(data: &[u8], order: &[u32]) -> Vec<BlockHash> {
        let geometry = Geometry::new(data.len() as u64).expect("fits");
        let mut hashes = vec![BlockHash([0; 32]); geometry.block_count() as usize];
        for &block in order {
            let range = geometry.block_bytes(block);
            hashes[block as usize] = hash_block(&geometry, block, &data[range.start as usize..range.end as usize]);
        }
        hashes
    }

    #[test]
    fn edges_combine_to_the_plain_hash() {
        let b = BLOCK_SIZE as usize;
        for length in [0, 1, 1024, b - 1, b, b + 1, 2 * b, 3 * b + 7, 16 * b, 17 * b - 1] {
            let data = pattern(length);
            let geometry = Geometry::new(length as u64).expect("fits");
            let order: Vec<u32> = geometry.all_blocks().rev().collect();
            let root = root(&geometry, &hashes_in_order(&data, &order)).expect("all there");
            assert_eq!(root.0, *blake3::hash(&data).as_bytes(), "length {length}");
        }
    }

    #[test]
    fn a_missing_hash_gives_no_root() {
        let geometry = Geometry::new(BLOCK_SIZE * 3).expect("fits");
        assert_eq!(root(&geometry, &[BlockHash([0; 32]); 2]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_order_combines_to_the_plain_hash(length in 0usize..(40 * 65536), seed in any::<u64>()) {
            let data = pattern(length);
            let geometry = Geometry::new(length as u64).expect("fits");
            let mut order: Vec<u32> = geometry.all_blocks().collect();
            order.sort_by_key(|b| blake3::hash(&(u64::from(*b) ^ seed).to_le_bytes()).as_bytes()[..8].to_vec());
            let root = root(&geometry, &hashes_in_order(&data, &order)).expect("all there");
            prop_assert_eq!(root.0, *blake3::hash(&data).as_bytes());
        }

        #[test]
        fn one_flipped_bit_changes_the_block_hash(block in 0u32..4, byte in 0usize..65536, bit in 0u8..8) {
            let geometry = Geometry::new(BLOCK_SIZE * 4).expect("fits");
            let mut data = pattern(BLOCK_SIZE as usize);
            let before = hash_block(&geometry, block, &data);
            data[byte] ^= 1 << bit;
            prop_assert_ne!(before, hash_block(&geometry, block, &data));
        }
    }
}
