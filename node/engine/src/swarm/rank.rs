//! Who is the home of an origin: weighted rendezvous hashing, the same for all who know the same members.

use super::name::{OriginKey, first_bytes};
use crate::port::Peer;

/// How willing a member is to be home; it travels in its discovery record, so that all agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(pub u8);

impl Weight {
    /// Wired and on mains.
    pub const STEADY: Self = Self(4);
    /// Anything else.
    pub const LIGHT: Self = Self(1);
    /// Never: on battery saver, or on a metered line.
    pub const NEVER: Self = Self(0);
}

/// The rank of a member for an origin: the higher, the sooner it is home. Below zero for one that never is.
///
/// -w / ln(u) with u in (0, 1) from a hash makes each member first with a probability proportional to its weight, and who joins or
/// leaves changes nothing among the others (Schindelhauer and Schomaker, weighted distributed hash tables, 2005).
#[must_use]
pub fn rank(origin: OriginKey, peer: &Peer, weight: Weight) -> f64 {
    if weight == Weight::NEVER {
        return -1.0;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"eddy-home-1");
    hasher.update(&origin.0.to_le_bytes());
    hasher.update(&peer.0);
    // 53 bits, moved by a half so that neither 0 nor 1 can come out.
    let u = ((first_bytes(hasher.finalize().as_bytes()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight.0) / u.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> Peer {
        Peer(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn first(origin: OriginKey, members: &[(Peer, Weight)]) -> Peer {
        let rank = |(p, w): &&(Peer, Weight)| rank(origin, p, *w);
        members.iter().max_by(|a, b| rank(a).total_cmp(&rank(b))).expect("some").0
    }

    #[test]
    fn every_origin_has_another_home_and_weight_counts() {
        let members: Vec<_> = (0..20).map(|n| (peer(n), if n < 10 { Weight::STEADY } else { Weight::LIGHT })).collect();
        let homes: Vec<Peer> =
            (0..2000).map(|n| first(OriginKey::of("https", &format!("host{n}"), 443), &members)).collect();
        let steady = homes.iter().filter(|home| members[..10].iter().any(|(p, _)| p == *home)).count();
        assert!((1500..1700).contains(&steady), "four fifths of 2000, got {steady}");
        let most = members.iter().map(|(p, _)| homes.iter().filter(|home| *home == p).count()).max();
        assert!(most < Some(240), "{most:?}");
    }

    #[test]
    fn who_leaves_changes_only_what_it_was_home_of() {
        let all: Vec<_> = (0..20).map(|n| (peer(n), Weight::STEADY)).collect();
        for n in 0..300 {
            let origin = OriginKey::of("http", &format!("host{n}"), 80);
            let home = first(origin, &all);
            let rest: Vec<_> = all.iter().copied().filter(|(p, _)| *p == home || *p != peer(3)).collect();
            assert_eq!(first(origin, &rest), home);
        }
    }

    #[test]
    fn the_rank_never_changes_between_versions() {
        let rank = rank(OriginKey::of("https", "example.org", 443), &Peer([7; 32]), Weight::STEADY);
        assert_eq!(format!("{rank:.9}"), "4.349770173");
    }
}
