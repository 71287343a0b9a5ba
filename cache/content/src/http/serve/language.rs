//! Whether a stored answer is in the language that a request wants most (RFC 9110 section 12.5.4; RFC 9111 section 4.1).
//!
//! Requests that weigh languages differently select different answers, as far as a cache can see. One thing can be seen without the
//! origin: who wants one language above all others is served best by an answer in that language.

use ::http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HeaderMap};

/// Ranges of languages that are looked at; with more, nothing is said.
const MOST_RANGES: usize = 32;

/// Whether the answer with these fields is in the one language that the request weighs above all others.
#[must_use]
pub fn is_favourite(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let mut languages = answer.get_all(CONTENT_LANGUAGE).iter();
    let (Some(language), None) = (languages.next(), languages.next()) else { return false };
    let Ok(language) = language.to_str() else { return false };
    favourite(request).is_some_and(|wanted| wanted.eq_ignore_ascii_case(language.trim()))
}

/// The language with the highest weight, where only one has it.
fn favourite(request: &HeaderMap) -> Option<String> {
    let mut best: Option<(u32, String)> = None;
    let mut is_shared = false;
    let mut count = 0;
    for value in request.get_all(ACCEPT_LANGUAGE) {
        for range in value.to_str().ok()?.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            count += 1;
            let (language, weight) = weighed(range).filter(|_| count <= MOST_RANGES)?;
            match &best {
                Some((most, _)) if weight < *most => {}
                Some((most, _)) if weight == *most => is_shared = true,
                _ => {
                    best = Some((weight, language.to_owned()));
                    is_shared = false;
                }
            }
        }
    }
    best.filter(|(weight, language)| !is_shared && *weight > 0 && language != "*").map(|(_, language)| language)
}

/// A range of languages and its weight in thousandths (RFC 9110 section 12.4.2).
fn weighed(range: &str) -> Option<(&str, u32)> {
    let Some((language, weight)) = range.split_once(';') else { return Some((range, 1000)) };
    let (name, value) = weight.split_once('=')?;
    let value: f32 = value.trim().parse().ok()?;
    let is_weight = name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&value);
    is_weight.then(|| (language.trim(), (value * 1000.0).round() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    fn is(wanted: &str, language: &str) -> bool {
        let answer = head(200, &[("content-language", language)]).headers;
        is_favourite(&head(200, &[("accept-language", wanted)]).headers, &answer)
    }

    #[test]
    fn one_language_above_all_others_is_enough() {
        assert!(is("fr;q=0.5, de;q=1.0", "de") && is("de", "DE") && is("en;q=0.2, de;q=0.3, *;q=0.1", "de"));
    }

    #[test]
    fn equals_stars_several_languages_and_garbage_leave_it_to_the_origin() {
        for (wanted, language) in [
            ("en, de", "de"),
            ("fr, de;q=0.5", "de"),
            ("*", "de"),
            ("de;q=0", "de"),
            ("de-AT", "de"),
            ("de;q=x", "de"),
            ("de;q=2", "de"),
            ("de", "de, en"),
            ("", "de"),
        ] {
            assert!(!is(wanted, language), "{wanted} {language}");
        }
        assert!(!is_favourite(&HeaderMap::new(), &HeaderMap::new()));
    }
}
