//! Staging: whatever came before the end, the staged file is the entity, byte for byte.

use super::*;
use eddy_cache::{Account, NewEntity, Privacy, Quota, Reserve, Source, Store, StoreConfig};
use eddy_content::digest::DigestAlgorithm;
use eddy_content::{BLOCK_SIZE, Entity, ResourceUrl, Validator};
use eddy_engine::JobId;
use std::cell::OnceCell;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use tempfile::TempDir;

const BLOCKS: u32 = 40;
pub(super) const LENGTH: u64 = (BLOCKS as u64 - 1) * BLOCK_SIZE + 777;
const ORIGIN: Source = Source::Origin { https: true };

pub(super) fn me() -> Owner {
    Owner(rustix::process::geteuid().as_raw())
}

/// A store and a destination in a directory of their own.
pub(super) struct Place {
    directory: TempDir,
    destination: Destination,
    store: OnceCell<Store>,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("image");
        let file = FileRef { job: JobId([3; 16]), file: 0 };
        Self { destination: Destination::new(file, &path.to_string_lossy(), me()), directory, store: OnceCell::new() }
    }

    fn entity(&self) -> EntityHandle {
        let config = StoreConfig {
            directory: self.directory.path().join("store"),
            quota: Quota::Bytes(1 << 30),
            reserve: Reserve::Bytes(0),
        };
        let url = ResourceUrl::parse("https://origin.example/image").expect("a URL");
        let entity = Entity { url: url.clone(), validator: Validator::StrongEtag("\"1\"".to_owned()), length: LENGTH };
        let new = NewEntity {
            entity,
            requested_url: url,
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        let store = self.store.get_or_init(|| Store::open(config).expect("opens"));
        store.begin(new).expect("admitted")
    }

    fn room(&self) -> CacheRoom {
        let store = self.store.get().expect("opened by an entity").clone();
        CacheRoom { store, directory: self.directory.path().join("store") }
    }

    /// The entity, all of it held.
    pub(super) fn whole(&self) -> EntityHandle {
        let entity = self.entity();
        write(&entity, None, 0..BLOCKS);
        entity
    }

    fn mirror(&self, entity: &EntityHandle) -> Option<Part> {
        self.destination.mirror(entity, &self.room()).expect("no full disk")
    }

    pub(super) fn stage(
        &self,
        destination: &Destination,
        entity: &EntityHandle,
        part: Option<Part>,
        digests: &[ExpectedDigest],
        last_modified: Option<i64>,
    ) -> Result<Root, StageError> {
        destination.stage(entity, part, &StageOrder { digests, last_modified, room: &self.room() })
    }

    fn staged(&self) -> Vec<u8> {
        std::fs::read(self.destination.part()).expect("the staged file")
    }
}

pub(super) fn content() -> Vec<u8> {
    let mut bytes = vec![0; LENGTH as usize];
    blake3::Hasher::new().update(b"image").finalize_xof().fill(&mut bytes);
    bytes
}

fn write(entity: &EntityHandle, part: Option<&Part>, blocks: Range<u32>) {
    let bytes = entity.geometry().bytes_of(blocks.clone());
    let mut writer = entity.writer(blocks.start, ORIGIN, Account { job: [3; 16], file: 0 });
    if let Some(part) = part {
        writer = writer.mirror(part.mirror());
    }
    writer.push(&content()[bytes.start as usize..bytes.end as usize]).expect("pushed");
    writer.finish().expect("finished");
    entity.commit().expect("committed");
}

