//! Carries changes out: one durable transaction for a whole list.

use super::fold;
use super::line::Lines;
use super::tables::Tables;
use super::{
    ACCOUNT_NAMES, ALL_TABLES, Change, Counters, DOOMED, ENTITIES, FILES, FORMAT, HELD, INLINE, INLINE_STATEMENTS,
    Index, JOBS, KEY_COUNTERS, KEY_EPOCH, KEY_FINGERPRINT, KEY_FORMAT, KEY_GENERATION, KEY_JOBS, KEY_RESERVED,
    KEY_RUNNING, KEY_SCRUB, KEY_STRAYS, KEY_TRANSACTION, KEY_UNPROVEN, LOOKUP, META, NAMES, PEERS, account_key,
    chunk_key, name_key,
};
use crate::fault::IndexFault;
use crate::ledger::{Account, Balance, Flow, FlowChange, LedgerEntry, Source, Waste};
use crate::packed;
use crate::room::Pin;
use crate::row::{self, EntityRecord};
use eddy_content::evict::Standing;
use eddy_content::{BlockSet, EntityId};
use redb::{Database, Durability, ReadableTable, TableHandle, WriteTransaction};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// Versions that are found under one URL: each admission looks at all of them, and an origin may name a new one with each answer.
const MAX_VERSIONS: usize = 64;

