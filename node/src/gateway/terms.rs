//! The terms under which an answer was asked for and kept: who asks for the same URL under others gets nothing of it.
//!
//! What one mount may keep of an answer, what it sent to the origin to get it, what its indexes promise and where its links lead is for that
//! mount, for others that are just so, and never for the clients of the proxy.

use std::net::IpAddr;

/// What mounts are given that have the same rules and links, by the order in which they were mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Number(u64);

impl Number {
    /// The proxy's.
    pub(super) const PROXY: Self = Self(0);

    /// A mount's, which is never the proxy's.
    pub(super) fn mount(number: u64) -> Self {
        Self(number + 1)
    }
}

/// The terms of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    /// Of the mount, or of the proxy.
    pub(super) number: Number,
    /// By which address the client calls this machine, where pages name it.
    pub(super) called: Option<IpAddr>,
    /// Who gets it.
    pub(super) asker: Asker,
}

/// Who gets what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// Whoever asks.
    Anybody,
    /// Who has the origin's leave for a file of so many bytes (`leave.rs`): whoever is told of another length is told of something else.
    Admitted(u64),
}
