//! A server that wants to hear a password by hashes only, and checks them by the formula of RFC 7616 section 3.4.1, once more written out.

use super::{Ask, Behaviour, Instead};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Lets asks pass that prove to know a password. A nonce holds for some asks only, each of which has to have another count.
#[derive(Debug)]
pub struct DigestGuard {
    user: String,
    password: String,
    asks_per_nonce: usize,
    /// For each nonce that was given, the counts that have come with it.
    heard: Mutex<Vec<HashSet<String>>>,
}

impl DigestGuard {
    /// For one user.
    #[must_use]
    pub fn new(user: &str, password: &str, asks_per_nonce: usize) -> Self {
        Self { user: user.to_owned(), password: password.to_owned(), asks_per_nonce, heard: Mutex::default() }
    }

    /// The refusal of an ask that proves nothing; `None` lets it pass.
    #[must_use]
    pub fn refuse(&self, ask: &Ask) -> Option<Behaviour> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let said = ask.header("authorization").unwrap_or_default();
        let is_right = self.is_right(ask, said);
        let nonce = field(said, "nonce").and_then(|nonce| nonce.strip_prefix("nonce")?.parse::<usize>().ok());
        let counts = nonce.filter(|_| is_right).and_then(|nonce| heard.get_mut(nonce));
        let is_fresh = counts.is_some_and(|counts| {
            counts.len() < self.asks_per_nonce && counts.insert(field(said, "nc").unwrap_or_default().to_owned())
        });
        if is_fresh {
            return None;
        }
        let wanted = format!(
            "WWW-Authenticate: Basic realm=\"plain, or not\", Digest realm=\"it's here\", qop=\"auth, auth-int\", \
             algorithm=SHA-256, nonce=\"nonce{}\", opaque=\"o\", stale={is_right}",
            heard.len()
        );
        heard.push(HashSet::new());
        Some(Behaviour { instead: Some(Instead::Status(401, vec![wanted])), ..Behaviour::default() })
    }

    fn is_right(&self, ask: &Ask, said: &str) -> bool {
        let hash = |text: String| data_encoding::HEXLOWER.encode(&Sha256::digest(text));
        let word = |name: &str| field(said, name).unwrap_or_default();
        let secret = hash(format!("{}:it's here:{}", self.user, self.password));
        let asked = hash(format!("{}:{}", ask.method, ask.target));
        let (nonce, count, cnonce) = (word("nonce"), word("nc"), word("cnonce"));
        let expected = hash(format!("{secret}:{nonce}:{count}:{cnonce}:auth:{asked}"));
        let is_said = said.starts_with("Digest ") && word("username") == self.user && word("opaque") == "o";
        is_said && word("uri") == ask.target && word("qop") == "auth" && word("response") == expected
    }
}

/// A parameter of a field whose values hold neither commas nor quotes.
fn field<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let pairs = said.strip_prefix("Digest ")?.split(", ").filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"'))
}
