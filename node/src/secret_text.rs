//! The text form of 256 secret bits: a name with a version, then 56 characters.
//!
//! Three checksum bytes tell a slip of the pen from a secret that is whole but another one: the first is reported at
//! once, the second would only show as a group in which nobody is met. They make the bytes 35, so that base32 needs no
//! padding. Errors never repeat the text.

use data_encoding::BASE32_NOPAD_NOCASE;
use zeroize::{Zeroize, Zeroizing};

/// What a secret is for: the part of its text that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretKind {
    /// As in `eddy-group`.
    pub(crate) name: &'static str,
    /// As in `v1`.
    pub(crate) version: u32,
}

/// Why a text is no secret of the kind that was asked for. The user's to repair; trying the same text again is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretTextError {
    /// Something else altogether.
    #[error("the text is not a secret that begins with `{expected}-v`")]
    NotASecret {
        /// What it should begin with.
        expected: &'static str,
    },
    /// Made by another version of eddy.
    #[error("the secret has version {found}, this eddy reads version {known}")]
    OtherVersion {
        /// The version in the text.
        found: u32,
        /// The version that this program knows.
        known: u32,
    },
    /// Cut short, or with something after it.
    #[error("the secret has {found} characters after the colon instead of {CHARACTERS}: copy the whole line")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A character that no secret has.
    #[error("the secret has an impossible character at place {place} after the colon")]
    Character {
        /// Counted from 1.
        place: usize,
    },
    /// Every character is possible, but not all of them are right.
    #[error("the secret has a wrong character: its checksum does not fit")]
    Checksum,
}

/// Characters after the colon.
const CHARACTERS: usize = 56;
/// Characters of the longest text that is looked at.
const MAX_TEXT: usize = 512;
const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 3;

/// Letters and digits in a row that are rather a secret without its name than anything else.
const LIKE_A_SECRET: usize = 40;

