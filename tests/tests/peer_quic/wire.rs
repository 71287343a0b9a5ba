//! Hosts that speak QUIC on their own terms: a server that sends what it is told to, a client with any credentials.

use eddy_content::{BlockHash, Entity, Geometry, LookupKey, tree};
use eddy_node::group::Group;
use eddy_node::identity::Identity;
use eddy_wire::NodeId;
use eddy_wire::frame::{ALPN, ReadReply, RunHeader, encode_frame};
use eddy_wire::statement::{EndorsedStatement, GroupId, Statement, Transport};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What every group certificate is made out to.
const NAME: &str = "member.eddy.invalid";

pub(crate) fn identity() -> Identity {
    let home = tempfile::TempDir::new().expect("a directory");
    Identity::load_or_create(home.path()).expect("a key")
}

fn roots(group: &Group) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(group.ca()).expect("an authority");
    Arc::new(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// An endpoint that dials as `identity`, or as nobody, into `group`; an empty `alpn` offers none.
pub(crate) fn dialler(group: &Group, identity: Option<(&Group, &Identity)>, alpn: &[u8]) -> Endpoint {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(group));
    let mut config = match identity {
        Some((group, identity)) => {
            let shown = group.certify(identity).expect("certifies");
            config.with_client_auth_cert(vec![shown.certificate], shown.key).expect("a key")
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = Some(alpn.to_vec()).filter(|name| !name.is_empty()).into_iter().collect();
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("binds");
    let crypto = QuicClientConfig::try_from(config).expect("QUIC");
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// An endpoint that shows a certificate of its own making, with one name, under a protocol name.
pub(crate) fn pretender(group: &Group, name: &str, alpn: &[u8]) -> Endpoint {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signs").der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots(group));
    let mut config = config.with_client_auth_cert(vec![certificate], key).expect("a key");
    config.alpn_protocols = vec![alpn.to_vec()];
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("binds");
    let crypto = QuicClientConfig::try_from(config).expect("QUIC");
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

pub(crate) async fn dial(endpoint: &Endpoint, address: SocketAddr) -> Result<Connection, quinn::ConnectionError> {
    endpoint.connect(address, NAME).expect("dials").await
}

/// What happens on a stream after the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Finish,
    Stall,
    Vanish,
}

/// A member in good standing that answers every question with the next script.
pub(crate) struct Puppet {
    pub(crate) identity: Identity,
    pub(crate) address: SocketAddr,
    scripts: mpsc::Sender<(Vec<u8>, Then)>,
}

/// The accepting endpoint of a member in good standing.
pub(crate) fn acceptor(group: &Group, identity: &Identity) -> Endpoint {
    let shown = group.certify(identity).expect("certifies");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(group), provider()).build().expect("builds");
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![shown.certificate], shown.key)
        .expect("a key");
    config.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(config).expect("QUIC");
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Endpoint::server(ServerConfig::with_crypto(Arc::new(crypto)), here).expect("binds")
}

impl Puppet {
    pub(crate) fn start(group: &Group) -> Self {
        let identity = identity();
        let endpoint = acceptor(group, &identity);
        let address = endpoint.local_addr().expect("bound");
        let (scripts, played) = mpsc::channel(1);
        tokio::spawn(play(endpoint, played));
        Self { identity, address, scripts }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Sets what the next question is answered with.
    pub(crate) async fn will_say(&self, bytes: Vec<u8>, then: Then) {
        self.scripts.send((bytes, then)).await.expect("plays");
    }
}

async fn play(endpoint: Endpoint, mut scripts: mpsc::Receiver<(Vec<u8>, Then)>) {
    let connection = endpoint.accept().await.expect("somebody comes").await.expect("a member");
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let Some((bytes, then)) = scripts.recv().await else { return };
        let _ = receive.read_to_end(1 << 20).await;
        // Fails when the reader has seen enough.
        let _ = send.write_all(&bytes).await;
        match then {
            Then::Finish => drop(send.finish()),
            Then::Stall => std::mem::forget(send),
            // The process is gone: nothing is said, the port is dead.
            Then::Vanish => {
                endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").expect("binds")).expect("rebinds");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// What an honest member would send, to be bent.
pub(crate) struct Truth<'a> {
    pub(crate) group: GroupId,
    pub(crate) key: LookupKey,
    pub(crate) entity: &'a Entity,
    pub(crate) content: &'a [u8],
}

impl Truth<'_> {
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::new(self.entity.length).expect("fits")
    }

    pub(crate) fn bytes(&self, blocks: Range<u32>) -> Vec<u8> {
        let bytes = self.geometry().bytes_of(blocks);
        self.content[bytes.start as usize..bytes.end as usize].to_vec()
    }

    pub(crate) fn hashes(&self, blocks: Range<u32>) -> Vec<BlockHash> {
        let hash = |block| tree::hash_block(&self.geometry(), block, &self.bytes(block..block + 1));
        blocks.map(hash).collect()
    }

    pub(crate) fn statement(&self, blocks: Range<u32>) -> Statement {
        Statement {
            group: self.group,
            key: self.key,
            length: self.entity.length,
            first_block: blocks.start,
            count: blocks.end - blocks.start,
            run: tree::run_hash(blocks.start, &self.hashes(blocks)),
            time: 1_800_000_000,
            transport: Transport::Https,
            validator: 1,
            signer: NodeId([0; 32]),
        }
    }

    pub(crate) fn endorsed(&self, group: &Group, signer: &Identity, blocks: Range<u32>) -> EndorsedStatement {
        let certificate = group.certify(signer).expect("certifies").certificate.to_vec();
        EndorsedStatement { signed: self.statement(blocks).sign(signer.signing_key()), certificate }
    }

    pub(crate) fn header(&self, group: &Group, signer: &Identity, blocks: Range<u32>) -> RunHeader {
        RunHeader {
            hashes_from: blocks.start,
            hashes: self.hashes(blocks.clone()),
            send: blocks.clone(),
            statements: vec![self.endorsed(group, signer, blocks)],
        }
    }
}

/// The bytes of a whole answer with one run.
pub(crate) fn answer(header: RunHeader, bytes: &[u8]) -> Vec<u8> {
    let mut answer = frame(&ReadReply::Run(header));
    answer.extend_from_slice(bytes);
    answer.extend_from_slice(&frame(&ReadReply::End));
    answer
}

pub(crate) fn frame(reply: &ReadReply) -> Vec<u8> {
    encode_frame(reply).expect("fits a frame")
}
