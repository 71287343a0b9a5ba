//! A member of a group as an attacker writes it: bare quinn with a member's certificate, and no manners of eddy.
//!
//! | module | what it is |
//! |---|---|
//! | [`handshake`] | a handshake driven by hand |
//! | [`gaps`] | packets that no library sends |

pub mod gaps;
pub mod handshake;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use eddy_node::group::Group;
use eddy_node::identity::Identity;
use eddy_node::peer::transport::transport;
use eddy_wire::frame::{ALPN, Frame, StreamKind, encode_frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

/// What every certificate of a group is made out to.
pub const NAME: &str = "member.eddy.invalid";

/// A new key, which nobody has heard of.
///
/// # Errors
/// When no folder can be made for it.
pub fn somebody() -> Result<Identity> {
    let home = tempfile::tempdir()?;
    Ok(Identity::load_or_create(home.path())?)
}

/// TLS of a member that dials; `groups` are the key exchanges that it offers, all when it is empty.
///
/// # Errors
/// When the group cannot certify the key.
pub fn tls(group: &Group, who: &Identity, provider: CryptoProvider) -> Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(group.ca())?;
    let shown = group.certify(who)?;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![shown.certificate], shown.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The same for quinn, set as eddy sets it.
///
/// # Errors
/// When the group cannot certify the key.
pub fn client(group: &Group, who: &Identity) -> Result<ClientConfig> {
    let config = tls(group, who, rustls::crypto::aws_lc_rs::default_provider())?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// Puts a question and leaves the stream open.
///
/// # Errors
/// When the connection takes none.
pub async fn ask<T: Frame>(connection: &Connection, question: &T) -> Result<(SendStream, RecvStream)> {
    let (mut send, receive) = connection.open_bi().await?;
    let mut bytes = vec![StreamKind::Request.byte()];
    bytes.extend_from_slice(&encode_frame(question).context("a question that is too long")?);
    send.write_all(&bytes).await?;
    Ok((send, receive))
}
