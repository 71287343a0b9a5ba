//! Answers questions from the index. A damaged row is logged and reads as absent: what it said is fetched or made again.

use super::{
    ACCOUNT_NAMES, ENTITIES, FILES, HELD, Index, JOBS, KEY_FINGERPRINT, KEY_GENERATION, KEY_RUNNING, LOOKUP, META,
    NAMES, PEERS, Table, USED, account_key, chunk_key, name_key,
};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, LedgerRow};
use crate::packed;
use crate::row::{self, EntityRecord};
use crate::store::JobRow;
use eddy_content::{BlockSet, EntityId, LookupKey};
use redb::{ReadTransaction, ReadableTable, TableHandle};
use serde::de::DeserializeOwned;
use std::ops::Bound;

impl Index {
    /// The record of an entity, doomed or not.
    pub(crate) fn record(&self, id: &EntityId) -> Result<Option<EntityRecord>, IndexFault> {
        self.read(|transaction| {
            let Some(mut record) = get::<EntityRecord>(transaction, ENTITIES, &id.0)? else { return Ok(None) };
            record.last_used = get(transaction, USED, &id.0)?.unwrap_or(record.admitted);
            Ok(Some(record))
        })
    }

    /// The held blocks of an entity, and those of them that this node fetched from the origin itself.
    pub(crate) fn held(&self, id: &EntityId) -> Result<(BlockSet, BlockSet), IndexFault> {
        self.read(|transaction| held(transaction, id))
    }

    /// Up to `limit` records after `after`, by id, with their held blocks counted.
    pub(crate) fn page(&self, after: Option<EntityId>, limit: usize) -> Result<Vec<EntityRecord>, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(ENTITIES)?;
            let start = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(id.0.as_slice()));
            let mut records = Vec::new();
            for row in table.range::<&[u8]>((start, Bound::Unbounded))? {
                if records.len() == limit {
                    break;
                }
                let (key, value) = row?;
                let Some(mut record) = open_row::<EntityRecord>(ENTITIES, key.value(), value.value()) else { continue };
                let id = record.id();
                record.last_used = get(transaction, USED, &id.0)?.unwrap_or(record.admitted);
                record.held_blocks = held(transaction, &id)?.0.len();
                records.push(record);
            }
            Ok(records)
        })
    }

    /// Visits every entity row, `None` for a damaged one, with the time of its last use.
    pub(crate) fn visit(&self, mut each: impl FnMut(&[u8], Option<EntityRecord>)) -> Result<(), IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(ENTITIES)?;
            let used = transaction.open_table(USED)?;
            for row in table.iter()? {
                let (key, value) = row?;
                let mut record = open_row::<EntityRecord>(ENTITIES, key.value(), value.value());
                if let Some(record) = &mut record {
                    let at = used.get(key.value())?.and_then(|row| open_row(USED, key.value(), row.value()));
                    record.last_used = at.unwrap_or(record.admitted);
                }
                each(key.value(), record);
            }
            Ok(())
        })
    }

    /// The version that was named last under a requested URL.
    pub(crate) fn latest(&self, name: &[u8; 32]) -> Result<Option<EntityRecord>, IndexFault> {
        let found = self.read(|transaction| {
            let table = transaction.open_table(NAMES)?;
            let (first, last) = (name_key(name, &EntityId([0; 32])), name_key(name, &EntityId([0xff; 32])));
            let mut newest: Option<(u64, EntityId)> = None;
            for row in table.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
                let (key, value) = row?;
                let order = open_row::<u64>(NAMES, key.value(), value.value());
                let id = key.value().last_chunk::<32>().copied().map(EntityId);
                if let (Some(order), Some(id)) = (order, id)
                    && newest.is_none_or(|(best, _)| order >= best)
                    && get::<EntityRecord>(transaction, ENTITIES, &id.0)?.is_some_and(|record| !record.doomed)
                {
                    newest = Some((order, id));
                }
            }
            Ok(newest)
        })?;
        let Some((_, id)) = found else { return Ok(None) };
        let Some(mut record) = self.record(&id)? else { return Ok(None) };
        record.held_blocks = self.held(&id)?.0.len();
        Ok(Some(record))
    }

    /// The entity that peers ask for by `key`.
    pub(crate) fn lookup(&self, key: &LookupKey) -> Result<Option<EntityId>, IndexFault> {
        self.read(|transaction| get(transaction, LOOKUP, &key.0))
    }

    /// The secret for which the lookup table is complete.
    pub(crate) fn fingerprint(&self) -> Result<Option<[u8; 32]>, IndexFault> {
        Ok(self.meta::<Option<[u8; 32]>>(KEY_FINGERPRINT)?.flatten())
    }

    /// The highest generation ever used.
    pub(crate) fn generation(&self) -> Result<u64, IndexFault> {
        Ok(self.meta(KEY_GENERATION)?.unwrap_or(0))
    }

    /// Whether the last process stopped without closing the store.
    pub(crate) fn was_running(&self) -> Result<bool, IndexFault> {
        Ok(self.meta(KEY_RUNNING)?.unwrap_or(false))
    }

    /// All jobs, and how many rows are damaged.
    pub(crate) fn jobs(&self) -> Result<(Vec<JobRow>, u32), IndexFault> {
        self.read(|transaction| {
            let (mut jobs, mut damaged) = (Vec::new(), 0);
            for row in transaction.open_table(JOBS)?.iter()? {
                let (key, value) = row?;
                let payload = row::unseal(JOBS.name(), key.value(), value.value());
                match (<[u8; 16]>::try_from(key.value()), payload) {
                    (Ok(id), Some(payload)) => jobs.push((id, payload.to_vec())),
                    _ => damaged += 1,
                }
            }
            Ok((jobs, damaged))
        })
    }

    /// The columns of one account.
    pub(crate) fn balance(&self, account: &Account) -> Result<Balance, IndexFault> {
        self.read(|transaction| {
            let key = account_key(account);
            let row = transaction.open_table(FILES)?.get(key.as_slice())?;
            Ok(row.and_then(|row| open_row(FILES, &key, row.value())).unwrap_or_default())
        })
    }

    /// Every row of the ledger: files by account, then peers.
    pub(crate) fn ledger(&self) -> Result<Vec<LedgerRow>, IndexFault> {
        self.read(|transaction| {
            let mut rows = Vec::new();
            let names = transaction.open_table(ACCOUNT_NAMES)?;
            for row in transaction.open_table(FILES)?.iter()? {
                let (key, value) = row?;
                if let (Some(account), Some(balance)) =
                    (account_of(key.value()), open_row(FILES, key.value(), value.value()))
                {
                    let name = names.get(key.value())?;
                    let name = name.and_then(|name| open_row(ACCOUNT_NAMES, key.value(), name.value()));
                    rows.push(LedgerRow::File { account, balance, name });
                }
            }
            for row in transaction.open_table(PEERS)?.iter()? {
                let (key, value) = row?;
                if let (Ok(node), Some(flow)) =
                    (<[u8; 32]>::try_from(key.value()), open_row(PEERS, key.value(), value.value()))
                {
                    rows.push(LedgerRow::Peer { node, flow });
                }
            }
            Ok(rows)
        })
    }

    /// A value of the meta table; also of an index that has no table yet.
    pub(super) fn meta<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, IndexFault> {
        self.read(|transaction| match get(transaction, META, key) {
            Err(redb::Error::TableDoesNotExist(_)) => Ok(None),
            other => other,
        })
    }
}

