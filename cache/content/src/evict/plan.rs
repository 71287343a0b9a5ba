//! Who goes for an aim, who stays and why: data, to be shown before it is executed.
//!
//! Candidates come in the order of [`Standing::key`], in two parts, and no more of them are read than the aim needs. Pinned
//! entities and entities in use (read, written or part of a running job) never go.

use super::{PROTECTED_SHARE, Segment, Standing};
use crate::EntityId;
use std::iter::Peekable;

/// Victims of one plan for an aim that may take everything, unless [`Bounds`] say less: a longer list would cost a large cache more memory than its
/// index (T-52). Such a plan says that it is cut; when it has been carried out, the next one goes on.
pub const MAX_LISTED: usize = 100_000;

/// An entity that might go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: EntityId,
    /// Bytes on disk that its removal frees.
    pub bytes: u64,
    /// How much it is wanted.
    pub standing: Standing,
    /// Whether something holds it.
    pub hold: Hold,
}

/// What keeps an entity from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Nothing.
    Free,
    /// Somebody pinned it.
    Pinned,
    /// A reader, a writer or a running job needs it.
    InUse,
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// To free so many bytes, or nothing at all: an emptied cache would help nobody, least of all the request that started it.
    Free(u64),
    /// To keep to limits: as many of the `excess` bytes as may go, and everything that was last used before `unused_since`
    /// (seconds since the Unix epoch). What is held goes when a later plan finds it free.
    Fit {
        /// Bytes above the limit.
        excess: u64,
        /// The age limit, if there is one.
        unused_since: Option<i64>,
    },
    /// Every candidate, because each was named.
    Named,
    /// Every candidate, because all shall go.
    Everything,
}

/// Why an entity goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionReason {
    /// The origin has named another version under the same URL, and nobody has used this one since.
    Superseded,
    /// It was used once, and nothing that was used once and stays waits longer for a second use.
    UsedOnce,
    /// It was used more than once, but not for longer than anything else that was and stays.
    LeastRecentlyUsed,
    /// Nobody used it since the age limit.
    Unused,
    /// Somebody named it.
    Named,
    /// Everything goes.
    Cleared,
}

/// An entity that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Its name.
    pub id: EntityId,
    /// Bytes that this frees.
    pub bytes: u64,
    /// Last use, in seconds since the Unix epoch.
    pub last_use: i64,
    /// Why it goes.
    pub reason: EvictionReason,
}

/// A number of entities and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tally {
    /// How many.
    pub entities: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, candidate: &Candidate) {
        self.entities += 1;
        self.bytes = self.bytes.saturating_add(candidate.bytes);
    }
}

/// What the plan passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Kept {
    /// Because it is pinned.
    pub pinned: Tally,
    /// Because it is in use.
    pub in_use: Tally,
}

/// Why no room can be made: the cache is full of what must stay. Wait for the readers, unpin, or raise the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{need} bytes are needed, but only {evictable} may go ({pinned} are pinned, {in_use} in use)")]
pub struct NotEnough {
    /// Bytes that were asked for.
    pub need: u64,
    /// Bytes that could go.
    pub evictable: u64,
    /// Bytes that are pinned.
    pub pinned: u64,
    /// Bytes that are in use.
    pub in_use: u64,
}

/// What goes, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvictionPlan {
    /// Bytes that were asked for; 0 where the aim is no number of bytes.
    pub need: u64,
    /// Who goes, in the order of eviction; empty when the plan is refused.
    pub victims: Vec<Victim>,
    /// Bytes that the victims free.
    pub freed: u64,
    /// Who would go, or might have to, but must stay; as far as the plan has read.
    pub kept: Kept,
    /// Whether the list was cut at [`MAX_LISTED`], and another plan will find more.
    pub is_cut: bool,
    /// Why there is no plan, if so; only for [`Aim::Free`].
    pub refused: Option<NotEnough>,
}

