//! Plans over the line of those that may go, as it stands in the index, and what is remembered of it between two plans.
//!
//! A plan reads the line from its front as far as it needs. Where the *disk* is short only what has files helps, and a million small
//! entities may stand before the first that has: those are read past once, and remembered is how far, and who with files was met.

use super::stock::Stock;
use crate::fault::StoreError;
use crate::index::{InLine, LineHold, LineKey};
use crate::row::Place;
use eddy_content::EntityId;
use eddy_content::evict::{self, Aim, Bounds, Candidate, Candidates, EvictionPlan, Hold, Tally};
use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which bytes are short, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Those of the quota: everything counts.
    Quota,
    /// Those of the disk: what lies in the index leaves its room to the index, not to the disk.
    Disk,
}

/// Rows of each part of the line that are read ahead: a tenth of a store of a million entities, 10 MB of pages.
const FRONT: usize = 100_000;
/// Entities with files that are remembered of each part of the line; each is asked for again by every plan.
const MOST_MET: usize = 256;
/// What is remembered is not believed any longer than this: entities may have come to stand before it.
const BELIEVED: Duration = Duration::from_secs(60);
/// The line is left alone so long for each row that was read, when the reading did not help: some thirty times what a row takes.
const REST_FOR_ROW: Duration = Duration::from_micros(10);

/// What is remembered of those in line that have files.
#[derive(Default)]
pub(super) struct FilesInLine(Mutex<Reading>);

/// A reading of the line for those that have files, up to where it came.
#[derive(Default)]
struct Reading {
    /// Those before the protected, and the protected.
    parts: [Part; 2],
    /// When it began; `None` before.
    since: Option<Instant>,
    /// Rows of the readings before.
    before: u32,
}

/// One part of the line.
#[derive(Default)]
struct Part {
    /// Those with files that stand before the place, in order.
    met: Vec<InLine>,
    /// The place up to which it was read.
    place: Option<LineKey>,
    /// No more can be remembered: the place stays.
    is_full: bool,
    rows: u32,
}

impl FilesInLine {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that were read since the store was opened.
    #[cfg(test)]
    pub(super) fn rows(&self) -> u32 {
        let reading = self.reading();
        reading.before + reading.rows()
    }

    /// Somebody came to stand where the line was read already.
    pub(super) fn forget(&self) {
        self.reading().begin_anew();
    }
}

impl Reading {
    fn rows(&self) -> u32 {
        self.parts.iter().map(|part| part.rows).fold(0, u32::saturating_add)
    }

    fn begin_anew(&mut self) {
        *self = Self { before: self.before.saturating_add(self.rows()), ..Self::default() };
    }

    fn age(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether to begin at the front again, before or after a plan that did not come out.
    fn is_over(&self, is_enough: bool) -> bool {
        let rest = REST_FOR_ROW.saturating_mul(self.rows());
        self.age() >= if is_enough { rest.max(BELIEVED) } else { rest }
    }
}

impl Part {
    /// Notes a row that is read; whether it has files.
    fn note(&mut self, row: &InLine) -> bool {
        self.rows = self.rows.saturating_add(1);
        let has_files = row.line.place == Place::Files;
        self.is_full |= has_files && self.met.len() >= MOST_MET;
        if !self.is_full {
            self.met.extend(Some(*row).filter(|_| has_files));
            self.place = Some(row.key());
        }
        has_files
    }
}

impl Stock {
    /// Reads the line as far as the aim reaches.
    pub(super) fn plan_in_line(
        &self,
        aim: Aim,
        bounds: Bounds,
        shortage: Shortage,
    ) -> Result<EvictionPlan, StoreError> {
        let line = Line { in_use: self.in_use(), overhang: self.overhang()?, aim, bounds };
        let mut plan = match shortage {
            Shortage::Quota => self.index.in_line(|first, protected| line.plan(first, protected))?,
            Shortage::Disk => self.plan_files(&line)?,
        };
        // The pinned do not stand in line: a plan need not read past them.
        let counters = self.index.counters();
        plan.kept.pinned = Tally { entities: counters.pinned, bytes: counters.pinned_bytes };
        if let Some(refused) = &mut plan.refused {
            refused.pinned = counters.pinned_bytes;
        }
        Ok(plan)
    }

    /// By how much the protected are more than their share.
    fn overhang(&self) -> Result<u64, StoreError> {
        let (counters, usage) = (self.index.counters(), self.usage()?);
        Ok(Candidates::<(), ()>::overhang(counters.protected_bytes, usage.used.saturating_add(usage.available)))
    }

    /// A plan of those that have files, from what is remembered and where the last one stopped.
    fn plan_files(&self, line: &Line) -> Result<EvictionPlan, StoreError> {
        let mut reading = self.files_in_line.reading();
        if reading.is_over(true) {
            reading.begin_anew();
        }
        let plan = self.go_on_reading(&mut reading, line)?;
        // What came to stand further in front may help, unless that was looked at just now.
        if plan.freed >= plan.need && plan.refused.is_none() || !reading.is_over(false) {
            return Ok(plan);
        }
        reading.begin_anew();
        self.go_on_reading(&mut reading, line)
    }

    fn go_on_reading(&self, reading: &mut Reading, line: &Line) -> Result<EvictionPlan, StoreError> {
        reading.since.get_or_insert_with(Instant::now);
        for part in &mut reading.parts {
            part.met = self.index.still_in_line(&mem::take(&mut part.met))?;
        }
        let [first, protected] = &mut reading.parts;
        let (met, met_protected) = (first.met.clone(), protected.met.clone());
        Ok(self.index.in_line_behind([first.place, protected.place], |rows, rows_protected| {
            let rows = met.into_iter().chain(rows.filter(|row| first.note(row)));
            let rows_protected = met_protected.into_iter().chain(rows_protected.filter(|row| protected.note(row)));
            line.plan(rows, rows_protected)
        })?)
    }

    /// Reads the front of the line once, so that the first plan, which is made when room is short, finds it in memory.
    pub(super) fn warm_the_line(&self, goes_on: impl Fn() -> bool) {
        let read = self.index.in_line(|first, protected| {
            for rows in [first, protected] {
                rows.take(FRONT).take_while(|_| goes_on()).for_each(drop);
            }
        });
        if let Err(error) = read {
            tracing::debug!(%error, "the line of eviction was not read ahead");
        }
    }
}

/// What a plan is made of, beside the rows.
struct Line {
    in_use: HashSet<EntityId>,
    overhang: u64,
    aim: Aim,
    bounds: Bounds,
}

impl Line {
    fn plan(&self, first: impl Iterator<Item = InLine>, protected: impl Iterator<Item = InLine>) -> EvictionPlan {
        let (first, protected) =
            (first.map(|row| candidate(&row, &self.in_use)), protected.map(|row| candidate(&row, &self.in_use)));
        evict::plan_within(Candidates { first, protected, overhang: self.overhang }, self.aim, self.bounds)
    }
}

/// A row of the line as the policy sees it; a live handle is a use.
pub(super) fn candidate(row: &InLine, in_use: &HashSet<EntityId>) -> Candidate {
    let hold = match row.line.hold {
        LineHold::Pinned => Hold::Pinned,
        _ if in_use.contains(&row.id) => Hold::InUse,
        _ => Hold::Free,
    };
    Candidate { id: row.id, bytes: row.line.bytes, standing: row.line.standing, hold }
}
