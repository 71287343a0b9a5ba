//! Offices: machines of one group in a lab that want the same at the same time, and what that costs their origin.
//!
//! | file | what is in it |
//! |---|---|
//! | `fleet.rs` | how many machines on which lines fetch how much, and the best that is possible |
//! | `machines.rs` | the machines, with their daemons |
//! | `origin.rs` | what the origin's log and its counters say of them |
//! | `runs.rs` | whole runs: cold, warm, killed, without ranges, many requests |
//!
//! The tests of swarms hold the bytes of such runs against their bounds, at a size for every day; the bench `swarm` prints bytes and times at
//! the sizes of the design.

mod fleet;
mod machines;
mod origin;
mod runs;

use std::time::Duration;

pub use fleet::{Fleet, Outcome};
pub use machines::{Office, SETTINGS};
pub use origin::{Hostile, is_of_later_part, is_of_one_block, sent, tell_again};
pub use runs::Connections;

/// How long anything of a run may take.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a block.
pub const BLOCK: u64 = 64 * 1024;
