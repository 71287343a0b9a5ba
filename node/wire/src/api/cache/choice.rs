//! Which entities are meant: conditions that must all hold, and the piece of the list that is asked for.

use super::pattern::{self, MAX_PATTERN};
use super::view::EntityView;
use crate::api::page::{DEFAULT_PAGE, MAX_PAGE};
use crate::api::problem::Problem;
use crate::catalogue::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Whether all of an entity is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    /// Every block.
    Complete,
    /// Not every block.
    Partial,
}

/// Which entities are meant, and which piece of their list. Without conditions, all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct EntityQuery {
    /// An id, its first digits (at least 4), or a URL: as it was asked for, as it was after redirects, or as lists show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// A pattern for the URL as lists show it: `*` stands for anything. A text without `*` is looked for anywhere in the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A pattern for the host, with or without its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Entities of more than so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub larger: Option<u64>,
    /// Entities of fewer than so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smaller: Option<u64>,
    /// Entities that nobody used for so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused_seconds: Option<u64>,
    /// Entities of which all, or not all, is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub held: Option<Held>,
    /// Entities that are pinned, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// Entities that peers may have, or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shareable: Option<bool>,
    /// The cursor that the page before ended with; missing for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most entities to answer with, 1 to 1000; 100 if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl EntityQuery {
    /// How many entities the page may have, within the bounds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }

    /// Refuses what is longer than its bound.
    pub fn check(&self) -> Result<(), Problem> {
        let too_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > MAX_PATTERN);
        if too_long(&self.url) || too_long(&self.host) {
            return Err(Problem::new(ErrorCode::TooLong, format!("a pattern has at most {MAX_PATTERN} bytes")));
        }
        if self.named.as_ref().is_some_and(|name| name.len() > eddy_content::url::MAX_URL_LENGTH) {
            return Err(Problem::new(ErrorCode::TooLong, "a name is an id or a URL of at most 8192 bytes"));
        }
        let numbers = [self.larger, self.smaller, self.unused_seconds];
        if numbers.into_iter().flatten().any(|number| i64::try_from(number).is_err()) {
            return Err(Problem::new(ErrorCode::BadAmount, "a number has at most 63 bits"));
        }
        Ok(())
    }

    /// Whether `entity` fulfils every condition but the name, which only the store can judge; `now` is in milliseconds.
    #[must_use]
    pub fn admits(&self, entity: &EntityView, now_unix_ms: u64) -> bool {
        let is = |wanted: Option<bool>, fact: bool| wanted.is_none_or(|wanted| wanted == fact);
        let idle_ms = now_unix_ms.saturating_sub(entity.used_unix_ms);
        self.larger.is_none_or(|than| entity.length > than)
            && self.smaller.is_none_or(|than| entity.length < than)
            && self.unused_seconds.is_none_or(|age| idle_ms >= age.saturating_mul(1000))
            && self.held.is_none_or(|held| (held == Held::Complete) == (entity.held == entity.length))
            && is(self.pinned, entity.pinned)
            && is(self.shareable, entity.shareable)
            && self.host.as_ref().is_none_or(|pattern| host_matches(pattern, &entity.url))
            && self.url.as_ref().is_none_or(|pattern| url_matches(pattern, &entity.url))
    }
}

fn url_matches(pattern: &str, url: &str) -> bool {
    if pattern.contains('*') { pattern::matches(pattern, url) } else { url.contains(pattern) }
}

fn host_matches(pattern: &str, url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    // The colons of an IPv6 address stand in brackets.
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(authority, |(host, _)| host);
    let pattern = pattern.to_ascii_lowercase();
    pattern::matches(&pattern, authority) || pattern::matches(&pattern, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity() -> EntityView {
        EntityView {
            id: "ab".repeat(32),
            url: "https://cdn.example.org:8443/a/big.iso?...".into(),
            validator: "\"1\"".into(),
            length: 1000,
            held: 1000,
            shareable: true,
            pinned: false,
            created_unix_ms: 1_000,
            used_unix_ms: 10_000,
            in_use: false,
        }
    }

    fn admits(query: &EntityQuery) -> bool {
        query.admits(&entity(), 70_000)
    }

    #[test]
    fn without_conditions_everything_is_meant() {
        assert!(admits(&EntityQuery::default()));
    }

    #[test]
    fn a_url_is_found_by_a_part_of_it_or_by_a_pattern_of_the_whole() {
        for (pattern, expected) in [
            ("big.iso", true),
            ("https://cdn.*", true),
            ("*.iso?...", true),
            ("*.iso", false),
            ("cdn.*", false),
            ("BIG", false),
        ] {
            let query = EntityQuery { url: Some(pattern.into()), ..EntityQuery::default() };
            assert_eq!(admits(&query), expected, "{pattern}");
        }
    }

    #[test]
    fn a_host_is_found_with_and_without_its_port_in_any_case() {
        for (pattern, expected) in
            [("CDN.example.org", true), ("cdn.example.org:8443", true), ("*.example.org", true), ("example.org", false)]
        {
            let query = EntityQuery { host: Some(pattern.into()), ..EntityQuery::default() };
            assert_eq!(admits(&query), expected, "{pattern}");
        }
        assert!(host_matches("[::1]", "http://[::1]:80/a") && host_matches("[::1]", "http://[::1]/a"));
    }

    #[test]
    fn sizes_ages_and_states_must_all_hold() {
        let all = EntityQuery::default;
        for (query, expected) in [
            (EntityQuery { larger: Some(999), smaller: Some(1001), ..all() }, true),
            (EntityQuery { larger: Some(1000), ..all() }, false),
            (EntityQuery { smaller: Some(1000), ..all() }, false),
            (EntityQuery { unused_seconds: Some(60), ..all() }, true),
            (EntityQuery { unused_seconds: Some(61), ..all() }, false),
            (EntityQuery { unused_seconds: Some(u64::MAX), ..all() }, false),
            (EntityQuery { held: Some(Held::Complete), ..all() }, true),
            (EntityQuery { held: Some(Held::Partial), ..all() }, false),
            (EntityQuery { pinned: Some(true), ..all() }, false),
            (EntityQuery { pinned: Some(false), shareable: Some(true), ..all() }, true),
            (EntityQuery { larger: Some(1), shareable: Some(false), ..all() }, false),
        ] {
            assert_eq!(admits(&query), expected, "{query:?}");
        }
    }

    #[test]
    fn endless_patterns_are_refused() {
        let query = EntityQuery { url: Some("*".repeat(MAX_PATTERN + 1)), ..EntityQuery::default() };
        assert_eq!(query.check().expect_err("too long").code, "too-long");
        let query = EntityQuery { named: Some("a".repeat(9000)), ..EntityQuery::default() };
        assert_eq!(query.check().expect_err("too long").code, "too-long");
    }
}
