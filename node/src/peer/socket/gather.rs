//! The socket as quinn sees it, and the runtime that tells it when a turn ends.

use super::batch::Batch;
use super::inbound::Inbound;
use super::outlet::{self, Kernel};
use super::turn::{self, Turn};
use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime, UdpPoller};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::Interest;

/// An endpoint whose datagrams leave in batches. Call it inside a runtime of tokio.
pub fn endpoint(
    config: EndpointConfig,
    server: Option<ServerConfig>,
    socket: UdpSocket,
    inbound: Arc<Inbound>,
) -> io::Result<Endpoint> {
    let socket = Arc::new(GatheringSocket::new(socket, inbound)?);
    let turns = Arc::new(Turns { socket: Arc::clone(&socket) });
    Endpoint::new_with_abstract_socket(config, server, socket, turns)
}

/// A UDP socket that puts datagrams of one turn into one call where it can.
#[derive(Debug)]
pub struct GatheringSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    inbound: Arc<Inbound>,
    /// Datagrams that have come and get memory of their own, one by one.
    apart: Mutex<Apart>,
}

/// Pieces that are taken apart: of each the rest.
type Apart = VecDeque<(RecvMeta, Bytes)>;

impl GatheringSocket {
    fn new(socket: UdpSocket, inbound: Arc<Inbound>) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { state, io: tokio::net::UdpSocket::from_std(socket)?, inbound, apart: Mutex::default() })
    }

    /// Takes what may not be handed on whole out of what has come, and gives the number that stays.
    fn take_apart(&self, count: usize, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = 0;
        for place in 0..count {
            let came = meta[place];
            if came.len > came.stride && !self.inbound.may_be_whole(came.addr, came.len) {
                apart.push_back((came, Bytes::copy_from_slice(&bufs[place][..came.len])));
                continue;
            }
            bufs.swap(kept, place);
            meta.swap(kept, place);
            kept += 1;
        }
        kept
    }

    /// Hands datagrams on that were taken apart.
    fn hand_on(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (into, told) in bufs.iter_mut().zip(meta) {
            let Some((came, rest)) = apart.front_mut() else { break };
            let datagram = rest.split_to(rest.len().min(came.stride));
            into[..datagram.len()].copy_from_slice(&datagram);
            *told = RecvMeta { len: datagram.len(), stride: datagram.len(), ..*came };
            count += 1;
            if rest.is_empty() {
                apart.pop_front();
            }
        }
        count
    }

    /// Sends the batch of a turn to its end, or until the kernel takes no more.
    pub(super) fn send_batch(&self, batch: &mut Batch) -> io::Result<()> {
        outlet::send_batch(self, batch)
    }
}

impl Kernel for GatheringSocket {
    fn segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))
    }

    fn send_cut(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit))
    }
}

impl AsyncUdpSocket for GatheringSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let gathered = turn::with_current(|gathering| outlet::gather(self, gathering, transmit));
        gathered.unwrap_or_else(|| self.send(transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.hand_on(bufs, meta) {
                0 => {}
                count => return Poll::Ready(Ok(count)),
            }
            ready!(self.io.poll_recv_ready(cx))?;
            let received = self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta));
            match received {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => match self.take_apart(count, bufs, meta) {
                    0 => {}
                    kept => return Poll::Ready(Ok(kept)),
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// Waits for room in the socket's buffer, for one task.
struct Writable {
    socket: Arc<GatheringSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() && self.socket.io.try_io(Interest::WRITABLE, || Ok(())).is_ok() {
            return Poll::Ready(Ok(()));
        }
        let socket = Arc::clone(&self.socket);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { socket.io.writable().await }));
        let outcome = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}

/// tokio as quinn's runtime, with a turn around each driver.
#[derive(Debug)]
pub struct Turns {
    socket: Arc<GatheringSocket>,
}

