//! Enrolment: how a machine with a code becomes a member, and how an issuer lets it in.
//!
//! The applicant knows the group's fingerprint, so it proves its token to an issuer of that group and to nobody else; the proof
//! is a signature over the channel's exported secret, so whoever hears it can do nothing with it. The issuer knows
//! the applicant by the key that the handshake proved, never by an address or a name that it claims.

use super::bounded::Bounded;
use super::close::{canonical, code};
use super::core::Core;
use super::membership::{answer_of, blocking, member_of};
use super::stream::{Input, InputError};
use super::tls::{self, NAME, TlsError};
use super::transport::transport;
use crate::group::{JoinCode, member};
use crate::identity::Identity;
use bytes::Bytes;
use ed25519_dalek::Signer;
use eddy_discovery::{Discovery, DiscoveryConfig, DiscoveryError, DiscoveryEvent, Mdns};
use eddy_wire::NodeId;
use eddy_wire::frame::{StreamKind, encode_frame};
use eddy_wire::membership::{
    Admission, ENROL_ALPN, MembershipAnswer, MembershipQuestion, MembershipRefusal, enrolment_proof,
};
use eddy_wire::statement::GroupId;
use quinn::crypto::rustls::HandshakeData;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportErrorCode};
use rustls_pki_types::CertificateDer;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{timeout, timeout_at};

/// How long one enrolment may take, at either end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an applicant looks for an issuer by multicast.
const SEARCH: Duration = Duration::from_secs(10);
/// Enrolments that are heard at a time.
const AT_A_TIME: usize = 16;
/// Wrong proofs that one address may give within a minute.
const GUESSES: u32 = 8;
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses whose wrong proofs are remembered.
const REMEMBERED: usize = 1024;
/// Sets the exported secret apart from any other use (RFC 8446 section 7.5).
const EXPORTER: &[u8] = b"EXPORTER-eddy-enrolment";
/// The alert of TLS for a protocol name that is not spoken (RFC 7301 section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Where an issuer is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// At these addresses.
    At(Vec<SocketAddr>),
    /// At these, and then wherever multicast finds a neighbour.
    Around(Vec<SocketAddr>),
}

/// Why this machine was not let in. Nothing is kept.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// An issuer of the group said no.
    #[error(transparent)]
    Refused(#[from] MembershipRefusal),
    /// Nobody of the code's group lets anybody in at the addresses that were tried.
    #[error("no issuer of the code's group answered: {tried}")]
    NobodyThere {
        /// What became of each address.
        tried: String,
    },
    /// The issuer broke the protocol, or the connection broke.
    #[error("the enrolment was not answered: {0}")]
    Broken(String),
    /// No socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] io::Error),
    /// TLS could not be set up: a fault of this node.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Discovery could not start.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
}

/// What became of one address.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("silent")]
    Silent,
    #[error("of another group, or no issuer")]
    Stranger,
    #[error("lets nobody in now: no invitation is open there")]
    Closed,
    #[error("{0}")]
    Failed(String),
}

/// Asks an issuer to be let in. Cancel safe: what was not answered is nowhere kept.
pub async fn enrol(node: &Identity, code: &JoinCode, place: &Where) -> Result<Admission, EnrolError> {
    let endpoint = Endpoint::new(
        quinn::EndpointConfig::default(),
        None,
        super::socket::bind(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)))?,
        Arc::new(quinn::TokioRuntime),
    )?;
    let (Where::At(hints) | Where::Around(hints)) = place;
    let mut tried = Vec::new();
    let mut outcome = None;
    for address in hints {
        outcome = attempt(&endpoint, node, code, *address, &mut tried).await?;
        if outcome.is_some() {
            break;
        }
    }
    if outcome.is_none() && matches!(place, Where::Around(_)) {
        outcome = search(&endpoint, node, code, &mut tried).await?;
    }
    endpoint.close(code::BYE, b"");
    let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    let nobody = || match tried.is_empty() {
        true => "none was found by multicast".to_owned(),
        false => tried.join(", "),
    };
    outcome.ok_or_else(|| EnrolError::NobodyThere { tried: nobody() })
}

