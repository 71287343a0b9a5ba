//! A QUIC handshake driven by hand, datagram by datagram, for attackers that a library would not let be one.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event, TransportConfig,
};
use rustls::crypto::aws_lc_rs::cipher_suite;

use super::NAME;

/// The largest datagram that may come.
const DATAGRAM: usize = 65_536;

/// One side of a connection, without a runtime.
#[derive(Debug)]
pub struct Handshake {
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    /// Memory of the datagram that is being written.
    written: Vec<u8>,
}

impl Handshake {
    /// Begins a connection; nothing is sent.
    ///
    /// # Errors
    /// When TLS refuses the configuration.
    pub fn begin(tls: rustls::ClientConfig, to: SocketAddr) -> Result<Self> {
        // What the first packets are sealed with is fixed (RFC 9001 section 5.2), whatever is offered for the rest.
        let first = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
        let crypto = QuicClientConfig::with_initial(Arc::new(tls), first.context("a suite of QUIC")?)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(TransportConfig::default()));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (handle, connection) = endpoint.connect(Instant::now(), config, to, NAME)?;
        Ok(Self { endpoint, handle, connection, written: Vec::new() })
    }

    /// The next datagram that it wants to send.
    pub fn datagram(&mut self) -> Option<&[u8]> {
        self.written.clear();
        let transmit = self.connection.poll_transmit(Instant::now(), 1, &mut self.written)?;
        Some(&self.written[..transmit.size])
    }

    /// Shakes hands over `socket` and returns the last datagram of a kind that only a finished handshake sends: with a short
    /// header (RFC 9000 section 17.3).
    ///
    /// # Errors
    /// When the other end refuses, or says nothing for a while.
    pub fn finish(&mut self, socket: &UdpSocket, to: SocketAddr, patience: Duration) -> Result<Vec<u8>> {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let deadline = Instant::now() + patience;
        let (mut last, mut is_up, mut buffer) = (None, false, vec![0; DATAGRAM]);
        loop {
            while let Some(datagram) = self.datagram() {
                socket.send_to(datagram, to)?;
                if datagram[0] & 0x80 == 0 {
                    last = Some(datagram.to_vec());
                }
            }
            while let Some(event) = self.connection.poll() {
                match event {
                    Event::Connected => is_up = true,
                    Event::ConnectionLost { reason } => bail!("the handshake failed: {reason}"),
                    _ => {}
                }
            }
            if let Some(last) = last.take_if(|_| is_up) {
                return Ok(last);
            }
            if Instant::now() >= deadline {
                bail!("no handshake within {patience:?}");
            }
            self.hear(socket, to, &mut buffer)?;
        }
    }

    fn hear(&mut self, socket: &UdpSocket, from: SocketAddr, buffer: &mut [u8]) -> Result<()> {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        let Ok(length) = socket.recv(buffer) else {
            self.connection.handle_timeout(Instant::now());
            return Ok(());
        };
        let datagram = BytesMut::from(&buffer[..length]);
        let mut answer = Vec::new();
        let event = self.endpoint.handle(Instant::now(), from, None, None, datagram, &mut answer);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
        Ok(())
    }
}

/// The connection id that a datagram with a short header is sent to; its length is that of quinn's own.
///
/// # Errors
/// When it is too short to have one.
pub fn destination(short: &[u8]) -> Result<&[u8]> {
    short.get(1..9).context("a datagram that is too short")
}
