//! Members for tests: real QUIC on loopback, a real store in a directory of its own.

use eddy_cache::{
    Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, Source, Store, StoreConfig, StoredStatement, WriteError,
};
use eddy_content::{BlockSet, Entity, ResourceUrl, Validator};
use eddy_engine::Peer;
use eddy_engine::port::Proof;
use eddy_node::group::{Group, Overwrite};
use eddy_node::identity::Identity;
use eddy_node::peer::{Limits, Patience, PeerEvent, PeerRead, Peers, PeersConfig, Piece, ReadFailure};
use eddy_wire::NodeId;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Beyond this a test has failed; nothing waits for it to pass.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
pub(crate) const BLOCK: usize = 64 * 1024;

/// A node with a key, a store and peers.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) events: Receiver<PeerEvent>,
    pub(crate) group: Group,
    home: TempDir,
}

/// How a fetch from a peer ended.
#[derive(Debug)]
pub(crate) enum Failure {
    Read(ReadFailure),
    Write(WriteError),
}

pub(crate) fn group() -> Group {
    let home = TempDir::new().expect("a directory");
    Group::init(home.path(), Overwrite::Refuse).expect("a group")
}

/// An entity of `length` bytes; another `name` is another URL.
pub(crate) fn entity(name: &str, length: usize) -> Entity {
    let url = format!("https://origin.example/{name}");
    Entity {
        url: ResourceUrl::parse(&url).expect("parses"),
        validator: Validator::StrongEtag("\"v1\"".into()),
        length: length as u64,
    }
}

/// Bytes that no block repeats.
pub(crate) fn content(length: usize, seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut output = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    output.fill(&mut bytes);
    bytes
}

/// Short deadlines, so that silence is noticed within a test.
pub(crate) fn impatient() -> Patience {
    let short = Duration::from_millis(400);
    Patience { handshake: SOON, answer: SOON, stall: short, turn: short, reader: short }
}

impl Member {
    pub(crate) async fn start(group: &Group) -> Self {
        Self::start_with(group, Limits::default(), Patience::default()).await
    }

    pub(crate) async fn start_with(group: &Group, limits: Limits, patience: Patience) -> Self {
        let home = TempDir::new().expect("a directory");
        let identity = Identity::load_or_create(home.path()).expect("a key");
        Self::start_at(home, identity, group, limits, patience).await
    }

