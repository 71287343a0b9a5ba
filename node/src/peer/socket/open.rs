//! The UDP socket under the endpoint: large buffers, and one port for IPv6 and IPv4 where the host has both.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Bytes asked of the kernel for each direction. A receiver that is short of CPU for some milliseconds loses nothing;
/// the kernel may give less (`net.core.rmem_max`), which costs retransmissions, not correctness.
const BUFFER: usize = 4 * 1024 * 1024;

/// Binds `address`; `[::]` also takes IPv4, and becomes `0.0.0.0` on a host without IPv6.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let is_any_v6 = address.is_ipv6() && address.ip().is_unspecified();
    match open(address, is_any_v6) {
        Err(_) if is_any_v6 => open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), false),
        outcome => outcome,
    }
}

fn open(address: SocketAddr, dual: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // A smaller buffer than asked for is no reason not to have peers; the right to have it anyway is a service's, seldom a user's.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER);
    }
    let _ = socket.set_send_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if let (Ok(receive), Ok(send)) = (socket.recv_buffer_size(), socket.send_buffer_size()) {
        tracing::debug!(receive, send, "UDP socket buffers");
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_gets_a_port_of_its_own() {
        let socket = bind("[::]:0".parse().expect("an address")).expect("binds");
        assert_ne!(socket.local_addr().expect("bound").port(), 0);
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let first = bind("127.0.0.1:0".parse().expect("an address")).expect("binds");
        assert!(bind(first.local_addr().expect("bound")).is_err());
    }
}
