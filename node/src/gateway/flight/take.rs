//! What an answer means for those who wait: kept, still good, for one alone, or another question.

use super::super::growing::Growing;
use super::super::links;
use super::super::promised::{keeps, linked};
use super::super::shelf::Stored;
use super::bodies::{Growth, may_hold};
use super::intake::Broke;
use super::{Flight, Landing, MOST_IN_MEMORY, Manner, Outcome, value};
use crate::driver::held::wall_clock;
use crate::origin::{Relayed, Span};
use bytes::Bytes;
use eddy_content::EntityId;
use eddy_content::http::freshness::{Freshness, Variant};
use eddy_content::http::serve::{Joint, Marks, Part, joint, may_keep, part_of, refresh};
use eddy_content::http::{Framing, NotShared, Representation, RequestPrivacy, ResponseHead, Verdict, shareable_url};
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, RANGE};
use std::sync::Arc;

impl Flight {
    /// Lets peers have what a hub has led to: the place is signed (T-36), but its content is named by a digest, and nobody has proved
    /// who he is to be led there.
    fn share_as_named(&self, verdict: &mut Verdict) {
        let Some(representation) = representation_of(verdict) else { return };
        let is_lifted = representation.shareable.is_err_and(NotShared::is_lifted_by_digest);
        let is_public = self.sent.privacy == RequestPrivacy::Plain && shareable_url(&self.target.url).is_ok();
        if is_lifted && is_public && representation.validator.is_some() {
            representation.shareable = Ok(());
        }
    }

