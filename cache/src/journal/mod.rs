//! The journal: every change of a job's row a second time, in a file of its own beside the index (C-22).
//!
//! No loss of one file loses a job: an index that is lost, damaged or an older copy gets its jobs back from the journal,
//! a journal that is lost or damaged is made again from the index ([`reconcile`]). A change is appended and synced before
//! the index transaction that carries it begins, and acknowledged after that; so the journal is ahead of the index by
//! changes that nobody was told of, or level with it. Every change has a sequence number, and the index notes the last one
//! that it has: the higher number wins.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`record`] | how does a change stand in the file? |
//! | [`scan`] | what does a file say, and is it whole? |
//! | [`reconcile`] | who is right when journal and index differ? |

mod reconcile;
mod record;
mod scan;
#[cfg(test)]
mod tests;

use crate::disk::{self, Disk, OpenFile};
use crate::fault::DiskFault;
use crate::index::Index;
use record::{FIRST_RECORD, Header, Record, SealKey, row_hash};
use scan::{Contents, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use reconcile::{Reconciled, open};
pub(crate) use record::JobId;

/// The file's name in the store's directory.
pub(crate) const NAME: &str = "jobs.journal";
/// The name under which a file is written that is to become the journal.
pub(crate) const NEW_NAME: &str = "jobs.journal.new";
/// Room that is set aside at once for records to come: appending inside it changes no length and finds room on a full disk.
const ROOM: u64 = 64 * 1024;
/// Dead bytes below which the file is not made anew.
const LEAST_DEAD: u64 = 1 << 20;
/// Bytes that are written at once when the file is made anew.
const PIECE: usize = 256 * 1024;

/// A change of one job's row; `None` removes it.
pub(crate) type JobChange<'c> = (JobId, Option<&'c [u8]>);

/// The open journal. It belongs to the one thread that writes the index.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    path: PathBuf,
    /// `None` until the file was made.
    file: Option<OpenFile>,
    key: SealKey,
    /// Where the next record goes.
    end: u64,
    /// Where the room ends that is set aside.
    room: u64,
    /// Number of the last change; those of changes that failed are not used again.
    sequence: u64,
    live: BTreeMap<JobId, Place>,
    live_bytes: u64,
    /// A sync failed: what is in the file is unknown, and it is made anew before anything is appended (C-08).
    is_doubtful: bool,
}

/// What an append did, to be taken back if the index does not follow.
#[derive(Debug)]
pub(crate) struct Appended {
    /// Number of the last change of it.
    pub(crate) sequence: u64,
    start: u64,
    before: Vec<(JobId, Option<Place>)>,
}

impl Journal {
    fn new(disk: &Arc<dyn Disk>, root: &Path) -> Self {
        Self {
            disk: Arc::clone(disk),
            root: root.to_owned(),
            path: root.join(NAME),
            file: None,
            key: [0; 32],
            end: FIRST_RECORD,
            room: 0,
            sequence: 0,
            live: BTreeMap::new(),
            live_bytes: 0,
            is_doubtful: false,
        }
    }

    /// Takes over a file as it was read.
    fn adopt(&mut self, file: OpenFile, contents: Contents) -> Result<(), DiskFault> {
        self.room = file.length().map_err(|e| DiskFault::new("measure", &self.path, e))?;
        self.file = Some(file);
        self.key = contents.header.key;
        (self.end, self.sequence) = (contents.end, contents.sequence);
        self.live_bytes = contents.live.values().map(|place| u64::from(place.length)).sum();
        self.live = contents.live;
        Ok(())
    }

