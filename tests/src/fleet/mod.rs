//! The fleet simulator: the engine's swarm, the real code, on simulated lines.
//!
//! Every host runs an [`eddy_engine::swarm::Swarm`]; messages between them go through the bytes of `eddy-wire`. Only the lines, the
//! origin and time are simulated. A run is a function of its [`Site`]: the same site with the same seed gives the same figures.
//!
//! The model of a line is the chunk: each host sends one chunk after the other, in turn among its flows, at the rate of its
//! line; it arrives after the latency and passes the receiver's line, which also takes one after the other. A flow has a
//! window of chunks under way, as a QUIC stream has; segments for which one request asks come one after the other. A chunk may
//! travel in parts that take turns with those of other flows, as packets do (`Site::parts`). The origin's line is one such
//! sender for all its connections. So fair shares, queues and pipelines come out of it without a solver; what it leaves out
//! is slow start and loss.
//!
//! | module | what it does |
//! |---|---|
//! | [`site`] | what is simulated: hosts, lines, origin, faults |
//! | [`clock`] | events in order |
//! | [`host`] | one machine: its swarm, what it holds, what it sends |
//! | [`source`] | the origin and its line |
//! | [`world`] | runs it |
//! | [`meet`] | who knows whom |
//! | [`carry`] | carries out what the machines want |
//! | [`trouble`] | crashes, stalls, splits, and what is noticed of them |
//! | [`figures`] | what came of it |
//! | [`words`] | rates, sizes and times as people write them |
//! | [`plot`] | the same as a picture |

mod carry;
mod clock;
pub mod figures;
mod host;
mod meet;
pub mod plot;
pub mod site;
mod source;
mod trouble;
pub mod words;
mod world;

pub use figures::Figures;
pub use site::{Faults, Site};
pub use world::{Watch, World};
