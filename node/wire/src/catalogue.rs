//! Every error that a user can meet: one row per stable code, in [`table`].
//!
//! A code is for ever: programs compare it, people search for it, `eddy explain CODE` prints its row. The sentence says
//! what happened, the remedy says what to do, the [`Class`] says whose fault it is, the [`Exit`] says how a command
//! ends, the [`Retry`] says whether the same call may go better by itself. Where BITS knows the case, its code is named
//! as a cross-reference, and `eddy explain` finds the row by it.

mod bits;
mod exit;
mod table;

pub use bits::{Answer, BitsCode, TABLE as BITS_CODES};
pub use exit::Exit;
pub use table::ErrorCode;

/// One row of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The stable code: lower case, words joined by hyphens.
    pub code: &'static str,
    /// Whose fault it is.
    pub class: Class,
    /// How a command that meets it ends.
    pub exit: Exit,
    /// Whether trying again without a change may help.
    pub retry: Retry,
    /// The HTTP status of an API call that meets it.
    pub status: u16,
    /// BITS's code for the case: an HRESULT in hex, or its name for a class of them.
    pub bits: Option<&'static str>,
    /// What happened, in one sentence without a full stop.
    pub sentence: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// What was asked for cannot be done as it was said.
    User,
    /// The server that the URL names.
    Origin,
    /// The way to it.
    Network,
    /// Another member of the group.
    Peer,
    /// A disk of this machine, or the rights on it.
    Disk,
    /// eddy itself.
    Eddy,
}

impl Class {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Origin => "origin",
            Self::Network => "network",
            Self::Peer => "peer",
            Self::Disk => "disk",
            Self::Eddy => "eddy",
        }
    }
}

/// Whether trying again without a change may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It may: a job does so by itself.
    Helps,
    /// Something has to be changed first.
    Useless,
}

impl Retry {
    /// Whether it may help.
    #[must_use]
    pub fn helps(self) -> bool {
        matches!(self, Self::Helps)
    }
}

impl ErrorCode {
    /// The error that a stable code names.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.entry().code == code)
    }

    /// The errors that `text` names: by stable code, in any case, or by BITS's code with or without `0x`.
    #[must_use]
    pub fn lookup(text: &str) -> Vec<Self> {
        let wanted = text.trim().to_ascii_lowercase().replace('_', "-");
        let hex = wanted.strip_prefix("0x").unwrap_or(&wanted);
        let names = |error: &&Self| {
            let entry = error.entry();
            entry.code == wanted
                || entry.bits.is_some_and(|bits| bits.trim_start_matches("0x").to_ascii_lowercase() == hex)
        };
        Self::ALL.iter().filter(names).copied().collect()
    }

    /// The stable codes that are nearest to a misspelt one: those that contain it or share a word with it.
    #[must_use]
    pub fn similar(text: &str) -> Vec<&'static str> {
        let wanted = text.trim().to_ascii_lowercase().replace('_', "-");
        let words: Vec<&str> = wanted.split('-').filter(|word| word.len() > 2).collect();
        let near = |code: &&str| words.iter().any(|word| code.split('-').any(|part| part.starts_with(word)));
        Self::ALL.iter().map(|error| error.entry().code).filter(near).collect()
    }

    /// The error for an HTTP status that the origin answered a GET with, if the status is an error.
    ///
    /// Which of them pass by themselves is BITS's F-29 with RFC 9110 sections 15.5 and 15.6.
    #[must_use]
    pub fn from_http_status(status: u16) -> Option<Self> {
        Some(match status {
            100..=299 | 304 => return None,
            300..=399 => Self::HttpRedirect,
            401 | 407 => Self::HttpUnauthorized,
            403 | 451 => Self::HttpForbidden,
            404 | 410 => Self::HttpNotFound,
            408 | 409 | 421 | 425 => Self::HttpBusy,
            429 => Self::HttpRateLimited,
            400..=499 => Self::HttpRefused,
            501 | 505 => Self::HttpUnsupported,
            500..=599 => Self::HttpServerError,
            _ => Self::OriginProtocol,
        })
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.entry().code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fmt::Write;

    /// The whole catalogue as text: what a reviewer reads, and what must not change by accident.
    fn text() -> String {
        let mut text = String::new();
        for error in ErrorCode::ALL {
            let Entry { code, class, exit, retry, status, bits, sentence, remedy } = error.entry();
            let retry = if retry.helps() { "retry helps" } else { "retry useless" };
            let bits = bits.map_or_else(String::new, |bits| format!(", BITS {bits}"));
            let _ = writeln!(
                text,
                "{code}\n  {}, exit {} ({}), {retry}, status {status}{bits}\n  {sentence}\n  {remedy}",
                class.word(),
                exit.number(),
                exit.name(),
            );
        }
        text
    }

    #[test]
    fn the_whole_table_is_as_reviewed() {
        insta::assert_snapshot!(text());
    }

    #[test]
    fn codes_are_unique_and_well_formed() {
        let codes: HashSet<_> = ErrorCode::ALL.iter().map(|error| error.entry().code).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        for error in ErrorCode::ALL {
            let entry = error.entry();
            assert!(entry.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", entry.code);
            assert!(!entry.sentence.ends_with('.') && entry.remedy.ends_with('.'), "{}", entry.code);
            assert!((400..=599).contains(&entry.status), "{}", entry.code);
            assert_eq!(ErrorCode::parse(entry.code), Some(*error));
        }
    }

    #[test]
    fn a_row_is_found_by_the_code_of_bits_too() {
        assert_eq!(ErrorCode::lookup("0x80200001"), [ErrorCode::JobNotFound]);
        assert_eq!(ErrorCode::lookup("80200001"), [ErrorCode::JobNotFound]);
        assert_eq!(ErrorCode::lookup("Disk-Full"), [ErrorCode::DiskFull]);
        assert!(ErrorCode::lookup("").is_empty());
        assert!(ErrorCode::similar("disk-ful").contains(&"disk-full"));
    }

    #[test]
    fn every_http_status_is_either_good_or_in_the_catalogue() {
        for status in 100..=999 {
            let good = (100..=299).contains(&status) || status == 304;
            assert_eq!(ErrorCode::from_http_status(status).is_none(), good, "{status}");
        }
        // F-29: what passes by itself, and what does not.
        for (status, passes) in
            [(404, false), (408, true), (409, true), (429, true), (500, true), (501, false), (503, true)]
        {
            let error = ErrorCode::from_http_status(status).expect("an error");
            assert_eq!(error.entry().retry.helps(), passes, "{status}");
        }
    }
}
