//! Carries changes out: one durable transaction for a whole list.

use super::line::Lines;
use super::{
    ACCOUNT_NAMES, ALL_TABLES, Change, Counters, DOOMED, ENTITIES, FILES, FORMAT, HELD, INLINE, INLINE_STATEMENTS,
    Index, JOBS, KEY_COUNTERS, KEY_EPOCH, KEY_FINGERPRINT, KEY_FORMAT, KEY_GENERATION, KEY_JOBS, KEY_RESERVED,
    KEY_RUNNING, KEY_SCRUB, KEY_TRANSACTION, KEY_UNPROVEN, LOOKUP, META, NAMES, PEERS, Table, account_key, chunk_key,
    name_key,
};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, Flow, FlowChange, LedgerEntry, Source, Waste};
use crate::packed;
use crate::room::Pin;
use crate::row::{self, EntityRecord};
use eddy_content::evict::Standing;
use eddy_content::{BlockSet, EntityId};
use redb::{Database, Durability, ReadableTable, TableHandle, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

impl Index {
    /// Applies all changes or none; durable when it returns. `Err` means that none of them is in the index.
    pub(crate) fn apply(&self, number: u64, changes: &[Change]) -> Result<(), IndexFault> {
        self.latest.fetch_max(number, Relaxed);
        let outcome = self.with(|database| {
            let transaction = begin(database)?;
            put(&transaction, META, KEY_TRANSACTION, &number)?;
            let mut lines = Lines::new(&transaction)?;
            for change in changes {
                apply_one(&transaction, &mut lines, change)?;
            }
            let counters = lines.finish()?;
            transaction.commit()?;
            Ok(counters)
        });
        let error = match outcome {
            Ok(counters) => {
                self.applied(counters, changes);
                return Ok(());
            }
            Err(error) => error,
        };
        tracing::warn!(%error, "an index commit failed: opening the index again to see what is in it");
        self.reopen().map_err(|e| IndexFault::new("be opened again", e))?;
        if self.meta::<u64>(KEY_TRANSACTION)? == Some(number) {
            self.applied(self.meta(KEY_COUNTERS)?.unwrap_or_default(), changes);
            return Ok(());
        }
        Err(IndexFault::new("be written", error))
    }

    /// Remembers what must be known without asking.
    fn applied(&self, counters: Counters, changes: &[Change]) {
        self.set_counters(counters);
        self.learn_names(changes);
        for change in changes {
            if let Change::Reserved(highest) = change {
                self.reserved.store(*highest, Relaxed);
            }
        }
    }

    pub(super) fn set_counters(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// Number of the last transaction, the base of the next.
    pub(crate) fn last_transaction(&self) -> Result<u64, IndexFault> {
        Ok(self.meta(KEY_TRANSACTION)?.unwrap_or(0))
    }

    /// Makes the tables and writes the format number.
    pub(super) fn stamp(&self) -> Result<(), IndexFault> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            make_tables(&transaction)?;
            put(&transaction, META, KEY_FORMAT, &FORMAT)?;
            put(&transaction, META, KEY_COUNTERS, &Counters::default())?;
            transaction.commit()?;
            Ok(())
        })
        .map_err(|e| IndexFault::new("be made", e))
    }
}

/// A transaction as all of this index are (C-09).
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    // Saves the allocator's state too, so that an unclean stop costs no scan at the next start.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Makes the tables that are not there.
pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    for table in ALL_TABLES {
        transaction.open_table(table)?;
    }
    Ok(())
}

