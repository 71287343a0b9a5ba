//! The yardstick: stock quinn, bytes from memory on one side, hashed and written on the other, and nothing else.
//!
//! It believes nothing, commits nothing and could not say who sent what; it is what the transport costs.

use bytes::{Bytes, BytesMut};
use eddy_node::peer::socket;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

const NAME: &str = "bench.invalid";
const MIB: usize = 1 << 20;
/// Bytes that are hashed and written at once.
const RUN: usize = 256 * 1024;
/// Runs that wait for the disk.
const QUEUE: usize = 8;

/// How quinn is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tuning {
    /// As it comes.
    Stock,
    /// Windows of 4 and 16 MiB, packets of 1,472 bytes, an acknowledgement for ten packets.
    Tuned,
}

impl Tuning {
    /// By the name that it has in the environment of a role.
    pub(crate) fn named(name: &str) -> Self {
        if name == "tuned" { Self::Tuned } else { Self::Stock }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Tuned => "tuned",
        }
    }

    fn transport(self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        if self == Self::Tuned {
            let mut discovery = MtuDiscoveryConfig::default();
            discovery.upper_bound(1472);
            let mut acknowledging = AckFrequencyConfig::default();
            acknowledging.ack_eliciting_threshold(VarInt::from_u32(10));
            transport
                .stream_receive_window(VarInt::from_u32(4 << 20))
                .receive_window(VarInt::from_u32(16 << 20))
                .send_window(8 << 20)
                .mtu_discovery_config(Some(discovery))
                .ack_frequency_config(Some(acknowledging))
                .send_fairness(false);
        }
        Arc::new(transport)
    }
}

/// A certificate and its key, both as DER.
pub(crate) struct Credentials {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Credentials {
    pub(crate) fn make() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }

    /// An endpoint that answers everybody.
    pub(crate) fn giver(&self, at: SocketAddr, tuning: Tuning) -> Endpoint {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(self.certificate.clone())], key)
            .unwrap();
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
        server.transport_config(tuning.transport());
        endpoint(Some(server), at)
    }

    /// A connection to a giver, from any port of the address `from`.
    pub(crate) async fn connect(&self, from: SocketAddr, to: SocketAddr, tuning: Tuning) -> (Endpoint, Connection) {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.certificate.clone())).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
        client.transport_config(tuning.transport());
        let here = endpoint(None, from);
        let connection = here.connect_with(client, to, NAME).unwrap().await.unwrap();
        (here, connection)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

/// Stock but for the socket's buffers, which quinn leaves to its user.
fn endpoint(server: Option<ServerConfig>, at: SocketAddr) -> Endpoint {
    let socket = socket::bind(at).unwrap();
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime)).unwrap()
}

/// Gives on every stream as many bytes as its first 8 bytes say, until the connection ends.
pub(crate) async fn give(connection: Connection) {
    let chunk = Bytes::from(vec![7; MIB / 2]);
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let chunk = chunk.clone();
        tokio::spawn(async move {
            let mut wanted = [0; 8];
            receive.read_exact(&mut wanted).await.unwrap();
            let mut missing = u64::from_be_bytes(wanted) as usize;
            while missing > 0 {
                let part = chunk.slice(..missing.min(chunk.len()));
                missing -= part.len();
                send.write_chunk(part).await.unwrap();
            }
            send.finish().unwrap();
            let _ = send.stopped().await;
        });
    }
}

/// Takes `length` bytes over one stream: gathered in runs, which a thread hashes and writes; synced in the end.
pub(crate) async fn take(connection: &Connection, length: u64, to: &Path) {
    let (runs, mut queue) = mpsc::channel::<BytesMut>(QUEUE);
    let (spare, mut spares) = mpsc::channel::<BytesMut>(QUEUE);
    let mut file = File::create(to).unwrap();
    file.set_len(length).unwrap();
    let writing = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        while let Some(mut run) = queue.blocking_recv() {
            hasher.update(&run);
            file.write_all(&run).unwrap();
            run.clear();
            let _ = spare.try_send(run);
        }
        file.sync_data().unwrap();
        hasher.finalize()
    });
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&length.to_be_bytes()).await.unwrap();
    let mut received = 0;
    let mut run = BytesMut::with_capacity(RUN);
    while let Some(chunk) = receive.read_chunk(RUN - run.len(), true).await.unwrap() {
        received += chunk.bytes.len() as u64;
        run.extend_from_slice(&chunk.bytes);
        if run.len() == RUN {
            let next = spares.try_recv().unwrap_or_else(|_| BytesMut::with_capacity(RUN));
            runs.send(std::mem::replace(&mut run, next)).await.unwrap();
        }
    }
    runs.send(run).await.unwrap();
    drop(runs);
    std::hint::black_box(writing.await.unwrap());
    assert_eq!(received, length);
}

/// Asks for `length` bytes and hashes them.
pub(crate) async fn ask(connection: &Connection, length: u64) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&length.to_be_bytes()).await.unwrap();
    send.finish().unwrap();
    let bytes = receive.read_to_end(length as usize).await.unwrap();
    assert_eq!(bytes.len() as u64, length);
    std::hint::black_box(blake3::hash(&bytes));
}
