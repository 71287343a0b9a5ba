//! Files that no row speaks of: never acknowledged ones go at once, others wait a day in the quarantine (C-20).

use super::{Expected, RecoveryReport};
use crate::disk::{self, Disk};
use crate::fault::DiskFault;
use crate::store::{Files, Name, wall_clock};
use eddy_content::EntityId;
use std::collections::HashMap;
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
    let disk = &**files.disk();
    let mut seen = empty_quarantine(disk, &files.quarantine(), report)?;
    for shard in disk::list(disk, &files.entities())? {
        let directory = files.entities().join(shard);
        let mut is_changed = false;
        for name in disk::list(disk, &directory)? {
            let path = directory.join(&name);
            let parsed = Name::parse(&name);
            seen = seen.max(parsed.map_or(0, |name| name.generation));
            if let Some(row) = parsed.and_then(|name| rows.get_mut(&(name.id, name.generation))) {
                tick(disk, row, &path)?;
                continue;
            }
            is_changed = true;
            if highest > 0 && parsed.is_some_and(|name| name.generation > highest) {
                disk::unlink(disk, &path)?;
                report.deleted_files += 1;
            } else {
                let aside = files.quarantine().join(format!("{}.{name}", wall_clock()));
                disk::rename(disk, &path, &aside)?;
                report.quarantined_files += 1;
            }
        }
        if is_changed {
            disk::sync_directory(disk, &directory)?;
            disk::sync_directory(disk, &files.quarantine())?;
        }
    }
    Ok(seen)
}

/// Notes that a file of a row is there; a data file of another length is not the row's (C-07).
fn tick(disk: &dyn Disk, row: &mut Expected, path: &Path) -> Result<(), DiskFault> {
    if path.extension().is_some_and(|kind| kind == "data") {
        row.has_data = disk::length(disk, path)? == Some(row.length);
    } else {
        row.has_outboard = true;
    }
    Ok(())
}

/// Deletes what lay in quarantine for a day, and gives the highest generation of what is there.
fn empty_quarantine(disk: &dyn Disk, directory: &Path, report: &mut RecoveryReport) -> Result<u64, DiskFault> {
    let mut seen = 0;
    for name in disk::list(disk, directory)? {
        let Some((since, original)) = name.split_once('.') else { continue };
        seen = seen.max(Name::parse(original).map_or(0, |name| name.generation));
        if since.parse::<i64>().is_ok_and(|since| wall_clock() - since >= QUARANTINE) {
            disk::unlink(disk, &directory.join(&name))?;
            report.deleted_files += 1;
        }
    }
    Ok(seen)
}
