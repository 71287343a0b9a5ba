//! Datagrams that leave in one call: to one address, of one size, the last one perhaps shorter.
//!
//! That is what segmentation offload can express (`UDP_SEGMENT` of udp(7)). Only a transmit of several datagrams begins a
//! batch: acknowledgements, handshakes and probes come alone, and are not held for anybody.

use quinn::udp::{EcnCodepoint, Transmit};
use std::net::{IpAddr, SocketAddr};

/// Datagrams of a batch: what is below [`MOST_BYTES`] with an Ethernet's packets, and below the kernel's 64.
pub(super) const MOST_SEGMENTS: usize = 44;
/// Bytes of a batch: before it is cut, it is one IPv4 datagram to the kernel.
pub(super) const MOST_BYTES: usize = 65_507;

/// Where and how a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
}

impl Route {
    fn of(transmit: &Transmit<'_>) -> Self {
        Self { destination: transmit.destination, ecn: transmit.ecn, src_ip: transmit.src_ip }
    }
}

/// A batch being gathered, or being sent. Empty until it is begun.
#[derive(Debug, Default)]
pub(super) struct Batch {
    route: Option<Route>,
    segment: usize,
    bytes: Vec<u8>,
    /// Bytes at the front that are sent.
    sent: usize,
}

impl Batch {
    /// An empty batch that gathers in `memory`.
    pub(super) fn with_memory(memory: Vec<u8>) -> Self {
        let mut bytes = memory;
        bytes.clear();
        Self { bytes, ..Self::default() }
    }

    /// Takes the batch's memory; it must be empty.
    pub(super) fn take_memory(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty(), "datagrams would be lost");
        std::mem::take(&mut self.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Begins with a transmit of several datagrams, if this is empty.
    ///
    /// Also with more bytes than the kernel takes in one call (ten jumbo frames), or when it has just ceased to cut: they
    /// leave in parts.
    pub(super) fn begin(&mut self, transmit: &Transmit<'_>) -> bool {
        let several = transmit.segment_size.filter(|segment| *segment > 0 && *segment < transmit.contents.len());
        let Some(segment) = several.filter(|_| self.is_empty()) else { return false };
        self.bytes.clear();
        self.bytes.reserve(transmit.contents.len().max(MOST_BYTES));
        self.bytes.extend_from_slice(transmit.contents);
        (self.route, self.segment, self.sent) = (Some(Route::of(transmit)), segment, 0);
        true
    }

    /// Appends a transmit that the batch can express.
    pub(super) fn append(&mut self, transmit: &Transmit<'_>, most_segments: usize) -> bool {
        // What is partly sent is closed, and a short last datagram can only be the last.
        if self.is_empty() || self.sent > 0 || self.is_closed() || self.route != Some(Route::of(transmit)) {
            return false;
        }
        let length = transmit.contents.len();
        let is_of_size = match transmit.segment_size {
            Some(segment) if segment < length => segment == self.segment,
            _ => length <= self.segment,
        };
        let total = self.bytes.len() + length;
        if length == 0 || !is_of_size || total > MOST_BYTES || total.div_ceil(self.segment) > most_segments {
            return false;
        }
        self.bytes.extend_from_slice(transmit.contents);
        true
    }

    /// Whether nothing can be appended, whatever comes.
    pub(super) fn is_full(&self, most_segments: usize) -> bool {
        self.is_closed()
            || self.bytes.len() + self.segment > MOST_BYTES
            || self.bytes.len() / self.segment.max(1) >= most_segments
    }

    fn is_closed(&self) -> bool {
        self.segment > 0 && !self.bytes.len().is_multiple_of(self.segment)
    }

    /// What is to be sent next, at most `most_segments` datagrams of it.
    pub(super) fn next(&self, most_segments: usize) -> Option<Transmit<'_>> {
        let route = self.route.filter(|_| !self.is_empty())?;
        let left = self.bytes.len() - self.sent;
        let most = most_segments.min(MOST_BYTES / self.segment.max(1)).max(1);
        let length = left.min(self.segment.saturating_mul(most));
        Some(Transmit {
            destination: route.destination,
            ecn: route.ecn,
            contents: &self.bytes[self.sent..self.sent + length],
            segment_size: (length > self.segment).then_some(self.segment),
            src_ip: route.src_ip,
        })
    }