impl SecretKind {
    /// Whether a text is a secret of this kind, whole or not: it has the name of one, or is as long as what follows it.
    pub(crate) fn is_like(self, text: &str) -> bool {
        let text = text.trim();
        let name = format!("{}-v", self.name);
        let is_named = text.get(..name.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(&name));
        is_named || (text.len() >= LIKE_A_SECRET && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    }

    /// The text of `secret`, in lower case.
    pub(crate) fn text(self, secret: &[u8; SECRET_LENGTH]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; SECRET_LENGTH + CHECKSUM_LENGTH]);
        bytes[..SECRET_LENGTH].copy_from_slice(secret);
        bytes[SECRET_LENGTH..].copy_from_slice(&self.checksum(secret));
        let mut body = BASE32_NOPAD_NOCASE.encode(bytes.as_slice());
        body.make_ascii_lowercase();
        // Room for all of it and a line end: a growing text would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(self.name.len() + CHARACTERS + 16));
        text.push_str(&format!("{}-v{}:", self.name, self.version));
        text.push_str(&body);
        body.zeroize();
        text
    }

    /// The secret of a text; blanks around it and the case of its letters do not matter.
    pub(crate) fn parse(self, text: &str) -> Result<Zeroizing<[u8; SECRET_LENGTH]>, SecretTextError> {
        let not_a_secret = SecretTextError::NotASecret { expected: self.name };
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(not_a_secret);
        }
        let (label, body) = text.split_once(':').ok_or(not_a_secret)?;
        let label = label.to_ascii_lowercase();
        let version = label.strip_prefix(self.name).and_then(|rest| rest.strip_prefix("-v")).ok_or(not_a_secret)?;
        match version.parse::<u32>().map_err(|_| not_a_secret)? {
            found if found != self.version => Err(SecretTextError::OtherVersion { found, known: self.version }),
            _ => self.parse_body(body),
        }
    }

    fn parse_body(self, body: &str) -> Result<Zeroizing<[u8; SECRET_LENGTH]>, SecretTextError> {
        let characters = body.chars().count();
        if characters != CHARACTERS {
            return Err(SecretTextError::Length { found: characters });
        }
        if let Some(place) = body.chars().position(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '2'..='7')) {
            return Err(SecretTextError::Character { place: place + 1 });
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(body.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| SecretTextError::Checksum)?;
        let (secret, checksum) = bytes.split_first_chunk().ok_or(SecretTextError::Checksum)?;
        if checksum != self.checksum(secret) {
            return Err(SecretTextError::Checksum);
        }
        Ok(Zeroizing::new(*secret))
    }

    /// A hash with a key of its own, so that the three bytes, which may be seen, tell nothing of what is derived from the
    /// secret; over the label as well, so that a secret is not read as one of another kind.
    fn checksum(self, secret: &[u8; SECRET_LENGTH]) -> [u8; CHECKSUM_LENGTH] {
        let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 checksum of a secret's text");
        hasher.update(secret);
        hasher.update(self.name.as_bytes());
        hasher.update(&self.version.to_le_bytes());
        let mut checksum = [0; CHECKSUM_LENGTH];
        hasher.finalize_xof().fill(&mut checksum);
        checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: SecretKind = SecretKind { name: "eddy-test", version: 1 };

    #[test]
    fn a_text_has_one_line_of_known_length() {
        let text = KIND.text(&[0xa5; 32]);
        assert_eq!(text.as_str(), "eddy-test-v1:uws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuwsrallr");
    }

    #[test]
    fn each_kind_of_wrong_text_is_told_apart() {
        let text = KIND.text(&[9; 32]);
        let (label, body) = text.split_once(':').expect("a colon");
        let parse = |text: &str| KIND.parse(text).map(|_| ()).expect_err("wrong");
        assert_eq!(parse(""), SecretTextError::NotASecret { expected: "eddy-test" });
        assert_eq!(parse("hunter2"), SecretTextError::NotASecret { expected: "eddy-test" });
        assert_eq!(parse(&format!("eddy-other-v1:{body}")), SecretTextError::NotASecret { expected: "eddy-test" });
        assert_eq!(parse(&format!("eddy-test-v2:{body}")), SecretTextError::OtherVersion { found: 2, known: 1 });
        assert_eq!(parse(&text[..text.len() - 1]), SecretTextError::Length { found: CHARACTERS - 1 });
        assert_eq!(parse(&format!("{label}:{}1", &body[..55])), SecretTextError::Character { place: 56 });
        assert_eq!(parse(&format!("{label}:é{}", &body[1..])), SecretTextError::Character { place: 1 });
        let other = SecretKind { name: "eddy-other", version: 1 }.text(&[9; 32]);
        let (_, other) = other.split_once(':').expect("a colon");
        assert_eq!(parse(&format!("{label}:{other}")), SecretTextError::Checksum);
    }

    #[test]
    fn blanks_around_and_capitals_do_not_matter() {
        let text = KIND.text(&[9; 32]);
        let shouted = format!("  {}\r\n", text.to_ascii_uppercase());
        assert_eq!(*KIND.parse(&shouted).expect("parses"), [9; 32]);
    }

    #[test]
    fn one_wrong_character_anywhere_is_a_typing_error() {
        const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz234567";
        let text = KIND.text(&[9; 32]);
        for place in text.len() - CHARACTERS..text.len() {
            for letter in ALPHABET.chars() {
                let mut wrong = text.to_string();
                wrong.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
                let parsed = KIND.parse(&wrong).map(|_| ());
                assert_eq!(parsed, if wrong == *text { Ok(()) } else { Err(SecretTextError::Checksum) }, "{wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_secret_survives_its_text(secret in any::<[u8; 32]>()) {
            prop_assert_eq!(*KIND.parse(&KIND.text(&secret)).expect("parses"), secret);
        }

        #[test]
        fn no_text_panics(text in "(eddy-test-v1:)?.{0,80}") {
            let _ = KIND.parse(&text);
        }
    }
}
