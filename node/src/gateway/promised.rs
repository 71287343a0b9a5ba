//! What the whole of an answer must keep, whichever way it goes to its client, and a body that is held against that on its way.
//!
//! A digest that the name promises, the redirect that led to the file, or an index. It is of the file's bytes as they come: they are asked for
//! without a coding, and an origin that names one does not switch the promise off. Of an answer that says that there is no such file, and of a
//! part, nothing is promised.

use super::Gateway;
use super::flight::{Door, Target};
use bytes::Bytes;
use eddy_content::digest::{DigestCheck, ExpectedDigest, parse};
use eddy_content::http::serve::digest_of;
use http::HeaderMap;
use std::time::Instant;

/// The field by which a hub says what a redirect of its leads to.
const LINKED_ETAG: &str = "x-linked-etag";

impl Gateway {
    /// What the whole must keep.
    pub(super) fn promised(&self, target: &Target, (status, fields): (u16, &HeaderMap)) -> Vec<ExpectedDigest> {
        if !matches!(status, 200 | 203) {
            return Vec::new();
        }
        let by_index = || self.promises.of(&target.url).filter(|_| target.door == Door::Mount);
        let named = digest_of(&target.url).or_else(|| linked(target, fields)).or_else(by_index);
        named.into_iter().collect()
    }

    /// Whether an index promises something of this that its bytes were not a moment ago.
    pub(super) fn is_distrusted(&self, target: &Target) -> bool {
        let promised = || self.promised(target, (200, &HeaderMap::new()));
        self.distrusted.has(&target.url, promised, Instant::now())
    }
}

/// The digest that a mount's hub names where it redirects to a large file: an entity tag that is its SHA-256.
pub(super) fn linked(target: &Target, fields: &HeaderMap) -> Option<ExpectedDigest> {
    let tag = fields.get(LINKED_ETAG).filter(|_| target.door == Door::Mount)?.to_str().ok()?;
    parse(&format!("sha256:{}", tag.trim_start_matches("W/").trim_matches('"'))).ok()
}

/// Whether what is promised of this is the word of an index alone, which another than the file's publisher may have written.
pub(super) fn is_by_index(target: &Target, fields: &HeaderMap) -> bool {
    digest_of(&target.url).is_none() && linked(target, fields).is_none()
}

/// Whether bytes keep these promises.
pub(super) fn keeps(digests: &[ExpectedDigest], bytes: &[u8]) -> bool {
    let mut check = DigestCheck::new(digests);
    check.update(bytes);
    check.verify().is_ok()
}

/// A body on its way to one client. Where something is promised the last piece waits for it: nobody gets all of what is false.
pub(super) struct Checked {
    check: Option<DigestCheck>,
    last: Bytes,
}

impl Checked {
    pub(super) fn new(digests: &[ExpectedDigest]) -> Self {
        Self { check: (!digests.is_empty()).then(|| DigestCheck::new(digests)), last: Bytes::new() }
    }

    /// Takes the next piece; what may go out, which may be nothing.
    pub(super) fn take(&mut self, piece: Bytes) -> Bytes {
        match &mut self.check {
            None => piece,
            Some(_) if piece.is_empty() => piece,
            Some(check) => {
                check.update(&piece);
                std::mem::replace(&mut self.last, piece)
            }
        }
    }

    /// The last piece, where the whole is what was promised.
    pub(super) fn end(self) -> Option<Bytes> {
        match self.check {
            Some(check) => check.verify().is_ok().then_some(self.last),
            None => Some(self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_of_what_is_promised_comes_only_when_the_whole_is_so() {
        let of = |digests: &[ExpectedDigest], pieces: &[&'static str]| {
            let mut checked = Checked::new(digests);
            let out: Vec<_> = pieces.iter().map(|piece| checked.take(Bytes::from_static(piece.as_bytes()))).collect();
            (out.concat(), checked.end())
        };
        // The SHA-256 of "abc".
        let digest =
            parse("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").expect("a digest");
        let promised = [digest];
        assert_eq!(of(&promised, &["a", "", "b", "c", ""]), (b"ab".to_vec(), Some(Bytes::from_static(b"c"))));
        assert_eq!(of(&promised, &["abd"]), (Vec::new(), None));
        assert_eq!(of(&promised, &["abc", "d"]), (b"abc".to_vec(), None));
        assert_eq!(of(&promised, &[]), (Vec::new(), None));
        assert_eq!(of(&[], &["a", "b"]), (b"ab".to_vec(), Some(Bytes::new())));
    }
}
