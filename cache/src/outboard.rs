//! The outboard: the file beside the data that says what the data should hash to.
//!
//! ```text
//! 0              magic (8) | header length u32 | payload length u32 | payload (postcard) | BLAKE3 of all that (32)
//! header length  one 32-byte hash per block, at fixed places; zeros where none was written yet
//! after those    statements, appended: length u32 | first block u32 | count u32 | bytes | BLAKE3 (16)
//! ```
//!
//! Numbers are little-endian. The header names the entity wholly, so that the index can be made again from files alone
//! (C-22). Statements are opaque here; a torn one at the end is the end.

use crate::disk::{self, DiskFile};
use crate::fault::DiskFault;
use crate::handle::StoredStatement;
use crate::row::{EntityRecord, Privacy};
use eddy_content::digest::ExpectedDigest;
use eddy_content::{BlockHash, Entity, Geometry, ResourceUrl};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

const MAGIC: &[u8; 8] = b"eddyob1\n";
/// Bytes before the payload.
const PRELUDE: usize = 16;
const SEAL: usize = 32;
/// The header is padded to this, a page.
const ALIGNMENT: usize = 4096;
/// Zeros at the header's end; something else when the entity turned private after the header was written. One sector has
/// them, and whatever a torn write leaves there means private, too.
const PRIVATE_MARK: usize = 16;
/// Bytes of the longest header that is read: two URLs of 8 KiB, digests, a validator of 1 KiB.
const MAX_HEADER: usize = 64 * 1024;
pub(crate) const HASH_LENGTH: u64 = 32;
const STATEMENT_PRELUDE: usize = 12;
const STATEMENT_SEAL: usize = 16;
/// Bytes of the longest statement; a signed statement is about 200 bytes.
pub(crate) const MAX_STATEMENT: usize = 4096;
/// Bytes of statements that are read at first, and at most at a time: each piece is twice as long as the one before, since most entities have
/// a few, and one that came block by block has tens of thousands.
const FIRST_PIECE: usize = 8 * 1024;
const LONGEST_PIECE: usize = 256 * 1024;
const _: () =
    assert!(FIRST_PIECE >= STATEMENT_PRELUDE + MAX_STATEMENT + STATEMENT_SEAL, "a piece has a whole statement");

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) entity: Entity,
    pub(crate) requested_url: ResourceUrl,
    pub(crate) privacy: Privacy,
    pub(crate) last_modified: Option<i64>,
    pub(crate) digests: Vec<ExpectedDigest>,
    pub(crate) generation: u64,
}

impl Header {
    pub(crate) fn of(record: &EntityRecord) -> Self {
        Self {
            entity: record.entity.clone(),
            requested_url: record.requested_url.clone(),
            privacy: record.privacy,
            last_modified: record.last_modified,
            digests: record.digests.clone(),
            generation: record.generation,
        }
    }

    /// The header as it stands in the file, padded.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = postcard::to_stdvec(self).unwrap_or_default();
        let padded = (PRELUDE + payload.len() + SEAL + PRIVATE_MARK).next_multiple_of(ALIGNMENT);
        let mut bytes = Vec::with_capacity(padded);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(padded as u32).to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&payload);
        let seal = blake3::hash(&bytes);
        bytes.extend_from_slice(seal.as_bytes());
        bytes.resize(padded, 0);
        bytes
    }

    /// Reads a header and its length; `None` when the bytes are not a whole one.
    fn decode(bytes: &[u8]) -> Option<(Self, u64)> {
        let body = bytes.strip_prefix(MAGIC)?;
        let (padded, body) = body.split_first_chunk::<4>()?;
        let (length, body) = body.split_first_chunk::<4>()?;
        let (padded, length) = (u32::from_le_bytes(*padded), u32::from_le_bytes(*length) as usize);
        let (payload, seal) = (body.get(..length)?, body.get(length..length + SEAL)?);
        if blake3::hash(bytes.get(..PRELUDE + length)?).as_bytes() != seal {
            return None;
        }
        Some((postcard::from_bytes(payload).ok()?, u64::from(padded)))
    }

    /// Reads the header of an outboard; `None` when it has no whole one.
    pub(crate) fn read(file: &dyn DiskFile, path: &Path) -> Result<Option<(Self, u64)>, DiskFault> {
        Ok(Self::decode(&beginning(file, path)?))
    }

    /// Reads the header and who may have the entity, as the mark behind it says.
    pub(crate) fn read_with_privacy(file: &dyn DiskFile, path: &Path) -> Result<Option<(Self, Privacy)>, DiskFault> {
        let bytes = beginning(file, path)?;
        let Some((header, _)) = Self::decode(&bytes) else { return Ok(None) };
        let is_unmarked =
            mark_place(&bytes).and_then(|place| bytes.get(place)).is_some_and(|mark| mark.iter().all(|b| *b == 0));
        // A header without room for the mark cannot say that nothing changed.
        let privacy = if is_unmarked { header.privacy } else { Privacy::Private };
        Ok(Some((header, privacy)))
    }

    /// Notes durably that the entity turned private.
    pub(crate) fn mark_private(file: &dyn DiskFile, path: &Path) -> Result<(), DiskFault> {
        if let Some(place) = mark_place(&beginning(file, path)?) {
            disk::write_at(file, path, &[0xff; PRIVATE_MARK], place.start as u64)?;
            disk::sync_bytes(file, path)?;
        }
        Ok(())
    }
}

