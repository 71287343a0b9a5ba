//! `kill -9` at every single operation of a rebuild, and again in the one that follows it: what the files have comes back all the same.
//!
//! The index is gone, or it is a copy from before the last entities came; pairs of files lie at their place, and in the quarantine. A child
//! opens such a store on a disk that kills it and rebuilds; the last one lives, and has everything that the files had.

use crate::deadly::DeadlyDisk;
use crate::entities::{TAGS, entity, geometry, lies_in_index, right_bytes};
use crate::kills::directory;
use crate::meter::{CHANGES, Event, Order};
use crate::sweep::{Case, for_each, from_environment, stride};
use crate::truth::{Truth, row_of};
use crate::world::{From, Step, World, config};
use eddy_cache::disk::{Disk, RealDisk};
use eddy_cache::{Depth, Repair, Store, check_on};
use eddy_content::BlockSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the child's store is; a child has this, the test does not.
const CHILD: &str = "EDDY_REBUILD_CHILD";
/// At which change it dies.
const AT: &str = "EDDY_REBUILD_CHILD_AT";
/// Room for everything: nothing is evicted.
const QUOTA: u64 = 1 << 30;
/// A change that never comes.
const NEVER: u64 = u64::MAX;

/// What was lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// The index; all files lie in the quarantine.
    Index,
    /// What came after an older copy of it; one of two pairs lies in the quarantine.
    Since,
}

/// A store that has lost something, and is whole but for that.
fn lost(directory: &Path, loss: Loss) {
    let mut world = World::new(
        DeadlyDisk::share(Order::once(CHANGES, NEVER, Event::Kill)),
        config(directory, QUOTA),
        Truth::default(),
    );
    let mut take = |step| world.take(&step).expect("a sound disk refuses nothing");
    let write = |tag| Step::Write { tag, blocks: geometry(tag).all_blocks(), from: From::Origin };
    for step in [Step::PutJob(1, 1), write(5), Step::Commit(5), Step::LetGo(5), Step::Reopen] {
        take(step);
    }
    let index = directory.join("index.redb");
    let older = fs::read(&index).expect("the index");
    for step in
        [Step::PutJob(2, 2), write(6), Step::Commit(6), Step::LetGo(6), write(7), Step::Commit(7), Step::LetGo(7)]
    {
        take(step);
    }
    world.close();
    let aside: &[u64] = match loss {
        Loss::Since => {
            fs::write(&index, older).expect("put back");
            &[7]
        }
        Loss::Index => {
            fs::remove_file(&index).expect("removed");
            &[5, 6, 7]
        }
    };
    for path in aside.iter().flat_map(|tag| files_of(directory, *tag)) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        fs::rename(&path, directory.join("quarantine").join(format!("{}.{name}", i64::MAX))).expect("put aside");
    }
}

/// The files of an entity, at their place.
fn files_of(directory: &Path, tag: u64) -> Vec<PathBuf> {
    let id = entity(tag).entity.id().to_string();
    let shards = fs::read_dir(directory.join("entities")).expect("a listing");
    let files = shards.flat_map(|shard| fs::read_dir(shard.expect("an entry").path()).expect("a listing"));
    files.map(|file| file.expect("an entry").path()).filter(|path| path.to_string_lossy().contains(&id)).collect()
}

fn copy(from: &Path, to: &Path) {
    RealDisk.make_directory(to).expect("made");
    for entry in fs::read_dir(from).expect("a listing") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Opens the store and rebuilds it, up to the change number `at`.
fn rebuild(directory: &Path, at: u64) -> Store {
    let disk = DeadlyDisk::share(Order::once(CHANGES, at, Event::Kill));
    let store = Store::open_on(config(directory, QUOTA), disk).expect("the store opens");
    store.rebuild().expect("rebuilt");
    store
}

/// Whether a child that rebuilds is killed at the change number `at`.
fn is_killed(directory: &Path, at: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["rebuilds::child_rebuilds_until_it_kills_itself", "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(CHILD, directory).env(AT, at.to_string()).stdin(Stdio::null()).output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.code().is_none(), "the child failed: {said}");
    output.status.code().is_none()
}

#[test]
fn child_rebuilds_until_it_kills_itself() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    drop(rebuild(Path::new(&directory), from_environment(AT).expect("the parent says it")));
}

/// Rebuilds without a kill: everything that files had is here, and right, and the store is sound.
fn assert_all_is_back(directory: &Path) {
    let store = rebuild(directory, NEVER);
    for tag in (5..TAGS).inspect(|tag| assert!(!lies_in_index(*tag))) {
        let handle = store.find(&entity(tag).entity.id()).expect("asked").expect("it is here");
        let blocks = geometry(tag).all_blocks();
        assert_eq!(handle.held(), BlockSet::from_run(blocks.clone()), "entity {tag}");
        let mut bytes = Vec::new();
        handle.read_run(blocks.clone(), &mut bytes).expect("read");
        assert!(bytes == right_bytes(tag, blocks), "entity {tag}");
    }
    let jobs = store.jobs().expect("asked");
    assert_eq!(jobs, [([1; 16], row_of(1, 1)), ([2; 16], row_of(2, 2))]);
    drop(store);
    let disk = DeadlyDisk::share(Order::once(CHANGES, NEVER, Event::Kill));
    let found = check_on(directory, &disk, Depth::Strict, Repair::No).expect("checked");
    assert!(found.is_sound(), "{found}");
}

#[test]
fn a_kill_at_any_change_of_a_rebuild_and_inside_the_next_loses_nothing() {
    let stride = stride(7);
    let (kills, nested) = (AtomicU64::new(0), AtomicU64::new(0));
    for_each(2, |part| {
        let loss = if part == 0 { Loss::Index } else { Loss::Since };
        let template = directory();
        lost(&template.path().join("cache"), loss);
        for n in (part..).step_by(stride as usize) {
            let _case = Case(format!("{loss:?} lost, kill at change {n}"));
            let place = directory();
            let store = place.path().join("cache");
            copy(&template.path().join("cache"), &store);
            let was_killed = is_killed(&store, n);
            if was_killed {
                kills.fetch_add(1, Ordering::Relaxed);
                for k in 0..n % 3 {
                    nested.fetch_add(u64::from(is_killed(&store, (n * 5 + k * 11) % 48)), Ordering::Relaxed);
                }
            }
            assert_all_is_back(&store);
            if !was_killed {
                break;
            }
        }
    });
    let (kills, nested) = (kills.into_inner(), nested.into_inner());
    assert!(kills > 2 * 40 / stride, "both rebuilds are killed in their middle: {kills}");
    println!("{kills} kills, {nested} more in the rebuilds that followed");
}
