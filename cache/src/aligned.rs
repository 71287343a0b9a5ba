//! Memory for reads and writes past the page cache: whole pages, and large ones in one piece.
//!
//! A disk is told of each stretch of memory that lies in one piece. A mebibyte of small pages is 256 of them, more than some disks take in
//! one request (virtio: 254), and in a virtual machine the host looks each of them up: a gibibyte that takes 1.0 s into
//! small pages takes 0.4 s into a huge one (`cargo bench -p eddy-cache --bench store -- large` shows both). So a large
//! buffer is a mapping that the kernel is asked to back with huge pages; one that it backs with small ones only is slower.

use memmap2::{Advice, MmapMut};
use std::ops::{Deref, DerefMut};

/// What memory, place and length of a read or write past the cache are multiples of: a page, and no disk's sector is larger.
pub(crate) const ALIGNMENT: usize = 4096;
/// A huge page, on x86-64 and on aarch64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes from which a buffer lies in huge pages: below it more than half of one would lie fallow.
const HUGE_FROM: usize = HUGE_PAGE / 2;

/// Bytes that begin at a page's beginning in memory, up to a capacity that is set with the first of them.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    memory: Memory,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Makes room for `capacity` bytes, once.
    pub(crate) fn reserve_once(&mut self, capacity: usize) {
        if self.memory.is_empty() {
            self.allocate(capacity);
        }
    }

    /// Forgets what it has and takes the length `length`; gives the whole pages that these bytes touch, to be filled.
    pub(crate) fn prepare(&mut self, length: usize) -> &mut [u8] {
        let pages = length.next_multiple_of(ALIGNMENT);
        if self.memory.len() < self.start + pages {
            self.allocate(pages);
        }
        self.length = length;
        &mut self.memory[self.start..self.start + pages]
    }

    /// Forgets what it has and takes these bytes.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        self.prepare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    }

    fn allocate(&mut self, capacity: usize) {
        (self.memory, self.start) = Memory::aligned(capacity);
    }

    /// Appends; what is beyond the capacity is a mistake of the caller's.
    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        let at = self.start + self.length;
        self.memory[at..at + more.len()].copy_from_slice(more);
        self.length += more.len();
    }

    /// Drops the first `count` bytes; the rest moves to the front.
    pub(crate) fn drop_front(&mut self, count: usize) {
        self.memory.copy_within(self.start + count..self.start + self.length, self.start);
        self.length -= count;
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

/// Where the bytes of a buffer lie.
enum Memory {
    Heap(Vec<u8>),
    /// A mapping that the kernel was asked to back with huge pages.
    Huge(MmapMut),
}

impl Memory {
    /// Zeroed memory, and the place in it from which on `capacity` bytes are aligned.
    fn aligned(capacity: usize) -> (Self, usize) {
        if let Some(map) = huge(capacity) {
            let start = map.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE);
            return (Self::Huge(map), start);
        }
        let bytes = vec![0; capacity + ALIGNMENT];
        // An offset that cannot be told only means that the ordinary way is taken.
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        (Self::Heap(bytes), start)
    }
}

/// A mapping with an aligned place for so many bytes; `None` for few of them, and when the system has none to give. What is never
/// touched takes no memory.
fn huge(capacity: usize) -> Option<MmapMut> {
    if capacity < HUGE_FROM {
        return None;
    }
    let map = MmapMut::map_anon(capacity.next_multiple_of(HUGE_PAGE) + HUGE_PAGE).ok()?;
    // A kernel without huge pages refuses; small ones serve as well.
    if let Err(error) = map.advise(Advice::HugePage) {
        tracing::debug!(%error, "no huge pages");
    }
    Some(map)
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Huge(map) => map,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Huge(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_begins_at_a_page_and_keeps_its_end() {
        let mut buffer = AlignedBuffer::default();
        buffer.reserve_once(100);
        buffer.extend_from_slice(b"abcdef");
        assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0);
        buffer.drop_front(4);
        buffer.extend_from_slice(b"gh");
        assert_eq!(&*buffer, b"efgh");
        buffer.clear();
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_large_buffer_lies_in_huge_pages_and_keeps_what_it_is_given() {
        let mut buffer = AlignedBuffer::default();
        for length in [HUGE_FROM, HUGE_PAGE + 5, 77, 3 * HUGE_PAGE] {
            buffer.prepare(length).fill(length as u8);
            assert_eq!(buffer.len(), length);
            assert!(buffer.iter().all(|byte| *byte == length as u8));
            assert!(matches!(buffer.memory, Memory::Huge(_)));
            assert_eq!(buffer.as_ptr().align_offset(HUGE_PAGE), 0);
        }
        let mut small = AlignedBuffer::default();
        small.prepare(HUGE_FROM - ALIGNMENT);
        assert!(matches!(small.memory, Memory::Heap(_)));
    }
}
