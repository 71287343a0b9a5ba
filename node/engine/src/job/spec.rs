//! What a job asks for.

use super::portion::Portion;
use super::terms::Terms;
use eddy_content::ResourceUrl;
use eddy_content::digest::ExpectedDigest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The name of a job: 128 random bits, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub [u8; 16]);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job is named by 32 hexadecimal digits")]
pub struct NotAJobId;

impl FromStr for JobId {
    type Err = NotAJobId;
    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotAJobId);
        }
        u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| NotAJobId)
    }
}

/// How urgent a job is; the order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for it.
    Foreground,
    /// Before the others in the background.
    High,
    /// As most.
    Normal,
    /// When nothing else is to do (the default, as in BITS).
    Low,
}

/// What happens when every file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The files are delivered at once.
    Auto,
    /// The job waits, transferred, until its owner finishes it (BITS).
    Manual,
}

/// How long the owner is willing to wait out faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// Somebody watches: a host that cannot be reached at all is an error at once; later faults are waited out for a minute.
    Watching,
    /// Nobody watches: faults that may pass are waited out for days (F-26).
    Background,
}

/// What peers may do for the job, and the job for peers (P-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerUse {
    /// Bytes may come from peers.
    pub fetch: bool,
    /// Bytes may be given to peers.
    pub share: bool,
}

impl PeerUse {
    /// Both.
    pub const FULL: Self = Self { fetch: true, share: true };
    /// Neither.
    pub const NONE: Self = Self { fetch: false, share: false };
}

/// When the origin is asked about a version that is held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asking {
    /// Always, before anything is delivered (promise 3).
    #[default]
    Always,
    /// Not while the version is fresh by the origin's own word (RFC 9111 section 4).
    WithinLifetime,
}

/// One file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// What to fetch.
    pub url: ResourceUrl,
    /// Absolute path of the file to make. Empty for what is to be held in the store and made nowhere: see [`FileSpec::goal`].
    pub destination: String,
    /// Digests that the bytes must have which are delivered.
    pub digests: Vec<ExpectedDigest>,
    /// Whether a file that stands at the destination may be replaced.
    pub overwrite: bool,
    /// Basic credentials from the URL: `user:password`. Make the content private (T-33).
    pub credentials: Option<Credentials>,
    /// How much of it is wanted; in a record it stands at the end ([`crate::JobRecord`]).
    #[serde(skip)]
    pub portion: Portion,
}

/// What a file's transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// A file at its destination.
    Deliver,
    /// One version, held whole in the store for whoever reads it there while it comes. Nothing of such a job is durable: who wants
    /// it is there, and asks again.
    Hold,
}

impl FileSpec {
    /// What the transfer is for.
    #[must_use]
    pub fn goal(&self) -> Goal {
        if self.destination.is_empty() { Goal::Hold } else { Goal::Deliver }
    }
}

/// A user name and a password; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The owner's name for it.
    pub name: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The files; at least one is needed to run.
    pub files: Vec<FileSpec>,
    /// What happens at the end.
    pub finish: Finish,
    /// How long faults are waited out.
    pub patience: Patience,
    /// Whether peers are used.
    pub peers: PeerUse,
    /// When the origin is asked; in a record it stands at the end ([`crate::JobRecord`]).
    #[serde(skip)]
    pub asking: Asking,
    /// What else it says; in a record it stands at the end.
    #[serde(skip)]
    pub terms: Terms,
}
