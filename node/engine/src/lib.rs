//! The pure engine: it decides, shells act.
//!
//! The engine has no clock, socket, file or task. It speaks in four families of methods: getters; `handle` (inputs, with
//! `now`); commands named as the user thinks (`create`, `resume`, `suspend`, `cancel`, `complete`); outputs `poll_effect`,
//! `poll_notice`, `poll_timeout`. One driver task owns it: take `now` once, hand the input in, drain the effects (persist
//! first, then act), publish the notices, wait until the next input or the timeout.
//!
//! | module | decides |
//! |---|---|
//! | [`job::state`] | which state follows from which event: the one transition table |
//! | [`job::spec`] | what a job asks for |
//! | [`job::portion`] | how much of a file that is |
//! | [`job::record`] | what of a job must survive a crash |
//! | [`job::parcel`] | in how few bytes a job is kept |
//! | [`file`] | what one file needs next: contact, peers, blocks, staging |
//! | [`planner`] | which block comes from which source |
//! | [`roster`] | who waits, runs or sleeps |
//! | [`queue`] | who waits for which host, and which hosts are spared |
//! | `shares` | how much each owner has had |
//! | [`schedule`] | whose turn it is |
//! | [`sessions`] | who is logged on, and which jobs wait for that |
//! | [`retry`] | whether and when to try again |
//! | [`scrub`] | how fast the store is read through for rot |
//! | [`upload`], [`bucket`] | who may send next where uploads are limited |
//! | [`trust`] | whose word is enough, and what is looked at a second time |
//! | [`swarm`] | who reads from the origin, and who takes what from whom, when many want the same |
//! | [`meter`] | rate and remaining time |
//! | [`outbox`] | what is to be done, in order, and whose each fetch is |
//! | [`engine`] | all of it together, behind inputs and outputs |

pub mod bucket;
pub mod engine;
pub mod file;
pub mod job;
pub mod meter;
pub mod outbox;
pub mod planner;
pub mod port;
pub mod queue;
pub mod retry;
pub mod roster;
pub mod schedule;
pub mod scrub;
pub mod sessions;
mod shares;
pub mod swarm;
pub mod trust;
pub mod upload;

pub use engine::{Engine, EngineConfig};
pub use job::portion::{ByteRange, Demand, Portion, Ranges};
pub use job::record::JobRecord;
pub use job::spec::{Asking, FileSpec, Finish, Goal, JobId, JobSpec, Patience, PeerUse, Priority};
pub use job::state::{JobEvent, JobState};
pub use job::terms::{Owner, Terms};
pub use port::{Effect, Failure, FailureClass, FetchId, FileRef, Held, Input, Notice, Now, Peer};
