//! A job: what is asked for ([`JobSpec`]), and what may be done to it; how it stands is [`JobView`]'s matter.

mod view;

use super::Problem;
use super::terms::Terms;
use eddy_content::url::{ResourceUrl, UrlError};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

pub use view::{DigestCheck, FileState, FileView, JobView, Sources};

/// Most files that one job may have.
pub const MAX_FILES: usize = 10_000;

/// Most characters of a job's name.
pub const MAX_NAME: usize = 256;

/// What a program asks the node to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The files, at most 10,000; at least one, unless the job does not start at once.
    pub files: Vec<FileSpec>,
    /// A name for people, at most 256 characters; the node makes one from the first file if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose turn it is when not everything fits.
    #[serde(default)]
    pub priority: Priority,
    /// What peers may do for this job, and this job for peers.
    #[serde(default)]
    pub peers: PeerUse,
    /// Start at once; otherwise the job stays suspended until it is resumed.
    #[serde(default = "yes")]
    pub start: bool,
    /// What happens when every byte is there.
    #[serde(default)]
    pub finish: Finish,
    /// When the origin is asked about a version that is held whole; as the node's configuration says if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<Asking>,
    /// Go on with a job that has not ended and has exactly these files and header fields, if there is one, instead of making a second.
    #[serde(default)]
    pub adopt: bool,
    /// What else it says.
    #[serde(default)]
    pub terms: Terms,
    /// Whether the caller follows the job to its end: then it runs also when the node's disk takes no record of it, and is
    /// gone with the node. Otherwise such a job is refused. In the foreground, a host that cannot be reached is an error at once
    /// for who follows, and waited for otherwise.
    #[serde(default)]
    pub followed: bool,
}

/// Most jobs of a batch.
pub const MAX_BATCH: usize = 1000;

/// Jobs that are made together, each by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobBatch {
    /// The jobs, 1 to 1,000.
    pub jobs: Vec<JobSpec>,
}

/// What became of the jobs of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchView {
    /// In the order of the batch.
    pub jobs: Vec<MadeJob>,
}

/// What became of one job of a batch: it has an id, or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeJob {
    /// The job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it was not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

/// One file of a job: where from, where to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// An http or https URL.
    pub url: String,
    /// The absolute path of the file to make.
    pub destination: String,
    /// The digest that the file which is made must have, as `algorithm:hex`; algorithms: blake3, sha512, sha256, sha1, md5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether a file that already stands at the destination may be replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// What is wanted of it, if not all: at most 500 ranges that do not overlap. The file that is made has them one behind the
    /// other, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 500)]
    pub ranges: Vec<ByteRange>,
    /// Whether nothing of it is fetched but what is asked for while the job is there, until all of it is; not with `ranges`.
    #[serde(default, skip_serializing_if = "is_no")]
    pub on_demand: bool,
}

/// What is asked for of a file that is fetched on demand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeOrder {
    /// The file, counted from 0.
    #[serde(default)]
    pub file: u32,
    /// What is wanted besides what was asked for before, at most 500 ranges; they may overlap.
    #[serde(default)]
    #[schema(max_items = 500)]
    pub ranges: Vec<ByteRange>,
    /// The byte that is wanted first, then what lies behind it; as it was if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Let the job run, if it rests.
    #[serde(default = "yes")]
    pub start: bool,
}

/// Which file of a job is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FileQuery {
    /// The file, counted from 0.
    #[serde(default)]
    pub file: u32,
}

/// What of a file is in the store, whole blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FilledView {
    /// The file, counted from 0.
    pub file: u32,
    /// Its length, as soon as the origin has named it.
    pub length: Option<u64>,
    /// What is here and checked, in the order of the file; at most 10,000 ranges.
    pub filled: Vec<ByteRange>,
}

/// Some bytes of a file, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByteRange {
    /// The first one, counted from 0.
    pub offset: u64,
    /// How many; up to the end of the file if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub length: Option<u64>,
}

impl fmt::Display for ByteRange {
    /// As HTTP writes it: first and last byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, length } = *self;
        eddy_engine::ByteRange { offset, length }.fmt(f)
    }
}

impl fmt::Debug for FileSpec {
    /// Without the URL's query and credentials (T-36).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSpec")
            .field("url", &self.redacted_url())
            .field("destination", &self.destination)
            .field("digest", &self.digest)
            .field("overwrite", &self.overwrite)
            .field("ranges", &self.ranges)
            .field("on_demand", &self.on_demand)
            .finish()
    }
}

impl FileSpec {
    /// The URL as it may be shown; a text that is no URL is not shown at all, since it may hold a secret.
    #[must_use]
    pub fn redacted_url(&self) -> String {
        ResourceUrl::parse(&self.url).map_or_else(|e: UrlError| format!("({e})"), |url| url.redacted())
    }
}

