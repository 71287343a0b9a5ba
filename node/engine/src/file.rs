//! One file of a job: from the first question to the staged copy.
//!
//! [`File::advance`] looks at where the file stands and emits the effects that bring it on. Inputs only change what is
//! known; they never act by themselves. So an input that comes twice, late or not at all cannot do harm.

use crate::job::record::FileRecord;
use crate::job::spec::{FileSpec, PeerUse};
use crate::planner::{Order, Planner, Source};
use crate::port::{
    ContactMethod, Contacted, Effect, Failure, FailureClass, FetchId, FetchOutcome, FileRef, Peer, StagedFile,
};
use crate::retry;
use eddy_content::digest::ExpectedDigest;
use eddy_content::{BlockSet, Entity, Geometry, Root};
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes asked for with the first question.
const FIRST_RANGE: u64 = 16 * 1024 * 1024;
/// Changes of version in one job after which the origin is not worth following.
const CHANGES_ALLOWED: u32 = 3;
/// Whole downloads of one file that failed their digest before the job stops.
const MISMATCHES_ALLOWED: u32 = 1;

/// What surrounds a file when it is advanced.
pub struct Surroundings<'a> {
    /// Monotonic now.
    pub now: Duration,
    /// Connected peers; empty when the job may not use them.
    pub peers: &'a [Peer],
    /// Until when discovery may still bring the first peers.
    pub settling_until: Duration,
    /// Where effects go.
    pub effects: &'a mut VecDeque<Effect>,
    /// Source of fetch names.
    pub next_fetch: &'a mut u64,
    /// Seeded randomness.
    pub rng: &'a mut SmallRng,
}

impl Surroundings<'_> {
    fn fetch(&mut self) -> FetchId {
        *self.next_fetch += 1;
        FetchId(*self.next_fetch)
    }
}

/// Where a file stands.
#[derive(Debug)]
enum Phase {
    Idle,
    Preparing,
    Prepared {
        is_held: bool,
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
    Staging,
    Staged,
    Publishing,
    Published,
    Failed,
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
    phase: Phase,
    entity: Option<Entity>,
    planner: Option<Planner>,
    /// The body that came with the first answer, while it is parked or pumped.
    parked: Option<(FetchId, u64, Option<u64>)>,
    digests: Vec<ExpectedDigest>,
    length: Option<u64>,
    root: Option<Root>,
    bytes: SourceBytes,
    streamed: u64,
    wasted: u64,
    origin_reason: Option<&'static str>,
    has_origin_digest: bool,
    /// Whether peers may be asked for this version: never when it is private.
    is_shareable: bool,
    is_first_contact_done: bool,
    is_head_refused: bool,
    wants_whole: bool,
    is_uncacheable: bool,
    changes: u32,
    mismatches: u32,
    origin_failures: u32,
    origin_wait: Duration,
    failure: Option<Failure>,
}

impl File {
    /// A file as its record has it.
    #[must_use]
    pub fn new(at: FileRef, spec: FileSpec, peer_use: PeerUse, record: FileRecord) -> Self {
        let (phase, length) = match record {
            FileRecord::Wanted => (Phase::Idle, None),
            FileRecord::Staged { length } => (Phase::Staged, Some(length)),
            FileRecord::Published { length } => (Phase::Published, Some(length)),
        };
        Self {
            at,
            digests: spec.digests.clone(),
            spec,
            peer_use,
            phase,
            entity: None,
            planner: None,
            parked: None,
            length,
            root: None,
            bytes: SourceBytes::default(),
            streamed: 0,
            wasted: 0,
            origin_reason: None,
            has_origin_digest: false,
            is_shareable: false,
            is_first_contact_done: false,
            is_head_refused: false,
            wants_whole: false,
            is_uncacheable: false,
            changes: 0,
            mismatches: 0,
            origin_failures: 0,
            origin_wait: Duration::ZERO,
            failure: None,
        }
    }

    /// What it was asked for.
    #[must_use]
    pub fn spec(&self) -> &FileSpec {
        &self.spec
    }

