//! What this node shows to be let in: its group certificate, on both sides of a handshake and beside its statements.

use crate::group::{Group, GroupError, chain};
use crate::identity::Identity;
use ed25519_dalek::SigningKey;
use eddy_wire::NodeId;
use eddy_wire::membership::ENROL_ALPN;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The certificates and the key of this node.
pub(crate) struct Badge {
    identity: Identity,
    /// Replaced when the certificate is renewed.
    worn: RwLock<Worn>,
}

#[derive(Clone)]
struct Worn {
    /// What members see.
    certified: Arc<CertifiedKey>,
    /// What applicants see: the group's authority as well, which they know by its fingerprint only.
    introduced: Arc<CertifiedKey>,
    /// The chain as it stands beside statements.
    chain: Arc<[u8]>,
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
        let worn = RwLock::new(Worn::of(group, &identity)?);
        Ok(Self { identity, worn })
    }

    /// Shows the group's newest certificate of this node from now on.
    pub(crate) fn refresh(&self, group: &Group) -> Result<(), BadgeError> {
        let worn = Worn::of(group, &self.identity)?;
        *self.worn.write().unwrap_or_else(PoisonError::into_inner) = worn;
        Ok(())
    }

    pub(crate) fn node_id(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        self.identity.signing_key()
    }

    /// The DER of the certificate and of those between it and the group's authority.
    pub(crate) fn chain(&self) -> Arc<[u8]> {
        self.worn().chain
    }

    fn worn(&self) -> Worn {
        self.worn.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Worn {
    fn of(group: &Group, identity: &Identity) -> Result<Self, BadgeError> {
        let shown = group.certify(identity)?;
        let key = any_supported_type(&shown.key)?;
        let mut certificates = vec![shown.certificate];
        certificates.extend(shown.above);
        let chain = chain::join(&certificates).into();
        let introduction = certificates.iter().cloned().chain([group.ca()]).collect();
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(certificates, Arc::clone(&key))),
            introduced: Arc::new(CertifiedKey::new(introduction, key)),
            chain,
        })
    }
}

impl ResolvesServerCert for Badge {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let worn = self.worn();
        let is_applicant = hello.alpn().is_some_and(|mut names| names.any(|name| name == ENROL_ALPN));
        Some(if is_applicant { worn.introduced } else { worn.certified })
    }
}

impl ResolvesClientCert for Badge {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.worn().certified)
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
