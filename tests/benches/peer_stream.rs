//! What a peer transfer costs over stock quinn, both ends in one process: read, hashed, proven, sent, verified, written and
//! committed, against bytes from memory that are hashed and written ([`kit::bare`]).
//!
//! Rounds of the contenders take turns, since the machine may be shared; medians are compared. `EDDY_BENCH_MIB` (1024) is the
//! size, `EDDY_BENCH_ROUNDS` (5) the number of rounds, `EDDY_BENCH_STREAMS` (3) the reads in flight of a transfer,
//! `EDDY_BENCH_ASKS` (300) the single blocks that are asked for in a round.

mod kit;

use eddy_cache::{Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, RunWriter, Source, Store, StoreConfig};
use eddy_content::{BLOCK_SIZE, Entity, Geometry, ResourceUrl, Validator, tree};
use eddy_node::group::{Group, Overwrite};
use eddy_node::identity::Identity;
use eddy_node::peer::{MAX_READ_BLOCKS, Peers, PeersConfig, Piece};
use eddy_wire::NodeId;
use futures::StreamExt;
use kit::bare::{Credentials, Tuning, ask, give, take};
use kit::{Cost, measured, median, p50, ratios};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
const MIB: usize = 1 << 20;
/// Pieces that wait for the disk: 2 MiB.
const QUEUE: usize = 8;
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn main() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise).max(1)
    };
    let (size, rounds) = (number("EDDY_BENCH_MIB", 1024) * MIB, number("EDDY_BENCH_ROUNDS", 5));
    let (streams, asks) = (number("EDDY_BENCH_STREAMS", 3), number("EDDY_BENCH_ASKS", 300));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(compare(size, rounds, streams, asks as u32));
}

async fn compare(size: usize, rounds: usize, streams: usize, asks: u32) {
    let home = TempDir::new().expect("a directory");
    let group = Group::init(home.path(), Overwrite::Refuse).expect("a group");
    let server = Node::start(&group).await;
    let entity = server.hold(size);
    println!("{} MiB, {streams} reads in flight, {rounds} rounds", size / MIB);
    let (mut stock, mut tuned, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_blocks, mut peer_blocks) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        stock.push(bare_stream(Tuning::Stock, size).await);
        peer.push(server.transfer(&group, &entity, streams).await);
        tuned.push(bare_stream(Tuning::Tuned, size).await);
        bare_blocks.extend(bare_asks(asks).await);
        peer_blocks.extend(server.single_blocks(&group, &entity, asks).await);
        let show = |costs: &[Cost]| costs[round - 1].show(size as u64);
        println!("round {round}: stock {}, tuned {}, peer {}", show(&stock), show(&tuned), show(&peer));
    }
    let (stock, tuned, peer) = (median(stock), median(tuned), median(peer));
    println!("stock quinn, hashed and written       {}", stock.show(size as u64));
    println!("tuned quinn, hashed and written       {}", tuned.show(size as u64));
    println!(
        "peer, verified and committed          {}: {} of stock, {} of tuned",
        peer.show(size as u64),
        ratios(peer, stock),
        ratios(peer, tuned)
    );
    let (bare, peer) = (p50(bare_blocks), p50(peer_blocks));
    println!(
        "64 KiB, p50: stock quinn {bare:?}, verified from a peer {peer:?}: {:.2} of its time",
        peer.as_secs_f64() / bare.as_secs_f64()
    );
}

/// One connection and one stream of stock quinn.
async fn bare_stream(tuning: Tuning, size: usize) -> Cost {
    let home = TempDir::new().expect("a directory");
    let credentials = Credentials::make();
    let giver = credentials.giver(LOOPBACK, tuning);
    let address = giver.local_addr().expect("bound");
    let giving =
        tokio::spawn(async move { give(giver.accept().await.expect("comes").await.expect("shakes hands")).await });
    let (cost, ()) = measured(async {
        let (_here, connection) = credentials.connect(LOOPBACK, address, tuning).await;
        take(&connection, size as u64, &home.path().join("taken")).await;
    })
    .await;
    giving.await.expect("ends");
    cost
}

/// Requests of 64 KiB over a warm connection of stock quinn.
async fn bare_asks(count: u32) -> Vec<Duration> {
    let credentials = Credentials::make();
    let giver = credentials.giver(LOOPBACK, Tuning::Stock);
    let address = giver.local_addr().expect("bound");
    let giving =
        tokio::spawn(async move { give(giver.accept().await.expect("comes").await.expect("shakes hands")).await });
    let (here, connection) = credentials.connect(LOOPBACK, address, Tuning::Stock).await;
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        ask(&connection, BLOCK_SIZE).await;
        times.push(begin.elapsed());
    }
    drop((connection, here));
    giving.await.expect("ends");
    times
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

    /// Single blocks over a warm connection, each asked for after the last, and held against its believed hash.
    async fn single_blocks(&self, group: &Group, entity: &Entity, count: u32) -> Vec<Duration> {
        let reader = Self::start(group).await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.peers.port()));
        let node = reader.peers.connect(address, Some(self.identity.node_id())).await.expect("connects");
        let mut times = Vec::new();
        for block in (0..count).map(|number| number * 37 % (entity.length / BLOCK_SIZE) as u32) {
            let begin = Instant::now();
            let mut read = reader.peers.read(node, entity, block..block + 1).await.expect("is served");
            let mut expected = Vec::new();
            let mut bytes = Vec::with_capacity(BLOCK_SIZE as usize);
            while let Some(piece) = read.next().await.expect("goes well") {
                match piece {
                    Piece::Run { hashes, .. } => expected = hashes,
                    Piece::Bytes(chunks) => chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk)),
                }
            }
            let geometry = Geometry::new(entity.length).expect("fits");
            assert_eq!(expected, [tree::hash_block(&geometry, block, &bytes)]);
            times.push(begin.elapsed());
        }
        reader.peers.clone().close().await;
        times
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
            Piece::Run { first_block, hashes, statements, .. } => {
                if let Some(done) = writer.take() {
                    done.finish().expect("ends");
                }
                handle.put_statements(&statements);
                writer = Some(handle.writer(first_block, Source::Peer { node: node.0 }, ACCOUNT).expect(hashes));
            }
            Piece::Bytes(bytes) => {
                let writer = writer.as_mut().expect("hashes come first");
                for chunk in &bytes {
                    writer.push(chunk).expect("is right");
                }
                if handle.is_commit_due() {
                    handle.commit().expect("commits");
                }
            }
        }
    }
    writer.map(|writer| writer.finish().expect("ends"));
}
