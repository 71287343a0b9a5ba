//! Rows of the index: what is kept of an entity, and the seal that every row carries.
//!
//! A row is `version byte, payload, 16 bytes of BLAKE3` over the table's name, the key, the version and the payload
//! (C-10). So a flipped bit, a row under a foreign key and a row of a foreign table are all noticed. Entities' rows are of
//! version 2; those of format 1 are understood for the upgrade (C-24).

use crate::room;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::Freshness;
use eddy_content::{Entity, EntityId, ResourceUrl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of all rows but those of entities.
const ROW_VERSION: u8 = 1;
/// Version of the rows of entities.
const RECORD_VERSION: u8 = 2;
/// Bytes of a row's checksum.
const SEAL_LENGTH: usize = 16;
/// Digests kept of one entity; more add nothing.
const MAX_DIGESTS: usize = 16;
/// Requested URLs remembered of one entity; a mirror list may be long.
const MAX_NAMES: usize = 64;

/// Whether an entity may be given to peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Privacy {
    /// Peers that name it by its lookup key may have it.
    Shareable,
    /// Stays on this node, and is never in the lookup table.
    Private,
}

/// Where the bytes of an entity are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In two files of its own.
    Files,
    /// In the index.
    Index,
}

/// An entity that is to be let in.
#[derive(Debug, Clone)]
pub struct NewEntity {
    /// The version.
    pub entity: Entity,
    /// The URL before redirects, under which it will be asked for again.
    pub requested_url: ResourceUrl,
    /// Whether peers may have it.
    pub privacy: Privacy,
    /// Last-Modified, in seconds since 1970, for the delivered file's time.
    pub last_modified: Option<i64>,
    /// Digests that somebody promised.
    pub digests: Vec<ExpectedDigest>,
    /// How long the origin allows it to be used without being asked; `None` when it was not asked now.
    pub freshness: Option<Freshness>,
}

#[cfg(test)]
impl NewEntity {
    /// The entity number `tag`, of `length` bytes.
    pub(crate) fn numbered(tag: u64, length: u64) -> Self {
        let url = ResourceUrl::parse(&format!("https://origin.example/{tag}")).expect("a URL");
        let validator = eddy_content::Validator::StrongEtag(format!("\"{tag}\""));
        Self {
            entity: Entity { url: url.clone(), validator, length },
            requested_url: url,
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        }
    }
}

/// What the index knows of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRecord {
    /// The version.
    pub entity: Entity,
    /// The URL before redirects, as first asked for.
    pub requested_url: ResourceUrl,
    /// Whether peers may have it: the strictest that was ever said.
    pub privacy: Privacy,
    /// Last-Modified, in seconds since 1970.
    pub last_modified: Option<i64>,
    /// Digests that somebody promised.
    pub digests: Vec<ExpectedDigest>,
    /// Names the files; never used twice (C-06).
    pub generation: u64,
    /// When it was let in, in seconds since 1970.
    pub admitted: i64,
    /// When it was last used, in seconds since 1970; coarse, and lost by a crash.
    #[serde(skip)]
    pub last_used: i64,
    /// Blocks held; filled in by listings.
    #[serde(skip)]
    pub held_blocks: u32,
    /// Whether it is being removed (C-05).
    pub(crate) doomed: bool,
    /// Hashes of the URLs under which it was asked for, for [`crate::Store::latest`]; bounded by [`MAX_NAMES`].
    pub(crate) names: Vec<[u8; 32]>,
    /// Whether somebody wants it to stay: it is never evicted.
    pub pinned: bool,
    /// Where its bytes are.
    pub(crate) place: Place,
    /// How long the origin allows it to be used without being asked, as far as it ever said.
    pub freshness: Option<Freshness>,
}

/// An entity's row as format 1 wrote it.
#[derive(Serialize, Deserialize)]
struct RecordV1 {
    entity: Entity,
    requested_url: ResourceUrl,
    privacy: Privacy,
    last_modified: Option<i64>,
    digests: Vec<ExpectedDigest>,
    generation: u64,
    admitted: i64,
    doomed: bool,
    names: Vec<[u8; 32]>,
}