/// Tries whoever multicast finds.
async fn search(
    endpoint: &Endpoint,
    node: &Identity,
    code: &JoinCode,
    tried: &mut Vec<String>,
) -> Result<Option<Admission>, EnrolError> {
    let quic_port = endpoint.local_addr()?.port();
    let (discovery, mut hints): (_, mpsc::Receiver<DiscoveryEvent>) = Discovery::start(DiscoveryConfig {
        key: node.node_id().0,
        quic_port,
        mdns: Mdns::On,
        static_peers: Vec::new(),
    })?;
    let end = tokio::time::Instant::now() + SEARCH;
    while let Ok(Some(hint)) = timeout_at(end, hints.recv()).await {
        let DiscoveryEvent::Dial { address, .. } = hint else { continue };
        if let Some(admission) = attempt(endpoint, node, code, address, tried).await? {
            return Ok(Some(admission));
        }
        discovery.on_failed(address);
    }
    Ok(None)
}

/// Tries one address; `None`, and a word in `tried`, when no issuer of the group lets anybody in there.
async fn attempt(
    endpoint: &Endpoint,
    node: &Identity,
    code: &JoinCode,
    address: SocketAddr,
    tried: &mut Vec<String>,
) -> Result<Option<Admission>, EnrolError> {
    let (tls, introduction) = tls::applicant(node, code)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    let address = reachable(endpoint, address);
    let miss = match endpoint.connect_with(config, address, NAME) {
        Ok(connecting) => match timeout(PATIENCE / 2, connecting).await {
            Ok(Ok(connection)) => {
                let Some(group) = introduction.group() else {
                    return Err(EnrolError::Broken("the issuer was not introduced".to_owned()));
                };
                return match timeout(PATIENCE, apply(&connection, node, code, group)).await {
                    Ok(admission) => admission.map(Some),
                    Err(_) => Err(EnrolError::Broken("no answer in time".to_owned())),
                };
            }
            Ok(Err(error)) => miss(&error),
            Err(_) => Miss::Silent,
        },
        Err(error) => Miss::Failed(error.to_string()),
    };
    tried.push(format!("{}: {miss}", canonical(address)));
    Ok(None)
}

