//! A member that sends stream frames with gaps, so that the other end has to keep what it cannot use (T-06).
//!
//! No library sends such frames. The handshake is quinn's; after it, packets are made here by the book (RFC 9000 sections 17.3
//! and 19.8, RFC 9001 section 5), with the connection's own key.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use eddy_node::group::Group;
use eddy_node::identity::Identity;
use quinn::udp::{Transmit, UdpSocketState};
use rustls::Tls13CipherSuite;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::cipher::{AeadKey, Iv, NONCE_LEN};
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::quic::{HeaderProtectionKey, PacketKey};

use super::handshake::{Handshake, destination};
use super::tls;

const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a packet: what fits everywhere.
const PACKET: usize = 1_200;
/// Packets that are handed to the kernel at once, and that the other end's kernel may hand on at once.
const BATCH: usize = 44;
/// Streams that eddy lets a member open at a time (T-06), and the bytes that each may carry unread.
const STREAMS: u64 = 32;
const WINDOW: u64 = 1 << 20;
/// Bytes of a key of ChaCha20.
const KEY: usize = 32;
/// Beyond every number that the handshake has used.
const FIRST_NUMBER: u64 = 1 << 16;

/// What lies between the gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Every other byte, each in a frame of its own, as many to a packet as it takes.
    Bytes,
    /// All bytes but the first; more than half of each packet is padding, so that it weighs more than what it brings.
    Padded,
    /// The same, but in each batch of packets only one brings something: what a kernel hands on in one piece is kept in one.
    Batched,
}

impl Pattern {
    /// By its name on a command line.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "bytes" => Ok(Self::Bytes),
            "padded" => Ok(Self::Padded),
            "batched" => Ok(Self::Batched),
            other => anyhow::bail!("no pattern: {other}"),
        }
    }

    /// Bytes in each frame, and from the beginning of one to that of the next.
    fn frame(self) -> (u64, u64) {
        match self {
            Self::Bytes => (1, 2),
            Self::Padded | Self::Batched => (520, 520),
        }
    }

    fn frames_per_packet(self) -> usize {
        match self {
            Self::Bytes => 120,
            Self::Padded | Self::Batched => 1,
        }
    }
}

/// A connection that only ever sends.
pub struct Sender {
    socket: UdpSocket,
    state: UdpSocketState,
    target: SocketAddr,
    seal: Box<dyn PacketKey>,
    mask: Box<dyn HeaderProtectionKey>,
    destination: Vec<u8>,
    number: u64,
    /// The next stream, and on all streams the place of the next frame.
    stream: u64,
    offset: u64,
    pattern: Pattern,
}

