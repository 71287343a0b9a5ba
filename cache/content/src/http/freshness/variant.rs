//! Whether a request selects the stored answer (`Vary`, RFC 9111 section 4.1).

use ::http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};
use serde::{Deserialize, Serialize};

/// Fields that a `Vary` may name; with more, the answer counts as `Vary: *`.
pub const MAX_SELECTING: usize = 32;

/// Which fields of the request selected an answer, and what they held.
///
/// The values are kept as hashes: a selecting field may well be `Cookie` or `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variant {
    /// Something else than fields of the request: no request selects it again (`Vary: *`).
    Unknowable,
    /// These fields, in lower case, sorted; each with the hash of its value, or without one where the request had no such field.
    Fields(Vec<(String, Option<[u8; 16]>)>),
}

impl Variant {
    /// What selected an answer with these `headers` to a request with these fields; `None` when nothing did.
    #[must_use]
    pub fn of(headers: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for value in headers.get_all(VARY) {
            let Ok(text) = value.to_str() else { return Some(Self::Unknowable) };
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                // "*" is no name of a field; what else is none may mean anything.
                match HeaderName::try_from(name) {
                    Ok(name) if name != "*" && names.len() < MAX_SELECTING => names.push(name),
                    _ => return Some(Self::Unknowable),
                }
            }
        }
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        let field = |name: HeaderName| (name.as_str().to_owned(), hash_of(request, &name));
        headers.contains_key(VARY).then(|| Self::Fields(names.into_iter().map(field).collect()))
    }

    /// Whether a request with these fields selects the answer.
    #[must_use]
    pub fn is_selected_by(&self, request: &HeaderMap) -> bool {
        match self {
            Self::Unknowable => false,
            Self::Fields(fields) => fields.iter().all(|(name, value)| {
                HeaderName::try_from(name.as_str()).is_ok_and(|name| hash_of(request, &name) == *value)
            }),
        }
    }
}

/// The hash of a field's value: several lines are one list, and white space around commas says nothing, unless something
/// is quoted (RFC 9111 section 4.1).
fn hash_of(request: &HeaderMap, name: &HeaderName) -> Option<[u8; 16]> {
    if !request.contains_key(name) {
        return None;
    }
    let lines: Vec<_> = request.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    let list = lines.join(&b","[..]);
    let plain = if list.contains(&b'"') {
        list
    } else {
        list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b","[..])
    };
    let plain = if name == ACCEPT_LANGUAGE { languages(&plain) } else { plain };
    let mut hash = [0; 16];
    let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 selecting field");
    hasher.update(name.as_str().as_bytes()).update(b":").update(&plain).finalize_xof().fill(&mut hash);
    Some(hash)
}

/// A list of languages, in small letters and sorted: neither case (RFC 9110 section 8.5.1) nor order says anything, only weights do.
fn languages(list: &[u8]) -> Vec<u8> {
    let mut ranges: Vec<_> = list
        .split(|byte| *byte == b',')
        .map(|range| {
            range.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect::<Vec<u8>>()
        })
        .collect();
    ranges.sort_unstable();
    ranges.join(&b","[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        head(200, fields).headers
    }

    fn variant(vary: &[&str], request: &[(&'static str, &str)]) -> Option<Variant> {
        let fields: Vec<_> = vary.iter().map(|value| ("vary", *value)).collect();
        Variant::of(&headers(&fields), &headers(request))
    }

    fn selects(vary: &str, first: &[(&'static str, &str)], then: &[(&'static str, &str)]) -> bool {
        variant(&[vary], first).is_none_or(|variant| variant.is_selected_by(&headers(then)))
    }

    #[test]
    fn only_the_named_fields_select() {
        let (de, en) = (("accept-language", "de"), ("accept-language", "en"));
        assert!(selects("Accept-Language", &[de], &[de, ("user-agent", "x")]));
        assert!(!selects("Accept-Language", &[de], &[en]));
        assert!(!selects("Accept-Language", &[de], &[]));
        assert!(!selects("accept-language", &[], &[en]));
        assert!(selects("accept-language", &[], &[]));
        assert!(!selects("Accept-Encoding, accept-language", &[de], &[en]), "any one of several");
        assert_eq!(variant(&[], &[de]), None);
        assert_eq!(variant(&["a", "B, a"], &[]), variant(&["b,A"], &[]), "order and lines say nothing");
    }

    #[test]
    fn a_star_or_garbage_is_never_selected() {
        for vary in ["*", "accept, *", "a b", "caf\u{e9}"] {
            assert!(!selects(vary, &[], &[]), "{vary}");
        }
        let many: Vec<_> = (0..=MAX_SELECTING).map(|n| format!("x-{n}")).collect();
        assert!(!selects(&many.join(","), &[], &[]));
        assert!(selects(&many[1..].join(","), &[], &[]));
    }

    #[test]
    fn lists_compare_without_their_white_space() {
        assert!(selects("accept", &[("accept", "a, b")], &[("accept", "a ,b")]));
        assert!(selects("accept", &[("accept", "a, b")], &[("accept", "a"), ("accept", "b")]));
        assert!(!selects("accept", &[("accept", "a, b")], &[("accept", "b, a")]));
        assert!(!selects("x", &[("x", "\"a, b\"")], &[("x", "\"a,b\"")]), "quoted white space counts");
    }

    #[test]
    fn languages_compare_without_case_and_order() {
        assert!(selects(
            "accept-language",
            &[("accept-language", "en, DE;q=0.5")],
            &[("accept-language", "de; q=0.5,EN")]
        ));
        assert!(!selects(
            "accept-language",
            &[("accept-language", "en, de;q=0.5")],
            &[("accept-language", "de, en;q=0.5")]
        ));
    }

    #[test]
    fn no_value_can_be_read_from_it() {
        let kept = format!("{:?}", variant(&["cookie"], &[("cookie", "session=secret")]));
        assert!(kept.contains("cookie") && !kept.contains("secret"), "{kept}");
    }
}
