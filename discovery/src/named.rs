//! Which configured names speak for which addresses, and which addresses they have stopped speaking of.
//!
//! A name is asked again and again, and its peer moves: whatever it once said would else hold its place among the configured addresses for as
//! long as the node runs. Pure: time is an argument.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Answers of a name in a row that may lack an address before it is forgotten: names of many machines name a few of them each time, in turn.
/// No answer is no word against an address.
pub const MAX_MISSED_ANSWERS: u32 = 5;

/// What the entries of the static list have said.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_entry: BTreeMap<usize, Name>,
    /// Written out in the list: always meant.
    literal: HashSet<SocketAddr>,
}

#[derive(Debug, Default)]
struct Name {
    /// It did not resolve when it was last asked.
    is_failing: bool,
    addresses: HashMap<SocketAddr, Said>,
}

/// What a name has said of an address.
#[derive(Debug, Clone, Copy)]
struct Said {
    last: Duration,
    /// Answers since then.
    missed: u32,
}

impl Names {
    /// The list has `address` itself.
    pub(crate) fn handle_literal(&mut self, address: SocketAddr) {
        self.literal.insert(address);
    }

    /// An entry answered with these; returns those of them that are new of it. Each is to be handed to [`Names::add`] if there is a place.
    pub(crate) fn handle_answer(&mut self, now: Duration, entry: usize, answer: &[SocketAddr]) -> Vec<SocketAddr> {
        let name = self.by_entry.entry(entry).or_default();
        name.is_failing = false;
        for (address, said) in &mut name.addresses {
            *said = match answer.contains(address) {
                true => Said { last: now, missed: 0 },
                false => Said { missed: said.missed.saturating_add(1), ..*said },
            };
        }
        answer.iter().filter(|address| !name.addresses.contains_key(address)).copied().collect()
    }

    /// An entry did not resolve: what it said before is kept, and gives way first where places are short.
    pub(crate) fn handle_failure(&mut self, entry: usize) {
        self.by_entry.entry(entry).or_default().is_failing = true;
    }

    /// Notes that `entry` speaks for `address`, which has a place.
    pub(crate) fn add(&mut self, now: Duration, entry: usize, address: SocketAddr) {
        let name = self.by_entry.entry(entry).or_default();
        name.addresses.insert(address, Said { last: now, missed: 0 });
    }

    /// Addresses of `entry` that it has not named for [`MAX_MISSED_ANSWERS`].
    pub(crate) fn dropped_by(&self, entry: usize) -> Vec<SocketAddr> {
        let said = self.by_entry.get(&entry).into_iter().flat_map(|name| &name.addresses);
        said.filter(|(_, said)| said.missed >= MAX_MISSED_ANSWERS).map(|(address, _)| *address).collect()
    }

    /// Takes the word of `entry` for `address` away; whether nobody speaks for it any more.
    pub(crate) fn withdraw(&mut self, entry: usize, address: &SocketAddr) -> bool {
        if let Some(name) = self.by_entry.get_mut(&entry) {
            name.addresses.remove(address);
        }
        !self.literal.contains(address) && !self.by_entry.values().any(|name| name.addresses.contains_key(address))
    }

    /// Forgets `address` altogether.
    pub(crate) fn forget(&mut self, address: &SocketAddr) {
        for name in self.by_entry.values_mut() {
            name.addresses.remove(address);
        }
    }

    /// Addresses that no entry named when it was last asked, who was named longest ago first.
    pub(crate) fn unconfirmed(&self) -> Vec<SocketAddr> {
        // The latest word for each, and whether any name stands by it.
        let mut words: HashMap<SocketAddr, (Duration, bool)> = HashMap::new();
        for name in self.by_entry.values() {
            for (address, said) in &name.addresses {
                let word = words.entry(*address).or_default();
                *word = (word.0.max(said.last), word.1 || (said.missed == 0 && !name.is_failing));
            }
        }
        let is_open = |(address, (_, is_confirmed)): &(SocketAddr, (Duration, bool))| {
            !is_confirmed && !self.literal.contains(address)
        };
        let mut open: Vec<_> = words.into_iter().filter(is_open).map(|(address, (last, _))| (last, address)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, address)| address).collect()
    }
}
