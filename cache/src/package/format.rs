//! The format of a package, and the checks that everything in it must pass.
//!
//! ```text
//! magic (8) | head: length u32, bytes | signature: length u32, bytes
//! each entity:  description: length u32, bytes; 0 when it was withdrawn, and nothing follows
//!               statements, as they stand in an outboard
//!               each piece: 0 when it was withdrawn, or 1, block hashes (32 each), data of the blocks
//! end mark (8)
//! ```
//!
//! Numbers are little-endian; head and descriptions are postcard. Signed is the hash of the head behind a context. Text is
//! parsed as if an origin had sent it: nothing in a package names a file, and a URL or validator that this program would
//! not have accepted from the network is refused.

use super::{MAX_ENTITIES, PackageError, PackagePlace};
use crate::handle::StoredStatement;
use crate::outboard;
use crate::row::{NewEntity, Privacy};
use eddy_content::digest::{self, ExpectedDigest};
use eddy_content::{BlockHash, BlockSet, Entity, Geometry, ResourceUrl, Validator};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::Arc;

pub(super) const MAGIC: &[u8; 8] = b"eddypk1\n";
pub(super) const END: &[u8; 8] = b"eddyend\n";
/// Blocks of a piece at most: 16 MiB, what is in memory at once.
pub(super) const PIECE_BLOCKS: u32 = 256;
/// Bytes of the longest head: the hashes of all entities, and a little.
const MAX_HEAD: usize = MAX_ENTITIES * 32 + 64;
/// Bytes of the longest signature, with what proves whose it is.
const MAX_SIGNATURE: usize = 64 * 1024;
/// Bytes of the longest description: the pieces of an entity of about 1 TiB.
pub(super) const MAX_DESCRIPTION: usize = 4 << 20;
/// Bytes of an entity's statements.
pub(super) const MAX_STATEMENTS: usize = 8 << 20;

const WITHDRAWN: u8 = 0;
const PRESENT: u8 = 1;
const SIGNED_CONTEXT: &[u8] = b"eddy package v1\n";
const HEAD_CONTEXT: &str = "eddy v1 2026-11 package head";
const DESCRIPTION_CONTEXT: &str = "eddy v1 2026-11 package description";
const PIECE_CONTEXT: &str = "eddy v1 2026-11 package piece";
const STATEMENTS_CONTEXT: &str = "eddy v1 2026-11 package statements";

type Hash = [u8; 32];

/// What the signature covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The hash of each entity's description, in order.
    pub(super) descriptions: Vec<Hash>,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

/// What is signed for a head.
pub(super) fn signed(head: &[u8]) -> Vec<u8> {
    [SIGNED_CONTEXT, &blake3::derive_key(HEAD_CONTEXT, head)].concat()
}

/// An entity as a package describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) url: String,
    pub(super) validator_kind: u8,
    pub(super) validator: String,
    pub(super) length: u64,
    pub(super) requested_url: String,
    pub(super) privacy: Privacy,
    pub(super) last_modified: Option<i64>,
    pub(super) digests: Vec<ExpectedDigest>,
    pub(super) statement_bytes: u32,
    pub(super) statements: Hash,
    pub(super) pieces: Vec<Piece>,
}

/// A run of blocks of an entity, by the hash of its block hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) hash: Hash,
}

impl Piece {
    pub(super) fn new(first: u32, hashes: &[BlockHash]) -> Self {
        Self { first, count: hashes.len() as u32, hash: piece_hash(hashes) }
    }

    pub(super) fn blocks(&self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// A description that passed all checks.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) new: NewEntity,
    pub(super) geometry: Geometry,
    pub(super) pieces: Vec<Piece>,
}

impl Description {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Parses everything that was said; `None` when anything is not as an export writes it.
    pub(super) fn check(&self) -> Option<Described> {
        let geometry = Geometry::new(self.length)?;
        let entity = Entity {
            url: url(&self.url)?,
            validator: Validator::recognise(self.validator_kind, &self.validator)?,
            length: self.length,
        };
        let well_formed = |digest: &ExpectedDigest| digest.value.len() == digest.algorithm.output_len();
        if self.digests.len() > 2 * digest::MAX_DIGESTS || !self.digests.iter().all(well_formed) {
            return None;
        }
        let mut end = 0;
        for piece in &self.pieces {
            let is_in_order = piece.first >= end && piece.count > 0 && piece.count <= PIECE_BLOCKS;
            end = piece.first.checked_add(piece.count).filter(|end| is_in_order && *end <= geometry.block_count())?;
        }
        let new = NewEntity {
            entity,
            requested_url: url(&self.requested_url)?,
            privacy: self.privacy,
            last_modified: self.last_modified,
            digests: self.digests.clone(),
            // Never believed from elsewhere: each node asks for itself.
            freshness: None,
        };
        Some(Described { new, geometry, pieces: self.pieces.clone() })
    }
}

/// A URL, written as this program writes it.
fn url(text: &str) -> Option<ResourceUrl> {
    ResourceUrl::parse(text).ok().filter(|url| url.as_str() == text)
}

/// The pieces into which held blocks are cut, at fixed places.
pub(super) fn runs_of_pieces(held: &BlockSet) -> Vec<Range<u32>> {
    let mut pieces = Vec::new();
    for mut run in held.runs() {
        while !run.is_empty() {
            let next = (run.start / PIECE_BLOCKS + 1).saturating_mul(PIECE_BLOCKS);
            let end = next.min(run.end);
            pieces.push(run.start..end);
            run.start = end;
        }
    }
    pieces
}

pub(super) fn description_hash(bytes: &[u8]) -> Hash {
    blake3::derive_key(DESCRIPTION_CONTEXT, bytes)
}

pub(super) fn statements_hash(bytes: &[u8]) -> Hash {
    blake3::derive_key(STATEMENTS_CONTEXT, bytes)
}

fn piece_hash(hashes: &[BlockHash]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(PIECE_CONTEXT);
    for hash in hashes {
        hasher.update(&hash.0);
    }
    *hasher.finalize().as_bytes()
}

/// What stands before a piece.
pub(super) fn mark(is_present: bool) -> [u8; 1] {
    [if is_present { PRESENT } else { WITHDRAWN }]
}

/// Reads a package from its stream, counting.
pub(super) struct PackageReader<'r> {
    from: &'r mut dyn Read,
    at: u64,
}