fn apply_one(transaction: &WriteTransaction, lines: &mut Lines<'_>, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::Entity(record, name) => entity(transaction, lines, record, name),
        Change::Doom(id) => doom(transaction, lines, id),
        Change::Forget(record, lookup) => {
            if let Some(key) = lookup {
                delete(transaction, LOOKUP, &key.0)?;
            }
            forget(transaction, lines, record)
        }
        Change::Strike(key) => strike(transaction, lines, key),
        Change::Blocks { id, generation, add, fetched_here, remove } => {
            if is_here(transaction, id, *generation)? {
                blocks(transaction, id, add, fetched_here, remove)?;
            }
            Ok(())
        }
        Change::Inline { id, generation, hash, bytes } => {
            if is_here(transaction, id, *generation)? {
                let payload = [generation.to_le_bytes().as_slice(), &hash.0, bytes].concat();
                let sealed = row::seal(INLINE.name(), &id.0, &payload);
                transaction.open_table(INLINE)?.insert(id.0.as_slice(), sealed.as_slice())?;
            }
            Ok(())
        }
        Change::InlineStatements { id, generation, bytes } => {
            if is_here(transaction, id, *generation)? {
                let sealed = row::seal(INLINE_STATEMENTS.name(), &id.0, bytes);
                transaction.open_table(INLINE_STATEMENTS)?.insert(id.0.as_slice(), sealed.as_slice())?;
            }
            Ok(())
        }
        Change::Used(id, at) => lines.stand(id, |standing| standing.used(*at)),
        Change::Superseded(id) => lines.stand(id, Standing::superseded),
        Change::Pin(id, pin) => {
            let Some(mut record) = record(transaction, id)? else { return Ok(()) };
            record.pinned = *pin == Pin::Pinned;
            put_record(transaction, &record)?;
            lines.follow(&record)
        }
        Change::Job(id, Some(row)) => {
            let sealed = row::seal(JOBS.name(), id, row);
            transaction.open_table(JOBS)?.insert(id.as_slice(), sealed.as_slice())?;
            Ok(())
        }
        Change::Job(id, None) => delete(transaction, JOBS, id),
        Change::JobsSequence(sequence) => put(transaction, META, KEY_JOBS, sequence),
        Change::Unproven => put(transaction, META, KEY_UNPROVEN, &Vec::<u8>::new()),
        Change::Proven { from, to } => match (get::<Vec<u8>>(transaction, META, KEY_UNPROVEN)?, to) {
            (Some(now), Some(to)) if now == *from => put(transaction, META, KEY_UNPROVEN, to),
            (Some(now), None) if now == *from => delete(transaction, META, KEY_UNPROVEN),
            _ => Ok(()),
        },
        Change::StrikeRow(name, key) => match ALL_TABLES.into_iter().find(|table| table.name() == *name) {
            Some(table) => delete(transaction, table, key),
            None => Ok(()),
        },
        Change::Scrubbed(record) => put(transaction, META, KEY_SCRUB, record),
        Change::Flow(change) => flow(transaction, change),
        Change::Entry(entry) => ledger_entry(transaction, entry),
        Change::AccountName(account, name) => put(transaction, ACCOUNT_NAMES, &account_key(account), name),
        Change::Lookup(key, id) => put(transaction, LOOKUP, &key.0, id),
        Change::Unlookup(key) => delete(transaction, LOOKUP, &key.0),
        Change::ClearLookup => {
            transaction.delete_table(LOOKUP)?;
            transaction.open_table(LOOKUP)?;
            Ok(())
        }
        Change::Fingerprint(mark) => put(transaction, META, KEY_FINGERPRINT, mark),
        Change::Reserved(highest) => put(transaction, META, KEY_RESERVED, highest),
        Change::Epoch(name, epoch) => {
            let key = [KEY_EPOCH, name].concat();
            let known = get::<u64>(transaction, META, &key)?.unwrap_or(0);
            if *epoch > known { put(transaction, META, &key, epoch) } else { Ok(()) }
        }
        Change::Running(is_running) => put(transaction, META, KEY_RUNNING, is_running),
    }
}

/// Writes the entity's row; `name` becomes its newest name, ahead of every other version under that URL.
fn entity(
    transaction: &WriteTransaction,
    lines: &mut Lines<'_>,
    new: &EntityRecord,
    name: &[u8; 32],
) -> Result<(), redb::Error> {
    let id = new.id();
    let old = record(transaction, &id)?.map(|old| old.generation);
    if old.is_some_and(|old| old > new.generation) {
        return Ok(());
    }
    if old != Some(new.generation) {
        // What an earlier generation held, or one whose row was damaged, is not held by this one.
        forget_content(transaction, &id)?;
    }
    put_record(transaction, new)?;
    lines.follow(new)?;
    if new.names.contains(name) {
        // The transaction's number is the order in which versions were named.
        let order: u64 = get(transaction, META, KEY_TRANSACTION)?.unwrap_or(0);
        put(transaction, NAMES, &name_key(name, &id), &order)?;
    }
    let highest = get::<u64>(transaction, META, KEY_GENERATION)?.unwrap_or(0);
    if new.generation > highest { put(transaction, META, KEY_GENERATION, &new.generation) } else { Ok(()) }
}

