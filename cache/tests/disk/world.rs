//! A store at work: carries out one step after another, and keeps the truth about it.

use crate::entities::{TAGS, account, entity, geometry, key, length, lies_in_index, right_bytes, right_hashes};
use crate::support::{ORIGIN, PEER};
use crate::truth::{Promise, Truth, row_of};
use eddy_cache::disk::Disk;
use eddy_cache::{
    AdmitError, CheckReport, Delivered, Depth, EntityHandle, LedgerEntry, Limits, Pin, Quota, ReadError, RemoveOutcome,
    Repair, Reserve, Store, StoreConfig, StoreError, StoredStatement, Waste, WriteError, check_on,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the bytes of a write come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Origin,
    Peer,
    /// A peer that sends a wrong byte in the first block.
    Liar,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Admit(u64),
    Write {
        tag: u64,
        blocks: Range<u32>,
        from: From,
    },
    Statements {
        tag: u64,
        count: u32,
    },
    Commit(u64),
    Read {
        tag: u64,
        blocks: Range<u32>,
    },
    LetGo(u64),
    Remove(u64),
    Clear,
    PutJob(u8, u64),
    RemoveJob(u8),
    Record(u64),
    Pin(u64, Pin),
    /// Other limits: so many bytes.
    Limit(u64),
    Verify(u64),
    Scrub,
    Secret,
    Ask,
    Reopen,
}

/// Why a step was refused.
pub(crate) type Trouble = Box<dyn Error>;

/// A store, those who use it, and what it has said.
pub(crate) struct World {
    disk: Arc<dyn Disk>,
    config: StoreConfig,
    store: Option<Store>,
    handles: BTreeMap<u64, EntityHandle>,
    pub(crate) truth: Truth,
    /// The disk may keep files that are to go: then others go in their place.
    pub(crate) may_keep_files: bool,
}

/// A store in `directory` that may use `quota` bytes.
pub(crate) fn config(directory: &Path, quota: u64) -> StoreConfig {
    let directory = PathBuf::from(directory);
    StoreConfig { directory, quota: Quota::Bytes(quota), reserve: Reserve::Bytes(0) }
}

/// Whether a step may drop the handle on an entity.
fn lets_go(step: &Step, tag: u64) -> bool {
    match step {
        Step::Remove(other) | Step::LetGo(other) => tag == *other,
        Step::Clear | Step::Reopen => true,
        // When room is needed, all others are let go.
        Step::Admit(other) | Step::Write { tag: other, .. } | Step::Statements { tag: other, .. } => tag != *other,
        Step::Commit(other) => tag != *other,
        _ => false,
    }
}