impl EvictionPlan {
    /// The plan for an entity that needs no room.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    fn take(&mut self, candidate: &Candidate, reason: EvictionReason) {
        let Candidate { id, bytes, standing, .. } = *candidate;
        self.victims.push(Victim { id, bytes, last_use: standing.last_use(), reason });
        self.freed = self.freed.saturating_add(bytes);
    }

    /// The plan that takes what may go to spare as well.
    fn and_spare<F, P>(mut self, order: &mut Order<F, P>, bounds: Bounds) -> Self
    where
        F: Iterator<Item = Candidate>,
        P: Iterator<Item = Candidate>,
    {
        let most = self.need.saturating_add(bounds.spare);
        while self.freed < most && self.victims.len() < bounds.listed {
            let Some(candidate) = order.next_unspared() else { break };
            let Some(reason) = reason(Aim::Free(most), self.freed, &candidate) else { continue };
            match candidate.hold {
                Hold::Pinned | Hold::InUse => {}
                // A large one is worth more than the transactions that its room would save.
                Hold::Free if self.freed.saturating_add(candidate.bytes) > most => break,
                Hold::Free => {
                    order.on_gone(&candidate);
                    self.take(&candidate, reason);
                }
            }
        }
        self
    }

    /// The plan that frees nothing and says why.
    fn refuse(self) -> Self {
        let Self { need, freed: evictable, kept, .. } = self;
        let (pinned, in_use) = (kept.pinned.bytes, kept.in_use.bytes);
        let refused = Some(NotEnough { need, evictable, pinned, in_use });
        Self { need, kept, refused, ..Self::default() }
    }
}

/// The rows of the table, as a plan reads them.
#[derive(Debug)]
pub struct Candidates<F, P> {
    /// Those before [`Standing::PROTECTED_FROM`], in order.
    pub first: F,
    /// Those from there on, in order.
    pub protected: P,
    /// Bytes of the protected beyond [`PROTECTED_SHARE`] of the room: see [`Candidates::overhang`].
    pub overhang: u64,
}

impl<F, P> Candidates<F, P> {
    /// By how much `protected` bytes are more than their share of `room`: the bytes that the cache uses and may still use.
    #[must_use]
    pub fn overhang(protected: u64, room: u64) -> u64 {
        protected.saturating_sub(room / 100 * PROTECTED_SHARE)
    }
}

/// How long a plan may become, and what it may take beyond its aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Victims that are listed at most. [`Aim::Free`] takes as many as its bytes need all the same, and no spare beyond these.
    pub listed: usize,
    /// Bytes that [`Aim::Free`] takes beyond those that it needs: what the next admissions would take one by one goes with these.
    pub spare: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { listed: MAX_LISTED, spare: 0 }
    }
}

/// Plans for an aim: the first candidates, in the order of eviction, that fulfil it.
///
/// Reads no further than it needs; memory grows with the victims alone, not with the cache (T-52).
#[must_use]
pub fn plan<F, P>(candidates: Candidates<F, P>, aim: Aim) -> EvictionPlan
where
    F: IntoIterator<Item = Candidate>,
    P: IntoIterator<Item = Candidate>,
{
    plan_within(candidates, aim, Bounds::default())
}

/// The same within other bounds.
///
/// To spare go the next in the same order, whole: nothing that is held, nothing protected while the protected have no more than their
/// share, and nothing that is larger than what is left of the spare bytes.
#[must_use]
pub fn plan_within<F, P>(candidates: Candidates<F, P>, aim: Aim, bounds: Bounds) -> EvictionPlan
where
    F: IntoIterator<Item = Candidate>,
    P: IntoIterator<Item = Candidate>,
{
    let need = match aim {
        Aim::Free(bytes) | Aim::Fit { excess: bytes, .. } => bytes,
        Aim::Named | Aim::Everything => 0,
    };
    let mut plan = EvictionPlan { need, ..EvictionPlan::default() };
    let mut order = Order {
        first: candidates.first.into_iter().peekable(),
        protected: candidates.protected.into_iter().peekable(),
        overhang: candidates.overhang,
    };
    // Asked before the next row is read.
    while !is_reached(aim, plan.freed) {
        let Some(candidate) = order.next(age_limit(aim, plan.freed)) else { break };
        let Some(reason) = reason(aim, plan.freed, &candidate) else { continue };
        match candidate.hold {
            Hold::Pinned => plan.kept.pinned.add(&candidate),
            Hold::InUse => plan.kept.in_use.add(&candidate),
            Hold::Free if plan.victims.len() >= bounds.listed && !matches!(aim, Aim::Free(_)) => {
                plan.is_cut = true;
                return plan;
            }
            Hold::Free => {
                order.on_gone(&candidate);
                plan.take(&candidate, reason);
            }
        }
    }
    match aim {
        Aim::Free(_) if plan.freed < need => plan.refuse(),
        Aim::Free(1..) => plan.and_spare(&mut order, bounds),
        _ => plan,
    }
}

