//! Whoever may write where the destination is swaps it, its directory and the file in the making for links while files are
//! delivered: nothing is written anywhere else (T-41).

use super::tests::{LENGTH, Place, content};
use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

/// Deliveries, each against a few hundred swaps; `EDDY_LINK_ROUNDS` sets how many.
fn rounds() -> u64 {
    std::env::var("EDDY_LINK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2000)
}

/// In memory where that is possible: the race is about names, not about the disk.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

fn exchange(a: &Path, b: &Path) {
    let _ = rustix::fs::renameat_with(rustix::fs::CWD, a, rustix::fs::CWD, b, RenameFlags::EXCHANGE);
}

/// Swaps until told to stop.
fn attack(root: &Path, part: &OsString, is_over: &AtomicBool) {
    let (place, link) = (root.join("place"), root.join("link"));
    let victim = root.join("outside/victim");
    while !is_over.load(Ordering::Relaxed) {
        exchange(&place, &link);
        exchange(&place, &link);
        for name in [part, &OsString::from("image")] {
            let trap = place.join(name);
            let _ = std::fs::remove_file(&trap);
            let _ = symlink(&victim, &trap);
            let _ = std::fs::remove_file(&trap);
            let _ = std::fs::hard_link(&victim, &trap);
        }
        let _ = std::fs::remove_file(place.join(part));
    }
}

/// Ends the attack, also when a round fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_swap_of_a_link_leads_a_delivery_elsewhere() {
    let directory = directory();
    let root = directory.path().canonicalize().expect("a real path");
    for name in ["place", "outside"] {
        std::fs::create_dir(root.join(name)).expect("made");
    }
    std::fs::write(root.join("outside/victim"), b"somebody else's").expect("written");
    symlink(root.join("outside"), root.join("link")).expect("made");
    let store = Place::new();
    let entity = store.whole();
    let path = root.join("place/image").to_string_lossy().into_owned();
    let file = FileRef { job: eddy_engine::JobId([4; 16]), file: 0 };
    let part = Destination::new(file, &path).part;
    let is_over = AtomicBool::new(false);
    let (mut delivered, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(&root, &part, &is_over));
        let over = Over(&is_over);
        for round in 0..rounds() {
            let destination = Destination::new(file, &path);
            let overwrite = round % 2 == 0;
            let outcome = destination
                .check(overwrite)
                .map_err(StageError::Failed)
                .and_then(|()| store.stage(&destination, &entity, None, &[], None).map(|_| ()))
                .and_then(|()| Ok(destination.closed().publish(overwrite, LENGTH)?));
            match outcome {
                Ok(()) => delivered += 1,
                Err(_) => refused += 1,
            }
            let found: Vec<_> = std::fs::read_dir(root.join("outside")).expect("a listing").collect();
            assert_eq!(found.len(), 1, "round {round}: {found:?}");
            let victim = std::fs::read(root.join("outside/victim")).expect("read");
            assert_eq!(victim, b"somebody else's", "round {round}");
        }
        drop(over);
        attacker.join().expect("the attacker ends");
    });
    println!("{delivered} delivered, {refused} refused");
    // Left alone, the same place gets its file.
    let _ = std::fs::remove_file(root.join("place/image"));
    let destination = Destination::new(file, &path);
    store.stage(&destination, &entity, None, &[], None).expect("staged");
    destination.publish(true, LENGTH).expect("published");
    assert!(std::fs::read(root.join("place/image")).expect("read") == content());
}
