//! The UDP socket under the endpoint: large buffers, one port for IPv6 and IPv4, and packets that leave 40 at a time.
//!
//! quinn gives at most 10 datagrams to the kernel at once; the kernel takes 64, and a call costs the same for each number.
//! quinn has a seam on both sides of the socket, and together they are enough to gather without a timer and without
//! delay: it *sends* through [`quinn::AsyncUdpSocket`], and it *runs* every connection through [`quinn::Runtime::spawn`].
//! So the end of a connection's turn is known here, and what was gathered in the turn leaves at its end.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`open`] | where does the endpoint listen? |
//! | [`batch`] | which datagrams may leave together? (pure) |
//! | [`outlet`] | how do they reach the kernel, and what if it takes no more? |
//! | [`turn`] | when does a turn of a connection end, and where is its batch meanwhile? |
//! | [`inbound`] | how much memory can what comes pin? |
//! | [`gather`] | the socket as quinn sees it |

mod batch;
mod gather;
mod inbound;
mod open;
mod outlet;
mod turn;

pub use self::gather::{GatheringSocket, Turns, endpoint};
pub use self::inbound::{Counted, Inbound};
pub use self::open::bind;
