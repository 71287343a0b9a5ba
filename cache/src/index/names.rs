//! Under which URLs something may be here, in memory: who asks about one that was never here need not wait for the disk.
//!
//! A filter of bits. It may say *perhaps* of a URL that nothing is here of, never *no* of one that was here when it was filled, or came in
//! since. What goes leaves its bits behind. Only who wants it pays for it: until it is filled it says *perhaps* to everything.

use super::{Change, Index, NAMES};
use crate::fault::IndexFault;
use redb::ReadableTable;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Bits of the filter: 512 KiB. With 100,000 names one question in 10,000 is answered *perhaps* in vain, with 1,000,000 one in seven.
const BITS: usize = 1 << 22;
/// Bits of each name.
const BITS_OF_NAME: usize = 4;

/// The filter.
#[derive(Default)]
pub(super) struct NameFilter {
    words: OnceLock<Box<[AtomicU64]>>,
    is_filled: AtomicBool,
}

impl NameFilter {
    /// Keeps a name in mind, if any are.
    pub(super) fn learn(&self, name: &[u8; 32]) {
        if let Some(words) = self.words.get() {
            for bit in bits_of(name) {
                words[bit / 64].fetch_or(1 << (bit % 64), Relaxed);
            }
        }
    }

    fn may_have(&self, name: &[u8; 32]) -> bool {
        let is_there =
            |words: &[AtomicU64]| bits_of(name).all(|bit| words[bit / 64].load(Relaxed) >> (bit % 64) & 1 == 1);
        !self.is_filled.load(Acquire) || self.words.get().is_none_or(|words| is_there(words))
    }
}

/// The bits of a name, which is a hash: any of its bytes are as good as others.
fn bits_of(name: &[u8; 32]) -> impl Iterator<Item = usize> {
    let (places, _) = name.as_chunks::<4>();
    places.iter().take(BITS_OF_NAME).map(|place| u32::from_le_bytes(*place) as usize % BITS)
}

impl Index {
    /// Fills the filter. What comes in meanwhile is learned as it comes.
    pub(crate) fn fill_names(&self) -> Result<(), IndexFault> {
        if self.names.is_filled.load(Acquire) {
            return Ok(());
        }
        self.names.words.get_or_init(|| (0..BITS / 64).map(|_| AtomicU64::new(0)).collect());
        self.read(|transaction| {
            for row in transaction.open_table(NAMES)?.iter()? {
                if let Some(name) = row?.0.value().first_chunk() {
                    self.names.learn(name);
                }
            }
            Ok(())
        })?;
        self.names.is_filled.store(true, Release);
        Ok(())
    }

    /// Whether something may be here under this name. Memory alone is asked.
    pub(crate) fn may_have(&self, name: &[u8; 32]) -> bool {
        self.names.may_have(name)
    }

    /// Learns the names of changes that were carried out.
    pub(super) fn learn_names(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Entity(_, name) = change {
                self.names.learn(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u32) -> [u8; 32] {
        *blake3::hash(&number.to_le_bytes()).as_bytes()
    }

    #[test]
    fn it_says_perhaps_until_it_is_filled_and_then_no_to_nearly_all_that_was_never_here() {
        let filter = NameFilter::default();
        filter.learn(&name(0));
        assert!(filter.may_have(&name(1)), "nothing is known yet");
        filter.words.get_or_init(|| (0..BITS / 64).map(|_| AtomicU64::new(0)).collect());
        (0..100_000).for_each(|number| filter.learn(&name(number)));
        filter.is_filled.store(true, Release);
        assert!((0..100_000).all(|number| filter.may_have(&name(number))));
        let in_vain = (100_000..200_000).filter(|number| filter.may_have(&name(*number))).count();
        assert!(in_vain < 100, "{in_vain} of 100,000");
    }
}
