//! Keeps the ledger bounded: accounts of jobs that ended long ago become one row, and so do peers that sent least.
//!
//! Rows are added to another and removed in one transaction, a slice of them at a time: the sums are the same before and after each,
//! and a crash leaves one or the other. When a job goes that has accounts, a row by the time of its end says so, and the oldest of these are
//! next. A job's row may be gone without that: an older program removed it, or bytes were accounted for after its rows were folded. Such
//! *strays* are sought once a day, and end when they are found. A row that speaks of a job that is here, since the journal brought it
//! back, folds nothing: it gets another when the job goes.

use super::query::{self, account_of};
use super::tables::Tables;
use super::{ACCOUNT_NAMES, Change, ENDED, FILES, Index, JOBS, KEY_STRAYS, META, PEERS, account_key, apply, join};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, EARLIER_PEERS, Flow, LedgerLimits};
use crate::row;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableHandle};
use serde::{Deserialize, Serialize};
use std::collections::{BinaryHeap, HashSet};
use std::ops::Bound;

/// Rows that one transaction folds at most, and jobs that are looked at for strays.
const SLICE: usize = 1024;
/// Strays are sought so often, in seconds.
const SEEK_EVERY: i64 = 24 * 3600;

/// How it stands with the look for strays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Strays {
    /// When it was last done, in seconds since 1970.
    done: i64,
    /// The key behind which it goes on; none while it is done.
    after: Option<Vec<u8>>,
}

impl Strays {
    /// A clock that was set back makes it due, too.
    fn is_due(&self, now: i64) -> bool {
        self.after.is_some() || !(self.done..self.done.saturating_add(SEEK_EVERY)).contains(&now)
    }
}

impl Index {
    /// The next slice that keeps the ledger to these limits; none when nothing is to be done.
    pub(crate) fn next_fold(&self, limits: &LedgerLimits) -> Result<Option<Vec<Change>>, IndexFault> {
        let now = self.place.disk.clock();
        self.read(|transaction| {
            // Before more are found, so that few are ever listed as ended.
            let ended = transaction.open_table(ENDED)?;
            let listed = Listed::of(&ended)?;
            if ended.first()?.is_some_and(|(key, _)| listed.is_beyond(key.value(), limits, now)) {
                return Ok(Some(vec![Change::FoldAccounts(*limits)]));
            }
            if own_rows(&transaction.open_table(PEERS)?)? > limits.peers {
                return Ok(Some(vec![Change::FoldPeers(*limits)]));
            }
            let strays: Strays = query::get(transaction, META, KEY_STRAYS)?.unwrap_or_default();
            if strays.is_due(now) { seek(transaction, &strays, now).map(Some) } else { Ok(None) }
        })
    }

    /// Makes the table of jobs that ended, in an index of a program that did not know it.
    pub(super) fn add_ended(&self) -> Result<(), IndexFault> {
        let is_there =
            self.read(|transaction| Ok(transaction.list_tables()?.any(|table| table.name() == ENDED.name())))?;
        if is_there {
            return Ok(());
        }
        self.with(|database| {
            let transaction = apply::begin(database)?;
            transaction.open_table(ENDED)?;
            Ok(transaction.commit()?)
        })
        .map_err(|e| IndexFault::new("be upgraded", e))
    }
}

/// Looks at the next jobs that have accounts, for those that are gone and of which no row says so.
fn seek(transaction: &ReadTransaction, strays: &Strays, now: i64) -> Result<Vec<Change>, redb::Error> {
    let (files, jobs) = (transaction.open_table(FILES)?, transaction.open_table(JOBS)?);
    let mut known = HashSet::new();
    for row in transaction.open_table(ENDED)?.iter()? {
        known.extend(job_of(row?.0.value()));
    }
    let (mut after, mut changes) = (strays.after.clone(), Vec::new());
    for _ in 0..SLICE {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let Some(row) = files.range::<&[u8]>((from, Bound::Unbounded))?.next() else {
            changes.push(Change::StraysSought(Strays { done: now, after: None }));
            return Ok(changes);
        };
        let key = row?.0.value().to_vec();
        let Some(Account { job, .. }) = account_of(&key) else {
            after = Some(key);
            continue;
        };
        after = Some(account_key(&Account { job, file: u32::MAX }).to_vec());
        if !known.contains(&job) && !Account::is_standing(&job) && jobs.get(job.as_slice())?.is_none() {
            changes.push(Change::JobEnded(job));
        }
    }
    changes.push(Change::StraysSought(Strays { after, ..strays.clone() }));
    Ok(changes)
}

/// Notes that a job is gone, if it has accounts.
pub(super) fn job_ended(tables: &mut Tables<'_>, job: &[u8; 16], now: i64) -> Result<(), redb::Error> {
    let (first, last) = accounts_of(job);
    let mut accounts = 0_u64;
    for row in tables.at(FILES)?.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        row?;
        accounts += 1;
    }
    if accounts == 0 { Ok(()) } else { tables.put(ENDED, &ended_key(job, now), &accounts) }
}

