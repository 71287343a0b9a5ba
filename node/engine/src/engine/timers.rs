//! Timers: what becomes due though nothing happens outside. All of them are monotonic (F-28).

use super::{Engine, Turns};
use crate::job::live::Job;
use crate::job::spec::JobId;
use crate::port::{Failure, Now};
use crate::retry;
use crate::schedule;
use std::time::Duration;

impl Engine {
    /// Something is about to be handled.
    pub(super) fn begin(&mut self, now: Now) {
        self.clock = now;
        // What the last thing has left behind: what it wanted done is done by this time.
        self.roster.tidy();
        self.roster.pass_time(now.mono);
    }

    /// When [`Self::handle_timeout`] is due at the latest; never before `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<Duration> {
        if self.turns == Turns::Withheld {
            return None;
        }
        let wake = self.roster.next_to_wake().map(|(at, _)| at);
        let forget = self.roster.next_to_forget().map(|(at, _)| at);
        let is_somebody_waiting = self.roster.queue().waiting() > 0;
        let slices = self.roster.running().filter(|_| is_somebody_waiting).map(|job| job.slice_ends);
        let ends = self.roster.running().map(|job| self.roster.now() + job.time_left());
        let files = self.roster.running().flat_map(Job::movers);
        let files = files.filter_map(|file| file.timeout(self.settling_until));
        let single = wake.into_iter().chain(forget).chain(self.roster.queue().next_reopening());
        single.chain(slices).chain(ends).chain(files).min().map(|at| at.max(now.mono))
    }

    /// Ends the turns that have lasted too long, and the jobs that nobody has wanted for too long.
    pub(super) fn end_overdue(&mut self, now: Now) {
        let overdue: Vec<JobId> =
            self.roster.running().filter(|job| job.time_left() == Duration::ZERO).map(Job::id).collect();
        for id in overdue {
            let detail = "it has connected and transferred for as long as it may";
            self.stop(now, id, 0, Failure::fatal(retry::TIME_OVER, detail));
        }
        while let Some((at, id)) = self.roster.next_to_forget()
            && at <= now.mono
        {
            self.throw_away(id);
        }
    }

    /// Gives the place of those whose slice is over to others who wait for it; whether one gave its place up.
    pub(super) fn end_slices(&mut self, now: Now) -> bool {
        if self.roster.queue().waiting() == 0 {
            return false;
        }
        let over: Vec<JobId> = self.roster.running().filter(|job| job.slice_ends <= now.mono).map(Job::id).collect();
        let mut has_given = false;
        for id in over {
            let Some(job) = self.roster.get(id) else { continue };
            // Whoever could not go on keeps the place.
            if !job.is_asked_once() && schedule::has_successor(&self.roster, &self.places, job) {
                self.preempt(id);
                self.roster.send_to_the_end(id);
                has_given = true;
            } else if let Some(job) = self.roster.get_mut(id) {
                job.slice_ends = now.mono + schedule::SLICE;
            }
        }
        has_given
    }
}
