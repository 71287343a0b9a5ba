//! The first questions: what is held here, what the origin has, and under which version it is opened.

use super::{CacheUse, FIRST_RANGE, File, HeldUse, NO_DESCRIPTOR, PartUse, Phase, SourceBytes, Surroundings};
use crate::job::portion::Ranges;
use crate::job::spec::Asking;
use crate::job::terms::Redirects;
use crate::planner::Planner;
use crate::port::{ContactMethod, Contacted, Effect, Failure, FailureClass, FetchId, FetchOutcome, Held};
use crate::trust::Line;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::RangeSupport;
use eddy_content::http::freshness::Decision;
use eddy_content::{BlockSet, Entity, Geometry, ResourceUrl};

/// Why a file goes past a cache that has room for it.
const CACHE_FAILS: &str = "the disk of the cache stands in the way";
/// The same.
const OTHER_METHOD: &str = "the job asks with another method than GET";
/// The same: the bytes are that proxy's word, and others would take them for the origin's.
const OWN_PROXY: &str = "the job names a proxy of its own, and plain HTTP does not show whose bytes come through it";
/// The same: what is held is this node's own reading of the origin, which the job's word alone does not take away.
pub(super) const OTHER_DIGEST: &str = "what is held is not what the job's digest says";
/// Why a file is not held.
const NOT_HOLDABLE: &str = "the origin names no version that can be held";
/// The same.
const OTHER_VERSION: &str = "the file at the origin has changed while it was read";
/// Why ranges have no place in a file of unknown length.
const OPEN_RANGE: &str = "the server names no length, so a range up to the end of the file has to be the last";

impl File {
    pub(super) fn contact(&mut self, held: Held, s: &mut Surroundings<'_>) {
        if s.cache_use == CacheUse::PassedBy {
            self.pass_cache_by(CACHE_FAILS);
        }
        if self.is_asked_once {
            self.pass_cache_by(OTHER_METHOD);
        }
        if self.is_word_of_proxy(&self.spec.url) {
            self.pass_cache_by(OWN_PROXY);
        }
        let is_held = held != Held::Nothing;
        if let Some(facts) = self.unasked(held) {
            // The store's word stands for the origin's; nothing is parked under this name.
            let fetch = s.out.name_fetch(self.at);
            s.out.forget(fetch);
            self.is_first_contact_done = true;
            self.phase = Phase::Contacted { fetch, facts };
            return;
        }
        let may_have_peers = self.peer_use.fetch && (!s.peers.is_empty() || s.now < s.settling_until);
        let method = if self.wants_whole {
            self.all_at_once()
        } else if (is_held || may_have_peers || self.spec.portion.demand().is_some()) && !self.is_head_refused {
            ContactMethod::Describe
        } else {
            let (first, last) =
                self.spec.portion.ranges().map_or((0, FIRST_RANGE - 1), |ranges| ranges.beginning(FIRST_RANGE));
            ContactMethod::Range { first, last: Some(last) }
        };
        let fetch = s.out.name_fetch(self.at);
        let (url, credentials) = (self.spec.url.clone(), self.spec.credentials.clone());
        s.out.push(Effect::Contact { fetch, file: self.at, url, credentials, method });
        self.phase = Phase::Contacting { fetch, method };
    }

    /// The question whose answer has all that is wanted in one body.
    fn all_at_once(&self) -> ContactMethod {
        let Some(ranges) = self.spec.portion.ranges() else { return ContactMethod::Whole };
        match ranges.hull() {
            // Without a length nothing says that a part is all there is.
            (_, None) if self.length.is_none() => ContactMethod::Whole,
            (first, last) => ContactMethod::Range { first, last },
        }
    }

    /// Whether the body of an answer has all that is wanted.
    fn carries_all(&self, facts: &Contacted) -> bool {
        let Some((start, end)) = facts.body else { return false };
        let (first, last) = self.spec.portion.ranges().map_or((0, None), Ranges::hull);
        start <= first
            && match (end, last) {
                (None, _) => true,
                (Some(end), Some(last)) => end > last,
                (Some(_), None) => end == facts.length,
            }
    }

    /// The version that is held whole, if it may be delivered without asking the origin (promise 3; RFC 9111 section 4).
    fn unasked(&mut self, held: Held) -> Option<Box<Contacted>> {
        let Held::Whole { facts, decision } = held else { return None };
        let (Decision::Fresh { seconds }, Asking::WithinLifetime, false) = (decision, self.asking, self.wants_whole)
        else {
            self.held_use = Some(HeldUse::Asked(decision));
            return None;
        };
        self.held_use = Some(HeldUse::Unasked { seconds });
        Some(facts)
    }

