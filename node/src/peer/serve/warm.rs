//! Entities that were read a moment ago stay open: who is read block by block is not opened for each block.
//!
//! It costs more to open an entity than to read and hash one of its blocks, and more to have another thread read a block that lies in
//! memory than to read it. Those that are kept open are no use of them: the store
//! takes them back before it looks what may go, so they can be evicted and removed like any other.
//!
//! To open one with many statements costs the more: they are read, and each is held against its seal. So such a one stays open from the first
//! question about it on, whatever was asked.

use super::asked::Asked;
use eddy_cache::{EntityHandle, Store};
use eddy_content::LookupKey;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entities that are kept open: as many as there are likely to be read in turns.
const KEPT: usize = 4;
/// Statements from which on an entity is dear to open.
const MANY: usize = 1024;
/// Bytes of the statements of all that are kept: they are in memory with them. A file of 3 GiB that came block by block has as many.
const STATEMENT_BYTES: u64 = 32 << 20;
/// How long one is at hand without being looked up: then its use is noted again, for the order of eviction.
const AT_HAND: Duration = Duration::from_secs(10);

/// What is kept open.
#[derive(Clone, Default)]
pub(crate) struct Warm(Arc<Open>);

#[derive(Default)]
struct Open {
    /// The newest ones, the last read at the end.
    kept: Mutex<Vec<Entry>>,
    /// Those of one block.
    asked: Asked,
}

/// One that is kept.
struct Entry {
    key: LookupKey,
    handle: EntityHandle,
    /// When it was looked up to be read, and its use noted.
    since: Option<Instant>,
    /// Bytes of its statements, and how many they were when that was counted.
    statements: (u64, usize),
}

impl Warm {
    /// None yet, of a store that may take them back.
    pub(crate) fn of(store: &Store) -> Self {
        let warm = Self::default();
        let kept = Arc::downgrade(&warm.0);
        store.take_back_by(move || {
            if let Some(kept) = kept.upgrade() {
                Self(kept).clear();
            }
        });
        warm
    }

    /// Keeps an entity open that was looked up under a key, and told of. What is one block long will be read once; the rest is kept with its
    /// first read.
    pub(super) fn told_of(&self, key: LookupKey, handle: &EntityHandle) {
        if handle.geometry().block_count() == 1 {
            self.0.asked.keep(key, handle);
        }
    }

    /// Keeps an entity open that was looked up under a key, and read. What is one block long is read once.
    pub(super) fn keep(&self, key: LookupKey, handle: &EntityHandle) {
        if handle.geometry().block_count() > 1 {
            self.enter(key, handle, Some(Instant::now()));
        }
    }

    /// Keeps an entity open that was looked up under a key, if it is dear to open.
    pub(super) fn hold(&self, key: LookupKey, handle: &EntityHandle) {
        if handle.statement_count() > MANY {
            self.enter(key, handle, None);
        }
    }

    fn enter(&self, key: LookupKey, handle: &EntityHandle, since: Option<Instant>) {
        let mut gone = Vec::new();
        {
            let mut kept = self.kept();
            let place = kept.iter().position(|known| known.handle.id() == handle.id());
            let known = place.map(|place| kept.remove(place));
            let (since_before, counted) = known.as_ref().map_or((None, None), |it| (it.since, Some(it.statements)));
            gone.extend(known);
            let count = handle.statement_count();
            let statements =
                counted.filter(|(_, then)| *then == count).unwrap_or_else(|| (handle.statement_bytes(), count));
            if statements.0 <= STATEMENT_BYTES {
                kept.push(Entry { key, handle: handle.clone(), since: since.or(since_before), statements });
                let surplus = surplus(kept.iter().map(|known| known.statements.0));
                gone.extend(kept.drain(..surplus));
            }
        }
        // Closes files, perhaps.
        drop(gone);
    }

