//! Whether a certificate is a member's, and whose.
//!
//! The chain is checked by webpki, as rustls does it: Ed25519 only, to the group's authority and over at most one issuer, for
//! both ends of a connection. The name that counts is the key itself.

use super::certificate::{APPLICANT_NAME, role_name};
use ed25519_dalek::VerifyingKey;
use eddy_wire::NodeId;
use eddy_wire::membership::Role;
use eddy_wire::statement::MAX_CERTIFICATE;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, anchor_from_trusted_cert,
};

/// Why a certificate lets nobody in. The fault is the one's who shows it; a retry is useless unless the clocks differ.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMember {
    /// Longer than any group certificate.
    #[error("the certificate has {length} bytes, the limit is {MAX_CERTIFICATE}")]
    TooLong {
        /// Its bytes.
        length: usize,
    },
    /// More or fewer certificates than lead to the authority.
    #[error("{count} certificates are no chain to the group's authority")]
    Chain {
        /// How many came.
        count: usize,
    },
    /// Not signed by this group.
    #[error("the certificate is not of this group")]
    OtherGroup,
    /// Valid later, by this node's clock.
    #[error("the certificate is not valid yet; compare the clocks")]
    NotYetValid,
    /// Was valid, by this node's clock.
    #[error("the certificate has expired; compare the clocks")]
    Expired,
    /// Not for both ends of a connection between members.
    #[error("the certificate is not for members' connections")]
    Purpose,
    /// Gives a role that its issuer may not give.
    #[error("the issuer may not give this role")]
    Role,
    /// The node, or who certified it, was removed from the group.
    #[error("{node} was removed from the group")]
    Removed {
        /// Who was removed.
        node: NodeId,
    },
    /// For a key that is no usable Ed25519 key.
    #[error("the certificate's key is not an Ed25519 key")]
    Key,
    /// Anything else that webpki refuses.
    #[error("the certificate cannot be read: {0}")]
    Malformed(Error),
}

/// Seconds that two clocks may differ (T-18).
const SKEW: i64 = 5 * 60;

/// An Ed25519 SubjectPublicKeyInfo up to the key (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Whose word a chain has to lead to.
#[derive(Clone, Copy)]
pub(crate) enum Rule<'a> {
    /// The authority that every holder of the secret derives: it signs members and nobody else does.
    Secret(&'a CertificateDer<'a>),
    /// The group's root, which signs members and issuers, which sign members.
    Root(&'a CertificateDer<'a>),
    /// Authorities of somebody's own, with whatever lies between them and a node.
    Own(&'a [CertificateDer<'a>]),
}

/// Who showed a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: NodeId,
    /// What it is; a plain member where there are no roles.
    pub role: Role,
    /// The issuer that certified it, unless the authority did so itself.
    pub issuer: Option<NodeId>,
}

impl Rule<'_> {
    /// Certificates of the longest chain.
    const fn longest(self) -> usize {
        match self {
            Self::Secret(_) => 1,
            Self::Root(_) => 2,
            Self::Own(_) => 4,
        }
    }
}

/// Checks a chain, a node's certificate first, and reads the member out of it.
pub(crate) fn verify(rule: Rule<'_>, chain: &[CertificateDer<'_>], now_unix: i64) -> Result<Member, NotAMember> {
    let (certificate, above) = chain.split_first().ok_or(NotAMember::Chain { count: 0 })?;
    if chain.len() > rule.longest() {
        return Err(NotAMember::Chain { count: chain.len() });
    }
    let length = chain.iter().map(|certificate| certificate.len()).sum();
    if length > MAX_CERTIFICATE {
        return Err(NotAMember::TooLong { length });
    }
    let parsed = EndEntityCert::try_from(certificate).map_err(NotAMember::Malformed)?;
    let issuer = match check_chain(rule, &parsed, above, now_unix) {
        Err(NotAMember::NotYetValid) => check_chain(rule, &parsed, above, now_unix.saturating_add(SKEW))?,
        // Five minutes ago something else of the chain may not have begun: it is over all the same.
        Err(NotAMember::Expired) => match check_chain(rule, &parsed, above, now_unix.saturating_sub(SKEW)) {
            Err(NotAMember::NotYetValid) => return Err(NotAMember::Expired),
            checked => checked?,
        },
        checked => checked?,
    };
    let role = match rule {
        Rule::Root(_) => role_of(&parsed)?,
        Rule::Secret(_) | Rule::Own(_) => Role::Member,
    };
    Ok(Member { node: node_of(&parsed)?, role, issuer })
}

