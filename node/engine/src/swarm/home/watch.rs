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

    /// Appoints somebody who still takes it, unless one who was has it all.
    fn appoint(&mut self, b: u32) {
        let board = &self.boards[b as usize];
        if let Watcher::Slot(n) = board.watcher
            && let Some(stake) = board.stake(n)
        {
            if stake.have.is_full() {
                self.boards[b as usize].watcher = Watcher::Done;
            }
            return;
        }
        if board.watcher == Watcher::Done {
            return;
        }
        let taking: Vec<u32> = board.wanting().map(|(n, _)| n).collect();
        if !taking.is_empty() {
            // From the home's own seed, without a draw: whom it appoints changes nothing else that it does.
            let drawn = (self.next_lease >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let watcher = taking[(drawn % taking.len() as u64) as usize];
            self.boards[b as usize].watcher = Watcher::Slot(watcher);
        }
    }
}

/// Whether somebody who was told the one need not be told the other.
fn is_about(told: Sharing, sharing: Sharing) -> bool {
    told.duty == sharing.duty
        && told.among.abs_diff(sharing.among) * 4 <= told.among
        && (told.among == 0) == (sharing.among == 0)
}
