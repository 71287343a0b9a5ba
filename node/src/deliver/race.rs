//! Whoever may write where the destination is swaps it, its directory and the file in the making for links while files are
//! delivered: nothing is written anywhere else, whoever the node's user is and whoever the file's (T-41).

use super::tests::{Place, content, me, published};
use super::*;
use rustix::fs::RenameFlags;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
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
    race(me());
}

#[test]
fn no_swap_of_a_link_has_root_write_for_a_user_what_the_user_could_not() {
    if me() != Owner(0) {
        println!("skipped: only root is another user");
        return;
    }
    race(Owner(61_001));
}

/// Deliveries for a user against one who swaps with that user's rights.
fn race(owner: Owner) {
    let directory = directory();
    let root = directory.path().canonicalize().expect("a real path");
    for name in ["place", "outside"] {
        std::fs::create_dir(root.join(name)).expect("made");
    }
    let victim = root.join("outside/victim");
    std::fs::write(&victim, b"somebody else's").expect("written");
    symlink(root.join("outside"), root.join("link")).expect("made");
    std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).expect("a mode");
    // The user may do as they like where their file goes, and nowhere else.
    for name in [".", "place"] {
        chown(root.join(name), Some(owner.0), Some(owner.0)).expect("given");
    }
    if owner != me() {
        std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).expect("a mode");
    }
    let store = Place::new();
    let entity = store.whole();
    let path = root.join("place/image").to_string_lossy().into_owned();
    let file = FileRef { job: eddy_engine::JobId([4; 16]), file: 0 };
    let part = Destination::new(file, &path, owner).part;
    let is_over = AtomicBool::new(false);
    let (mut delivered, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let attacked = Hand::of(owner.0).act(|| {
                attack(&root, &part, &is_over);
                Ok(())
            });
            attacked.expect("the attacker is the user");
        });
        let over = Over(&is_over);
        for round in 0..rounds() {
            let destination = Destination::new(file, &path, owner);
            let overwrite = round % 2 == 0;
            let outcome = destination
                .check(overwrite)
                .map_err(StageError::Failed)
                .and_then(|()| store.stage(&destination, &entity, None, &[], None).map(|_| ()))
                .and_then(|()| Ok(published(&destination.closed(), overwrite)?));
            match outcome {
                Ok(()) => delivered += 1,
                Err(_) => refused += 1,
            }
            let found: Vec<_> = std::fs::read_dir(root.join("outside")).expect("a listing").collect();
            assert_eq!(found.len(), 1, "round {round}: {found:?}");
            assert_eq!(std::fs::read(&victim).expect("read"), b"somebody else's", "round {round}");
            let standing = std::fs::metadata(&victim).expect("there");
            assert_eq!(standing.uid(), me().0, "round {round}: the victim was given away");
        }
        drop(over);
        attacker.join().expect("the attacker ends");
    });
    println!("{delivered} delivered, {refused} refused");
    // Left alone, the same place gets its file, and it is the user's.
    let _ = std::fs::remove_file(root.join("place/image"));
    let destination = Destination::new(file, &path, owner);
    store.stage(&destination, &entity, None, &[], None).expect("staged");
    published(&destination, true).expect("published");
    assert!(std::fs::read(root.join("place/image")).expect("read") == content());
    assert_eq!(std::fs::metadata(root.join("place/image")).expect("there").uid(), owner.0);
}
