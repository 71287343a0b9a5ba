//! How members behaved here: questions in vain, and proofs of wrong blocks.

use super::bounded::Bounded;
use super::config::{Limits, REMEMBERED_PEERS};
use eddy_wire::NodeId;
use std::time::{Duration, Instant};

/// How long a peer with two proofs against it is not spoken to (T-01).
pub(crate) const BLOCKED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Proofs within [`BLOCKED_FOR`] that block a peer.
const PROOFS: u32 = 2;
const MINUTE: Duration = Duration::from_secs(60);

/// What is remembered of the members, the latest [`REMEMBERED_PEERS`] of them.
#[derive(Debug)]
pub(crate) struct Conduct {
    bounds: MissBounds,
    peers: Bounded<NodeId, Record>,
}

/// Questions in vain that a member may ask within a minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MissBounds {
    question: u32,
    swarm: u32,
}

impl MissBounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { question: limits.misses_per_minute, swarm: limits.swarm_misses_per_minute }
    }

    fn on(self, asked: Asked) -> u32 {
        match asked {
            Asked::Question => self.question,
            Asked::Swarm => self.swarm,
        }
    }
}

/// In which matter a key was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By a lookup or a read.
    Question,
    /// As the content of a swarm: by whoever takes it, or as home by who was told of it.
    Swarm,
}

#[derive(Debug)]
struct Record {
    /// Beginning of the minute in which misses are counted.
    minute: Instant,
    /// Of questions.
    misses: u32,
    /// Of words in the matter of swarms.
    swarm_misses: u32,
    proofs: u32,
    last_proof: Option<Instant>,
    /// When a statement that it signed was last proved wrong.
    false_word: Option<Instant>,
}

/// How a member stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Proofs against it that count.
    pub proofs: u32,
    /// For how long it is not spoken to.
    pub blocked_for: Option<Duration>,
    /// For how long what it signs counts for nothing.
    pub discredited_for: Option<Duration>,
}

/// Whether a peer may still ask in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curiosity {
    /// It may.
    Normal,
    /// With this question it went over the bound.
    JustTooMuch,
    /// It did before.
    TooMuch,
}

impl Conduct {
    pub(crate) fn new(bounds: MissBounds) -> Self {
        Self { bounds, peers: Bounded::new(REMEMBERED_PEERS) }
    }

    fn record(&mut self, node: NodeId, now: Instant) -> &mut Record {
        let record = self.peers.entry(node, || Record::new(now));
        if now.duration_since(record.minute) >= MINUTE {
            (record.minute, record.misses, record.swarm_misses) = (now, 0, 0);
        }
        if record.last_proof.is_some_and(|at| now.duration_since(at) >= BLOCKED_FOR) {
            (record.proofs, record.last_proof) = (0, None);
        }
        record
    }

    /// Counts `misses` keys asked in vain (T-12). Beyond the bound every answer is `NotHere`, right or wrong, in this matter.
    pub(crate) fn count_misses(&mut self, node: NodeId, asked: Asked, misses: u32, now: Instant) -> Curiosity {
        let bound = self.bounds.on(asked);
        let record = self.record(node, now);
        let counted = match asked {
            Asked::Question => &mut record.misses,
            Asked::Swarm => &mut record.swarm_misses,
        };
        let before = *counted;
        *counted = before.saturating_add(misses);
        match (before > bound, *counted > bound) {
            (true, _) => Curiosity::TooMuch,
            (false, true) => Curiosity::JustTooMuch,
            (false, false) => Curiosity::Normal,
        }
    }

    /// Counts a proof of a wrong block; says whether the peer is blocked now.
    pub(crate) fn count_proof(&mut self, node: NodeId, now: Instant) -> bool {
        let record = self.record(node, now);
        record.proofs = record.proofs.saturating_add(1);
        record.last_proof = Some(now);
        record.proofs >= PROOFS
    }

    /// Notes that a statement of this member was proved wrong: for a day nothing that it signed counts here. Whoever passes its
    /// word on is not at fault.
    pub(crate) fn discredit(&mut self, node: NodeId, now: Instant) {
        self.record(node, now).false_word = Some(now);
    }

    /// Whether what this member signed counts for nothing.
    pub(crate) fn is_discredited(&self, node: NodeId, now: Instant) -> bool {
        self.peers.at(&node).is_some_and(|record| Record::blocked_until(record.false_word, now).is_some())
    }

    /// Whether there is any such member.
    pub(crate) fn is_anybody_discredited(&self, now: Instant) -> bool {
        self.peers.values().any(|record| Record::blocked_until(record.false_word, now).is_some())
    }

