//! The origin has another version, as somebody says who read from it.
//!
//! One may be behind another edge of the origin's network than the rest, or lie: its word ends its own part and nobody else's. What it
//! was to read is given to somebody else, who finds the same a round trip later if it is so; two readers are believed, and what this
//! node has read itself.

use super::lease::Ending;
use super::{Home, Out};
use crate::port::Peer;
use crate::swarm::message::Say;
use crate::swarm::name::ContentTag;
use std::time::Duration;

/// Readers that have to say it.
const WORDS: usize = 2;

impl Home {
    /// A member says that the origin has another version.
    pub(super) fn on_changed(&mut self, now: Duration, n: u32, content: ContentTag) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let is_reader = self.leases.values().any(|lease| (lease.board, lease.slot) == (b, n));
        let board = &mut self.boards[b as usize];
        if is_reader {
            board.changed.insert(n);
        }
        if board.changed.len() < WORDS && self.seats[n as usize].peer != self.me {
            return self.take_out(now, b, n, Ending::Kept);
        }
        let members: Vec<Peer> = self.members().collect();
        self.retire(b);
        self.out.extend(members.into_iter().map(|peer| Out::Tell(peer, Say::Changed { content })));
    }
}
