//! A libp2p transport that connects nothing: it only says where our QUIC endpoint listens.
//!
//! The mDNS behaviour announces the listen addresses of the swarm that holds it, so each `listen_on` is answered with
//! "listening" although the socket belongs to quinn. Dials are refused and nothing ever comes in.

use std::collections::VecDeque;
use std::future::Pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use libp2p::PeerId;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Multiaddr;

type Never = Pending<io::Result<(PeerId, StreamMuxerBox)>>;

/// The advertise-only transport.
#[derive(Default)]
pub(super) struct Advertise {
    listeners: Vec<(ListenerId, Multiaddr)>,
    events: VecDeque<TransportEvent<Never, io::Error>>,
    waker: Option<Waker>,
}

impl Advertise {
    fn emit(&mut self, event: TransportEvent<Never, io::Error>) {
        self.events.push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for Advertise {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Never;
    type Dial = Never;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.listeners.push((id, addr.clone()));
        self.emit(TransportEvent::NewAddress { listener_id: id, listen_addr: addr });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|(known, _)| *known == id) else { return false };
        let (listener_id, listen_addr) = self.listeners.swap_remove(at);
        self.emit(TransportEvent::AddressExpired { listener_id, listen_addr });
        self.emit(TransportEvent::ListenerClosed { listener_id, reason: Ok(()) });
        true
    }

    fn dial(&mut self, addr: Multiaddr, _: DialOpts) -> Result<Never, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Never, io::Error>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
