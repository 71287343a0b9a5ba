//! Bytes of a run as packets brought them, not copied together: the store copies them once, block by block.
//!
//! A part of a packet pins all of the memory that the packet came in. Full packets waste next to nothing; a sender that
//! cuts its bytes small would pin much for little (T-06), so small parts are copied.

use bytes::{Bytes, BytesMut};

/// Bytes from which a part is kept where it is. Below it, the copy is also the cheaper way.
const KEPT: usize = 1024;
/// Parts of a piece when packets are full, which saves growing the list.
const USUAL: usize = 192;

/// What has come of a piece.
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

    /// Adds the next part.
    pub(crate) fn push(&mut self, part: Bytes) {
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
