//! A live job: its record, its files, and the timers that belong to it.

use super::record::{FileRecord, JobRecord};
use super::spec::{JobId, JobSpec, PeerUse};
use super::state::{IllegalTransition, JobEvent, JobState};
use crate::file::{File, SourceBytes};
use crate::meter::Meter;
use crate::port::{Effect, Failure, FileRef};
use std::collections::VecDeque;
use std::time::Duration;

/// A job in the engine.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    spec: JobSpec,
    state: JobState,
    created: i64,
    files: Vec<File>,
    failure: Option<Failure>,
    meter: Meter,
    /// Turns in a row that ended in a fault without progress.
    pub(crate) attempts: u32,
    /// When a job that falters tries again.
    pub(crate) retry_at: Option<Duration>,
    /// Since when nothing has moved though it was tried.
    pub(crate) no_progress_since: Option<Duration>,
    /// Bytes that had been received when the turn began.
    pub(crate) bytes_at_turn: u64,
    /// Whether the owner has asked for completion, which waits for the files to become visible.
    pub(crate) is_completing: bool,
}

impl Job {
    /// A job as its record has it.
    #[must_use]
    pub fn from_record(record: JobRecord) -> Self {
        let JobRecord { id, spec, state, created, failure, files } = record;
        let peers = spec.peers;
        let files = build_files(id, &spec, peers, &files);
        Self {
            id,
            spec,
            state: state.at_rest(),
            created,
            files,
            failure,
            meter: Meter::default(),
            attempts: 0,
            retry_at: None,
            no_progress_since: None,
            bytes_at_turn: 0,
            is_completing: false,
        }
    }

    /// The durable form.
    #[must_use]
    pub fn record(&self) -> JobRecord {
        JobRecord {
            id: self.id,
            spec: self.spec.clone(),
            state: self.state.at_rest(),
            created: self.created,
            failure: self.failure.clone(),
            files: self.files.iter().map(File::record).collect(),
        }
    }

    /// The name.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.state
    }

    /// When it was created, in seconds since the Unix epoch.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The files, in the order of the specification.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The fault that stopped it, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// When it will try again by itself, monotonic.
    #[must_use]
    pub fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Bytes so far, by source.
    #[must_use]
    pub fn bytes(&self) -> SourceBytes {
        self.files.iter().map(File::bytes).fold(SourceBytes::default(), |a, b| SourceBytes {
            origin: a.origin + b.origin,
            peers: a.peers + b.peers,
            cache: a.cache + b.cache,
        })
    }

    /// Bytes in all files, once every length is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.files.iter().map(File::length).sum()
    }

    /// Bytes that are there.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.files.iter().map(File::done).sum()
    }

    /// The running average of the rate.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn count(&mut self, now: Duration, bytes: u64) {
        self.meter.count(now, bytes);
        self.no_progress_since = None;
    }

    pub(crate) fn files_mut(&mut self) -> &mut [File] {
        &mut self.files
    }

    pub(crate) fn file_mut(&mut self, file: u32) -> Option<&mut File> {
        self.files.get_mut(file as usize)
    }

    pub(crate) fn set_failure(&mut self, failure: Option<Failure>) {
        self.failure = failure;
    }

    /// Goes through the transition table, the only way by which a state changes.
    pub(crate) fn apply(&mut self, event: JobEvent) -> Result<bool, IllegalTransition> {
        let next = self.state.after(event)?;
        let is_changed = next != self.state;
        self.state = next;
        Ok(is_changed)
    }

    pub(crate) fn pause_files(&mut self, effects: &mut VecDeque<Effect>) {
        for file in &mut self.files {
            file.pause(effects);
        }
    }
}

fn build_files(id: JobId, spec: &JobSpec, peers: PeerUse, records: &[FileRecord]) -> Vec<File> {
    let with_record = |(index, file): (usize, &crate::FileSpec)| {
        let record = records.get(index).copied().unwrap_or(FileRecord::UNKNOWN);
        File::new(FileRef { job: id, file: index as u32 }, file.clone(), peers, record)
    };
    spec.files.iter().enumerate().map(with_record).collect()
}
