//! What all tests of the store need: a directory, entities, and bytes that can be told for every place.

use eddy_cache::{Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, Source, Store, StoreConfig};
use eddy_content::{BlockHash, Entity, Geometry, ResourceUrl, Validator, tree};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of a block, as an index.
pub(crate) const BLOCK: usize = 64 * 1024;
/// The origin, over TLS.
pub(crate) const ORIGIN: Source = Source::Origin { https: true };
/// Some peer.
pub(crate) const PEER: Source = Source::Peer { node: [9; 32] };
/// Some account.
pub(crate) const ACCOUNT: Account = Account { job: [1; 16], file: 0 };

/// A store without a reserve, so that a full disk of the machine does not decide the tests.
pub(crate) fn config(directory: &Path) -> StoreConfig {
    StoreConfig { directory: directory.to_owned(), quota: Quota::Bytes(64 << 30), reserve: Reserve::Bytes(0) }
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(config(directory)).expect("the store opens")
}

/// The entity number `tag` of `length` bytes.
pub(crate) fn new_entity(tag: u64, length: u64) -> NewEntity {
    let url = ResourceUrl::parse(&format!("https://origin.example/file-{tag}?key=secret")).expect("a URL");
    NewEntity {
        entity: Entity { url: url.clone(), validator: Validator::StrongEtag(format!("\"v{tag}\"")), length },
        requested_url: url,
        privacy: Privacy::Shareable,
        last_modified: None,
        digests: Vec::new(),
        freshness: None,
    }
}

/// The bytes of entity `tag` in a range: a keyed stream, so that a byte at a wrong place is a wrong byte.
pub(crate) fn content(tag: u64, range: Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    let mut stream = blake3::Hasher::new_derive_key("test content").update(&tag.to_le_bytes()).finalize_xof();
    stream.set_position(range.start);
    stream.fill(&mut bytes);
    bytes
}

/// The bytes of a run of blocks of entity `tag`.
pub(crate) fn blocks_of(tag: u64, geometry: &Geometry, blocks: Range<u32>) -> Vec<u8> {
    content(tag, geometry.bytes_of(blocks))
}

/// The true hashes of a run of blocks of entity `tag`.
pub(crate) fn hashes_of(tag: u64, geometry: &Geometry, blocks: Range<u32>) -> Vec<BlockHash> {
    blocks.map(|b| tree::hash_block(geometry, b, &blocks_of(tag, geometry, b..b + 1))).collect()
}

/// Writes a run of blocks from the origin; not committed.
pub(crate) fn write(handle: &EntityHandle, tag: u64, blocks: Range<u32>) {
    let mut writer = handle.writer(blocks.start, ORIGIN, ACCOUNT);
    for part in blocks_of(tag, &handle.geometry(), blocks).chunks(300_000) {
        writer.push(part).expect("pushed");
    }
    writer.finish().expect("finished");
}

/// Reads every held block and holds it against what it should be.
pub(crate) fn assert_all_held_are_right(handle: &EntityHandle, tag: u64) {
    let mut bytes = Vec::new();
    for run in handle.held().runs() {
        for block in run {
            handle.read_run(block..block + 1, &mut bytes).expect("a held block is read");
            assert!(bytes == blocks_of(tag, &handle.geometry(), block..block + 1), "block {block} has wrong bytes");
        }
    }
}

/// A small generator of repeatable choices (splitmix64).
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The one file of a store that ends in `suffix`.
pub(crate) fn file_of(directory: &Path, suffix: &str) -> PathBuf {
    let mut waiting = vec![directory.join("entities")];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(path.read_dir().expect("a listing").map(|entry| entry.expect("an entry").path()));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    assert_eq!(found.len(), 1, "one file ends in {suffix}: {found:?}");
    found.remove(0)
}

/// Flips bits of one byte of a file, behind the store's back.
pub(crate) fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).expect("the file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], offset).expect("written");
}
