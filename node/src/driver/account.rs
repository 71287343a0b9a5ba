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
#[derive(Clone)]
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

/// What the ledger takes in of deliveries, and what their accounts are called.
type Entries<'d> = (Vec<LedgerEntry>, Vec<(Account, &'d str)>);

fn entries<'d>(store: &Store, deliveries: &'d [Delivery]) -> Result<Entries<'d>, StoreError> {
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        let new = delivery.entries(store)?;
        if !new.is_empty() {
            names.push((delivery.account, delivery.name.as_str()));
        }
        entries.extend(new);
    }
    Ok((entries, names))
}

/// Deliveries that the ledger could not take, until its disk is well. Should the node end before, their jobs are still there
/// for the same reason, and are delivered a second time.
#[derive(Clone, Default)]
pub(super) struct Owed(Arc<Mutex<Vec<Delivery>>>);

impl Owed {
    /// Records deliveries with the next transaction, or later: that of their jobs' ends at the latest, which are asked for after this.
    pub(super) fn record(&self, store: &Store, deliveries: Vec<Delivery>) {
        let deliveries = Arc::new(deliveries);
        let (owed, kept) = (self.clone(), deliveries.clone());
        let told = move |outcome| {
            if let Err(error) = outcome {
                owed.owe(kept, &error);
            }
        };
        let asked =
            entries(store, &deliveries).and_then(|(entries, names)| store.record_unhurried(&entries, &names, told));
        if let Err(error) = asked {
            self.owe(deliveries, &error);
        }
    }

    fn owe(&self, deliveries: Arc<Vec<Delivery>>, error: &StoreError) {
        let count = deliveries.len();
        tracing::error!(%error, count, "deliveries are not in the ledger yet");
        let mut owed = self.owed();
        let room = MOST_OWED.saturating_sub(owed.len());
        owed.extend(deliveries.iter().take(room).cloned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed().is_empty()
    }

    /// Tries again, the newest first; false when the ledger still takes none.
    pub(super) fn settle(&self, store: &Store) -> bool {
        loop {
            let Some(delivery) = self.owed().pop() else { return true };
            let recorded = entries(store, std::slice::from_ref(&delivery))
                .and_then(|(entries, names)| store.record_named(&entries, &names));
            if recorded.is_err() {
                self.owed().push(delivery);
                return false;
            }
        }
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