fn held(transaction: &ReadTransaction, id: &EntityId) -> Result<(BlockSet, BlockSet), redb::Error> {
    let table = transaction.open_table(HELD)?;
    let (first, last) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
    let (mut held, mut here) = (BlockSet::new(), BlockSet::new());
    for row in table.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        let (key, value) = row?;
        let chunk = key.value().last_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
        let packed = open_row::<(Vec<u8>, Vec<u8>)>(HELD, key.value(), value.value());
        let (Some(chunk), Some((packed_held, packed_here))) = (chunk, packed) else { continue };
        held.union_with(&packed::decode(&packed_held, chunk).unwrap_or_default());
        here.union_with(&packed::decode(&packed_here, chunk).unwrap_or_default());
    }
    Ok((held, here))
}

fn account_of(key: &[u8]) -> Option<Account> {
    let (job, file) = (key.first_chunk::<16>()?, key.last_chunk::<4>()?);
    (key.len() == 20).then_some(Account { job: *job, file: u32::from_be_bytes(*file) })
}

fn get<T: DeserializeOwned>(transaction: &ReadTransaction, table: Table, key: &[u8]) -> Result<Option<T>, redb::Error> {
    let open = transaction.open_table(table)?;
    let found = open.get(key)?;
    Ok(found.and_then(|row| open_row(table, key, row.value())))
}

fn open_row<T: DeserializeOwned>(table: Table, key: &[u8], row: &[u8]) -> Option<T> {
    let value = row::unseal_value(table.name(), key, row);
    if value.is_none() {
        tracing::warn!(table = table.name(), "a damaged row of the cache index is ignored");
    }
    value
}