fn doom(transaction: &WriteTransaction, lines: &mut Lines<'_>, id: &EntityId) -> Result<(), redb::Error> {
    let Some(mut record) = record(transaction, id)? else { return Ok(()) };
    record.doomed = true;
    put_record(transaction, &record)?;
    put(transaction, DOOMED, &id.0, &record.generation)?;
    lines.follow(&record)
}

fn forget(transaction: &WriteTransaction, lines: &mut Lines<'_>, record: &EntityRecord) -> Result<(), redb::Error> {
    let id = record.id();
    delete(transaction, ENTITIES, &id.0)?;
    delete(transaction, DOOMED, &id.0)?;
    for name in &record.names {
        delete(transaction, NAMES, &name_key(name, &id))?;
    }
    lines.set(&id, None)?;
    forget_content(transaction, &id)
}

/// Removes a row that cannot be read. Its names stay: they lead to nothing.
pub(super) fn strike(transaction: &WriteTransaction, lines: &mut Lines<'_>, key: &[u8]) -> Result<(), redb::Error> {
    delete(transaction, ENTITIES, key)?;
    let Ok(id) = <[u8; 32]>::try_from(key).map(EntityId) else { return Ok(()) };
    delete(transaction, DOOMED, &id.0)?;
    lines.set(&id, None)?;
    forget_content(transaction, &id)
}

/// Removes what an entity holds: its blocks, and its bytes when they are in the index.
fn forget_content(transaction: &WriteTransaction, id: &EntityId) -> Result<(), redb::Error> {
    delete(transaction, INLINE, &id.0)?;
    delete(transaction, INLINE_STATEMENTS, &id.0)?;
    let (first, last) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
    transaction.open_table(HELD)?.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?;
    Ok(())
}

/// Whether the entity's row is of this generation.
fn is_here(transaction: &WriteTransaction, id: &EntityId, generation: u64) -> Result<bool, redb::Error> {
    Ok(record(transaction, id)?.is_some_and(|row| row.generation == generation))
}

fn record(transaction: &WriteTransaction, id: &EntityId) -> Result<Option<EntityRecord>, redb::Error> {
    let table = transaction.open_table(ENTITIES)?;
    let found = table.get(id.0.as_slice())?;
    Ok(found.and_then(|row| EntityRecord::unseal(ENTITIES.name(), &id.0, row.value())))
}

pub(super) fn put_record(transaction: &WriteTransaction, record: &EntityRecord) -> Result<(), redb::Error> {
    let id = record.id();
    let sealed = record.seal(ENTITIES.name(), &id.0);
    transaction.open_table(ENTITIES)?.insert(id.0.as_slice(), sealed.as_slice())?;
    Ok(())
}

fn blocks(
    transaction: &WriteTransaction,
    id: &EntityId,
    add: &BlockSet,
    fetched_here: &BlockSet,
    remove: &BlockSet,
) -> Result<(), redb::Error> {
    let mut touched = add.clone();
    touched.union_with(remove);
    for chunk in packed::chunks_of(&touched) {
        let key = chunk_key(id, chunk);
        let packed: Option<(Vec<u8>, Vec<u8>)> = get(transaction, HELD, &key)?;
        let (held, here) = packed.unwrap_or_default();
        let (mut held, mut here) =
            (packed::decode(&held, chunk).unwrap_or_default(), packed::decode(&here, chunk).unwrap_or_default());
        for set in [&mut held, &mut here] {
            set.difference_with(remove);
        }
        // Blocks that are written again lose the provenance of what was there before.
        here.difference_with(add);
        held.union_with(add);
        here.union_with(fetched_here);
        put(transaction, HELD, &key, &(packed::encode(&held, chunk), packed::encode(&here, chunk)))?;
    }
    Ok(())
}