    /// A node whose key and group lie in `home` already.
    pub(crate) async fn start_at(
        home: TempDir,
        identity: Identity,
        group: &Group,
        limits: Limits,
        patience: Patience,
    ) -> Self {
        let mut config = StoreConfig::new(home.path().join("cache"));
        (config.quota, config.reserve) = (Quota::Bytes(8 << 30), Reserve::Bytes(0));
        let store = Store::open(config).expect("a store");
        store.set_lookup_secret(Some(group.lookup_secret())).expect("keeps the secret");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let records = Some(home.path().to_path_buf());
        let config = PeersConfig { listen, limits, patience, records, ..PeersConfig::default() };
        let (peers, events) =
            Peers::start(config, &identity, group, store.clone(), CancellationToken::new()).await.expect("starts");
        Self { identity, store, peers, events, group: group.clone(), home }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.identity.node_id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.peers.port()))
    }

    /// Connects and waits until both ends know it.
    pub(crate) async fn meet(&mut self, other: &mut Self) {
        let node = self.peers.connect(other.address(), Some(other.node())).await.expect("connects");
        assert_eq!(node, other.node());
        let (here, there) = (self.event().await, other.event().await);
        assert!(matches!(here, PeerEvent::Up { node, .. } if node == other.node()), "{here:?}");
        assert!(matches!(there, PeerEvent::Up { node, .. } if node == self.node()), "{there:?}");
    }

    pub(crate) async fn event(&mut self) -> PeerEvent {
        timeout(SOON, self.events.recv()).await.expect("an event in time").expect("peers live")
    }

    /// Makes room for an entity.
    pub(crate) fn begin(&self, entity: &Entity) -> EntityHandle {
        self.begin_as(entity, Privacy::Shareable)
    }

    pub(crate) fn begin_as(&self, entity: &Entity, privacy: Privacy) -> EntityHandle {
        let new = NewEntity {
            entity: entity.clone(),
            requested_url: entity.url.clone(),
            privacy,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        self.store.begin(new).expect("room")
    }

    /// Puts blocks into the store as if the origin had sent them to this node.
    pub(crate) fn fetched_from_origin(&self, entity: &Entity, content: &[u8], blocks: Range<u32>) -> EntityHandle {
        let handle = self.begin(entity);
        let bytes = handle.geometry().bytes_of(blocks.clone());
        let mut writer = handle.writer(blocks.start, Source::Origin { https: true }, ACCOUNT);
        writer.push(&content[bytes.start as usize..bytes.end as usize]).expect("writes");
        writer.finish().expect("finishes");
        handle.commit().expect("commits");
        handle
    }

    /// What a driver does: reads blocks from a peer, holds them against the hashes, keeps what is right.
    ///
    /// Gives the blocks that were committed, whatever happened after them.
    pub(crate) async fn fetch(
        &self,
        from: NodeId,
        entity: &Entity,
        blocks: Range<u32>,
    ) -> (BlockSet, Result<(), Failure>) {
        let handle = self.begin(entity);
        let outcome = self.pump(&handle, from, entity, blocks).await;
        (handle.commit().expect("commits"), outcome)
    }

    /// Asks a member who signed for blocks that are held already, and keeps what it says; how many statements were new.
    pub(crate) async fn fetch_statements(&self, from: NodeId, entity: &Entity, blocks: Range<u32>) -> usize {
        let proof = Proof { needed: 1, ask: vec![Peer(from.0)] };
        let heard = self.peers.vouch(entity, blocks, &proof).await;
        let stored = |claim: &eddy_wire::statement::Claim| {
            let run = claim.blocks();
            StoredStatement { first_block: run.start, count: run.end - run.start, bytes: claim.endorsed.encode() }
        };
        let handle = self.begin(entity);
        let new = handle.put_statements(&heard.claims.iter().map(stored).collect::<Vec<_>>());
        handle.commit().expect("commits");
        new
    }

    async fn pump(
        &self,
        handle: &EntityHandle,
        from: NodeId,
        entity: &Entity,
        blocks: Range<u32>,
    ) -> Result<(), Failure> {
        let read = self.peers.read(from, entity, blocks).await.map_err(Failure::Read)?;
        self.take(handle, read).await
    }

    /// Keeps what a read brings.
    pub(crate) async fn take(&self, handle: &EntityHandle, mut read: PeerRead) -> Result<(), Failure> {
        let from = read.node();
        let mut writer = None;
        while let Some(piece) = read.next().await.map_err(Failure::Read)? {
            match piece {
                Piece::Run { first_block, hashes, statements, .. } => {
                    handle.put_statements(&statements);
                    let source = Source::Peer { node: from.0 };
                    writer = Some(handle.writer(first_block, source, ACCOUNT).expect(hashes));
                }
                Piece::Bytes(bytes) => {
                    let writer = writer.as_mut().expect("hashes come first");
                    for chunk in &bytes {
                        writer.push(chunk).map_err(Failure::Write)?;
                    }
                }
            }
        }
        writer.map_or(Ok(()), |writer| writer.finish().map(|_| ()).map_err(Failure::Write))
    }

    /// Flips a bit in the data file, behind the store's back.
    pub(crate) fn rot(&self, entity: &Entity, at: usize) {
        use std::os::unix::fs::FileExt;
        let id = entity.id().to_string();
        let directory = self.home.path().join("cache/entities").join(&id[..2]);
        let is_data = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "data");
        let entries = std::fs::read_dir(directory).expect("there").map(|entry| entry.expect("readable").path());
        let path = entries.into_iter().find(is_data).expect("the data file");
        let file = std::fs::File::options().read(true).write(true).open(path).expect("opens");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).expect("reads");
        file.write_all_at(&[byte[0] ^ 1], at as u64).expect("writes");
    }

    /// Everything that is held, read back.
    pub(crate) fn held_bytes(&self, entity: &Entity) -> Vec<(u32, Vec<u8>)> {
        let handle = self.store.find(&entity.id()).expect("the store works").expect("is there");
        let held = handle.held();
        let mut bytes = Vec::new();
        for block in held.runs().flatten() {
            let mut buffer = Vec::new();
            handle.read_run(block..block + 1, &mut buffer).expect("reads");
            bytes.push((block, buffer));
        }
        bytes
    }

    /// Asserts that every held block is the origin's.
    pub(crate) fn assert_true(&self, entity: &Entity, content: &[u8]) {
        for (block, bytes) in self.held_bytes(entity) {
            let start = block as usize * BLOCK;
            assert!(content[start..start + bytes.len()] == bytes[..], "block {block} is wrong");
        }
    }
}
