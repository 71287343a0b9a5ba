//! What a finished or failed flow means.

use super::board::From;
use super::lease::Ending;
use super::{Home, Out};
use crate::port::Peer;
use crate::swarm::constants::{ACTIVATION, ORPHAN_HOLD, PAUSED, REFUSAL, RESCUE, STRUCK, STRUCK_SHARE, WAITING_LIFE};
use crate::swarm::message::{FailReason, Say};
use crate::swarm::name::{ContentTag, PeerTag};
use std::collections::BTreeSet;
use std::time::Duration;

/// A flow that failed, as its member tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) segment: u32,
    /// `None` for the origin.
    pub(super) source: Option<PeerTag>,
    pub(super) reason: FailReason,
    pub(super) prefix: u32,
}

impl Home {
    /// Segments are whole and verified at a member.
    pub(super) fn on_done(&mut self, now: Duration, n: u32, content: ContentTag, segments: &[u32]) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let mut has_read = false;
        for s in segments {
            has_read |= self.on_segment(now, b, *s, n);
        }
        if has_read {
            self.issue(now, Some(n));
        }
        self.end_reads_of_whole(b, n);
        self.fill(now, b, n);
        self.read_alone(now, b, n);
        self.spread_first_copies(now, b);
        self.even_out(now, b);
        self.wake(now);
    }

    /// Who has all of it reads nothing more, also where it read beside somebody else.
    fn end_reads_of_whole(&mut self, b: u32, n: u32) {
        if self.boards[b as usize].stake(n).is_some_and(|stake| stake.have.is_full()) {
            let of_member = self.leases.iter().filter(|(_, lease)| (lease.board, lease.slot) == (b, n));
            of_member.map(|(id, _)| *id).collect::<Vec<_>>().into_iter().for_each(|id| self.end_lease(id));
        }
    }

    /// Whether it came from the origin.
    fn on_segment(&mut self, now: Duration, b: u32, s: u32, n: u32) -> bool {
        let board = &mut self.boards[b as usize];
        board.touched = now;
        board.tempo.on_finished();
        let Some(stake) = board.stake_mut(n).filter(|stake| s < stake.have.len()) else { return false };
        stake.have.insert(s);
        stake.busy = now;
        if let From::Member(source) = board.segments[s as usize].link(n).from
            && let Some(stake) = board.stake_mut(n)
        {
            stake.is_given_by(source);
        }
        self.unlink(b, s, n);
        if self.seats[n as usize].is_source(now) {
            self.add_holder(b, s, n);
        } else {
            self.leave_to(now, b, s, n);
        }
        let segment = &mut self.boards[b as usize].segments[s as usize];
        segment.best = None;
        let lease = segment.lease.filter(|id| self.leases.get(id).is_some_and(|lease| lease.slot == n));
        if let Some(id) = lease {
            segment.lease = None;
            self.on_segment_read(now, id);
        }
        lease.is_some()
    }

    /// A flow failed, or starves.
    pub(super) fn on_fail(&mut self, now: Duration, n: u32, content: ContentTag, mut failed: Failed) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let s = failed.segment;
        if self.boards[b as usize].segments.len() as u32 <= s {
            return;
        }
        let Some(source) = failed.source else { return self.on_origin_fault(now, b, n, failed) };
        let p = self.by_tag.get(&source).copied();
        let link = self.boards[b as usize].segments[s as usize].link(n);
        self.note_prefix(b, s, n, failed.prefix);
        if p.is_none_or(|p| link.from != From::Member(p)) {
            // Of an assignment that has been replaced, or withdrawn: then it is without a source.
            if link.from == From::Nowhere {
                self.resume(now, b, s, n);
            }
            return;
        }
        if failed.reason == FailReason::Starved && self.leads(now, b, s, n) {
            if !self.waits_in_vain(now, b, s, n) {
                return;
            }
            failed.reason = FailReason::Stalled;
        }
        self.unlink(b, s, n);
        if let Some(stake) = self.boards[b as usize].stake_mut(n) {
            stake.busy = now;
        }
        if let Some(p) = p {
            if failed.reason == FailReason::Refused {
                self.ask_refuser(now, b, s, p);
            }
            match failed.reason {
                FailReason::Lacking if self.is_alone(b, n) => self.on_lacking(b, s, p),
                // Among several it is not held against the source, but asked again at once it would say the same.
                FailReason::Lacking => self.blame(now, b, n, p, FailReason::Refused),
                reason => self.blame(now, b, n, p, reason),
            }
        }
        self.resume(now, b, s, n);
    }

    /// Whether a member starves behind one that says that it has the segment, and has said so for longer than such a source's word about its
    /// own waiting counts: nobody waits for what it has. The flow would lead there for ever, and nobody be to blame.
    fn waits_in_vain(&mut self, now: Duration, b: u32, s: u32, n: u32) -> bool {
        let board = &mut self.boards[b as usize];
        let From::Member(p) = board.segments[s as usize].link(n).from else { return false };
        board.stake(p).is_some_and(|stake| stake.have.has(s))
            && now >= board.segments[s as usize].starves(now, n) + WAITING_LIFE
    }

    /// Who is said to hold a segment and does not give it is asked what it holds: it may have left while another one was home, and nobody
    /// would tell. It may be busy as well, so that it counts as a holder until it answers.
    fn ask_refuser(&mut self, now: Duration, b: u32, s: u32, p: u32) {
        let board = &self.boards[b as usize];
        let is_held = board.stake(p).is_some_and(|stake| stake.have.has(s));
        let seat = &mut self.seats[p as usize];
        if is_held && seat.is_alive && seat.peer != self.me && now >= seat.asked_again_at {
            seat.asked_again_at = now + RESCUE;
            self.out.push_back(Out::Tell(seat.peer, Say::Query { content: board.content }));
        }
    }

    /// Somebody else gives it; or it waits for a lease, to read on from what it has.
    fn resume(&mut self, now: Duration, b: u32, s: u32, n: u32) {
        if !self.source(now, b, s, n) && self.has_children(b, s, n) {
            // Those who take it from this one may have it from others, and give it on.
            self.release_children_of(now, b, s, n);
            self.source(now, b, s, n);
        }
        self.issue(now, None);
        self.fill(now, b, n);
        self.read_alone(now, b, n);
    }

    /// Whether somebody takes from `n` what it lacks itself.
    fn has_children(&self, b: u32, s: u32, n: u32) -> bool {
        let board = &self.boards[b as usize];
        let is_lacking = board.stake(n).is_some_and(|stake| stake.lacks(s));
        is_lacking && board.segments[s as usize].linked().any(|(_, link)| link.from == From::Member(n))
    }

    /// A member has a part of a segment: should its reader be gone, the longest part is read on.
    pub(super) fn note_prefix(&mut self, b: u32, s: u32, n: u32, prefix: u32) {
        let segment = &mut self.boards[b as usize].segments[s as usize];
        let is_longer = segment.best.is_none_or(|(known, part)| part < prefix || !self.seats[known as usize].is_alive);
        if prefix > 0 && is_longer && segment.holders == 0 {
            segment.best = Some((n, prefix));
        }
    }

    fn blame(&mut self, now: Duration, b: u32, n: u32, p: u32, reason: FailReason) {
        let Some(stake) = self.boards[b as usize].stake_mut(n) else { return };
        match reason {
            // It only came too early, or the branch has no root, or it holds less than was thought: the source is not to blame.
            FailReason::Starved | FailReason::Lacking => return,
            FailReason::Refused => stake.refuse_for_now(now, p),
            FailReason::Dead | FailReason::Stalled | FailReason::Corrupt | FailReason::OriginError => {
                stake.refuse(now, p, now + REFUSAL);
            }
        }
        let time = match reason {
            FailReason::Corrupt => STRUCK,
            FailReason::Stalled if !self.are_many_struck(now) => self.seats[p as usize].stall_time(),
            _ => return,
        };
        match self.seats[p as usize].strike(now, n, time) {
            true if time == PAUSED => self.pause(now, p),
            true => self.strike_out(now, p),
            false => {}
        }
    }

    /// A member stood still for the first time: it is no source for a moment. What it reads it reads on, and what only it has is left to it,
    /// or each machine that is busy for a second would have the origin send some of it twice.
    fn pause(&mut self, now: Duration, p: u32) {
        self.seats[p as usize].pause();
        for b in 0..self.boards.len() as u32 {
            let Some(stake) = self.boards[b as usize].stake(p) else { continue };
            let held: Vec<u32> = stake.have.iter().collect();
            for s in held {
                self.drop_holder(b, s, p);
                self.leave_to(now, b, s, p);
            }
            self.release_children(now, b, p);
        }
    }

    /// What nobody but `p` has nobody else reads while it pauses.
    fn leave_to(&mut self, now: Duration, b: u32, s: u32, p: u32) {
        let segment = &mut self.boards[b as usize].segments[s as usize];
        if let Some(until) = self.seats[p as usize].pause_ends(now).filter(|_| segment.holders == 0) {
            segment.hold_until = segment.hold_until.max(until);
        }
    }

    /// It is gone: what was left to it is not waited for.
    pub(super) fn end_pause(&mut self, now: Duration, b: u32, p: u32) {
        if self.seats[p as usize].pause_ends(now).is_some() {
            let held = self.boards[b as usize].segments.iter_mut();
            held.for_each(|segment| segment.hold_until = segment.hold_until.min(now + ORPHAN_HOLD));
        }
    }

    /// A member does not hold what it said. Believed of one that takes it alone: nobody else is harmed if that is a lie.
    fn on_lacking(&mut self, b: u32, s: u32, p: u32) {
        self.drop_holder(b, s, p);
        let board = &mut self.boards[b as usize];
        if let Some(stake) = board.stake_mut(p) {
            // Who had all of it takes nothing because of what somebody else says.
            stake.wants = stake.wants.filter(|_| !stake.have.is_full());
            stake.have.remove(s);
            board.doubted.insert(p);
        }
    }

    /// What one said that was alone is not held against a member once somebody else comes: it says itself what it holds, and nobody reads
    /// before that.
    pub(super) fn ask_doubted(&mut self, now: Duration, b: u32, n: u32) {
        let board = &mut self.boards[b as usize];
        if !board.awaited.is_empty() {
            return;
        }
        let doubted = std::mem::take(&mut board.doubted).into_iter();
        let is_giver = |p: &u32| *p != n && board.stake(*p).is_some_and(|stake| stake.wants.is_none());
        let asked: Vec<u32> = doubted.filter(|p| is_giver(p) && self.seats[*p as usize].is_alive).collect();
        let peers: BTreeSet<Peer> = asked.iter().map(|p| self.seats[*p as usize].peer).collect();
        if peers.is_empty() {
            return;
        }
        let content = self.boards[b as usize].content;
        for p in asked {
            self.forget_stake(b, p);
        }
        self.out.extend(peers.iter().map(|peer| Out::Tell(*peer, Say::Query { content })));
        self.boards[b as usize].wait(peers, now + ACTIVATION, now + ACTIVATION);
    }

    /// Whether so many are excluded that the network must be to blame.
    fn are_many_struck(&self, now: Duration) -> bool {
        let living = self.seats.iter().filter(|seat| seat.is_alive);
        let struck = living.clone().filter(|seat| seat.is_struck(now)).count();
        struck > 0 && struck * STRUCK_SHARE >= living.count()
    }

    /// A member is no source any more: what it holds counts as absent, what it reads is read by others (trap 9).
    fn strike_out(&mut self, now: Duration, p: u32) {
        for b in 0..self.boards.len() as u32 {
            let Some(stake) = self.boards[b as usize].stake(p) else { continue };
            let held: Vec<u32> = stake.have.iter().collect();
            held.into_iter().for_each(|s| self.drop_holder(b, s, p));
            self.end_leases_of(now, b, p, Ending::Lost);
            self.release_children(now, b, p);
        }
    }

    /// Reading from the origin failed.
    fn on_origin_fault(&mut self, now: Duration, b: u32, n: u32, failed: Failed) {
        let s = failed.segment;
        let lease = self.boards[b as usize].segments[s as usize].lease;
        let Some(id) = lease.filter(|id| self.leases.get(id).is_some_and(|lease| lease.slot == n)) else { return };
        let got_something = self.leases.get(&id).is_some_and(|lease| failed.prefix > 0 || lease.bytes > 0);
        self.seats[n as usize].on_read_fault(now, got_something);
        self.drop_lease(now, id, Ending::Kept);
        // A stream begins anew whoever reads it.
        let prefix = if self.is_stream(b) { 0 } else { failed.prefix };
        self.note_prefix(b, s, n, prefix);
        self.issue(now, None);
    }
}
