//! What an origin answered last about a file of a job: the status and the header fields (F-45).

use super::terms::HeaderView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The head of the last answer that an origin gave about a file. Fields may be secrets: the owner of the job sees all values,
/// anybody else those of fields that say what is in the file and how it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeadView {
    /// The file's place in the job, from 0.
    pub file: u32,
    /// Its URL, redacted.
    pub url: String,
    /// Where it goes.
    pub destination: String,
    /// When the answer came, in milliseconds since the Unix epoch.
    pub received_unix_ms: u64,
    /// The status code: that of a part (206), an error or a redirect, too, if nothing came after it.
    pub status: u16,
    /// The fields, repeated ones kept apart.
    pub fields: Vec<HeaderView>,
    /// Whether there were more fields than are kept (64 KiB).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}
