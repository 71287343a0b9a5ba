//! One file of a job: from the first question to the staged copy.
//!
//! [`File::advance`] looks at where the file stands and emits the effects that bring it on. Inputs only change what is
//! known; they never act by themselves. So an input that comes twice, late or not at all cannot do harm.
//!
//! | module | idea |
//! |---|---|
//! | `contact` | what is held here, what the origin has, under which version it is opened |
//! | `moving` | blocks on their way |
//! | `swarming` | what the swarm of the version orders |
//! | `trusting` | on whose word blocks are believed |
//! | `staging` | staged, visible, or put away |

mod contact;
mod moving;
mod staging;
mod swarming;
mod trusting;

use crate::job::portion::Stretches;
use crate::job::record::FileRecord;
use crate::job::spec::{Asking, FileSpec, Goal, PeerUse};
use crate::job::terms::Redirects;
use crate::outbox::Outbox;
use crate::planner::Planner;
use crate::port::{ContactMethod, Contacted, Effect, Failure, FailureClass, FetchId, FileRef, Held, Peer};
use crate::swarm::Patience;
use crate::trust::Policy;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::Decision;
use eddy_content::{BlockSet, Entity, EntityId, Geometry, ResourceUrl, Root};
use rand::rngs::SmallRng;
use std::collections::BTreeSet;
use std::time::Duration;
use swarming::Swarming;
use trusting::Trusting;

/// Bytes asked for with the first question.
const FIRST_RANGE: u64 = 16 * 1024 * 1024;
/// Changes of version in one job after which the origin is not worth following.
const CHANGES_ALLOWED: u32 = 3;
/// Whole downloads of one file that failed their digest before the job stops.
const MISMATCHES_ALLOWED: u32 = 1;
/// Times that a staged file may be gone before it appears, and is made anew by itself: somebody who removes it each time is not raced.
const LOSSES_ALLOWED: u32 = 2;
/// A staged file that is gone.
const STAGED_LOST: &str = "staged-lost";
/// Stagings of one file in one turn that found stored blocks damaged before the disk is taken for failing.
const DAMAGES_ALLOWED: u32 = 3;
/// The row of want of descriptors.
const NO_DESCRIPTOR: &str = "too-many-open-files";

/// What a turn may do with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// Bytes go through it.
    Allowed,
    /// Its disk has been in the way for too long: bytes go straight beside the destination.
    PassedBy,
}

/// What surrounds a file when it is advanced.
pub struct Surroundings<'a> {
    /// Monotonic now.
    pub now: Duration,
    /// Connected peers; empty when the job may not use them.
    pub peers: &'a [Peer],
    /// Those that take part in no swarm.
    pub plain: &'a BTreeSet<Peer>,
    /// Until when discovery may still bring the first peers.
    pub settling_until: Duration,
    /// What this turn may do with the cache.
    pub cache_use: CacheUse,
    /// How long the file bears a swarm in which nothing moves; none when it takes part in no swarm.
    pub swarm: Option<Patience>,
    /// Whose word is enough.
    pub trust: &'a Policy,
    /// Where effects go.
    pub out: &'a mut Outbox,
    /// Seeded randomness.
    pub rng: &'a mut SmallRng,
}

/// What the job says about each of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTerms {
    /// What peers may do.
    pub peers: PeerUse,
    /// When the origin is asked.
    pub asking: Asking,
    /// Whether the answer may be meant for the job alone.
    pub is_personal: bool,
    /// What becomes of redirects.
    pub redirects: Redirects,
    /// Whether the origin is asked with another method than GET: once, and past the cache (F-68).
    pub is_asked_once: bool,
    /// Whether there is a limit to what comes from the origin: nobody else waits for what comes slowly on purpose (F-110).
    pub is_limited: bool,
    /// Whether it goes to origins through a proxy that the job names.
    pub has_own_proxy: bool,
}

/// Who writes the file beside the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartUse {
    /// A staging.
    Stage,
    /// A stream.
    Stream(FetchId),
}

/// Where a file stands.
#[derive(Debug)]
enum Phase {
    Idle,
    Preparing,
    Prepared {
        held: Held,
    },
    Contacting {
        fetch: FetchId,
        method: ContactMethod,
    },
    Contacted {
        fetch: FetchId,
        facts: Box<Contacted>,
    },
    Opening {
        parked: Option<FetchId>,
    },
    /// The entity is open; blocks move.
    Moving,
    /// No version to hold on to: the body goes straight to the staged file.
    Streaming {
        fetch: FetchId,
    },
    /// What was asked for on demand is held, and the file is not whole.
    Satisfied,
    Staging,
    Staged,
    Publishing,
    Published,
    Failed,
}