impl Runtime for Turns {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, driver: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(Turn::new(Arc::clone(&self.socket), driver));
    }

    /// Only for an endpoint that changes its socket, which ours does not: turns end at the one socket they know.
    fn wrap_udp_socket(&self, _socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::Error::from(ErrorKind::Unsupported))
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bind;
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);
    /// What is sent in these tests: full datagrams in transmits of ten, between short and larger ones alone.
    const SIZES: [(usize, usize); 7] = [(1, 40), (10, 1200), (10, 1200), (10, 1200), (1, 300), (10, 1400), (1, 1472)];

    fn socket() -> Arc<GatheringSocket> {
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("binds");
        Arc::new(GatheringSocket::new(bound, Arc::default()).expect("a socket"))
    }

    /// A driver that sends as quinn's does, and comes to its end.
    async fn driver(from: Arc<GatheringSocket>, to: SocketAddr) {
        let mut poller = Arc::clone(&from).create_io_poller();
        let mut number = 0;
        for (count, size) in SIZES {
            let datagrams: Vec<Vec<u8>> = (0..count).map(|place| vec![number + place as u8; size]).collect();
            number += count as u8;
            let segment_size = (count > 1).then_some(size);
            let contents = datagrams.concat();
            let transmit = Transmit { destination: to, ecn: None, contents: &contents, segment_size, src_ip: None };
            // A socket that was never waited for is not known to be writable.
            while from.try_send(&transmit).is_err() {
                std::future::poll_fn(|cx| poller.as_mut().poll_writable(cx)).await.expect("becomes writable");
            }
        }
    }

    /// Reads that many datagrams; says also how many there were at most in one piece.
    async fn receive(socket: &GatheringSocket, count: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut datagrams, mut largest) = (Vec::new(), 0);
        let mut memory = vec![0; 65_536];
        while datagrams.len() < count {
            let mut metas = [RecvMeta::default()];
            let received =
                std::future::poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut memory)], &mut metas));
            assert_eq!(timeout(PATIENCE, received).await.expect("in time").expect("receives"), 1);
            let before = datagrams.len();
            datagrams.extend(memory[..metas[0].len].chunks(metas[0].stride).map(<[u8]>::to_vec));
            largest = largest.max(datagrams.len() - before);
        }
        (datagrams, largest)
    }

    #[tokio::test]
    async fn datagrams_of_a_turn_arrive_in_order_and_in_their_sizes() {
        let (from, to) = (socket(), socket());
        let address = to.local_addr().expect("bound");
        let _connection = to.inbound.count(from.local_addr().expect("bound"));
        let turns = Turns { socket: Arc::clone(&from) };
        turns.spawn(Box::pin(driver(Arc::clone(&from), address)));
        let expected: Vec<usize> = SIZES.iter().flat_map(|(count, size)| vec![*size; *count]).collect();
        let (datagrams, largest) = receive(&to, expected.len()).await;
        assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        for (number, datagram) in datagrams.iter().enumerate() {
            assert!(datagram.iter().all(|byte| usize::from(*byte) == number), "datagram {number}");
        }
        if from.segments() > 1 && to.max_receive_segments() > 1 {
            assert_eq!(largest, 31, "three transmits of ten and a short one leave in one call");
        }
    }

    #[tokio::test]
    async fn what_comes_from_nobody_in_particular_comes_one_by_one() {
        let (from, to) = (socket(), socket());
        let turns = Turns { socket: Arc::clone(&from) };
        turns.spawn(Box::pin(driver(Arc::clone(&from), to.local_addr().expect("bound"))));
        let expected: Vec<usize> = SIZES.iter().flat_map(|(count, size)| vec![*size; *count]).collect();
        let (datagrams, largest) = receive(&to, expected.len()).await;
        assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        assert!((0..).zip(&datagrams).all(|(number, datagram)| datagram.iter().all(|byte| *byte == number)));
        assert_eq!(largest, 1);
    }

    #[tokio::test]
    async fn outside_of_a_turn_a_datagram_leaves_at_once() {
        let (from, to) = (socket(), socket());
        driver(Arc::clone(&from), to.local_addr().expect("bound")).await;
        let count = SIZES.iter().map(|(count, _)| count).sum();
        receive(&to, count).await;
    }
}
