//! The engine's ports: what goes in, what comes out.
//!
//! | module | idea |
//! |---|---|
//! | `input` | what happened outside |
//! | `effect` | what the engine wants done |
//! | `failure` | why something did not work |

mod effect;
mod failure;
mod input;

use crate::job::spec::JobId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

pub use effect::{ContactMethod, Doubted, Effect, Proof, Reach, TakeEnd};
pub use failure::{Failure, FailureClass};
pub use input::{Contacted, FetchOutcome, Held, Input, PeerFault, StagedFile};

/// The moment at which an input is handled: the only time that the engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the engine's shell started.
    pub mono: Duration,
    /// Wall clock in seconds since the Unix epoch; for records that people read.
    pub wall: i64,
}

/// A peer: a neighbour that has proved its membership. Its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer(pub [u8; 32]);

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// The name of one fetch, unique in the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// The name of what a swarm has ordered of one file: one segment of a member, several that it holds, or some of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TakeId(pub u64);

/// One file of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileRef {
    /// The job.
    pub job: JobId,
    /// Its place in the job's specification.
    pub file: u32,
}

/// What others may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something about the job that people see has changed.
    JobChanged(JobId),
    /// The job has reached a final state.
    JobEnded(JobId),
}
