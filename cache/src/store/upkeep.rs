//! The thread that looks after the store when nobody asks: the sweep, blocks to be proved, ages, and what is beyond the limits, in the
//! ledger too.
//!
//! It works in slices and rests four times as long as it worked, so that it takes no more than a fifth of a core and of the
//! disk. While entities are asked for, a sweep rests so long that hardly a question meets it at the disk: what it would find, who
//! asks finds by himself. It holds the stock and never a handle, and it is gone before the store lets its directory go.

use super::stock::Stock;
use crate::ledger::LedgerLimits;
use crate::rebuild::Prover;
use crate::recovery::{Progress, Sweep};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rows and files that are looked at in one slice.
const SLICE: usize = 256;
/// How often limits and ages are looked at, and uses written down.
const ROUND: Duration = Duration::from_secs(60);
/// The sweep comes again after so long (C-31).
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How long the thread rests after a slice, in times of the slice.
const REST: u32 = 4;
/// The same after a slice of a sweep, while the store is asked: one question in two hundred meets the next one.
const REST_WHEN_ASKED: u32 = 200;

/// The handle on the thread.
pub(super) struct Upkeep {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the thread's rest.
#[derive(Default)]
struct Bell {
    has_rung: Mutex<bool>,
    rings: Condvar,
    is_ending: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        *self.has_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rings.notify_all();
    }

    /// Rests until the bell rings, at most for `rest`.
    fn wait(&self, rest: Duration) {
        let has_rung = self.has_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.rings.wait_timeout_while(has_rung, rest, |has_rung| !*has_rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

impl Upkeep {
    /// Starts the thread; `sweep` is one that opening did not finish.
    pub(super) fn start(stock: Arc<Stock>, sweep: Option<Sweep>) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let heard = Arc::clone(&bell);
        let thread = std::thread::Builder::new()
            .name("store upkeep".to_owned())
            .spawn(move || Rounds::new(stock, sweep).run(&heard))?;
        Ok(Self { bell, thread: Some(thread) })
    }

    /// Asks for a look at the limits.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    /// Ends the thread after its slice.
    pub(super) fn stop(&mut self) {
        self.bell.is_ending.store(true, Relaxed);
        self.bell.ring();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looks after the cache died");
        }
    }
}

/// What the thread does.
struct Rounds {
    stock: Arc<Stock>,
    sweep: Option<Sweep>,
    prover: Prover,
    last_sweep: Instant,
    last_round: Instant,
    /// How often the index had been made anew at the last look.
    renewals: u64,
    /// Questions up to the last slice.
    asked: u64,
}

impl Rounds {
    fn new(stock: Arc<Stock>, sweep: Option<Sweep>) -> Self {
        let now = Instant::now();
        Self { stock, sweep, prover: Prover::default(), last_sweep: now, last_round: now, renewals: 0, asked: 0 }
    }

    fn run(mut self, bell: &Bell) {
        self.stock.warm_the_line(|| !bell.is_ending.load(Relaxed));
        let has_unproven = self.stock.index.unproven().is_ok_and(|cursor| cursor.is_some());
        let mut rest = if self.sweep.is_some() || has_unproven { Duration::ZERO } else { ROUND };
        loop {
            bell.wait(rest);
            if bell.is_ending.load(Relaxed) {
                return;
            }
            rest = self.slice();
        }
    }

    /// Does a slice of what is to be done; how long to rest after it.
    fn slice(&mut self) -> Duration {
        let start = Instant::now();
        self.look_at_limits();
        self.go_on_sweeping();
        let has_more = self.sweep.is_none() && (self.go_on_proving() || self.go_on_folding());
        self.rest_after(start.elapsed(), has_more)
    }

