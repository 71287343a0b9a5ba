//! Random work on the store against a model of it in memory: never a wrong byte, never a lost acknowledged block.

use crate::support::*;
use eddy_cache::{
    EntityHandle, Goal, LedgerRow, Limits, NewEntity, Pin, Quota, ReadError, RemoveOutcome, Store, WriteError,
};
use eddy_content::BlockSet;
use proptest::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

const BLOCKS: u32 = 21;
/// Lengths of the entities: two in files, three in the index, of which one is empty.
const LENGTHS: [u64; 5] = [20 * BLOCK as u64 + 5, 2 * BLOCK as u64, 10_000, BLOCK as u64, 0];
const TAGS: u64 = LENGTHS.len() as u64;

fn entity(tag: u64) -> NewEntity {
    new_entity(tag, LENGTHS[tag as usize])
}

/// A run of blocks as far as the entity has them.
fn run_of(tag: u64, first: u32, count: u32) -> Range<u32> {
    let all = LENGTHS[tag as usize].div_ceil(BLOCK as u64) as u32;
    let first = if all == 0 { 0 } else { first % all };
    first..(first + count).min(all)
}

#[derive(Debug, Clone)]
enum Step {
    FromOrigin { tag: u64, first: u32, count: u32, chunk: usize },
    FromPeer { tag: u64, first: u32, count: u32, chunk: usize, wrong: Option<u32> },
    Commit { tag: u64 },
    LetGo { tag: u64 },
    Rot { tag: u64, offset: u64 },
    Read { tag: u64, first: u32, count: u32 },
    Remove { tag: u64 },
    Pin { tag: u64, pin: Pin },
    Clear,
    Squeeze,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let run = || (0..TAGS, 0..BLOCKS, 1..9u32, prop::sample::select(vec![777usize, 30_000, BLOCK, 5 * BLOCK]));
    prop_oneof![
        4 => run().prop_map(|(tag, first, count, chunk)| Step::FromOrigin { tag, first, count, chunk }),
        4 => (run(), prop::option::weighted(0.3, 0..9u32))
            .prop_map(|((tag, first, count, chunk), wrong)| Step::FromPeer { tag, first, count, chunk, wrong }),
        4 => (0..TAGS).prop_map(|tag| Step::Commit { tag }),
        1 => (0..TAGS).prop_map(|tag| Step::LetGo { tag }),
        1 => (0..2u64, 0..LENGTHS[0]).prop_map(|(tag, offset)| Step::Rot { tag, offset: offset % LENGTHS[tag as usize] }),
        4 => (0..TAGS, 0..BLOCKS, 1..6u32).prop_map(|(tag, first, count)| Step::Read { tag, first, count }),
        1 => (0..TAGS).prop_map(|tag| Step::Remove { tag }),
        2 => (0..TAGS, prop::sample::select(vec![Pin::Pinned, Pin::Free])).prop_map(|(tag, pin)| Step::Pin { tag, pin }),
        1 => Just(Step::Clear),
        1 => Just(Step::Squeeze),
        1 => Just(Step::Reopen),
    ]
}

/// What the store should say of one entity.
#[derive(Default, Clone)]
struct Model {
    exists: bool,
    held: BlockSet,
    pending: BlockSet,
    here: BlockSet,
    pending_here: BlockSet,
    rotten: BlockSet,
    pinned: bool,
}

struct Pair<'d> {
    directory: &'d Path,
    store: Option<Store>,
    handles: HashMap<u64, EntityHandle>,
    models: HashMap<u64, Model>,
}

