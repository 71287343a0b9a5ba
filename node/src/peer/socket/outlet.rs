//! From a batch to the kernel: in order, each datagram once, and what the kernel does not take stays where it was.
//!
//! The kernel is behind a trait, since a real one refuses only when it likes.

use super::batch::{Batch, MOST_SEGMENTS};
use super::turn::Gathering;
use quinn::udp::Transmit;
use std::io::{self, ErrorKind};

/// What sends datagrams.
pub(super) trait Kernel {
    /// Datagrams that it cuts at a time; 1 where it cannot, which may turn out late.
    fn segments(&self) -> usize;

    /// Sends one datagram; [`ErrorKind::WouldBlock`] is the only error, all others are losses as on the wire.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Sends several in one call, and tells each error.
    fn send_cut(&self, transmit: &Transmit<'_>) -> io::Result<()>;
}

fn most_segments(kernel: &impl Kernel) -> usize {
    kernel.segments().min(MOST_SEGMENTS)
}

/// Takes a transmit into the batch, or sends it behind the batch. What is refused is not taken at all.
pub(super) fn gather(kernel: &impl Kernel, gathering: &mut Gathering, transmit: &Transmit<'_>) -> io::Result<()> {
    let (batch, most) = (&mut gathering.batch, most_segments(kernel));
    if batch.append(transmit, most) {
        if batch.is_full(most) {
            // Taken, even if the kernel does not take it yet: the next one will find the way blocked.
            let _ = send_batch(kernel, batch);
        }
    } else {
        send_batch(kernel, batch)?;
        if !batch.begin(transmit) {
            kernel.send(transmit)?;
        }
    }
    gathering.taken += transmit.segment_size.map_or(1, |segment| transmit.contents.len().div_ceil(segment.max(1)));
    Ok(())
}

/// Sends the batch to its end; an error only says that the kernel takes no more, and the rest stays in the batch.
pub(super) fn send_batch(kernel: &impl Kernel, batch: &mut Batch) -> io::Result<()> {
    while let Some(next) = batch.next(most_segments(kernel)) {
        let length = next.contents.len();
        let outcome = if next.segment_size.is_some() { kernel.send_cut(&next) } else { kernel.send(&next) };
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
            // Cutting has just turned out not to work: the same once more, one by one.
            Err(_) if most_segments(kernel) == 1 => {}
            // Lost, as on the wire. QUIC sends the bytes again, or finds that nobody is there.
            Err(error) => {
                tracing::debug!(%error, "a batch of datagrams was not sent");
                batch.advance(length);
            }
            Ok(()) => batch.advance(length),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};
    use std::net::{Ipv4Addr, SocketAddr};

    /// A kernel that refuses when a list says so, and loses its ability to cut at one of its calls.
    struct Moody {
        refusals: RefCell<Vec<bool>>,
        cuts_until: Cell<usize>,
        sent: RefCell<Vec<Vec<u8>>>,
        calls: Cell<usize>,
    }

    impl Moody {
        fn new(refusals: Vec<bool>, cuts_until: usize) -> Self {
            let (refusals, cuts_until) = (RefCell::new(refusals), Cell::new(cuts_until));
            Self { refusals, cuts_until, sent: RefCell::default(), calls: Cell::new(0) }
        }

        fn take(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            if self.refusals.borrow_mut().pop().unwrap_or(false) {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.calls.set(self.calls.get() + 1);
            let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
            self.sent.borrow_mut().extend(transmit.contents.chunks(segment).map(<[u8]>::to_vec));
            Ok(())
        }
    }

    impl Kernel for Moody {
        fn segments(&self) -> usize {
            if self.cuts_until.get() == 0 { 1 } else { 64 }
        }

        fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            assert!(transmit.segment_size.is_none_or(|segment| segment >= transmit.contents.len()));
            self.take(transmit)
        }

        fn send_cut(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            assert!(self.segments() > 1, "it was asked to cut after it had said that it cannot");
            self.cuts_until.set(self.cuts_until.get() - 1);
            if self.segments() == 1 { Err(io::Error::other("EIO")) } else { self.take(transmit) }
        }
    }

    fn transmit(contents: &[u8], segment: usize) -> Transmit<'_> {
        Transmit {
            destination: SocketAddr::from((Ipv4Addr::LOCALHOST, 7)),
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: None,
        }
    }

    #[test]
    fn forty_datagrams_leave_in_one_call_and_an_acknowledgement_at_once() {
        let (kernel, mut gathering) = (Moody::new(Vec::new(), usize::MAX), Gathering::default());
        gather(&kernel, &mut gathering, &transmit(&[1; 40], 1472)).expect("leaves");
        assert_eq!(kernel.calls.get(), 1, "alone, it is not held");
        for _ in 0..4 {
            gather(&kernel, &mut gathering, &transmit(&[7; 14_720], 1472)).expect("is taken");
        }
        assert_eq!((kernel.calls.get(), gathering.taken), (1, 41));
        send_batch(&kernel, &mut gathering.batch).expect("leaves");
        assert_eq!((kernel.calls.get(), kernel.sent.borrow().len()), (2, 41));
    }

    proptest! {
        /// Whenever the kernel refuses, and whenever it stops to cut: each datagram that was taken leaves once, in order.
        #[test]
        fn nothing_is_lost_doubled_or_overtaken(
            offers in proptest::collection::vec((1usize..11, prop_oneof![Just(1200usize), Just(1472), 20usize..1500]), 1..60),
            refusals in proptest::collection::vec(any::<bool>(), 0..200),
            cuts_until in prop_oneof![Just(usize::MAX), 1usize..12],
        ) {
            let (kernel, mut gathering) = (Moody::new(refusals, cuts_until), Gathering::default());
            let mut taken = Vec::new();
            let mut number = 0u16;
            for (count, segment) in offers {
                // As quinn does: no more datagrams at once than the socket says, and the same again after a refusal.
                let mut contents = Vec::new();
                for _ in 0..count.min(kernel.segments()) {
                    number += 1;
                    let datagram: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(segment).collect();
                    contents.extend_from_slice(&datagram);
                    taken.push(datagram);
                }
                while gather(&kernel, &mut gathering, &transmit(&contents, segment)).is_err() {}
            }
            while send_batch(&kernel, &mut gathering.batch).is_err() {}
            prop_assert_eq!(kernel.sent.into_inner(), taken);
        }
    }
}