impl Index {
    /// Applies all changes or none; durable when it returns. `Err` means that none of them is in the index.
    pub(crate) fn apply(&self, number: u64, changes: &[Change]) -> Result<(), IndexFault> {
        self.latest.fetch_max(number, Relaxed);
        let now = self.place.disk.clock();
        let outcome = self.with(|database| {
            let transaction = begin(database)?;
            let mut work = Work::begin(&transaction, number, now)?;
            for change in changes {
                apply_one(&mut work, change)?;
            }
            let counters = work.finish()?;
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
                self.reserved.fetch_max(*highest, Relaxed);
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
            let mut tables = Tables::of(&transaction);
            make_tables(&mut tables)?;
            tables.put(META, KEY_FORMAT, &FORMAT)?;
            tables.put(META, KEY_COUNTERS, &Counters::default())?;
            drop(tables);
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
pub(super) fn make_tables(tables: &mut Tables<'_>) -> Result<(), redb::Error> {
    for table in ALL_TABLES {
        tables.at(table)?;
    }
    Ok(())
}

/// A transaction under way: its tables, and what it writes once, at its end, however many changes it has.
struct Work<'t> {
    tables: Tables<'t>,
    lines: Lines,
    number: u64,
    /// Seconds since 1970.
    now: i64,
    /// The entity's row that was met last, and its generation: the changes of one entity follow each other.
    here: Option<(EntityId, u64)>,
    /// The highest generation of the rows that were written.
    highest: u64,
    /// What came from peers, their rows as they are to be.
    peers: BTreeMap<[u8; 32], Flow>,
}

impl<'t> Work<'t> {
    fn begin(transaction: &'t WriteTransaction, number: u64, now: i64) -> Result<Self, redb::Error> {
        let mut tables = Tables::of(transaction);
        tables.put(META, KEY_TRANSACTION, &number)?;
        let lines = Lines::new(&mut tables)?;
        Ok(Self { tables, lines, number, now, here: None, highest: 0, peers: BTreeMap::new() })
    }

    /// Writes what is left to write; gives the sums.
    fn finish(mut self) -> Result<Counters, redb::Error> {
        self.write_peers()?;
        let Self { mut tables, lines, highest, .. } = self;
        if highest > 0 && highest > tables.get::<u64>(META, KEY_GENERATION)?.unwrap_or(0) {
            tables.put(META, KEY_GENERATION, &highest)?;
        }
        lines.finish(&mut tables)
    }

    /// Writes what came from peers so far.
    fn write_peers(&mut self) -> Result<(), redb::Error> {
        std::mem::take(&mut self.peers).iter().try_for_each(|(node, flow)| self.tables.put(PEERS, node, flow))
    }

    /// Whether the entity's row is of this generation.
    fn is_here(&mut self, id: &EntityId, generation: u64) -> Result<bool, redb::Error> {
        if self.here.is_none_or(|(known, _)| known != *id) {
            self.here = record(&mut self.tables, id)?.map(|row| (*id, row.generation));
        }
        Ok(self.here == Some((*id, generation)))
    }
}

fn apply_one(work: &mut Work<'_>, change: &Change) -> Result<(), redb::Error> {
    match change {
        Change::Entity(record, name) => entity(work, record, name),
        Change::Doom(id) => doom(work, id),
        Change::Forget(record, lookup) => {
            if let Some(key) = lookup {
                work.tables.delete(LOOKUP, &key.0)?;
            }
            forget(work, record)
        }
        Change::Strike(key) => {
            work.here = None;
            strike(&mut work.tables, &mut work.lines, key)
        }
        Change::Blocks { id, generation, add, fetched_here, remove } => {
            if work.is_here(id, *generation)? {
                blocks(&mut work.tables, id, add, fetched_here, remove)?;
            }
            Ok(())
        }
        Change::Inline { id, generation, hash, bytes } => {
            if work.is_here(id, *generation)? {
                let sealed = row::seal_parts(INLINE.name(), &id.0, &[&generation.to_le_bytes(), &hash.0, bytes]);
                work.tables.put_row(INLINE, &id.0, &sealed)?;
            }
            Ok(())
        }
        Change::InlineStatements { id, generation, bytes } => {
            if work.is_here(id, *generation)? {
                let sealed = row::seal(INLINE_STATEMENTS.name(), &id.0, bytes);
                work.tables.put_row(INLINE_STATEMENTS, &id.0, &sealed)?;
            }
            Ok(())
        }
        Change::Used(id, at) => work.lines.stand(&mut work.tables, id, |standing| standing.used(*at)),
        Change::Superseded(id) => work.lines.stand(&mut work.tables, id, Standing::superseded),
        Change::Supersede { name, by } => supersede(work, name, by),
        Change::Pin(id, pin) => {
            let Some(mut record) = record(&mut work.tables, id)? else { return Ok(()) };
            record.pinned = *pin == Pin::Pinned;
            put_record(&mut work.tables, &record)?;
            work.lines.follow(&mut work.tables, &record)
        }
        Change::Job(id, Some(row)) => {
            let sealed = row::seal(JOBS.name(), id, row);
            work.tables.put_row(JOBS, id, &sealed)
        }
        Change::Job(id, None) => {
            work.tables.delete(JOBS, id)?;
            fold::job_ended(&mut work.tables, id, work.now)
        }
        Change::JobsSequence(sequence) => work.tables.put(META, KEY_JOBS, sequence),
        Change::Unproven => work.tables.put(META, KEY_UNPROVEN, &Vec::<u8>::new()),
        Change::Proven { from, to } => match (work.tables.get::<Vec<u8>>(META, KEY_UNPROVEN)?, to) {
            (Some(now), Some(to)) if now == *from => work.tables.put(META, KEY_UNPROVEN, to),
            (Some(now), None) if now == *from => work.tables.delete(META, KEY_UNPROVEN),
            _ => Ok(()),
        },
        Change::StrikeRow(name, key) => {
            work.here = None;
            match ALL_TABLES.into_iter().find(|table| table.name() == *name) {
                Some(table) => work.tables.delete(table, key),
                None => Ok(()),
            }
        }
        Change::Scrubbed(record) => work.tables.put(META, KEY_SCRUB, record),
        Change::Flow(change) => flow(work, change),
        Change::Entry(entry) => ledger_entry(work, entry),
        Change::AccountName(account, name) => work.tables.put(ACCOUNT_NAMES, &account_key(account), name),
        Change::JobEnded(id) => fold::job_ended(&mut work.tables, id, work.now),
        Change::StraysSought(strays) => work.tables.put(META, KEY_STRAYS, strays),
        Change::FoldAccounts(limits) => fold::fold_accounts(&mut work.tables, limits, work.now),
        Change::FoldPeers(limits) => {
            // A row that is still to be written must not come back as it was before.
            work.write_peers()?;
            fold::fold_peers(&mut work.tables, limits)
        }
        Change::Lookup(key, id) => work.tables.put(LOOKUP, &key.0, id),
        Change::Unlookup(key) => work.tables.delete(LOOKUP, &key.0),
        Change::ClearLookup => work.tables.empty(LOOKUP),
        Change::Fingerprint(mark) => work.tables.put(META, KEY_FINGERPRINT, mark),
        // What was set aside once may have been used.
        Change::Reserved(highest) => {
            let known = work.tables.get::<u64>(META, KEY_RESERVED)?.unwrap_or(0);
            if *highest > known { work.tables.put(META, KEY_RESERVED, highest) } else { Ok(()) }
        }
        Change::Epoch(name, epoch) => {
            let key = [KEY_EPOCH, name].concat();
            let known = work.tables.get::<u64>(META, &key)?.unwrap_or(0);
            if *epoch > known { work.tables.put(META, &key, epoch) } else { Ok(()) }
        }
        Change::Running(is_running) => work.tables.put(META, KEY_RUNNING, is_running),
    }
}

/// Writes the entity's row; `name` becomes its newest name, ahead of every other version under that URL.
fn entity(work: &mut Work<'_>, new: &EntityRecord, name: &[u8; 32]) -> Result<(), redb::Error> {
    let id = new.id();
    let old = record(&mut work.tables, &id)?.map(|old| old.generation);
    if old.is_some_and(|old| old > new.generation) {
        return Ok(());
    }
    if old != Some(new.generation) {
        // What an earlier generation held, or one whose row was damaged, is not held by this one; nor is its removal this one's.
        forget_content(&mut work.tables, &id)?;
        if work.tables.has(DOOMED, &id.0)? {
            work.tables.delete(DOOMED, &id.0)?;
        }
    }
    put_record(&mut work.tables, new)?;
    work.here = Some((id, new.generation));
    work.lines.follow(&mut work.tables, new)?;
    if new.names.contains(name) {
        let key = name_key(name, &id);
        if !work.tables.has(NAMES, &key)? {
            make_way(&mut work.tables, name)?;
        }
        // The transaction's number is the order in which versions were named.
        work.tables.put(NAMES, &key, &work.number)?;
    }
    work.highest = work.highest.max(new.generation);
    Ok(())
}

/// Notes that `by` takes the place of the version that was named last under a URL.
fn supersede(work: &mut Work<'_>, name: &[u8; 32], by: &EntityId) -> Result<(), redb::Error> {
    for (_, id) in versions(&mut work.tables, name)?.into_iter().rev().filter(|(order, id)| order.is_some() && id != by)
    {
        if record(&mut work.tables, &id)?.is_some_and(|record| !record.doomed) {
            return work.lines.stand(&mut work.tables, &id, Standing::superseded);
        }
    }
    Ok(())
}

/// The versions that were named under a URL, the newest last; of those with one number the last in the table is the newest, as for
/// whoever looks it up. One whose row is damaged is the oldest.
fn versions(tables: &mut Tables<'_>, name: &[u8; 32]) -> Result<Vec<(Option<u64>, EntityId)>, redb::Error> {
    let (first, last) = (name_key(name, &EntityId([0; 32])), name_key(name, &EntityId([0xff; 32])));
    let mut named = Vec::new();
    for row in tables.at(NAMES)?.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        let (key, value) = row?;
        let order = row::unseal_value::<u64>(NAMES.name(), key.value(), value.value());
        let id = key.value().last_chunk::<32>().copied().map(EntityId);
        named.extend(id.map(|id| (order, id)));
    }
    named.sort_by_key(|(order, id)| (*order, id.0));
    Ok(named)
}

/// Makes room for one more version under a URL: the oldest are not found under it any more. They stay what they are, superseded.
fn make_way(tables: &mut Tables<'_>, name: &[u8; 32]) -> Result<(), redb::Error> {
    let named = versions(tables, name)?;
    let too_many = (named.len() + 1).saturating_sub(MAX_VERSIONS);
    for (_, id) in &named[..too_many] {
        tables.delete(NAMES, &name_key(name, id))?;
    }
    Ok(())
}

fn doom(work: &mut Work<'_>, id: &EntityId) -> Result<(), redb::Error> {
    let Some(mut record) = record(&mut work.tables, id)? else { return Ok(()) };
    record.doomed = true;
    put_record(&mut work.tables, &record)?;
    work.tables.put(DOOMED, &id.0, &record.generation)?;
    work.lines.follow(&mut work.tables, &record)
}

fn forget(work: &mut Work<'_>, record: &EntityRecord) -> Result<(), redb::Error> {
    let (id, tables) = (record.id(), &mut work.tables);
    work.here = None;
    tables.delete(ENTITIES, &id.0)?;
    tables.delete(DOOMED, &id.0)?;
    for name in &record.names {
        tables.delete(NAMES, &name_key(name, &id))?;
    }
    work.lines.set(tables, &id, None)?;
    forget_content(tables, &id)
}

/// Removes a row that cannot be read. Its names stay: they lead to nothing.
pub(super) fn strike(tables: &mut Tables<'_>, lines: &mut Lines, key: &[u8]) -> Result<(), redb::Error> {
    tables.delete(ENTITIES, key)?;
    let Ok(id) = <[u8; 32]>::try_from(key).map(EntityId) else { return Ok(()) };
    tables.delete(DOOMED, &id.0)?;
    lines.set(tables, &id, None)?;
    forget_content(tables, &id)
}

/// Removes what an entity holds: its blocks, and its bytes when they are in the index. Looks first: of one that comes in there is nothing.
fn forget_content(tables: &mut Tables<'_>, id: &EntityId) -> Result<(), redb::Error> {
    for table in [INLINE, INLINE_STATEMENTS] {
        if tables.has(table, &id.0)? {
            tables.delete(table, &id.0)?;
        }
    }
    let (first, last) = (chunk_key(id, 0), chunk_key(id, u32::MAX));
    let chunks = first.as_slice()..=last.as_slice();
    let held = tables.at(HELD)?;
    if held.range::<&[u8]>(chunks.clone())?.next().is_some() {
        held.retain_in(chunks, |_, _| false)?;
    }
    Ok(())
}

fn record(tables: &mut Tables<'_>, id: &EntityId) -> Result<Option<EntityRecord>, redb::Error> {
    let found = tables.at(ENTITIES)?.get(id.0.as_slice())?;
    Ok(found.and_then(|row| EntityRecord::unseal(ENTITIES.name(), &id.0, row.value())))
}

pub(super) fn put_record(tables: &mut Tables<'_>, record: &EntityRecord) -> Result<(), redb::Error> {
    let id = record.id();
    tables.put_row(ENTITIES, &id.0, &record.seal(ENTITIES.name(), &id.0))
}

fn blocks(
    tables: &mut Tables<'_>,
    id: &EntityId,
    add: &BlockSet,
    fetched_here: &BlockSet,
    remove: &BlockSet,
) -> Result<(), redb::Error> {
    let mut touched = add.clone();
    touched.union_with(remove);
    for chunk in packed::chunks_of(&touched) {
        let key = chunk_key(id, chunk);
        let packed: Option<(Vec<u8>, Vec<u8>)> = tables.get(HELD, &key)?;
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
        tables.put(HELD, &key, &(packed::encode(&held, chunk), packed::encode(&here, chunk)))?;
    }
    Ok(())
}

fn flow(work: &mut Work<'_>, change: &FlowChange) -> Result<(), redb::Error> {
    change_flow(work, &change.account, &change.source, |flow| flow.merge(&change.flow))
}

fn ledger_entry(work: &mut Work<'_>, entry: &LedgerEntry) -> Result<(), redb::Error> {
    let tables = &mut work.tables;
    match *entry {
        LedgerEntry::Wasted { account, source, reason, bytes } => {
            change_flow(work, &account, &source, |flow| flow.waste(reason, bytes))
        }
        LedgerEntry::Spoiled { account, source, reason, bytes } => {
            change_flow(work, &account, &source, |flow| flow.spoil(reason, bytes))
        }
        LedgerEntry::Outdated { account, except } => change_balance(tables, &account, |balance| {
            let used = balance.origin.used.saturating_add(balance.peers.used);
            let outdated = used.saturating_sub(except);
            let of_origin = outdated.min(balance.origin.used);
            balance.origin.spoil(Waste::Stale, of_origin);
            balance.peers.spoil(Waste::Stale, outdated - of_origin);
        }),
        LedgerEntry::Audited { account, bytes } => change_balance(tables, &account, |balance| {
            balance.audited = balance.audited.saturating_add(bytes);
        }),
        LedgerEntry::Doubted { account, bytes } => {
            change_balance(tables, &account, |balance| balance.peers.spoil(Waste::Corrupt, bytes))
        }
        LedgerEntry::Streamed { account, source, bytes } => {
            let is_delivered = balance(tables, &account)?.delivered.total() > 0;
            if is_delivered {
                return Ok(());
            }
            change_flow(work, &account, &source, |flow| flow.use_up(bytes))
        }
        LedgerEntry::Delivered { account, bytes } => change_balance(tables, &account, |balance| {
            if balance.delivered.total() == 0 {
                balance.delivered = bytes;
            }
        }),
    }
}

/// Changes the flow of an account, and of the peer it came from, by the same amounts.
fn change_flow(
    work: &mut Work<'_>,
    account: &Account,
    source: &Source,
    change: impl Fn(&mut Flow),
) -> Result<(), redb::Error> {
    if *source == Source::Package {
        return Ok(());
    }
    change_balance(&mut work.tables, account, |balance| match source {
        Source::Origin { .. } => change(&mut balance.origin),
        Source::Peer { .. } => change(&mut balance.peers),
        Source::Package => {}
    })?;
    if let Source::Peer { node } = source {
        let known = match work.peers.get(node) {
            Some(known) => *known,
            None => work.tables.get(PEERS, node)?.unwrap_or_default(),
        };
        change(work.peers.entry(*node).or_insert(known));
    }
    Ok(())
}

fn change_balance(
    tables: &mut Tables<'_>,
    account: &Account,
    change: impl FnOnce(&mut Balance),
) -> Result<(), redb::Error> {
    let mut balance = balance(tables, account)?;
    change(&mut balance);
    tables.put(FILES, &account_key(account), &balance)
}

fn balance(tables: &mut Tables<'_>, account: &Account) -> Result<Balance, redb::Error> {
    Ok(tables.get(FILES, &account_key(account))?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