impl Pair<'_> {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    /// The handle on an entity, and its model.
    fn at(&mut self, tag: u64) -> (EntityHandle, &mut Model) {
        let handle = match self.handles.get(&tag) {
            Some(handle) => handle.clone(),
            None => {
                let handle = self.store().begin(entity(tag)).expect("admitted");
                // What lies in the index gets its row with the first commit.
                assert!(handle.commit().expect("committed").is_empty());
                handle
            }
        };
        self.handles.insert(tag, handle.clone());
        let model = self.models.entry(tag).or_default();
        model.exists = true;
        (handle, model)
    }

    fn let_go(&mut self, tag: u64) {
        self.handles.remove(&tag);
        let model = self.models.entry(tag).or_default();
        model.pending = BlockSet::new();
        model.pending_here = BlockSet::new();
    }

    /// Forgets what nobody uses and nobody pinned: how many those are, how many are in use and not pinned, and how many are
    /// pinned.
    fn forget_what_may_go(&mut self) -> (u64, u64, u64) {
        let (mut gone, mut in_use, mut pinned) = (0, 0, 0);
        for (tag, model) in self.models.iter_mut().filter(|(_, model)| model.exists) {
            if model.pinned {
                pinned += 1;
            } else if self.handles.contains_key(tag) {
                in_use += 1;
            } else {
                gone += 1;
                *model = Model::default();
            }
        }
        (gone, in_use, pinned)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::FromOrigin { tag, first, count, chunk } => {
                let blocks = run_of(tag, first, count);
                let (handle, model) = self.at(tag);
                let mut writer = handle.writer(blocks.start, ORIGIN, ACCOUNT);
                for part in blocks_of(tag, &handle.geometry(), blocks.clone()).chunks(chunk) {
                    writer.push(part).expect("pushed");
                }
                writer.finish().expect("finished");
                let mut new = BlockSet::from_run(blocks).difference(&model.held);
                new.difference_with(&model.pending);
                model.pending.union_with(&new);
                model.pending_here.union_with(&new);
                model.rotten.difference_with(&new);
            }
            Step::FromPeer { tag, first, count, chunk, wrong } => {
                let blocks = run_of(tag, first, count);
                let (handle, model) = self.at(tag);
                let mut bytes = blocks_of(tag, &handle.geometry(), blocks.clone());
                let wrong = wrong.map(|at| blocks.start + at).filter(|at| blocks.contains(at));
                if let Some(at) = wrong {
                    bytes[((at - blocks.start) as usize) * BLOCK] ^= 1;
                }
                let hashes = hashes_of(tag, &handle.geometry(), blocks.clone());
                let mut writer = handle.writer(blocks.start, PEER, ACCOUNT).expect(hashes);
                let refused = bytes.chunks(chunk).find_map(|part| writer.push(part).err());
                drop(writer);
                assert_eq!(
                    wrong.is_some(),
                    matches!(refused, Some(WriteError::WrongBlock { block, .. }) if Some(block) == wrong)
                );
                let right = blocks.start..wrong.unwrap_or(blocks.end);
                let mut new = BlockSet::from_run(right).difference(&model.held);
                new.difference_with(&model.pending);
                model.pending.union_with(&new);
                model.rotten.difference_with(&new);
            }
            Step::Commit { tag } => {
                let (handle, model) = self.at(tag);
                assert_eq!(handle.commit().expect("committed"), model.pending);
                model.held.union_with(&std::mem::take(&mut model.pending));
                model.here.union_with(&std::mem::take(&mut model.pending_here));
            }
            Step::LetGo { tag } => self.let_go(tag),
            Step::Rot { tag, offset } => {
                let (handle, model) = self.at(tag);
                let block = (offset / BLOCK as u64) as u32;
                // A second flip at the same place would heal it.
                if model.rotten.contains(block) || model.pending.contains(block) {
                    return;
                }
                model.rotten.insert(block..block + 1);
                flip(&file_of(self.directory, &format!("{}-{}.data", handle.id(), handle.record().generation)), offset);
            }
            Step::Read { tag, first, count } => {
                let blocks = run_of(tag, first, count);
                let (handle, model) = self.at(tag);
                let mut bytes = Vec::new();
                let missing = BlockSet::from_run(blocks.clone()).difference(&model.held).first_run();
                let rotten = BlockSet::from_run(blocks.clone()).intersection(&model.rotten).first_run();
                match (handle.read_run(blocks.clone(), &mut bytes), missing, rotten) {
                    (Err(ReadError::NotHeld { block }), Some(run), _) => assert_eq!(block, run.start),
                    (Err(ReadError::Corrupt { block }), None, Some(run)) => {
                        assert_eq!(block, run.start);
                        model.held.remove(block..block + 1);
                        model.here.remove(block..block + 1);
                    }
                    (Ok(()), None, None) => assert!(bytes == blocks_of(tag, &handle.geometry(), blocks)),
                    other => panic!("{other:?}"),
                }
            }
            Step::Remove { tag } => {
                let id = entity(tag).entity.id();
                if self.handles.contains_key(&tag) {
                    assert_eq!(self.store().remove(&id).expect("asked"), RemoveOutcome::InUse);
                    self.let_go(tag);
                }
                let exists = self.models.insert(tag, Model::default()).is_some_and(|model| model.exists);
                let outcome = self.store().remove(&id).expect("asked");
                assert_eq!(matches!(outcome, RemoveOutcome::Removed { .. }), exists);
            }
            Step::Pin { tag, pin } => {
                let found = self.store().pin(&entity(tag).entity.id(), pin).expect("asked");
                let model = self.models.entry(tag).or_default();
                assert_eq!(found, model.exists);
                model.pinned = model.exists && pin == Pin::Pinned;
            }
            Step::Clear => {
                let expected = self.forget_what_may_go();
                let cleared = self.store().clear().expect("cleared");
                assert_eq!((cleared.removed, cleared.in_use, cleared.pinned), expected);
            }
            Step::Squeeze => {
                let (limits, expected) = (self.store().limits(), self.forget_what_may_go());
                let plan = self.store().set_limits(Limits { quota: Quota::Bytes(0), ..limits }).expect("set");
                assert_eq!((plan.victims.len() as u64, plan.kept.in_use.entities), (expected.0, expected.1));
                self.store().set_limits(limits).expect("set");
            }
            Step::Reopen => {
                for tag in 0..TAGS {
                    self.let_go(tag);
                }
                self.store = None;
                let store = open(self.directory);
                assert!(!store.recovery().was_unclean);
                assert_eq!((store.recovery().dangling, store.recovery().quarantined_files), (0, 0));
                self.store = Some(store);
            }
        }
    }

    fn agree(&mut self) {
        for tag in 0..TAGS {
            let Some(handle) = self.handles.get(&tag) else { continue };
            let model = &self.models[&tag];
            assert_eq!((handle.held(), handle.fetched_here()), (model.held.clone(), model.here.clone()));
        }
        assert!(self.store().ledger().expect("the ledger").iter().all(LedgerRow::closes));
        self.sums_agree();
    }

    /// What the list, the sums and the order of eviction say of the store is the same.
    fn sums_agree(&self) {
        let (usage, list) = (self.store().usage().expect("the usage"), self.store().list(None, 100).expect("the list"));
        let existing = self.models.values().filter(|model| model.exists).count();
        assert_eq!((usage.entities, list.len()), (existing as u64, existing));
        assert_eq!(
            list.iter().filter(|record| record.pinned).count(),
            self.models.values().filter(|m| m.pinned).count()
        );
        let all = self.store().plan(&Goal::Everything).expect("a plan");
        assert_eq!(all.freed + all.kept.in_use.bytes + all.kept.pinned.bytes, usage.used);
        assert_eq!(usage.pinned, all.kept.pinned.bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_its_model_does(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut pair = Pair {
            directory: directory.path(),
            store: Some(open(directory.path())),
            handles: HashMap::new(),
            models: HashMap::new(),
        };
        for step in steps {
            pair.take(step);
            pair.agree();
        }
        pair.take(Step::Reopen);
        for tag in 0..TAGS {
            let exists = pair.models.get(&tag).is_some_and(|model| model.exists);
            if exists {
                pair.at(tag);
            }
        }
        pair.agree();
    }
}
