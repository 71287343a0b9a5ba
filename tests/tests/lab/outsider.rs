//! Who does not have the group's secret gets a closed handshake and nothing else; and what a node logs about it, and about
//! everything else, names no secret.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, hash_of, write_sample};
use eddy_wire::api::PeerState;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

const PATIENCE: Duration = Duration::from_secs(60);
/// What a signed URL would carry.
const TOKEN: &str = "geheim0123456789";

/// Starts a daemon that logs everything that it may.
fn talkative(node: &Eddy<'_>) -> Running {
    let mut command = node.command(["daemon"]);
    command.env("EDDY_LOG", "trace");
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    daemon
}

#[test]
fn a_neighbour_of_another_group_is_no_peer_and_takes_nothing() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let length = 8 * MIB;
    let hash = write_sample(&origin.files().join("a.img"), 6, length).unwrap();
    let url = format!("{}?token={TOKEN}", origin.url("a.img"));
    let [member, outsider] = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    let secrets = [member.found_group().unwrap(), outsider.found_group().unwrap()];
    let logs = [talkative(&member), talkative(&outsider)];
    member.get(&url, &member.home().join("a")).unwrap();
    let before = origin.wait_access(PATIENCE, |log| body_bytes(log) >= length).unwrap();

    // Both have heard of each other, have tried, and were turned away.
    for node in [&member, &outsider] {
        node.wait_peers_view(PATIENCE, |view| {
            view.reason.as_deref().is_some_and(|reason| reason.contains("none has proved to be in the group"))
        })
        .unwrap();
    }
    let destination = outsider.home().join("a");
    outsider.get(&url, &destination).unwrap();
    assert_eq!(hash_of(&destination).unwrap(), hash);
    let log = origin.wait_access(PATIENCE, |log| body_bytes(&log[before.len()..]) >= length).unwrap();
    assert_eq!(body_bytes(&log[before.len()..]), length, "the outsider needs the origin for every byte");
    assert_eq!(outsider.report().unwrap().totals.received.peers, 0);
    for node in [&member, &outsider] {
        let view = node.wait_peers_view(PATIENCE, |_| true).unwrap();
        assert!(view.peers.iter().all(|peer| peer.state != PeerState::Connected && peer.sent == 0), "{view:#?}");
    }
    for log in &logs {
        assert_names_no_secret(&log.log(), &secrets);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_the_groups_certificate_sees_its_handshake_closed() {
    let node = Eddy::here().unwrap();
    let secret = node.found_group().unwrap();
    let daemon = talkative(&node);
    let port = node.status().unwrap().listen.iter().find_map(|at| at.rsplit(' ').next()?.parse().ok()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for credentials in [None, Some(stranger())] {
        let has_certificate = credentials.is_some();
        let (reason, received) = knock(address, credentials, b"eddy/1").await;
        println!("with a certificate: {has_certificate}: {reason}");
        assert!(is_closed_handshake(&reason), "{reason:?}");
        assert_eq!(received, 0, "bytes for a stranger");
    }
    // Another protocol name does not even get as far as certificates.
    let (reason, received) = knock(address, None, b"h3").await;
    assert!(is_closed_handshake(&reason), "{reason:?}");
    assert_eq!(received, 0);
    let view = node.wait_peers_view(PATIENCE, |_| true).unwrap();
    assert!(view.peers.iter().all(|peer| peer.state != PeerState::Connected), "{view:#?}");
    assert_names_no_secret(&daemon.log(), &[secret]);
}

fn assert_names_no_secret(log: &str, secrets: &[String]) {
    assert!(!log.is_empty());
    for secret in secrets {
        assert!(!log.contains(secret), "the group's secret is in the log");
        // Nor a longer piece of it, in whatever context.
        let pieces = secret.as_bytes().chunks_exact(16).skip(1);
        for piece in pieces.map(|piece| std::str::from_utf8(piece).unwrap()) {
            assert!(!log.contains(piece), "a piece of the group's secret is in the log");
        }
    }
    let told = log.lines().find(|line| line.contains(TOKEN));
    assert_eq!(told, None, "what a signed URL carries is in the log");
}

fn is_closed_handshake(reason: &ConnectionError) -> bool {
    // CRYPTO_ERROR, 0x0100 to 0x01ff: the other side's TLS said no (RFC 9001 section 4.8).
    match reason {
        ConnectionError::ConnectionClosed(close) => (0x100..0x200).contains(&u64::from(close.error_code)),
        ConnectionError::TransportError(error) => (0x100..0x200).contains(&u64::from(error.code)),
        _ => false,
    }
}

/// Connects as somebody else, asks for something, and returns why it ended and how many bytes came.
async fn knock(address: SocketAddr, credentials: Option<Credentials>, protocol: &[u8]) -> (ConnectionError, usize) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_sni = false;
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let config = QuicClientConfig::try_from(config).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let connection = match endpoint.connect(address, "eddy").unwrap().await {
        Ok(connection) => connection,
        Err(reason) => return (reason, 0),
    };
    // In TLS 1.3 the client is done before the server has looked at it: only the first answer tells.
    let mut received = 0;
    if let Ok((mut send, mut receive)) = connection.open_bi().await {
        let _ = send.write_all(&[0; 64]).await;
        let _ = send.finish();
        let mut buffer = [0; 1024];
        while let Ok(Some(count)) = receive.read(&mut buffer).await {
            received += count;
        }
    }
    (connection.closed().await, received)
}

type Credentials = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A certificate that looks like a member's and is signed by nobody.
fn stranger() -> Credentials {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["member.eddy.invalid".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// Believes every server: the stranger has nothing to lose.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