impl World {
    /// A world whose store is not open yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, config: StoreConfig, truth: Truth) -> Self {
        Self { disk, config, store: None, handles: BTreeMap::new(), truth, may_keep_files: false }
    }

    /// Opens the store.
    pub(crate) fn open(&mut self) -> Result<&Store, Trouble> {
        if self.store.is_none() {
            self.store = Some(Store::open_on(self.config.clone(), Arc::clone(&self.disk))?);
        }
        self.store.as_ref().ok_or_else(|| "closed".into())
    }

    /// Opens the store and holds it against the truth.
    pub(crate) fn open_and_hold(&mut self) {
        if let Err(error) = self.open() {
            panic!("the store does not open: {error}");
        }
        let Self { store: Some(store), truth, .. } = self else { return };
        truth.hold(store);
    }

    /// Closes the store, whoever used it.
    pub(crate) fn close(&mut self) {
        self.handles.clear();
        self.store = None;
    }

    /// Closes the store and has it checked by what is also `eddy doctor --strict`. Where nothing was promised but that nothing
    /// wrong is given out, all that a repair is said to mend is mended by one.
    pub(crate) fn close_and_check(&mut self) {
        self.close();
        let check = |repair| check_on(&self.config.directory, &self.disk, Depth::Strict, repair);
        let found = check(Repair::No).unwrap_or_else(|error| panic!("the check refuses: {error}"));
        if self.truth.promise() == Promise::Full {
            assert!(found.is_sound(), "a store that lost nothing is not sound: {found}");
            return;
        }
        let is_fixable = |report: &CheckReport| report.findings.iter().any(|f| f.is_fixable && !f.is_fixed);
        if is_fixable(&found) {
            let mended = check(Repair::Yes).unwrap_or_else(|error| panic!("the repair refuses: {error}"));
            assert!(!is_fixable(&mended), "a repair does not mend what it says: {mended}");
        }
    }

    /// How often the store opened its index again.
    pub(crate) fn reopened(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.index_troubles().reopened)
    }

    /// Puts the store onto another disk; it must be closed.
    pub(crate) fn move_to(&mut self, disk: Arc<dyn Disk>) {
        assert!(self.store.is_none(), "an open store stays where it is");
        self.disk = disk;
    }

    /// Says what may change from here on.
    pub(crate) fn announce(&mut self, step: &Step) {
        if self.is_overfull() {
            // What is beyond a smaller limit goes as soon as nobody has a handle on it.
            self.may_lose_what_is_not_pinned();
        }
        // A small one that was let in gets its row when its handle goes, at the latest.
        for tag in (0..TAGS).filter(|tag| lies_in_index(*tag) && lets_go(step, *tag)) {
            self.truth.may_become(tag, true);
        }
        match step {
            Step::Admit(tag) | Step::Write { tag, .. } | Step::Statements { tag, .. } | Step::Commit(tag) => {
                if !self.truth.is_here(*tag) || !self.handles.contains_key(tag) {
                    self.truth.may_become(*tag, true);
                    self.announce_evictions(*tag);
                }
            }
            Step::Remove(tag) => self.truth.may_become(*tag, false),
            Step::Clear => {
                self.may_lose_what_is_not_pinned();
            }
            Step::PutJob(job, version) => self.truth.job_may_become(*job, Some(*version)),
            Step::RemoveJob(job) => self.truth.job_may_become(*job, None),
            Step::Pin(tag, pin) => {
                // A small one that is being fetched gets its row with the pin.
                if self.handles.contains_key(tag) {
                    self.truth.may_become(*tag, true);
                }
                self.truth.pin_may_become(*tag, *pin == Pin::Pinned);
            }
            Step::Limit(_) => self.may_lose_what_is_not_pinned(),
            Step::Verify(_) | Step::Scrub => {}
            Step::Read { .. } | Step::LetGo(_) | Step::Record(_) | Step::Secret | Step::Ask | Step::Reopen => {}
        }
    }

    /// Whether the store holds more than its limit, or does not say.
    fn is_overfull(&self) -> bool {
        let Some(store) = &self.store else { return false };
        store.usage().map_or(true, |usage| usage.used > usage.quota)
    }

    fn may_lose_what_is_not_pinned(&mut self) {
        for tag in 0..TAGS {
            if !self.truth.is_surely_pinned(tag) {
                self.truth.may_become(tag, false);
            }
        }
    }

    /// Whatever may have to go for this entity.
    fn announce_evictions(&mut self, tag: u64) {
        // In the index a block takes a page of twice its size.
        let need = 2 * length(tag) + 32 * 1024;
        let plan = self.store.as_ref().and_then(|store| store.plan_eviction(need).ok());
        let plan = plan.filter(|plan| plan.refused.is_none());
        for other in 0..TAGS {
            let id = entity(other).entity.id();
            // Where no plan can be had, a smaller need may still be met by anything.
            let goes = self.may_keep_files
                || plan.as_ref().is_none_or(|plan| plan.victims.iter().any(|victim| victim.id == id));
            if goes && !self.truth.is_surely_pinned(other) {
                self.truth.may_become(other, false);
            }
        }
    }

    /// Announces a step and carries it out.
    pub(crate) fn take(&mut self, step: &Step) -> Result<(), Trouble> {
        self.announce(step);
        self.carry_out(step)
    }

    /// Carries out a step that was announced.
    pub(crate) fn carry_out(&mut self, step: &Step) -> Result<(), Trouble> {
        if matches!(step, Step::Reopen) {
            self.close();
        }
        self.open()?;
        match step {
            Step::Admit(tag) => self.admit(*tag).map(drop),
            Step::Write { tag, blocks, from } => self.write(*tag, blocks.clone(), *from),
            Step::Statements { tag, count } => self.put_statements(*tag, *count),
            Step::Commit(tag) => self.commit(*tag),
            Step::Read { tag, blocks } => self.read(*tag, blocks.clone()),
            Step::LetGo(tag) => {
                self.handles.remove(tag);
                Ok(())
            }
            Step::Remove(tag) => self.remove(*tag),
            Step::Clear => self.clear(),
            Step::PutJob(job, version) => self.put_job(*job, Some(*version)),
            Step::RemoveJob(job) => self.put_job(*job, None),
            Step::Record(tag) => self.record(*tag),
            Step::Pin(tag, pin) => self.pin(*tag, *pin),
            Step::Limit(quota) => self.limit(*quota),
            Step::Verify(tag) => self.verify(*tag),
            Step::Scrub => {
                let step = self.store()?.scrub_step(256 * 1024)?;
                assert!(step.corrupt == 0 || self.truth.promise() == Promise::NothingWrong, "rot without a cause");
                Ok(())
            }
            Step::Secret => Ok(self.store()?.set_lookup_secret(Some(key()))?),
            Step::Ask | Step::Reopen => self.ask(),
        }
    }

    /// Writes or removes a job's row.
    fn put_job(&mut self, job: u8, version: Option<u64>) -> Result<(), Trouble> {
        match version {
            Some(version) => self.store()?.put_job([job; 16], &row_of(job, version))?,
            None => self.store()?.remove_job([job; 16])?,
        }
        self.truth.job_became(job, version);
        Ok(())
    }

    fn store(&self) -> Result<&Store, Trouble> {
        self.store.as_ref().ok_or_else(|| "closed".into())
    }

    /// The handle on an entity, which is let in if it is not here.
    fn admit(&mut self, tag: u64) -> Result<EntityHandle, Trouble> {
        if let Some(handle) = self.handles.get(&tag) {
            return Ok(handle.clone());
        }
        self.truth.may_be_new(tag);
        let handle = match self.begin_with_room(tag) {
            // Everything else is pinned, until it is not.
            Err(AdmitError::NoRoom { .. }) => {
                for other in 0..TAGS {
                    self.truth.pin_may_become(other, false);
                    self.pin(other, Pin::Free)?;
                }
                self.may_lose_what_is_not_pinned();
                self.begin_with_room(tag)?
            }
            other => other?,
        };
        // One that lies in the index has its row with its first commit, or when its last handle goes.
        if !lies_in_index(tag) {
            self.truth.came(tag);
        }
        self.handles.insert(tag, handle.clone());
        self.ask()?;
        Ok(handle)
    }

    /// The handle on an entity; where everything else is in use, it is let go.
    fn begin_with_room(&mut self, tag: u64) -> Result<EntityHandle, AdmitError> {
        let Some(store) = self.store.clone() else { return Err(StoreError::Closing.into()) };
        match store.begin(entity(tag)) {
            Err(AdmitError::NoRoom { .. }) => {
                self.handles.clear();
                self.may_lose_what_is_not_pinned();
                store.begin(entity(tag))
            }
            other => other,
        }
    }

    /// Takes what the store says of whatever is not settled.
    fn ask(&mut self) -> Result<(), Trouble> {
        let Self { store: Some(store), truth, .. } = self else { return Err("closed".into()) };
        truth.ask(store);
        for tag in self.handles.keys().filter(|tag| lies_in_index(**tag)) {
            self.truth.may_become(*tag, true);
        }
        Ok(())
    }

    fn write(&mut self, tag: u64, blocks: Range<u32>, from: From) -> Result<(), Trouble> {
        let handle = self.admit(tag)?;
        let blocks = blocks.start.min(geometry(tag).block_count())..blocks.end.min(geometry(tag).block_count());
        if blocks.is_empty() {
            return Ok(());
        }
        let mut bytes = right_bytes(tag, blocks.clone()).to_vec();
        let writer = handle.writer(blocks.start, if from == From::Origin { ORIGIN } else { PEER }, account(tag));
        let mut writer = match from {
            From::Origin => writer,
            From::Peer | From::Liar => writer.expect(right_hashes(tag, blocks.clone())),
        };
        if from == From::Liar {
            bytes[0] ^= 1;
        }
        for part in bytes.chunks(50_000) {
            match writer.push(part) {
                Err(WriteError::WrongBlock { .. }) if from == From::Liar => return Ok(()),
                other => other.map(|_| ())?,
            }
        }
        assert!(from != From::Liar, "a wrong block was taken");
        writer.finish()?;
        Ok(())
    }

    fn put_statements(&mut self, tag: u64, count: u32) -> Result<(), Trouble> {
        let statement = |first_block| StoredStatement { first_block, count: 1, bytes: vec![first_block as u8; 200] };
        let statements: Vec<_> = (0..count).map(statement).collect();
        self.admit(tag)?.put_statements(&statements);
        Ok(())
    }

    fn commit(&mut self, tag: u64) -> Result<(), Trouble> {
        let handle = self.admit(tag)?;
        let blocks = handle.commit()?;
        self.truth.came(tag);
        let bytes = blocks.runs().map(|run| right_bytes(tag, run).len() as u64).sum();
        self.truth.holds(tag, &blocks, bytes);
        Ok(())
    }

    fn read(&mut self, tag: u64, blocks: Range<u32>) -> Result<(), Trouble> {
        let Some(handle) = self.handles.get(&tag) else { return Ok(()) };
        let mut bytes = Vec::new();
        for run in handle.held().intersection(&eddy_content::BlockSet::from_run(blocks)).runs() {
            match handle.read_run(run.clone(), &mut bytes) {
                Ok(()) => assert!(bytes == right_bytes(tag, run), "wrong bytes of {tag} are given out"),
                Err(error @ ReadError::Corrupt { .. }) => {
                    assert!(self.truth.promise() == Promise::NothingWrong, "{tag}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remove(&mut self, tag: u64) -> Result<(), Trouble> {
        self.handles.remove(&tag);
        match self.store()?.remove(&entity(tag).entity.id())? {
            RemoveOutcome::Removed { .. } | RemoveOutcome::NotFound => self.truth.went(tag),
            RemoveOutcome::InUse => panic!("nobody uses {tag}"),
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Trouble> {
        self.handles.clear();
        let outcome = self.store()?.clear()?;
        assert_eq!(outcome.in_use, 0);
        for tag in 0..TAGS {
            if self.truth.is_surely_free(tag) {
                self.truth.went(tag);
            }
        }
        let Self { store: Some(store), truth, .. } = self else { return Err("closed".into()) };
        truth.ask(store);
        Ok(())
    }

    /// Pins an entity or lets it go.
    fn pin(&mut self, tag: u64, pin: Pin) -> Result<(), Trouble> {
        let is_here = self.store()?.pin(&entity(tag).entity.id(), pin)?;
        if is_here {
            self.truth.came(tag);
        }
        self.truth.pin_became(tag, is_here && pin == Pin::Pinned);
        Ok(())
    }

    /// Sets the quota, for this store and those that are opened later.
    fn limit(&mut self, quota: u64) -> Result<(), Trouble> {
        let limits = Limits { quota: Quota::Bytes(quota), ..self.store()?.limits() };
        self.config.quota = limits.quota;
        self.store()?.set_limits(limits)?;
        let Self { store: Some(store), truth, .. } = self else { return Err("closed".into()) };
        truth.ask(store);
        Ok(())
    }

    /// Has every held block of an entity looked at.
    fn verify(&self, tag: u64) -> Result<(), Trouble> {
        let Some(outcome) = self.store()?.verify(&entity(tag).entity.id(), &mut |_| ())? else { return Ok(()) };
        let is_whole = outcome.corrupt.is_empty();
        assert!(is_whole || self.truth.promise() == Promise::NothingWrong, "rot without a cause in {tag}");
        Ok(())
    }

    fn record(&mut self, tag: u64) -> Result<(), Trouble> {
        let account = account(tag);
        let bytes = Delivered { origin: length(tag), peers: 0, cache: 0 };
        self.store()?.record(&[LedgerEntry::Wasted { account, source: ORIGIN, reason: Waste::Stale, bytes: 77 }])?;
        let delivered = LedgerEntry::Delivered { account, bytes };
        Ok(self.store()?.record_named(&[delivered], &[(account, "https://origin.example/file")])?)
    }
}
