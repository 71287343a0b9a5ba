//! Where the blocks and segments of an entity lie: a pure function of its length.
//!
//! Both sizes are aligned powers of two of BLAKE3's 1 KiB chunk, so that the hash of each is a node of the file's own
//! hash tree (BLAKE3 paper, section 2.1). They are protocol constants: peers compute them, nobody transmits them.

use std::ops::Range;

/// Bytes of a block, the smallest run that is hashed, verified and forwarded.
pub const BLOCK_SIZE: u64 = 64 * 1024;
/// Bytes of the smallest segment.
pub const MIN_SEGMENT_SIZE: u64 = 1024 * 1024;
/// Bytes of the largest segment.
pub const MAX_SEGMENT_SIZE: u64 = 16 * 1024 * 1024;
/// Segments that a file of middling size is cut into.
const SEGMENTS_AIMED_AT: u64 = 256;
/// Bytes of the largest entity: block numbers must fit 32 bits.
pub const MAX_LENGTH: u64 = (u32::MAX as u64) * BLOCK_SIZE;

/// The block and segment arithmetic of an entity of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    length: u64,
    segment_size: u64,
}

impl Geometry {
    /// The geometry of an entity of `length` bytes, or `None` above [`MAX_LENGTH`].
    #[must_use]
    pub fn new(length: u64) -> Option<Self> {
        if length > MAX_LENGTH {
            return None;
        }
        let wanted = length.div_ceil(SEGMENTS_AIMED_AT).max(1).next_power_of_two();
        Some(Self { length, segment_size: wanted.clamp(MIN_SEGMENT_SIZE, MAX_SEGMENT_SIZE) })
    }

    /// Bytes of the entity.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of a full segment: clamp(2^ceil(log2(length / 256)), 1 MiB, 16 MiB).
    #[must_use]
    pub fn segment_size(&self) -> u64 {
        self.segment_size
    }

    /// Blocks of a full segment.
    #[must_use]
    pub fn blocks_per_segment(&self) -> u32 {
        (self.segment_size / BLOCK_SIZE) as u32
    }

    /// Number of blocks; an empty entity has none.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.length.div_ceil(BLOCK_SIZE) as u32
    }

    /// Number of segments; an empty entity has none.
    #[must_use]
    pub fn segment_count(&self) -> u32 {
        self.length.div_ceil(self.segment_size) as u32
    }

    /// All blocks of the entity.
    #[must_use]
    pub fn all_blocks(&self) -> Range<u32> {
        0..self.block_count()
    }

    /// Byte range of `block`; empty when the entity has no such block.
    #[must_use]
    pub fn block_bytes(&self, block: u32) -> Range<u64> {
        self.bytes_of(block..block.saturating_add(1))
    }

    /// Byte range that a run of blocks covers, cut at the entity's end.
    #[must_use]
    pub fn bytes_of(&self, blocks: Range<u32>) -> Range<u64> {
        let start = (u64::from(blocks.start) * BLOCK_SIZE).min(self.length);
        let end = (u64::from(blocks.end) * BLOCK_SIZE).min(self.length);
        start..end.max(start)
    }

    /// Length of `block` in bytes: [`BLOCK_SIZE`] but for the last.
    #[must_use]
    pub fn block_len(&self, block: u32) -> usize {
        let range = self.block_bytes(block);
        (range.end - range.start) as usize
    }

    /// The segment that holds `block`.
    #[must_use]
    pub fn segment_of(&self, block: u32) -> u32 {
        block / self.blocks_per_segment()
    }

    /// The blocks of `segment`, cut at the entity's end.
    #[must_use]
    pub fn blocks_of_segment(&self, segment: u32) -> Range<u32> {
        let per = u64::from(self.blocks_per_segment());
        let count = u64::from(self.block_count());
        let start = (u64::from(segment) * per).min(count);
        start as u32..(start + per).min(count) as u32
    }

    /// The blocks that lie wholly inside `bytes` (the entity's short last block counts as whole).
    #[must_use]
    pub fn blocks_inside(&self, bytes: Range<u64>) -> Range<u32> {
        let start = bytes.start.div_ceil(BLOCK_SIZE);
        let end = if bytes.end >= self.length { u64::from(self.block_count()) } else { bytes.end / BLOCK_SIZE };
        let start = start.min(u64::from(self.block_count())) as u32;
        start..(end as u32).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segment_size_follows_the_length_alone() {
        let size = |length| Geometry::new(length).expect("small enough").segment_size();
        assert_eq!(size(0), MIN_SEGMENT_SIZE);
        assert_eq!(size(256 << 20), 1 << 20);
        assert_eq!(size((256 << 20) + 1), 2 << 20);
        assert_eq!(size(1 << 30), 4 << 20);
        assert_eq!(size(100 << 30), 16 << 20);
        assert_eq!(Geometry::new(100 << 30).expect("fits").segment_count(), 6400);
    }

    #[test]
    fn an_empty_entity_has_no_blocks() {
        let geometry = Geometry::new(0).expect("fits");
        assert_eq!((geometry.block_count(), geometry.segment_count()), (0, 0));
        assert_eq!(geometry.bytes_of(0..1), 0..0);
    }

    #[test]
    fn too_long_an_entity_is_refused() {
        assert!(Geometry::new(MAX_LENGTH).is_some());
        assert!(Geometry::new(MAX_LENGTH + 1).is_none());
    }

    proptest! {
        #[test]
        fn blocks_tile_the_entity(length in 0u64..(1 << 36)) {
            let geometry = Geometry::new(length).expect("fits");
            prop_assert_eq!(geometry.bytes_of(geometry.all_blocks()), 0..length);
            if let Some(last) = geometry.block_count().checked_sub(1) {
                prop_assert!(geometry.block_len(last) > 0);
                prop_assert_eq!(geometry.segment_of(last) + 1, geometry.segment_count());
                prop_assert_eq!(geometry.blocks_of_segment(geometry.segment_of(last)).end, geometry.block_count());
            }
        }

        #[test]
        fn blocks_inside_never_reach_outside(length in 1u64..(1 << 30), a in 0u64..(1 << 30), b in 0u64..(1 << 30)) {
            let geometry = Geometry::new(length).expect("fits");
            let (start, end) = (a.min(b).min(length), a.max(b).min(length));
            let blocks = geometry.blocks_inside(start..end);
            if !blocks.is_empty() {
                let bytes = geometry.bytes_of(blocks);
                prop_assert!(bytes.start >= start && bytes.end <= end);
            }
        }
    }
}