fn flow(transaction: &WriteTransaction, change: &FlowChange) -> Result<(), redb::Error> {
    change_flow(transaction, &change.account, &change.source, |flow| flow.merge(&change.flow))
}

fn ledger_entry(transaction: &WriteTransaction, entry: &LedgerEntry) -> Result<(), redb::Error> {
    match *entry {
        LedgerEntry::Wasted { account, source, reason, bytes } => {
            change_flow(transaction, &account, &source, |flow| flow.waste(reason, bytes))
        }
        LedgerEntry::Spoiled { account, source, reason, bytes } => {
            change_flow(transaction, &account, &source, |flow| flow.spoil(reason, bytes))
        }
        LedgerEntry::Outdated { account, except } => change_balance(transaction, &account, |balance| {
            let used = balance.origin.used.saturating_add(balance.peers.used);
            let outdated = used.saturating_sub(except);
            let of_origin = outdated.min(balance.origin.used);
            balance.origin.spoil(Waste::Stale, of_origin);
            balance.peers.spoil(Waste::Stale, outdated - of_origin);
        }),
        LedgerEntry::Audited { account, bytes } => change_balance(transaction, &account, |balance| {
            balance.audited = balance.audited.saturating_add(bytes);
        }),
        LedgerEntry::Doubted { account, bytes } => {
            change_balance(transaction, &account, |balance| balance.peers.spoil(Waste::Corrupt, bytes))
        }
        LedgerEntry::Streamed { account, source, bytes } => {
            let is_delivered = balance(transaction, &account)?.delivered.total() > 0;
            if is_delivered {
                return Ok(());
            }
            change_flow(transaction, &account, &source, |flow| flow.use_up(bytes))
        }
        LedgerEntry::Delivered { account, bytes } => change_balance(transaction, &account, |balance| {
            if balance.delivered.total() == 0 {
                balance.delivered = bytes;
            }
        }),
    }
}

/// Changes the flow of an account, and of the peer it came from, by the same amounts.
fn change_flow(
    transaction: &WriteTransaction,
    account: &Account,
    source: &Source,
    change: impl Fn(&mut Flow),
) -> Result<(), redb::Error> {
    if *source == Source::Package {
        return Ok(());
    }
    change_balance(transaction, account, |balance| match source {
        Source::Origin { .. } => change(&mut balance.origin),
        Source::Peer { .. } => change(&mut balance.peers),
        Source::Package => {}
    })?;
    if let Source::Peer { node } = source {
        let mut flow: Flow = get(transaction, PEERS, node)?.unwrap_or_default();
        change(&mut flow);
        put(transaction, PEERS, node, &flow)?;
    }
    Ok(())
}

fn change_balance(
    transaction: &WriteTransaction,
    account: &Account,
    change: impl FnOnce(&mut Balance),
) -> Result<(), redb::Error> {
    let mut balance = balance(transaction, account)?;
    change(&mut balance);
    put(transaction, FILES, &account_key(account), &balance)
}

fn balance(transaction: &WriteTransaction, account: &Account) -> Result<Balance, redb::Error> {
    Ok(get(transaction, FILES, &account_key(account))?.unwrap_or_default())
}

pub(super) fn put<T: Serialize>(
    transaction: &WriteTransaction,
    table: Table,
    key: &[u8],
    value: &T,
) -> Result<(), redb::Error> {
    let sealed = row::seal_value(table.name(), key, value);
    transaction.open_table(table)?.insert(key, sealed.as_slice())?;
    Ok(())
}

pub(super) fn get<T: DeserializeOwned>(
    transaction: &WriteTransaction,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, redb::Error> {
    let open = transaction.open_table(table)?;
    let found = open.get(key)?;
    Ok(found.and_then(|row| row::unseal_value(table.name(), key, row.value())))
}

pub(super) fn delete(transaction: &WriteTransaction, table: Table, key: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(table)?.remove(key)?;
    Ok(())
}
