//! Whether a certificate is a member's, and whose.
//!
//! The chain is checked by webpki, as rustls does it: Ed25519 only, straight to the group's authority, for both ends of a
//! connection. The name that counts is the key itself.

use eddy_wire::NodeId;
use eddy_wire::statement::MAX_CERTIFICATE;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, anchor_from_trusted_cert,
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

/// Checks `certificate` against the group's own and reads the member's key out of it.
pub(super) fn verify(
    ca: &CertificateDer<'_>,
    certificate: &CertificateDer<'_>,
    now_unix: i64,
) -> Result<NodeId, NotAMember> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(NotAMember::TooLong { length: certificate.len() });
    }
    let parsed = EndEntityCert::try_from(certificate).map_err(NotAMember::Malformed)?;
    match check_chain(ca, &parsed, now_unix) {
        Err(NotAMember::NotYetValid) => check_chain(ca, &parsed, now_unix.saturating_add(SKEW))?,
        Err(NotAMember::Expired) => check_chain(ca, &parsed, now_unix.saturating_sub(SKEW))?,
        checked => checked?,
    }
    node_of(&parsed)
}

fn check_chain(ca: &CertificateDer<'_>, certificate: &EndEntityCert<'_>, now_unix: i64) -> Result<(), NotAMember> {
    let anchor = anchor_from_trusted_cert(ca).map_err(NotAMember::Malformed)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now_unix).unwrap_or(0)));
    certificate
        .verify_for_usage(&[webpki::aws_lc_rs::ED25519], &[anchor], &[], now, BothEnds, None, None)
        .map(|_| ())
        .map_err(NotAMember::from)
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
            other => Self::Malformed(other),
        }
    }
}