    /// The origin has answered: hold on to the version if it names one, else stream. False when that has to wait for the
    /// answer to an earlier question.
    pub(super) fn open(&mut self, fetch: FetchId, facts: Box<Contacted>, s: &mut Surroundings<'_>) -> bool {
        if self.is_word_of_proxy(&facts.url) {
            self.pass_cache_by(OWN_PROXY);
        }
        let is_holdable = facts.length.is_some_and(|length| Geometry::new(length).is_some())
            && facts.storable
            && self.uncacheable.is_none();
        let (Some(validator), Some(length), true) = (facts.validator.clone(), facts.length, is_holdable) else {
            if self.part_use.is_some() {
                self.phase = Phase::Contacted { fetch, facts };
                return false;
            }
            if self.is_only_held() {
                return self.refuse_to_hold(fetch, &facts, NOT_HOLDABLE, s);
            }
            if let Err(failure) = self.learn(&facts) {
                return self.refuse(fetch, &facts, failure, s);
            }
            self.stream(fetch, &facts, s);
            return true;
        };
        if self.owes_opened {
            self.phase = Phase::Contacted { fetch, facts };
            return false;
        }
        if let Err(failure) = self.learn(&facts) {
            return self.refuse(fetch, &facts, failure, s);
        }
        self.is_shareable = facts.shareable && self.spec.credentials.is_none() && !self.is_personal;
        let entity = Entity { url: facts.url.clone(), validator, length };
        if self.is_only_held() && *self.pinned_version.get_or_insert(entity.id()) != entity.id() {
            // Whoever reads it has begun with another version: never spliced.
            return self.refuse_to_hold(fetch, &facts, OTHER_VERSION, s);
        }
        let line = if facts.url.is_https() { Line::Tls } else { Line::Plain };
        self.judge_trust(line, Geometry::new(length), s);
        self.entity_id = Some(entity.id());
        self.opened = self.entity_id;
        self.entity = Some(entity.clone());
        self.parked = facts.body.map(|(start, end)| (fetch, start, end));
        s.out.push(Effect::Open {
            file: self.at,
            entity,
            requested_url: self.spec.url.clone(),
            shareable: self.is_shareable && self.peer_use.share,
            last_modified: facts.last_modified,
            digests: facts.digests,
            freshness: facts.freshness,
        });
        self.owes_opened = true;
        self.planner = Geometry::new(length).map(|geometry| {
            let planner = self.planner_of(geometry, BlockSet::new(), facts.ranges);
            match (&self.stretches, self.spec.portion.demand()) {
                (Some(stretches), _) => planner.wanting(stretches.blocks(geometry), 0),
                (None, Some(demand)) => planner.wanting(demand.blocks(geometry), demand.position()),
                (None, None) => planner,
            }
        });
        self.waited = facts.waited;
        self.phase = Phase::Opening { parked: facts.body.map(|_| fetch) };
        true
    }

    /// A planner for this file: one that is only held is read while it comes.
    fn planner_of(&self, geometry: Geometry, held: BlockSet, ranges: RangeSupport) -> Planner {
        let planner = Planner::new(geometry, held, ranges);
        if self.is_only_held() { planner.read_along() } else { planner }
    }

    /// A file that is only held ends where another would go past the store or on to another version; false.
    fn refuse_to_hold(&mut self, fetch: FetchId, facts: &Contacted, why: &str, s: &mut Surroundings<'_>) -> bool {
        self.refuse(fetch, facts, Failure::fatal("origin-changing", why), s)
    }

    /// The file ends with an answer that is of no use; false.
    fn refuse(&mut self, fetch: FetchId, facts: &Contacted, failure: Failure, s: &mut Surroundings<'_>) -> bool {
        if facts.body.is_some() {
            s.out.drop_fetch(fetch);
        }
        self.fail(failure);
        false
    }

    /// Takes over what the origin says; an error when the file does not have what is wanted of it.
    fn learn(&mut self, facts: &Contacted) -> Result<(), Failure> {
        let is_secretive = self.is_personal || self.spec.credentials.is_some();
        // The URL that the job named is asked until the whole is there: only that one goes where its owner may (T-20).
        let is_told = self.redirects == Redirects::Report && may_become(&self.spec.url, &facts.url, is_secretive);
        self.told = is_told.then(|| facts.url.clone());
        let Some(ranges) = self.spec.portion.ranges() else {
            self.length = facts.length;
            self.has_origin_digest = !facts.digests.is_empty();
            self.digests = strongest_first(&self.spec.digests, &facts.digests);
            return Ok(());
        };
        let stretches = match facts.length {
            Some(length) => ranges.within(length).map_err(|outside| outside.to_string()),
            None => ranges.within_unknown().ok_or_else(|| OPEN_RANGE.to_owned()),
        };
        let stretches = stretches.map_err(|detail| Failure::fatal("range-outside", detail))?;
        self.length = facts.length.map_or(ranges.length(), |_| Some(stretches.length()));
        // What the origin promises is about the whole.
        self.has_origin_digest = false;
        self.digests = strongest_first(&self.spec.digests, &[]);
        self.stretches = Some(stretches);
        Ok(())
    }