    /// The durable form.
    #[must_use]
    pub fn record(&self) -> FileRecord {
        let length = self.length.unwrap_or_default();
        match self.phase {
            Phase::Staged | Phase::Publishing => FileRecord::Staged { length },
            Phase::Published => FileRecord::Published { length },
            _ => FileRecord::Wanted,
        }
    }

    /// The complete length, once the origin has named it.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// BLAKE3 of the whole, once it is staged.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        self.root
    }

    /// The version that is being fetched.
    #[must_use]
    pub fn entity(&self) -> Option<&Entity> {
        self.entity.as_ref()
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

    /// Whether it is visible at its destination.
    #[must_use]
    pub fn is_published(&self) -> bool {
        matches!(self.phase, Phase::Published)
    }

    /// Whether the origin has answered in this turn.
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

    /// Why the origin was asked for bytes in this turn, if it was.
    #[must_use]
    pub fn origin_reason(&self) -> Option<&'static str> {
        self.origin_reason
    }

    /// Whether the origin named a digest of the whole, which was checked.
    #[must_use]
    pub fn has_origin_digest(&self) -> bool {
        self.has_origin_digest
    }

    /// What the file is doing, in a word for people.
    #[must_use]
    pub fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Idle => "waiting",
            Phase::Preparing | Phase::Prepared { .. } => "preparing",
            Phase::Contacting { .. } | Phase::Contacted { .. } => "asking the origin",
            Phase::Opening { .. } | Phase::Moving | Phase::Streaming { .. } => "transferring",
            Phase::Staging => "copying",
            Phase::Staged | Phase::Publishing => "whole",
            Phase::Published => "delivered",
            Phase::Failed => "failed",
        }
    }

    /// Emits whatever brings the file on from where it stands.
    pub fn advance(&mut self, s: &mut Surroundings<'_>) {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Idle => {
                    s.effects.push_back(Effect::Prepare { file: self.at });
                    self.phase = Phase::Preparing;
                }
                Phase::Prepared { is_held } => {
                    if s.now < self.origin_wait {
                        self.phase = Phase::Prepared { is_held };
                        return;
                    }
                    self.contact(is_held, s);
                }
                Phase::Contacted { fetch, facts } => self.open(fetch, *facts, s),
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

    /// When [`Self::advance`] should be called again though nothing happened.
    #[must_use]
    pub fn timeout(&self, s_now: Duration, settling_until: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Prepared { .. } => Some(self.origin_wait),
            Phase::Moving => {
                let plan = self.planner.as_ref().and_then(|p| p.timeout(s_now));
                let settled = (settling_until > s_now).then_some(settling_until);
                plan.into_iter().chain(settled).min()
            }
            _ => None,
        }
    }

    fn contact(&mut self, is_held: bool, s: &mut Surroundings<'_>) {
        let may_have_peers = self.peer_use.fetch && (!s.peers.is_empty() || s.now < s.settling_until);
        let method = if self.wants_whole {
            ContactMethod::Whole
        } else if (is_held || may_have_peers) && !self.is_head_refused {
            ContactMethod::Describe
        } else {
            ContactMethod::FirstRange { last: FIRST_RANGE - 1 }
        };
        let fetch = s.fetch();
        let (url, credentials) = (self.spec.url.clone(), self.spec.credentials.clone());
        s.effects.push_back(Effect::Contact { fetch, file: self.at, url, credentials, method });
        self.phase = Phase::Contacting { fetch, method };
    }

    /// The origin has answered: hold on to the version if it names one, else stream.
    fn open(&mut self, fetch: FetchId, facts: Contacted, s: &mut Surroundings<'_>) {
        self.length = facts.length;
        self.has_origin_digest = !facts.digests.is_empty();
        self.digests = strongest_first(&self.spec.digests, &facts.digests);
        let is_holdable = facts.length.is_some_and(|length| Geometry::new(length).is_some())
            && facts.storable
            && !self.is_uncacheable;
        let (Some(validator), Some(length), true) = (facts.validator.clone(), facts.length, is_holdable) else {
            self.stream(fetch, &facts, s);
            return;
        };
        self.is_shareable = facts.shareable && self.spec.credentials.is_none();
        let entity = Entity { url: facts.url.clone(), validator, length };
        self.entity = Some(entity.clone());
        self.parked = facts.body.map(|(start, end)| (fetch, start, end));
        s.effects.push_back(Effect::Open {
            file: self.at,
            entity,
            requested_url: self.spec.url.clone(),
            shareable: self.is_shareable && self.peer_use.share,
            last_modified: facts.last_modified,
            digests: facts.digests,
        });
        self.planner = Geometry::new(length).map(|geometry| Planner::new(geometry, BlockSet::new(), facts.ranges));
        self.phase = Phase::Opening { parked: facts.body.map(|_| fetch) };
    }

    /// Content without a version to hold on to: one stream from byte 0, restarted on failure, never shared.
    fn stream(&mut self, fetch: FetchId, facts: &Contacted, s: &mut Surroundings<'_>) {
        let is_whole_body = match facts.body {
            Some((0, None)) => true,
            Some((0, end)) => end == facts.length,
            _ => false,
        };
        self.streamed = 0;
        if is_whole_body {
            self.origin_reason = Some(if self.is_uncacheable {
                "the file does not fit into the cache"
            } else {
                "the origin names no version that can be shared or resumed"
            });
            s.effects.push_back(Effect::Stream { fetch, file: self.at, digests: self.digests.clone() });
            self.phase = Phase::Streaming { fetch };
            return;
        }
        if facts.body.is_some() {
            s.effects.push_back(Effect::Abort { fetch });
        }
        if self.wants_whole {
            // A plain GET that did not give the whole: nothing else can be asked for.
            let detail = "the server answered a plain request with a part of the file";
            self.fail(Failure::fatal("origin-protocol", detail));
            return;
        }
        self.wants_whole = true;
        self.phase = Phase::Prepared { is_held: false };
    }

    /// Lets the planner work; true when the phase has changed.
    fn move_blocks(&mut self, s: &mut Surroundings<'_>) -> bool {
        let Some(planner) = &mut self.planner else { return false };
        if planner.is_complete() {
            if planner.has_flights() {
                return false;
            }
            s.effects.push_back(Effect::Stage { file: self.at, digests: self.digests.clone() });
            self.phase = Phase::Staging;
            return true;
        }
        // The first peers may be found a moment after the start: do not spend the origin's bytes before that.
        let may_use_peers = self.is_shareable && self.peer_use.fetch;
        let is_settling = s.peers.is_empty() && s.now < s.settling_until && may_use_peers;
        if is_settling && self.parked.is_none() && !planner.has_flights() {
            return false;
        }
        let peers: &[Peer] = if may_use_peers { s.peers } else { &[] };
        planner.hold_origin_until(self.origin_wait);
        let reason = match () {
            () if !self.peer_use.fetch => "the job does not use peers",
            () if !self.is_shareable => "the content is private",
            () if s.peers.is_empty() => "no peer is connected",
            () => "no connected peer holds it",
        };
        for order in planner.plan(s.now, peers, s.rng) {
            match order {
                Order::Abort { fetch } => s.effects.push_back(Effect::Abort { fetch }),
                Order::Ask { peers } => s.effects.push_back(Effect::Ask { file: self.at, peers }),
                Order::Fetch { source, blocks } => {
                    *s.next_fetch += 1;
                    let fetch = FetchId(*s.next_fetch);
                    planner.begin(s.now, fetch, source, blocks.clone());
                    let file = self.at;
                    s.effects.push_back(match source {
                        Source::Peer(peer) => Effect::FetchPeer { fetch, file, peer, blocks },
                        Source::Origin => {
                            self.origin_reason = Some(reason);
                            let credentials = self.spec.credentials.clone();
                            Effect::FetchOrigin { fetch, file, credentials, blocks, ranges: planner.ranges() }
                        }
                    });
                }
            }
        }
        false
    }

    /// Answer to the preparation.
    pub fn on_prepared(&mut self, result: Result<bool, Failure>) {
        if matches!(self.phase, Phase::Preparing) {
            match result {
                Ok(is_held) => self.phase = Phase::Prepared { is_held },
                Err(failure) => self.fail(failure),
            }
        }
    }

    /// Answer to the contact.
    pub fn on_contacted(
        &mut self,
        now: Duration,
        fetch: FetchId,
        result: Result<Box<Contacted>, Failure>,
        rng: &mut SmallRng,
    ) {
        let Phase::Contacting { fetch: expected, method } = self.phase else { return };
        if expected != fetch {
            return;
        }
        match result {
            Ok(facts) => {
                self.origin_failures = 0;
                self.is_first_contact_done = true;
                self.phase = Phase::Contacted { fetch, facts };
            }
            // Some servers answer HEAD badly and GET well: only the answer to a GET counts.
            Err(failure) if method == ContactMethod::Describe && failure.class != FailureClass::Unreachable => {
                self.is_head_refused = true;
                self.phase = Phase::Prepared { is_held: false };
            }
            Err(failure) => self.on_origin_failure(now, failure, Phase::Prepared { is_held: false }, rng),
        }
    }

    /// Answer to the opening of the entity.
    pub fn on_opened(&mut self, now: Duration, result: Result<BlockSet, Failure>, s_effects: &mut VecDeque<Effect>) {
        let Phase::Opening { parked } = self.phase else { return };
        let held = match result {
            Ok(held) => held,
            Err(failure) => {
                s_effects.extend(parked.map(|fetch| Effect::Abort { fetch }));
                self.parked = None;
                self.planner = None;
                self.entity = None;
                if failure.code == "cache-too-small" {
                    // The store has no place for it: past the store, as content without a version would go.
                    self.is_uncacheable = true;
                    self.wants_whole = true;
                    self.phase = Phase::Prepared { is_held: false };
                } else {
                    self.fail(failure);
                }
                return;
            }
        };
        let Some(planner) = &mut self.planner else { return };
        let geometry = planner.geometry();
        let held_bytes: u64 = held.runs().map(|run| geometry.bytes_of(run)).map(|b| b.end - b.start).sum();
        self.bytes = SourceBytes { cache: held_bytes, ..SourceBytes::default() };
        *planner = Planner::new(geometry, held, planner.ranges());
        self.phase = Phase::Moving;
        let Some((fetch, start, end)) = self.parked else { return };
        // Of the parked body, take the first run that is missing; what other runs need is planned as usual.
        let carried = geometry.blocks_inside(start..end.unwrap_or(geometry.length()));
        let wanted = BlockSet::from_run(carried).difference(planner.held());
        match wanted.first_run() {
            Some(blocks) => {
                planner.begin(now, fetch, Source::Origin, blocks.clone());
                self.origin_reason = Some(match (self.peer_use.fetch, self.is_shareable) {
                    (false, _) => "the job does not use peers",
                    (true, false) => "the content is private",
                    (true, true) => "no peer was connected when the origin was asked",
                });
                s_effects.push_back(Effect::Pump { fetch, file: self.at, blocks });
            }
            None => {
                self.parked = None;
                s_effects.push_back(Effect::Abort { fetch });
            }
        }
    }

    /// A peer said what it holds.
    pub fn on_holds(&mut self, peer: Peer, blocks: BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_holds(peer, blocks);
        }
    }

    /// A peer is gone.
    pub fn on_peer_down(&mut self, peer: Peer) {
        if let Some(planner) = &mut self.planner {
            planner.on_peer_down(peer);
        }
    }

    /// Bytes of a fetch arrived.
    pub fn on_received(&mut self, now: Duration, fetch: FetchId, bytes: u64) {
        if matches!(self.phase, Phase::Streaming { fetch: streaming } if streaming == fetch) {
            self.streamed += bytes;
            self.origin_failures = 0;
            return;
        }
        let Some(planner) = &mut self.planner else { return };
        planner.on_bytes(now, fetch);
        match planner.source_of(fetch) {
            Some(Source::Origin) => {
                self.bytes.origin += bytes;
                self.origin_failures = 0;
            }
            Some(Source::Peer(_)) => self.bytes.peers += bytes,
            None => {}
        }
    }

    /// Blocks are durable.
    pub fn on_committed(&mut self, blocks: &BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_committed(blocks);
        }
    }

    /// Held blocks turned out damaged: they are fetched again.
    pub fn on_damaged(&mut self, blocks: &BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_damaged(blocks);
            if matches!(self.phase, Phase::Staging) {
                self.phase = Phase::Moving;
            }
        }
    }

    /// A fetch is over.
    pub fn on_ended(&mut self, now: Duration, fetch: FetchId, outcome: FetchOutcome, s: &mut Surroundings<'_>) {
        if self.parked.is_some_and(|(parked, ..)| parked == fetch) {
            self.parked = None;
        }
        if let Phase::Streaming { fetch: streaming } = self.phase
            && streaming == fetch
        {
            self.on_stream_ended(now, outcome, s.rng);
            return;
        }
        let Some(planner) = &mut self.planner else { return };
        let Some(source) = planner.source_of(fetch) else { return };
        planner.on_ended(fetch);
        match (outcome, source) {
            (FetchOutcome::Changed, _) => self.on_changed(s),
            (FetchOutcome::NoRanges, _) => planner.on_no_ranges(),
            (FetchOutcome::Failed(failure), Source::Origin) => {
                if failure.class == FailureClass::Disk || failure.class == FailureClass::Fatal {
                    self.fail(failure);
                } else {
                    self.on_origin_failure(now, failure, Phase::Moving, s.rng);
                }
            }
            (FetchOutcome::Failed(failure), Source::Peer(_)) => self.fail(failure),
            (FetchOutcome::PeerFailed(fault), Source::Peer(peer)) => planner.on_peer_fault(now, peer, fault),
            _ => {}
        }
    }

    fn on_stream_ended(&mut self, now: Duration, outcome: FetchOutcome, rng: &mut SmallRng) {
        match outcome {
            FetchOutcome::Done => self.phase = Phase::Staging,
            FetchOutcome::Failed(failure)
                if matches!(failure.class, FailureClass::Transient | FailureClass::Unreachable) =>
            {
                // Without a version nothing can be joined: from the start again, but not for ever.
                self.origin_failures += 1;
                self.on_origin_failure(now, failure, Phase::Prepared { is_held: false }, rng);
            }
            FetchOutcome::Failed(failure) => self.fail(failure),
            _ => self.phase = Phase::Prepared { is_held: false },
        }
    }

    /// The origin names another version: everything of this one is put away and the question is asked anew.
    fn on_changed(&mut self, s: &mut Surroundings<'_>) {
        self.changes += 1;
        if self.changes > CHANGES_ALLOWED {
            let detail = format!("the file at the origin changed {} times during this download", self.changes);
            self.fail(Failure::transient("origin-changing", detail));
            return;
        }
        self.restart(s.effects);
    }

    /// Back to the question; flights are ended and the entity let go.
    fn restart(&mut self, effects: &mut VecDeque<Effect>) {
        self.abort_all(effects);
        effects.push_back(Effect::Outdated { file: self.at });
        self.phase = Phase::Prepared { is_held: true };
        self.is_head_refused = false;
        self.bytes = SourceBytes::default();
        self.streamed = 0;
    }

    fn on_origin_failure(&mut self, now: Duration, failure: Failure, otherwise: Phase, rng: &mut SmallRng) {
        self.origin_failures += 1;
        let is_hopeless = match failure.class {
            FailureClass::Fatal | FailureClass::Disk => true,
            FailureClass::Unreachable => !self.is_first_contact_done && self.origin_failures >= 2,
            // An origin that names a pause is obeyed by the job's own timer.
            FailureClass::Transient => failure.retry_after.is_some(),
        };
        if is_hopeless || self.origin_failures > retry::ORIGIN_FAILURES_PER_TURN {
            self.fail(failure);
            return;
        }
        self.origin_wait = now + retry::origin_delay(self.origin_failures, rng);
        self.phase = otherwise;
    }

    /// Answer to the staging.
    pub fn on_staged(&mut self, result: Result<StagedFile, Failure>, effects: &mut VecDeque<Effect>) {
        if !matches!(self.phase, Phase::Staging | Phase::Streaming { .. }) {
            return;
        }
        match result {
            Ok(staged) => {
                self.length = Some(staged.length);
                self.root = Some(staged.root);
                self.wasted = staged.wasted;
                // The ledger's account replaces what was counted under way.
                let (origin, peers) = (staged.origin.min(staged.length), staged.peers.min(staged.length));
                self.streamed = 0;
                self.bytes = SourceBytes { origin, peers, cache: staged.length.saturating_sub(origin + peers) };
                self.phase = Phase::Staged;
                effects.push_back(Effect::Release { file: self.at });
                self.entity_is_done();
            }
            Err(failure)
                if failure.code == "digest-mismatch"
                    && self.mismatches < MISMATCHES_ALLOWED
                    && self.bytes.peers + self.bytes.cache > 0 =>
            {
                // Some byte came from elsewhere than the origin: once more, from the origin alone.
                self.mismatches += 1;
                self.peer_use.fetch = false;
                effects.push_back(Effect::Discard { file: self.at });
                let entity = self.entity.as_ref().map(Entity::id);
                self.restart(effects);
                effects.extend(entity.map(|entity| Effect::Distrust { entity }));
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn entity_is_done(&mut self) {
        self.planner = None;
        self.parked = None;
    }

    /// Asks for the staged file to become visible.
    pub fn publish(&mut self, effects: &mut VecDeque<Effect>) {
        if matches!(self.phase, Phase::Staged) {
            self.failure = None;
            self.phase = Phase::Publishing;
            effects.push_back(Effect::Publish { file: self.at });
        }
    }

    /// Answer to the publishing.
    pub fn on_published(&mut self, result: Result<(), Failure>) {
        if matches!(self.phase, Phase::Publishing) {
            match result {
                Ok(()) => self.phase = Phase::Published,
                Err(failure) => {
                    self.phase = Phase::Staged;
                    self.failure = Some(failure);
                }
            }
        }
    }

    /// Stops whatever is under way; what is durable stays.
    pub fn pause(&mut self, effects: &mut VecDeque<Effect>) {
        self.abort_all(effects);
        self.failure = None;
        self.origin_failures = 0;
        self.origin_wait = Duration::ZERO;
        self.is_first_contact_done = false;
        self.changes = 0;
        if !self.is_staged() {
            self.phase = Phase::Idle;
            self.bytes = SourceBytes::default();
            self.streamed = 0;
        }
    }

    /// Stops and takes every trace beside the destination away.
    pub fn discard(&mut self, effects: &mut VecDeque<Effect>) {
        self.abort_all(effects);
        if !matches!(self.phase, Phase::Published) {
            effects.push_back(Effect::Discard { file: self.at });
            self.phase = Phase::Idle;
        }
    }

    fn abort_all(&mut self, effects: &mut VecDeque<Effect>) {
        let contact = match &self.phase {
            Phase::Contacting { fetch, .. } | Phase::Contacted { fetch, .. } | Phase::Streaming { fetch } => {
                Some(*fetch)
            }
            Phase::Opening { parked } => *parked,
            _ => None,
        };
        let flights = self.planner.iter().flat_map(Planner::fetches);
        let mut fetches: Vec<FetchId> = contact.into_iter().chain(flights).collect();
        fetches.dedup();
        effects.extend(fetches.into_iter().map(|fetch| Effect::Abort { fetch }));
        if self.entity.take().is_some() {
            effects.push_back(Effect::Release { file: self.at });
        }
        self.planner = None;
        self.parked = None;
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.phase = Phase::Failed;
    }
}

/// The digests of job and origin together, each once, strongest first.
fn strongest_first(job: &[ExpectedDigest], origin: &[ExpectedDigest]) -> Vec<ExpectedDigest> {
    let mut all: Vec<ExpectedDigest> = job.iter().chain(origin).cloned().collect();
    all.sort_by_key(|digest| std::cmp::Reverse(digest.algorithm));
    all.dedup();
    all
}
