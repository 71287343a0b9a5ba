//! What a peer transfer costs over a bare QUIC stream: read, hashed, proven, sent, verified, written and committed.
//!
//! Rounds of the two take turns, since the machine may be shared; medians are compared. `EDDY_BENCH_MIB` (1024) is the
//! size, `EDDY_BENCH_ROUNDS` (5) the number of rounds, `EDDY_BENCH_STREAMS` (3) the reads in flight of a transfer.

use bytes::Bytes;
use eddy_cache::{Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, RunWriter, Source, Store, StoreConfig};
use eddy_content::{Entity, ResourceUrl, Validator};
use eddy_node::group::{Group, Overwrite};
use eddy_node::identity::Identity;
use eddy_node::peer::{MAX_READ_BLOCKS, Peers, PeersConfig, Piece, socket, transport};
use eddy_wire::NodeId;
use futures::StreamExt;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
const MIB: usize = 1 << 20;
/// Pieces that wait for the disk: 2 MiB.
const QUEUE: usize = 8;

/// What a round took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise).max(1)
    };
    let (size, rounds) = (number("EDDY_BENCH_MIB", 1024) * MIB, number("EDDY_BENCH_ROUNDS", 5));
    let streams = number("EDDY_BENCH_STREAMS", 3);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(compare(size, rounds, streams));
}

async fn compare(size: usize, rounds: usize, streams: usize) {
    let home = TempDir::new().expect("a directory");
    let group = Group::init(home.path(), Overwrite::Refuse).expect("a group");
    let server = Node::start(&group).await;
    let entity = server.hold(size);
    println!("{} MiB, {streams} reads in flight, {rounds} rounds", size / MIB);
    let (mut bare, mut peer) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        bare.push(bare_stream(&group, size).await);
        peer.push(server.transfer(&group, &entity, streams).await);
        println!("round {round}: bare {}, peer {}", show(bare[round - 1], size), show(peer[round - 1], size));
    }
    let (bare, peer) = (median(bare), median(peer));
    println!("bare QUIC stream          {}", show(bare, size));
    println!("verified and committed    {}", show(peer, size));
    println!("ratio of speed {:.2}", bare.wall.as_secs_f64() / peer.wall.as_secs_f64());
}

fn show(cost: Cost, size: usize) -> String {
    let gib = size as f64 / (1 << 30) as f64;
    let speed = size as f64 / MIB as f64 / cost.wall.as_secs_f64();
    format!("{speed:6.0} MiB/s {:5.2} CPU-s/GiB", cost.cpu.as_secs_f64() / gib)
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    let wall = costs[costs.len() / 2].wall;
    costs.sort_by_key(|cost| cost.cpu);
    Cost { wall, cpu: costs[costs.len() / 2].cpu }
}

async fn measured<T>(work: impl Future<Output = T>) -> (Cost, T) {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let outcome = work.await;
    (Cost { wall: wall.elapsed(), cpu: cpu_time() - cpu }, outcome)
}

/// CPU time of all threads of this process.
fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// One connection with eddy's settings, one stream, memory to nowhere.
async fn bare_stream(group: &Group, size: usize) -> Cost {
    let home = TempDir::new().expect("a directory");
    let shown = group.certify(&Identity::load_or_create(home.path()).expect("a key")).expect("certifies");
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(group.ca()).expect("an authority");
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![shown.certificate], shown.key)
        .expect("a key");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let transport = Arc::new(transport::transport());
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).expect("QUIC")));
    server.transport_config(Arc::clone(&transport));
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("QUIC")));
    client.transport_config(transport);
    let endpoint = |config| {
        let socket = socket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("binds");
        Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime)).expect("an endpoint")
    };
    let (from, to) = (endpoint(Some(server)), endpoint(None));
    let address = from.local_addr().expect("bound");
    let (cost, ()) = measured(async move {
        let sender = tokio::spawn(async move {
            let connection = from.accept().await.expect("comes").await.expect("shakes hands");
            let (mut send, _receive) = connection.accept_bi().await.expect("opens");
            let chunk = Bytes::from(vec![7; MIB / 2]);
            for _ in 0..size / chunk.len() {
                send.write_chunk(chunk.clone()).await.expect("sends");
            }
            send.finish().expect("ends");
            let _ = send.stopped().await;
        });
        let connection =
            to.connect_with(client, address, "member.eddy.invalid").expect("dials").await.expect("connects");
        let (mut send, mut receive) = connection.open_bi().await.expect("opens");
        send.write_all(b"x").await.expect("asks");
        let mut received = 0;
        while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.expect("receives") {
            received += chunk.bytes.len();
        }
        assert_eq!(received, size / (MIB / 2) * (MIB / 2));
        sender.await.expect("ends");
    })
    .await;
    cost
}

