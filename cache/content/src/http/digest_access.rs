//! A password that is proved without being sent: the scheme Digest of RFC 7616.
//!
//! A server that wants it refuses with 401 and says what is to be hashed together with the password; the same question is then asked
//! with the hash. The challenge holds no secret. Whoever sent it could try passwords against the answer at leisure, so answers go to the
//! origin that the job names and to no other, as passwords do.

use ::http::header::{HeaderMap, WWW_AUTHENTICATE};
use data_encoding::HEXLOWER;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use std::fmt::Write;

/// What a server wants hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestChallenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// The algorithm in the server's own spelling, which is sent back.
    spelling: Option<String>,
    /// Whether the nonces are hashed into the secret (`-sess`).
    is_session: bool,
    /// Whether the answer is `qop=auth`; a server of RFC 2069 names no quality.
    has_quality: bool,
    /// Whether the user's name is hashed as well.
    is_user_hashed: bool,
    is_stale: bool,
}

/// The hashes, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512Of256,
}

/// The question that a hash is for.
#[derive(Debug, Clone, Copy)]
pub struct Proved<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The method.
    pub method: &'a str,
    /// The request target: path and query.
    pub target: &'a str,
    /// A word that this side has drawn; letters and digits.
    pub cnonce: &'a str,
    /// How many questions were asked with this challenge, this one included.
    pub count: u32,
}

impl DigestChallenge {
    /// The strongest challenge in the head of an answer that can be met.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let fields = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all = fields.flat_map(challenges).filter_map(|challenge| Self::read(&challenge));
        // Of equals the first: the server names them in the order of its liking.
        all.reduce(|best, next| if next.algorithm > best.algorithm { next } else { best })
    }

    /// Whether the last answer was right and only too old.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    fn read(challenge: &Challenge) -> Option<Self> {
        if !challenge.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let parameter = |name: &str| challenge.parameter(name);
        let is_true = |name: &str| parameter(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let spelling = parameter("algorithm");
        let (algorithm, is_session) = match spelling.as_deref().unwrap_or("MD5").to_ascii_uppercase().as_str() {
            "MD5" => (Algorithm::Md5, false),
            "MD5-SESS" => (Algorithm::Md5, true),
            "SHA-256" => (Algorithm::Sha256, false),
            "SHA-256-SESS" => (Algorithm::Sha256, true),
            "SHA-512-256" => (Algorithm::Sha512Of256, false),
            "SHA-512-256-SESS" => (Algorithm::Sha512Of256, true),
            _ => return None,
        };
        let qualities = parameter("qop");
        let has_auth = |list: &String| list.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth"));
        if qualities.as_ref().is_some_and(|list| !has_auth(list)) {
            return None;
        }
        Some(Self {
            realm: parameter("realm")?,
            nonce: parameter("nonce")?,
            opaque: parameter("opaque"),
            algorithm,
            spelling,
            is_session,
            has_quality: qualities.is_some(),
            is_user_hashed: is_true("userhash"),
            is_stale: is_true("stale"),
        })
    }

    /// The value of `Authorization` that meets it (RFC 7616 section 3.4).
    #[must_use]
    pub fn answer(&self, question: Proved<'_>) -> String {
        let Proved { user, password, method, target, cnonce, count } = question;
        let hash = |text: &str| self.algorithm.hash(text);
        let mut secret = hash(&format!("{user}:{}:{password}", self.realm));
        if self.is_session {
            secret = hash(&format!("{secret}:{}:{cnonce}", self.nonce));
        }
        let asked = hash(&format!("{method}:{target}"));
        let count = format!("{count:08x}");
        let response = if self.has_quality {
            hash(&format!("{secret}:{}:{count}:{cnonce}:auth:{asked}", self.nonce))
        } else {
            hash(&format!("{secret}:{}:{asked}", self.nonce))
        };
        let mut text = format!("Digest {}", self.name_of(user));
        for (name, value) in [("realm", self.realm.as_str()), ("nonce", &self.nonce), ("uri", target)] {
            add(&mut text, name, value);
        }
        add(&mut text, "response", &response);
        if let Some(opaque) = &self.opaque {
            add(&mut text, "opaque", opaque);
        }
        // Algorithm, quality and count are words and stand without quotes (RFC 7616 section 3.4).
        let mut bare = |name: &str, value: &str| text.extend([", ", name, "=", value]);
        if let Some(spelling) = &self.spelling {
            bare("algorithm", spelling);
        }
        if self.has_quality {
            bare("qop", "auth");
            bare("nc", &count);
        }
        if self.is_user_hashed {
            bare("userhash", "true");
        }
        if self.has_quality || self.is_session {
            add(&mut text, "cnonce", cnonce);
        }
        text
    }

    /// The parameter that names the user: hashed where the server can read that, and encoded where a quoted string cannot hold it (RFC
    /// 7616 section 3.4.4).
    fn name_of(&self, user: &str) -> String {
        if self.is_user_hashed {
            return format!("username=\"{}\"", self.algorithm.hash(&format!("{user}:{}", self.realm)));
        }
        if user.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return format!("username=\"{}\"", escaped(user));
        }
        let mut text = String::from("username*=UTF-8''");
        for byte in user.bytes() {
            // Writing to a text cannot fail.
            let _ = if byte.is_ascii_alphanumeric() {
                write!(text, "{}", byte as char)
            } else {
                write!(text, "%{byte:02X}")
            };
        }
        text
    }
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => HEXLOWER.encode(&Md5::digest(text)),
            Self::Sha256 => HEXLOWER.encode(&Sha256::digest(text)),
            Self::Sha512Of256 => HEXLOWER.encode(&Sha512_256::digest(text)),
        }
    }
}