impl From<RecordV1> for EntityRecord {
    fn from(row: RecordV1) -> Self {
        Self {
            entity: row.entity,
            requested_url: row.requested_url,
            privacy: row.privacy,
            last_modified: row.last_modified,
            digests: row.digests,
            generation: row.generation,
            admitted: row.admitted,
            last_used: row.admitted,
            held_blocks: 0,
            doomed: row.doomed,
            names: row.names,
            pinned: false,
            place: Place::Files,
            freshness: None,
        }
    }
}

/// The hash under which a requested URL is indexed: URLs may be long, and secret.
pub(crate) fn name_of(requested: &ResourceUrl) -> [u8; 32] {
    blake3::derive_key("eddy v1 2026-11 requested url", requested.as_str().as_bytes())
}

impl EntityRecord {
    /// The record of an entity that comes in now.
    pub(crate) fn admit(new: &NewEntity, place: Place, generation: u64, now: i64) -> Self {
        Self {
            entity: new.entity.clone(),
            requested_url: new.requested_url.clone(),
            privacy: new.privacy,
            last_modified: new.last_modified,
            digests: new.digests.iter().take(MAX_DIGESTS).cloned().collect(),
            generation,
            admitted: now,
            last_used: now,
            held_blocks: 0,
            doomed: false,
            names: vec![name_of(&new.requested_url)],
            pinned: false,
            place,
            freshness: new.freshness.clone(),
        }
    }

    /// Bytes that it takes on disk.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        room::footprint(&self.entity, &self.requested_url, self.place)
    }

    /// The row as it stands in the table `table` under `key`.
    pub(crate) fn seal(&self, table: &str, key: &[u8]) -> Vec<u8> {
        seal_version(RECORD_VERSION, table, key, &[&postcard::to_stdvec(self).unwrap_or_default()])
    }

    /// The record of a sealed row, of this format or an earlier one.
    pub(crate) fn unseal(table: &str, key: &[u8], row: &[u8]) -> Option<Self> {
        match unseal_version(table, key, row)? {
            (ROW_VERSION, payload) => postcard::from_bytes::<RecordV1>(payload).ok().map(Self::from),
            (RECORD_VERSION, payload) => {
                let mut record: Self = postcard::from_bytes(payload).ok()?;
                record.last_used = record.admitted;
                Some(record)
            }
            _ => None,
        }
    }

    /// The node-local name.
    #[must_use]
    pub fn id(&self) -> EntityId {
        self.entity.id()
    }

    /// Takes over what `new` knows better; says whether anything changed.
    pub(crate) fn learn(&mut self, new: &NewEntity) -> bool {
        let counts = |record: &Self| (record.privacy, record.last_modified, record.digests.len(), record.names.len());
        let (before, freshness) = (counts(self), self.freshness.take());
        self.freshness = match (freshness.clone(), &new.freshness) {
            (Some(known), Some(later)) => Some(known.updated(later.clone())),
            (known, later) => known.or_else(|| later.clone()),
        };
        let name = name_of(&new.requested_url);
        if self.names.len() < MAX_NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
        if new.privacy == Privacy::Private {
            self.privacy = Privacy::Private;
        }
        self.last_modified = self.last_modified.or(new.last_modified);
        for digest in &new.digests {
            if self.digests.len() < MAX_DIGESTS && !self.digests.contains(digest) {
                self.digests.push(digest.clone());
            }
        }
        before != counts(self) || freshness != self.freshness
    }
}

/// Seals a payload for its place in the index.
pub(crate) fn seal(table: &str, key: &[u8], payload: &[u8]) -> Vec<u8> {
    seal_parts(table, key, &[payload])
}

/// The same of a payload in parts.
pub(crate) fn seal_parts(table: &str, key: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    seal_version(ROW_VERSION, table, key, payload)
}