    /// Content without a version to hold on to: one stream from byte 0, restarted on failure, never shared.
    fn stream(&mut self, fetch: FetchId, facts: &Contacted, s: &mut Surroundings<'_>) {
        self.streamed = 0;
        self.furthest_before_stream = self.furthest;
        if self.carries_all(facts) {
            let no_version = "the origin names no version that can be shared or resumed";
            self.origin_reason = Some(self.uncacheable.unwrap_or(no_version));
            let (stretches, digests) = (self.stretches.clone(), self.digests.clone());
            s.out.push(Effect::Stream { fetch, file: self.at, stretches, digests });
            self.part_use = Some(PartUse::Stream(fetch));
            self.phase = Phase::Streaming { fetch };
            return;
        }
        if facts.body.is_some() {
            s.out.drop_fetch(fetch);
        }
        if self.wants_whole {
            // A plain GET that did not give the whole: nothing else can be asked for.
            let detail = "the server answered a plain request with a part of the file";
            self.fail(Failure::fatal("origin-protocol", detail));
            return;
        }
        self.wants_whole = true;
        self.phase = Phase::Prepared { held: Held::Nothing };
    }

    /// Answer to the preparation.
    pub fn on_prepared(&mut self, result: Result<Held, Failure>) {
        if matches!(self.phase, Phase::Preparing) {
            match result {
                Ok(held) => self.phase = Phase::Prepared { held },
                Err(failure) => self.fail(failure),
            }
        }
    }

    /// Answer to the contact.
    pub fn on_contacted(&mut self, fetch: FetchId, result: Result<Box<Contacted>, Failure>, s: &mut Surroundings<'_>) {
        let Phase::Contacting { fetch: expected, method } = self.phase else { return };
        if expected != fetch {
            return;
        }
        if !result.as_ref().is_ok_and(|facts| facts.body.is_some()) {
            // No body is parked: this was all that will be heard of it.
            s.out.forget(fetch);
        }
        match result {
            Ok(facts) => {
                self.is_first_contact_done = true;
                self.phase = Phase::Contacted { fetch, facts };
            }
            // Some servers answer HEAD badly and GET well: only the answer to a GET counts. One that names a pause, or is
            // not there, would not answer a GET better.
            Err(failure)
                if method == ContactMethod::Describe
                    && failure.class != FailureClass::Unreachable
                    && failure.retry_after.is_none() =>
            {
                self.is_head_refused = true;
                self.phase = Phase::Prepared { held: Held::Nothing };
            }
            Err(failure) => self.on_origin_failure(s.now, failure, Phase::Prepared { held: Held::Nothing }, s.rng),
        }
    }