    /// Appends changes, durable when this returns. After an error none of them is in the journal as far as can be known.
    ///
    /// `index` is asked for rows that cannot be read here when the file must be made anew.
    pub(crate) fn append(&mut self, changes: &[JobChange<'_>], index: &Index) -> Result<Appended, DiskFault> {
        let file = self.ready(index)?;
        let start = self.end;
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        for &(job, row) in changes {
            self.sequence += 1;
            let record = Record { sequence: self.sequence, job, row };
            let place = row.map(|row| Place {
                offset: start + bytes.len() as u64,
                length: record.length() as u32,
                sequence: self.sequence,
                hash: row_hash(row),
            });
            places.push((job, place));
            record.encode(&self.key, &mut bytes);
        }
        let end = start + bytes.len() as u64;
        let room = if end > self.room { end.next_multiple_of(ROOM) } else { self.room };
        if room > self.room {
            bytes.resize((room - start) as usize, 0);
        }
        if let Err(fault) = disk::write_at(&*file, &self.path, &bytes, start) {
            self.blank(&file, start..end);
            return Err(fault);
        }
        disk::sync_bytes(&*file, &self.path).inspect_err(|_| self.is_doubtful = true)?;
        (self.end, self.room) = (end, room);
        let before = places.into_iter().map(|(job, place)| (job, self.note(job, place))).collect();
        Ok(Appended { sequence: self.sequence, start, before })
    }

    /// Takes changes back that the index refused, so that the next start does not bring them.
    pub(crate) fn take_back(&mut self, appended: Appended) {
        for (job, place) in appended.before.into_iter().rev() {
            self.note(job, place);
        }
        let taken = appended.start..self.end;
        self.end = appended.start;
        let Some(file) = self.file.clone() else { return };
        self.blank(&file, taken);
        if let Err(error) = disk::sync_bytes(&*file, &self.path) {
            tracing::warn!(%error, "changes of jobs that failed may come back with the next start");
            self.is_doubtful = true;
        }
    }

    /// The file, fit to be appended to; made anew when it must be, or when most of it is dead.
    fn ready(&mut self, index: &Index) -> Result<OpenFile, DiskFault> {
        let dead = self.end.saturating_sub(FIRST_RECORD + self.live_bytes);
        if self.is_doubtful || self.file.is_none() {
            self.make_anew(index)?;
        } else if dead > LEAST_DEAD && dead > self.live_bytes {
            // A journal that stays long is no reason to refuse a job.
            if let Err(error) = self.make_anew(index) {
                tracing::warn!(%error, "the job journal could not be made shorter");
            }
        }
        match &self.file {
            Some(file) if !self.is_doubtful => Ok(Arc::clone(file)),
            _ => Err(DiskFault::new("make", &self.path, std::io::Error::other("the job journal is not usable"))),
        }
    }

    /// Writes the jobs that are there into a new file and puts it in the place of the old one (C-04).
    fn make_anew(&mut self, index: &Index) -> Result<(), DiskFault> {
        let disk = Arc::clone(&self.disk);
        let made_at = self.root.join(NEW_NAME);
        disk::unlink(&*disk, &made_at)?;
        let file = disk::create(&*disk, &made_at)?;
        self.sequence = self.sequence.max(self.live.len() as u64);
        let key: SealKey = rand::random();
        let (live, end) = self.write_snapshot(&*file, &made_at, &key, index)?;
        disk::sync_all(&*file, &made_at)?;
        disk::rename(&*disk, &made_at, &self.path)?;
        // From here on the new file is the journal; only its name may not be durable yet.
        self.live_bytes = live.values().map(|place| u64::from(place.length)).sum();
        (self.file, self.key, self.live) = (Some(file), key, live);
        (self.end, self.room) = (end, end.next_multiple_of(ROOM));
        self.is_doubtful = true;
        disk::sync_directory(&*disk, &self.root)?;
        self.is_doubtful = false;
        Ok(())
    }

    /// Writes header, live rows and room; gives where the rows stand and where they end.
    fn write_snapshot(
        &self,
        file: &dyn disk::DiskFile,
        path: &Path,
        key: &SealKey,
        index: &Index,
    ) -> Result<(BTreeMap<JobId, Place>, u64), DiskFault> {
        let mut live = BTreeMap::new();
        let (mut buffer, mut written) = (Vec::new(), FIRST_RECORD);
        let mut sequence = self.sequence - self.live.len() as u64;
        for (&job, place) in &self.live {
            let Some(row) = self.row(&job, place, index)? else {
                tracing::error!("a job's row can be read neither in the journal nor in the index: lost");
                continue;
            };
            sequence += 1;
            let record = Record { sequence, job, row: Some(&row) };
            let offset = written + buffer.len() as u64;
            live.insert(job, Place { offset, length: record.length() as u32, sequence, hash: row_hash(&row) });
            record.encode(key, &mut buffer);
            if buffer.len() >= PIECE {
                disk::write_at(file, path, &buffer, written)?;
                written += buffer.len() as u64;
                buffer.clear();
            }
        }
        let end = written + buffer.len() as u64;
        buffer.resize(buffer.len() + (end.next_multiple_of(ROOM) - end) as usize, 0);
        disk::write_at(file, path, &buffer, written)?;
        let snapshot = if live.is_empty() { 0 } else { sequence };
        let header = Header { key: *key, sequence: self.sequence, snapshot };
        disk::write_at(file, path, &header.encode(), 0)?;
        Ok((live, end))
    }

    /// A row from the file as it is, or from the index.
    fn row(&self, job: &JobId, place: &Place, index: &Index) -> Result<Option<Vec<u8>>, DiskFault> {
        if let Some(file) = &self.file {
            let header = Header { key: self.key, sequence: 0, snapshot: 0 };
            if let Some(row) = scan::read_row(&**file, &self.path, &header, job, place)? {
                return Ok(Some(row));
            }
        }
        Ok(index.job(job).unwrap_or_else(|error| {
            tracing::error!(%error, "a job's row cannot be read");
            None
        }))
    }

    /// Notes where a job's newest row is; gives where it was.
    fn note(&mut self, job: JobId, place: Option<Place>) -> Option<Place> {
        let before = match place {
            Some(place) => self.live.insert(job, place),
            None => self.live.remove(&job),
        };
        self.live_bytes += place.map_or(0, |place| u64::from(place.length));
        self.live_bytes -= before.map_or(0, |place| u64::from(place.length));
        before
    }

    /// Overwrites what must not be read as records, as well as the disk lets it.
    fn blank(&self, file: &OpenFile, place: std::ops::Range<u64>) {
        let zeros = vec![0; (place.end - place.start) as usize];
        if let Err(error) = disk::write_at(&**file, &self.path, &zeros, place.start) {
            tracing::debug!(%error, "the remains of a failed change stay in the job journal");
        }
    }
}
