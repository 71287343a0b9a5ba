//! Buffers for blocks on their way out, used again: fresh memory costs a page fault for each 4 KiB.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that are kept while nobody uses them.
const SPARE: usize = 32;

/// The spare buffers.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that comes back when the last byte of it is sent and acknowledged.
struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A buffer with whatever was in it.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Makes a filled buffer shareable.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, pool: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut spare = self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_goes() {
        let pool = Pool::default();
        let bytes = pool.lend(vec![7; 100]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(pool.take().capacity(), 0, "still read");
        drop(part);
        assert_eq!(pool.take(), vec![7; 100]);
    }
}
