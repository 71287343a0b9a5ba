//! How an answer says where it came from (RFC 9211; R-56).

use std::fmt;

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// From what is held.
    Hit,
    /// From elsewhere.
    Forwarded(Forwarded),
}

/// Why the answer was not, or not only, taken from what is held (RFC 9211 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// Nothing is stored for the URL.
    UriMiss,
    /// Something is, but this request selects another answer.
    VaryMiss,
    /// What is stored was too old.
    Stale,
    /// The request wanted it so.
    Request,
    /// The method is not one that a cache answers.
    Method,
    /// Only a part of it is stored.
    Partial,
}

/// The member of `Cache-Status` that this node adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// Where the answer came from.
    pub found: Found,
    /// The status that the origin gave, where it was asked.
    pub origin_status: Option<u16>,
    /// Seconds of freshness that are left, below zero for what is stale.
    pub ttl: Option<i64>,
    /// Whether this request waited for another's.
    pub is_collapsed: bool,
    /// A word about the source: "peer", "origin". Never a peer's name.
    pub detail: Option<&'static str>,
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("eddy")?;
        match self.found {
            Found::Hit => f.write_str("; hit")?,
            Found::Forwarded(why) => {
                f.write_str("; fwd=")?;
                f.write_str(match why {
                    Forwarded::UriMiss => "uri-miss",
                    Forwarded::VaryMiss => "vary-miss",
                    Forwarded::Stale => "stale",
                    Forwarded::Request => "request",
                    Forwarded::Method => "method",
                    Forwarded::Partial => "partial",
                })?;
            }
        }
        if let Some(status) = self.origin_status {
            write!(f, "; fwd-status={status}")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if self.is_collapsed {
            f.write_str("; collapsed")?;
        }
        self.detail.map_or(Ok(()), |detail| write!(f, "; detail={detail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_structured_field() {
        let hit =
            CacheStatus { found: Found::Hit, origin_status: None, ttl: Some(-5), is_collapsed: false, detail: None };
        assert_eq!(hit.to_string(), "eddy; hit; ttl=-5");
        let miss = CacheStatus {
            found: Found::Forwarded(Forwarded::UriMiss),
            origin_status: Some(200),
            ttl: None,
            is_collapsed: true,
            detail: Some("peer"),
        };
        assert_eq!(miss.to_string(), "eddy; fwd=uri-miss; fwd-status=200; collapsed; detail=peer");
    }
}
