//! The `Cache-Control` directives that forbid something (RFC 9111 section 5.2), read tolerantly but never laxly.
//!
//! Names compare in any case, several field lines count as one list, and quoted values hide what stands in them. Where a
//! value is so malformed that it might have meant a prohibition, it is taken as one (T-35).

use ::http::header::{CACHE_CONTROL, HeaderMap};

/// The directives that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CacheControl {
    pub(super) no_store: bool,
    pub(super) private: bool,
    pub(super) must_understand: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
}

impl CacheControl {
    /// Everything forbidden, and nothing that lifts it.
    const WORST: Self = Self {
        no_store: true,
        private: true,
        must_understand: false,
        no_cache: true,
        must_revalidate: true,
        proxy_revalidate: true,
    };

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            found.absorb(value.as_bytes());
        }
        found
    }

    fn absorb(&mut self, value: &[u8]) {
        let mut rest = value;
        while let Some(first) = rest.first().copied() {
            let (word, after) = split_token(rest);
            match (first, word.to_ascii_lowercase().as_slice()) {
                (_, b"no-store") => self.no_store = true,
                // `private="field"` restricts one field only (RFC 9111 section 5.2.2.7); taken whole, it errs to the safe side.
                (_, b"private") => self.private = true,
                (_, b"must-understand") => self.must_understand = true,
                // `no-cache="field"` likewise (RFC 9111 section 5.2.2.4).
                (_, b"no-cache") => self.no_cache = true,
                (_, b"must-revalidate") => self.must_revalidate = true,
                (_, b"proxy-revalidate") => self.proxy_revalidate = true,
                _ => {}
            }
            rest = match first {
                b'"' => match skip_quoted(rest) {
                    Some(after) => after,
                    // An unbalanced quote swallows the rest of the list: assume the worst.
                    None => {
                        *self = Self::WORST;
                        return;
                    }
                },
                // An argument is no directive; a quoted one is skipped by the next turn.
                b'=' => split_token(&rest[1..]).1,
                _ if word.is_empty() => &rest[1..],
                _ => after,
            };
        }
    }
}

/// Splits off the longest run of token characters, which may be empty.
fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !is_token_byte(*b)).unwrap_or(text.len()))
}

/// What follows the quoted string at the start of `text`; `None` when it never ends.
fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut escaped = false;
    let inner = &text[1..];
    let end = inner.iter().position(|b| {
        let is_end = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        is_end
    })?;
    Some(&inner[end + 1..])
}

/// The token characters of RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> CacheControl {
        let fields: Vec<_> = values.iter().map(|v| ("cache-control", *v)).collect();
        CacheControl::of(&head(200, &fields).headers)
    }

    #[test]
    fn t35_prohibitions_are_found_in_odd_spellings() {
        for text in [
            "no-store",
            "No-Store",
            "NO-STORE",
            "max-age=60,no-store",
            "max-age=60 , no-store",
            ",, no-store,",
            "max-age=60;no-store",
            "max-age=\"60\", no-store",
            "max-age=60 no-store",
            "no-store=1",
            "no-store=\"x\"",
            "x=\"a\\\"b\", no-store",
            "\tno-store",
            "=, no-store",
        ] {
            assert!(of(&[text]).no_store, "{text}");
            let text =
                text.replace("no-store", "Private").replace("No-Store", "private").replace("NO-STORE", "PRIVATE");
            assert!(of(&[&text]).private, "{text}");
        }
        assert!(of(&["max-age=60", "private"]).private, "a second line");
        assert!(of(&["private=\"set-cookie\""]).private, "a qualified one");
        assert!(of(&["x=\"unbalanced, no-store"]).no_store, "an open quote");
    }

    #[test]
    fn harmless_values_forbid_nothing() {
        for text in [
            "",
            "public",
            "max-age=60",
            "x-no-store",
            "no-storex",
            "x=\"no-store, private\"",
            "x=no-store",
            "x=no-cache",
        ] {
            assert_eq!(of(&[text]), CacheControl::default(), "{text}");
        }
        assert_eq!(of(&["no-cache"]), CacheControl { no_cache: true, ..CacheControl::default() });
    }

    proptest! {
        #[test]
        fn a_prohibition_behind_anything_balanced_is_found(before in "[a-zA-Z0-9=,; -]{0,40}") {
            let text = format!("{before}, no-store");
            prop_assert!(of(&[&text]).no_store, "{}", text);
        }

        #[test]
        fn garbage_never_panics(text in "[ -~]{0,60}") {
            let _ = of(&[&text]);
        }
    }
}
