//! Records of the journal as they stand in the file, and how they are found there.
//!
//! ```text
//! 0       magic (8) | key of the seals (32) | sequence u64 | last of the snapshot u64 | BLAKE3 of all that (16) | zeros
//! a page  records: mark (4) | length u32 | kind u8 | sequence number u64 | job (16) | row | keyed BLAKE3 of all that (16)
//! after   zeros: room for the next records, so that appending them changes no length
//! ```
//!
//! Numbers are little-endian; the records' sequence numbers rise strictly. The first of them are a snapshot of the jobs that
//! were there when the file was made. The seals' key is random for each file: a row that somebody made look like records,
//! and records left of an older file, are none.

use std::ops::Range;

const MAGIC: &[u8; 8] = b"eddyjj1\n";
const MARK: &[u8; 4] = b"job:";
/// Where records begin: a page of its own for the header, so that appending never rewrites its sector.
pub(super) const FIRST_RECORD: u64 = 4096;
/// Bytes of a header that mean something.
const HEADER: usize = 8 + 32 + 8 + 8 + SEAL;
/// Bytes before the row.
const PRELUDE: usize = 4 + 4 + 1 + 8 + 16;
const SEAL: usize = 16;
/// Bytes of the longest record.
pub(super) const MAX_RECORD: usize = PRELUDE + crate::store::MAX_JOB_ROW + SEAL;

const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// The name of a job.
pub(crate) type JobId = [u8; 16];
/// The key under which the records of one file are sealed.
pub(super) type SealKey = [u8; 32];

/// A mark of a row, to tell whether two are the same.
pub(super) type RowHash = [u8; 32];

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: SealKey,
    /// Number of the last change that the file knew when it was made.
    pub(super) sequence: u64,
    /// Number of the snapshot's last record; 0 when there was no job.
    pub(super) snapshot: u64,
}

impl Header {
    /// The header as it stands in the file: a page.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIRST_RECORD as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.key);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.snapshot.to_le_bytes());
        let seal = blake3::hash(&bytes);
        bytes.extend_from_slice(&seal.as_bytes()[..SEAL]);
        bytes.resize(FIRST_RECORD as usize, 0);
        bytes
    }

    /// Reads a header; `None` when the bytes are not a whole one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, seal) = bytes.get(..HEADER)?.split_last_chunk::<SEAL>()?;
        if blake3::hash(body).as_bytes()[..SEAL] != *seal {
            return None;
        }
        let (key, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        let (sequence, snapshot) = (rest.first_chunk()?, rest.last_chunk()?);
        Some(Self { key: *key, sequence: u64::from_le_bytes(*sequence), snapshot: u64::from_le_bytes(*snapshot) })
    }
}

/// One change of one job's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'b> {
    pub(super) sequence: u64,
    pub(super) job: JobId,
    /// `None` when the row was removed.
    pub(super) row: Option<&'b [u8]>,
}

impl<'b> Record<'b> {
    /// Bytes of the record in the file.
    pub(super) fn length(&self) -> usize {
        PRELUDE + self.row.map_or(0, <[u8]>::len) + SEAL
    }

    /// Appends the record as it stands in the file.
    pub(super) fn encode(&self, key: &SealKey, into: &mut Vec<u8>) {
        let start = into.len();
        let row = self.row.unwrap_or_default();
        into.extend_from_slice(MARK);
        into.extend_from_slice(&(row.len() as u32).to_le_bytes());
        into.push(if self.row.is_some() { PUT } else { REMOVE });
        into.extend_from_slice(&self.sequence.to_le_bytes());
        into.extend_from_slice(&self.job);
        into.extend_from_slice(row);
        let seal = blake3::keyed_hash(key, &into[start..]);
        into.extend_from_slice(&seal.as_bytes()[..SEAL]);
    }

    /// The record at the beginning of `bytes`; `None` when there is no whole one.
    pub(super) fn decode(key: &SealKey, bytes: &'b [u8]) -> Option<Self> {
        let (length, rest) = bytes.strip_prefix(MARK)?.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > crate::store::MAX_JOB_ROW {
            return None;
        }
        let body = bytes.get(..PRELUDE + length)?;
        let seal = bytes.get(PRELUDE + length..PRELUDE + length + SEAL)?;
        if blake3::keyed_hash(key, body).as_bytes()[..SEAL] != *seal {
            return None;
        }
        let (kind, rest) = rest.split_first()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (job, _) = rest.split_first_chunk::<16>()?;
        let row = match *kind {
            PUT => Some(body.get(PRELUDE..)?),
            REMOVE if length == 0 => None,
            _ => return None,
        };
        Some(Self { sequence: u64::from_le_bytes(*sequence), job: *job, row })
    }
}

/// The mark of a row.
pub(super) fn row_hash(row: &[u8]) -> RowHash {
    *blake3::hash(row).as_bytes()
}

/// The next place in `within` of `bytes` where a record could begin.
pub(super) fn next_mark(bytes: &[u8], within: Range<usize>) -> Option<usize> {
    let (start, bytes) = (within.start, bytes.get(within)?);
    bytes.windows(MARK.len()).position(|window| window == MARK).map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: SealKey = [3; 32];

    proptest! {
        #[test]
        fn a_record_survives_and_no_other_one_passes(row in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), sequence in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let record = Record { sequence, job: [5; 16], row: row.as_deref() };
            let mut bytes = Vec::new();
            record.encode(&KEY, &mut bytes);
            prop_assert_eq!(bytes.len(), record.length());
            prop_assert_eq!(Record::decode(&KEY, &bytes), Some(record));
            prop_assert_eq!(Record::decode(&[4; 32], &bytes), None, "a record of another file");
            prop_assert_eq!(Record::decode(&KEY, &bytes[..bytes.len() - 1]), None);
            let mut flipped = bytes.clone();
            flipped[at.index(bytes.len())] ^= 1 << bit;
            prop_assert_eq!(Record::decode(&KEY, &flipped), None);
        }

        #[test]
        fn a_header_with_a_flipped_bit_is_no_header(at in 0..HEADER, bit in 0u8..8, sequence in any::<u64>()) {
            let header = Header { key: [8; 32], sequence, snapshot: sequence / 2 };
            let mut bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes), Some(header));
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Header::decode(&bytes), None);
        }

        #[test]
        fn foreign_bytes_are_nothing(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(Header::decode(&bytes), None);
            let marked = [MARK, bytes.as_slice()].concat();
            prop_assert_eq!(Record::decode(&KEY, &marked), None);
        }
    }

    #[test]
    fn a_mark_is_found_where_it_begins() {
        assert_eq!(next_mark(b"xxjob:job:", 0..10), Some(2));
        assert_eq!(next_mark(b"xxjob:job:", 3..10), Some(6));
        assert_eq!(next_mark(b"xxjob", 0..5), None);
    }
}
