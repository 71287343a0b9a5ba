//! The swarm: N members want the same at the same time, and the origin sends it once.
//!
//! The members of a group rank themselves for each origin (rendezvous hashing). The first is the *home* of that origin: it knows who wants
//! and has what, lets a few at a time read from the origin (*leases*), and says who takes what from whom, along trees through
//! which verified blocks flow while the rest is still arriving. It keeps soft state only; when it is gone the next in rank learns
//! it again from what members say they have. A node alone is its own home and says nothing to anybody. Peers only help: when
//! no home answers, a node reads from the origin itself.
//!
//! All of it is sans-IO: messages, the data plane's reports and the time go in, [`Effect`]s come out. The fleet simulator
//! (`eddy-tests`) runs thousands of these machines, and the traps that its tests name are those of the design.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`node`] | what does this node's part in all origins look like to its shell? |
//! | [`room`] | who is home of one origin, and who follows it? |
//! | [`rank`] | in which order are members home? |
//! | [`plain`] | what is taken of members that take part in no swarm? |
//! | [`member`] | what does a node take, give and report? |
//! | [`home`] | who reads, who takes from whom, what does a failure mean? |
//! | [`message`] | what do they say to each other? |
//! | [`effect`] | what does the shell do? |
//! | [`name`] | how are origins, contents, members and leases called? |
//! | [`bits`] | which segments? |
//! | [`constants`] | how long, how many, and why |

pub mod bits;
pub mod constants;
pub mod effect;
mod home;
mod member;
pub mod message;
pub mod name;
pub mod node;
mod plain;
pub mod rank;
mod room;

pub use bits::Bits;
pub use effect::{Effect, FlowFault, ReadFault};
pub use message::{FailReason, Holdings, Item, Join, JoinFlow, JoinSource, Message, Role, Say};
pub use name::{Content, ContentTag, LeaseId, Link, Medium, Order, OriginKey, PeerTag, Reading};
pub use node::{Glance, Patience, Reads, Swarm, Tally};
pub use rank::Weight;

#[cfg(test)]
mod tests;