impl<'r> PackageReader<'r> {
    pub(super) fn new(from: &'r mut dyn Read) -> Self {
        Self { from, at: 0 }
    }

    /// The error that says that what was just read is not what was promised.
    pub(super) fn damaged(&self, place: PackagePlace) -> PackageError {
        PackageError::Damaged { at: self.at, place }
    }

    /// Fills `into`.
    pub(super) fn fill(&mut self, into: &mut [u8], place: PackagePlace) -> Result<(), PackageError> {
        let mut done = 0;
        while done < into.len() {
            match self.from.read(&mut into[done..]) {
                Ok(0) => return Err(PackageError::Cut { at: self.at, place }),
                Ok(count) => {
                    done += count;
                    self.at += count as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(PackageError::Stream { operation: "read", source: Arc::new(e) }),
            }
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self, place: PackagePlace) -> Result<[u8; N], PackageError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, place)?;
        Ok(bytes)
    }

    /// Bytes behind their length, of at most `limit`. Memory grows with what arrives, not with what is announced.
    fn bytes(&mut self, limit: usize, place: PackagePlace) -> Result<Vec<u8>, PackageError> {
        let length = u32::from_le_bytes(self.array(place)?) as usize;
        if length > limit {
            return Err(self.damaged(place));
        }
        self.exactly(length, place)
    }