impl Sender {
    /// Shakes hands as a member.
    ///
    /// # Errors
    /// When the other end lets it not in.
    pub fn connect(group: &Group, who: &Identity, socket: UdpSocket, to: SocketAddr, pattern: Pattern) -> Result<Self> {
        let suite = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let mut config = tls(group, who, provider)?;
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::clone(&secrets) as Arc<dyn rustls::KeyLog>;
        let last = Handshake::begin(config, to)?.finish(&socket, to, PATIENCE)?;
        let secret = secrets.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (seal, mask) = keys(suite.tls13().context("a suite of TLS 1.3")?, &secret)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            socket,
            target: to,
            seal,
            mask,
            destination: destination(&last)?.to_vec(),
            number: FIRST_NUMBER,
            stream: 0,
            offset: 1,
            pattern,
        })
    }

    /// Sends a batch of packets as far as the kernel takes them, and returns their number; 0 when all windows are used up.
    ///
    /// # Errors
    /// When a packet cannot be sealed.
    pub fn burst(&mut self) -> Result<usize> {
        let mut batch = Vec::with_capacity(BATCH * PACKET);
        for place in 0..BATCH {
            // PING and padding ask for an acknowledgement and nothing else.
            let is_idle = self.pattern == Pattern::Batched && place > 0;
            let frames = if is_idle { vec![1] } else { self.frames() };
            if frames.is_empty() {
                break;
            }
            batch.extend_from_slice(&self.seal(frames)?);
        }
        let transmit = Transmit {
            destination: self.target,
            ecn: None,
            contents: &batch,
            segment_size: (batch.len() > PACKET).then_some(PACKET),
            src_ip: None,
        };
        // What the kernel does not take is lost, as on the wire.
        let _ = self.state.try_send((&self.socket).into(), &transmit);
        Ok(batch.len() / PACKET)
    }

    /// The next frames of the pattern, each on the next stream.
    fn frames(&mut self) -> Vec<u8> {
        let (length, stride) = self.pattern.frame();
        let mut frames = Vec::new();
        for _ in 0..self.pattern.frames_per_packet() {
            if self.offset + length > WINDOW {
                break;
            }
            // STREAM with offset and length; stream ids of a client's bidirectional streams are multiples of four.
            frames.push(0x0e);
            frames.extend_from_slice(&varint(self.stream * 4));
            frames.extend_from_slice(&varint(self.offset));
            frames.extend_from_slice(&varint(length));
            frames.resize(frames.len() + length as usize, 0xee);
            self.stream += 1;
            if self.stream == STREAMS {
                (self.stream, self.offset) = (0, self.offset + stride);
            }
        }
        frames
    }

    /// A packet of full size around the frames.
    fn seal(&mut self, mut payload: Vec<u8>) -> Result<Vec<u8>> {
        let number = u32::try_from(self.number)?.to_be_bytes();
        // A short header with a packet number of four bytes.
        let mut packet = vec![0x40 | 3];
        packet.extend_from_slice(&self.destination);
        let at = packet.len();
        packet.extend_from_slice(&number);
        let room = PACKET - packet.len() - self.seal.tag_len();
        ensure!(payload.len() <= room, "{} bytes of frames", payload.len());
        payload.resize(room, 0);
        let tag = self.seal.encrypt_in_place(self.number, &packet, &mut payload)?;
        packet.extend_from_slice(&payload);
        packet.extend_from_slice(tag.as_ref());
        let sample = packet[at + 4..at + 4 + self.mask.sample_len()].to_vec();
        let (first, rest) = packet.split_at_mut(1);
        self.mask.encrypt_in_place(&sample, &mut first[0], &mut rest[at - 1..at + 3])?;
        self.number += 1;
        Ok(packet)
    }
}

/// Remembers the secret of what the client sends after the handshake.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<u8>>);

impl rustls::KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret.to_vec();
        }
    }
}

/// The keys of a direction (RFC 9001 section 5.1).
fn keys(suite: &Tls13CipherSuite, secret: &[u8]) -> Result<(Box<dyn PacketKey>, Box<dyn HeaderProtectionKey>)> {
    let algorithm = suite.quic.context("a suite that QUIC may use")?;
    ensure!(!secret.is_empty(), "TLS told no secret");
    let expander = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    let (mut key, mut iv, mut mask) = ([0; KEY], [0; NONCE_LEN], [0; KEY]);
    expand(&*expander, b"quic key", &mut key)?;
    expand(&*expander, b"quic iv", &mut iv)?;
    expand(&*expander, b"quic hp", &mut mask)?;
    Ok((algorithm.packet_key(AeadKey::from(key), Iv::from(iv)), algorithm.header_protection_key(AeadKey::from(mask))))
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand(expander: &dyn HkdfExpander, label: &[u8], into: &mut [u8]) -> Result<()> {
    let length = u16::try_from(into.len())?.to_be_bytes();
    let label_length = [u8::try_from(b"tls13 ".len() + label.len())?];
    let info: [&[u8]; 5] = [&length, &label_length, b"tls13 ", label, &[0]];
    expander.expand_slice(&info, into).ok().context("more than the hash gives")
}

/// A number as QUIC writes it (RFC 9000 section 16), below 2^30.
fn varint(number: u64) -> Vec<u8> {
    match number {
        0..0x40 => vec![number as u8],
        0x40..0x4000 => (number as u16 | 0x4000).to_be_bytes().to_vec(),
        _ => (number as u32 | 0x8000_0000).to_be_bytes().to_vec(),
    }
}
