//! The certificates of a group: its authority's, each issuer's, and each member's.
//!
//! Nothing in them names a person, a machine or an address (T-11): a key, a role and two dates. A chain stays below the
//! 1.2 kB that fit QUIC's first flight (T-07).
//!
//! *Secret mode*: both follow from their keys alone (fixed dates, serial numbers from hashes, deterministic signatures), so
//! every member derives the same authority, and a member's certificate is the same after each start. They do not expire:
//! who holds the secret could renew them anyway, and a machine whose clock is wrong keeps its peers.
//!
//! *CA mode*: the role is the one dNSName of the subjectAltName (OID 2.5.29.17): `member`, `issuer` or `anchor` before
//! `.eddy.invalid`. An issuer's certificate is a CA of path length 0 under name constraints (OID 2.5.29.30) that permit
//! `member.eddy.invalid` and `issuer.eddy.invalid` only. So webpki itself refuses whatever else an issuer signs, and no
//! extension of our own has to be parsed.

use ed25519_dalek::{Signer, SigningKey};
use eddy_wire::NodeId;
use eddy_wire::membership::Role;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyUsagePurpose, NameConstraints, PKCS_ED25519, PublicKeyData, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// The DNS name in every member's certificate: TLS libraries want one. It exists nowhere (RFC 6761 section 6.4).
pub const MEMBER_NAME: &str = "member.eddy.invalid";
/// The name of an issuer's own certificate as a member.
const ISSUER_NAME: &str = "issuer.eddy.invalid";
/// The name of an anchor.
const ANCHOR_NAME: &str = "anchor.eddy.invalid";
/// The name that somebody shows who asks to be let in: it makes nobody a member.
pub(crate) const APPLICANT_NAME: &str = "applicant.eddy.invalid";

/// The common name of a group's authority.
const AUTHORITY: &str = "eddy group";
/// The common name of an issuer as an authority.
const ISSUER: &str = "eddy issuer";

/// What a member shows in a handshake, and the key that proves it to be its own.
pub struct NodeCertificate {
    /// The certificate, signed by the group.
    pub certificate: CertificateDer<'static>,
    /// The certificates between it and the group's authority: none, or its issuer's.
    pub above: Vec<CertificateDer<'static>>,
    /// The node's key in PKCS #8.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for NodeCertificate {
    fn clone(&self) -> Self {
        Self { certificate: self.certificate.clone(), above: self.above.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

/// The certificate of the group's authority, signed by itself.
pub(super) fn authority(key: &SigningKey) -> Result<CertificateDer<'static>, rcgen::Error> {
    let signer = GroupKey::new(key);
    let mut params = authority_params();
    params.serial_number = Some(serial(&signer.public));
    Ok(params.self_signed(&signer)?.into())
}

/// The certificate of one member, signed by the group's authority.
pub(super) fn member(ca_key: &SigningKey, node: NodeId) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = undated("eddy node");
    params.serial_number = Some(serial(&node.0));
    params.subject_alt_names = vec![rcgen::SanType::DnsName(MEMBER_NAME.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = Issuer::new(authority_params(), GroupKey::new(ca_key));
    Ok(params.signed_by(&NodeKey(node), &issuer)?.into())
}

/// The dNSName that stands for a role.
pub(super) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Member => MEMBER_NAME,
        Role::Issuer => ISSUER_NAME,
        Role::Anchor => ANCHOR_NAME,
    }
}

/// The certificate of the root of a group in CA mode, signed by itself: it follows from its key.
pub(super) fn root(key: &SigningKey) -> Result<CertificateDer<'static>, rcgen::Error> {
    let signer = GroupKey::new(key);
    let mut params = root_params();
    params.serial_number = Some(serial(&signer.public));
    Ok(params.self_signed(&signer)?.into())
}

/// Who signs a certificate in CA mode.
#[derive(Clone, Copy)]
pub(super) enum Signs<'a> {
    /// The root.
    Root(&'a SigningKey),
    /// An issuer, by its node key.
    Issuer(&'a SigningKey),
}

/// The certificate of one member, valid for `life` in seconds since 1970.
pub(super) fn enrolled(
    signs: Signs<'_>,
    node: NodeId,
    role: Role,
    life: Range<i64>,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = dated("eddy node", &node, &life);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(role_name(role).try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let issuer = match signs {
        Signs::Root(key) => Issuer::new(root_params(), GroupKey::new(key)),
        Signs::Issuer(key) => Issuer::new(undated(ISSUER), GroupKey::new(key)),
    };
    Ok(params.signed_by(&NodeKey(node), &issuer)?.into())
}

/// The certificate with which an issuer certifies members, signed by the root.
pub(super) fn issuing(
    root: &SigningKey,
    node: NodeId,
    life: Range<i64>,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = dated(ISSUER, &node, &life);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let permitted = [Role::Member, Role::Issuer].map(|role| GeneralSubtree::DnsName(role_name(role).to_owned()));
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted.into(), excluded_subtrees: Vec::new() });
    let issuer = Issuer::new(root_params(), GroupKey::new(root));
    Ok(params.signed_by(&NodeKey(node), &issuer)?.into())
}

/// What somebody shows who is no member yet: its key, signed by itself.
pub(crate) fn applicant(key: &SigningKey) -> Result<CertificateDer<'static>, rcgen::Error> {
    let signer = GroupKey::new(key);
    let mut params = undated("eddy node");
    params.serial_number = Some(serial(&signer.public));
    params.subject_alt_names = vec![rcgen::SanType::DnsName(APPLICANT_NAME.try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params.self_signed(&signer)?.into())
}

fn root_params() -> CertificateParams {
    let mut params = undated(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A certificate for both ends of a connection, with dates; another one for each key and date.
fn dated(name: &str, node: &NodeId, life: &Range<i64>) -> CertificateParams {
    let day = |unix: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    let mut params = undated(name);
    (params.not_before, params.not_after) = (day(life.start), day(life.end));
    let mut named = [0; 40];
    named[..32].copy_from_slice(&node.0);
    named[32..].copy_from_slice(&life.start.to_le_bytes());
    params.serial_number = Some(serial(&named));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn authority_params() -> CertificateParams {
    let mut params = undated(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn undated(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A positive number of 16 bytes, other for each key (RFC 5280 section 4.1.2.2).
fn serial(public_key: &[u8]) -> SerialNumber {
    let hash = blake3::derive_key("eddy v1 2026-11 certificate serial", public_key);
    let mut number = [0; 16];
    number.copy_from_slice(&hash[..16]);
    number[0] = number[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&number)
}

/// The authority's key, as the certificate library wants to see it.
struct GroupKey<'a> {
    key: &'a SigningKey,
    public: [u8; 32],
}

impl<'a> GroupKey<'a> {
    fn new(key: &'a SigningKey) -> Self {
        Self { key, public: key.verifying_key().to_bytes() }
    }
}

impl PublicKeyData for GroupKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for GroupKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).to_bytes().to_vec())
    }
}

/// A member's public key: all that certifying needs of it.
struct NodeKey(NodeId);

impl PublicKeyData for NodeKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}