/// An IPv4 address in the clothes that a socket for both wants.
fn reachable(endpoint: &Endpoint, address: SocketAddr) -> SocketAddr {
    match (endpoint.local_addr(), address.ip()) {
        (Ok(local), IpAddr::V4(ip)) if local.is_ipv6() => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}

fn miss(error: &ConnectionError) -> Miss {
    let alert = |alert: u8| TransportErrorCode::crypto(alert);
    match error {
        ConnectionError::TimedOut => Miss::Silent,
        ConnectionError::ConnectionClosed(close) if close.error_code == alert(NO_APPLICATION_PROTOCOL) => Miss::Closed,
        ConnectionError::TransportError(_) => Miss::Stranger,
        other => Miss::Failed(other.to_string()),
    }
}

/// Proves the token on a channel whose other end is an issuer of the code's group.
async fn apply(
    connection: &Connection,
    node: &Identity,
    code: &JoinCode,
    group: GroupId,
) -> Result<Admission, EnrolError> {
    let message = proof_message(connection, group, node.node_id()).map_err(EnrolError::Broken)?;
    let key = code.key();
    let proof = key.sign(&message).to_bytes();
    let question = MembershipQuestion::Enrol { invitation: key.verifying_key().to_bytes(), proof };
    let answer = super::ask::Question::put(connection, StreamKind::Membership, &question).await;
    let answer = match answer {
        Ok(mut question) => question.input.frame::<MembershipAnswer>().await,
        Err(error) => Err(error),
    };
    connection.close(code::BYE, b"");
    match answer.map_err(|error| EnrolError::Broken(error.to_string()))? {
        MembershipAnswer::Admitted(admission) => Ok(admission),
        MembershipAnswer::Refused(refusal) => Err(refusal.into()),
        _ => Err(EnrolError::Broken("another answer than to the question".to_owned())),
    }
}

fn proof_message(connection: &Connection, group: GroupId, applicant: NodeId) -> Result<Vec<u8>, String> {
    let mut exported = [0; 32];
    let made = connection.export_keying_material(&mut exported, EXPORTER, &group.0);
    made.map_err(|_| "the channel exports no secret".to_owned())?;
    Ok(enrolment_proof(group, applicant, &exported))
}

/// Whether a connection whose handshake is done was made to be let in.
pub(crate) fn is_enrolment(connection: &Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.and_then(|data| data.protocol).is_some_and(|protocol| protocol == ENROL_ALPN)
}

/// Bounds what applicants cost.
pub(crate) struct Porch {
    places: Semaphore,
    guesses: Mutex<Bounded<IpAddr, (Instant, u32)>>,
}

impl Porch {
    pub(crate) fn new() -> Self {
        Self { places: Semaphore::new(AT_A_TIME), guesses: Mutex::new(Bounded::new(REMEMBERED)) }
    }

    /// Whether an address has guessed too often within a minute.
    fn is_shut_to(&self, from: IpAddr) -> bool {
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.at(&from).is_some_and(|(since, count)| since.elapsed() < MINUTE && *count >= GUESSES)
    }

    /// Counts a wrong proof.
    fn count_guess(&self, from: IpAddr) {
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = guesses.entry(from, || (Instant::now(), 0));
        if since.elapsed() >= MINUTE {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
    }
}

/// Hears an applicant, answers it once, and closes.
pub(crate) async fn hear(core: &Arc<Core>, connection: Connection) {
    let Ok(_place) = core.porch.places.try_acquire() else {
        connection.close(code::FULL, b"");
        return;
    };
    let heard = timeout(PATIENCE, hear_one(core, &connection)).await;
    let address = super::close::address_of(&connection);
    match heard {
        Ok(Ok(())) => connection.close(code::BYE, b""),
        Ok(Err(error)) => {
            tracing::info!(%address, %error, "an applicant was not answered");
            connection.close(code::MALFORMED, b"");
        }
        Err(_) => connection.close(code::ABORTED, b""),
    }
}

async fn hear_one(core: &Arc<Core>, connection: &Connection) -> Result<(), InputError> {
    let lost = |what: &str| InputError::Lost(what.to_owned());
    let (mut send, receive) = connection.accept_bi().await.map_err(|error| InputError::Lost(error.to_string()))?;
    let mut input = Input::new(receive);
    if StreamKind::from_byte(input.kind().await?) != Some(StreamKind::Membership) {
        return Err(lost("another kind of stream"));
    }
    let MembershipQuestion::Enrol { invitation, proof } = input.frame::<MembershipQuestion>().await? else {
        return Err(lost("another question"));
    };
    let applicant = applicant(core, connection).ok_or_else(|| lost("no key of its own"))?;
    let from = super::close::address_of(connection).ip();
    let answer = if core.porch.is_shut_to(from) {
        MembershipAnswer::Refused(MembershipRefusal::TooMany)
    } else {
        let message = proof_message(connection, core.group.id(), applicant).map_err(InputError::Lost)?;
        let (group, keeper) = (Arc::clone(&core.group), Arc::clone(&core.keeper));
        let admitted =
            blocking(move || group.enrol(keeper.badge().identity(), applicant, &invitation, &message, &proof)).await;
        answer_of(admitted.map_err(|error| InputError::Lost(error.to_string()))?, applicant)
    };
    if answer == MembershipAnswer::Refused(MembershipRefusal::Unknown) {
        core.porch.count_guess(from);
    }
    let bytes = encode_frame(&answer).map_err(|error| InputError::Lost(error.to_string()))?;
    send.write_chunk(Bytes::from(bytes)).await.map_err(|error| InputError::Lost(error.to_string()))?;
    let _ = send.finish();
    // Until it has the answer, or is gone.
    let _ = send.stopped().await;
    Ok(())
}

/// Who asks: the key of the handshake, be it shown by an applicant or by a member that wants a new certificate.
fn applicant(core: &Core, connection: &Connection) -> Option<NodeId> {
    if let Ok(member) = member_of(&core.group, connection) {
        return Some(member.node);
    }
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    member::applicant(shown.first()?).ok()
}
