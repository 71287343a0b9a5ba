//! The journal: every change of a job's row a second time, in a file of its own beside the index (C-22).
//!
//! No loss of one file loses a job: an index that is lost, damaged or an older copy gets its jobs back from the journal,
//! a journal that is lost or damaged is made again from the index ([`reconcile`]). A change is appended and synced after
//! the index transaction that carries it, and acknowledged after that. So while the index is well, it alone says what is
//! so, and the journal is level with it or behind by changes that nobody was told of; what a failed append leaves in the
//! file can never come back. Every change has a sequence number, and the index notes the last one that it has: a journal
//! with a higher number tells of an index that is lost or an older copy.
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

pub(crate) use reconcile::{Agreement, Reconciled, compare, open};
pub(crate) use record::JobId;

/// The file's name in the store's directory.
pub(crate) const NAME: &str = "jobs.journal";
/// The name under which a file is written that is to become the journal.
pub(crate) const NEW_NAME: &str = "jobs.journal.new";
/// Room that is set aside at once for records to come: appending inside it changes no length and finds room on a full disk.
const ROOM: u64 = 64 * 1024;
/// Dead bytes below which the file is not made anew.
const LEAST_DEAD: u64 = 1 << 20;
/// Room that must be left when the file is made shorter, while both stand side by side: others need some, too.
const SPARE: u64 = 1 << 20;
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
    /// Number of the last change; those of changes that the index refused are not used again.
    sequence: u64,
    live: BTreeMap<JobId, Place>,
    live_bytes: u64,
    /// Changes may be missing or unknown (C-08): the file is made anew before anything is appended.
    is_doubtful: bool,
    /// Nobody knows whether the index took some changes in: when it can be asked, what it has is what is to stand here.
    follows_index: bool,
    /// Dead bytes when the file could not be made shorter; 0 when it could.
    dead_when_refused: u64,
}

/// A file that is to become the journal.
struct Made {
    file: OpenFile,
    key: SealKey,
    live: BTreeMap<JobId, Place>,
    end: u64,
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
            follows_index: false,
            dead_when_refused: 0,
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

    /// The number of the first of `count` changes that the index is to take in, and of the last.
    pub(crate) fn number(&mut self, count: usize) -> (u64, u64) {
        let first = self.sequence + 1;
        self.sequence += count as u64;
        (first, self.sequence)
    }

