//! Lines, order and sums made anew from the entities' rows: the upgrade from format 1, and the way out of doubt.
//!
//! Batch by batch, each a transaction that also notes how far it came: cut short, it goes on where it stopped (C-23). The
//! first batch raises the format, so that an earlier program refuses what is half upgraded, and does not take rows for
//! damaged that it does not understand (C-24).

use super::apply::{begin, make_tables, put_record, strike};
use super::line::{Line, LineHold, Lines, order_key};
use super::tables::Tables;
use super::{
    ALL_TABLES, Counters, DOOMED, ENTITIES, FORMAT, Index, KEY_COUNTERS, KEY_FORMAT, KEY_REBUILD, LINES, META, ORDER,
    SMALL, Table,
};
use crate::fault::IndexFault;
use crate::row::{self, EntityRecord};
use eddy_content::EntityId;
use eddy_content::evict::Standing;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};
use std::ops::Bound;

/// Entities of one transaction.
const BATCH: usize = 4096;
/// When entities of format 1 were last used.
const USED: Table = TableDefinition::new("used");

impl Index {
    /// Upgrades an index of format 1, and finishes what an earlier start began. Nothing to do is the rule.
    pub(super) fn rebuild_lines(&self) -> Result<(), IndexFault> {
        let is_current = self.meta::<u32>(KEY_FORMAT)? == Some(FORMAT);
        let has_sums = is_current && self.meta::<Counters>(KEY_COUNTERS)?.is_some();
        let mut cursor = self.meta::<Vec<u8>>(KEY_REBUILD)?;
        if has_sums && cursor.is_none() {
            return Ok(());
        }
        tracing::info!(is_current, "making the order of eviction anew");
        if !has_sums {
            cursor = None;
        }
        self.rebuild_after(cursor.filter(|cursor| !cursor.is_empty()), BATCH)
    }

    fn rebuild_after(&self, mut cursor: Option<Vec<u8>>, batch: usize) -> Result<(), IndexFault> {
        let mut done = 0_u64;
        loop {
            let outcome = self.with(|database| {
                let transaction = begin(database)?;
                let last = rebuild_batch(Tables::of(&transaction), cursor.as_deref(), batch)?;
                transaction.commit()?;
                Ok(last)
            });
            // A batch that failed may be in the index all the same: whoever opens it again sees how far it came.
            let (last, count) = outcome.map_err(|e| IndexFault::new("be upgraded", e))?;
            done += count;
            match last {
                Some(last) => cursor = Some(last),
                None => break,
            }
        }
        tracing::info!(entities = done, "the order of eviction is complete");
        Ok(())
    }
}

impl Index {
    /// Reads every row of a small index, so that rot in a page shows before anything is acknowledged on top of it, and
    /// mends lines, order and sums that do not agree.
    pub(crate) fn look_through(&self) -> Result<(), IndexFault> {
        if self.place.disk.length(&self.place.path).is_ok_and(|length| length > SMALL) {
            return Ok(());
        }
        self.read(|transaction| {
            for table in ALL_TABLES {
                for row in transaction.open_table(table)?.iter()? {
                    row?;
                }
            }
            Ok(())
        })?;
        if self.do_lines_agree()? {
            return Ok(());
        }
        tracing::warn!("the order of eviction does not agree with the rows of the cache: made anew");
        self.rebuild_after(None, BATCH)?;
        self.set_counters(self.meta(KEY_COUNTERS)?.unwrap_or_default());
        Ok(())
    }

    /// Whether lines, order and sums agree with each other, and are as many as there are entities. Reads all of them.
    pub(crate) fn do_lines_agree(&self) -> Result<bool, IndexFault> {
        self.read(|transaction| {
            let (lines, order) = (transaction.open_table(LINES)?, transaction.open_table(ORDER)?);
            let (mut counters, mut in_line) = (Counters::default(), 0);
            for row in lines.iter()? {
                let (key, value) = row?;
                let line = row::unseal_value::<Line>(LINES.name(), key.value(), value.value());
                let id = <[u8; 32]>::try_from(key.value()).map(EntityId);
                let (Some(line), Ok(id)) = (line, id) else { return Ok(false) };
                counters = counters.with(&line);
                if line.hold == LineHold::Free {
                    in_line += 1;
                    let key = order_key(&line.standing, &id);
                    let standing = order.get(key.as_slice())?;
                    let standing = standing.and_then(|row| row::unseal_value(ORDER.name(), &key, row.value()));
                    if standing != Some(line) {
                        return Ok(false);
                    }
                }
            }
            // Counted, not asked for: a damaged tree may have fewer rows than its root says.
            let mut entities = 0;
            for row in transaction.open_table(ENTITIES)?.iter()? {
                row?;
                entities += 1;
            }
            Ok(counters == self.counters() && order.len()? == in_line && entities == counters.entities)
        })
    }
}