/// The beginning of an outboard with the whole of its header, if it has one. Most are a page long, and entities are opened often.
fn beginning(file: &dyn DiskFile, path: &Path) -> Result<Vec<u8>, DiskFault> {
    let mut bytes = vec![0; ALIGNMENT];
    let mut count = disk::read_some_at(file, path, &mut bytes, 0)?;
    let padded =
        bytes.get(8..12).and_then(<[u8]>::first_chunk).map_or(0, |padded| u32::from_le_bytes(*padded) as usize);
    if count == ALIGNMENT && padded > ALIGNMENT {
        bytes.resize(MAX_HEADER, 0);
        count = disk::read_some_at(file, path, &mut bytes, 0)?;
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Where the mark is, in a header that has room for it.
fn mark_place(header: &[u8]) -> Option<Range<usize>> {
    let padded = u32::from_le_bytes(*header.get(8..12)?.first_chunk()?) as usize;
    let length = u32::from_le_bytes(*header.get(12..16)?.first_chunk()?) as usize;
    let start = padded.checked_sub(PRIVATE_MARK)?;
    (start >= (PRELUDE + SEAL).checked_add(length)?).then_some(start..padded)
}

/// Where things lie in one outboard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    header: u64,
    blocks: u32,
}

impl Layout {
    pub(crate) fn new(header: u64, geometry: &Geometry) -> Self {
        Self { header, blocks: geometry.block_count() }
    }

    fn hash_offset(&self, block: u32) -> u64 {
        self.header + u64::from(block) * HASH_LENGTH
    }

    /// Where statements begin.
    pub(crate) fn statements(&self) -> u64 {
        self.hash_offset(self.blocks)
    }

    /// Writes the hashes of a run of blocks.
    pub(crate) fn write_hashes(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        first: u32,
        hashes: &[BlockHash],
    ) -> Result<(), DiskFault> {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        disk::write_at(file, path, &bytes, self.hash_offset(first))
    }

    /// Reads the hashes of a run of blocks; zeros where the file is too short.
    pub(crate) fn read_hashes(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        blocks: Range<u32>,
    ) -> Result<Vec<BlockHash>, DiskFault> {
        let count = blocks.end.saturating_sub(blocks.start) as usize;
        let mut bytes = vec![0; count * HASH_LENGTH as usize];
        disk::read_some_at(file, path, &mut bytes, self.hash_offset(blocks.start))?;
        Ok(hashes_in(&bytes))
    }

    /// The same if they lie in memory.
    pub(crate) fn read_cached_hashes(&self, file: &dyn DiskFile, blocks: Range<u32>) -> Option<Vec<BlockHash>> {
        let count = blocks.end.saturating_sub(blocks.start) as usize;
        let mut bytes = vec![0; count * HASH_LENGTH as usize];
        let read = file.read_cached_at(&mut bytes, self.hash_offset(blocks.start)).ok()?;
        (read == bytes.len()).then(|| hashes_in(&bytes))
    }

    /// Reads at most `limit` whole statements, and where the next one goes.
    pub(crate) fn read_statements(
        &self,
        file: &dyn DiskFile,
        path: &Path,
        limit: usize,
    ) -> Result<(Vec<StoredStatement>, u64), DiskFault> {
        let (mut at, mut statements) = (self.statements(), Vec::new());
        let mut piece = vec![0; FIRST_PIECE];
        loop {
            let count = disk::read_some_at(file, path, &mut piece, at)?;
            let mut used = 0;
            while statements.len() < limit
                && let Some((statement, length)) = decode_statement(&piece[used..count])
            {
                statements.push(statement);
                used += length;
            }
            at += used as u64;
            // What is left of a whole piece is the beginning of a statement, unless nothing of it was one.
            if used == 0 || count < piece.len() || statements.len() >= limit {
                break;
            }
            piece.resize((piece.len() * 2).min(LONGEST_PIECE), 0);
        }
        Ok((statements, at))
    }
}

fn hashes_in(bytes: &[u8]) -> Vec<BlockHash> {
    bytes.as_chunks::<{ HASH_LENGTH as usize }>().0.iter().map(|hash| BlockHash(*hash)).collect()
}

/// A statement as it stands in the file.
pub(crate) fn encode_statement(statement: &StoredStatement) -> Vec<u8> {
    let mut record = Vec::with_capacity(STATEMENT_PRELUDE + statement.bytes.len() + STATEMENT_SEAL);
    record.extend_from_slice(&(statement.bytes.len() as u32).to_le_bytes());
    record.extend_from_slice(&statement.first_block.to_le_bytes());
    record.extend_from_slice(&statement.count.to_le_bytes());
    record.extend_from_slice(&statement.bytes);
    let seal = blake3::hash(&record);
    record.extend_from_slice(&seal.as_bytes()[..STATEMENT_SEAL]);
    record
}

/// The whole statements that `bytes` begin with.
pub(crate) fn decode_statements(mut bytes: &[u8]) -> Vec<StoredStatement> {
    let mut statements = Vec::new();
    while let Some((statement, length)) = decode_statement(bytes) {
        statements.push(statement);
        bytes = &bytes[length..];
    }
    statements
}

/// The statement at the beginning of `bytes`, and its length there; `None` when it is not whole.
pub(crate) fn decode_statement(bytes: &[u8]) -> Option<(StoredStatement, usize)> {
    let ([length, first, count], _) = bytes.get(..STATEMENT_PRELUDE)?.as_chunks::<4>() else { return None };
    let length = u32::from_le_bytes(*length) as usize;
    let end = STATEMENT_PRELUDE.checked_add(length).filter(|_| length <= MAX_STATEMENT)?;
    let seal = bytes.get(end..end + STATEMENT_SEAL)?;
    if &blake3::hash(bytes.get(..end)?).as_bytes()[..STATEMENT_SEAL] != seal {
        return None;
    }
    let statement = StoredStatement {
        first_block: u32::from_le_bytes(*first),
        count: u32::from_le_bytes(*count),
        bytes: bytes.get(STATEMENT_PRELUDE..end)?.to_vec(),
    };
    Some((statement, end + STATEMENT_SEAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::Validator;
    use proptest::prelude::*;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// A file in memory that counts how often it is read.
    #[derive(Debug, Default)]
    struct Counted {
        bytes: Vec<u8>,
        reads: AtomicUsize,
    }

    impl DiskFile for Counted {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            self.reads.fetch_add(1, Relaxed);
            let rest = self.bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }

        fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn set_length(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn preallocate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync_bytes(&self) -> io::Result<()> {
            Ok(())
        }

        fn sync_all(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn many_statements_are_read_in_few_pieces_up_to_the_first_that_is_not_whole() {
        let layout = Layout { header: 100, blocks: 3 };
        let statement = |number: u32| StoredStatement {
            first_block: number,
            count: 1,
            bytes: vec![number as u8; if number == 1_234 { MAX_STATEMENT } else { 300 + (number % 700) as usize }],
        };
        let all: Vec<_> = (0..2_000).map(statement).collect();
        let mut file = Counted { bytes: vec![0; layout.statements() as usize], ..Counted::default() };
        file.bytes.extend(all.iter().flat_map(encode_statement));
        let end = file.bytes.len() as u64;
        let read = |file: &Counted, limit| layout.read_statements(file, Path::new("o"), limit).expect("reads");
        assert_eq!(read(&file, usize::MAX), (all.clone(), end));
        assert!(file.reads.load(Relaxed) < 40, "{:?} reads", file.reads);
        let (few, behind) = read(&file, 700);
        assert_eq!(few, all[..700]);
        assert_eq!(read(&file, 701).1 - behind, encode_statement(&all[700]).len() as u64);

        file.bytes.pop();
        let whole = all.len() - 1;
        assert_eq!(read(&file, usize::MAX), (all[..whole].to_vec(), end - encode_statement(&all[whole]).len() as u64));
        file.bytes.extend(vec![0; 1 << 20]);
        assert_eq!(read(&file, usize::MAX).0.len(), whole, "what is behind a torn one is nothing");
    }

    fn header() -> Header {
        let url = ResourceUrl::parse("https://host.example/a?b").expect("a URL");
        Header {
            entity: Entity { url: url.clone(), validator: Validator::StrongEtag("\"1\"".into()), length: 9 },
            requested_url: url,
            privacy: Privacy::Shareable,
            last_modified: Some(7),
            digests: Vec::new(),
            generation: 3,
        }
    }

    proptest! {
        #[test]
        fn a_header_with_a_flipped_bit_is_no_header(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let bytes = header().encode();
            prop_assert_eq!(Header::decode(&bytes), Some((header(), bytes.len() as u64)));
            let payload_length = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
            let mut flipped = bytes.clone();
            flipped[at.index(PRELUDE + payload_length + SEAL)] ^= 1 << bit;
            prop_assert_eq!(Header::decode(&flipped), None);
        }

        #[test]
        fn foreign_bytes_are_neither_header_nor_statement(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(Header::decode(&bytes), None);
            prop_assert_eq!(decode_statement(&bytes), None);
        }

        #[test]
        fn a_statement_survives_and_a_torn_one_does_not(bytes in prop::collection::vec(any::<u8>(), 0..400), first in any::<u32>(), count in any::<u32>()) {
            let statement = StoredStatement { first_block: first, count, bytes };
            let record = encode_statement(&statement);
            prop_assert_eq!(decode_statement(&record), Some((statement, record.len())));
            prop_assert_eq!(decode_statement(&record[..record.len() - 1]), None);
        }
    }
}