    /// How long to rest after a slice.
    fn rest_after(&mut self, slice: Duration, has_more: bool) -> Duration {
        let asked = self.stock.asked();
        let is_asked = std::mem::replace(&mut self.asked, asked) != asked;
        match () {
            // Blocks that are proved are what somebody asks for.
            () if has_more => slice * REST,
            () if self.sweep.is_some() && is_asked => slice * REST_WHEN_ASKED,
            () if self.sweep.is_some() => slice * REST,
            () => ROUND,
        }
    }

    fn look_at_limits(&mut self) {
        let is_due = self.last_round.elapsed() >= ROUND;
        if !is_due && !self.stock.is_overfull.load(Relaxed) {
            return;
        }
        if is_due {
            self.last_round = Instant::now();
            self.stock.write_touched();
        }
        if let Err(error) = self.stock.keep_to_limits() {
            tracing::debug!(%error, "what is beyond the limits stays for now");
        }
        if self.stock.is_overfull.load(Relaxed)
            && let Some(take_back) = self.stock.to_take_back()
        {
            // Not on this thread: with the last handle the store would close, and wait for it.
            let taking = std::thread::Builder::new().name("store leases".to_owned()).spawn(move || take_back());
            drop(taking);
        }
    }

    /// Proves a slice; says whether more may be left.
    fn go_on_proving(&mut self) -> bool {
        self.prover.step(&self.stock).unwrap_or_else(|error| {
            tracing::warn!(%error, "blocks of a rebuilt cache could not be proved; another time");
            false
        })
    }

    /// Keeps the ledger to its limits, a slice; says whether more may be left.
    fn go_on_folding(&self) -> bool {
        self.stock.fold_slice(&LedgerLimits::default()).unwrap_or_else(|error| {
            tracing::warn!(%error, "the ledger stays beyond its limits for now");
            false
        })
    }

    fn go_on_sweeping(&mut self) {
        let renewals = self.stock.index.renewals();
        if renewals != self.renewals {
            // A new index knows what is open, the files know the rest.
            self.sweep = self.stock.new_sweep();
        } else if self.sweep.is_none() && self.last_sweep.elapsed() >= SWEEP_EVERY {
            self.sweep = self.stock.new_sweep();
        }
        if self.sweep.is_some() {
            self.renewals = renewals;
        }
        let Some(sweep) = &mut self.sweep else { return };
        match sweep.step(&self.stock, SLICE) {
            Ok(Progress::More) => return,
            Ok(Progress::Done) => tracing::info!(report = ?sweep.report(), "rows and files of the cache agree"),
            Err(error) => tracing::warn!(%error, "the cache could not be looked over; another time"),
        }
        self.sweep = None;
        self.last_sweep = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig};
    use eddy_content::EntityId;

    #[test]
    fn the_ledger_is_looked_after_slice_by_slice_until_nothing_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(StoreConfig::new(directory.path())).expect("opens");
        let stock = &store.core.stock;
        let is_due = || stock.index.next_fold(&LedgerLimits::default()).expect("asked").is_some();
        assert!(is_due(), "nobody has sought strays yet");
        let mut rounds = Rounds::new(Arc::clone(stock), None);
        assert!(rounds.slice() < ROUND && !is_due());
        assert_eq!(rounds.slice(), ROUND);
    }

    #[test]
    fn a_sweep_makes_way_while_the_store_is_asked() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(StoreConfig::new(directory.path())).expect("opens");
        let mut rounds = Rounds::new(Arc::clone(&store.core.stock), Some(Sweep::new(0, 0)));
        let slice = Duration::from_millis(10);
        assert_eq!(rounds.rest_after(slice, false), slice * REST);
        assert!(store.find(&EntityId([1; 32])).expect("asked").is_none());
        assert_eq!(rounds.rest_after(slice, false), slice * REST_WHEN_ASKED);
        assert_eq!(rounds.rest_after(slice, false), slice * REST, "nobody has asked since");
        rounds.sweep = None;
        assert_eq!((rounds.rest_after(slice, true), rounds.rest_after(slice, false)), (slice * REST, ROUND));
    }
}
