//! What a caller calls an entity: its id, the beginning of it, or its URL.

use crate::face::SHORTEST_ID;
use eddy_cache::EntityRecord;
use eddy_content::{EntityId, ResourceUrl};
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;

/// Digits of a whole id.
const WHOLE: usize = 64;

/// A name, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// An id or the beginning of one, in lower case.
    Digits(String),
    /// A URL: it means every version that was asked for under it, that lies at it after redirects, or that lists show so.
    Url {
        /// The URL, if it can be one.
        exact: Option<ResourceUrl>,
        /// As it was written.
        shown: String,
    },
}

/// Where a row stands to a name, rows being read in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The name means it.
    Meant,
    /// The name does not mean it.
    Other,
    /// The name means neither it nor anything behind it.
    Past,
}

impl Name {
    /// Reads a name; what is neither an id's beginning nor a URL names nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.contains("://") {
            return Ok(Self::Url { exact: ResourceUrl::parse(text).ok(), shown: text.to_owned() });
        }
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > WHOLE || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let detail = format!("`{}` is neither the beginning of an id nor a URL", shown());
            return Err(Problem::new(ErrorCode::EntityNotFound, detail));
        }
        if text.len() < SHORTEST_ID {
            let detail = format!("`{}` is too short: {SHORTEST_ID} digits are the least", shown());
            return Err(Problem::new(ErrorCode::AmbiguousName, detail));
        }
        Ok(Self::Digits(text.to_ascii_lowercase()))
    }

    /// The id behind which the first row that the name can mean lies.
    pub(super) fn start(&self) -> Option<EntityId> {
        let Self::Digits(digits) = self else { return None };
        format!("{digits:0<WHOLE$}").parse().ok().as_ref().and_then(before)
    }

    /// Where a row stands to the name.
    pub(super) fn fit(&self, record: &EntityRecord) -> Fit {
        match self {
            Self::Digits(digits) => {
                let id = record.id().to_string();
                if id.starts_with(digits) {
                    Fit::Meant
                } else if id > *digits {
                    Fit::Past
                } else {
                    Fit::Other
                }
            }
            Self::Url { exact, shown } => {
                let is = |url: &ResourceUrl| exact.as_ref() == Some(url) || url.redacted() == *shown;
                if is(&record.entity.url) || is(&record.requested_url) { Fit::Meant } else { Fit::Other }
            }
        }
    }
}

/// The id before this one; `None` before the first.
pub(super) fn before(id: &EntityId) -> Option<EntityId> {
    let mut bytes = id.0;
    let last = bytes.iter().rposition(|byte| *byte != 0)?;
    bytes[last] -= 1;
    bytes[last + 1..].fill(0xff);
    Some(EntityId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_before_is_the_next_smaller_one() {
        assert_eq!(before(&EntityId([0; 32])), None);
        let mut id = [0; 32];
        id[0] = 1;
        let mut expected = [0xff; 32];
        expected[0] = 0;
        assert_eq!(before(&EntityId(id)), Some(EntityId(expected)));
        id[31] = 7;
        assert_eq!(before(&EntityId(id)).map(|id| id.0[31]), Some(6));
    }

    #[test]
    fn a_beginning_starts_where_its_first_id_would_be() {
        let start = Name::parse("ABCDe").expect("digits").start().expect("not the first").to_string();
        assert!(start.starts_with("abcddfff"), "{start}");
        assert_eq!(Name::parse("0000").expect("digits").start(), None);
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for (text, code) in [("", "entity-not-found"), ("abc", "ambiguous-name"), ("nonsense", "entity-not-found")] {
            assert_eq!(Name::parse(text).expect_err(text).code, code, "{text}");
        }
        assert_eq!(Name::parse(&"a".repeat(65)).expect_err("too long").code, "entity-not-found");
        assert!(matches!(Name::parse("https://h/a?..."), Ok(Name::Url { exact: Some(_), .. })));
    }
}
