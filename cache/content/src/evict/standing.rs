//! How much an entity is wanted: used once, or more than once, and when last. A use changes nothing but the entity's own row.
//!
//! Two segments, each in the order of last use. What comes in is on *probation*; a second use *protects* it. Those on probation
//! go first, so that a scan pushes out other scans. Only while the protected have more than their share of the room does the
//! oldest of both go, so that former fame does not stay for ever. Ahead of both goes what the origin has superseded.
//!
//! It is segmented LRU (Karedla, Love, Wherry: Caching strategies to improve disk system performance, Computer 27(3), 1994)
//! without its moves: a protected entity that loses its protection keeps its place, because its last use is its place in
//! either segment. So there is no queue, no hand, no ghost and no list of promotions; a table sorted by [`Standing::key`] is
//! the whole state, and one sum: the bytes that are protected.

use serde::{Deserialize, Serialize};

/// The share of the room, in percent, beyond which the protected are no longer spared.
pub const PROTECTED_SHARE: u64 = 60;

/// Uses within so many seconds count as one: the reads of one delivery are one use.
pub const BURST: i64 = 60;

/// A last use so many seconds ahead of the clock was booked under a wrong clock.
const AHEAD: i64 = 24 * 3600;

/// Where an entity stands; the order of the variants is the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Segment {
    /// The origin has named another version under the same URL since the last use.
    Superseded,
    /// Used once.
    Probation,
    /// Used more than once.
    Protected,
}

/// What is kept of an entity for eviction; some 7 bytes in a row.
///
/// [`Standing::key`] is its place in a table sorted by it, and changes only when the standing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    segment: Segment,
    /// Seconds since the Unix epoch; up to a [`BURST`] early.
    last_use: i64,
}

impl Standing {
    /// Bytes of a key.
    pub const KEY_LENGTH: usize = 9;

    /// The least key of the protected: what is before it in the table is superseded or on probation.
    pub const PROTECTED_FROM: [u8; Self::KEY_LENGTH] = [Segment::Protected as u8, 0, 0, 0, 0, 0, 0, 0, 0];

    /// The standing of what comes in at `now` (seconds since the Unix epoch).
    #[must_use]
    pub fn admitted(now: i64) -> Self {
        Self { segment: Segment::Probation, last_use: now }
    }

    /// The standing after a use at `now`. Equal to the one before when the use counts for nothing, so that nothing need be
    /// written: it belongs to the burst before, or the clock has gone back a little.
    #[must_use]
    pub fn used(self, now: i64) -> Self {
        let since = now.saturating_sub(self.last_use);
        match self.segment {
            // Somebody wants this version all the same; it begins again.
            Segment::Superseded => Self::admitted(now),
            _ if since < -AHEAD => Self { last_use: now, ..self },
            _ if since < BURST => self,
            Segment::Probation | Segment::Protected => Self { segment: Segment::Protected, last_use: now },
        }
    }

    /// The standing of a version after the origin has named another one under the same URL. A use takes this back.
    #[must_use]
    pub fn superseded(self) -> Self {
        Self { segment: Segment::Superseded, ..self }
    }

    /// Where it stands.
    #[must_use]
    pub fn segment(self) -> Segment {
        self.segment
    }

    /// The last use, in seconds since the Unix epoch; up to a [`BURST`] early.
    #[must_use]
    pub fn last_use(self) -> i64 {
        self.last_use
    }

    /// The place in the table: keys compare as bytes. The name of the entity behind it makes it unique.
    #[must_use]
    pub fn key(self) -> [u8; Self::KEY_LENGTH] {
        let mut key = [self.segment as u8; Self::KEY_LENGTH];
        key[1..].copy_from_slice(&(self.last_use ^ i64::MIN).to_be_bytes());
        key
    }

    /// The standing at a place in the table; `None` for bytes that are no key.
    #[must_use]
    pub fn of_key(key: [u8; Self::KEY_LENGTH]) -> Option<Self> {
        let [segment, last_use @ ..] = key;
        let segments = [Segment::Superseded, Segment::Probation, Segment::Protected];
        let segment = segments.into_iter().find(|known| *known as u8 == segment)?;
        Some(Self { segment, last_use: i64::from_be_bytes(last_use) ^ i64::MIN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * 3600;

    fn after(uses: &[i64]) -> Standing {
        uses[1..].iter().fold(Standing::admitted(uses[0]), |standing, at| standing.used(*at))
    }

    #[test]
    fn what_is_used_once_goes_before_what_is_used_again() {
        let again = after(&[0, DAY]);
        assert_eq!(again.segment(), Segment::Protected);
        assert!(Standing::admitted(9 * DAY).key() < again.key());
        assert!(
            again.key() >= Standing::PROTECTED_FROM && Standing::admitted(i64::MAX).key() < Standing::PROTECTED_FROM
        );
    }

    #[test]
    fn the_reads_of_one_delivery_are_one_use() {
        assert_eq!(after(&[1000, 1001, 1030, 1059]), Standing::admitted(1000));
        assert_eq!(after(&[1000, 1060]).segment(), Segment::Protected);
    }

    #[test]
    fn a_superseded_version_goes_first_until_somebody_wants_it() {
        let old = after(&[1000 * DAY, 1001 * DAY]).superseded();
        assert!(old.key() < Standing::admitted(0).key());
        assert_eq!(old.last_use(), 1001 * DAY);
        assert!(after(&[0]).superseded().key() < after(&[1]).superseded().key(), "the oldest of them first");
        assert_eq!(old.used(1002 * DAY), Standing::admitted(1002 * DAY));
    }

    #[test]
    fn a_use_that_was_booked_under_a_wrong_clock_is_mended_by_the_next() {
        let wrong = after(&[10_000 * DAY, 10_001 * DAY]);
        assert_eq!(wrong.used(100 * DAY).last_use(), 100 * DAY);
        assert_eq!(wrong.used(10_001 * DAY - 30), wrong, "a small step back is none");
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        let segments = [Segment::Superseded, Segment::Probation, Segment::Protected];
        let segment = proptest::sample::select(segments.to_vec());
        (segment, any::<i64>()).prop_map(|(segment, last_use)| Standing { segment, last_use })
    }

    proptest! {
        #[test]
        fn keys_order_by_segment_then_by_last_use(one in any_standing(), other in any_standing()) {
            let plain = |standing: Standing| (standing.segment, standing.last_use);
            prop_assert_eq!(one.key().cmp(&other.key()), plain(one).cmp(&plain(other)));
            prop_assert_eq!(Standing::of_key(one.key()), Some(one));
        }

        #[test]
        fn bytes_that_are_no_key_are_no_standing(key in any::<[u8; Standing::KEY_LENGTH]>()) {
            prop_assert_eq!(Standing::of_key(key).map(Standing::key), (key[0] <= 2).then_some(key));
        }

        #[test]
        fn any_clock_gives_a_standing(clock in proptest::collection::vec(any::<i64>(), 1..20)) {
            prop_assert!(clock.contains(&after(&clock).last_use()));
        }
    }
}
