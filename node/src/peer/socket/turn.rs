//! The turn of a connection: quinn's driver runs, what it sends is gathered, and at the end of the turn it leaves.
//!
//! While a driver is polled, its batch lies in a slot of the thread, since a socket cannot see who sends through it.
//! quinn sends on no other occasion but for answers to strangers, which find the slot empty and leave at once. A batch that
//! the kernel does not take stays with its connection, in front of everything later, and the turn waits for room.

use super::batch::Batch;
use super::gather::GatheringSocket;
use quinn::UdpPoller;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Datagrams after which quinn's driver lets others run. Only a hint: it asks for the next turn, and gets it at once.
const DRIVER_STEP: usize = 20;
/// Steps of a turn: twice 20 fill a batch, and then others run.
const STEPS: usize = 2;

thread_local! {
    /// The batch of the driver that runs on this thread.
    static CURRENT: RefCell<Option<Gathering>> = const { RefCell::new(None) };
    /// Memory of a batch that is empty: a connection needs none between its turns.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a running driver has sent.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    pub(super) batch: Batch,
    /// Datagrams that were taken in this step.
    pub(super) taken: usize,
}

/// Lets `send` use the batch of the running driver; `None` when none runs here.
pub(super) fn with_current<T>(send: impl FnOnce(&mut Gathering) -> T) -> Option<T> {
    CURRENT.with_borrow_mut(|slot| slot.as_mut().map(send))
}

/// The spare memory of this thread.
fn memory() -> Vec<u8> {
    SPARE.take()
}

fn give_back(memory: Vec<u8>) {
    if memory.capacity() > 0 {
        SPARE.set(memory);
    }
}

/// A driver of quinn that gathers what it sends.
pub(super) struct Turn {
    socket: Arc<GatheringSocket>,
    poller: Pin<Box<dyn UdpPoller>>,
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    gathering: Gathering,
}

impl Turn {
    pub(super) fn new(socket: Arc<GatheringSocket>, driver: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        let poller = quinn::AsyncUdpSocket::create_io_poller(Arc::clone(&socket));
        Self { socket, poller, driver: Some(driver), gathering: Gathering::default() }
    }

    /// Runs the driver once, with its batch in the slot.
    fn step(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else { return };
        self.gathering.taken = 0;
        let _lent = Lent::to_thread(&mut self.gathering);
        if driver.as_mut().poll(cx).is_ready() {
            self.driver = None;
        }
    }

    /// Sends what was gathered; pending while the kernel takes no more, with the task registered for when it does.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.socket.send_batch(&mut self.gathering.batch).is_err() {
            match self.poller.as_mut().poll_writable(cx) {
                Poll::Ready(Ok(())) => {}
                // The runtime is going down; what is here goes with it, as it does in quinn.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        give_back(self.gathering.batch.take_memory());
        Poll::Ready(())
    }
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.gathering.batch.is_empty() {
            this.gathering.batch = Batch::with_memory(memory());
        }
        for _ in 0..STEPS {
            this.step(cx);
            if this.gathering.taken < DRIVER_STEP {
                break;
            }
        }
        match this.flush(cx) {
            Poll::Ready(()) if this.driver.is_none() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// A gathering that lies in the slot; it comes back however the driver ends.
struct Lent<'a>(&'a mut Gathering);

impl<'a> Lent<'a> {
    fn to_thread(gathering: &'a mut Gathering) -> Self {
        CURRENT.set(Some(std::mem::take(gathering)));
        Self(gathering)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *self.0 = CURRENT.take().unwrap_or_default();
    }
}