    /// Notes that the next `bytes` are sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.sent = self.bytes.len().min(self.sent + bytes);
        if self.is_empty() {
            self.bytes.clear();
            (self.sent, self.route) = (0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn transmit(contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
        Transmit {
            destination: SocketAddr::from((Ipv4Addr::LOCALHOST, 7)),
            ecn: Some(EcnCodepoint::Ect0),
            contents,
            segment_size,
            src_ip: None,
        }
    }

    #[test]
    fn four_transmits_of_ten_leave_as_one() {
        let ten = vec![7; 14_720];
        let mut batch = Batch::default();
        assert!(batch.begin(&transmit(&ten, Some(1472))));
        for _ in 0..3 {
            assert!(batch.append(&transmit(&ten, Some(1472)), MOST_SEGMENTS));
        }
        assert!(!batch.append(&transmit(&ten, Some(1472)), MOST_SEGMENTS), "beyond the bound");
        let next = batch.next(MOST_SEGMENTS).expect("is not empty");
        assert_eq!((next.contents.len(), next.segment_size), (4 * 14_720, Some(1472)));
        batch.advance(4 * 14_720);
        assert!(batch.is_empty());
    }

    #[test]
    fn a_short_datagram_ends_a_batch() {
        let (ten, short) = (vec![7; 12_000], vec![8; 100]);
        let mut batch = Batch::default();
        assert!(batch.begin(&transmit(&ten, Some(1200))));
        assert!(batch.append(&transmit(&short, None), MOST_SEGMENTS));
        assert!(batch.is_full(MOST_SEGMENTS));
        assert!(!batch.append(&transmit(&short, None), MOST_SEGMENTS));
    }

    #[test]
    fn what_comes_alone_begins_nothing() {
        let mut batch = Batch::default();
        assert!(!batch.begin(&transmit(&[7; 40], None)), "an acknowledgement");
        assert!(!batch.begin(&transmit(&[7; 1472], Some(1472))), "a single datagram");
    }

    #[test]
    fn another_address_size_or_mark_is_another_batch() {
        let two = vec![7; 2400];
        let mut batch = Batch::default();
        assert!(batch.begin(&transmit(&two, Some(1200))));
        let elsewhere =
            Transmit { destination: SocketAddr::from((Ipv4Addr::LOCALHOST, 8)), ..transmit(&two, Some(1200)) };
        let unmarked = Transmit { ecn: None, ..transmit(&two, Some(1200)) };
        let from = Transmit { src_ip: Some(Ipv4Addr::LOCALHOST.into()), ..transmit(&two, Some(1200)) };
        for other in [elsewhere, unmarked, from, transmit(&two, Some(800)), transmit(&two, None)] {
            assert!(!batch.append(&other, MOST_SEGMENTS), "{other:?}");
        }
    }

    #[test]
    fn jumbo_frames_stay_below_the_largest_datagram() {
        let (five, ten) = (vec![7; 5 * 8_972], vec![7; 10 * 8_972]);
        let mut batch = Batch::default();
        assert!(batch.begin(&transmit(&ten, Some(8_972))));
        assert_eq!(batch.next(MOST_SEGMENTS).map(|next| next.contents.len()), Some(7 * 8_972));
        batch.advance(10 * 8_972);
        assert!(batch.begin(&transmit(&five, Some(8_972))));
        assert!(!batch.append(&transmit(&five, Some(8_972)), MOST_SEGMENTS));
        assert!(batch.append(&transmit(&five[..2 * 8_972], Some(8_972)), MOST_SEGMENTS));
        assert!(batch.is_full(MOST_SEGMENTS), "an eighth would be beyond 65,507 bytes");
    }

    proptest! {
        /// Whatever is offered, the datagrams come out as they went in, in their order, and never more than fit.
        #[test]
        fn datagrams_come_out_as_they_went_in(
            offers in proptest::collection::vec((1usize..12, 1usize..1500, any::<bool>()), 1..40),
            most_out in 1usize..64,
        ) {
            let (mut went_in, mut came_out) = (Vec::new(), Vec::new());
            let mut batch = Batch::default();
            let mut number = 0u8;
            for (count, segment, has_short_end) in offers {
                let mut contents = Vec::new();
                for place in 0..count {
                    number = number.wrapping_add(1);
                    let size = if has_short_end && place + 1 == count { segment.div_ceil(2) } else { segment };
                    let datagram = vec![number; size];
                    contents.extend_from_slice(&datagram);
                    went_in.push(datagram);
                }
                let offer = transmit(&contents, (count > 1).then_some(segment));
                if !batch.append(&offer, MOST_SEGMENTS) {
                    drain(&mut batch, most_out, &mut came_out);
                    if !batch.begin(&offer) {
                        came_out.extend(contents.chunks(segment).map(<[u8]>::to_vec));
                    }
                }
            }
            drain(&mut batch, most_out, &mut came_out);
            prop_assert_eq!(went_in, came_out);
        }
    }

    fn drain(batch: &mut Batch, most_segments: usize, into: &mut Vec<Vec<u8>>) {
        while let Some(next) = batch.next(most_segments) {
            assert!(next.contents.len() <= MOST_BYTES);
            let segment = next.segment_size.unwrap_or(next.contents.len());
            assert!(next.contents.len().div_ceil(segment) <= most_segments.min(MOST_SEGMENTS));
            into.extend(next.contents.chunks(segment).map(<[u8]>::to_vec));
            let length = next.contents.len();
            batch.advance(length);
        }
    }
}