/// One batch after `cursor`; gives the last key of it, `None` at the end, and how many entities it were.
fn rebuild_batch(
    mut tables: Tables<'_>,
    cursor: Option<&[u8]>,
    batch: usize,
) -> Result<(Option<Vec<u8>>, u64), redb::Error> {
    if cursor.is_none() {
        make_tables(&mut tables)?;
        tables.empty(ORDER)?;
        tables.put(META, KEY_COUNTERS, &Counters::default())?;
        tables.put(META, KEY_FORMAT, &FORMAT)?;
    }
    let rows = rows_after(&mut tables, cursor, batch)?;
    let last = rows.last().map(|(key, _)| key.clone()).filter(|_| rows.len() == batch);
    let mut lines = Lines::new(&mut tables)?;
    let count = rows.len() as u64;
    for (key, record) in rows {
        let Some(record) = record else {
            strike_uncounted(&mut tables, &mut lines, &key)?;
            continue;
        };
        let standing = standing(&mut tables, &record)?;
        put_record(&mut tables, &record)?;
        if record.doomed {
            tables.put(DOOMED, &key, &record.generation)?;
        }
        // Whatever its row said before is not counted any more, and not in the order.
        tables.delete(LINES, &key)?;
        lines.set(&mut tables, &record.id(), Some(Line::of(&record, standing)))?;
    }
    lines.finish(&mut tables)?;
    match &last {
        Some(last) => tables.put(META, KEY_REBUILD, last)?,
        None => {
            tables.delete(META, KEY_REBUILD)?;
            tables.remove(USED)?;
        }
    }
    Ok((last, count))
}

/// The next entities: their keys, and their records unless they are damaged.
type Rows = Vec<(Vec<u8>, Option<EntityRecord>)>;

fn rows_after(tables: &mut Tables<'_>, cursor: Option<&[u8]>, limit: usize) -> Result<Rows, redb::Error> {
    let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = Vec::new();
    for row in tables.at(ENTITIES)?.range::<&[u8]>((start, Bound::Unbounded))?.take(limit) {
        let (key, value) = row?;
        let record = EntityRecord::unseal(ENTITIES.name(), key.value(), value.value());
        rows.push((key.value().to_vec(), record));
    }
    Ok(rows)
}

/// How an entity stands: as its line says, or as format 1 noted its last use.
fn standing(tables: &mut Tables<'_>, record: &EntityRecord) -> Result<Standing, redb::Error> {
    let key = record.id().0;
    if let Some(line) = tables.get::<Line>(LINES, &key)? {
        return Ok(line.standing);
    }
    // Format 1 noted each commit as a use: its times say when, not how often.
    Ok(Standing::admitted(tables.get::<i64>(USED, &key)?.unwrap_or(record.admitted)))
}