    /// Appends changes that are in the index, numbered from `first` on; durable when this returns.
    ///
    /// After an error the file is made anew, with them, before the next append or by the next start.
    pub(crate) fn append(&mut self, first: u64, changes: &[JobChange<'_>], index: &Index) -> Result<(), DiskFault> {
        let appended = self.ready(index, first - 1).and_then(|file| self.write(&file, first, changes));
        if appended.is_err() {
            self.is_doubtful = true;
            // They stand nowhere and come from the index when the file is made anew; should that not have them any more, an older
            // row is better than none.
            for (sequence, &(job, row)) in (first..).zip(changes) {
                let older = self.live.get(&job).copied();
                let nowhere = |row| Place { offset: 0, length: 0, sequence, hash: row_hash(row) };
                self.note(job, row.map(|row| older.unwrap_or_else(|| nowhere(row))));
            }
        }
        appended
    }

    fn write(&mut self, file: &OpenFile, first: u64, changes: &[JobChange<'_>]) -> Result<(), DiskFault> {
        let start = self.end;
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for (sequence, &(job, row)) in (first..).zip(changes) {
            let record = Record { sequence, job, row };
            let (offset, length) = (start + bytes.len() as u64, record.length() as u32);
            places.push((job, row.map(|row| Place { offset, length, sequence, hash: row_hash(row) })));
            record.encode(&self.key, &mut bytes);
        }
        let end = start + bytes.len() as u64;
        if end > self.room {
            let room = end.next_multiple_of(ROOM);
            bytes.resize((room - start) as usize, 0);
            disk::write_at(&**file, &self.path, &bytes, start)?;
            self.room = room;
        } else {
            disk::write_at(&**file, &self.path, &bytes, start)?;
        }
        disk::sync_bytes(&**file, &self.path)?;
        self.end = end;
        for (job, place) in places {
            self.note(job, place);
        }
        Ok(())
    }

    /// Makes the file anew from what the index has, before anything is appended.
    pub(crate) fn follow_the_index(&mut self) {
        (self.is_doubtful, self.follows_index) = (true, true);
    }

    /// The file, fit to be appended to; made anew when it must be, or when most of it is dead. `known` is the number of the
    /// last change that is in `live`.
    fn ready(&mut self, index: &Index, known: u64) -> Result<OpenFile, DiskFault> {
        if self.follows_index {
            let found = reconcile::places_in(index, &self.live);
            self.live = found.map_err(|e| DiskFault::new("make", &self.path, std::io::Error::other(e)))?;
            self.follows_index = false;
        }
        let dead = self.end.saturating_sub(FIRST_RECORD + self.live_bytes);
        if self.is_doubtful || self.file.is_none() {
            self.make_anew(index, known)?;
        } else if self.is_to_be_shortened(dead) {
            // A journal that stays long is no reason to refuse a job.
            if let Err(error) = self.make_anew(index, known) {
                tracing::warn!(%error, "the job journal could not be made shorter");
                self.dead_when_refused = dead;
            }
        }
        match &self.file {
            Some(file) if !self.is_doubtful => Ok(Arc::clone(file)),
            _ => Err(DiskFault::new("make", &self.path, std::io::Error::other("the job journal is not usable"))),
        }
    }

    /// Whether most of the file is dead, and the disk has room for both while it is made shorter. After a refusal that is tried again
    /// when twice as much is dead.
    fn is_to_be_shortened(&self, dead: u64) -> bool {
        if dead <= LEAST_DEAD || dead <= self.live_bytes || dead < self.dead_when_refused.saturating_mul(2) {
            return false;
        }
        let need = FIRST_RECORD + self.live_bytes + ROOM + SPARE;
        disk::volume(&*self.disk, &self.root).is_ok_and(|volume| volume.available >= need)
    }

    /// Writes the jobs that are there, as of change `known`, into a new file and puts it in the place of the old one (C-04).
    fn make_anew(&mut self, index: &Index, known: u64) -> Result<(), DiskFault> {
        let disk = Arc::clone(&self.disk);
        let made_at = self.root.join(NEW_NAME);
        disk::unlink(&*disk, &made_at)?;
        let made = self.make_at(&made_at, index, known).and_then(|made| {
            disk::rename(&*disk, &made_at, &self.path)?;
            Ok(made)
        });
        let Made { file, key, live, end } = made.inspect_err(|_| {
            // What did not become the journal must not take the room that the journal needs; the next attempt removes it, too.
            let _ = disk::unlink(&*disk, &made_at);
        })?;
        self.dead_when_refused = 0;
        // From here on the new file is the journal; only its name may not be durable yet.
        self.live_bytes = live.values().map(|place| u64::from(place.length)).sum();
        (self.file, self.key, self.live) = (Some(file), key, live);
        (self.end, self.room) = (end, end.next_multiple_of(ROOM));
        self.is_doubtful = true;
        disk::sync_directory(&*disk, &self.root)?;
        self.is_doubtful = false;
        Ok(())
    }

    /// Writes the new file, and makes it durable under the name that is not the journal's.
    fn make_at(&self, path: &Path, index: &Index, known: u64) -> Result<Made, DiskFault> {
        let file = disk::create(&*self.disk, path)?;
        let key: SealKey = rand::random();
        let (live, end) = self.write_snapshot(&*file, path, Header { key, sequence: known, snapshot: 0 }, index)?;
        disk::sync_all(&*file, path)?;
        Ok(Made { file, key, live, end })
    }

    /// Writes header, live rows and room; gives where the rows stand and where they end.
    fn write_snapshot(
        &self,
        file: &dyn disk::DiskFile,
        path: &Path,
        header: Header,
        index: &Index,
    ) -> Result<(BTreeMap<JobId, Place>, u64), DiskFault> {
        let mut live = BTreeMap::new();
        let (mut buffer, mut written) = (Vec::new(), FIRST_RECORD);
        let mut sequence = header.sequence.saturating_sub(self.live.len() as u64);
        for (&job, place) in &self.live {
            let Some(row) = self.row(&job, place, index)? else {
                tracing::error!("a job's row can be read neither in the journal nor in the index: lost");
                continue;
            };
            sequence += 1;
            let record = Record { sequence, job, row: Some(&row) };
            let offset = written + buffer.len() as u64;
            live.insert(job, Place { offset, length: record.length() as u32, sequence, hash: row_hash(&row) });
            record.encode(&header.key, &mut buffer);
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
        let header = Header { snapshot, ..header };
        disk::write_at(file, path, &header.encode(), 0)?;
        Ok((live, end))
    }

    /// A row from the index, or from the file as it is when the index cannot say. What neither can say now, and the index may have, is
    /// an error: the file is not given up for one that lacks it.
    fn row(&self, job: &JobId, place: &Place, index: &Index) -> Result<Option<Vec<u8>>, DiskFault> {
        let refused = match index.job(job) {
            Ok(Some(row)) => return Ok(Some(row)),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if let Some(file) = &self.file
            && let Some(row) = scan::read_row(&**file, &self.path, &self.key, job, place)?
        {
            return Ok(Some(row));
        }
        match refused {
            Some(error) => Err(DiskFault::new("make", &self.path, std::io::Error::other(error))),
            None => Ok(None),
        }
    }

    /// Notes where a job's newest row is.
    fn note(&mut self, job: JobId, place: Option<Place>) {
        let before = match place {
            Some(place) => self.live.insert(job, place),
            None => self.live.remove(&job),
        };
        self.live_bytes += place.map_or(0, |place| u64::from(place.length));
        self.live_bytes -= before.map_or(0, |place| u64::from(place.length));
    }
}
