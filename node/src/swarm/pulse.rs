//! Who of those that matter now is alive: a member from whom nothing comes, not even acknowledgements, is gone long before its
//! connection ends.

use eddy_engine::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often it is looked.
pub(super) const BEAT: Duration = Duration::from_millis(250);
/// It is looked while something is due within this: a swarm in which somebody wants something is looked after twice a second, and in
/// others nobody matters, so that an idle node sleeps.
pub(super) const SOON: Duration = Duration::from_secs(2);
/// From whom nothing comes for this long, though it was asked, is gone. Longer than a busy machine keeps a process waiting; shorter than
/// a home is not followed for that somebody has lost (`SUSPICION` in the engine).
const SILENT: Duration = Duration::from_millis(1250);
/// Questions without an answer.
const ASKED: u32 = 4;
/// A look that comes so late says that this machine itself stood still: then nobody is judged by it.
const LATE: Duration = Duration::from_millis(500);

/// What a look brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It says nothing: ask it.
    Ask(Peer),
    /// It is gone.
    Gone(Peer),
    /// It was only slow.
    Back(Peer),
}

/// One member.
#[derive(Debug, Default)]
struct Pulse {
    /// Packets that had come from it.
    packets: u64,
    /// When the last one was seen.
    at: Duration,
    asked: u32,
    is_gone: bool,
}

/// All that matter.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    known: BTreeMap<Peer, Pulse>,
    looked: Option<Duration>,
}

impl Pulses {
    /// Looks at those who matter; `packets` says how many have come from one, if it is connected.
    pub(super) fn look(
        &mut self,
        now: Duration,
        matter: &BTreeSet<Peer>,
        packets: impl Fn(&Peer) -> Option<u64>,
    ) -> Vec<Finding> {
        let is_late = self.looked.replace(now).is_some_and(|looked| now > looked + LATE);
        self.known.retain(|peer, pulse| pulse.is_gone || matter.contains(peer));
        for peer in matter {
            self.known.entry(*peer).or_insert_with(|| Pulse { at: now, ..Pulse::default() });
        }
        let mut findings = Vec::new();
        // The end of a connection is told by whoever ends it.
        self.known.retain(|peer, pulse| {
            let Some(packets) = packets(peer) else { return false };
            findings.extend(pulse.look(now, is_late, packets).map(|finding| finding(*peer)));
            true
        });
        findings
    }

    /// It is known to be gone.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.known.remove(peer);
    }
}

impl Pulse {
    fn look(&mut self, now: Duration, is_late: bool, packets: u64) -> Option<fn(Peer) -> Finding> {
        if packets != self.packets {
            let was_gone = self.is_gone;
            *self = Self { packets, at: now, asked: 0, is_gone: false };
            return was_gone.then_some(Finding::Back);
        }
        if is_late {
            (self.at, self.asked) = (now, 0);
        }
        if !self.is_gone && self.asked >= ASKED && now >= self.at + SILENT {
            self.is_gone = true;
            return Some(Finding::Gone);
        }
        self.asked += 1;
        Some(Finding::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Peer = Peer([1; 32]);

    /// Looks for some seconds at a member from whom so many packets have come at each time.
    fn look_at(packets: impl Fn(Duration) -> u64, beats: impl Iterator<Item = u64>) -> Vec<(u64, Finding)> {
        let (mut pulses, matter) = (Pulses::default(), BTreeSet::from([ONE]));
        let mut found = Vec::new();
        for at in beats {
            let now = Duration::from_millis(at);
            found.extend(pulses.look(now, &matter, |_| Some(packets(now))).into_iter().map(|finding| (at, finding)));
        }
        found.into_iter().filter(|(_, finding)| *finding != Finding::Ask(ONE)).collect()
    }

    #[test]
    fn who_says_nothing_though_asked_is_gone_after_little_more_than_a_second_and_back_with_the_first_packet() {
        let packets = |now: Duration| if (1000..5000).contains(&now.as_millis()) { 7 } else { now.as_millis() as u64 };
        let found = look_at(packets, (0..40).map(|beat| beat * 250));
        assert_eq!(found, vec![(2250, Finding::Gone(ONE)), (5000, Finding::Back(ONE))]);
    }

    #[test]
    fn who_answers_is_never_gone() {
        assert_eq!(look_at(|now| now.as_secs(), (0..100).map(|beat| beat * 250)), vec![]);
    }

    #[test]
    fn nobody_is_judged_by_a_machine_that_stood_still_itself() {
        let beats = (0..40).map(|beat| beat * 250).filter(|at| !(1000..8000).contains(at));
        // It stands still for seven seconds, and so does the other until half a second after.
        let packets = |now: Duration| if now.as_millis() < 8500 { 0 } else { now.as_millis() as u64 };
        assert_eq!(look_at(packets, beats), vec![]);
    }

    #[test]
    fn who_is_not_connected_is_nobodys_business_here() {
        let (mut pulses, matter) = (Pulses::default(), BTreeSet::from([ONE]));
        for beat in 0..40 {
            assert_eq!(pulses.look(Duration::from_millis(beat * 250), &matter, |_| None), vec![]);
        }
    }
}
