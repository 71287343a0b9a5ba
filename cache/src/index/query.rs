//! Answers questions from the index. A damaged row is logged and reads as absent: what it said is fetched or made again.

use super::{
    ACCOUNT_NAMES, DOOMED, ENTITIES, FILES, HELD, INLINE, INLINE_STATEMENTS, Index, JOBS, KEY_FINGERPRINT, KEY_FORMAT,
    KEY_GENERATION, KEY_RESERVED, KEY_RUNNING, LINES, LOOKUP, Line, META, NAMES, ORDER, PEERS, Table, account_key,
    chunk_key, line::order_key, name_key,
};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, Flow, LedgerRow};
use crate::packed;
use crate::row::{self, EntityRecord, Privacy};
use crate::store::JobRows;
use eddy_content::evict::Standing;
use eddy_content::{BlockHash, BlockSet, EntityId, LookupKey};
use redb::{ReadTransaction, ReadableTable, TableHandle};
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Bound;

impl Index {
    /// The record of an entity, doomed or not.
    pub(crate) fn record(&self, id: &EntityId) -> Result<Option<EntityRecord>, IndexFault> {
        self.read(|transaction| {
            let Some(mut record) = record(transaction, id)? else { return Ok(None) };
            record.last_used = last_use(transaction, &record)?;
            Ok(Some(record))
        })
    }

    /// The record of an entity, doomed or not, with its held blocks and those of them that this node fetched from the origin.
    pub(crate) fn entity(&self, id: &EntityId) -> Result<Option<(EntityRecord, BlockSet, BlockSet)>, IndexFault> {
        self.read(|transaction| {
            let Some(mut record) = record(transaction, id)? else { return Ok(None) };
            record.last_used = last_use(transaction, &record)?;
            let (held, here) = held(transaction, id)?;
            Ok(Some((record, held, here)))
        })
    }

    /// How an entity stands with eviction.
    pub(crate) fn line(&self, id: &EntityId) -> Result<Option<Line>, IndexFault> {
        self.read(|transaction| get(transaction, LINES, &id.0))
    }

    /// Asks about the entities that may go, in the order in which they would: those before [`Standing::PROTECTED_FROM`],
    /// and those from there on. Whoever asks reads as far as he likes.
    pub(crate) fn in_line<T>(&self, ask: impl FnOnce(InOrder<'_>, InOrder<'_>) -> T) -> Result<T, IndexFault> {
        self.in_line_behind([None, None], ask)
    }