#[test]
fn a_file_that_was_mirrored_wholly_is_staged_without_being_read_again() {
    let place = Place::new();
    let entity = place.entity();
    let part = place.mirror(&entity).expect("a part");
    write(&entity, Some(&part), 0..BLOCKS);
    // Rot that a read would meet: proof that none happens.
    let data = find(&place.directory.path().join("store/entities"), ".data");
    let file = OpenOptions::new().write(true).open(data).expect("the data");
    file.write_all_at(b"rot", 5).expect("written");
    let root = place.stage(&place.destination, &entity, Some(part), &[], Some(86_400)).expect("staged");
    assert!(place.staged() == content());
    assert_eq!(root, Root(*blake3::hash(&content()).as_bytes()));
    let modified = std::fs::metadata(place.destination.part()).expect("there").modified().expect("a time");
    assert_eq!(modified, SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
    published(&place.destination, false).expect("published");
    assert!(std::fs::read(place.directory.path().join("image")).expect("the file") == content());
}

/// Makes one staged file visible.
pub(super) fn published(destination: &Destination, overwrite: bool) -> Result<(), Failure> {
    let root = Some(Root(*blake3::hash(&content()).as_bytes()));
    publish(&[Publication { destination: destination.clone(), overwrite, length: LENGTH, root }]).remove(0)
}

#[test]
fn a_staged_file_that_is_gone_counts_as_delivered_only_where_its_bytes_stand() {
    let place = Place::new();
    let entity = place.entity();
    write(&entity, None, 0..BLOCKS);
    let image = place.directory.path().join("image");
    // An older version of the same length and owner.
    let mut older = content();
    older[LENGTH as usize - 1] ^= 1;
    std::fs::write(&image, &older).expect("written");
    for overwrite in [false, true] {
        let refused = published(&place.destination, overwrite).expect_err("nothing was staged");
        assert_eq!(refused.code, "staged-lost");
    }
    assert!(std::fs::read(&image).expect("the file") == older);
    place.stage(&place.destination, &entity, None, &[], None).expect("staged");
    published(&place.destination, true).expect("published");
    published(&place.destination, true).expect("done twice, it succeeds twice");
    assert!(std::fs::read(&image).expect("the file") == content());
}

#[test]
fn of_files_that_become_visible_together_one_that_cannot_leaves_the_others_alone() {
    let place = Place::new();
    let entity = place.entity();
    write(&entity, None, 0..BLOCKS);
    let destination = |number: u32, name: &str| {
        let path = place.directory.path().join(name);
        Destination::new(FileRef { job: JobId([3; 16]), file: number }, &path.to_string_lossy(), me())
    };
    std::fs::create_dir(place.directory.path().join("other")).expect("made");
    let destinations = [destination(0, "a"), destination(1, "taken"), destination(2, "other/b"), destination(3, "c")];
    for destination in &destinations {
        place.stage(destination, &entity, None, &[], None).expect("staged");
    }
    std::fs::write(place.directory.path().join("taken"), "somebody's").expect("written");
    let together =
        destinations.map(|destination| Publication { destination, overwrite: false, length: LENGTH, root: None });
    let outcomes = publish(&together);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
    for name in ["a", "other/b", "c"] {
        assert!(std::fs::read(place.directory.path().join(name)).expect("visible") == content(), "{name}");
    }
    assert_eq!(std::fs::read(place.directory.path().join("taken")).expect("stays"), b"somebody's");
}

fn find(directory: &Path, suffix: &str) -> PathBuf {
    let entries = |path: &Path| path.read_dir().expect("a listing").map(|entry| entry.expect("an entry").path());
    let mut files = entries(directory).flat_map(|folder| entries(&folder).collect::<Vec<_>>());
    files.find(|path| path.to_string_lossy().ends_with(suffix)).expect("a file of the store")
}

#[test]
fn what_was_held_before_a_restart_is_copied_and_the_rest_is_not() {
    let place = Place::new();
    let before = place.entity();
    let part = place.mirror(&before).expect("a part");
    write(&before, Some(&part), 0..13);
    // Killed: nobody cleans up, and what the part has is no longer known.
    std::mem::forget(part);
    drop(before);
    std::fs::write(place.destination.part(), b"whatever a power cut left").expect("written");

    let after = place.entity();
    let part = place.mirror(&after).expect("a part");
    write(&after, Some(&part), 13..30);
    write(&after, None, 30..BLOCKS);
    assert_eq!(after.mirrored(&part.mirror), BlockSet::from_run(13..30));
    place.stage(&place.destination, &after, Some(part), &[], None).expect("staged");
    assert!(place.staged() == content());
}

#[test]
fn every_digest_is_checked_over_a_mirrored_file_too() {
    let place = Place::new();
    let entity = place.entity();
    let part = place.mirror(&entity).expect("a part");
    write(&entity, Some(&part), 0..BLOCKS);
    let wrong = ExpectedDigest { algorithm: DigestAlgorithm::Sha256, value: vec![0; 32] };
    let refused = place.stage(&place.destination, &entity, Some(part), &[wrong], None).expect_err("another digest");
    let StageError::Failed(failure) = refused else { panic!("{refused:?}") };
    assert_eq!(failure.code, "digest-mismatch");
    assert!(!place.destination.part().exists(), "what is not as promised does not lie about");
}

#[test]
fn a_part_that_somebody_replaced_is_made_anew() {
    let place = Place::new();
    let entity = place.entity();
    let part = place.mirror(&entity).expect("a part");
    write(&entity, Some(&part), 0..BLOCKS);
    std::fs::remove_file(place.destination.part()).expect("removed");
    std::fs::write(place.destination.part(), b"a stranger's").expect("written");
    place.stage(&place.destination, &entity, Some(part), &[], None).expect("staged");
    assert!(place.staged() == content());
}

#[test]
fn a_part_that_is_let_go_takes_its_own_file_away_and_no_other() {
    let place = Place::new();
    let entity = place.entity();
    let first = place.mirror(&entity).expect("a part");
    let second = place.mirror(&entity).expect("a part in place of the first");
    drop(first);
    assert!(place.destination.part().exists(), "it is the second's now");
    drop(second);
    assert!(!place.destination.part().exists());
}

#[test]
fn without_a_part_everything_is_copied_and_the_place_says_what_is_wrong_with_it() {
    let place = Place::new();
    let entity = place.entity();
    let nowhere = Destination::new(FileRef { job: JobId([3; 16]), file: 0 }, "/proc/nowhere/image", me());
    assert!(nowhere.mirror(&entity, &place.room()).expect("no full disk").is_none());
    write(&entity, None, 0..BLOCKS);
    assert!(place.mirror(&entity).is_none(), "no block is still to come");
    let refused = place.stage(&nowhere, &entity, None, &[], None).expect_err("no such place");
    assert!(
        matches!(refused, StageError::Failed(ref failure) if failure.code == "destination-no-parent"),
        "{refused:?}"
    );
    place.stage(&place.destination, &entity, None, &[], None).expect("staged");
    assert!(place.staged() == content());
}

#[test]
fn a_name_is_written_again_only_when_what_stood_there_is_taken_away() {
    let place = Place::new();
    let clearing = Clearing::default();
    let cleared = clearing.cleared();
    std::fs::write(place.destination.part(), "old").expect("written");
    // Its removal is ordered first, and comes to pass later.
    let later = place.destination.clone().after(cleared.clone());
    let writer = std::thread::spawn(move || later.create_part());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(std::fs::read(place.destination.part()).expect("there"), b"old");
    assert!(!writer.is_finished() && !cleared.is_over());
    discard(vec![(place.destination.clone(), clearing)]);
    assert!(cleared.is_over());
    writer.join().expect("ends").expect("created");
    assert_eq!(std::fs::read(place.destination.part()).expect("there"), b"");
}
