//! Who is given what: a segment that is held or on its way is given as it becomes verified; who comes too early waits a moment.

use super::{Act, Effect, Member};
use crate::port::Peer;
use crate::swarm::constants::{SUBSCRIBER_PATIENCE, WAITING};
use crate::swarm::message::Say;
use crate::swarm::name::ContentTag;
use std::time::Duration;

/// A segment that is being given to somebody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gift {
    /// When the child last heard something of it.
    pub(super) told: Duration,
    /// Verified blocks of this member at that time.
    pub(super) prefix: u32,
}

/// Somebody whose wish came before this member's own assignment (trap 7).
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscriber {
    pub(super) peer: Peer,
    segment: u32,
    from: u32,
    pub(super) until: Duration,
}

impl Member {
    /// A child asks for a segment.
    pub(in crate::swarm) fn on_subscribe(
        &mut self,
        now: Duration,
        peer: Peer,
        content: ContentTag,
        segment: u32,
        from: u32,
    ) {
        let subscriber = Subscriber { peer, segment, from, until: now + SUBSCRIBER_PATIENCE.iter().sum::<Duration>() };
        if self.jobs.get(&content).is_none_or(|job| segment >= job.have.len()) {
            return self.shell(Effect::Refuse { to: peer, content, segment });
        }
        if self.can_give(content, segment) && self.has_upload_room() {
            return self.give(now, content, subscriber);
        }
        if let Some(job) = self.jobs.get_mut(&content) {
            job.subscribers.push(subscriber);
        }
    }

    /// Who waits is given what is there, or refused when its time is over.
    pub(super) fn answer_subscribers(&mut self, now: Duration, content: ContentTag) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        for subscriber in std::mem::take(&mut job.subscribers) {
            if self.can_give(content, subscriber.segment) && self.has_upload_room() {
                self.give(now, content, subscriber);
            } else if now >= subscriber.until {
                self.shell(Effect::Refuse { to: subscriber.peer, content, segment: subscriber.segment });
            } else if let Some(job) = self.jobs.get_mut(&content) {
                job.subscribers.push(subscriber);
            }
        }
    }

    /// A child has all, or wants no more.
    pub(in crate::swarm) fn on_given(&mut self, peer: Peer, content: ContentTag, segment: u32) {
        if let Some(job) = self.jobs.get_mut(&content) {
            job.gifts.remove(&(segment, peer));
            job.subscribers.retain(|subscriber| (subscriber.segment, subscriber.peer) != (segment, peer));
        }
    }

    /// Tells children that this member has no more for them than they have.
    pub(super) fn tell_waiting(&mut self, now: Duration, content: ContentTag) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let mut gifts = std::mem::take(&mut job.gifts);
        for ((segment, child), gift) in &mut gifts {
            let prefix = if job.have.has(*segment) { u32::MAX } else { job.prefix(*segment) };
            if prefix != gift.prefix {
                (gift.prefix, gift.told) = (prefix, now);
            } else if prefix != u32::MAX && now >= gift.told + WAITING {
                gift.told = now;
                let say = Say::Waiting { content, segment: *segment, prefix };
                self.acts.push_back(Act::Peer(*child, say));
            }
        }
        job.gifts = gifts;
    }

    fn can_give(&self, content: ContentTag, segment: u32) -> bool {
        let Some(job) = self.jobs.get(&content) else { return false };
        job.have.has(segment) || job.flows.contains_key(&segment) || job.prefixes.contains_key(&segment)
    }

    fn give(&mut self, now: Duration, content: ContentTag, to: Subscriber) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let prefix = job.prefix(to.segment);
        job.gifts.insert((to.segment, to.peer), Gift { told: now, prefix });
        self.shell(Effect::Serve { to: to.peer, content, segment: to.segment, from: to.from });
    }
}
