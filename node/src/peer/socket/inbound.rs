//! How much memory packets of one member can pin (T-06): what the kernel hands on in one piece is kept in one piece for as long as
//! any part of it is.
//!
//! quinn counts a datagram that waits in a gap by its own size, not by the piece that it came in, which is up to 64 KiB. So a
//! member whose packets bring something only now and then would pin forty times what the windows allow. Pieces are
//! therefore handed on whole only as far as what came before them from the same address was used: beyond [`WHOLE`] of unused
//! bytes, each datagram gets memory of its own. An honest sender of bulk never comes near; strangers and acknowledgements do, and
//! for them it makes no difference.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of whole pieces from one address that nobody has used: as much as a connection's window lets be in flight.
pub(super) const WHOLE: u64 = 8 * 1024 * 1024;

/// What came in whole pieces from the addresses of connections.
#[derive(Debug, Default)]
pub struct Inbound {
    flows: Mutex<HashMap<SocketAddr, Flow>>,
}

#[derive(Debug, Default)]
struct Flow {
    connections: usize,
    unused: u64,
}

/// The bytes of a connection, for as long as it lives.
#[derive(Debug)]
pub struct Counted {
    inbound: Arc<Inbound>,
    address: SocketAddr,
}

impl Inbound {
    /// Begins to count what comes from the other end of a connection.
    #[must_use]
    pub fn count(self: &Arc<Self>, address: SocketAddr) -> Counted {
        self.flows().entry(address).or_default().connections += 1;
        Counted { inbound: Arc::clone(self), address }
    }

    /// Notes that bytes which came from an address were used up, and their memory is free or another's.
    pub fn used(&self, address: SocketAddr, bytes: u64) {
        if let Some(flow) = self.flows().get_mut(&address) {
            // Headers, and what came twice, are nobody's.
            flow.unused = flow.unused.saturating_sub(bytes + bytes / 4);
        }
    }

    /// Whether a piece may be handed on whole.
    pub(super) fn may_be_whole(&self, address: SocketAddr, bytes: usize) -> bool {
        let mut flows = self.flows();
        let Some(flow) = flows.get_mut(&address) else { return false };
        let unused = flow.unused + bytes as u64;
        let may = unused <= WHOLE;
        if may {
            flow.unused = unused;
        }
        may
    }

    fn flows(&self) -> MutexGuard<'_, HashMap<SocketAddr, Flow>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut flows = self.inbound.flows();
        let Some(flow) = flows.get_mut(&self.address) else { return };
        flow.connections -= 1;
        if flow.connections == 0 {
            flows.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const PIECE: usize = 64 * 1024;

    fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn whole(inbound: &Inbound, pieces: usize) -> usize {
        (0..pieces).filter(|_| inbound.may_be_whole(address(1), PIECE)).count()
    }

    #[test]
    fn what_is_used_makes_room_and_what_is_not_does_not() {
        let inbound = Arc::new(Inbound::default());
        let _connection = inbound.count(address(1));
        for _ in 0..1000 {
            assert_eq!(whole(&inbound, 4), 4);
            // A twentieth is headers.
            inbound.used(address(1), 4 * PIECE as u64 * 19 / 20);
        }
        assert_eq!(whole(&inbound, 1000), 128, "8 MiB");
        assert_eq!(whole(&inbound, 1000), 0);
        inbound.used(address(1), 1 << 40);
        assert_eq!(whole(&inbound, 1000), 128, "use saves nothing up");
    }

    #[test]
    fn strangers_get_nothing_whole_and_a_second_connection_nothing_more() {
        let inbound = Arc::new(Inbound::default());
        assert_eq!(whole(&inbound, 10), 0);
        let one = inbound.count(address(1));
        assert_eq!(whole(&inbound, 1000), 128);
        let other = inbound.count(address(1));
        drop(one);
        assert_eq!(whole(&inbound, 10), 0);
        assert!(!inbound.may_be_whole(address(2), PIECE));
        drop(other);
        assert!(inbound.flows().is_empty());
    }
}
