//! What this node shows to be let in: its group certificate, on both sides of a handshake and beside its statements.

use crate::group::{Group, GroupError};
use crate::identity::Identity;
use ed25519_dalek::SigningKey;
use eddy_wire::NodeId;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// The certificate and the key of this node.
pub(crate) struct Badge {
    identity: Identity,
    certified: Arc<CertifiedKey>,
    der: Vec<u8>,
}

/// Why this node cannot show itself to be a member.
#[derive(Debug, thiserror::Error)]
pub enum BadgeError {
    /// The group made no certificate.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The key cannot sign handshakes.
    #[error("the node's key cannot sign handshakes: {0}")]
    Key(#[from] rustls::Error),
}

impl Badge {
    pub(crate) fn new(group: &Group, identity: Identity) -> Result<Self, BadgeError> {
        let shown = group.certify(&identity)?;
        let key = any_supported_type(&shown.key)?;
        let der = shown.certificate.to_vec();
        let certified = Arc::new(CertifiedKey::new(vec![shown.certificate], key));
        Ok(Self { identity, certified, der })
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        self.identity.signing_key()
    }

    /// The DER of the certificate.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.der
    }
}

impl ResolvesServerCert for Badge {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certified))
    }
}

impl ResolvesClientCert for Badge {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Badge").field("node", &self.node_id()).finish_non_exhaustive()
    }
}