/// A member with a store.
struct Node {
    peers: Peers,
    store: Store,
    identity: Identity,
    _home: TempDir,
}

impl Node {
    async fn start(group: &Group) -> Self {
        let home = TempDir::new().expect("a directory");
        let identity = Identity::load_or_create(home.path()).expect("a key");
        let mut config = StoreConfig::new(home.path().join("cache"));
        (config.quota, config.reserve) = (Quota::Bytes(64 << 30), Reserve::Bytes(0));
        let store = Store::open(config).expect("a store");
        store.set_lookup_secret(Some(group.lookup_secret())).expect("keeps the secret");
        let config = PeersConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..PeersConfig::default() };
        let stop = CancellationToken::new();
        let (peers, mut events) = Peers::start(config, &identity, group, store.clone(), stop).await.expect("starts");
        tokio::spawn(async move { while events.recv().await.is_some() {} });
        Self { peers, store, identity, _home: home }
    }

    fn begin(&self, entity: &Entity) -> EntityHandle {
        let new = NewEntity {
            entity: entity.clone(),
            requested_url: entity.url.clone(),
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        self.store.begin(new).expect("room")
    }

    /// Puts an entity of `size` bytes into the store as if the origin had sent it.
    fn hold(&self, size: usize) -> Entity {
        let entity = Entity {
            url: ResourceUrl::parse("https://origin.example/image").expect("parses"),
            validator: Validator::StrongEtag("\"v1\"".into()),
            length: size as u64,
        };
        let handle = self.begin(&entity);
        let mut writer = handle.writer(0, Source::Origin { https: true }, ACCOUNT);
        let mut output = blake3::Hasher::new().finalize_xof();
        let mut chunk = vec![0; MIB];
        for _ in 0..size / MIB {
            output.fill(&mut chunk);
            writer.push(&chunk).expect("writes");
        }
        writer.finish().expect("ends");
        handle.commit().expect("commits");
        entity
    }

    /// A new member gets the whole entity from this one.
    async fn transfer(&self, group: &Group, entity: &Entity, streams: usize) -> Cost {
        let reader = Self::start(group).await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.peers.port()));
        let handle = reader.begin(entity);
        let (cost, ()) = measured(async {
            let node = reader.peers.connect(address, Some(self.identity.node_id())).await.expect("connects");
            let count = handle.geometry().block_count();
            let runs = (0..count).step_by(MAX_READ_BLOCKS as usize);
            futures::stream::iter(runs.map(|start| start..(start + MAX_READ_BLOCKS).min(count)))
                .map(|run| tokio::spawn(read_run(reader.peers.clone(), node, handle.clone(), entity.clone(), run)))
                .buffer_unordered(streams)
                .for_each(|read| async { read.expect("goes well") })
                .await;
            handle.commit().expect("commits");
        })
        .await;
        assert!(handle.is_complete());
        reader.peers.clone().close().await;
        cost
    }
}

/// Pumps one read into the store: the reactor gathers, a blocking thread hashes and writes.
async fn read_run(peers: Peers, node: NodeId, handle: EntityHandle, entity: Entity, blocks: Range<u32>) {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let written = tokio::task::spawn_blocking(move || write_pieces(&handle, node, queue));
    let mut read = peers.read(node, &entity, blocks).await.expect("is served");
    while let Some(piece) = read.next().await.expect("goes well") {
        pieces.send(piece).await.expect("is written");
    }
    drop(pieces);
    written.await.expect("writes");
}

fn write_pieces(handle: &EntityHandle, node: NodeId, mut queue: mpsc::Receiver<Piece>) {
    let mut writer: Option<RunWriter> = None;
    while let Some(piece) = queue.blocking_recv() {
        match piece {
            Piece::Run { first_block, hashes, statements } => {
                if let Some(done) = writer.take() {
                    done.finish().expect("ends");
                }
                handle.put_statements(&statements);
                writer = Some(handle.writer(first_block, Source::Peer { node: node.0 }, ACCOUNT).expect(hashes));
            }
            Piece::Bytes(bytes) => {
                let pushed = writer.as_mut().expect("hashes come first").push(&bytes).expect("is right");
                if pushed.commit_due {
                    handle.commit().expect("commits");
                }
            }
        }
    }
    writer.map(|writer| writer.finish().expect("ends"));
}
