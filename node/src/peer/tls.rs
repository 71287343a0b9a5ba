//! TLS 1.3 between members: both ends show a group certificate, and both ends check it.
//!
//! There is one protocol name, no older TLS, no resumption (which would skip the check) and no 0-RTT (T-15). Nothing
//! readable names the group: no server name is sent, no certificate authorities are hinted at (T-11).

use super::badge::Badge;
use crate::group::Group;
use eddy_wire::NodeId;
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
use std::sync::Arc;

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
        let mut provider = aws_lc_rs::default_provider();
        // The first is taken where both can: AES-128-GCM costs a third of ChaCha20 where the CPU has AES.
        provider.cipher_suites = vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        Self { provider: Arc::new(provider), group, badge }
    }

    /// The accepting side.
    pub(crate) fn server(&self) -> Result<QuicServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(self.verifier(None)))
            .with_cert_resolver(Arc::clone(&self.badge) as _);
        config.alpn_protocols = vec![eddy_wire::frame::ALPN.to_vec()];
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
            .with_custom_certificate_verifier(Arc::new(self.verifier(expected)))
            .with_client_cert_resolver(Arc::clone(&self.badge) as _);
        config.alpn_protocols = vec![eddy_wire::frame::ALPN.to_vec()];
        config.enable_sni = false;
        config.enable_early_data = false;
        config.resumption = Resumption::disabled();
        Ok(QuicClientConfig::try_from(config)?)
    }

    fn verifier(&self, expected: Option<NodeId>) -> MemberVerifier {
        MemberVerifier { group: Arc::clone(&self.group), expected, provider: Arc::clone(&self.provider) }
    }
}

/// Lets members of the group in, on either side of the handshake.
struct MemberVerifier {
    group: Arc<Group>,
    expected: Option<NodeId>,
    provider: Arc<CryptoProvider>,
}

impl MemberVerifier {
    fn verify(&self, certificate: &CertificateDer<'_>, more: usize, now: UnixTime) -> Result<(), Error> {
        if more > 0 {
            // A group certificate is signed by the group itself.
            return Err(CertificateError::UnknownIssuer.into());
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let node = self.group.verify_member(certificate, now).map_err(|reason| {
            tracing::debug!(%reason, "a handshake without membership");
            Error::from(CertificateError::UnknownIssuer)
        })?;
        match self.expected {
            Some(expected) if expected != node => {
                tracing::debug!(%expected, %node, "another member answered");
                Err(CertificateError::NotValidForName.into())
            }
            _ => Ok(()),
        }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates.len(), now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
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
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates.len(), now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl fmt::Debug for MemberVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberVerifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}
