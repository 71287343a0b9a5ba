//! Reads a journal from end to end, through a window of bounded size.

use super::record::{FIRST_RECORD, Header, JobId, MAX_RECORD, Record, RowHash, SealKey, next_mark, row_hash};
use crate::disk::{self, DiskFile};
use crate::fault::DiskFault;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes that are looked at together: several of the longest records.
const WINDOW: usize = 4 << 20;

/// Where the newest row of a job stands, and which row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) sequence: u64,
    pub(super) hash: RowHash,
}

/// What a journal says.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) header: Header,
    /// Jobs that are there, with their newest row.
    pub(super) live: BTreeMap<JobId, Place>,
    /// Number of the last change that it knows.
    pub(super) sequence: u64,
    /// Where the next record goes: behind the last whole one.
    pub(super) end: u64,
    /// Whether something between whole records cannot be read: then changes may be missing. A torn end is no damage.
    pub(super) is_damaged: bool,
}

impl Contents {
    /// Reads the whole file; `None` when it does not begin like a journal.
    pub(super) fn read(file: &dyn DiskFile, path: &Path) -> Result<Option<Self>, DiskFault> {
        let mut page = vec![0; FIRST_RECORD as usize];
        let count = disk::read_some_at(file, path, &mut page, 0)?;
        let Some(header) = Header::decode(&page[..count]) else { return Ok(None) };
        let mut contents = Self { header, live: BTreeMap::new(), sequence: 0, end: FIRST_RECORD, is_damaged: false };
        let mut window = vec![0; WINDOW];
        let mut at = FIRST_RECORD;
        loop {
            let count = disk::read_some_at(file, path, &mut window, at)?;
            let is_last = count < WINDOW;
            let used = contents.take(&window[..count], at, is_last);
            if is_last {
                break;
            }
            at += used as u64;
        }
        // A snapshot was whole before its file had its name.
        contents.is_damaged |= contents.sequence < header.snapshot;
        contents.sequence = contents.sequence.max(header.sequence);
        Ok(Some(contents))
    }

    /// Takes the records of a window that begins at `base` in the file; gives the bytes that need not be looked at again.
    fn take(&mut self, window: &[u8], base: u64, is_last: bool) -> usize {
        // A record that begins behind this place may reach over the window's end.
        let safe = if is_last { window.len() } else { window.len() - MAX_RECORD };
        let mut at = 0;
        while at < safe {
            match Record::decode(&self.header.key, &window[at..]).filter(|record| record.sequence > self.sequence) {
                Some(record) => {
                    let offset = base + at as u64;
                    self.is_damaged |= offset != self.end;
                    at += record.length();
                    self.apply(&record, offset);
                }
                // Nothing whole, or the remains of an append that was taken back: the next mark may begin a record.
                None => match next_mark(window, at + 1..window.len()) {
                    Some(next) => at = next,
                    None => return safe.max(at),
                },
            }
        }
        at
    }

    fn apply(&mut self, record: &Record<'_>, offset: u64) {
        self.sequence = record.sequence;
        self.end = offset + record.length() as u64;
        match record.row {
            Some(row) => {
                let length = record.length() as u32;
                let place = Place { offset, length, sequence: record.sequence, hash: row_hash(row) };
                self.live.insert(record.job, place);
            }
            None => {
                self.live.remove(&record.job);
            }
        }
    }
}

/// Reads the row that stands at `place`; `None` when it is not there any more.
pub(super) fn read_row(
    file: &dyn DiskFile,
    path: &Path,
    key: &SealKey,
    job: &JobId,
    place: &Place,
) -> Result<Option<Vec<u8>>, DiskFault> {
    let mut bytes = vec![0; place.length as usize];
    let count = disk::read_some_at(file, path, &mut bytes, place.offset)?;
    let record = Record::decode(key, &bytes[..count]).filter(|record| record.job == *job);
    Ok(record.and_then(|record| record.row).filter(|row| row_hash(row) == place.hash).map(<[u8]>::to_vec))
}
