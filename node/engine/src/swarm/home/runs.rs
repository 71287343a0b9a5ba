//! What a member gets that shares a content with nobody: long runs of what others hold, in order.
//!
//! Where many take the same, each segment goes its own way and is passed on while it comes. One that is alone has nobody to pass it on
//! to: small requests in any order would only cost it time. It gets no more at once than it else would, so that whoever
//! comes later finds most of it free; and it begins with two short ones, because others that start with it come a moment later.

use super::Home;
use super::board::{From, Lane, Link};
use crate::swarm::constants::{RESCUE, RUN_BYTES, RUN_SEGMENTS, RUNS};
use crate::swarm::message::Item;
use crate::swarm::name::{PeerTag, Reading};
use std::ops::Range;
use std::time::Duration;

impl Home {
    /// Whether nobody else takes what this member takes.
    pub(super) fn is_alone(&self, b: u32, n: u32) -> bool {
        let mut wanting = self.boards[b as usize].wanting();
        wanting.next().is_some_and(|(only, _)| only == n) && wanting.next().is_none()
    }

    /// Gives a member that is alone runs of what others hold, up to `room` segments.
    pub(super) fn fill_alone(&mut self, now: Duration, b: u32, n: u32, room: u32) {
        let board = &self.boards[b as usize];
        let Some(stake) = board.stake(n) else { return };
        let segment_size = board.geometry.segment_size();
        let window = self.seats[n as usize].window(segment_size);
        let start = board.start(n);
        let longest = ((RUN_BYTES / segment_size) as u32).clamp(1, RUN_SEGMENTS).min((window / RUNS).max(1)).min(start);
        let is_busy = stake.flows > 0;
        let held = board.available.without(&stake.have, &stake.under_way);
        let held: Vec<u32> = held.filter(|s| board.segments[*s as usize].holders > 0).collect();
        if is_busy && room < longest && held.len() as u32 > room {
            // A moment later it is a whole run.
            return;
        }
        let (mut at, mut left) = (0, room as usize);
        // Where it has every other one, a window of runs would be more requests than a member answers one other at once: it says that it is busy.
        let is_request = |s: &u32| {
            let link = board.segments[*s as usize].link(n);
            link.lane == Lane::Own && matches!(link.from, From::Member(_))
        };
        let under_way = stake.under_way.iter().filter(is_request).count();
        let mut requests = RUNS.min(start + 1).saturating_sub(under_way as u32);
        while at < held.len() && left > 0 && requests > 0 {
            at += 1;
            let first = held[at - 1];
            let Some((source, rate)) = self.choose_source(now, b, first, n) else { continue };
            let holds = |s: u32| self.boards[b as usize].stake(source).is_some_and(|stake| stake.have.has(s));
            let next = held[at..].iter().zip(first + 1..).take_while(|(s, next)| **s == *next && holds(**s));
            let count = 1 + next.take(left.min(longest as usize) - 1).count();
            self.give_run(now, (b, n), first..first + count as u32, (source, rate));
            requests -= 1;
            (at, left) = (at + count - 1, left - count);
        }
    }

    fn give_run(&mut self, now: Duration, (b, n): (u32, u32), segments: Range<u32>, (source, rate): (u32, u64)) {
        for s in segments.clone() {
            let lane = if s == segments.start { Lane::Own } else { Lane::Shared };
            self.link(now, b, s, n, Link { lane, ..Link::new(From::Member(source), rate) });
        }
        let source = PeerTag::of(&self.seats[source as usize].peer);
        self.assign_at_once(b, n, Item::Held { segments, source });
    }

    /// Lets a member that is alone read what all its holders have failed to give, as it would without a home: no second copy can come
    /// of it, and nobody is served by waiting (trap 10 is of those that are many).
    pub(super) fn read_alone(&mut self, now: Duration, b: u32, n: u32) {
        while self.is_alone(b, n) && self.has_lease_free() && self.may_read(now, n) {
            let board = &self.boards[b as usize];
            if board.content.reading != Reading::Ranges && self.leases.values().any(|lease| lease.board == b) {
                // A second stream would be a second copy (trap 13).
                return;
            }
            let Some(stake) = board.stake(n) else { return };
            let is_failed = |p: &u32| stake.is_refused(now + RESCUE, *p);
            let is_it = |s: &u32| {
                let segment = &board.segments[*s as usize];
                stake.lacks(*s)
                    && !stake.under_way.has(*s)
                    && segment.holders > 0
                    && segment.sources.iter().all(is_failed)
            };
            let Some(s) = (0..stake.have.len()).find(is_it) else { return };
            self.grant_alone(now, b, s, n);
        }
    }
}
