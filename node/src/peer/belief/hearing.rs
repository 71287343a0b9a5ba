//! Evidence looked at by whoever has the file: every signature, every contradiction, and whether the signers are members.
//!
//! Nothing is asked of anybody: the certificates travel with the statements.

use crate::config::Settings;
use crate::group::{Group, GroupError, NotAMember, chain};
use eddy_wire::NodeId;
use eddy_wire::api::{BadEvidence, EvidenceView};
use eddy_wire::evidence::{Contradiction, NoEvidence};
use std::path::Path;

/// What evidence shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    /// Who signed what about which block; the accused first.
    pub contradiction: Contradiction,
    /// Each signer and how it stands in the group, in the same order.
    pub signers: Vec<(NodeId, Membership)>,
}

/// Whether a signer was a member when it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// It was.
    Member,
    /// It was, and has been removed since, or who certified it has.
    Removed,
    /// Its certificate is not this group's, for this reason.
    Stranger(String),
    /// There is no group here to hold it against.
    Unknown,
}

/// Why a document is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// It cannot be read.
    #[error(transparent)]
    Form(#[from] BadEvidence),
    /// What is in it proves nothing.
    #[error(transparent)]
    Content(#[from] NoEvidence),
    /// The group's files on this machine.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// Checks a document against the group of the node whose home this is, if it is in one.
pub fn hear(view: &EvidenceView, home: &Path, settings: &Settings) -> Result<Hearing, Unproven> {
    let evidence = view.evidence()?;
    let contradiction = evidence.check()?;
    let group = match settings.pki() {
        Some(files) => Some(Group::from_files(&files)?),
        None => Group::load(home)?,
    };
    let membership = |claim: &eddy_wire::statement::Claim| {
        let Some(group) = &group else { return Membership::Unknown };
        let statement = &claim.endorsed.signed.statement;
        let shown = match chain::split(&claim.endorsed.certificate) {
            Some(parts) => group.verify_chain(&parts, statement.time),
            None => Err(NotAMember::Chain { count: 0 }),
        };
        match shown {
            _ if statement.group != group.id() => Membership::Stranger("it speaks to another group".to_owned()),
            Ok(member) if member.node == statement.signer => Membership::Member,
            Ok(_) => Membership::Stranger("the certificate is another member's".to_owned()),
            // Found out only after the chain was found good.
            Err(NotAMember::Removed { .. }) => Membership::Removed,
            Err(why) => Membership::Stranger(why.to_string()),
        }
    };
    let all = std::iter::once(&evidence.accused).chain(&evidence.against);
    let signers = all.map(|claim| (claim.signer(), membership(claim))).collect();
    Ok(Hearing { contradiction, signers })
}
