//! What a job says besides which files it wants: for how long it tries, what it shows to origins, which way it takes.

use super::spec::Credentials;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Shortest pause before the next attempt that a job may ask for (F-25).
pub const SHORTEST_RETRY: Duration = Duration::from_secs(5);
/// Longest time of transfer when the job does not say (F-24: 90 days).
pub const MAX_TRANSFER_TIME: Duration = Duration::from_secs(7_776_000);

/// What a job says besides which files it wants; all of it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// The owner's words about it.
    pub description: String,
    /// The first pause after a fault that may pass; longer ones follow (F-25).
    pub retry_delay: Option<Duration>,
    /// Without progress for this long the job becomes an error; zero for at the first fault (F-26).
    pub give_up_after: Option<Duration>,
    /// Longest time in which the job connects or transfers, all its turns together (F-24).
    pub max_transfer_time: Option<Duration>,
    /// Header fields for origins (F-67). Any of them makes the content private.
    pub headers: Vec<HeaderField>,
    /// Proof of identity for the origins that the job names (F-69). Makes the content private.
    pub authorization: Option<Authorization>,
    /// The way to origins (F-72).
    pub proxy: ProxyUse,
    /// What becomes of redirects (F-64).
    pub redirects: Redirects,
    /// What is done around it; in a record it stands at the end ([`crate::JobRecord`]).
    #[serde(skip)]
    pub ties: Ties,
    /// What it asks origins with, if not GET (F-68): such a question is asked once, its answer goes past cache and peers, and every
    /// fault needs somebody's hand. In a record it stands at the end.
    #[serde(skip)]
    pub method: Option<String>,
    /// Most bytes a second that come from origins (F-110); what peers give is not counted. In a record it stands at the end.
    #[serde(skip)]
    pub limit: Option<u64>,
}

/// What a job is tied to besides its transfers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ties {
    /// The hook that is told of its end, by the name under which the administrator has registered it (F-43).
    pub hook: Option<String>,
    /// Whether its owner has to be there; older records end before it.
    #[serde(deserialize_with = "super::record::or_default")]
    pub presence: Presence,
    /// The certificate that origins see, by the name under which the administrator has registered it (F-71). Makes the content
    /// private. Older records end before it.
    #[serde(deserialize_with = "super::record::or_default")]
    pub certificate: Option<String>,
}

/// Whether a job runs without its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Presence {
    /// It does.
    #[default]
    NotNeeded,
    /// It waits while its owner has no session (F-82).
    WhileLoggedOn,
}

impl Terms {
    /// Whether an answer to the job may be meant for it alone.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        let is_shown = !self.headers.is_empty() || self.authorization.is_some() || self.ties.certificate.is_some();
        is_shown || self.method.is_some()
    }

    /// Whether it goes to origins through a proxy that its owner has chosen.
    #[must_use]
    pub fn has_own_proxy(&self) -> bool {
        matches!(self.proxy, ProxyUse::Through { .. })
    }

    /// The same without what only the owner may use (F-84).
    #[must_use]
    pub fn without_secrets(self) -> Self {
        let proxy = match self.proxy {
            ProxyUse::Through { url, .. } => ProxyUse::Through { url, credentials: None },
            other => other,
        };
        // Nor is the new owner's name lent to what the last one wanted done.
        let ties = Ties { hook: None, certificate: None, ..self.ties };
        Self { headers: Vec::new(), authorization: None, proxy, ties, ..self }
    }
}

/// A header field for origins.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderField {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether the value is never shown again.
    pub secrecy: Secrecy,
}

/// Whether a value may be shown to the job's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secrecy {
    /// It may.
    Shown,
    /// It can be written and not be read (F-67).
    WriteOnly,
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderField({}: hidden)", self.name)
    }
}

/// Proof of identity; never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authorization {
    /// RFC 7617.
    Basic(Credentials),
    /// RFC 6750.
    Bearer(Token),
    /// RFC 7616: hashes are sent, and never the password.
    Digest(Credentials),
}

/// A secret word; never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// The way to origins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ProxyUse {
    /// As the node's surroundings say.
    #[default]
    System,
    /// None, whatever they say.
    Direct,
    /// This one.
    Through {
        /// Where it is; without credentials.
        url: String,
        /// What to prove oneself with.
        credentials: Option<Credentials>,
    },
}

/// What becomes of redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Redirects {
    /// They are followed; the file keeps its URL.
    #[default]
    Follow,
    /// They are followed, and the URL of a file that is whole becomes the one where they ended; of a job that shows origins something of its own only where
    /// that is the same origin.
    Report,
    /// They stop the job.
    Refuse,
}

/// The user to whom a job belongs, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Owner(pub u32);

/// What a job has lived through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Life {
    /// To whom it belongs.
    pub owner: Owner,
    /// When something about it last changed, in seconds since the Unix epoch (F-33).
    pub touched: i64,
    /// When its last file became whole, in seconds since the Unix epoch (F-33).
    pub transferred: Option<i64>,
    /// How long it has connected and transferred (F-24).
    pub spent: Duration,
    /// Faults that stopped it so far (F-44).
    pub faults: u32,
}