    /// How a member stands, if it ever did anything wrong.
    pub(crate) fn standing(&self, node: NodeId, now: Instant) -> Option<Standing> {
        let record = self.peers.at(&node)?;
        let since_proof = Record::blocked_until(record.last_proof, now);
        let discredited_for = Record::blocked_until(record.false_word, now);
        let proofs = if since_proof.is_some() { record.proofs } else { 0 };
        let blocked_for = since_proof.filter(|_| proofs >= PROOFS);
        (proofs > 0 || discredited_for.is_some()).then_some(Standing { proofs, blocked_for, discredited_for })
    }

    /// Everybody who stands badly.
    pub(crate) fn suspects(&self, now: Instant) -> Vec<(NodeId, Standing)> {
        let nodes = self.peers.keys();
        nodes.filter_map(|node| Some((*node, self.standing(*node, now)?))).collect()
    }

    /// Whether the peer is not spoken to.
    pub(crate) fn is_blocked(&self, node: NodeId, now: Instant) -> bool {
        self.peers.at(&node).is_some_and(|record| {
            record.proofs >= PROOFS && record.last_proof.is_some_and(|at| now.duration_since(at) < BLOCKED_FOR)
        })
    }
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { minute: now, misses: 0, swarm_misses: 0, proofs: 0, last_proof: None, false_word: None }
    }

    /// What is left of a block that began then.
    fn blocked_until(since: Option<Instant>, now: Instant) -> Option<Duration> {
        BLOCKED_FOR.checked_sub(now.duration_since(since?)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([7; 32]);
    const BOUNDS: MissBounds = MissBounds { question: 4, swarm: 6 };

    #[test]
    fn the_second_proof_blocks_for_a_day() {
        let (mut conduct, start) = (Conduct::new(BOUNDS), Instant::now());
        assert!(!conduct.count_proof(NODE, start));
        assert!(!conduct.is_blocked(NODE, start));
        assert!(conduct.count_proof(NODE, start + MINUTE));
        assert!(conduct.is_blocked(NODE, start + MINUTE));
        assert!(conduct.is_blocked(NODE, start + BLOCKED_FOR));
        assert!(!conduct.is_blocked(NODE, start + MINUTE + BLOCKED_FOR));
    }

    #[test]
    fn an_old_proof_is_forgotten() {
        let (mut conduct, start) = (Conduct::new(BOUNDS), Instant::now());
        conduct.count_proof(NODE, start);
        assert!(!conduct.count_proof(NODE, start + BLOCKED_FOR));
    }

    #[test]
    fn a_false_word_discredits_for_a_day_and_does_not_block_by_itself() {
        let (mut conduct, start) = (Conduct::new(BOUNDS), Instant::now());
        assert!(!conduct.is_anybody_discredited(start) && conduct.suspects(start).is_empty());
        conduct.discredit(NODE, start);
        assert!(conduct.is_discredited(NODE, start + MINUTE) && conduct.is_anybody_discredited(start + MINUTE));
        assert!(!conduct.is_blocked(NODE, start + MINUTE));
        let standing = conduct.standing(NODE, start + MINUTE).expect("stands badly");
        assert_eq!((standing.proofs, standing.blocked_for), (0, None));
        assert_eq!(standing.discredited_for, Some(BLOCKED_FOR - MINUTE));
        assert!(!conduct.is_discredited(NODE, start + BLOCKED_FOR));
        assert_eq!(conduct.standing(NODE, start + BLOCKED_FOR), None);
    }

    #[test]
    fn too_many_misses_are_told_once_a_minute() {
        let (mut conduct, start) = (Conduct::new(BOUNDS), Instant::now());
        let mut ask = |misses, at| conduct.count_misses(NODE, Asked::Question, misses, at);
        assert_eq!(ask(4, start), Curiosity::Normal);
        assert_eq!(ask(1, start), Curiosity::JustTooMuch);
        assert_eq!(ask(0, start), Curiosity::TooMuch);
        assert_eq!(ask(0, start + MINUTE), Curiosity::Normal);
    }

    #[test]
    fn what_a_home_asks_in_vain_does_not_end_its_reads_and_has_its_own_bound() {
        let (mut conduct, start) = (Conduct::new(BOUNDS), Instant::now());
        assert_eq!(conduct.count_misses(NODE, Asked::Swarm, 6, start), Curiosity::Normal);
        assert_eq!(conduct.count_misses(NODE, Asked::Swarm, 1, start), Curiosity::JustTooMuch);
        assert_eq!(conduct.count_misses(NODE, Asked::Question, 4, start), Curiosity::Normal);
        assert_eq!(conduct.count_misses(NODE, Asked::Question, 1, start), Curiosity::JustTooMuch);
        assert_eq!(conduct.count_misses(NODE, Asked::Swarm, 0, start + MINUTE), Curiosity::Normal);
    }
}