/// Checks what webpki checks, and gives the issuer between the certificate and the root.
fn check_chain(
    rule: Rule<'_>,
    certificate: &EndEntityCert<'_>,
    above: &[CertificateDer<'_>],
    now_unix: i64,
) -> Result<Option<NodeId>, NotAMember> {
    let authorities = match rule {
        Rule::Secret(ca) | Rule::Root(ca) => std::slice::from_ref(ca),
        Rule::Own(authorities) => authorities,
    };
    let anchors = authorities.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(NotAMember::Malformed)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_unix).unwrap_or(0)));
    if let Rule::Own(_) = rule {
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            certificate.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, above, now, usage, None, None)?;
        }
        return Ok(None);
    }
    let path =
        certificate.verify_for_usage(&[webpki::aws_lc_rs::ED25519], &anchors, above, now, BothEnds, None, None)?;
    let used = path.intermediate_certificates().count();
    if used != above.len() {
        return Err(NotAMember::Chain { count: above.len() + 1 });
    }
    above
        .first()
        .map(|issuer| EndEntityCert::try_from(issuer).map_err(NotAMember::from).and_then(|c| node_of(&c)))
        .transpose()
}

/// Whether a certificate is that of somebody who asks to be let in, and by which key. Nothing is vouched for but that
/// the handshake will prove the key.
pub(crate) fn applicant(certificate: &CertificateDer<'_>) -> Result<NodeId, NotAMember> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(NotAMember::TooLong { length: certificate.len() });
    }
    let parsed = EndEntityCert::try_from(certificate).map_err(NotAMember::Malformed)?;
    let mut names = parsed.valid_dns_names();
    match (names.next(), names.next()) {
        (Some(APPLICANT_NAME), None) => node_of(&parsed),
        _ => Err(NotAMember::OtherGroup),
    }
}

/// The public key of an authority that is an Ed25519 key.
pub(crate) fn authority_key(ca: &CertificateDer<'_>) -> Result<VerifyingKey, NotAMember> {
    let parsed = EndEntityCert::try_from(ca).map_err(NotAMember::Malformed)?;
    let node = node_of(&parsed)?;
    VerifyingKey::from_bytes(&node.0).map_err(|_| NotAMember::Key)
}

/// The one name that a certificate of CA mode has is its role.
fn role_of(certificate: &EndEntityCert<'_>) -> Result<Role, NotAMember> {
    let mut names = certificate.valid_dns_names();
    let (Some(name), None) = (names.next(), names.next()) else { return Err(NotAMember::Purpose) };
    Role::ALL.into_iter().find(|role| role_name(*role) == name).ok_or(NotAMember::Purpose)
}

fn node_of(certificate: &EndEntityCert<'_>) -> Result<NodeId, NotAMember> {
    let spki = certificate.subject_public_key_info();
    let key = spki.strip_prefix(&SPKI_PREFIX).and_then(|key| <[u8; 32]>::try_from(key).ok()).ok_or(NotAMember::Key)?;
    match ed25519_dalek::VerifyingKey::from_bytes(&key) {
        Ok(point) if !point.is_weak() => Ok(NodeId(key)),
        _ => Err(NotAMember::Key),
    }
}

/// Requires that the certificate says to be for servers and for clients: members are both.
struct BothEnds;

/// OIDs 1.3.6.1.5.5.7.3.1 and .2 (RFC 5280 section 4.2.1.12), in DER.
const SERVER_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);

impl ExtendedKeyUsageValidator for BothEnds {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (mut server, mut client) = (false, false);
        for purpose in purposes {
            let purpose = purpose?;
            server |= purpose == SERVER_AUTH;
            client |= purpose == CLIENT_AUTH;
        }
        if server && client { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}

impl From<Error> for NotAMember {
    fn from(error: Error) -> Self {
        match error {
            // All groups' authorities have one name, so that of another group shows as a wrong signature.
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Self::OtherGroup,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertExpired { .. } => Self::Expired,
            Error::EmptyEkuExtension | Error::CaUsedAsEndEntity => Self::Purpose,
            Error::NameConstraintViolation => Self::Role,
            other => Self::Malformed(other),
        }
    }
}
