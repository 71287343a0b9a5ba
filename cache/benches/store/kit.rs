//! Entities, directories, times and the machine, for all parts of the bench.

use eddy_cache::{Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, Source, Store, StoreConfig};
use eddy_content::{Entity, ResourceUrl, Validator};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The origin, over TLS.
pub(crate) const ORIGIN: Source = Source::Origin { https: true };
/// Some account.
pub(crate) const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
/// Bytes of a block.
pub(crate) const BLOCK: u64 = eddy_content::BLOCK_SIZE;

/// A number that the environment sets.
pub(crate) fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// Where the bench works.
pub(crate) fn place() -> PathBuf {
    std::env::var_os("EDDY_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(place()).expect("a directory")
}

/// A store that has no limit of its own.
pub(crate) fn open(directory: &Path) -> Store {
    let config =
        StoreConfig { directory: directory.to_owned(), quota: Quota::Bytes(1 << 50), reserve: Reserve::Bytes(0) };
    Store::open(config).expect("the store opens")
}

/// The entity number `tag` of `length` bytes.
pub(crate) fn new_entity(tag: u64, length: u64) -> NewEntity {
    let url =
        ResourceUrl::parse(&format!("https://mirror.example/pool/main/f/file/file_{tag}_amd64.deb")).expect("a URL");
    NewEntity {
        entity: Entity { url: url.clone(), validator: Validator::StrongEtag(format!("\"5f3a-{tag:x}\"")), length },
        requested_url: url,
        privacy: Privacy::Shareable,
        last_modified: Some(1_700_000_000),
        digests: Vec::new(),
        freshness: None,
    }
}

/// Bytes that do not repeat within a block.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("bench content").finalize_xof().fill(&mut bytes);
    bytes
}

/// Lets an entity in, writes it and commits it.
pub(crate) fn keep(store: &Store, tag: u64, bytes: &[u8]) -> EntityHandle {
    let handle = store.begin(new_entity(tag, bytes.len() as u64)).expect("admitted");
    let mut writer = handle.writer(0, ORIGIN, ACCOUNT);
    writer.push(bytes).expect("pushed");
    writer.finish().expect("finished");
    handle.commit().expect("committed");
    handle
}

/// The value below which the given share of the times lies.
pub(crate) fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// The middle of some ratios.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of `/proc/self/status`, in MiB.
pub(crate) fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim_matches([':', '\t', ' ']).split(' ').next().expect("a number").parse::<u64>().expect("a number") / 1024
}

/// Says whether a figure is within its bound. The bench judges, it does not fail: the machine may be busy.
pub(crate) fn judge(what: &str, is_within: bool) {
    println!("   {} {what}", if is_within { "within:" } else { "MISSED:" });
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
