//! Whose turn it is.
//!
//! Foreground jobs run side by side and beside the background (F-11, F-12). Those that only hold something for who reads it now have places of
//! their own, many and a part of them at each host, so that no reader waits because other origins are slow. The background shares some places: a more urgent
//! job takes the place of a less urgent one at once (F-13); among equals, whoever's owner has had least is next; and a turn lasts
//! a [`SLICE`], after which the job goes to the end of its queue if somebody waits who would use its place (F-14).
//!
//! A slice of 60 s costs little (what is durable stays, so a change of turns costs a request and a connection, about a second) and
//! brings each of 100 equal jobs its first bytes within a quarter of an hour. When no job of an owner and a priority has had a
//! turn for [`STARVED`], one of them counts as urgent for one slice: the less urgent get little, but not nothing.

use crate::job::live::Job;
use crate::job::spec::{Goal, JobId, Priority};
use crate::job::terms::Owner;
use crate::queue::{Candidate, HostKey};
use crate::roster::Roster;
use std::time::Duration;

/// How long a turn lasts when others wait.
pub const SLICE: Duration = Duration::from_secs(60);
/// What one owner must have had less than another before it takes its place.
const EVEN: Duration = Duration::from_secs(15);
/// How long the jobs of an owner and a priority wait before one of them counts as urgent.
pub const STARVED: Duration = Duration::from_secs(900);

/// How many run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// In the foreground.
    pub foreground: usize,
    /// In the background.
    pub background: usize,
    /// In the background, of one owner.
    pub per_owner: usize,
    /// In the background, at one host.
    pub per_host: usize,
    /// In the foreground, of those that only hold.
    pub held: usize,
    /// Of those, at one host.
    pub held_per_host: usize,
}

/// Jobs that only hold: each is some client's answer, which waits for the turn, and one that its origin keeps waiting takes nothing but three
/// descriptors and a connection or four.
const HELD: usize = 128;
/// Of those, at one host: as many as there are questions that a gateway puts to an origin at a time. A host that stands still leaves half of the
/// places to others.
const HELD_PER_HOST: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { foreground: 16, background: 8, per_owner: 8, per_host: 3, held: HELD, held_per_host: HELD_PER_HOST }
    }
}

/// A job that gets the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Which.
    pub begin: JobId,
    /// As how urgent it counts during the turn.
    pub rank: Priority,
    /// Whose place it takes.
    pub victim: Option<JobId>,
}

/// Who is next, if somebody can be.
#[must_use]
pub(crate) fn next(roster: &Roster, places: &Places) -> Option<Turn> {
    for (class, taken, most) in
        [(Class::Foreground, roster.foreground(), places.foreground), (Class::Held, roster.held(), places.held)]
    {
        if taken < most
            && let Some((rank, candidate)) = ranked(roster, class, None).into_iter().next()
        {
            return Some(Turn { begin: candidate.id, rank, victim: None });
        }
    }
    let candidates = ranked(roster, Class::Background, None);
    candidates.into_iter().find_map(|(rank, candidate)| {
        let is_full = roster.background() >= places.background;
        let host = roster.queue().is_full(candidate.host).then_some(candidate.host);
        let owner = (roster.shares().background(candidate.owner) >= places.per_owner).then_some(candidate.owner);
        let is_crowded = is_full || host.is_some() || owner.is_some();
        let victim = if is_crowded { Some(least_urgent(roster, candidate.priority, (host, owner))?) } else { None };
        Some(Turn { begin: candidate.id, rank, victim })
    })
}

/// Whether somebody waits who has a better claim to the place of `job` than itself, whose slice is over.
#[must_use]
pub(crate) fn has_successor(roster: &Roster, places: &Places, job: &Job) -> bool {
    let class = Class::of(job.rank(), job.goal());
    if class == Class::Foreground && roster.foreground() < places.foreground {
        return false;
    }
    let may_take = |candidate: &Candidate| {
        let is_own = candidate.owner == job.owner();
        class != Class::Background || is_own || roster.shares().background(candidate.owner) < places.per_owner
    };
    // Between owners that have had nearly the same, a change would cost and even nothing out.
    let had = |owner: Owner| roster.shares().used(owner) + if owner == job.owner() { Duration::ZERO } else { EVEN };
    let own = (job.rank(), had(job.owner()));
    let mut others = ranked(roster, class, Some(job.host())).into_iter().filter(|(_, other)| may_take(other));
    others.any(|(rank, other)| (rank, had(other.owner)) <= own)
}

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Foreground,
    /// In the foreground, for who reads it now.
    Held,
    Background,
}

impl Class {
    pub(crate) fn of(priority: Priority, goal: Goal) -> Self {
        match (priority, goal) {
            (Priority::Foreground, Goal::Deliver) => Self::Foreground,
            (Priority::Foreground, Goal::Hold) => Self::Held,
            _ => Self::Background,
        }
    }
}

/// The first job of each owner and priority, the best claim to a place first, with how urgent it counts; also those at `spare`,
/// as if that host had a place.
fn ranked(roster: &Roster, class: Class, spare: Option<HostKey>) -> Vec<(Priority, Candidate)> {
    let heads = roster.queue().heads(class, spare);
    let mut ranked: Vec<_> = heads.map(|candidate| (rank_of(&candidate, roster.now()), candidate)).collect();
    ranked.sort_by_key(|(rank, candidate)| (*rank, roster.shares().used(candidate.owner), candidate.number));
    ranked
}

fn rank_of(candidate: &Candidate, now: Duration) -> Priority {
    let is_starved = now.saturating_sub(candidate.since) >= STARVED;
    if is_starved { candidate.priority.min(Priority::High) } else { candidate.priority }
}

/// The running job that gives its place to one of this rank, at a host or of an owner that has too many: the least urgent, and of
/// those the one that began last, which has least to lose.
fn least_urgent(roster: &Roster, rank: Priority, (host, owner): (Option<HostKey>, Option<Owner>)) -> Option<JobId> {
    let background = roster.running().filter(|job| Class::of(job.rank(), job.goal()) == Class::Background);
    let here = background.filter(|job| host.is_none_or(|host| job.host() == host));
    let own = here.filter(|job| owner.is_none_or(|owner| job.owner() == owner));
    let last = own.max_by_key(|job| (job.rank(), job.began(), job.number))?;
    (last.rank() > rank).then(|| last.id())
}

#[cfg(test)]
mod tests;
