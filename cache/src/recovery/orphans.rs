//! Files that no row speaks of: never acknowledged ones go at once, others wait a day in the quarantine (C-20).

use super::{Expected, RecoveryReport, names_in};
use crate::disk;
use crate::fault::DiskFault;
use crate::store::{Files, Name, wall_clock};
use eddy_content::EntityId;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Seconds that an orphan is kept for whoever wants to rebuild the index from it (C-22).
const QUARANTINE: i64 = 24 * 3600;

/// Walks the files, ticks off what rows expect and clears away the rest. Gives the highest generation seen.
///
/// `highest` is the highest generation that a row ever had: a file beyond it was made by an admission that did not get
/// as far as its row, so no block of it was ever acknowledged.
pub(super) fn sweep(
    files: &Files,
    rows: &mut HashMap<(EntityId, u64), Expected>,
    highest: u64,
    report: &mut RecoveryReport,
) -> Result<u64, DiskFault> {
    let mut seen = empty_quarantine(&files.quarantine(), report)?;
    for shard in names_in(&files.entities())? {
        let directory = files.entities().join(shard);
        let mut is_changed = false;
        for name in names_in(&directory)? {
            let path = directory.join(&name);
            let parsed = Name::parse(&name);
            seen = seen.max(parsed.map_or(0, |name| name.generation));
            if let Some(row) = parsed.and_then(|name| rows.get_mut(&(name.id, name.generation))) {
                tick(row, &path)?;
                continue;
            }
            is_changed = true;
            if highest > 0 && parsed.is_some_and(|name| name.generation > highest) {
                disk::unlink(&path)?;
                report.deleted_files += 1;
            } else {
                let aside = files.quarantine().join(format!("{}.{name}", wall_clock()));
                fs::rename(&path, &aside).map_err(|e| DiskFault::new("quarantine", &path, e))?;
                report.quarantined_files += 1;
            }
        }
        if is_changed {
            disk::sync_directory(&directory)?;
            disk::sync_directory(&files.quarantine())?;
        }
    }
    Ok(seen)
}

/// Notes that a file of a row is there; a data file of another length is not the row's (C-07).
fn tick(row: &mut Expected, path: &Path) -> Result<(), DiskFault> {
    if path.extension().is_some_and(|kind| kind == "data") {
        let meta = fs::metadata(path).map_err(|e| DiskFault::new("measure", path, e))?;
        row.has_data = meta.len() == row.length;
    } else {
        row.has_outboard = true;
    }
    Ok(())
}

/// Deletes what lay in quarantine for a day, and gives the highest generation of what is there.
fn empty_quarantine(directory: &Path, report: &mut RecoveryReport) -> Result<u64, DiskFault> {
    let mut seen = 0;
    for name in names_in(directory)? {
        let Some((since, original)) = name.split_once('.') else { continue };
        seen = seen.max(Name::parse(original).map_or(0, |name| name.generation));
        if since.parse::<i64>().is_ok_and(|since| wall_clock() - since >= QUARANTINE) {
            disk::unlink(&directory.join(&name))?;
            report.deleted_files += 1;
        }
    }
    Ok(seen)
}