/// What became of a whole version that was held before the origin was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldUse {
    /// It is used, and the origin was not asked: fresh for so many seconds then.
    Unasked {
        /// Whole seconds.
        seconds: u32,
    },
    /// The origin was asked first, although or because freshness is so.
    Asked(Decision),
}

/// Bytes by where they came from, as people see them while they move. The ledger has the durable account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceBytes {
    /// From the origin.
    pub origin: u64,
    /// From peers.
    pub peers: u64,
    /// Held before the job began.
    pub cache: u64,
}

impl SourceBytes {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.origin + self.peers + self.cache
    }
}

/// One file of a job.
#[derive(Debug)]
pub struct File {
    at: FileRef,
    spec: FileSpec,
    peer_use: PeerUse,
    asking: Asking,
    /// Whether the job shows the origin something of its own.
    is_personal: bool,
    redirects: Redirects,
    is_asked_once: bool,
    is_limited: bool,
    has_own_proxy: bool,
    held_use: Option<HeldUse>,
    phase: Phase,
    /// The version last opened, for those who ask.
    entity: Option<Entity>,
    /// The version that is open, or being opened.
    entity_id: Option<EntityId>,
    /// The version that was opened last, also when nobody holds it open any more.
    opened: Option<EntityId>,
    /// The one version that a file which is only held is about.
    pinned_version: Option<EntityId>,
    /// Whether an opening has not been answered yet; there is one at a time.
    owes_opened: bool,
    /// Who has not answered yet for the file beside the destination; there is one at a time.
    part_use: Option<PartUse>,
    planner: Option<Planner>,
    /// The body that came with the first answer, while it is parked or pumped.
    parked: Option<(FetchId, u64, Option<u64>)>,
    /// How long the origin took to answer the first question.
    waited: Option<Duration>,
    digests: Vec<ExpectedDigest>,
    /// Bytes that are delivered in the end.
    length: Option<u64>,
    /// Where they lie in the file at the origin, unless all of it is wanted.
    stretches: Option<Stretches>,
    root: Option<Root>,
    bytes: SourceBytes,
    streamed: u64,
    /// The most bytes that were there at a time, of any version.
    furthest: u64,
    /// The same when the present stream began.
    furthest_before_stream: u64,
    /// Steps forward: times that it came further than ever before.
    progress: u64,
    /// The last moment at which the file was advanced.
    seen: Duration,
    wasted: u64,
    audited: u64,
    witnesses: Option<u8>,
    trusting: Trusting,
    swarming: Swarming,
    origin_reason: Option<&'static str>,
    has_origin_digest: bool,
    /// Where its redirects ended, to be told once the whole is there.
    told: Option<ResourceUrl>,
    /// The URL that the job named, once another one is told in its place.
    named: Option<ResourceUrl>,
    /// Whether the URL may be one that an origin has named: it was staged when its record was read, and told.
    may_be_led: bool,
    /// Whether peers may be asked for this version: never when it is private.
    is_shareable: bool,
    is_first_contact_done: bool,
    is_head_refused: bool,
    wants_whole: bool,
    /// Why the file goes past the cache in this turn, if it does.
    uncacheable: Option<&'static str>,
    changes: u32,
    /// Whether a swarm's word that the version has changed was looked into in this turn.
    is_version_asked_again: bool,
    mismatches: u32,
    losses: u32,
    damages: u32,
    origin_failures: u32,
    origin_wait: Duration,
    /// Why the origin was given up in this turn while peers went on; then, how far the file was, and since when it is.
    origin_fault: Option<(Failure, u64, Duration)>,
    failure: Option<Failure>,
}

impl File {
    /// A file as its record has it.
    #[must_use]
    pub fn new(at: FileRef, spec: FileSpec, terms: FileTerms, record: FileRecord) -> Self {
        let FileTerms { peers: peer_use, asking, is_personal, redirects, is_asked_once, is_limited, has_own_proxy } =
            terms;
        let held = |cache| SourceBytes { cache, ..SourceBytes::default() };
        let (phase, length, root, bytes) = match record {
            FileRecord::Wanted { length, held: bytes } => (Phase::Idle, length, None, held(bytes)),
            FileRecord::Staged { length, root, origin, peers } => {
                let cache = length.saturating_sub(origin.saturating_add(peers));
                (Phase::Staged, Some(length), Some(root), SourceBytes { origin, peers, cache })
            }
            FileRecord::Published { length } => (Phase::Published, Some(length), None, SourceBytes::default()),
        };
        Self {
            at,
            may_be_led: matches!(phase, Phase::Staged) && redirects == Redirects::Report,
            digests: spec.digests.clone(),
            spec,
            peer_use,
            asking,
            is_personal,
            redirects,
            is_asked_once,
            is_limited,
            has_own_proxy,
            held_use: None,
            phase,
            entity: None,
            entity_id: None,
            opened: None,
            pinned_version: None,
            owes_opened: false,
            part_use: None,
            planner: None,
            parked: None,
            waited: None,
            length,
            stretches: None,
            root,
            bytes,
            streamed: 0,
            furthest: 0,
            furthest_before_stream: 0,
            progress: 0,
            seen: Duration::ZERO,
            wasted: 0,
            audited: 0,
            witnesses: None,
            trusting: Trusting::default(),
            swarming: Swarming::default(),
            origin_reason: None,
            has_origin_digest: false,
            told: None,
            named: None,
            is_shareable: false,
            is_first_contact_done: false,
            is_head_refused: false,
            wants_whole: false,
            uncacheable: None,
            changes: 0,
            is_version_asked_again: false,
            mismatches: 0,
            losses: 0,
            damages: 0,
            origin_failures: 0,
            origin_wait: Duration::ZERO,
            origin_fault: None,
            failure: None,
        }
    }

