//! Carries changes out: one durable transaction for a whole list.

use super::{
    ACCOUNT_NAMES, Change, ENTITIES, FILES, FORMAT, HELD, Index, JOBS, KEY_FINGERPRINT, KEY_FORMAT, KEY_GENERATION,
    KEY_JOBS, KEY_RUNNING, KEY_TRANSACTION, LOOKUP, META, NAMES, PEERS, Table, USED, account_key, chunk_key, name_key,
};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, Flow, FlowChange, LedgerEntry, Source, Waste};
use crate::packed;
use crate::row::{self, EntityRecord};
use eddy_content::{BlockSet, EntityId};
use redb::{Durability, ReadableTable, TableHandle, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Index {
    /// Applies all changes or none; durable when it returns. `Err` means that none of them is in the index.
    pub(crate) fn apply(&self, number: u64, changes: &[Change]) -> Result<(), IndexFault> {
        let Err(error) = self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            transaction.set_two_phase_commit(true);
            // Saves the allocator's state too, so that an unclean stop costs no scan at the next start.
            transaction.set_quick_repair(true);
            put(&transaction, META, KEY_TRANSACTION, &number)?;
            for change in changes {
                apply_one(&transaction, change)?;
            }
            transaction.commit()?;
            Ok(())
        }) else {
            return Ok(());
        };
        tracing::warn!(%error, "an index commit failed: opening the index again to see what is in it");
        self.reopen().map_err(|e| IndexFault::new("be opened again", e))?;
        if self.meta::<u64>(KEY_TRANSACTION)? == Some(number) {
            return Ok(());
        }
        Err(IndexFault::new("be written", error))
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
            for table in [META, ENTITIES, HELD, USED, NAMES, LOOKUP, JOBS, FILES, ACCOUNT_NAMES, PEERS] {
                transaction.open_table(table)?;
            }
            put(&transaction, META, KEY_FORMAT, &FORMAT)?;
            transaction.commit()?;
            Ok(())
        })
        .map_err(|e| IndexFault::new("be made", e))
    }
}

fn apply_one(transaction: &WriteTransaction, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::Entity(record, name) => entity(transaction, record, name),
        Change::Doom(id) => doom(transaction, id),
        Change::Forget(record, lookup) => {
            if let Some(key) = lookup {
                delete(transaction, LOOKUP, &key.0)?;
            }
            forget(transaction, record)
        }
        Change::Strike(key) => {
            delete(transaction, ENTITIES, key)?;
            let Ok(id) = <[u8; 32]>::try_from(key.as_slice()) else { return Ok(()) };
            forget_blocks(transaction, &EntityId(id))
        }
        Change::Blocks { id, generation, add, fetched_here, remove } => {
            if get::<EntityRecord>(transaction, ENTITIES, &id.0)?.is_some_and(|row| row.generation == *generation) {
                blocks(transaction, id, add, fetched_here, remove)?;
            }
            Ok(())
        }
        Change::Used(id, at) => put(transaction, USED, &id.0, at),
        Change::Job(id, Some(row)) => {
            let sealed = row::seal(JOBS.name(), id, row);
            transaction.open_table(JOBS)?.insert(id.as_slice(), sealed.as_slice())?;
            Ok(())
        }
        Change::Job(id, None) => delete(transaction, JOBS, id),
        Change::JobsSequence(sequence) => put(transaction, META, KEY_JOBS, sequence),
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
        Change::Generation(highest) => put(transaction, META, KEY_GENERATION, highest),
        Change::Running(is_running) => put(transaction, META, KEY_RUNNING, is_running),
    }
}

/// Writes the entity's row; `name` becomes its newest name, ahead of every other version under that URL.
fn entity(transaction: &WriteTransaction, record: &EntityRecord, name: &[u8; 32]) -> Result<(), redb::Error> {
    let id = record.id();
    put(transaction, ENTITIES, &id.0, record)?;
    if record.names.contains(name) {
        // The transaction's number is the order in which versions were named.
        let order: u64 = get(transaction, META, KEY_TRANSACTION)?.unwrap_or(0);
        put(transaction, NAMES, &name_key(name, &id), &order)?;
    }
    put(transaction, META, KEY_GENERATION, &highest_generation(transaction, record.generation)?)
}

fn highest_generation(transaction: &WriteTransaction, seen: u64) -> Result<u64, redb::Error> {
    Ok(get::<u64>(transaction, META, KEY_GENERATION)?.unwrap_or(0).max(seen))
}

fn doom(transaction: &WriteTransaction, id: &EntityId) -> Result<(), redb::Error> {
    if let Some(mut record) = get::<EntityRecord>(transaction, ENTITIES, &id.0)? {
        record.doomed = true;
        put(transaction, ENTITIES, &id.0, &record)?;
    }
    Ok(())
}

fn forget(transaction: &WriteTransaction, record: &EntityRecord) -> Result<(), redb::Error> {
    let id = record.id();
    delete(transaction, ENTITIES, &id.0)?;
    for name in &record.names {
        delete(transaction, NAMES, &name_key(name, &id))?;
    }
    forget_blocks(transaction, &id)
}

fn forget_blocks(transaction: &WriteTransaction, id: &EntityId) -> Result<(), redb::Error> {
    delete(transaction, USED, &id.0)?;
    let (first, last) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
    transaction.open_table(HELD)?.retain_in(first.as_slice()..=last.as_slice(), |_, _| false)?;
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
    change_balance(transaction, account, |balance| match source {
        Source::Origin { .. } => change(&mut balance.origin),
        Source::Peer { .. } => change(&mut balance.peers),
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

fn put<T: Serialize>(transaction: &WriteTransaction, table: Table, key: &[u8], value: &T) -> Result<(), redb::Error> {
    let sealed = row::seal_value(table.name(), key, value);
    transaction.open_table(table)?.insert(key, sealed.as_slice())?;
    Ok(())
}

fn get<T: DeserializeOwned>(
    transaction: &WriteTransaction,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, redb::Error> {
    let open = transaction.open_table(table)?;
    let found = open.get(key)?;
    Ok(found.and_then(|row| row::unseal_value(table.name(), key, row.value())))
}

fn delete(transaction: &WriteTransaction, table: Table, key: &[u8]) -> Result<(), redb::Error> {
    transaction.open_table(table)?.remove(key)?;
    Ok(())
}
