//! What surrounds the engine in the tests: origins, peers, a store and a disk, each with a behaviour that can be set.

use eddy_content::http::RangeSupport;
use eddy_content::http::freshness::Decision;
use eddy_content::{BlockSet, Entity, EntityId, Geometry};
use eddy_engine::{Failure, FailureClass, FileRef};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What an origin does.
#[derive(Debug, Clone)]
pub struct Origin {
    pub length: u64,
    pub version: u32,
    pub has_validator: bool,
    pub names_length: bool,
    pub ranges: RangeSupport,
    pub storable: bool,
    pub shareable: bool,
    pub answers_head: bool,
    pub latency: Duration,
    /// Bytes per tick of 100 ms.
    pub rate: u64,
    /// So many of the next requests fail so.
    pub failing: Option<(u32, Failure)>,
    /// Every body breaks after so many bytes.
    pub breaks_after: Option<u64>,
    /// Every body is called complete after so many bytes.
    pub cuts_after: Option<u64>,
    /// What was asked, and when.
    pub requests: Vec<Duration>,
    /// Bytes of bodies.
    pub sent: u64,
    /// Bytes of second fetches.
    pub audited: u64,
    /// Blocks that were asked for, how often.
    pub asked: Vec<Range<u32>>,
    /// Versions that were current at some time.
    pub versions: Vec<u32>,
}

impl Origin {
    pub fn new(length: u64) -> Self {
        Self {
            length,
            version: 1,
            has_validator: true,
            names_length: true,
            ranges: RangeSupport::Yes,
            storable: true,
            shareable: true,
            answers_head: true,
            latency: Duration::from_millis(30),
            rate: 4 << 20,
            failing: None,
            breaks_after: None,
            cuts_after: None,
            requests: Vec::new(),
            sent: 0,
            audited: 0,
            asked: Vec::new(),
            versions: vec![1],
        }
    }

    /// Counts a request; the failure that answers it, if one does.
    pub fn request(&mut self, now: Duration) -> Option<Failure> {
        self.requests.push(now);
        let (left, failure) = self.failing.as_mut()?;
        let failure = failure.clone();
        *left -= 1;
        if *left == 0 {
            self.failing = None;
        }
        Some(failure)
    }

    pub fn change(&mut self) {
        self.version += 1;
        self.versions.push(self.version);
    }
}

pub fn unreachable() -> Failure {
    Failure { class: FailureClass::Unreachable, ..Failure::fatal("host-unreachable", "no route") }
}

pub fn disk() -> Failure {
    Failure { class: FailureClass::Disk, ..Failure::fatal("disk-full", "no space") }
}

pub fn destination(code: &str) -> Failure {
    Failure { class: FailureClass::Destination, ..Failure::fatal(code, "at the destination") }
}

pub fn unavailable(retry_after: Option<Duration>) -> Failure {
    Failure { retry_after, ..Failure::transient("http-server", "503") }
}

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Gives what it holds.
    Serves,
    /// Takes the request and sends nothing.
    Stalls,
    /// Sends something else.
    Lies,
    /// Loses the connection.
    Breaks,
    /// Has too much to do.
    IsBusy,
    /// Never says what it holds.
    IsSilent,
    /// Says what it holds, and then has nothing.
    HasNothing,
    /// Ends every answer well without a byte.
    GivesNothing,
    /// Sends a byte now and then.
    Trickles,
    /// Gives bytes that are not the origin's, and a member signed for them.
    Poisons,
}

impl Manner {
    pub const ALL: [Self; 10] = [
        Self::Serves,
        Self::Stalls,
        Self::Lies,
        Self::Breaks,
        Self::IsBusy,
        Self::IsSilent,
        Self::HasNothing,
        Self::GivesNothing,
        Self::Trickles,
        Self::Poisons,
    ];
}

/// A peer.
#[derive(Debug, Clone)]
pub struct Neighbour {
    pub manner: Manner,
    pub holds: BlockSet,
    /// The version that it holds.
    pub version: u32,
    pub latency: Duration,
    pub rate: u64,
    /// Bytes that it gave.
    pub sent: u64,
}

impl Neighbour {
    pub fn new(manner: Manner, holds: Range<u32>) -> Self {
        let latency = Duration::from_millis(2);
        Self { manner, holds: BlockSet::from_run(holds), version: 1, latency, rate: 8 << 20, sent: 0 }
    }
}

/// An entity in the store.
#[derive(Debug, Clone)]
pub struct Stored {
    pub entity: Entity,
    pub geometry: Geometry,
    pub held: BlockSet,
    /// Bytes that came from peers.
    pub has_peer_bytes: bool,
    /// Held blocks that are not the origin's.
    pub poisoned: BlockSet,
}

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    pub entities: BTreeMap<EntityId, Stored>,
    /// So many of the next openings are refused so.
    pub refusing: Option<(u32, Failure)>,
    /// What stands in the way for as long as it is set: of openings and commits.
    pub standing: Option<Failure>,
    /// So many of the next commits fail.
    pub failing_commits: u32,
    /// So many of the next stagings find the first block damaged.
    pub damaged_stagings: u32,
    /// Whether blocks were damaged.
    pub has_damage: bool,
    /// What the store says of the freshness of what it holds whole; nothing by default.
    pub decision: Option<Decision>,
}

/// What stands beside destinations, and in them.
#[derive(Debug, Default)]
pub struct Disk {
    /// The version of each staged file.
    pub parts: BTreeMap<FileRef, u32>,
    /// The version of each visible file.
    pub visible: BTreeMap<FileRef, u32>,
    /// What stands in the way for as long as it is set: of preparations, stagings and publishings.
    pub standing: Option<Failure>,
    /// So many of the next preparations are refused so.
    pub refusing: Option<(u32, Failure)>,
    /// So many of the next stagings fail so.
    pub failing_stagings: Option<(u32, Failure)>,
    /// So many of the next publishings fail.
    pub failing_publishings: u32,
    /// Stagings with a block that was not the origin's.
    pub poisoned_parts: usize,
}

/// Takes one of a number of failures.
pub fn take(failures: &mut Option<(u32, Failure)>) -> Option<Failure> {
    let (left, failure) = failures.as_mut()?;
    let failure = failure.clone();
    *left = left.saturating_sub(1);
    if *left == 0 {
        *failures = None;
    }
    Some(failure)
}