    /// Answer to the opening of the entity.
    pub fn on_opened(&mut self, result: Result<BlockSet, Failure>, s: &mut Surroundings<'_>) {
        let was_owed = std::mem::take(&mut self.owes_opened);
        let Phase::Opening { parked } = self.phase else {
            // Given up meanwhile: nobody else lets go of it.
            if was_owed && result.is_ok() {
                s.out.push(Effect::Release { file: self.at });
            }
            return;
        };
        let held = match result {
            Ok(held) => held,
            Err(failure) => {
                if let Some(fetch) = parked {
                    s.out.drop_fetch(fetch);
                }
                self.forget_entity();
                if self.is_only_held() {
                    return self.fail(Failure { class: FailureClass::Fatal, ..failure });
                }
                // The store has no place for it: past the store, as content without a version would go. Not for want of
                // descriptors, which come back.
                match (failure.code.as_str(), failure.class) {
                    ("cache-too-small", _) => self.pass_cache_by("the file does not fit into the cache"),
                    (NO_DESCRIPTOR, _) => return self.fail(failure),
                    (_, FailureClass::Disk) => self.pass_cache_by(CACHE_FAILS),
                    _ => return self.fail(failure),
                }
                self.phase = Phase::Prepared { held: Held::Nothing };
                return;
            }
        };
        let Some(planner) = &self.planner else { return };
        let geometry = planner.geometry();
        let mut held = held;
        // Another job's fetch may have brought some between the look into the store and now.
        held.union_with(planner.held());
        let (wanted, position, ranges) = (planner.wanted().clone(), planner.position(), planner.ranges());
        self.bytes = SourceBytes { cache: self.bytes_in(geometry, &held), ..SourceBytes::default() };
        self.phase = Phase::Moving;
        let planner = self.planner_of(geometry, held, ranges).wanting(wanted, position);
        let planner = self.planner.insert(planner);
        let Some((fetch, start, end)) = self.parked else { return };
        // Of the parked body, take the first run that is missing; what other runs need is planned as usual.
        let carried = geometry.blocks_inside(start..end.unwrap_or(geometry.length()));
        let mut wanted = BlockSet::from_run(carried).intersection(planner.wanted()).difference(planner.held());
        let elsewhere = self.entity_id.map(|entity| s.out.claimed_elsewhere(entity, self.at)).unwrap_or_default();
        wanted.difference_with(&elsewhere);
        match wanted.first_run() {
            Some(run) => {
                // Where there are no ranges each body is read from its beginning: the next would bring the same again.
                let is_all_there_is = self.stretches.is_some() && !planner.serves_ranges() && elsewhere.is_empty();
                let blocks = if is_all_there_is { run.start..planner.wanted_end() } else { run };
                planner.begin_answered(s.now, fetch, blocks.clone(), self.waited);
                if let Some(entity) = self.entity_id.filter(|_| !self.is_limited) {
                    s.out.claim(fetch, entity, blocks.clone());
                }
                self.origin_reason = Some(match (self.peer_use.fetch, self.is_shareable, self.unwanted()) {
                    (false, ..) => "the job does not use peers",
                    (true, false, _) => "the content is private",
                    (true, true, Some(why)) => why,
                    (true, true, None) => "no peer was connected when the origin was asked",
                });
                s.out.push(Effect::Pump { fetch, file: self.at, blocks });
            }
            None => {
                self.parked = None;
                s.out.drop_fetch(fetch);
            }
        }
    }

    /// Whether what comes from there is the word of a proxy that the job's owner has chosen, and of nobody else.
    fn is_word_of_proxy(&self, url: &ResourceUrl) -> bool {
        self.has_own_proxy && !url.is_https()
    }

    pub(super) fn pass_cache_by(&mut self, reason: &'static str) {
        self.uncacheable = Some(reason);
        self.wants_whole = true;
    }

    /// The body that went straight beside the destination broke off.
    pub(super) fn on_stream_ended(&mut self, outcome: FetchOutcome, s: &mut Surroundings<'_>) {
        let failure = match outcome {
            FetchOutcome::Failed(failure) => failure,
            _ => Failure::transient("connection-lost", "the body of the file ended without its end"),
        };
        if self.furthest == self.furthest_before_stream {
            // It came no further than an earlier one: a whole body was spent for nothing, so the pause is the job's.
            self.fail(failure);
            return;
        }
        // Without a version nothing can be joined: from the start again, but not for ever.
        self.on_origin_failure(s.now, failure, Phase::Prepared { held: Held::Nothing }, s.rng);
    }
}

/// The digests of job and origin together, each once, strongest first.
fn strongest_first(job: &[ExpectedDigest], origin: &[ExpectedDigest]) -> Vec<ExpectedDigest> {
    let mut all: Vec<ExpectedDigest> = job.iter().chain(origin).cloned().collect();
    all.sort_by_key(|digest| std::cmp::Reverse(digest.algorithm));
    all.dedup();
    all
}

/// Whether a file's URL may become the one where its redirects ended. What is shown of a job goes to the origin that the URL names; where
/// that is cannot be the word of an origin that was asked.
fn may_become(named: &ResourceUrl, end: &ResourceUrl, is_secretive: bool) -> bool {
    end != named && (!is_secretive || end.origin() == named.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f64_a_redirect_is_told_but_moves_no_secret_to_another_origin() {
        let url = |text: &str| ResourceUrl::parse(text).expect("parses");
        let named = url("https://a.example/f");
        let told = |end: &str| [false, true].map(|is_secretive| may_become(&named, &url(end), is_secretive));
        assert_eq!(told("https://a.example/g"), [true, true]);
        assert_eq!(told("https://b.example/f"), [true, false]);
        assert_eq!(told("https://a.example:444/f"), [true, false]);
        assert_eq!(told("https://a.example/f"), [false, false]);
    }
}
