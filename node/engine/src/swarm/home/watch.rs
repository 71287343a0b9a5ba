//! Second fetches are shared: everybody who takes a content is told how many still take it, and one of them that it has to look for sure.
//! Who has all of it hears in the same way when nobody needs it any more.
//!
//! The draw itself is each member's own, from its own seed, so that neither the home nor a reader knows what will be looked at. A home
//! that appoints nobody, or names too many, leaves what the members' own parts of the chance find.

use super::board::Watcher;
use super::{Home, Out};
use crate::swarm::message::Say;
use crate::trust::{Duty, Sharing};

impl Home {
    /// Tells those who take a content, if what they know is no longer about right.
    pub(super) fn tell_watches(&mut self, b: u32) {
        let among = self.among(b);
        let stakes = self.boards[b as usize].stakes.iter().enumerate();
        let taking = stakes.filter(|(_, stake)| stake.as_ref().is_some_and(|stake| stake.wants.is_some()));
        for n in taking.map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            self.tell_one(b, n, among);
        }
    }

    /// Tells one that has just joined.
    pub(super) fn tell_watch(&mut self, b: u32, n: u32) {
        let among = self.among(b);
        self.tell_one(b, n, among);
    }

    /// How many still lack something.
    pub(super) fn among(&self, b: u32) -> u32 {
        self.boards[b as usize].wanting().count() as u32
    }

    fn tell_one(&mut self, b: u32, n: u32, among: u32) {
        self.appoint(b);
        let board = &mut self.boards[b as usize];
        let content = board.content.tag();
        let duty = if board.watcher == Watcher::Slot(n) { Duty::Watcher } else { Duty::Other };
        let sharing = Sharing { among, duty };
        let Some(stake) = board.stake_mut(n).filter(|stake| stake.wants.is_some()) else { return };
        let seat = &self.seats[n as usize];
        if seat.is_joined && !stake.told.is_some_and(|told| is_about(told, sharing)) {
            stake.told = Some(sharing);
            self.out.push_back(Out::Tell(seat.peer, Say::Watch { content, sharing }));
        }
    }

    /// Appoints somebody who still takes it, unless one who was has it all and had something to look at: who has read all of it itself
    /// believed nobody. One alone looks for sure without being appointed, and whoever is there first reads first: where there are two, one
    /// is drawn of those that read nothing now. While it has nothing yet it is drawn anew of twice as many, since the second one that
    /// comes is no secret.
    fn appoint(&mut self, b: u32) {
        let board = &self.boards[b as usize];
        let taking: Vec<u32> = board.wanting().map(|(n, _)| n).collect();
        let count = taking.len() as u32;
        if let Watcher::Slot(n) = board.watcher
            && let Some(stake) = board.stake(n)
        {
            let (is_full, believes) = (stake.have.is_full(), stake.believes);
            if !is_full && (believes || count < board.drawn_among * 2) {
                return;
            }
            self.boards[b as usize].watcher = if believes { Watcher::Done } else { Watcher::Nobody };
        }
        if self.boards[b as usize].watcher == Watcher::Done || count < 2 {
            return;
        }
        let reads = |n: &u32| self.leases.values().any(|lease| (lease.board, lease.slot) == (b, *n));
        let idle: Vec<u32> = taking.iter().copied().filter(|n| !reads(n)).collect();
        let among = if idle.is_empty() { taking } else { idle };
        // Of a part of the seed that no member sees, and without a draw: whom it appoints changes nothing else that it does.
        let mixed = self.unseen_seed + (u64::from(b) << 32) + (u64::from(count) << 48);
        let drawn = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let board = &mut self.boards[b as usize];
        board.watcher = Watcher::Slot(among[(drawn % among.len() as u64) as usize]);
        board.drawn_among = count;
    }
}

/// Whether somebody who was told the one need not be told the other.
fn is_about(told: Sharing, sharing: Sharing) -> bool {
    told.duty == sharing.duty
        && told.among.abs_diff(sharing.among) * 4 <= told.among
        && (told.among == 0) == (sharing.among == 0)
}