fn is_no(flag: &bool) -> bool {
    !flag
}

fn yes() -> bool {
    true
}

/// Whose turn it is when not everything fits, most urgent first (BITS's four).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for it: takes what the line gives.
    Foreground,
    /// Before the ordinary.
    High,
    /// The ordinary.
    #[default]
    Normal,
    /// When nothing else is to be done.
    Low,
}

/// What peers may do for a job, and the job for peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerUse {
    /// Bytes may come from peers.
    #[serde(default = "yes")]
    pub fetch: bool,
    /// Bytes may be given to peers.
    #[serde(default = "yes")]
    pub share: bool,
}

impl Default for PeerUse {
    fn default() -> Self {
        Self { fetch: true, share: true }
    }
}

/// When the origin is asked about a version that is held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Asking {
    /// Always, before it is delivered.
    Always,
    /// Not within the lifetime that the origin gave it (RFC 9111).
    WithinLifetime,
}

/// What happens when every byte of a job is there and checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The files appear at their destinations at once, and the job is over.
    #[default]
    Auto,
    /// The files appear when somebody finishes the job, as BITS's Complete does.
    Manual,
}

/// How a job stands: the nine states of BITS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Does nothing until it is resumed.
    Suspended,
    /// Waits for its turn.
    Queued,
    /// Asks the origin which version there is.
    Connecting,
    /// Bytes arrive.
    Transferring,
    /// Failed in a way that passes; tries again by itself.
    TransientError,
    /// Failed in a way that does not pass by itself; somebody must mend it and resume.
    Error,
    /// Every byte is there and checked, and waits to be finished.
    Transferred,
    /// Finished: the files stand at their destinations.
    Acknowledged,
    /// Cancelled: nothing is left of it.
    Cancelled,
}

impl JobState {
    /// Every state, in BITS's order of meaning.
    pub const ALL: [Self; 9] = [
        Self::Suspended,
        Self::Queued,
        Self::Connecting,
        Self::Transferring,
        Self::TransientError,
        Self::Error,
        Self::Transferred,
        Self::Acknowledged,
        Self::Cancelled,
    ];

    /// Whether the job has ended for good.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Cancelled)
    }

    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspended => "paused",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Transferring => "transferring",
            Self::TransientError => "waiting to retry",
            Self::Error => "failed",
            Self::Transferred => "ready to finish",
            Self::Acknowledged => "finished",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What may be done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobAction {
    /// Go on, or try again now.
    Resume,
    /// Stop and keep everything.
    Pause,
    /// Stop and leave nothing behind.
    Cancel,
    /// Put what is complete at its destination and end the job.
    Finish,
    /// Make it the caller's own, without the secrets of its last owner.
    Take,
}

impl JobAction {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Resume, Self::Pause, Self::Cancel, Self::Finish, Self::Take];

    /// The action as it stands in a path.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Pause => "pause",
            Self::Cancel => "cancel",
            Self::Finish => "finish",
            Self::Take => "take",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_job_is_a_url_and_a_destination() {
        let text = r#"{"files":[{"url":"https://h/a","destination":"/tmp/a"}]}"#;
        let job: JobSpec = serde_json::from_str(text).expect("a job");
        assert_eq!(job.priority, Priority::Normal);
        assert_eq!(job.peers, PeerUse { fetch: true, share: true });
        assert_eq!(job.finish, Finish::Auto);
        assert!(job.start && !job.files[0].overwrite);
    }

    #[test]
    fn a_misspelt_field_is_refused_and_not_ignored() {
        let text = r#"{"files":[{"url":"https://h/a","destination":"/tmp/a","overwite":true}]}"#;
        let error = serde_json::from_str::<JobSpec>(text).expect_err("a typing error").to_string();
        assert!(error.contains("overwite"), "{error}");
    }

    #[test]
    fn debug_hides_what_a_signed_url_carries() {
        let file = |url: &str| FileSpec {
            url: url.into(),
            destination: "/a".into(),
            digest: None,
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        };
        for url in ["https://u:geheim@h/a?sig=geheim", "ftp://geheim@h/", "geheim"] {
            assert!(!format!("{:?}", file(url)).contains("geheim"), "{url}");
        }
    }

    #[test]
    fn states_are_written_as_words_with_underscores() {
        let words: Vec<_> = JobState::ALL.iter().map(|s| serde_json::to_value(s).expect("a word")).collect();
        assert_eq!(
            serde_json::Value::Array(words),
            serde_json::json!([
                "suspended",
                "queued",
                "connecting",
                "transferring",
                "transient_error",
                "error",
                "transferred",
                "acknowledged",
                "cancelled"
            ])
        );
    }
}
