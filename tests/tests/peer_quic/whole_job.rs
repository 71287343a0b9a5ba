//! A whole job with a liar in the group: a real node, a real origin, and a member that flips one bit in whatever it sends.

use crate::kit::SOON;
use crate::wire::{Truth, acceptor, answer, identity};
use eddy_content::{BlockSet, Entity, ResourceUrl, Validator};
use eddy_node::config::{Network, NodeConfig, RunsAs, Settings};
use eddy_node::control::{Client, socket_of};
use eddy_node::group::{Group, Overwrite};
use eddy_node::identity::Identity;
use eddy_node::node::Node;
use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_wire::NodeId;
use eddy_wire::api::{FileSpec, Finish, JobSpec, JobState, JobView, PeerUse, Priority};
use eddy_wire::frame::{Answer, Answers, Request, StreamKind, Vouched, decode_frame, encode_frame};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Forty blocks and a bit.
const LENGTH: u64 = 40 * 65536 + 777;

/// What a member says by stopping a stream of swarms.
const DEAF: quinn::VarInt = quinn::VarInt::from_u32(19);

/// A member that holds everything and flips one bit in each read.
struct Liar {
    node: NodeId,
    address: SocketAddr,
    lies: Arc<AtomicU64>,
}

impl Liar {
    fn start(group: Group, entity: Entity, content: Arc<Vec<u8>>, seed: u64) -> Self {
        let identity = identity();
        let endpoint = acceptor(&group, &identity);
        let (node, address) = (identity.node_id(), endpoint.local_addr().expect("bound"));
        let lies = Arc::new(AtomicU64::new(0));
        let told = lies.clone();
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else { continue };
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    let mut kind = [0];
                    if receive.read_exact(&mut kind).await.is_err() || kind[0] == StreamKind::Swarm.byte() {
                        // It takes part in no swarm, and says so.
                        let _ = receive.stop(DEAF);
                        continue;
                    }
                    let Ok(question) = receive.read_to_end(1 << 20).await else { continue };
                    let Ok(request) = decode_frame::<Request>(&question) else { continue };
                    let reply = lie(&group, &identity, &entity, &content, request, &mut random, &told);
                    let _ = send.write_all(&reply).await;
                    let _ = send.finish();
                }
            }
        });
        Self { node, address, lies }
    }
}

fn lie(
    group: &Group,
    identity: &Identity,
    entity: &Entity,
    content: &[u8],
    request: Request,
    random: &mut StdRng,
    told: &AtomicU64,
) -> Vec<u8> {
    let key = entity.lookup_key(&group.lookup_secret());
    let truth = Truth { group: group.id(), key, entity, content };
    match request {
        Request::Ask { keys } => {
            let blocks = BlockSet::from_run(truth.geometry().all_blocks());
            let holds = Answer::Holds { length: entity.length, blocks };
            encode_frame(&Answers(vec![holds; keys.len()])).expect("fits a frame")
        }
        Request::Vouch { .. } => encode_frame(&Vouched::default()).expect("fits a frame"),
        Request::Read { blocks, .. } | Request::Follow { blocks, .. } => {
            told.fetch_add(1, Ordering::Relaxed);
            let mut bytes = truth.bytes(blocks.clone());
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
            answer(truth.header(group, identity, blocks), &bytes)
        }
    }
}

/// What the node's log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn start(home: &Path, liars: &[Liar]) -> Node {
    let mut settings = Settings::default();
    settings.peers.known = liars.iter().map(|liar| liar.address.to_string()).collect();
    start_with(home, settings).await
}

/// A node whose peers are those that the settings name.
pub(crate) async fn start_with(home: &Path, mut settings: Settings) -> Node {
    settings.cache.quota = Some("1 GiB".to_owned());
    settings.cache.reserve = Some("1 MiB".to_owned());
    settings.peers.mdns = Some(false);
    settings.peers.listen = Some("127.0.0.1:0".parse().expect("an address"));
    let (home, socket) = (home.to_path_buf(), socket_of(home));
    let config = NodeConfig {
        config: home.join("eddy.toml"),
        home,
        socket,
        network: Network::Full,
        runs_as: RunsAs::Inside,
        settings,
        given: None,
    };
    Node::start(config).await.expect("starts")
}

pub(crate) async fn fetch(client: &Client, url: &str, destination: &Path) -> JobView {
    let file = FileSpec {
        url: url.to_owned(),
        destination: destination.display().to_string(),
        digest: None,
        overwrite: true,
        ranges: Vec::new(),
        on_demand: false,
    };
    let spec = JobSpec {
        files: vec![file],
        name: None,
        priority: Priority::Foreground,
        peers: PeerUse::default(),
        start: true,
        finish: Finish::Auto,
        asking: None,
        adopt: false,
        followed: true,
        terms: eddy_wire::api::Terms::default(),
    };
    let job = client.create_job(&spec).await.expect("a job");
    let mut watch = client.watch(&job.id).await.expect("watches");
    let mut last = job;
    while let Ok(Some(view)) = watch.next().await {
        last = view;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_liars_ends_byte_exact_and_the_log_names_them() {
    let log = Log::default();
    let writer = log.clone();
    let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).try_init();
    let origin = HostileOrigin::start().await.expect("an origin");
    let version = Version::new(7, LENGTH);
    let content = Arc::new(version.whole());
    origin.publish("/file", Resource::new(version, Behaviour::default()));
    let url = origin.url("/file");
    let head = reqwest::get(&url).await.expect("answers");
    let etag = head.headers()["etag"].to_str().expect("text").to_owned();
    drop(head);
    let entity = Entity {
        url: ResourceUrl::parse(&url).expect("parses"),
        validator: Validator::StrongEtag(etag),
        length: LENGTH,
    };
    let home = tempfile::tempdir().expect("a folder");
    let group = Group::init(home.path(), Overwrite::Refuse).expect("a group");
    let liars: Vec<Liar> =
        (0..4).map(|seed| Liar::start(group.clone(), entity.clone(), content.clone(), seed)).collect();
    let node = start(home.path(), &liars).await;
    let client = Client::new(node.socket()).expect("a client");
    let connected = async {
        while client.peers().await.expect("peers").peers.len() < liars.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, connected).await.expect("the liars are members, so they are met");

    let folder = tempfile::tempdir().expect("a folder");
    let destination = folder.path().join("file");
    let job = tokio::time::timeout(SOON, fetch(&client, &url, &destination)).await.expect("ends in time");

    assert_eq!(job.state, JobState::Acknowledged, "{:?}", job.error);
    assert!(*content == std::fs::read(&destination).expect("delivered"), "a wrong byte was delivered");
    assert!(liars.iter().any(|liar| liar.lies.load(Ordering::Relaxed) > 0), "nobody was asked to lie");
    let text = String::from_utf8_lossy(&log.0.lock().expect("not poisoned")).into_owned();
    for liar in liars.iter().filter(|liar| liar.lies.load(Ordering::Relaxed) > 0) {
        assert!(text.contains(&liar.node.to_string()), "the log does not name {}:\n{text}", liar.node);
    }
    let report = client.report(&Default::default()).await.expect("reports");
    assert_eq!(report.totals.identity(), eddy_wire::api::Identity::Closes, "{:?}", report.totals);
    assert!(report.totals.wasted.corrupt > 0, "the lies are accounted for: {:?}", report.totals);
    node.shutdown().await;
}