fn add(text: &mut String, name: &str, value: &str) {
    // Writing to a text cannot fail.
    let _ = write!(text, ", {name}=\"{}\"", escaped(value));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// One challenge of a field (RFC 9110 section 11.3).
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// What a parameter says; one that is said twice says nothing.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut all = self.parameters.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        all.next().filter(|_| all.next().is_none()).map(|(_, value)| value.clone())
    }
}

/// The challenges of a field. A comma parts parameters as well as challenges: a word with a space behind it begins a challenge, one with
/// `=` is a parameter of the challenge before it.
fn challenges(field: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    for item in parts(field) {
        let (word, rest) = item.split_at(item.find([' ', '\t', '=']).unwrap_or(item.len()));
        let rest = rest.trim_start();
        let parameter = match rest.strip_prefix('=') {
            Some(value) => Some((word, value)),
            None => {
                found.push(Challenge { scheme: word.to_owned(), parameters: Vec::new() });
                rest.split_once('=').map(|(name, value)| (name.trim_end(), value))
            }
        };
        if let (Some((name, value)), Some(last)) = (parameter, found.last_mut()) {
            last.parameters.push((name.to_owned(), unquoted(value.trim())));
        }
    }
    found
}

/// What commas part that do not stand in quotes.
fn parts(field: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = field.split(move |letter| {
        let is_end = letter == ',' && !is_quoted;
        if letter == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = letter == '\\' && is_quoted && !is_escaped;
        is_end
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

/// A value without its quotes (RFC 9110 section 5.6.4).
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut letters = inner.chars();
    let mut text = String::with_capacity(inner.len());
    while let Some(letter) = letters.next() {
        text.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;
    use proptest::prelude::*;

    fn of(fields: &[&str]) -> Option<DigestChallenge> {
        let fields: Vec<_> = fields.iter().map(|value| ("www-authenticate", *value)).collect();
        DigestChallenge::of(&head(401, &fields).headers)
    }

    /// The example of RFC 7616 section 3.9.1.
    fn mufasa(cnonce: &str) -> Proved<'_> {
        Proved {
            user: "Mufasa",
            password: "Circle of Life",
            method: "GET",
            target: "/dir/index.html",
            cnonce,
            count: 1,
        }
    }

    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    const SAID: &str = r#"realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

    #[test]
    fn the_answers_are_those_of_the_rfc() {
        let expected = [
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ];
        for (algorithm, response) in expected {
            let said = SAID.replace("SHA-256", algorithm).replace('\n', " ");
            let challenge = of(&[&format!("Digest {said}")]).expect("a challenge");
            let answer = challenge.answer(mufasa(CNONCE));
            assert!(answer.contains(&format!("response=\"{response}\"")), "{algorithm}: {answer}");
            assert!(
                answer.starts_with("Digest username=\"Mufasa\", realm=\"http-auth@example.org\", nonce="),
                "{answer}"
            );
            assert!(answer.contains(", qop=auth, nc=00000001, "), "{answer}");
        }
    }

    /// RFC 2617 section 3.5 for the answer with a quality, and the formula of RFC 2069 (its own example is known to be wrong).
    #[test]
    fn older_servers_are_answered_as_their_rfc_says() {
        let said = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let question = Proved { password: "Circle Of Life", ..mufasa("0a4f113b") };
        let answer = of(&[&format!("{said}, qop=\"auth\"")]).expect("a challenge").answer(question);
        assert!(answer.contains("response=\"6629fae49393a05397450978507c4ef1\""), "{answer}");
        let answer = of(&[said]).expect("a challenge").answer(question);
        assert!(answer.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{answer}");
        assert!(!answer.contains("qop") && !answer.contains("cnonce"), "{answer}");
    }

    /// RFC 7616 section 3.9.2, with the hashes of its erratum 4897: the example itself has those of a SHA-512 that was cut.
    #[test]
    fn a_name_is_hashed_where_the_server_reads_that_and_encoded_where_a_quoted_string_cannot_hold_it() {
        let said = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
            nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
            charset=UTF-8, userhash=true"#
            .replace('\n', " ");
        let user = "J\u{e4}s\u{f8}n Doe";
        let question = Proved {
            user,
            password: "Secret, or not?",
            target: "/doe.json",
            cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            ..mufasa("")
        };
        let answer = of(&[&said]).expect("a challenge").answer(question);
        assert!(
            answer.contains("username=\"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b\""),
            "{answer}"
        );
        let response = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5";
        assert!(answer.contains(&format!("response=\"{response}\"")), "{answer}");
        let plain = of(&[&said.replace(", userhash=true", "")]).expect("a challenge").answer(question);
        assert!(plain.starts_with("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "), "{plain}");
    }

    #[test]
    fn the_strongest_challenge_that_can_be_met_is_taken_from_among_others() {
        let md5 = r#"Basic realm="a, \"Digest\" b", Digest realm="r", nonce="1", qop="auth""#;
        let sha = r#"digest nonce = "2" , realm="r\"s", algorithm=sha-256, qop="auth-int,auth", stale=TRUE"#;
        let challenge = of(&[md5, "Negotiate", sha]).expect("a challenge");
        assert_eq!((challenge.nonce.as_str(), challenge.realm.as_str()), ("2", "r\"s"));
        assert!(challenge.is_stale());
        assert!(challenge.answer(mufasa("c")).contains(r#"realm="r\"s""#));
        let one_field = of(&[&format!("{md5}, Bearer, {sha}")]).expect("a challenge");
        assert_eq!(one_field.nonce, "2");
        assert_eq!(of(&[md5]).expect("a challenge").nonce, "1");
    }

    #[test]
    fn what_cannot_be_met_is_no_challenge() {
        for said in [
            "",
            "Basic realm=\"r\"",
            "Digest",
            "Digest realm=\"r\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"r\", nonce=\"n\", nonce=\"m\"",
        ] {
            assert_eq!(of(&[said]), None, "{said}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_what_is_answered_can_be_sent(text in "[ -~]{0,80}", user in any::<String>()) {
            let _ = of(&[&text]);
            let said = format!("Digest realm=\"r\", nonce=\"n\", x=1{text}");
            if let Some(challenge) = of(&[&said]) {
                let answer = challenge.answer(Proved { user: &user, ..mufasa("c") });
                prop_assert!(::http::HeaderValue::try_from(answer.as_str()).is_ok(), "{}", answer);
            }
        }
    }
}