/// Adds the accounts of jobs that are beyond the limits to [`Account::EARLIER`], the oldest first: a slice of them.
pub(super) fn fold_accounts(tables: &mut Tables<'_>, limits: &LedgerLimits, now: i64) -> Result<(), redb::Error> {
    let mut sum = Balance::default();
    let mut listed = Listed::of(tables.at(ENDED)?)?;
    let mut left = SLICE;
    while left > 0 {
        let oldest = tables.at(ENDED)?.first()?.map(|(key, _)| key.value().to_vec());
        let Some(key) = oldest.filter(|key| listed.is_beyond(key, limits, now)) else { break };
        // A row that cannot be read names nobody: whom it named is found as a stray.
        let accounts: Option<u64> = tables.get(ENDED, &key)?;
        left -= 1;
        if let Some(job) = accounts.and_then(|_| job_of(&key)).filter(|job| !Account::is_standing(job))
            && !tables.has(JOBS, &job)?
        {
            let taken = take_accounts(tables, &job, left, &mut sum)?;
            if taken == left {
                break;
            }
            left -= taken;
        }
        tables.delete(ENDED, &key)?;
        listed.forget(accounts);
    }
    if sum == Balance::default() {
        return Ok(());
    }
    let key = account_key(&Account::EARLIER);
    let mut earlier: Balance = tables.get(FILES, &key)?.unwrap_or_default();
    earlier.merge(&sum);
    tables.put(FILES, &key, &earlier)
}

/// Removes accounts of a job, at most `most`, and adds them up; gives how many they were. What cannot be read has no columns.
fn take_accounts(
    tables: &mut Tables<'_>,
    job: &[u8; 16],
    most: usize,
    sum: &mut Balance,
) -> Result<usize, redb::Error> {
    let (first, last) = accounts_of(job);
    let mut keys = Vec::new();
    for row in tables.at(FILES)?.range::<&[u8]>(first.as_slice()..=last.as_slice())?.take(most) {
        let (key, value) = row?;
        let balance = row::unseal_value::<Balance>(FILES.name(), key.value(), value.value());
        balance.iter().for_each(|balance| sum.merge(balance));
        keys.push(key.value().to_vec());
    }
    for key in &keys {
        tables.delete(FILES, key)?;
        tables.delete(ACCOUNT_NAMES, key)?;
    }
    Ok(keys.len())
}

/// Adds the rows of peers that sent least to that of earlier peers, a slice of those that are too many.
pub(super) fn fold_peers(tables: &mut Tables<'_>, limits: &LedgerLimits) -> Result<(), redb::Error> {
    let count = own_rows(tables.at(PEERS)?)?;
    if count <= limits.peers {
        return Ok(());
    }
    let stay = limits.peers - limits.peers / 4;
    let surplus = usize::try_from(count - stay).unwrap_or(SLICE).min(SLICE);
    // The one that sent most of those that go is on top.
    let mut least = BinaryHeap::new();
    for row in tables.at(PEERS)?.iter()? {
        let (key, value) = row?;
        if key.value() == EARLIER_PEERS {
            continue;
        }
        let flow: Option<Flow> = row::unseal_value(PEERS.name(), key.value(), value.value());
        least.push((flow.unwrap_or_default().received, key.value().to_vec()));
        if least.len() > surplus {
            least.pop();
        }
    }
    let mut earlier: Flow = tables.get(PEERS, &EARLIER_PEERS)?.unwrap_or_default();
    for (_, node) in least {
        earlier.merge(&tables.get(PEERS, &node)?.unwrap_or_default());
        tables.delete(PEERS, &node)?;
    }
    tables.put(PEERS, &EARLIER_PEERS, &earlier)
}

/// How many peers have rows of their own.
fn own_rows<T>(peers: &T) -> Result<u64, redb::Error>
where
    T: ReadableTable<&'static [u8], &'static [u8]> + ReadableTableMetadata,
{
    let has_earlier = peers.get(EARLIER_PEERS.as_slice())?.is_some();
    Ok(peers.len()?.saturating_sub(u64::from(has_earlier)))
}

/// What is listed of jobs that ended.
#[derive(Default)]
struct Listed {
    jobs: u64,
    accounts: u64,
}

impl Listed {
    fn of(ended: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<Self, redb::Error> {
        let mut listed = Self::default();
        for row in ended.iter()? {
            let (key, value) = row?;
            let accounts: Option<u64> = row::unseal_value(ENDED.name(), key.value(), value.value());
            listed.jobs += 1;
            listed.accounts = listed.accounts.saturating_add(accounts.unwrap_or(0));
        }
        Ok(listed)
    }

    /// Whether the oldest of them is beyond the limits.
    fn is_beyond(&self, oldest: &[u8], limits: &LedgerLimits, now: i64) -> bool {
        let ended = oldest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let is_old = ended.saturating_add(limits.age.as_secs()) <= now.max(0).cast_unsigned();
        is_old || self.jobs > limits.ended_jobs || self.accounts > limits.accounts
    }

    fn forget(&mut self, accounts: Option<u64>) {
        self.jobs = self.jobs.saturating_sub(1);
        self.accounts = self.accounts.saturating_sub(accounts.unwrap_or(0));
    }
}

/// The key of a job that ended: sorts by time.
fn ended_key(job: &[u8; 16], now: i64) -> [u8; 24] {
    join(&now.max(0).to_be_bytes(), job)
}

fn job_of(ended: &[u8]) -> Option<[u8; 16]> {
    ended.split_first_chunk::<8>().and_then(|(_, job)| job.try_into().ok())
}

/// The first and the last key that an account of a job can have.
fn accounts_of(job: &[u8; 16]) -> ([u8; 20], [u8; 20]) {
    let key = |file| account_key(&Account { job: *job, file });
    (key(0), key(u32::MAX))
}

#[cfg(test)]
mod tests;
