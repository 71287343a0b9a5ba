//! The certificates of a group: its authority's, and each member's.
//!
//! Both follow from their keys alone (fixed dates, serial numbers from hashes, deterministic signatures), so every member
//! derives the same authority, and a member's certificate is the same after each start. Nothing in them names a person,
//! a machine or an address (T-11); with both, a chain stays far below the 1.2 kB that fit QUIC's first flight (T-07).
//!
//! They do not expire: who holds the secret could renew them anyway, and a machine whose clock is wrong keeps its peers.

use ed25519_dalek::{Signer, SigningKey};
use eddy_wire::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;

/// The DNS name in every member's certificate: TLS libraries want one. It exists nowhere (RFC 6761 section 6.4).
pub const MEMBER_NAME: &str = "member.eddy.invalid";

/// What a member shows in a handshake, and the key that proves it to be its own.
pub struct NodeCertificate {
    /// The certificate, signed by the group.
    pub certificate: CertificateDer<'static>,
    /// The node's key in PKCS #8.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for NodeCertificate {
    fn clone(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone_key() }
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

fn authority_params() -> CertificateParams {
    let mut params = undated("eddy group");
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
fn serial(public_key: &[u8; 32]) -> SerialNumber {
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
