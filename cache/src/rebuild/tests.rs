//! What is open while others are proved is proved when it is let go of.

use super::*;
use crate::ledger::{Account, Source};
use crate::room::{Quota, Reserve};
use crate::{EntityHandle, StoreConfig};
use eddy_content::BLOCK_SIZE;

const BLOCKS: u32 = 40;

fn new(tag: u64) -> NewEntity {
    NewEntity::numbered(tag, u64::from(BLOCKS) * BLOCK_SIZE)
}

fn fill(store: &Store, tag: u64) {
    let handle = store.begin(new(tag)).expect("admitted");
    write(&handle, 0..BLOCKS);
    handle.commit().expect("committed");
}

fn write(handle: &EntityHandle, blocks: Range<u32>) {
    let mut writer = handle.writer(blocks.start, Source::Origin { https: true }, Account { job: [1; 16], file: 0 });
    for block in blocks {
        writer.push(&vec![block as u8; BLOCK_SIZE as usize]).expect("pushed");
    }
    writer.finish().expect("finished");
}

/// Takes away what the index says is held, as after a loss: nobody has proved anything.
fn lose(stock: &Stock) {
    let all = || BlockSet::from_run(0..BLOCKS);
    let rows = stock.index.rows(None, 100).expect("the rows").into_iter().filter_map(|(_, record)| record);
    let mut changes: Vec<_> = rows
        .map(|record| Change::Blocks {
            id: record.id(),
            generation: record.generation,
            add: BlockSet::new(),
            fetched_here: BlockSet::new(),
            remove: all(),
        })
        .collect();
    changes.push(Change::Unproven);
    stock.committer.commit(changes).expect("committed");
    stock.note_adoption();
}

fn store_of(directory: &Path, count: u64) -> Store {
    let config =
        StoreConfig { directory: directory.to_owned(), quota: Quota::Bytes(1 << 30), reserve: Reserve::Bytes(0) };
    let store = Store::open(config).expect("opens");
    (0..count).for_each(|tag| fill(&store, tag));
    lose(store.stock());
    store
}

fn held(store: &Store, tag: u64) -> u32 {
    store.stock().index.held(&new(tag).entity.id()).expect("read").0.len()
}

fn prove_all(prover: &mut Prover, stock: &Stock) -> u32 {
    let mut steps = 0;
    while prover.step(stock).expect("a step") {
        steps += 1;
        assert!(steps < 1000, "it ends");
    }
    steps
}

#[test]
fn what_was_opened_before_it_was_proved_is_proved_after_it_was_let_go_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), 5);
    let stock = store.stock();
    let open = [1, 3].map(|tag| store.find(&new(tag).entity.id()).expect("asked").expect("here"));
    assert!(open.iter().all(|handle| handle.held().is_empty() && handle.is_unproven().expect("asked")));
    let mut prover = Prover::default();
    prove_all(&mut prover, stock);
    assert_eq!([0, 1, 2, 3, 4].map(|tag| held(&store, tag)), [BLOCKS, 0, BLOCKS, 0, BLOCKS]);
    assert!(stock.index.unproven().expect("asked").is_some(), "whoever starts now knows what is left");
    assert_eq!(prove_all(&mut prover, stock), 0, "nobody is asked again meanwhile");

    // Who has it open fetches some of it; the rest is proved when it is let go of, whatever else is open.
    let [first, second] = open;
    write(&first, 4..6);
    first.commit().expect("committed");
    drop(first);
    prove_all(&mut prover, stock);
    assert_eq!((held(&store, 1), held(&store, 3)), (BLOCKS, 0));
    // Another process would begin with what is left.
    drop(second);
    prove_all(&mut Prover::default(), stock);
    assert_eq!(held(&store, 3), BLOCKS);
    assert_eq!(stock.index.unproven().expect("asked"), None);
    let whole = store.find(&new(3).entity.id()).expect("asked").expect("here");
    assert!(whole.is_complete() && !whole.is_unproven().expect("asked"));
}

#[test]
fn what_is_adopted_while_others_are_waited_for_is_proved_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store_of(directory.path(), 3);
    let stock = store.stock();
    let open = store.find(&new(1).entity.id()).expect("asked").expect("here");
    let mut prover = Prover::default();
    prove_all(&mut prover, stock);
    let new_one = store.begin(new(9)).expect("admitted");
    assert!(!new_one.is_unproven().expect("asked"), "it has nothing yet");
    drop(new_one);
    lose(stock);
    assert_eq!([0, 2].map(|tag| held(&store, tag)), [0, 0]);
    prove_all(&mut prover, stock);
    assert_eq!([0, 1, 2].map(|tag| held(&store, tag)), [BLOCKS, 0, BLOCKS]);
    drop(open);
    prove_all(&mut prover, stock);
    assert_eq!((held(&store, 1), stock.index.unproven().expect("asked")), (BLOCKS, None));
}