    /// Which file of which job it is.
    pub(crate) fn at(&self) -> FileRef {
        self.at
    }

    /// What it was asked for.
    #[must_use]
    pub fn spec(&self) -> &FileSpec {
        &self.spec
    }

    /// Changes what it was asked for; whoever does has paused it.
    pub(crate) fn amend(&mut self, spec: FileSpec, terms: FileTerms) {
        let FileTerms { peers, asking, is_personal, redirects, is_asked_once, is_limited, has_own_proxy } = terms;
        (self.is_asked_once, self.is_limited, self.has_own_proxy) = (is_asked_once, is_limited, has_own_proxy);
        let has_same = (self.peer_use, self.asking, self.is_personal) == (peers, asking, is_personal);
        if self.spec == spec && has_same && self.redirects == redirects {
            return;
        }
        (self.peer_use, self.asking, self.is_personal, self.redirects) = (peers, asking, is_personal, redirects);
        if self.spec.url != spec.url {
            (self.told, self.named, self.may_be_led, self.opened) = (None, None, false, None);
        }
        if self.spec.url != spec.url && !self.is_staged() {
            // Another URL is another file, until its origin says that it is the same (F-58).
            self.length = None;
            self.stretches = None;
            self.bytes = SourceBytes::default();
        }
        self.digests.clone_from(&spec.digests);
        if let (Some(demand), Some(planner)) = (spec.portion.demand(), &mut self.planner) {
            // Without an end of what is under way.
            planner.want(demand.blocks(planner.geometry()), demand.position());
        }
        self.spec = spec;
    }

    /// The durable form.
    #[must_use]
    pub fn record(&self) -> FileRecord {
        let length = self.length.unwrap_or_default();
        match (&self.phase, self.root) {
            (Phase::Staged | Phase::Publishing, Some(root)) => {
                FileRecord::Staged { length, root, origin: self.bytes.origin, peers: self.bytes.peers }
            }
            (Phase::Published, _) => FileRecord::Published { length },
            _ => FileRecord::Wanted { length: self.length, held: self.done() },
        }
    }