    /// Takes an answer; the next question, if that was not the last.
    pub(super) async fn take(&mut self, mut relayed: Relayed, manner: Manner) -> Option<Manner> {
        let status = relayed.head.status;
        if self.linked(&relayed.head).is_some() {
            // The place that a hub leads to has another URL each time, signed anew. The hub's own names the same bytes, by their digest.
            (relayed.final_url, relayed.led_by) = (self.target.url.clone(), None);
            self.share_as_named(&mut relayed.verdict);
        }
        if self.sent.leave.is_some() {
            // As there; and nobody but the origin that is mounted may see the proof that goes with what is asked later.
            (relayed.final_url, relayed.led_by) = (self.target.url.clone(), None);
        }
        if let Some(representation) = representation_of(&mut relayed.verdict).filter(|_| self.sent.names_somebody) {
            representation.shareable = Err(NotShared::PersonalRequest);
        }
        if matches!(status, 500 | 502 | 503 | 504) && self.use_stale() {
            return None;
        }
        if let (304, Manner::Conditional, Some(stale)) = (status, manner, self.stale.clone()) {
            return self.take_not_modified(&relayed, &stale);
        }
        if manner == Manner::Head {
            return self.take_description(relayed).await;
        }
        if manner == Manner::Rest {
            return self.take_rest(relayed).await;
        }
        if manner == Manner::FirstRange {
            match relayed.verdict.clone() {
                Verdict::Continue { bytes, representation } if bytes.start == 0 => {
                    if representation.length != Some(bytes.end) {
                        let part = Span { start: 0, end: Some(bytes.end) };
                        let body = relayed.body.take().map(|body| (part, body));
                        return self.hold(relayed, representation, body).await.map_or(Some(Manner::Whole), |()| None);
                    }
                    // The whole of it came as a part of it.
                    relayed.head.status = 200;
                    relayed.head.headers.remove(CONTENT_RANGE);
                    relayed.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end));
                    relayed.verdict = Verdict::Whole { representation };
                }
                Verdict::Whole { .. } => {}
                // Whatever else a range led to, the plain question may lead elsewhere.
                _ => return Some(Manner::Whole),
            }
        }
        self.take_answer(relayed).await
    }

    /// What is stored is still good, under the fields of the answer that says so (RFC 9111 section 4.3.4; R-53).
    fn take_not_modified(&mut self, relayed: &Relayed, stale: &Arc<Stored>) -> Option<Manner> {
        let later = &relayed.head.headers;
        // T-37: a 304 about another version than the stored one says nothing about that.
        if let (Some(named), Some(known)) = (later.get(ETAG), stale.fields.get(ETAG))
            && opaque(named) != opaque(known)
        {
            self.stale = None;
            return Some(Manner::Whole);
        }
        // The hub names other bytes than those that are stored: whoever holds them has not changed with it yet, or says so.
        let promised = self.linked(&relayed.head);
        if promised.is_some() && promised != linked(&self.target, &stale.fields) {
            self.stale = None;
            return Some(Manner::Whole);
        }
        let mut stored = Stored::clone(stale);
        refresh(&mut stored.fields, later);
        stored.freshness = stored.freshness.updated(Freshness::of(later, self.asked_by(), relayed.exchange));
        stored.variant = Variant::of(&stored.fields, &self.sent.fields);
        stored.marks = Marks::of(&stored.fields, relayed.exchange.received);
        if stored.is_led {
            // The marks of the origin's own page come again with each answer.
            stored = stored.led();
        }
        let stored = Arc::new(stored);
        self.gateway.shelf.put(self.target.key(), &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, None, Outcome::NotModified(relayed.head.status)));
        None
    }

    /// The rest of what is held, joined to it where that may be; the version that is there instead, or nothing of use.
    async fn take_rest(&mut self, mut relayed: Relayed) -> Option<Manner> {
        if relayed.head.status == 200 {
            return self.take_answer(relayed).await;
        }
        let Some(held) = self.beginning.take() else { return Some(Manner::Whole) };
        let first = held.bytes.len() as u64;
        let asked = HeaderMap::from_iter([(RANGE, value(&format!("bytes={first}-")))]);
        let rest = Part::At { bytes: first..held.length, length: held.length };
        let fits = part_of(&asked, &relayed.head) == Some(rest);
        let Some(joint) = joint(&held.fields, &relayed.head.headers, wall_clock()).filter(|_| fits) else {
            return Some(Manner::Whole);
        };
        // RFC 9111 section 3.4: under the fields of the later answer, and those of the earlier that it does not have.
        let mut fields = held.fields;
        [AGE, DATE, CONTENT_RANGE].iter().for_each(|name| drop(fields.remove(name)));
        refresh(&mut fields, &relayed.head.headers);
        fields.insert(CONTENT_LENGTH, HeaderValue::from(held.length));
        relayed.head = ResponseHead { status: 200, headers: fields, ..relayed.head };
        let kept = may_keep(self.target.rules.keeping, &self.sent.fields, &relayed.head);
        let room = self.gateway.room(held.length).filter(|_| kept.is_ok() && !self.sent.is_unkept);
        let (Some(room), Some(body)) = (room, relayed.body.take()) else { return Some(Manner::Whole) };
        let representation = match &relayed.verdict {
            Verdict::Continue { representation, .. } => Some(representation.clone()),
            _ => None,
        };
        let mut growth = Growth { held: held.bytes, length: held.length, room, digests: Vec::new() };
        if let Joint::Digest(digests) = joint {
            growth.digests = digests;
        }
        growth.digests.extend(self.promised(&relayed.head));
        self.grow(relayed, representation, body, growth).await
    }

    /// The head of a version whose body may be here, at peers, or at the origin in ranges.
    async fn take_description(&mut self, relayed: Relayed) -> Option<Manner> {
        let (Verdict::Described { representation } | Verdict::Whole { representation }) = relayed.verdict.clone()
        else {
            return Some(Manner::Whole);
        };
        if links::has_links(&self.target.links, &self.target.url, (200, &relayed.head.headers)) {
            // What is held of it, for whom else, has the origin's own links.
            return Some(Manner::Whole);
        }
        let is_short = representation.length.is_none_or(|length| length <= MOST_IN_MEMORY);
        if is_short && self.page(&relayed.head).is_some() {
            // It may be held of a time, or by a way, when nobody read what it promises.
            return Some(Manner::Whole);
        }
        let is_large = representation.length.is_some_and(|length| length > MOST_IN_MEMORY);
        let is_here = match representation.entity(&relayed.final_url) {
            Some(entity) => self.holds_some(entity.id()).await,
            None => false,
        };
        if (is_large || is_here) && relayed.head.status == 200 {
            return self.hold(relayed, representation, None).await.map_or(Some(Manner::Whole), |()| None);
        }
        Some(Manner::Whole)
    }

    async fn holds_some(&self, id: EntityId) -> bool {
        let store = self.gateway.store.clone();
        let found =
            tokio::task::spawn_blocking(move || store.find(&id).ok().flatten().is_some_and(|e| !e.held().is_empty()));
        found.await.unwrap_or(false)
    }

    /// Takes the answer to a question about the whole.
    async fn take_answer(&mut self, mut relayed: Relayed) -> Option<Manner> {
        let kept = may_keep(self.target.rules.keeping, &self.sent.fields, &relayed.head);
        let about = (relayed.head.status, &relayed.head.headers);
        let has_links = links::has_links(&self.target.links, &self.target.url, about);
        if has_links && let Some(body) = relayed.body.take() {
            return self.gather(relayed, body).await;
        }
        if self.sent.is_unkept || kept.is_err() {
            tracing::debug!(url = %self.target.url, why = ?kept.err(), "the answer is passed on and not kept");
            return self.alone(relayed.head, Bytes::new(), relayed.body);
        }
        let representation = match &relayed.verdict {
            Verdict::Whole { representation } => Some(representation.clone()),
            _ => None,
        };
        let Some(body) = relayed.body.take() else {
            let promised = self.promised(&relayed.head);
            if !keeps(&promised, &[]) {
                return self.fail(Broke::False.refusal());
            }
            return self.stand(&relayed, Growing::whole(Bytes::new(), None), (0, &promised));
        };
        let length = length_of(&relayed.head);
        match length {
            Some(length) if length > MOST_IN_MEMORY => {
                let Some(representation) = representation.filter(|of| may_hold(of) && !self.is_refused) else {
                    return self.alone(relayed.head, Bytes::new(), Some(body));
                };
                let span = Span { start: 0, end: Some(length) };
                self.hold(relayed, representation, Some((span, body))).await.map_or(Some(Manner::Whole), |()| None)
            }
            Some(length) => match self.gateway.room(length) {
                Some(room) => {
                    let growth = Growth { held: Bytes::new(), length, room, digests: Vec::new() };
                    self.grow(relayed, representation, body, growth).await
                }
                None => self.alone(relayed.head, Bytes::new(), Some(body)),
            },
            None => self.gather(relayed, body).await,
        }
    }
}

/// The length that a head names.
pub(in crate::gateway) fn length_of(head: &ResponseHead) -> Option<u64> {
    Framing::of(head).ok()?.length()
}

fn representation_of(verdict: &mut Verdict) -> Option<&mut Representation> {
    match verdict {
        Verdict::Continue { representation, .. }
        | Verdict::Whole { representation }
        | Verdict::Described { representation } => Some(representation),
        _ => None,
    }
}

fn opaque(etag: &HeaderValue) -> &[u8] {
    etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes())
}
