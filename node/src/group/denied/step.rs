//! What becomes of a deny-list beside the one that is known.
//!
//! A member takes the higher epoch and nothing else. The root's machine can do better: it knows that removals are never taken back, so of
//! two lists of which neither has all it makes a third. Two such lists come about where the root's key lies on two machines, and
//! where its home was put back from a copy, so that it counts epochs a second time.

use super::Known;
use eddy_wire::membership::{DenyList, Removal};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// What is known stays.
    Keep,
    /// The other list holds from now on.
    Take,
    /// A list that has what is in both, to be signed.
    Unite(DenyList),
}

/// Whether this node can sign lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// It has the root's key.
    Root,
    /// It has not.
    Member,
}

/// What to do about `other`, a list that the root has signed.
pub(super) fn step(known: &Known, other: &DenyList, hand: Hand, now: i64) -> Step {
    let by_epoch = if known.yields_to(other.epoch) { Step::Take } else { Step::Keep };
    // A list that neither of the two is has been here: what it says beyond them nobody here can know, and a list above it would hide that.
    let is_complete = known.list_epoch().max(other.epoch) >= known.epoch;
    if hand == Hand::Member || !is_complete {
        return by_epoch;
    }
    let nobody = DenyList::empty(other.group);
    let ours = known.list().unwrap_or(&nobody);
    let united = ours.united(other);
    let stays = if by_epoch == Step::Take { other } else { ours };
    let nodes = |removed: &[Removal]| removed.iter().map(|removal| removal.node).collect::<Vec<_>>();
    if nodes(&united) == nodes(&stays.removed) {
        return by_epoch;
    }
    let epoch = known.epoch.max(other.epoch).saturating_add(1);
    Step::Unite(DenyList { group: other.group, epoch, time: now, removed: united })
}

/// Removals with one more; `None` where there is no room for it. Nobody is forgotten before that: a statement outlives every certificate, and
/// its date is its signer's word.
pub(super) fn with(list: Option<&DenyList>, removal: Removal, forgotten_after: i64) -> Option<Vec<Removal>> {
    let mut removed = list.map(|list| list.removed.clone()).unwrap_or_default();
    removed.retain(|before| before.node != removal.node);
    if removed.len() >= eddy_wire::membership::MAX_DENIED {
        let oldest = (0..removed.len()).min_by_key(|place| removed[*place].time)?;
        if removal.time.saturating_sub(removed[oldest].time) < forgotten_after {
            return None;
        }
        removed.remove(oldest);
    }
    removed.push(removal);
    removed.sort_unstable_by_key(|removal| removal.node);
    Some(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use eddy_wire::NodeId;
    use eddy_wire::membership::MAX_DENIED;
    use eddy_wire::statement::GroupId;

    fn list(epoch: u64, removed: &[u8]) -> DenyList {
        let removed = removed.iter().map(|n| Removal { node: NodeId([*n; 32]), time: 0 }).collect();
        DenyList { group: GroupId([1; 32]), epoch, time: 0, removed }
    }

    fn known(list: DenyList, epoch: u64) -> Known {
        let signed = (list.epoch > 0).then(|| list.sign(&SigningKey::from_bytes(&[1; 32])));
        Known { signed, epoch }
    }

    fn unites(known: &Known, other: &DenyList) -> Option<(u64, Vec<u8>)> {
        match step(known, other, Hand::Root, 9) {
            Step::Unite(list) => Some((list.epoch, list.removed.iter().map(|removal| removal.node.0[0]).collect())),
            Step::Keep | Step::Take => None,
        }
    }

    #[test]
    fn a_member_goes_by_the_epoch_alone() {
        let known = known(list(2, &[7]), 2);
        assert_eq!(step(&known, &list(3, &[9]), Hand::Member, 9), Step::Take);
        for other in [list(2, &[9]), list(1, &[9])] {
            assert_eq!(step(&known, &other, Hand::Member, 9), Step::Keep);
        }
    }

    #[test]
    fn the_root_loses_no_removal_whatever_the_epochs_are() {
        let known = known(list(2, &[7]), 2);
        assert_eq!(unites(&known, &list(5, &[8, 9])), Some((6, vec![7, 8, 9])), "its own home was put back");
        assert_eq!(unites(&known, &list(2, &[9])), Some((3, vec![7, 9])), "two lists of one epoch");
        assert_eq!(unites(&known, &list(1, &[9])), Some((3, vec![7, 9])), "the other's home was");
        // Where one of them has all, that is the list.
        assert_eq!(step(&known, &list(5, &[7, 9]), Hand::Root, 9), Step::Take);
        for other in [list(2, &[7]), list(1, &[7]), list(1, &[])] {
            assert_eq!(step(&known, &other, Hand::Root, 9), Step::Keep);
        }
    }

    #[test]
    fn nothing_is_signed_above_a_list_that_is_not_at_hand() {
        let stale = known(list(2, &[7]), 5);
        assert_eq!(step(&stale, &list(4, &[7, 8]), Hand::Root, 9), Step::Keep);
        assert_eq!(unites(&stale, &list(5, &[8])), Some((6, vec![7, 8])));
        let lost = known(list(0, &[]), 5);
        assert_eq!(step(&lost, &list(3, &[8]), Hand::Root, 9), Step::Keep);
        assert_eq!(step(&lost, &list(5, &[8]), Hand::Root, 9), Step::Take);
    }

    #[test]
    fn nobody_is_forgotten_while_there_is_room() {
        let node = |n: u16| {
            let mut node = [0; 32];
            node[..2].copy_from_slice(&n.to_be_bytes());
            NodeId(node)
        };
        let at = |n: u16, time: i64| Removal { node: node(n), time };
        let mut full = list(1, &[]);
        full.removed = (0..MAX_DENIED as u16 - 1).map(|n| at(n, i64::from(n) + 5)).collect();
        let grown = with(Some(&full), at(9000, 1_000_000), 100).expect("there is room");
        assert_eq!(grown.len(), MAX_DENIED, "however long ago the others were removed");
        full.removed = grown;
        assert_eq!(with(Some(&full), at(9001, 104), 100), None);
        let next = with(Some(&full), at(9001, 105), 100).expect("the oldest goes");
        assert_eq!((next.len(), next[0].node, next[MAX_DENIED - 1].node), (MAX_DENIED, node(1), node(9001)));
        // Who is removed again takes no place.
        assert_eq!(with(Some(&full), at(4, 50), 100).map(|removed| removed.len()), Some(MAX_DENIED));
    }
}
