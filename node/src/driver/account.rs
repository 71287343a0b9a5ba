//! What the ledger knows of a file that is whole, and of its delivery.

use eddy_cache::{Account, Balance, Delivered, LedgerEntry, Source, Store, StoreError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Deliveries that may wait for the ledger.
const MOST_OWED: usize = 1024;

/// The account of a file that is whole. What it used beyond the bytes that are delivered was of an older
/// version, or rotted, or is what blocks have beside the ranges that are wanted of them.
pub(super) fn settle_account(store: &Store, account: Account, length: u64) -> Balance {
    let balance = store.balance(account).unwrap_or_default();
    if balance.origin.used + balance.peers.used <= length {
        return balance;
    }
    match store.record(&[LedgerEntry::Outdated { account, except: length }]) {
        Ok(()) => store.balance(account).unwrap_or(balance),
        Err(_) => balance,
    }
}

/// A file that stands at its destination, as the ledger has to know it.
pub(super) struct Delivery {
    pub(super) account: Account,
    /// For people.
    pub(super) name: String,
    pub(super) https: bool,
    pub(super) length: u64,
    pub(super) bytes: Delivered,
}

impl Delivery {
    /// What the ledger has to take in; nothing where it knows: after a crash a file may be published a second time.
    fn entries(&self, store: &Store) -> Result<Vec<LedgerEntry>, StoreError> {
        let &Self { account, https, length, bytes, .. } = self;
        let balance = store.balance(account)?;
        if balance.delivered.total() > 0 || length == 0 {
            return Ok(Vec::new());
        }
        // A streamed body never passed through the store; it is accounted for as a whole.
        let has_streamed = balance.origin.used + balance.peers.used == 0 && bytes.origin > 0;
        let streamed = LedgerEntry::Streamed { account, source: Source::Origin { https }, bytes: length };
        let delivered = LedgerEntry::Delivered { account, bytes };
        Ok(has_streamed.then_some(streamed).into_iter().chain([delivered]).collect())
    }
}

/// Writes deliveries into the ledger, all at once.
fn record_all(store: &Store, deliveries: &[Delivery]) -> Result<(), StoreError> {
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        let new = delivery.entries(store)?;
        if !new.is_empty() {
            names.push((delivery.account, delivery.name.as_str()));
        }
        entries.extend(new);
    }
    store.record_named(&entries, &names)
}

/// Deliveries that the ledger could not take, until its disk is well. Should the node end before, their jobs are still there
/// for the same reason, and are delivered a second time.
#[derive(Clone, Default)]
pub(super) struct Owed(Arc<Mutex<Vec<Delivery>>>);

impl Owed {
    /// Records deliveries, now or later.
    pub(super) fn record(&self, store: &Store, deliveries: Vec<Delivery>) {
        if let Err(error) = record_all(store, &deliveries) {
            let count = deliveries.len();
            tracing::error!(%error, count, "deliveries are not in the ledger yet");
            let mut owed = self.owed();
            let room = MOST_OWED.saturating_sub(owed.len());
            owed.extend(deliveries.into_iter().take(room));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed().is_empty()
    }

    /// Tries again, the newest first; false when the ledger still takes none.
    pub(super) fn settle(&self, store: &Store) -> bool {
        loop {
            let Some(delivery) = self.owed().pop() else { return true };
            if record_all(store, std::slice::from_ref(&delivery)).is_err() {
                self.owed().push(delivery);
                return false;
            }
        }
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
