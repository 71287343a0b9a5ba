//! Random work on the store against a model of it in memory: never a wrong byte, never a lost acknowledged block.

use crate::support::*;
use eddy_cache::{EntityHandle, LedgerRow, ReadError, RemoveOutcome, Store, WriteError};
use eddy_content::BlockSet;
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;

const BLOCKS: u32 = 21;
const LENGTH: u64 = 20 * BLOCK as u64 + 5;
const TAGS: u64 = 2;

#[derive(Debug, Clone)]
enum Step {
    FromOrigin { tag: u64, first: u32, count: u32, chunk: usize },
    FromPeer { tag: u64, first: u32, count: u32, chunk: usize, wrong: Option<u32> },
    Commit { tag: u64 },
    LetGo { tag: u64 },
    Rot { tag: u64, offset: u64 },
    Read { tag: u64, first: u32, count: u32 },
    Remove { tag: u64 },
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
        1 => (0..TAGS, 0..LENGTH).prop_map(|(tag, offset)| Step::Rot { tag, offset }),
        4 => (0..TAGS, 0..BLOCKS, 1..6u32).prop_map(|(tag, first, count)| Step::Read { tag, first, count }),
        1 => (0..TAGS).prop_map(|tag| Step::Remove { tag }),
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
            None => self.store().begin(new_entity(tag, LENGTH)).expect("admitted"),
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

    fn take(&mut self, step: Step) {
        match step {
            Step::FromOrigin { tag, first, count, chunk } => {
                let blocks = first..(first + count).min(BLOCKS);
                let (handle, model) = self.at(tag);
                let mut writer = handle.writer(first, ORIGIN, ACCOUNT);
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
                let blocks = first..(first + count).min(BLOCKS);
                let (handle, model) = self.at(tag);
                let mut bytes = blocks_of(tag, &handle.geometry(), blocks.clone());
                let wrong = wrong.map(|at| first + at).filter(|at| blocks.contains(at));
                if let Some(at) = wrong {
                    bytes[((at - first) as usize) * BLOCK] ^= 1;
                }
                let hashes = hashes_of(tag, &handle.geometry(), blocks.clone());
                let mut writer = handle.writer(first, PEER, ACCOUNT).expect(hashes);
                let refused = bytes.chunks(chunk).find_map(|part| writer.push(part).err());
                drop(writer);
                assert_eq!(
                    wrong.is_some(),
                    matches!(refused, Some(WriteError::WrongBlock { block, .. }) if Some(block) == wrong)
                );
                let right = first..wrong.unwrap_or(blocks.end);
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
                let blocks = first..(first + count).min(BLOCKS);
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
                let id = new_entity(tag, LENGTH).entity.id();
                if self.handles.contains_key(&tag) {
                    assert_eq!(self.store().remove(&id).expect("asked"), RemoveOutcome::InUse);
                    self.let_go(tag);
                }
                let exists = self.models.insert(tag, Model::default()).is_some_and(|model| model.exists);
                let outcome = self.store().remove(&id).expect("asked");
                assert_eq!(matches!(outcome, RemoveOutcome::Removed { .. }), exists);
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
