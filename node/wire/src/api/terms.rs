//! What a job says besides which files it wants, how that is changed, and what is shown of it.
//!
//! Secrets go in and never come out: passwords, tokens, and the values of header fields that are called secret.

use super::{FileSpec, PeerUse, Priority};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Most characters of a job's description (F-4).
pub const MAX_DESCRIPTION: usize = 1024;
/// Most characters of all header fields of a job together (F-67).
pub const MAX_HEADERS: usize = 16_384;
/// Most characters of a user name (F-69).
pub const MAX_USER: usize = 300;
/// Most characters of a password or a token (F-69).
pub const MAX_SECRET: usize = 65_535;
/// Most seconds of any time that a job names: 68 years.
pub const MAX_SECONDS: u64 = 2_147_483_647;
/// Least bytes a second to which a job is limited: with less, origins take a body that is read slowly for one that nobody reads.
pub const LEAST_LIMIT: u64 = 64 * 1024;
/// Most characters of a proxy's URL.
pub const MAX_PROXY: usize = 4_000;

/// Most characters of a method.
pub const MAX_METHOD: usize = 64;
/// Most characters of the name of a hook or of a certificate.
pub const MAX_HOOK: usize = 64;

/// The limit that holds for a job that wants this one; none for 0.
#[must_use]
pub fn limit_in_force(wanted: u64) -> Option<u64> {
    (wanted > 0).then_some(wanted.max(LEAST_LIMIT))
}

/// What a job says besides which files it wants; all of it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Words about the job, at most 1,024 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Seconds before the next attempt after a fault that may pass, at least 5; further pauses are longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_147_483_647)]
    pub retry_delay_seconds: Option<u64>,
    /// Seconds without progress after which the job fails; 0 for at the first fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_147_483_647)]
    pub give_up_after_seconds: Option<u64>,
    /// Most seconds for which the job connects and transfers, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_147_483_647)]
    pub max_transfer_seconds: Option<u64>,
    /// Header fields for origins, at most 16,384 characters together. Any of them makes what is fetched private.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderField>,
    /// Proof of identity for the origins that the job names. Makes what is fetched private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// The way to origins: `system`, `direct`, or the URL of a proxy. What a proxy brings by plain HTTP goes past cache and peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What becomes of redirects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirects: Option<Redirects>,
    /// The hook that is told of the job's end, by its name in the node's configuration; an empty one for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub hook: Option<String>,
    /// Whether it waits while its owner is not logged on at this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub while_logged_on: Option<bool>,
    /// The certificate that origins see which want one, by its name in the node's configuration; an empty one for none. Makes what is
    /// fetched private.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub client_certificate: Option<String>,
    /// The method of HTTP with which origins are asked; an empty one for GET. Any other is asked once, without a body: every fault needs
    /// somebody's hand, redirects end it, the answer goes past cache and peers, and the job runs in the foreground. It is settled before
    /// the job first runs. HEAD, TRACE and CONNECT bring no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub method: Option<String>,
    /// Most bytes a second that come from origins, at least 65,536 (less is raised to that); 0 for as fast as it goes. What peers give is
    /// not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes_per_second: Option<u64>,
}

/// A header field for origins.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderField {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether the value is never shown again.
    #[serde(default)]
    pub secret: bool,
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderField({}: hidden)", self.name)
    }
}

/// Proof of identity.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "snake_case", deny_unknown_fields)]
pub enum Authorization {
    /// A user name and a password (RFC 7617).
    Basic {
        /// At most 300 characters.
        user: String,
        /// At most 65,535 characters.
        password: String,
    },
    /// A user name and a password of which the origin sees hashes only (RFC 7616): it has to ask for them, so the first question is
    /// asked twice.
    Digest {
        /// At most 300 characters.
        user: String,
        /// At most 65,535 characters.
        password: String,
    },
    /// A token (RFC 6750).
    Bearer {
        /// At most 65,535 characters.
        token: String,
    },
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(hidden)",
            Self::Digest { .. } => "Digest(hidden)",
            Self::Bearer { .. } => "Bearer(hidden)",
        })
    }
}

/// What becomes of redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redirects {
    /// They are followed; the file keeps its URL.
    #[default]
    Follow,
    /// They are followed, and the file's URL becomes the one where they end; of a job that shows origins something of its own only where
    /// that is the same origin.
    Report,
    /// They stop the job.
    Refuse,
}

/// What is shown of a job's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct TermsView {
    /// Words about the job.
    pub description: String,
    /// Seconds before the next attempt, if the job has a wish.
    pub retry_delay_seconds: Option<u64>,
    /// Seconds without progress after which the job fails.
    pub give_up_after_seconds: u64,
    /// Most seconds for which it connects and transfers, if it has a wish.
    pub max_transfer_seconds: Option<u64>,
    /// Header fields for origins.
    pub headers: Vec<HeaderView>,
    /// The scheme of its proof of identity: `basic`, `digest` or `bearer`.
    pub authorization: Option<String>,
    /// The way to origins: `system`, `direct`, or the URL of a proxy without credentials.
    pub proxy: String,
    /// What becomes of redirects.
    pub redirects: Redirects,
    /// The hook that is told of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Whether it waits while its owner is not logged on; missing if it does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub while_logged_on: bool,
    /// The name of the certificate that origins see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The method with which origins are asked, if it is not GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Most bytes a second that come from origins, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes_per_second: Option<u64>,
}

/// A header field as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderView {
    /// Its name.
    pub name: String,
    /// Its value; missing if it is secret.
    pub value: Option<String>,
}

/// What is to be changed about a job; what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobChange {
    /// Another name, at most 256 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Whether peers are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeerUse>,
    /// Other terms: those that are named. Header fields replace those with the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// What is taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<Forget>,
    /// Other URLs of single files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<UrlChange>,
    /// Another beginning for the URLs of all files that have the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relocate: Option<Relocation>,
}

/// What may be taken away from a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forget {
    /// Its header fields.
    Headers,
    /// Its proof of identity.
    Authorization,
    /// Its own pause before the next attempt.
    RetryDelay,
    /// Its own time without progress.
    GiveUpAfter,
    /// Its own time of transfer.
    MaxTransfer,
}

/// Another URL for a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UrlChange {
    /// The file's place in the job, from 0.
    pub file: u32,
    /// An http or https URL.
    pub url: String,
}

impl fmt::Debug for UrlChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlChange({}: hidden)", self.file)
    }
}

/// Another beginning of URLs, case-sensitive (F-58).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Relocation {
    /// How URLs begin, at least one character.
    pub from: String,
    /// How they shall begin.
    pub to: String,
}

impl fmt::Debug for Relocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relocation(hidden)")
    }
}

/// Files for a job that is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoreFiles {
    /// The files, at least one.
    pub files: Vec<FileSpec>,
}

/// Why nothing moves, or what is being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// The reason in a stable word: a code of the error catalogue, or one of `paused`, `no-node`, `owner-away`,
    /// `sessions-unknown`, `host-spared`, `host-tried`, `host-busy`, `owner-busy`, `places-taken`, `connecting`, `transferring`, `finish`, `delivering`, `ended`.
    pub reason: String,
    /// What exactly it waits for, in one sentence without a full stop.
    pub sentence: String,
    /// Since when, in milliseconds since the Unix epoch; missing if since before the node started.
    pub since_unix_ms: Option<u64>,
    /// When something will be tried next, in milliseconds since the Unix epoch; missing if only somebody's hand helps, or if it
    /// depends on others.
    pub until_unix_ms: Option<u64>,
    /// What would change it.
    pub remedy: String,
}