    /// So many bytes.
    pub(super) fn exactly(&mut self, length: usize, place: PackagePlace) -> Result<Vec<u8>, PackageError> {
        const STEP: usize = 64 * 1024;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let from = bytes.len();
            bytes.resize(length.min(from + STEP), 0);
            self.fill(&mut bytes[from..], place)?;
        }
        Ok(bytes)
    }

    /// The head, if it is well signed.
    pub(super) fn head(&mut self, trust: &dyn Fn(&[u8], &[u8]) -> bool) -> Result<Head, PackageError> {
        let magic: [u8; 8] = self.array(PackagePlace::Head).map_err(|error| match error {
            PackageError::Cut { .. } => PackageError::NotAPackage,
            other => other,
        })?;
        if magic != *MAGIC {
            return Err(PackageError::NotAPackage);
        }
        let bytes = self.bytes(MAX_HEAD, PackagePlace::Head)?;
        let signature = self.bytes(MAX_SIGNATURE, PackagePlace::Head)?;
        if !trust(&signed(&bytes), &signature) {
            return Err(PackageError::Untrusted);
        }
        let head: Head = postcard::from_bytes(&bytes).map_err(|_| self.damaged(PackagePlace::Head))?;
        if head.descriptions.len() > MAX_ENTITIES {
            return Err(self.damaged(PackagePlace::Head));
        }
        Ok(head)
    }

    /// The next description and its statements; `None` when it was withdrawn.
    pub(super) fn description(
        &mut self,
        number: u32,
        expected: &Hash,
    ) -> Result<Option<(Described, Vec<StoredStatement>)>, PackageError> {
        let place = PackagePlace::Description(number);
        let bytes = self.bytes(MAX_DESCRIPTION, place)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if description_hash(&bytes) != *expected {
            return Err(self.damaged(place));
        }
        let description: Description = postcard::from_bytes(&bytes).map_err(|_| self.damaged(place))?;
        let described = description.check().ok_or_else(|| self.damaged(place))?;

        let place = PackagePlace::Statements(number);
        let length = description.statement_bytes as usize;
        if length > MAX_STATEMENTS {
            return Err(self.damaged(place));
        }
        let bytes = self.exactly(length, place)?;
        if statements_hash(&bytes) != description.statements {
            return Err(self.damaged(place));
        }
        Ok(Some((described, outboard::decode_statements(&bytes))))
    }

    /// The block hashes of a piece; `None` when it was withdrawn.
    pub(super) fn piece(&mut self, entity: u32, piece: &Piece) -> Result<Option<Vec<BlockHash>>, PackageError> {
        let place = PackagePlace::Block { entity, block: piece.first };
        match self.array(place)? {
            [WITHDRAWN] => return Ok(None),
            [PRESENT] => {}
            _ => return Err(self.damaged(place)),
        }
        let bytes = self.exactly(piece.count as usize * 32, place)?;
        let hashes: Vec<BlockHash> = bytes.as_chunks::<32>().0.iter().map(|hash| BlockHash(*hash)).collect();
        if piece_hash(&hashes) != piece.hash {
            return Err(self.damaged(place));
        }
        Ok(Some(hashes))
    }

    /// The end mark.
    pub(super) fn end(&mut self) -> Result<(), PackageError> {
        let mark: [u8; 8] = self.array(PackagePlace::End)?;
        if mark == *END { Ok(()) } else { Err(self.damaged(PackagePlace::End)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn description() -> Description {
        Description {
            url: "https://host.example/a?b".to_owned(),
            validator_kind: 1,
            validator: "\"1\"".to_owned(),
            length: 10 * eddy_content::BLOCK_SIZE,
            requested_url: "https://host.example/".to_owned(),
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            statement_bytes: 0,
            statements: [0; 32],
            pieces: vec![Piece { first: 0, count: 4, hash: [0; 32] }, Piece { first: 6, count: 4, hash: [0; 32] }],
        }
    }

    #[test]
    fn a_description_that_no_export_writes_is_refused() {
        assert!(description().check().is_some());
        type Change = fn(&mut Description);
        let changes: [Change; 13] = [
            |d| d.url = "file:///etc/passwd".to_owned(),
            |d| d.url = "https://user:secret@host.example/".to_owned(),
            |d| d.requested_url = "https://host.example/../a".to_owned(),
            |d| d.requested_url = format!("https://host.example/{}", "a".repeat(9000)),
            |d| d.validator = "\"1\"\r\nX-Evil: yes".to_owned(),
            |d| d.validator = format!("\"{}\"", "1".repeat(2000)),
            |d| d.validator_kind = 3,
            |d| d.length = u64::MAX,
            |d| d.pieces[1].first = 3,
            |d| d.pieces[1].count = 5,
            |d| d.pieces[0].count = 0,
            |d| d.pieces[1].first = u32::MAX,
            |d| d.digests = vec![ExpectedDigest { algorithm: digest::DigestAlgorithm::Sha256, value: vec![1; 31] }],
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut description = description();
            change(&mut description);
            assert!(description.check().is_none(), "change {number}: {description:?}");
        }
        let mut wide = description();
        wide.length = u64::from(PIECE_BLOCKS + 1) * eddy_content::BLOCK_SIZE;
        wide.pieces = vec![Piece { first: 0, count: PIECE_BLOCKS + 1, hash: [0; 32] }];
        assert!(wide.check().is_none(), "a piece larger than what is in memory at once");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic_and_without_trust(bytes in prop::collection::vec(any::<u8>(), 0..300), is_marked in any::<bool>()) {
            let marked = [if is_marked { MAGIC.as_slice() } else { &[] }, &bytes].concat();
            let mut stream = marked.as_slice();
            prop_assert!(PackageReader::new(&mut stream).head(&|_, _| false).is_err());
            // The same behind a signature that somebody trusts.
            let mut stream = marked.as_slice();
            let mut reader = PackageReader::new(&mut stream);
            if let Ok(head) = reader.head(&|_, _| true) {
                for (number, hash) in head.descriptions.iter().enumerate() {
                    if reader.description(number as u32, hash).is_err() {
                        break;
                    }
                }
            }
            if let Ok(description) = postcard::from_bytes::<Description>(&bytes) {
                let _ = description.check();
            }
        }

        #[test]
        fn pieces_tile_what_is_held(runs in prop::collection::vec((0u32..5000, 1u32..900), 0..12)) {
            let held: BlockSet = runs.into_iter().map(|(start, length)| start..start + length).collect();
            let pieces = runs_of_pieces(&held);
            prop_assert!(pieces.iter().all(|piece| piece.end - piece.start <= PIECE_BLOCKS));
            prop_assert_eq!(pieces.iter().cloned().collect::<BlockSet>(), held.clone());
            prop_assert_eq!(pieces.iter().map(|piece| piece.end - piece.start).sum::<u32>(), held.len());
        }
    }

    #[test]
    fn a_length_that_is_only_announced_takes_no_memory() {
        let mut stream = [MAGIC.as_slice(), &(MAX_HEAD as u32).to_le_bytes(), &[0; 10]].concat();
        let mut from = stream.as_slice();
        let error = PackageReader::new(&mut from).head(&|_, _| true).expect_err("cut");
        assert!(matches!(error, PackageError::Cut { at: 22, place: PackagePlace::Head }), "{error}");
        stream[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut from = stream.as_slice();
        let error = PackageReader::new(&mut from).head(&|_, _| true).expect_err("too long");
        assert!(matches!(error, PackageError::Damaged { at: 12, place: PackagePlace::Head }), "{error}");
    }
}