/// Removes a row that cannot be read; its line is not in the sums of a rebuild.
fn strike_uncounted(tables: &mut Tables<'_>, lines: &mut Lines, key: &[u8]) -> Result<(), redb::Error> {
    tables.delete(LINES, key)?;
    strike(tables, lines, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, RealDisk};
    use crate::index::{Change, IndexOpenError};
    use crate::room::Pin;
    use crate::row::{NewEntity, Place};
    use crate::{OpenError, Quota, Reserve, Store, StoreConfig};
    use redb::{Database, ReadableDatabase};
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    fn record(tag: u64) -> EntityRecord {
        EntityRecord::admit(&NewEntity::numbered(tag, 99_999), Place::Files, tag, 1000 + tag.cast_signed())
    }

    fn open(directory: &Path) -> Index {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        Index::open(&disk, &directory.join("index.redb")).expect("opens")
    }

    /// An index of entities 1 to `count`, every third pinned and every fourth used again.
    fn filled(directory: &Path, count: u64) -> Index {
        let index = open(directory);
        let mut changes = Vec::new();
        for tag in 1..=count {
            let record = record(tag);
            let id = record.id();
            changes.push(Change::Entity(Box::new(record), [0; 32]));
            if tag % 3 == 0 {
                changes.push(Change::Pin(id, Pin::Pinned));
            }
            if tag % 4 == 0 {
                changes.push(Change::Used(id, 9000));
            }
        }
        index.apply(1, &changes).expect("applied");
        index
    }

    fn order(index: &Index) -> Vec<EntityId> {
        index.in_line(|first, protected| first.chain(protected).map(|row| row.id).collect()).expect("the order")
    }

    fn change(index: &Index, work: impl Fn(&mut Tables<'_>) -> Result<(), redb::Error>) {
        index
            .with(|database| {
                let transaction = begin(database)?;
                work(&mut Tables::of(&transaction))?;
                Ok(transaction.commit()?)
            })
            .expect("changed");
    }

    #[test]
    fn a_rebuild_that_is_cut_short_goes_on_at_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let index = filled(directory.path(), 20);
        let (before, counters) = (order(&index), index.counters());
        assert_eq!((counters.entities, counters.pinned, before.len()), (20, 6, 14));
        let mut cursor = None;
        for _ in 0..3 {
            cursor = index
                .with(|database| {
                    let transaction = begin(database)?;
                    let (last, count) = rebuild_batch(Tables::of(&transaction), cursor.as_deref(), 4)?;
                    assert_eq!(count, 4);
                    transaction.commit()?;
                    Ok(last)
                })
                .expect("a batch");
        }
        index.close().expect("closed");
        let index = open(directory.path());
        assert_eq!((order(&index), index.counters()), (before, counters));
        assert!(index.do_lines_agree().expect("read"));
        assert_eq!(index.meta::<Vec<u8>>(KEY_REBUILD).expect("read"), None);
    }

    #[test]
    fn lines_that_were_damaged_are_made_anew() {
        type Damage = fn(&mut Tables<'_>) -> Result<(), redb::Error>;
        let damages: [Damage; 5] = [
            |tables| tables.delete(META, KEY_COUNTERS),
            |tables| tables.put(META, KEY_COUNTERS, &Counters { entities: 3, ..Counters::default() }),
            |tables| tables.delete(LINES, &record(5).id().0),
            |tables| tables.put_row(LINES, &record(5).id().0, b"rot"),
            |tables| tables.empty(ORDER),
        ];
        for damage in damages {
            let directory = tempfile::tempdir().expect("a directory");
            let index = filled(directory.path(), 20);
            let counters = index.counters();
            change(&index, damage);
            index.close().expect("closed");
            let index = open(directory.path());
            index.look_through().expect("looked through");
            assert_eq!((order(&index).len(), index.counters()), (14, counters));
            assert!(index.do_lines_agree().expect("read"));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_when_it_changes_is_counted_again_by_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let index = filled(directory.path(), 20);
        let counters = index.counters();
        let id = record(5).id();
        change(&index, |tables| {
            tables.put_row(LINES, &id.0, b"rot")?;
            Ok(())
        });
        index.apply(2, &[Change::Pin(id, Pin::Pinned)]).expect("applied");
        assert!(!index.do_lines_agree().expect("read"));
        index.close().expect("closed");
        let index = open(directory.path());
        assert!(index.do_lines_agree().expect("read"));
        assert_eq!((index.counters().entities, index.counters().pinned), (counters.entities, counters.pinned + 1));
    }

    /// Every file below a directory, but the lock.
    fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in directory.read_dir().expect("a listing") {
            let path = entry.expect("an entry").path();
            let name = path.display().to_string();
            if path.is_dir() {
                found.insert(name, Vec::new());
                found.extend(files(&path));
            } else if !name.ends_with("lock") {
                found.insert(name, std::fs::read(&path).expect("read"));
            }
        }
        found
    }

    #[test]
    fn a_store_of_a_later_format_is_refused_and_not_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let index = filled(directory.path(), 3);
        change(&index, |tables| tables.put(META, KEY_FORMAT, &(FORMAT + 1)));
        index.close().expect("closed");
        let before = files(directory.path());
        let config = StoreConfig {
            directory: directory.path().to_owned(),
            quota: Quota::Bytes(1 << 30),
            reserve: Reserve::Bytes(0),
        };
        let refused = Store::open(config).expect_err("refused");
        assert!(matches!(refused, OpenError::TooNew { found, supported: FORMAT } if found == FORMAT + 1), "{refused}");
        assert_eq!(files(directory.path()), before);

        // Also when it was not closed and only opening it can tell.
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let refused = Index::open(&disk, &directory.path().join("index.redb")).err();
        assert!(matches!(refused, Some(IndexOpenError::TooNew(_))));
        let database = Database::open(directory.path().join("index.redb")).expect("whole");
        let format = crate::index::query::format(&database.begin_read().expect("a transaction")).expect("read");
        assert_eq!(format, Some(FORMAT + 1));
    }
}