    /// The entity that was found under a key a moment ago, if members may still have it. Does not ask the store.
    pub(super) fn at_hand(&self, key: &LookupKey) -> Option<EntityHandle> {
        let kept = self.kept();
        let Some(known) = kept.iter().find(|known| known.key == *key) else { return self.0.asked.at_hand(key) };
        let is_known = known.since.is_some_and(|since| since.elapsed() < AT_HAND) && known.handle.is_shareable();
        is_known.then(|| known.handle.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        self.0.asked.clear();
        let gone = std::mem::take(&mut *self.kept());
        drop(gone);
    }
}

/// How many of these are too many, the oldest first, by the bytes of their statements.
fn surplus(bytes: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) -> usize {
    let all = bytes.len();
    let mut sum = 0_u64;
    let fitting = bytes.rev().take(KEPT).take_while(|bytes| {
        sum = sum.saturating_add(*bytes);
        sum <= STATEMENT_BYTES
    });
    all - fitting.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_cache::{Account, NewEntity, Privacy, Quota, Reserve, Source, StoreConfig, StoredStatement};
    use eddy_content::{Entity, ResourceUrl, Validator};

    fn store(directory: &std::path::Path) -> Store {
        let mut config = StoreConfig::new(directory);
        (config.quota, config.reserve) = (Quota::Bytes(1 << 30), Reserve::Bytes(0));
        Store::open(config).expect("a store")
    }

    fn begin(store: &Store, blocks: u64) -> EntityHandle {
        let url = ResourceUrl::parse(&format!("https://host.example/{blocks}")).expect("a URL");
        let validator = Validator::StrongEtag("\"1\"".into());
        let new = NewEntity {
            entity: Entity { url: url.clone(), validator, length: blocks * eddy_content::BLOCK_SIZE },
            requested_url: url,
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        store.begin(new).expect("room")
    }

    #[test]
    fn one_with_many_statements_stays_open_from_the_first_question_on_and_can_be_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        let warm = Warm::of(&store);
        let (many, few, key) = (begin(&store, 600), begin(&store, 2), LookupKey([1; 32]));
        let statement = |first_block| StoredStatement { first_block, count: 1, bytes: vec![1; 200] };
        let statements: Vec<_> = (0..MANY as u32 + 1).map(statement).collect();
        assert_eq!(many.put_statements(&statements), statements.len());
        many.commit().expect("commits");
        warm.hold(key, &few);
        assert!(warm.kept().is_empty(), "cheap to open");
        warm.hold(key, &many);
        assert_eq!(warm.kept().iter().map(|known| known.handle.id()).collect::<Vec<_>>(), [many.id()]);
        assert!(warm.at_hand(&key).is_none(), "no use of it was noted");
        warm.keep(key, &many);
        assert!(warm.at_hand(&key).is_some());
        warm.hold(key, &many);
        assert!(warm.at_hand(&key).is_some() && warm.kept().len() == 1);
        let id = many.id();
        drop(many);
        assert!(!store.is_in_use(&id), "to be kept open is no use");
        assert!(warm.kept().is_empty());
    }

    #[test]
    fn one_block_that_was_told_of_is_at_hand_for_its_read_and_can_be_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(directory.path());
        let warm = Warm::of(&store);
        let (key, other, bytes) = (LookupKey([1; 32]), LookupKey([2; 32]), vec![7; eddy_content::BLOCK_SIZE as usize]);
        let (small, large) = (begin(&store, 1), begin(&store, 2));
        let id = small.id();
        let mut writer = small.writer(0, Source::Origin { https: true }, Account { job: [1; 16], file: 0 });
        writer.push(&bytes).expect("writes");
        writer.finish().expect("finishes");
        small.commit().expect("commits");
        drop(small);
        let small = store.find(&id).expect("asked").expect("is here");
        assert!(small.hashes_at_hand(0..1).is_none(), "it was opened and nothing of it read");
        warm.told_of(key, &small);
        warm.told_of(other, &large);
        drop(small);
        assert!(warm.at_hand(&other).is_none(), "who reads it reads more than once");
        let small = warm.at_hand(&key).expect("is at hand");
        let [hash] = small.hashes_at_hand(0..1).expect("in memory")[..] else { panic!("one block") };
        let mut read = Vec::new();
        assert!(small.read_at_hand(0, hash, &mut read).is_some() && read == bytes);
        drop(small);
        assert!(!store.is_in_use(&id), "to be kept open is no use");
        assert!(warm.at_hand(&key).is_none());
    }

    #[test]
    fn the_statements_of_all_that_are_kept_have_a_bound() {
        let half = STATEMENT_BYTES / 2;
        assert_eq!(surplus([1, 2, 3, 4].into_iter()), 0);
        assert_eq!(surplus([1, 2, 3, 4, 5].into_iter()), 1);
        assert_eq!(surplus([1, half, half].into_iter()), 1);
        assert_eq!(surplus([half, 1, half].into_iter()), 1);
    }
}
