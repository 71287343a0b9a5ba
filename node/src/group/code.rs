//! The code that lets a machine join: a token, the group's fingerprint and where an issuer may be met, in one line.
//!
//! The token is worth a membership until it is used up or runs out; the fingerprint is how the applicant knows the group before
//! it has heard anything of it. Three checksum bytes tell a slip of the pen at once. Errors never repeat the text.

use data_encoding::BASE32_NOPAD_NOCASE;
use ed25519_dalek::SigningKey;
use eddy_wire::statement::GroupId;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use zeroize::Zeroizing;

/// Bytes of a token: nobody guesses 128 bits at a few guesses a minute.
const TOKEN_LENGTH: usize = 16;
/// Bytes of the fingerprint: as many as make another key with the same beginning out of reach.
const FINGERPRINT_LENGTH: usize = 16;
/// Addresses in one code.
pub const MAX_HINTS: usize = 3;
const CHECKSUM_LENGTH: usize = 3;
const PREFIX: &str = "eddy-join-v1:";
/// Characters of the longest text that is looked at.
const MAX_TEXT: usize = 512;

/// What a machine needs to join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    token: Zeroizing<[u8; TOKEN_LENGTH]>,
    fingerprint: [u8; FINGERPRINT_LENGTH],
    hints: Vec<SocketAddr>,
}

/// Why a text is no code. The user's to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Something else altogether.
    #[error("the text is not a code that begins with `{PREFIX}`")]
    NotACode,
    /// Not all characters are right.
    #[error("the code has a wrong or a missing character: copy the whole line")]
    Checksum,
}

impl JoinCode {
    /// A code for a token of this group.
    pub(super) fn new(token: [u8; TOKEN_LENGTH], group: GroupId, hints: &[SocketAddr]) -> Self {
        let hints = hints.iter().take(MAX_HINTS).map(|hint| SocketAddr::new(hint.ip().to_canonical(), hint.port()));
        Self { token: Zeroizing::new(token), fingerprint: fingerprint(group), hints: hints.collect() }
    }

    /// Where an issuer may be met.
    #[must_use]
    pub fn hints(&self) -> &[SocketAddr] {
        &self.hints
    }

    /// Whether it is a code of this group.
    #[must_use]
    pub fn is_of(&self, group: GroupId) -> bool {
        self.fingerprint == fingerprint(group)
    }

    /// The key that proves the token.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        token_key(&self.token)
    }

    /// The text form: one line.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        bytes.extend_from_slice(self.token.as_slice());
        bytes.extend_from_slice(&self.fingerprint);
        for hint in &self.hints {
            match hint.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend_from_slice(&ip.octets());
                }
            }
            bytes.extend_from_slice(&hint.port().to_be_bytes());
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let mut body = Zeroizing::new(BASE32_NOPAD_NOCASE.encode(&bytes));
        body.make_ascii_lowercase();
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + body.len() + 2));
        text.push_str(PREFIX);
        text.push_str(&body);
        text
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        if text.len() > MAX_TEXT || !text.is_ascii() {
            return Err(CodeError::NotACode);
        }
        let (label, body) = text.split_at_checked(PREFIX.len()).ok_or(CodeError::NotACode)?;
        if !label.eq_ignore_ascii_case(PREFIX) {
            return Err(CodeError::NotACode);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(body.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| CodeError::Checksum)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_LENGTH>().ok_or(CodeError::Checksum)?;
        if *sum != checksum(body) {
            return Err(CodeError::Checksum);
        }
        Self::read(body).ok_or(CodeError::Checksum)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (token, rest) = bytes.split_first_chunk()?;
        let (fingerprint, mut rest) = rest.split_first_chunk()?;
        let mut hints = Vec::new();
        while let Some((kind, after)) = rest.split_first() {
            let (ip, after) = match kind {
                4 => after.split_first_chunk::<4>().map(|(ip, after)| (IpAddr::from(*ip), after))?,
                6 => after.split_first_chunk::<16>().map(|(ip, after)| (IpAddr::from(*ip), after))?,
                _ => return None,
            };
            let (port, after) = after.split_first_chunk()?;
            hints.push(SocketAddr::new(ip, u16::from_be_bytes(*port)));
            rest = after;
        }
        (hints.len() <= MAX_HINTS).then(|| Self { token: Zeroizing::new(*token), fingerprint: *fingerprint, hints })
    }
}

/// The key pair of a token; an issuer keeps its public half only.
pub(super) fn token_key(token: &[u8; TOKEN_LENGTH]) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new(blake3::derive_key("eddy v1 2026-11 enrolment token", token)))
}

fn fingerprint(group: GroupId) -> [u8; FINGERPRINT_LENGTH] {
    let mut fingerprint = [0; FINGERPRINT_LENGTH];
    fingerprint.copy_from_slice(&group.0[..FINGERPRINT_LENGTH]);
    fingerprint
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 checksum of a join code");
    let mut checksum = [0; CHECKSUM_LENGTH];
    hasher.update(bytes).finalize_xof().fill(&mut checksum);
    checksum
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinCode").field("hints", &self.hints).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GROUP: GroupId = GroupId([0x5a; 32]);

    fn code() -> JoinCode {
        JoinCode::new([7; 16], GROUP, &["192.0.2.7:7717".parse().expect("an address")])
    }

    #[test]
    fn a_code_is_one_short_line_that_stays_as_it_is() {
        let text = code().text();
        insta::assert_snapshot!(text.as_str());
        assert!(text.len() < 90, "{} characters", text.len());
        assert_eq!(JoinCode::parse(&format!("  {}\r\n", text.to_ascii_uppercase())), Ok(code()));
    }

    #[test]
    fn one_wrong_character_anywhere_is_a_typing_error() {
        let text = code().text();
        for place in PREFIX.len()..text.len() {
            for letter in ["a", "7", "q"] {
                let mut wrong = text.to_string();
                wrong.replace_range(place..=place, letter);
                let parsed = JoinCode::parse(&wrong);
                assert!(parsed == Ok(code()) || parsed == Err(CodeError::Checksum), "{wrong}");
                assert_eq!(parsed.is_ok(), wrong == *text);
            }
        }
        assert_eq!(JoinCode::parse(&text[..text.len() - 1]), Err(CodeError::Checksum));
        assert_eq!(JoinCode::parse("eddy-group-v1:aaaa"), Err(CodeError::NotACode));
        assert_eq!(JoinCode::parse(""), Err(CodeError::NotACode));
    }

    #[test]
    fn nothing_secret_is_in_the_debug_text() {
        let text = format!("{:?}", code());
        assert!(!text.contains("7, 7") && !text.contains("0707"), "{text}");
    }

    fn any_hint() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
            any::<(u16, u16)>().prop_map(|(last, port)| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 1, last], port))),
        ]
    }

    proptest! {
        #[test]
        fn every_code_survives_its_text(
            token in any::<[u8; 16]>(), group in any::<[u8; 32]>(),
            hints in proptest::collection::vec(any_hint(), 0..=MAX_HINTS),
        ) {
            let code = JoinCode::new(token, GroupId(group), &hints);
            let read = JoinCode::parse(&code.text()).expect("parses");
            prop_assert_eq!(read.hints(), &hints[..]);
            prop_assert!(read == code && read.is_of(GroupId(group)));
        }

        #[test]
        fn no_text_panics(text in "(eddy-join-v1:)?.{0,100}") {
            let _ = JoinCode::parse(&text);
        }
    }
}
