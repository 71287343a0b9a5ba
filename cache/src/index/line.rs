//! The line of entities that may go: who stands where in it, and the sums that go with it.
//!
//! Each entity has a row in `lines` that says how it stands with eviction. Those that nothing keeps have a second row in
//! `order`, under a key that sorts them as they would go: so a plan reads as many rows as it has victims, and not the whole
//! index (T-52). The sums are in one row of `meta`. All three change in the same transaction, by [`Lines`] alone, so that
//! they agree with each other whenever somebody looks.

use super::tables::Tables;
use super::{KEY_COUNTERS, KEY_REBUILD, LINES, META, ORDER, join};
use crate::row::{self, EntityRecord, Place};
use eddy_content::EntityId;
use eddy_content::evict::{Segment, Standing};
use redb::{ReadableTable, TableHandle};
use serde::{Deserialize, Serialize};

/// How an entity stands with eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) standing: Standing,
    /// Bytes on disk that its removal frees.
    pub(crate) bytes: u64,
    pub(crate) place: Place,
    pub(crate) hold: LineHold,
}

/// What keeps an entity out of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LineHold {
    /// Nothing: it stands in line.
    Free,
    /// Somebody pinned it.
    Pinned,
    /// It is being removed.
    Leaving,
}

/// What the store holds, in sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) entities: u64,
    pub(crate) bytes: u64,
    pub(crate) pinned: u64,
    pub(crate) pinned_bytes: u64,
    /// Bytes of those in line that were used more than once.
    pub(crate) protected_bytes: u64,
}

impl Counters {
    /// The sums with a line more.
    pub(crate) fn with(self, line: &Line) -> Self {
        self.change(line, u64::saturating_add)
    }

    /// The sums with a line less.
    fn without(self, line: &Line) -> Self {
        self.change(line, u64::saturating_sub)
    }

    fn change(mut self, line: &Line, by: fn(u64, u64) -> u64) -> Self {
        self.entities = by(self.entities, 1);
        self.bytes = by(self.bytes, line.bytes);
        match line.hold {
            LineHold::Pinned => {
                self.pinned = by(self.pinned, 1);
                self.pinned_bytes = by(self.pinned_bytes, line.bytes);
            }
            LineHold::Free if line.standing.segment() == Segment::Protected => {
                self.protected_bytes = by(self.protected_bytes, line.bytes);
            }
            LineHold::Free | LineHold::Leaving => {}
        }
        self
    }
}

impl Line {
    /// The line that goes with an entity's row.
    pub(crate) fn of(record: &EntityRecord, standing: Standing) -> Self {
        let hold = match (record.doomed, record.pinned) {
            (true, _) => LineHold::Leaving,
            (false, true) => LineHold::Pinned,
            (false, false) => LineHold::Free,
        };
        Self { standing, bytes: record.footprint(), place: record.place, hold }
    }
}

/// The key of an entity in the order of eviction: who goes first sorts first.
pub(crate) fn order_key(standing: &Standing, id: &EntityId) -> [u8; Standing::KEY_LENGTH + 32] {
    join(&standing.key(), &id.0)
}

/// Lines, order and sums within one transaction, whose tables are lent to each step.
pub(super) struct Lines {
    before: Counters,
    counters: Counters,
    /// A row was met that cannot be read: what it added to the sums is unknown.
    is_doubtful: bool,
}

impl Lines {
    /// The lines as they are at the beginning of a transaction.
    pub(super) fn new(tables: &mut Tables<'_>) -> Result<Self, redb::Error> {
        let counters = tables.get(META, KEY_COUNTERS)?;
        let is_doubtful = counters.is_none();
        let counters = counters.unwrap_or_default();
        Ok(Self { before: counters, counters, is_doubtful })
    }

    /// Writes the sums down and gives them. Doubt makes the next start count again.
    pub(super) fn finish(self, tables: &mut Tables<'_>) -> Result<Counters, redb::Error> {
        if self.counters != self.before {
            tables.put(META, KEY_COUNTERS, &self.counters)?;
        }
        if self.is_doubtful && tables.get::<Vec<u8>>(META, KEY_REBUILD)?.is_none() {
            tables.put(META, KEY_REBUILD, &Vec::<u8>::new())?;
        }
        Ok(self.counters)
    }

    /// How an entity stands.
    fn line(&mut self, tables: &mut Tables<'_>, id: &EntityId) -> Result<Option<Line>, redb::Error> {
        let Some(row) = tables.at(LINES)?.get(id.0.as_slice())? else { return Ok(None) };
        let line = row::unseal_value(LINES.name(), &id.0, row.value());
        self.is_doubtful |= line.is_none();
        Ok(line)
    }

    /// Writes how an entity stands, `None` when it is gone.
    pub(super) fn set(&mut self, tables: &mut Tables<'_>, id: &EntityId, new: Option<Line>) -> Result<(), redb::Error> {
        let old = self.line(tables, id)?;
        self.replace(tables, id, (old, new))
    }

    /// The same where it is known how it stood.
    fn replace(
        &mut self,
        tables: &mut Tables<'_>,
        id: &EntityId,
        (old, new): (Option<Line>, Option<Line>),
    ) -> Result<(), redb::Error> {
        if old == new {
            return Ok(());
        }
        if let Some(old) = old {
            self.counters = self.counters.without(&old);
            if old.hold == LineHold::Free {
                tables.delete(ORDER, &order_key(&old.standing, id))?;
            }
        }
        let Some(line) = new else { return tables.delete(LINES, &id.0) };
        self.counters = self.counters.with(&line);
        tables.put(LINES, &id.0, &line)?;
        if line.hold == LineHold::Free {
            tables.put(ORDER, &order_key(&line.standing, id), &line)?;
        }
        Ok(())
    }

    /// Brings the line to what an entity's row says; one that is new in it stands as just admitted.
    pub(super) fn follow(&mut self, tables: &mut Tables<'_>, record: &EntityRecord) -> Result<(), redb::Error> {
        let id = record.id();
        let old = self.line(tables, &id)?;
        let standing = old.map_or_else(|| Standing::admitted(record.admitted), |line| line.standing);
        self.replace(tables, &id, (old, Some(Line::of(record, standing))))
    }

    /// Changes how an entity stands; nothing is written when that changes nothing.
    pub(super) fn stand(
        &mut self,
        tables: &mut Tables<'_>,
        id: &EntityId,
        how: impl FnOnce(Standing) -> Standing,
    ) -> Result<(), redb::Error> {
        let Some(line) = self.line(tables, id)? else { return Ok(()) };
        self.replace(tables, id, (Some(line), Some(Line { standing: how(line.standing), ..line })))
    }
}
