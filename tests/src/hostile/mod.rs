//! The hostile origin: an HTTP server that misbehaves on request, down to the byte.
//!
//! It is written on bare sockets, because no HTTP library lets a server break HTTP. A test publishes a [`Resource`] under a
//! path: which [`Version`] it serves (bytes from a seed, so that every byte can be foretold) and with which [`Behaviour`].
//! Everything asked and sent is counted, so that a test can say what crossed the line.
//!
//! | module | idea |
//! |---|---|
//! | `version` | the bytes and marks of one version of a file |
//! | `behaviour` | how a server may misbehave, as plain data |
//! | `ask` | one request, read from the socket |
//! | `answer` | the head that a behaviour gives to an ask |
//! | `send` | the body, with its delays, cuts and excesses |
//! | `guard` | a password that is asked for by hashes |
//! | `counters` | what was asked and what was sent |
//! | `serve` | sockets, TLS, connections |

mod answer;
mod ask;
mod behaviour;
mod counters;
mod guard;
mod send;
mod serve;
mod tls;
mod version;

pub use ask::{Ask, AskedRange};
pub use behaviour::{Behaviour, BodyFault, Framing, HeadAnswer, HeadFault, Instead, Mark, RangeAnswer, RangeLie};
pub use counters::{Counters, PathCounters};
pub use guard::DigestGuard;
pub use serve::{COUNTERS_PATH, HostileOrigin, Resource, Scripted};
pub use tls::{Certificate, Protocol, TlsPlan};
pub use version::Version;