    /// The same from behind a place in each of the two parts.
    pub(crate) fn in_line_behind<T>(
        &self,
        [first, protected]: [Option<LineKey>; 2],
        ask: impl FnOnce(InOrder<'_>, InOrder<'_>) -> T,
    ) -> Result<T, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(ORDER)?;
            let border = Standing::PROTECTED_FROM.as_slice();
            let start = first.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
            let start_protected =
                protected.as_ref().map_or(Bound::Included(border), |key| Bound::Excluded(key.as_slice()));
            let fault = Cell::new(None);
            let first = readable(table.range::<&[u8]>((start, Bound::Excluded(border)))?, &fault);
            let protected = readable(table.range::<&[u8]>((start_protected, Bound::Unbounded))?, &fault);
            let answer = ask(Box::new(first), Box::new(protected));
            fault.take().map_or(Ok(answer), |error: redb::StorageError| Err(error.into()))
        })
    }

    /// Those of some rows that still stand so in line.
    pub(crate) fn still_in_line(&self, rows: &[InLine]) -> Result<Vec<InLine>, IndexFault> {
        self.read(|transaction| {
            let mut still = Vec::with_capacity(rows.len());
            for row in rows {
                let now: Option<Line> = get(transaction, ORDER, &row.key())?;
                still.extend(Some(*row).filter(|row| now == Some(row.line)));
            }
            Ok(still)
        })
    }

    /// The entities that were being removed.
    pub(crate) fn doomed(&self) -> Result<Vec<EntityId>, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(DOOMED)?;
            let mut ids = Vec::new();
            for row in table.iter()? {
                // What the row says is not believed, the entity's own row is.
                ids.extend(<[u8; 32]>::try_from(row?.0.value()).map(EntityId).ok());
            }
            Ok(ids)
        })
    }

    /// Up to `limit` rows of entities after `after`: their keys, and their records unless they are damaged.
    pub(crate) fn rows(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<EntityRow>, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(ENTITIES)?;
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut rows = Vec::new();
            for row in table.range::<&[u8]>((start, Bound::Unbounded))?.take(limit) {
                let (key, value) = row?;
                rows.push((key.value().to_vec(), open_record(key.value(), value.value())));
            }
            Ok(rows)
        })
    }

    /// The bytes of an entity that lies in the index, with their hash; of this generation alone.
    pub(crate) fn inline(&self, id: &EntityId, generation: u64) -> Result<Option<(BlockHash, Vec<u8>)>, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(INLINE)?;
            let Some(row) = table.get(id.0.as_slice())? else { return Ok(None) };
            Ok(inline_row(id, generation, row.value()).map(|(hash, bytes)| (hash, bytes.to_vec())))
        })
    }

    /// The statements of an entity that lies in the index, encoded.
    pub(crate) fn inline_statements(&self, id: &EntityId) -> Result<Vec<u8>, IndexFault> {
        self.read(|transaction| {
            let table = transaction.open_table(INLINE_STATEMENTS)?;
            let found = table.get(id.0.as_slice())?;
            let payload =
                found.and_then(|row| row::unseal(INLINE_STATEMENTS.name(), &id.0, row.value()).map(<[u8]>::to_vec));
            Ok(payload.unwrap_or_default())
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
                let Some(mut record) = open_record(key.value(), value.value()) else { continue };
                record.last_used = last_use(transaction, &record)?;
                record.held_blocks = held(transaction, &record.id())?.0.len();
                records.push(record);
            }
            Ok(records)
        })
    }

    /// The version that was named last under a requested URL.
    pub(crate) fn latest(&self, name: &[u8; 32]) -> Result<Option<EntityRecord>, IndexFault> {
        let found = self.read(|transaction| {
            let (table, entities) = (transaction.open_table(NAMES)?, transaction.open_table(ENTITIES)?);
            let (first, last) = (name_key(name, &EntityId([0; 32])), name_key(name, &EntityId([0xff; 32])));
            let mut newest: Option<(u64, EntityId)> = None;
            for row in table.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
                let (key, value) = row?;
                let order = open_row::<u64>(NAMES, key.value(), value.value());
                let id = key.value().last_chunk::<32>().copied().map(EntityId);
                if let (Some(order), Some(id)) = (order, id)
                    && newest.is_none_or(|(best, _)| order >= best)
                    && entities
                        .get(id.0.as_slice())?
                        .and_then(|row| open_record(&id.0, row.value()))
                        .is_some_and(|record| !record.doomed)
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

    /// The entity that peers ask for by `key`, unless its own row says that it is private.
    pub(crate) fn shareable(&self, key: &LookupKey) -> Result<Option<EntityId>, IndexFault> {
        self.read(|transaction| {
            let Some(id) = get::<EntityId>(transaction, LOOKUP, &key.0)? else { return Ok(None) };
            let record = record(transaction, &id)?;
            Ok(record.filter(|record| record.privacy == Privacy::Shareable).map(|_| id))
        })
    }

    /// The secret for which the lookup table is complete.
    pub(crate) fn fingerprint(&self) -> Result<Option<[u8; 32]>, IndexFault> {
        Ok(self.meta::<Option<[u8; 32]>>(KEY_FINGERPRINT)?.flatten())
    }

    /// The highest generation that a row ever had, and the highest that may have been used.
    pub(crate) fn generations(&self) -> Result<(u64, u64), IndexFault> {
        let highest = self.meta(KEY_GENERATION)?.unwrap_or(0);
        Ok((highest, self.meta(KEY_RESERVED)?.unwrap_or(0).max(highest)))
    }

    /// Whether the last process stopped without closing the store.
    pub(crate) fn was_running(&self) -> Result<bool, IndexFault> {
        Ok(self.meta(KEY_RUNNING)?.unwrap_or(false))
    }

    /// At most `most` jobs behind a point, and how many of their rows are damaged.
    pub(crate) fn jobs_behind(&self, behind: Option<[u8; 16]>, most: usize) -> Result<(JobRows, u32), IndexFault> {
        self.read(|transaction| {
            let (mut found, mut damaged) = (JobRows::default(), 0);
            let from = behind.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_slice()));
            for row in transaction.open_table(JOBS)?.range::<&[u8]>((from, Bound::Unbounded))?.take(most) {
                let (key, value) = row?;
                let payload = row::unseal(JOBS.name(), key.value(), value.value());
                let id = <[u8; 16]>::try_from(key.value()).ok();
                found.last = id.or(found.last);
                match (id, payload) {
                    (Some(id), Some(payload)) => found.rows.push((id, payload.to_vec())),
                    _ => damaged += 1,
                }
            }
            Ok((found, damaged))
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

    /// Looks at the columns of each account of a file, in the order of accounts: nothing is kept of them here, however many there are.
    pub(crate) fn each_balance(&self, mut look: impl FnMut(Account, Balance)) -> Result<(), IndexFault> {
        self.read(|transaction| {
            for row in transaction.open_table(FILES)?.iter()? {
                let (key, value) = row?;
                if let (Some(account), Some(balance)) =
                    (account_of(key.value()), open_row(FILES, key.value(), value.value()))
                {
                    look(account, balance);
                }
            }
            Ok(())
        })
    }

    /// What accounts were of.
    pub(crate) fn account_names(
        &self,
        accounts: impl Iterator<Item = Account>,
    ) -> Result<HashMap<Account, String>, IndexFault> {
        self.read(|transaction| {
            let names = transaction.open_table(ACCOUNT_NAMES)?;
            let mut found = HashMap::new();
            for account in accounts {
                let key = account_key(&account);
                let name = names.get(key.as_slice())?;
                let name = name.and_then(|name| open_row(ACCOUNT_NAMES, &key, name.value()));
                found.extend(name.map(|name| (account, name)));
            }
            Ok(found)
        })
    }

    /// Looks at what each peer sent.
    pub(crate) fn each_peer(&self, mut look: impl FnMut([u8; 32], Flow)) -> Result<(), IndexFault> {
        self.read(|transaction| {
            for row in transaction.open_table(PEERS)?.iter()? {
                let (key, value) = row?;
                if let (Ok(node), Some(flow)) =
                    (<[u8; 32]>::try_from(key.value()), open_row(PEERS, key.value(), value.value()))
                {
                    look(node, flow);
                }
            }
            Ok(())
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

/// The format that an index says it has.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u32>, redb::Error> {
    get(transaction, META, KEY_FORMAT)
}

/// The key of an entity's row, and its record unless that is damaged.
pub(crate) type EntityRow = (Vec<u8>, Option<EntityRecord>);

/// An entity in the line of those that may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InLine {
    pub(crate) id: EntityId,
    pub(crate) line: Line,
}

/// Entities in line, in order.
pub(crate) type InOrder<'a> = Box<dyn Iterator<Item = InLine> + 'a>;

/// The rows that can be read; a fault ends them and is kept.
fn readable<'a>(
    rows: redb::Range<'a, &'static [u8], &'static [u8]>,
    fault: &'a Cell<Option<redb::StorageError>>,
) -> impl Iterator<Item = InLine> + 'a {
    rows.map_while(|row| match row {
        Ok((key, value)) => Some(InLine::read(key.value(), value.value())),
        Err(error) => {
            fault.set(Some(error));
            None
        }
    })
    .flatten()
}

/// The place of an entity in the line.
pub(crate) type LineKey = [u8; Standing::KEY_LENGTH + 32];

impl InLine {
    /// Its place in the line.
    pub(crate) fn key(&self) -> LineKey {
        order_key(&self.line.standing, &self.id)
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let id = EntityId(*key.last_chunk::<32>()?);
        Some(Self { id, line: open_row(ORDER, key, value)? })
    }
}

fn record(transaction: &ReadTransaction, id: &EntityId) -> Result<Option<EntityRecord>, redb::Error> {
    let table = transaction.open_table(ENTITIES)?;
    let found = table.get(id.0.as_slice())?;
    Ok(found.and_then(|row| open_record(&id.0, row.value())))
}

fn last_use(transaction: &ReadTransaction, record: &EntityRecord) -> Result<i64, redb::Error> {
    let line: Option<Line> = get(transaction, LINES, &record.id().0)?;
    Ok(line.map_or(record.admitted, |line| line.standing.last_use()))
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

pub(super) fn account_of(key: &[u8]) -> Option<Account> {
    let (job, file) = (key.first_chunk::<16>()?, key.last_chunk::<4>()?);
    (key.len() == 20).then_some(Account { job: *job, file: u32::from_be_bytes(*file) })
}

/// What a row of bytes says of this generation.
fn inline_row<'a>(id: &EntityId, generation: u64, row: &'a [u8]) -> Option<(BlockHash, &'a [u8])> {
    let payload = row::unseal(INLINE.name(), &id.0, row)?;
    let (found, payload) = payload.split_first_chunk::<8>()?;
    let (hash, bytes) = payload.split_first_chunk::<32>()?;
    (u64::from_le_bytes(*found) == generation).then_some((BlockHash(*hash), bytes))
}

pub(super) fn get<T: DeserializeOwned>(
    transaction: &ReadTransaction,
    table: Table,
    key: &[u8],
) -> Result<Option<T>, redb::Error> {
    let open = transaction.open_table(table)?;
    let found = open.get(key)?;
    Ok(found.and_then(|row| open_row(table, key, row.value())))
}

fn open_record(key: &[u8], row: &[u8]) -> Option<EntityRecord> {
    let record = EntityRecord::unseal(ENTITIES.name(), key, row);
    if record.is_none() {
        tracing::warn!(table = ENTITIES.name(), "a damaged row of the cache index is ignored");
    }
    record
}

fn open_row<T: DeserializeOwned>(table: Table, key: &[u8], row: &[u8]) -> Option<T> {
    let value = row::unseal_value(table.name(), key, row);
    if value.is_none() {
        tracing::warn!(table = table.name(), "a damaged row of the cache index is ignored");
    }
    value
}