fn seal_version(version: u8, table: &str, key: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let mut row = Vec::with_capacity(1 + length + SEAL_LENGTH);
    row.push(version);
    payload.iter().for_each(|part| row.extend_from_slice(part));
    let mark = mark(table, key, &row);
    row.extend_from_slice(&mark);
    row
}

/// The payload of a sealed row, or `None` when the row is damaged, misplaced or of an unknown version.
pub(crate) fn unseal<'r>(table: &str, key: &[u8], row: &'r [u8]) -> Option<&'r [u8]> {
    unseal_version(table, key, row).filter(|(version, _)| *version == ROW_VERSION).map(|(_, payload)| payload)
}

fn unseal_version<'r>(table: &str, key: &[u8], row: &'r [u8]) -> Option<(u8, &'r [u8])> {
    let (body, found) = row.split_last_chunk::<SEAL_LENGTH>()?;
    let (version, payload) = body.split_first()?;
    (mark(table, key, body) == *found).then_some((*version, payload))
}

/// Seals a value.
pub(crate) fn seal_value<T: Serialize>(table: &str, key: &[u8], value: &T) -> Vec<u8> {
    // Writing plain data into a growing vector cannot fail; if it ever did, an empty row is unreadable, not wrong.
    let payload = postcard::to_stdvec(value).unwrap_or_default();
    seal(table, key, &payload)
}

/// The value of a sealed row.
pub(crate) fn unseal_value<T: DeserializeOwned>(table: &str, key: &[u8], row: &[u8]) -> Option<T> {
    postcard::from_bytes(unseal(table, key, row)?).ok()
}

/// The checksum over table, key and body, each behind its own length.
fn mark(table: &str, key: &[u8], body: &[u8]) -> [u8; SEAL_LENGTH] {
    let mut hasher = blake3::Hasher::new();
    for part in [b"eddy v1 index row".as_slice(), table.as_bytes(), key, body] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut mark = [0; SEAL_LENGTH];
    hasher.finalize_xof().fill(&mut mark);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_later_answer_updates_what_is_known_of_the_freshness() {
        use eddy_content::http::freshness::{Exchange, Question};
        use eddy_content::http::{HeaderMap, RequestPrivacy};
        let url = ResourceUrl::parse("https://origin.example/f").expect("a URL");
        let validator = eddy_content::Validator::StrongEtag("\"v\"".to_owned());
        let answer = |received| {
            let fields = HeaderMap::new();
            let question = Question { fields: &fields, privacy: RequestPrivacy::Plain };
            Freshness::of(&HeaderMap::new(), question, Exchange { asked: received, received })
        };
        let new = |freshness| NewEntity {
            entity: Entity { url: url.clone(), validator: validator.clone(), length: 1 },
            requested_url: url.clone(),
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness,
        };
        let mut record = EntityRecord::admit(&new(None), Place::Files, 1, 0);
        assert!(record.learn(&new(Some(answer(1000)))) && record.freshness == Some(answer(1000)));
        assert!(record.learn(&new(Some(answer(2000)))) && record.freshness == Some(answer(2000)));
        assert!(
            !record.learn(&new(None)) && record.freshness == Some(answer(2000)),
            "the store's own word adds nothing"
        );
        let row = record.seal("entities", b"key");
        assert_eq!(EntityRecord::unseal("entities", b"key", &row).and_then(|read| read.freshness), Some(answer(2000)));
    }

    proptest! {
        #[test]
        fn a_sealed_row_opens_only_whole_and_in_its_place(payload in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let row = seal("jobs", b"key", &payload);
            prop_assert_eq!(unseal("jobs", b"key", &row), Some(payload.as_slice()));
            prop_assert_eq!(unseal("jobs", b"kez", &row), None);
            prop_assert_eq!(unseal("held", b"key", &row), None);
            let mut flipped = row.clone();
            flipped[at.index(row.len())] ^= 1 << bit;
            prop_assert_eq!(unseal("jobs", b"key", &flipped), None);
            prop_assert_eq!(unseal("jobs", b"key", &row[..at.index(row.len())]), None);
        }
    }
}
