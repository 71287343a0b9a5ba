//! On whose word bytes are believed to be the origin's: the rung.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The weakest word that some of the bytes stand on, from the lowest rung to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// An origin that does not prove who it is, whoever fetched them.
    PlainHttp,
    /// A package, whose signer is trusted.
    Package,
    /// One member's signed statement.
    OneStatement,
    /// The agreeing statements of several members.
    SeveralStatements,
    /// This node's own TLS connection to the origin.
    OwnTls,
    /// A digest that the origin named, which held.
    OriginDigest,
    /// A digest that the job named, which held.
    JobDigest,
}

/// What is known of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grounds {
    /// Whether the origin proves its name.
    pub https: bool,
    /// How many members vouch for each block that this node did not fetch itself, at least; none when it fetched all.
    pub witnesses: Option<u8>,
    /// Who named a digest of the whole that was checked.
    pub digest: Option<DigestBy>,
}

/// Who named a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestBy {
    /// The origin.
    Origin,
    /// The job.
    Job,
}

impl Rung {
    /// The rung of bytes of which this is known.
    #[must_use]
    pub fn of(grounds: Grounds) -> Self {
        match grounds {
            Grounds { digest: Some(DigestBy::Job), .. } => Self::JobDigest,
            Grounds { digest: Some(DigestBy::Origin), .. } => Self::OriginDigest,
            Grounds { https: false, .. } => Self::PlainHttp,
            Grounds { witnesses: None, .. } => Self::OwnTls,
            Grounds { witnesses: Some(0), .. } => Self::Package,
            Grounds { witnesses: Some(1), .. } => Self::OneStatement,
            Grounds { witnesses: Some(_), .. } => Self::SeveralStatements,
        }
    }

    /// The rung in words.
    #[must_use]
    pub fn sentence(self, witnesses: Option<u8>) -> String {
        match (self, witnesses) {
            (Self::JobDigest, _) => "the digest that the job names".to_owned(),
            (Self::OriginDigest, _) => "a digest that the origin names".to_owned(),
            (Self::OwnTls, _) => "this node's own TLS connection to the origin".to_owned(),
            (Self::PlainHttp, None) => "this node's own plain connection to the origin".to_owned(),
            (Self::PlainHttp, Some(0)) => "a package, of an origin over plain HTTP".to_owned(),
            (Self::PlainHttp, Some(1)) => "one member's signed statement about a plain connection".to_owned(),
            (Self::PlainHttp, Some(count)) => format!("statements of {count} members about plain connections"),
            (Self::Package, _) => "a package, whose signer is trusted".to_owned(),
            (Self::OneStatement, _) => "one member's signed statement".to_owned(),
            (Self::SeveralStatements, count) => {
                format!("agreeing statements of {} members or more", count.unwrap_or(2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_decides_and_plain_http_is_the_lowest() {
        let rung = |https, witnesses, digest| Rung::of(Grounds { https, witnesses, digest });
        let ladder = [
            rung(false, Some(3), None),
            rung(true, Some(0), None),
            rung(true, Some(1), None),
            rung(true, Some(2), None),
            rung(true, None, None),
            rung(false, Some(1), Some(DigestBy::Origin)),
            rung(false, Some(1), Some(DigestBy::Job)),
        ];
        assert!(ladder.is_sorted() && ladder.windows(2).all(|pair| pair[0] != pair[1]), "{ladder:?}");
        assert_eq!(rung(false, None, None), Rung::PlainHttp);
    }
}
