//! What origins answered last, kept for each file on the disk (F-45): the status and the header fields, for the owner of the job.
//!
//! A job has one file in `heads/` of the home, to which each answer is appended; what is overtaken is dropped when the file has doubled.
//! Nothing of it is in memory. Answers are sealed with the key of the jobs, since header fields may be secrets. They are with the system
//! before anything is made of them, and on the disk when their job has ended: a process that dies loses none of which anything came, a
//! machine the last ones of jobs that were running. They stay as long as their job, and of the [`KEPT`] jobs that ended last.
//!
//! Bounds: [`MAX_HEAD_BYTES`] of an answer, [`MOST_OF_JOB`] of a job, [`MOST`] of all. What finds no room is not kept, and a file that
//! broke in the middle costs the answer that stood there. No transfer fails for it.

use super::seal::JobSeal;
use crate::origin::{Head, LastHead};
use eddy_content::http::MAX_HEAD_BYTES;
use eddy_engine::{FetchId, FileRef, JobId, Owner};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

/// Jobs that have ended of which answers are kept.
const KEPT: usize = 256;
/// Bytes of one job's file.
const MOST_OF_JOB: u64 = 16 * 1024 * 1024;
/// Bytes of all of them.
const MOST: u64 = 256 * 1024 * 1024;
/// Below this a file is not looked through for what is overtaken.
const SMALL: u64 = 64 * 1024;
/// How an answer begins in a file; its length follows.
const MARK: &[u8; 8] = b"eddyhed\x01";
/// Bytes of the mark and the length.
const FRONT: usize = MARK.len() + 4;

/// What an origin answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHead {
    /// The file's place in the job.
    pub file: u32,
    /// Whose job it was then.
    pub owner: Owner,
    /// The file's URL, redacted.
    pub url: String,
    /// Where the file goes.
    pub destination: String,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The status code.
    pub status: u16,
    /// The fields; what is no text in a value is not kept.
    pub fields: Vec<(String, String)>,
    /// Whether there were more than are kept.
    pub is_cut: bool,
}

impl fmt::Debug for KeptHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptHead(file {}, {}, {} fields hidden)", self.file, self.status, self.fields.len())
    }
}

/// The answers that are kept. Clones share them.
#[derive(Clone)]
pub struct Heads(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    seal: JobSeal,
    most_of_job: u64,
    shelf: Mutex<Shelf>,
}

/// What is known of the files; whoever changes one holds it.
#[derive(Default)]
struct Shelf {
    bytes: u64,
    /// Jobs that have ended, the last one at the end.
    ended: VecDeque<JobId>,
    /// Jobs that have as much as is kept of one: few, since all have their bound.
    full: HashSet<JobId>,
}

/// A question whose answer is to be kept.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) heads: Heads,
    pub(super) file: FileRef,
    pub(super) owner: Owner,
    pub(super) url: String,
    pub(super) destination: String,
    pub(super) last: LastHead,
    pub(super) wanted: Arc<AtomicBool>,
}

/// Of which jobs answers that are under way are still wanted: not when the job was cancelled or taken since the question went.
#[derive(Debug, Default)]
pub(super) struct Wanting(HashMap<JobId, Weak<AtomicBool>>);

impl Wanting {
    /// Whether answers to the job that are asked for now are wanted when they come.
    pub(super) fn of(&mut self, job: JobId) -> Arc<AtomicBool> {
        if let Some(known) = self.0.get(&job).and_then(Weak::upgrade) {
            return known;
        }
        self.0.retain(|_, known| known.strong_count() > 0);
        let wanted = Arc::new(AtomicBool::new(true));
        self.0.insert(job, Arc::downgrade(&wanted));
        wanted
    }

    /// None of those that are under way is; what is asked for from now on is another matter. To be called before
    /// [`Heads::forget`]: an answer that is kept at the same moment is then forgotten with the others.
    pub(super) fn end(&mut self, job: JobId) {
        if let Some(wanted) = self.0.remove(&job).and_then(|known| known.upgrade()) {
            wanted.store(false, Ordering::Release);
        }
    }
}

impl Keeping {
    /// Keeps what was answered, if anything was.
    pub(super) async fn keep(self) {
        // A task that dies costs the answer and nothing else.
        let _ = tokio::task::spawn_blocking(move || self.keep_here()).await;
    }

    /// The same on this thread. Blocks on the disk.
    pub(super) fn keep_here(self) {
        let Some(head) = self.last.take() else { return };
        let (job, head) = (self.file.job, kept(&self, &head));
        if let Err(error) = self.heads.put(job, &head, &self.wanted) {
            tracing::warn!(%job, %error, "the head of an answer is not kept");
        }
    }
}

