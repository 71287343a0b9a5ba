//! What a question proves itself with: a name and a password as they are, or hashes of them that answer a challenge (RFC 7616).
//!
//! What an origin wanted hashed last is remembered, so that only the first of many questions is refused for want of it.

use eddy_content::http::{DigestChallenge, Proved};
use eddy_content::url::{OriginKey, Userinfo};
use http::{HeaderValue, Method};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What goes with one request.
pub(super) enum Proof<'a> {
    /// Credentials that rode in a URL, as Basic.
    Basic(&'a Userinfo),
    /// This value of `Authorization`.
    Ready(HeaderValue),
}

/// A name and a password of which origins see hashes only.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestUser {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for DigestUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestUser(hidden)")
    }
}

/// What origins wanted hashed last, for each user of theirs.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    known: Mutex<HashMap<(OriginKey, String), Known>>,
}

#[derive(Debug)]
struct Known {
    challenge: DigestChallenge,
    /// Questions that were asked with it.
    count: u32,
}

impl Challenges {
    /// What answers the last challenge of an origin, if it is known.
    pub(super) fn answer(
        &self,
        origin: &OriginKey,
        who: &DigestUser,
        (method, target): (&Method, &str),
    ) -> Option<HeaderValue> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_mut(&(origin.clone(), who.user.clone()))?;
        known.count = known.count.checked_add(1)?;
        known.value(who, method, target)
    }

    /// What answers a challenge that has just come. Whoever got it is the first to use it: a server may take each nonce only once.
    pub(super) fn meet(
        &self,
        origin: &OriginKey,
        who: &DigestUser,
        challenge: DigestChallenge,
        (method, target): (&Method, &str),
    ) -> Option<HeaderValue> {
        let fresh = Known { challenge, count: 1 };
        let value = fresh.value(who, method, target);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (origin.clone(), who.user.clone());
        if known.len() >= MOST_KNOWN && !known.contains_key(&key) {
            // Whoever is forgotten is refused once more.
            known.clear();
        }
        known.insert(key, fresh);
        value
    }
}

impl Known {
    fn value(&self, who: &DigestUser, method: &Method, target: &str) -> Option<HeaderValue> {
        let cnonce = format!("{:032x}", rand::random::<u128>());
        let question = Proved {
            user: &who.user,
            password: &who.password,
            method: method.as_str(),
            target,
            cnonce: &cnonce,
            count: self.count,
        };
        let mut value = HeaderValue::try_from(self.challenge.answer(question)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Most challenges that are remembered: each is as long as a head may be, at most.
const MOST_KNOWN: usize = 64;
