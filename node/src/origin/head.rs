//! The head of the last answer to a question, for whoever wants to keep it (F-45).

use eddy_content::http::ResponseHead;
use http::HeaderMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The status and the header fields of an answer. Values are never shown: some of them are secrets, such as those of `Set-Cookie`.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The fields, as they came.
    pub fields: HeaderMap,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({}, {} fields hidden)", self.status, self.fields.len())
    }
}

/// Where a question leaves the head of its last answer: that of a redirect, too, if nothing came after it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastHead(Arc<Mutex<Option<Head>>>);

impl LastHead {
    pub(super) fn put(&self, head: &ResponseHead) {
        let head = Head { status: head.status, fields: head.headers.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    /// Takes what was left there.
    #[must_use]
    pub fn take(&self) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