/// Answers of which the driver has not been told yet. They are kept by whoever does the next thing about their file that needs a thread:
/// one of its own for each costs more than the writing.
#[derive(Clone, Default)]
pub(super) struct Unkept(Arc<Mutex<HashMap<FetchId, Keeping>>>);

impl Unkept {
    fn all(&self) -> MutexGuard<'_, HashMap<FetchId, Keeping>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer, which the driver is told of next.
    pub(super) fn put(&self, fetch: FetchId, keeping: Keeping) {
        self.all().insert(fetch, keeping);
    }

    /// The answer that the driver has been told of.
    pub(super) fn take(&self, fetch: FetchId) -> Option<Keeping> {
        self.all().remove(&fetch)
    }
}

/// As much of an answer as is kept.
fn kept(keeping: &Keeping, head: &Head) -> KeptHead {
    let (mut fields, mut room) = (Vec::new(), MAX_HEAD_BYTES);
    for (name, value) in &head.fields {
        let Some(rest) = room.checked_sub(name.as_str().len() + value.len() + 4) else { break };
        room = rest;
        fields.push((name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    }
    KeptHead {
        file: keeping.file.file,
        owner: keeping.owner,
        url: keeping.url.clone(),
        destination: keeping.destination.clone(),
        at_unix_ms: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_millis() as u64),
        status: head.status,
        is_cut: fields.len() < head.fields.len(),
        fields,
    }
}

impl Heads {
    /// The answers of a home; nothing is looked at yet.
    #[must_use]
    pub fn of(home: &Path, seal: JobSeal) -> Self {
        Self::bounded(home, seal, MOST_OF_JOB)
    }

    fn bounded(home: &Path, seal: JobSeal, most_of_job: u64) -> Self {
        let directory = home.join("heads");
        Self(Arc::new(Shared { directory, seal, most_of_job, shelf: Mutex::default() }))
    }

    /// Looks at what is there after a start: what is of no living job is of one that has ended. Blocks on the disk.
    pub(super) fn take_over(&self, living: &HashSet<JobId>) {
        let Ok(entries) = fs::read_dir(&self.0.directory) else { return };
        let mut shelf = self.shelf();
        let mut ended = Vec::new();
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let (Some(id), Ok(about)) = (id, entry.metadata()) else { continue };
            shelf.bytes += about.len();
            if !living.contains(&id) {
                ended.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), id));
            }
        }
        ended.sort();
        for (_, id) in ended {
            self.enter(&mut shelf, id);
        }
    }

    /// Keeps an answer, if it is wanted. Blocks on the disk.
    pub(super) fn put(&self, job: JobId, head: &KeptHead, wanted: &AtomicBool) -> io::Result<()> {
        let frame = self.frame(job, head)?;
        let length = frame.len() as u64;
        let mut shelf = self.shelf();
        if !wanted.load(Ordering::Acquire) {
            return Ok(());
        }
        if shelf.full.contains(&job) {
            return Err(full("a job"));
        }
        while shelf.bytes + length > MOST {
            // What ended first is wanted least.
            let Some(oldest) = shelf.ended.pop_front() else { return Err(full("all jobs")) };
            self.remove(&mut shelf, oldest);
        }
        let (mut file, mut before) = self.open(job)?;
        let is_doubled = before > SMALL && (before + length).ilog2() != before.ilog2();
        let most = self.0.most_of_job;
        if is_doubled || before + length > most {
            let after = self.rewrite(job, &mut file)?;
            shelf.bytes = shelf.bytes.saturating_sub(before) + after;
            (file, before) = self.open(job)?;
        }
        if before + length > most {
            // Looked through for each answer it would cost more than it has room for.
            shelf.full.insert(job);
            return Err(full("a job"));
        }
        if let Err(error) = file.write_all(&frame) {
            // Half an answer is none.
            let _ = file.set_len(before);
            return Err(error);
        }
        shelf.bytes += length;
        Ok(())
    }

    /// The last answer of each file of a job, in the order of the files. Blocks on the disk.
    pub(crate) fn of_job(&self, job: JobId) -> io::Result<BTreeMap<u32, KeptHead>> {
        let _shelf = self.shelf();
        match File::open(self.path(job)) {
            Ok(mut file) => self.read(job, &mut file),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// The job has ended; what is known of it is on the disk when this returns. Blocks on the disk.
    pub(super) fn end(&self, job: JobId) {
        self.enter(&mut self.shelf(), job);
        if let Ok(file) = File::open(self.path(job)) {
            // What the disk refuses here it has, or has not, a little later.
            let _ = file.sync_data();
        }
    }

    /// Nothing is left of a job. Blocks on the disk.
    pub(super) fn forget(&self, job: JobId) {
        self.remove(&mut self.shelf(), job);
    }

    fn enter(&self, shelf: &mut Shelf, job: JobId) {
        shelf.ended.push_back(job);
        while shelf.ended.len() > KEPT {
            if let Some(oldest) = shelf.ended.pop_front() {
                self.remove(shelf, oldest);
            }
        }
    }

    fn remove(&self, shelf: &mut Shelf, job: JobId) {
        let path = self.path(job);
        shelf.full.remove(&job);
        let length = fs::metadata(&path).map_or(0, |about| about.len());
        if fs::remove_file(&path).is_ok() {
            shelf.bytes = shelf.bytes.saturating_sub(length);
        }
    }

    /// The file of a job, to be read and appended to, and its length.
    fn open(&self, job: JobId) -> io::Result<(File, u64)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::open(self.path(job), flags, Mode::RUSR | Mode::WUSR);
        let descriptor = match open() {
            Err(rustix::io::Errno::NOENT) => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.0.directory)?;
                open()
            }
            other => other,
        }?;
        let file = File::from(descriptor);
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    /// Drops what is overtaken; the new length. The old file stands until the new one does.
    fn rewrite(&self, job: JobId, file: &mut File) -> io::Result<u64> {
        let mut whole = Vec::new();
        for head in self.read(job, file)?.values() {
            whole.extend(self.frame(job, head)?);
        }
        // Not the name of a job: a crash leaves it to the next one who writes.
        let draft = self.0.directory.join("draft");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut fresh = File::from(rustix::fs::open(&draft, flags, Mode::RUSR | Mode::WUSR)?);
        fresh.write_all(&whole)?;
        fs::rename(&draft, self.path(job))?;
        Ok(whole.len() as u64)
    }

    fn read(&self, job: JobId, file: &mut File) -> io::Result<BTreeMap<u32, KeptHead>> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(self.0.most_of_job).read_to_end(&mut bytes)?;
        let (mut heads, mut rest) = (BTreeMap::new(), bytes.as_slice());
        while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
            rest = &rest[at..];
            let head = self.first(job, rest);
            // Behind what broke off the next mark is the next answer.
            let taken = head.as_ref().map_or(MARK.len(), |(_, taken)| *taken);
            heads.extend(head.map(|(head, _)| (head.file, head)));
            rest = &rest[taken..];
        }
        Ok(heads)
    }

    /// The answer that begins here, and its bytes.
    fn first(&self, job: JobId, bytes: &[u8]) -> Option<(KeptHead, usize)> {
        let length = bytes.get(MARK.len()..FRONT)?.try_into().ok().map(u32::from_le_bytes)? as usize;
        let sealed = bytes.get(FRONT..)?.get(..length)?;
        let plain = self.0.seal.open_beside(MARK, job, sealed).ok()?;
        Some((postcard::from_bytes(&plain).ok()?, FRONT + length))
    }

    fn frame(&self, job: JobId, head: &KeptHead) -> io::Result<Vec<u8>> {
        let plain = postcard::to_stdvec(head).map_err(io::Error::other)?;
        let sealed = self.0.seal.seal_beside(MARK, job, plain).map_err(io::Error::other)?;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        Ok([&MARK[..], &length.to_le_bytes(), &sealed].concat())
    }

    fn path(&self, job: JobId) -> PathBuf {
        self.0.directory.join(job.to_string())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(of: &str) -> io::Error {
    io::Error::new(ErrorKind::QuotaExceeded, format!("there are as many answers of {of} as are kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(file: u32, value: &str) -> KeptHead {
        KeptHead {
            file,
            owner: Owner(7),
            url: "https://h/f".to_owned(),
            destination: "/srv/f".to_owned(),
            at_unix_ms: 1,
            status: 200,
            fields: vec![("set-cookie".to_owned(), value.to_owned())],
            is_cut: false,
        }
    }

    static WANTED: AtomicBool = AtomicBool::new(true);

    fn values(heads: &Heads, job: JobId) -> Vec<String> {
        let all = heads.of_job(job).expect("reads");
        all.into_values().map(|head| head.fields[0].1.clone()).collect()
    }

    fn job(number: u128) -> JobId {
        JobId(number.to_be_bytes())
    }

    #[test]
    fn the_last_answer_of_each_file_survives_the_process_and_shows_nothing_on_the_disk() {
        let home = tempfile::tempdir().expect("a directory");
        let seal = JobSeal::load_or_create(home.path()).expect("a key");
        let heads = Heads::of(home.path(), seal.clone());
        for (file, value) in [(1, "first"), (0, "topsecret"), (1, "second")] {
            heads.put(job(1), &head(file, value), &WANTED).expect("kept");
        }
        assert_eq!(values(&heads, job(2)), [""; 0]);
        // Nothing is closed: the process dies.
        let again = Heads::of(home.path(), seal);
        assert_eq!(values(&again, job(1)), ["topsecret", "second"]);
        let bytes = fs::read(again.path(job(1))).expect("a file");
        assert!(!bytes.windows(9).any(|window| window == b"topsecret"));
        fs::copy(again.path(job(1)), again.path(job(2))).expect("copies");
        assert_eq!(values(&again, job(2)), [""; 0], "another job's answers are none");
        assert!(!format!("{:?}", head(0, "topsecret")).contains("topsecret"));
        again.forget(job(1));
        assert_eq!(values(&again, job(1)), [""; 0]);
    }

    #[test]
    fn an_answer_that_comes_after_its_job_was_cancelled_or_taken_is_not_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let heads = Heads::of(home.path(), JobSeal::fleeting());
        let mut wanting = Wanting::default();
        let (early, late) = (wanting.of(job(1)), wanting.of(job(1)));
        heads.put(job(1), &head(0, "early"), &early).expect("kept");
        wanting.end(job(1));
        heads.forget(job(1));
        heads.put(job(1), &head(0, "late"), &late).expect("is no error");
        assert!(!heads.path(job(1)).exists());
        heads.put(job(1), &head(0, "of its new owner"), &wanting.of(job(1))).expect("kept");
        assert_eq!(values(&heads, job(1)), ["of its new owner"]);
        assert!(wanting.0.len() <= 1, "who does not ask is not remembered");
    }

    #[test]
    fn an_answer_that_broke_off_costs_that_answer_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let heads = Heads::of(home.path(), JobSeal::fleeting());
        heads.put(job(1), &head(0, "a"), &WANTED).expect("kept");
        heads.put(job(1), &head(1, "b"), &WANTED).expect("kept");
        let bytes = fs::read(heads.path(job(1))).expect("a file");
        for cut in 1..bytes.len() {
            fs::write(heads.path(job(1)), &bytes[..cut]).expect("writes");
            heads.put(job(1), &head(2, "c"), &WANTED).expect("kept");
            let (all, is_first_whole) = (values(&heads, job(1)), cut >= bytes.len() / 2);
            assert_eq!(all, if is_first_whole { vec!["a", "c"] } else { vec!["c"] }, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_overtaken_takes_no_room_for_long_and_a_job_has_its_bound() {
        let home = tempfile::tempdir().expect("a directory");
        let heads = Heads::bounded(home.path(), JobSeal::fleeting(), 1 << 20);
        let long = "x".repeat(20_000);
        for _ in 0..40 {
            heads.put(job(1), &head(0, &long), &WANTED).expect("kept");
        }
        let length = fs::metadata(heads.path(job(1))).expect("a file").len();
        assert!(length < 4 * SMALL, "{length}");
        assert_eq!(heads.shelf().bytes, length, "what is counted is there");
        let refused = (0..80).map(|file| heads.put(job(1), &head(file, &long), &WANTED)).filter(Result::is_err).count();
        assert!((20..40).contains(&refused), "{refused}");
        let length = fs::metadata(heads.path(job(1))).expect("a file").len();
        assert!(length <= 1 << 20 && heads.shelf().bytes == length, "{length}");
        assert_eq!(values(&heads, job(1)).len() + refused, 80);
    }

    #[test]
    fn of_jobs_that_have_ended_the_last_are_kept_also_over_a_restart() {
        let home = tempfile::tempdir().expect("a directory");
        let seal = JobSeal::fleeting();
        let heads = Heads::of(home.path(), seal.clone());
        let most = KEPT as u128;
        for number in 0..most + 2 {
            heads.put(job(number), &head(0, "v"), &WANTED).expect("kept");
            heads.end(job(number));
        }
        assert_eq!([0, 1, 2].map(|number| values(&heads, job(number)).len()), [0, 0, 1]);
        heads.put(job(most + 9), &head(0, "lives"), &WANTED).expect("kept");
        let again = Heads::of(home.path(), seal);
        again.take_over(&HashSet::from([job(most + 9)]));
        assert_eq!(again.shelf().bytes, heads.shelf().bytes);
        for number in 0..most {
            again.put(job(1000 + number), &head(0, "v"), &WANTED).expect("kept");
            again.end(job(1000 + number));
        }
        assert_eq!(values(&again, job(most + 1)).len(), 0, "others have ended since");
        assert_eq!(values(&again, job(most + 9)), ["lives"], "who lives keeps its own");
    }
}
