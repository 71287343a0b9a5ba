//! What a member looks at by itself: silent flows, children that wait, a home that does nothing.

use super::gate::Gate;
use super::{Act, Job, Member};
use crate::port::Peer;
use crate::swarm::constants::{HOME_WORTH, HOME_WORTH_STREAM, IDLE_JOIN, REACHED, REJOIN_DOUBLINGS, WATCH};
use crate::swarm::message::Say;
use crate::swarm::name::{ContentTag, Reading};
use std::time::Duration;

impl Member {
    /// When something may be due though nothing happens.
    pub(in crate::swarm) fn timeout(&self) -> Option<Duration> {
        let is_watchful = self.jobs.values().any(|job| job.is_wanting() || !job.gifts.is_empty());
        let watch = is_watchful.then_some(self.watch_at);
        let reports = self.jobs.values().filter_map(|job| job.done_at);
        let waiting = self.jobs.values().flat_map(|job| job.subscribers.iter().map(|subscriber| subscriber.until));
        let gates = self.jobs.values().filter_map(|job| job.gate.as_ref().map(Gate::opens_at));
        reports.chain(waiting).chain(gates).chain(watch).min()
    }

    /// Does what is due. `heard` is when the home last said anything.
    pub(in crate::swarm) fn on_timeout(&mut self, now: Duration, heard: Option<Duration>) {
        let contents: Vec<ContentTag> = self.contents().collect();
        for content in &contents {
            if self.jobs.get(content).is_some_and(|job| job.done_at.is_some_and(|at| at <= now)) {
                self.flush(*content);
            }
            self.answer_subscribers(now, *content);
            self.look_at_gate(now, *content);
        }
        if now < self.watch_at {
            return;
        }
        self.watch_at = now + WATCH;
        for content in contents {
            self.watch_flows(now, content);
            self.tell_waiting(now, content);
        }
        self.watch_reads(now);
        self.tell_progress(now);
        self.tell_reached(now);
        self.watch_home(now, heard);
    }

    /// A source says that it has no more itself.
    pub(in crate::swarm) fn on_waiting(
        &mut self,
        now: Duration,
        from: Peer,
        content: ContentTag,
        segment: u32,
        prefix: u32,
    ) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        if let Some(flow) = job.flows.get_mut(&segment).filter(|flow| flow.source == Some(from)) {
            flow.on_waiting(now, prefix);
        }
    }

    /// Says how much of what may be a stream is here; who reads it says so otherwise.
    fn tell_reached(&mut self, now: Duration) {
        if now < self.reached_told + REACHED {
            return;
        }
        self.reached_told = now;
        let may_come = |job: &Job| job.is_wanting() && job.content.reading != Reading::Ranges;
        let is_read = |content: ContentTag| self.reads.values().any(|read| read.is_of(content));
        let told = self.jobs.iter().filter(|(content, job)| may_come(job) && !is_read(**content));
        let told = told.map(|(content, job)| Act::Home(Say::Reached { content: *content, blocks: job.reached() }));
        self.acts.extend(told);
    }

    fn watch_flows(&mut self, now: Duration, content: ContentTag) {
        let any = self.jobs.values().map(|job| job.last_byte).max().unwrap_or_default();
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let complaints = job.flows.iter_mut().filter_map(|(segment, flow)| Some((*segment, flow.complaint(now, any)?)));
        for (segment, reason) in complaints.collect::<Vec<_>>() {
            self.fail(now, content, segment, reason);
        }
    }

    /// The watchdog: a home can cost a bounded delay and nothing more. One that answers and gives nothing of one content while others move
    /// may let them take turns on a slow line, but no longer than all of them together would be borne.
    fn watch_home(&mut self, now: Duration, heard: Option<Duration>) {
        let is_stream = |job: &Job| job.is_wanting() && job.content.reading != Reading::Ranges;
        let worth = if self.jobs.values().any(is_stream) { HOME_WORTH_STREAM } else { HOME_WORTH };
        let wanting = || self.jobs.values().filter(|job| job.is_wanting());
        let Some((last, allowed)) = wanting().map(|job| (job.last_byte, job.silence_allowed)).max() else { return };
        let Some(oldest) = wanting().map(|job| job.last_byte).min() else { return };
        let count = wanting().count() as u32;
        let silence = now.saturating_sub(last);
        let unheard = now.saturating_sub(heard.unwrap_or(last));
        let is_deaf = silence >= allowed && unheard >= allowed;
        let is_starved = now.saturating_sub(oldest) >= worth.max(allowed) * count;
        if is_deaf || is_starved || silence >= worth.max(allowed) {
            self.jobs.values_mut().for_each(|job| job.last_byte = now);
            self.acts.push_back(Act::Forsake);
            return;
        }
        if silence >= IDLE_JOIN {
            // What was said may be lost, also of what is whole and given.
            if self.jobs.values().all(|job| now >= job.rejoined + IDLE_JOIN) {
                self.jobs.values_mut().for_each(|job| (job.rejoined, job.rejoins) = (now, 0));
                self.acts.push_back(Act::RejoinAll);
            }
            return;
        }
        for (content, job) in &mut self.jobs {
            let pause = IDLE_JOIN * (1 << job.rejoins.min(REJOIN_DOUBLINGS));
            let is_silent = job.is_wanting() && now >= job.last_byte + IDLE_JOIN;
            if is_silent && now >= job.rejoined + pause {
                (job.rejoined, job.rejoins) = (now, job.rejoins + 1);
                self.acts.push_back(Act::Rejoin(*content));
            }
        }
    }
}
