//! Dialling: from an address that somebody hinted at to a member that proved itself.

use super::close::{address_of, canonical};
use super::core::{Core, Live, Refusal};
use super::link;
use super::table::{Initiator, Link};
use super::tls::{NAME, TlsError};
use super::transport::transport;
use eddy_wire::NodeId;
use quinn::{ClientConfig, ConnectionError};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Why an address did not lead to a member.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("nobody answered at {0}")]
    Silent(SocketAddr),
    /// Who answered is no member of this group, is not the member that was expected, or does not speak eddy/1.
    #[error("no member of the group answered at {address}: {error}")]
    NotAMember {
        /// Where.
        address: SocketAddr,
        /// What the handshake said.
        error: ConnectionError,
    },
    /// The member is not kept as a peer.
    #[error("{address} is not kept as a peer: {why}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// The address cannot be dialled.
    #[error("{address} cannot be dialled: {error}")]
    Undialable {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: quinn::ConnectError,
    },
    /// TLS could not be set up: a fault of this node.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Connects to a member, or finds the connection that exists.
pub(crate) async fn connect(
    core: Arc<Core>,
    address: SocketAddr,
    expected: Option<NodeId>,
) -> Result<NodeId, ConnectError> {
    let address = canonical(address);
    let refused = |why| ConnectError::Refused { address, why };
    if let Some(node) = existing(&core, address, expected) {
        return Ok(node);
    }
    if expected.is_some_and(|node| core.is_blocked(node)) {
        return Err(refused(Refusal::Blocked));
    }
    let mut config = ClientConfig::new(Arc::new(core.tls.client(expected)?));
    config.transport_config(Arc::new(transport()));
    let connecting = core.endpoint.connect_with(config, address, NAME);
    let connecting = connecting.map_err(|error| ConnectError::Undialable { address, error })?;
    let connection = match timeout(core.config.patience.handshake, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => return Err(ConnectError::Silent(address)),
        Ok(Err(error)) => {
            core.hear(&error);
            return Err(ConnectError::NotAMember { address, error });
        }
    };
    let (kept, answer) = oneshot::channel();
    let tasks = core.tasks.clone();
    tasks.spawn(link::live(core, connection, Initiator::Here, Some(kept)));
    answer.await.unwrap_or(Err(Refusal::Gone)).map_err(refused)
}

fn existing(core: &Core, address: SocketAddr, expected: Option<NodeId>) -> Option<NodeId> {
    let table = core.table();
    match expected {
        Some(node) => table.used(node).map(|_| node),
        None => {
            let there = |link: &Link<Live>| address_of(&link.connection.connection) == address;
            table.iter().find(|(_, link, _)| there(link)).map(|(node, ..)| node)
        }
    }
}
