//! How a job stands.

use super::{ByteRange, Finish, JobState, PeerUse, Priority, is_no};
use crate::api::Problem;
use crate::api::terms::{TermsView, Waiting};
use crate::api::trust::Rung;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A job as it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// The job's id.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// How it stands.
    pub state: JobState,
    /// Whose turn it is when not everything fits.
    pub priority: Priority,
    /// What happens when every byte is there.
    pub finish: Finish,
    /// What peers may do for this job.
    pub peers: PeerUse,
    /// To which user it belongs, by number.
    pub owner: u32,
    /// What else it says.
    pub terms: TermsView,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When something about it changed last.
    pub changed_unix_ms: u64,
    /// When its last file became whole.
    pub transferred_unix_ms: Option<u64>,
    /// Faults that stopped it so far.
    pub faults: u32,
    /// Why nothing moves, or what is being done.
    pub waiting: Option<Waiting>,
    /// Its files, in the order in which they were given.
    pub files: Vec<FileView>,
    /// Useful bytes per second, averaged over the last seconds; 0 while nothing moves.
    pub rate: u64,
    /// Seconds to the end at this rate, when both are known.
    pub eta_seconds: Option<u64>,
    /// What went wrong last, while that still matters.
    pub error: Option<Problem>,
    /// When the next attempt starts, in milliseconds since the Unix epoch.
    pub next_attempt_unix_ms: Option<u64>,
}

impl JobView {
    /// Bytes of all files together, when every length is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.files.iter().try_fold(0_u64, |sum, file| Some(sum.saturating_add(file.length?)))
    }

    /// Bytes of all files that are here and checked.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.done))
    }

    /// Where the bytes of all files came from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.files.iter().fold(Sources::default(), |sum, file| sum.plus(file.sources))
    }
}

/// One file of a job as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// The URL, redacted.
    pub url: String,
    /// The absolute path of the file to make.
    pub destination: String,
    /// How it stands.
    pub state: FileState,
    /// Its length, as soon as the origin has named it; of ranges, that of all of them.
    pub length: Option<u64>,
    /// What is wanted of the file at the origin, if not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<ByteRange>,
    /// Whether it is fetched on demand.
    #[serde(default, skip_serializing_if = "is_no")]
    pub on_demand: bool,
    /// Bytes that are here and checked.
    pub done: u64,
    /// Where those came from.
    pub sources: Sources,
    /// Bytes that arrived for nothing.
    pub wasted: u64,
    /// The BLAKE3 of the file that is made, in hex, as soon as every byte is here.
    pub blake3: Option<String>,
    /// Whether the digest that the job names holds.
    pub digest: DigestCheck,
    /// Bytes that were fetched a second time to catch liars; they are in none of the sources.
    #[serde(default)]
    pub audited: u64,
    /// On whose word the bytes are believed to be the origin's, once all are here: the weakest.
    #[serde(default)]
    pub rung: Option<Rung>,
    /// How many members vouch for each byte that this node did not fetch itself, at least; missing when it fetched all. Three are
    /// counted at most.
    #[serde(default)]
    pub witnesses: Option<u8>,
    /// The rung in words.
    pub trust: Option<String>,
    /// Why bytes came from the origin although peers might have had them.
    pub origin_reason: Option<String>,
    /// Why a version that was held whole was used without asking the origin, or why the origin was asked.
    pub held_reason: Option<String>,
}

/// How a file of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// Not begun.
    Waiting,
    /// Bytes arrive.
    Transferring,
    /// Every byte is here and checked.
    Transferred,
    /// It stands at its destination.
    Delivered,
    /// It failed; the job says why.
    Failed,
}

/// The check of the digest that a job names for a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DigestCheck {
    /// The job names none.
    #[default]
    None,
    /// Not every byte is here yet.
    Pending,
    /// The bytes have the digest.
    Holds,
    /// The bytes have another one; they never reach the destination.
    Differs,
}

/// Bytes by where they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sources {
    /// Over this node's own connection to the origin.
    pub origin: u64,
    /// From peers.
    pub peers: u64,
    /// From this node's own cache.
    pub cache: u64,
}

impl Sources {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.origin.saturating_add(self.peers).saturating_add(self.cache)
    }

    /// The sums of two accounts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            origin: self.origin.saturating_add(other.origin),
            peers: self.peers.saturating_add(other.peers),
            cache: self.cache.saturating_add(other.cache),
        }
    }
}
