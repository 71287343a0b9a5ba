//! Bytes of a run as packets brought them, not copied together: the store copies them once, block by block.
//!
//! A part of a packet pins all of the memory that the packet came in. Full packets waste next to nothing; a sender that
//! cuts its bytes small would pin much for little (T-06), so small parts are copied.
//!
//! No part reaches over the end of a block, whatever the packets do: who finds a block wrong has taken nothing that lies behind it.

use bytes::{Bytes, BytesMut};
use eddy_content::BLOCK_SIZE;

/// Bytes from which a part is kept where it is. Below it, the copy is also the cheaper way.
const KEPT: usize = 1024;
/// Parts of a piece when packets are full, which saves growing the list.
const USUAL: usize = 192;
const BLOCK: usize = BLOCK_SIZE as usize;

/// What has come of a piece, which begins with a block.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    chunks: Vec<Bytes>,
    /// Small parts behind the last of `chunks`, joined.
    tail: BytesMut,
    length: usize,
}

impl Gathered {
    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Adds the next bytes.
    pub(crate) fn push(&mut self, mut part: Bytes) {
        let mut left = BLOCK - self.length % BLOCK;
        while part.len() > left {
            self.push_part(part.split_to(left));
            self.close_tail();
            left = BLOCK;
        }
        self.push_part(part);
        if self.length.is_multiple_of(BLOCK) {
            self.close_tail();
        }
    }

    /// Adds bytes of one block.
    fn push_part(&mut self, part: Bytes) {
        self.length += part.len();
        if part.len() < KEPT {
            self.tail.extend_from_slice(&part);
            return;
        }
        self.close_tail();
        if self.chunks.capacity() == 0 {
            self.chunks.reserve(USUAL);
        }
        self.chunks.push(part);
    }

    /// Takes all that has come.
    pub(crate) fn take(&mut self) -> Vec<Bytes> {
        self.close_tail();
        self.length = 0;
        std::mem::take(&mut self.chunks)
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_parts_pin_no_packets() {
        let packet = Bytes::from(vec![7; 64 * 1024]);
        let mut gathered = Gathered::default();
        for at in 0..1000 {
            gathered.push(packet.slice(at..at + 1));
        }
        let taken = gathered.take();
        assert_eq!(taken, [Bytes::from(vec![7; 1000])]);
        assert!(packet.is_unique(), "a part of one byte holds 64 KiB");
    }

    #[test]
    fn no_part_reaches_over_the_end_of_a_block() {
        let mut gathered = Gathered::default();
        // Long ones, and short ones that are joined.
        for length in [BLOCK - 10, 5, 500, 3 * BLOCK + 7, BLOCK - 502 - 400, 300, 300] {
            gathered.push(Bytes::from(vec![7; length]));
        }
        let mut at = 0;
        for part in gathered.take() {
            assert_eq!(at / BLOCK, (at + part.len() - 1) / BLOCK, "{} bytes at {at}", part.len());
            at += part.len();
        }
        assert_eq!(at, 5 * BLOCK + 200);
    }

    proptest! {
        #[test]
        fn bytes_keep_their_order(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..20)) {
            let mut gathered = Gathered::default();
            for part in &parts {
                gathered.push(Bytes::from(part.clone()));
            }
            prop_assert_eq!(gathered.len(), parts.concat().len());
            prop_assert_eq!(gathered.take().concat(), parts.concat());
            prop_assert_eq!(gathered.len(), 0);
        }
    }
}
