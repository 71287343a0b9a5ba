//! A file from a neighbour over a veth pair, by two real nodes, against a bare QUIC stream over the same pair.
//!
//! Asked for over the control socket, looked up, proven, verified, stored, made durable and delivered, against bytes from
//! memory to nowhere. Rounds take turns; each round's reader is a new node with an empty store. `EDDY_BENCH_MIB` (1024) and
//! `EDDY_BENCH_ROUNDS` (5) set size and number. Needs root, and `cargo build --release -p eddy-cli` before.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use bytes::Bytes;
use eddy_node::peer::{socket, transport};
use eddy_tests::lab::{self, Host, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, from_environment, hash_of, write_sample};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the project wants to hold.
const BOUND: f64 = 0.7;
const NAME: &str = "bench.invalid";
const PORT: u16 = 17_900;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    if let Ok(role) = std::env::var("EDDY_BENCH_ROLE") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(bare(&role));
    }
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_BENCH_MIB", 1024) * MIB;
    let rounds = from_environment("EDDY_BENCH_ROUNDS", 5);
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let (giver, taker) = (lab.host(0), lab.host(1));
    let folder = tempfile::tempdir().unwrap();

    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big"), 1, length).unwrap();
    let url = origin.url("big");
    let node = Eddy::on(giver).unwrap();
    let secret = node.found_group().unwrap();
    let _daemon = node.daemon().unwrap();
    node.get(&url, &folder.path().join("first")).unwrap();

    let certificates = Credentials::make(folder.path());
    let (mut bare_times, mut eddy_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        bare_times.push(certificates.bare_round(giver, taker, length));
        eddy_times.push(eddy_round(taker, &secret, &url, folder.path(), hash));
        let (bare, eddy) = (bare_times[round as usize], eddy_times[round as usize]);
        println!("round {round}: bare QUIC {}, eddy {}", speed(length, bare), speed(length, eddy));
    }
    let (bare, eddy) = (median(bare_times), median(eddy_times));
    println!("medians of {} MiB: bare QUIC {}, eddy {}", length / MIB, speed(length, bare), speed(length, eddy));
    println!("ratio of speed {:.2} (wanted: at least {BOUND})", bare.as_secs_f64() / eddy.as_secs_f64());
}

fn speed(length: u64, time: Duration) -> String {
    format!("{:.2} s = {:.0} MiB/s", time.as_secs_f64(), (length / MIB) as f64 / time.as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A new node takes the file from its neighbour.
fn eddy_round(taker: &Host, secret: &str, url: &str, folder: &Path, hash: blake3::Hash) -> Duration {
    let node = Eddy::on(taker).unwrap();
    node.join_group(secret).unwrap();
    let _daemon = node.daemon().unwrap();
    node.wait_peers(1, PATIENCE).unwrap();
    let to = folder.join("second");
    let begin = Instant::now();
    node.get(url, &to).unwrap();
    let took = begin.elapsed();
    assert_eq!(hash_of(&to).unwrap(), hash, "another file was delivered");
    let report = node.report().unwrap();
    assert_eq!(report.totals.received.origin, 0, "the origin sent bytes");
    std::fs::remove_file(to).unwrap();
    took
}

/// A certificate on disk that both roles of the bare stream read.
struct Credentials {
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
}

impl Credentials {
    fn make(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (certificate, key) = (folder.join("bare.der"), folder.join("bare.key"));
        std::fs::write(&certificate, made.cert.der()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_der()).unwrap();
        Self { certificate, key }
    }

    fn role(&self, host: &Host, role: &str, length: u64, to: Ipv4Addr) -> std::process::Command {
        let mut command = host.command(std::env::current_exe().unwrap());
        command.env("EDDY_BENCH_ROLE", role).env("EDDY_BENCH_LENGTH", length.to_string());
        command.env("EDDY_BENCH_TO", SocketAddr::from((to, PORT)).to_string());
        command.env("EDDY_BENCH_CERTIFICATE", &self.certificate).env("EDDY_BENCH_KEY", &self.key);
        command.stdout(Stdio::piped());
        command
    }

    fn bare_round(&self, giver: &Host, taker: &Host, length: u64) -> Duration {
        let mut server = Running::start(self.role(giver, "give", length, giver.address())).unwrap();
        server.wait_line("ready", PATIENCE).unwrap();
        let taken = self.role(taker, "take", length, giver.address()).output().unwrap();
        server.wait(PATIENCE).unwrap();
        let text = String::from_utf8(taken.stdout).unwrap();
        Duration::from_secs_f64(text.trim().parse().unwrap())
    }
}

/// One side of a bare QUIC stream with the settings of eddy's peers.
async fn bare(role: &str) {
    let variable = |name: &str| std::env::var(name).unwrap();
    let length: u64 = variable("EDDY_BENCH_LENGTH").parse().unwrap();
    let to: SocketAddr = variable("EDDY_BENCH_TO").parse().unwrap();
    let certificate =
        rustls::pki_types::CertificateDer::from(std::fs::read(variable("EDDY_BENCH_CERTIFICATE")).unwrap());
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let chunk = Bytes::from(vec![7; MIB as usize / 2]);
    if role == "give" {
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(std::fs::read(variable("EDDY_BENCH_KEY")).unwrap()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
        server.transport_config(Arc::new(transport::transport()));
        let socket = socket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))).unwrap();
        let from = Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime)).unwrap();
        println!("ready");
        let connection = from.accept().await.unwrap().await.unwrap();
        let (mut send, _receive) = connection.accept_bi().await.unwrap();
        for _ in 0..length / chunk.len() as u64 {
            send.write_chunk(chunk.clone()).await.unwrap();
        }
        send.finish().unwrap();
        let _ = send.stopped().await;
        return;
    }
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).unwrap()));
    client.transport_config(Arc::new(transport::transport()));
    let socket = socket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let here = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).unwrap();
    let begin = Instant::now();
    let connection = here.connect_with(client, to, NAME).unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut received = 0;
    while let Some(chunk) = receive.read_chunk(usize::MAX, true).await.unwrap() {
        received += chunk.bytes.len() as u64;
    }
    assert_eq!(received, length);
    println!("{}", begin.elapsed().as_secs_f64());
}