/// The order of eviction over both parts of the table.
struct Order<F: Iterator<Item = Candidate>, P: Iterator<Item = Candidate>> {
    first: Peekable<F>,
    protected: Peekable<P>,
    overhang: u64,
}

impl<F: Iterator<Item = Candidate>, P: Iterator<Item = Candidate>> Order<F, P> {
    /// The next candidate. With an age limit only what may be older: each segment is in the order of last use.
    fn next(&mut self, age_limit: Option<i64>) -> Option<Candidate> {
        let may_be_old = |standing: Standing| age_limit.is_none_or(|limit| standing.last_use() < limit);
        let first = self.first.peek().map(|candidate| candidate.standing);
        // Behind what is superseded the last uses begin anew.
        let first = first.filter(|standing| standing.segment() == Segment::Superseded || may_be_old(*standing));
        let is_settled =
            first.is_some_and(|first| first.segment() == Segment::Superseded) || first.is_some() && self.overhang == 0;
        if is_settled {
            return self.first.next();
        }
        let protected = self.protected.peek().map(|candidate| candidate.standing).filter(|s| may_be_old(*s));
        match (first, protected) {
            (Some(first), Some(protected)) if protected.last_use() < first.last_use() => self.protected.next(),
            (Some(_), _) => self.first.next(),
            (None, Some(_)) => self.protected.next(),
            (None, None) => None,
        }
    }

    /// The next candidate, unless it is one of the protected and they have no more than their share.
    fn next_unspared(&mut self) -> Option<Candidate> {
        if self.overhang == 0 { self.first.next() } else { self.next(None) }
    }

    fn on_gone(&mut self, candidate: &Candidate) {
        if candidate.standing.segment() == Segment::Protected {
            self.overhang = self.overhang.saturating_sub(candidate.bytes);
        }
    }
}

/// Whether enough bytes are freed, where the aim is bytes alone.
fn is_reached(aim: Aim, freed: u64) -> bool {
    match aim {
        Aim::Free(bytes) | Aim::Fit { excess: bytes, unused_since: None } => freed >= bytes,
        Aim::Fit { .. } | Aim::Named | Aim::Everything => false,
    }
}

/// The moment before which the last use must be, when nothing else makes a candidate go any more.
fn age_limit(aim: Aim, freed: u64) -> Option<i64> {
    match aim {
        Aim::Fit { excess, unused_since } if freed >= excess => unused_since,
        _ => None,
    }
}

/// Why the candidate would go, if it would.
fn reason(aim: Aim, freed: u64, candidate: &Candidate) -> Option<EvictionReason> {
    let standing = candidate.standing;
    let for_room = || match standing.segment() {
        // What frees nothing would only lose content.
        _ if candidate.bytes == 0 => None,
        Segment::Superseded => Some(EvictionReason::Superseded),
        Segment::Probation => Some(EvictionReason::UsedOnce),
        Segment::Protected => Some(EvictionReason::LeastRecentlyUsed),
    };
    match aim {
        Aim::Free(_) => for_room(),
        Aim::Fit { unused_since: Some(moment), .. } if standing.last_use() < moment => Some(EvictionReason::Unused),
        Aim::Fit { excess, .. } if freed < excess => for_room(),
        Aim::Fit { .. } => None,
        Aim::Named => Some(EvictionReason::Named),
        Aim::Everything => Some(EvictionReason::Cleared),
    }
}

#[cfg(test)]
mod tests;
