//! Evidence that a member lied, as it is kept, shown and handed on: one JSON document that is checked without a network.

use crate::evidence::{Evidence, MAX_AGAINST};
use crate::statement::{Claim, EndorsedStatement, MAX_STATEMENT_BLOCKS};
use data_encoding::{BASE64, HEXLOWER};
use eddy_content::BlockHash;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the first field of a document says.
pub const EVIDENCE_FORMAT: &str = "eddy-evidence-1";
/// Bytes of the largest document: four statements of 256 blocks.
pub const MAX_EVIDENCE: u64 = 256 * 1024;

/// A document of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceView {
    /// Always `eddy-evidence-1`.
    pub format: String,
    /// Its name on the node that wrote it down.
    pub id: String,
    /// When it was found, in milliseconds since the Unix epoch. Not signed.
    pub found_unix_ms: u64,
    /// Which file it is about, redacted. Not signed: what is signed names the version by a key that only the group can form.
    pub url: String,
    /// Who signed what is not true.
    pub accused: ClaimView,
    /// What contradicts it; the first is the word of the node that then fetched the bytes from their origin.
    pub against: Vec<ClaimView>,
}

/// A signed statement, hash by hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// Who signed.
    pub signer: String,
    /// The first block that it speaks of; blocks have 64 KiB.
    pub first_block: u32,
    /// When the signer says it had the bytes, in seconds since the Unix epoch.
    pub time_unix: i64,
    /// The statement, its signature and the signer's certificates, in Base64.
    pub statement: String,
    /// The hashes that it signed, block by block, in hex.
    pub hashes: Vec<String>,
}

/// Why a document is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvidence {
    /// Something else, or of another version.
    #[error("this is no document of evidence (its format is not `{EVIDENCE_FORMAT}`)")]
    Format,
    /// A field that cannot be read.
    #[error("its {field} cannot be read")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// What people read is not what was signed.
    #[error("its {field} is not what was signed")]
    Differs {
        /// Which one.
        field: &'static str,
    },
}

impl EvidenceView {
    /// The document of some evidence.
    #[must_use]
    pub fn of(evidence: &Evidence, id: String, found_unix_ms: u64, url: String) -> Self {
        Self {
            format: EVIDENCE_FORMAT.to_owned(),
            id,
            found_unix_ms,
            url,
            accused: ClaimView::of(&evidence.accused),
            against: evidence.against.iter().map(ClaimView::of).collect(),
        }
    }

    /// The evidence in the document. Nothing of it is checked but its form.
    pub fn evidence(&self) -> Result<Evidence, BadEvidence> {
        if self.format != EVIDENCE_FORMAT {
            return Err(BadEvidence::Format);
        }
        if self.against.len() > MAX_AGAINST {
            return Err(BadEvidence::Field { field: "list of statements" });
        }
        let against = self.against.iter().map(ClaimView::claim).collect::<Result<_, _>>()?;
        Ok(Evidence { accused: self.accused.claim()?, against })
    }
}

impl ClaimView {
    fn of(claim: &Claim) -> Self {
        Self {
            signer: claim.signer().to_string(),
            first_block: claim.blocks().start,
            time_unix: claim.endorsed.signed.statement.time,
            statement: BASE64.encode(&claim.endorsed.encode()),
            hashes: claim.hashes.iter().map(|hash| HEXLOWER.encode(&hash.0)).collect(),
        }
    }

    fn claim(&self) -> Result<Claim, BadEvidence> {
        let unread = |field| BadEvidence::Field { field };
        let bytes = BASE64.decode(self.statement.as_bytes()).map_err(|_| unread("statement"))?;
        let endorsed = EndorsedStatement::decode(&bytes).map_err(|_| unread("statement"))?;
        if self.hashes.len() > MAX_STATEMENT_BLOCKS as usize {
            return Err(unread("list of hashes"));
        }
        let hash = |text: &String| {
            let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
            Some(BlockHash(bytes.try_into().ok()?))
        };
        let hashes = self.hashes.iter().map(hash).collect::<Option<_>>().ok_or(unread("list of hashes"))?;
        let claim = Claim { endorsed, hashes };
        let differs = |field| Err(BadEvidence::Differs { field });
        match () {
            () if self.signer != claim.signer().to_string() => differs("signer"),
            () if self.first_block != claim.blocks().start => differs("first block"),
            () if self.time_unix != claim.endorsed.signed.statement.time => differs("time"),
            () => Ok(claim),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::{endorsed, hashes};

    fn view() -> (Evidence, EvidenceView) {
        let claim = Claim { endorsed: endorsed(), hashes: hashes(3, 4) };
        let evidence = Evidence { accused: claim.clone(), against: vec![claim] };
        let view = EvidenceView::of(&evidence, "0123".into(), 7, "https://origin.example/a".into());
        (evidence, view)
    }

    #[test]
    fn a_document_is_as_reviewed_and_is_read_back() {
        let (evidence, view) = view();
        assert_eq!(view.evidence(), Ok(evidence));
        insta::assert_snapshot!(serde_json::to_string_pretty(&view).expect("is JSON"));
    }

    #[test]
    fn what_people_read_is_what_was_signed() {
        let bent: [fn(&mut EvidenceView); 6] = [
            |view| view.format.push('0'),
            |view| view.accused.signer = view.accused.signer.replace('D', "E"),
            |view| view.accused.first_block += 1,
            |view| view.accused.time_unix += 1,
            |view| view.against[0].statement.truncate(8),
            |view| view.against[0].hashes[0].truncate(62),
        ];
        for bend in bent {
            let mut view = view().1;
            bend(&mut view);
            assert!(view.evidence().is_err(), "{view:?}");
        }
    }
}
