//! TLS 1.3 between members: both ends show a group certificate, and both ends check it.
//!
//! There is one protocol name, no older TLS, no resumption (which would skip the check) and no 0-RTT (T-15). Nothing
//! readable names the group: no server name is sent, no certificate authorities are hinted at (T-11).
//!
//! While an invitation is open, an issuer also lets applicants through the handshake: they show their own key, under a
//! protocol name of their own. Nothing but enrolment is answered to them.

use super::badge::Badge;
use crate::group::certificate;
use crate::group::member::{self, Member, Rule};
use crate::group::{Group, JoinCode, NotAMember};
use crate::identity::Identity;
use eddy_wire::NodeId;
use eddy_wire::membership::{ENROL_ALPN, Role};
use eddy_wire::statement::GroupId;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The name that the client's side of TLS insists on having; it is not sent.
pub(crate) const NAME: &str = "eddy";

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The crypto provider and TLS 1.3 do not go together.
    #[error("TLS 1.3 could not be set up: {0}")]
    Rustls(#[from] Error),
    /// The provider lacks the cipher of QUIC's first packets.
    #[error("the crypto provider lacks QUIC's initial cipher: {0}")]
    Cipher(#[from] NoInitialCipherSuite),
    /// An applicant's certificate could not be made: a bug.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Whether those who are no members yet get through the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applicants {
    /// They do not.
    Refused,
    /// They do, to say one thing.
    Heard,
}

/// What the handshakes of one node need.
#[derive(Clone)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    group: Arc<Group>,
    badge: Arc<Badge>,
}

impl Tls {
    pub(crate) fn new(group: Arc<Group>, badge: Arc<Badge>) -> Self {
        Self { provider: provider(), group, badge }
    }

    /// The accepting side.
    pub(crate) fn server(&self, applicants: Applicants) -> Result<QuicServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(self.verifier(None, applicants)))
            .with_cert_resolver(Arc::clone(&self.badge) as _);
        config.alpn_protocols = vec![eddy_wire::frame::ALPN.to_vec()];
        if applicants == Applicants::Heard {
            config.alpn_protocols.push(ENROL_ALPN.to_vec());
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(QuicServerConfig::try_from(config)?)
    }

    /// The dialling side; with `expected`, any other member is refused as well.
    pub(crate) fn client(&self, expected: Option<NodeId>) -> Result<QuicClientConfig, TlsError> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous() // rustls' word for any verifier but the web's
            .with_custom_certificate_verifier(Arc::new(self.verifier(expected, Applicants::Refused)))
            .with_client_cert_resolver(Arc::clone(&self.badge) as _);
        client_settings(&mut config, eddy_wire::frame::ALPN);
        Ok(QuicClientConfig::try_from(config)?)
    }

    fn verifier(&self, expected: Option<NodeId>, applicants: Applicants) -> MemberVerifier {
        MemberVerifier { group: Arc::clone(&self.group), expected, applicants, provider: Arc::clone(&self.provider) }
    }
}

/// The dialling side of who asks to be let in: it believes only an issuer of the group that its code is of.
pub(crate) fn applicant(node: &Identity, code: &JoinCode) -> Result<(QuicClientConfig, Arc<Introduction>), TlsError> {
    let provider = provider();
    let introduction =
        Arc::new(Introduction { code: code.clone(), group: Mutex::new(None), provider: provider.clone() });
    let own = certificate::applicant(node.signing_key())?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // as above
        .with_custom_certificate_verifier(Arc::clone(&introduction) as _)
        .with_client_auth_cert(vec![own], node.private_key())?;
    client_settings(&mut config, ENROL_ALPN);
    Ok((QuicClientConfig::try_from(config)?, introduction))
}

fn client_settings(config: &mut rustls::ClientConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // The first is taken where both can: AES-128-GCM costs a third of ChaCha20 where the CPU has AES.
    provider.cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Lets members of the group in, on either side of the handshake.
struct MemberVerifier {
    group: Arc<Group>,
    expected: Option<NodeId>,
    applicants: Applicants,
    provider: Arc<CryptoProvider>,
}

impl MemberVerifier {
    /// The clock is the group's: where memberships end, setting the machine's clock back extends none (T-18).
    fn verify(&self, certificate: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(certificate).chain(more).cloned().collect();
        let node = match self.group.verify_chain(&chain, self.group.now()) {
            Ok(member) => member.node,
            Err(reason) if self.applicants == Applicants::Heard && more.is_empty() => {
                member::applicant(certificate).map_err(|_| refused(&reason))?
            }
            Err(reason) => return Err(refused(&reason)),
        };
        match self.expected {
            Some(expected) if expected != node => {
                tracing::debug!(%expected, %node, "another member answered");
                Err(CertificateError::NotValidForName.into())
            }
            _ => Ok(()),
        }
    }
}

/// The alert tells a member why it is none any more, and a stranger nothing.
fn refused(reason: &NotAMember) -> Error {
    tracing::debug!(%reason, "a handshake without membership");
    Error::from(match reason {
        NotAMember::Removed { .. } => CertificateError::Revoked,
        NotAMember::Expired => CertificateError::Expired,
        NotAMember::NotYetValid => CertificateError::NotValidYet,
        _ => CertificateError::UnknownIssuer,
    })
}

/// How an applicant knows whom it talks to, before it has heard anything of the group but its fingerprint.
pub(crate) struct Introduction {
    code: JoinCode,
    /// The group whose issuer answered, when one did.
    group: Mutex<Option<GroupId>>,
    provider: Arc<CryptoProvider>,
}

impl Introduction {
    /// The group whose issuer answered.
    pub(crate) fn group(&self) -> Option<GroupId> {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chain ends with the group's authority; its key has to have the code's fingerprint, and an issuer to stand first.
    fn verify(&self, certificate: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let outcome = self.issuer(certificate, more);
        let group = outcome.map_err(|reason| {
            tracing::debug!(%reason, "who answered is no issuer of the code's group");
            Error::from(CertificateError::UnknownIssuer)
        })?;
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        Ok(())
    }

    fn issuer(&self, certificate: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<GroupId, NotAMember> {
        let (authority, between) = more.split_last().ok_or(NotAMember::Chain { count: 1 })?;
        let group = crate::group::secret::group_id(&member::authority_key(authority)?);
        if !self.code.is_of(group) {
            return Err(NotAMember::OtherGroup);
        }
        let chain: Vec<_> = std::iter::once(certificate).chain(between).cloned().collect();
        let now = crate::group::clock::unix_now();
        match member::verify(Rule::Root(authority), &chain, now)? {
            Member { role: Role::Issuer, .. } => Ok(group),
            Member { .. } => Err(NotAMember::Role),
        }
    }
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_tls13_signature(message, certificate, signed, &provider.signature_verification_algorithms)
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ServerCertVerifier for Introduction {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduction").field("code", &self.code).finish_non_exhaustive()
    }
}

impl fmt::Debug for MemberVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}