    /// The bytes that are to be delivered: the complete length, or that of all ranges, once the origin has named it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// BLAKE3 of what is delivered, once it is staged.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        self.root
    }

    /// The version that is being fetched.
    #[must_use]
    pub fn entity(&self) -> Option<&Entity> {
        self.entity.as_ref()
    }

    /// Whether nobody knows any more that the job itself named the URL: what is asked there is asked as where a redirect led (T-20).
    #[must_use]
    pub fn may_be_led(&self) -> bool {
        self.may_be_led
    }

    /// The version that its origin has shown to this job, as far as it is remembered.
    #[must_use]
    pub fn opened(&self) -> Option<EntityId> {
        self.opened
    }

    /// Bytes so far, by source.
    #[must_use]
    pub fn bytes(&self) -> SourceBytes {
        SourceBytes { origin: self.bytes.origin + self.streamed, ..self.bytes }
    }

    /// Bytes that are there; the whole once it is staged.
    #[must_use]
    pub fn done(&self) -> u64 {
        match (&self.phase, self.length) {
            (Phase::Staged | Phase::Publishing | Phase::Published, Some(length)) => length,
            _ => self.length.map_or(self.bytes().total(), |length| self.bytes().total().min(length)),
        }
    }

    /// Whether the whole stands beside the destination.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        matches!(self.phase, Phase::Staged | Phase::Publishing | Phase::Published)
    }

    /// Whether all that was asked for on demand is held, though the file is not whole.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        matches!(self.phase, Phase::Satisfied)
    }

    /// Whether it is visible at its destination.
    #[must_use]
    pub fn is_published(&self) -> bool {
        matches!(self.phase, Phase::Published)
    }

    /// Whether the origin has answered in this turn, or need not be asked.
    #[must_use]
    pub fn is_contacted(&self) -> bool {
        self.is_first_contact_done
    }

    /// What stopped the file in this turn.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Bytes that arrived for nothing, once the file is whole.
    #[must_use]
    pub fn wasted(&self) -> u64 {
        self.wasted
    }

    /// Bytes that were fetched a second time to catch liars, once the file is whole. Delivered to nobody.
    #[must_use]
    pub fn audited(&self) -> u64 {
        self.audited
    }

    /// Once the file is whole, how many members vouch for each block that this node did not fetch itself, at least; none when it
    /// fetched all.
    #[must_use]
    pub fn witnesses(&self) -> Option<u8> {
        self.witnesses
    }

    /// Why the origin was asked for bytes in this turn, if it was.
    #[must_use]
    pub fn origin_reason(&self) -> Option<&'static str> {
        self.origin_reason
    }

    /// What became of a whole version that was held, if one was.
    #[must_use]
    pub fn held_use(&self) -> Option<HeldUse> {
        self.held_use
    }

    /// Whether the origin named a digest of the whole, which was checked.
    #[must_use]
    pub fn has_origin_digest(&self) -> bool {
        self.has_origin_digest
    }

    /// Steps forward so far.
    pub(crate) fn progress(&self) -> u64 {
        self.progress
    }

    /// The version that is open, or being opened.
    pub(crate) fn entity_id(&self) -> Option<EntityId> {
        self.entity_id
    }

    /// What the file is doing, in a word for people.
    #[must_use]
    pub fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Idle => "waiting",
            Phase::Preparing | Phase::Prepared { .. } => "preparing",
            Phase::Contacting { .. } | Phase::Contacted { .. } => "asking the origin",
            Phase::Opening { .. } | Phase::Moving | Phase::Streaming { .. } => "transferring",
            Phase::Satisfied => "waiting for more to be asked for",
            Phase::Staging => "copying",
            Phase::Staged | Phase::Publishing => "whole",
            Phase::Published => "delivered",
            Phase::Failed => "failed",
        }
    }

    /// Emits whatever brings the file on from where it stands.
    pub fn advance(&mut self, s: &mut Surroundings<'_>) {
        self.seen = s.now;
        loop {
            match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Idle => {
                    s.out.push(Effect::Prepare { file: self.at });
                    self.phase = Phase::Preparing;
                }
                Phase::Prepared { held } if s.now >= self.origin_wait => self.contact(held, s),
                Phase::Contacted { fetch, facts } => {
                    if !self.open(fetch, facts, s) {
                        return;
                    }
                }
                Phase::Moving => {
                    self.phase = Phase::Moving;
                    if !self.move_blocks(s) {
                        return;
                    }
                }
                other => {
                    self.phase = other;
                    return;
                }
            }
        }
    }

    /// When [`Self::advance`] should be called again though nothing happened. Counted from the last call, so that what has
    /// become due since is not missed.
    #[must_use]
    pub fn timeout(&self, settling_until: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Prepared { .. } => Some(self.origin_wait),
            Phase::Moving => {
                let plan = self.planner.as_ref().filter(|_| !self.swarming.is_taking()).and_then(Planner::timeout);
                let settled = (settling_until > self.seen).then_some(settling_until);
                plan.into_iter().chain(settled).chain(self.audit_timeout()).min()
            }
            _ => None,
        }
    }

    /// How many bytes of these blocks are wanted.
    fn bytes_in(&self, geometry: Geometry, blocks: &BlockSet) -> u64 {
        match &self.stretches {
            Some(stretches) => stretches.bytes_in(geometry, blocks),
            None => blocks.runs().map(|run| geometry.bytes_of(run)).map(|bytes| bytes.end - bytes.start).sum(),
        }
    }

    /// How many wanted bytes are durable; none when no version is open.
    fn held_bytes(&self) -> Option<u64> {
        self.planner.as_ref().map(|planner| self.bytes_in(planner.geometry(), planner.held()))
    }

    fn is_only_held(&self) -> bool {
        self.spec.goal() == Goal::Hold
    }

    fn fail(&mut self, mut failure: Failure) {
        // Whoever reads what is only held goes on without the store sooner than a disk gets well. Descriptors come back by themselves.
        let is_disk = failure.class == FailureClass::Disk && failure.code != NO_DESCRIPTOR;
        if is_disk && self.is_only_held() {
            failure.class = FailureClass::Fatal;
        }
        self.failure = Some(failure);
        self.phase = Phase::Failed;
    }
}
