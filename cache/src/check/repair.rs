//! Mends what can be mended, with the machinery that runs in every store: recovery, rebuild, scrub.

use super::finding::{CheckReport, Object};
use crate::disk::Disk;
use crate::fault::{OpenError, StoreError};
use crate::index::Change;
use crate::room::{Quota, Reserve};
use crate::{Store, StoreConfig};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of one step of the scrub.
const STEP: u64 = 64 << 20;

/// Mends what `found` says; whatever fails is found again by the next look.
pub(super) fn repair(directory: &Path, disk: &Arc<dyn Disk>, found: &CheckReport) -> Result<(), OpenError> {
    for finding in found.findings.iter().filter(|finding| finding.is_fixable) {
        if let Object::File(name) = &finding.object {
            restrict(&directory.join(name));
        }
    }
    // A repair evicts nothing, however large the cache may be from now on.
    let config =
        StoreConfig { directory: directory.to_owned(), quota: Quota::Bytes(u64::MAX), reserve: Reserve::Bytes(0) };
    let store = Store::open_on(config.clone(), Arc::clone(disk))?;
    if let Err(error) = mend(&store, found) {
        tracing::error!(%error, "a repair of the cache did not come to its end");
    }
    drop(store);
    // Opened once more: what the first opening left in doubt is counted again.
    drop(Store::open_on(config, Arc::clone(disk))?);
    Ok(())
}

fn mend(store: &Store, found: &CheckReport) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    let mut has_doubtful_lookup = false;
    for finding in found.findings.iter().filter(|finding| finding.is_fixable) {
        match &finding.object {
            // Those of entities and jobs are the sweep's and the journal's.
            Object::Row { table, key } if !matches!(*table, "entities" | "jobs") => {
                changes.extend(bytes_of(key).map(|key| Change::StrikeRow(table, key)));
                has_doubtful_lookup |= *table == "lookup";
            }
            Object::Entity(_) => has_doubtful_lookup = true,
            // The sums are counted again by the next opening when they are not there.
            Object::Index => changes.push(Change::StrikeRow("meta", b"counters".to_vec())),
            _ => {}
        }
    }
    if has_doubtful_lookup {
        changes.extend([Change::Fingerprint(None), Change::ClearLookup]);
    }
    store.stock().committer.commit(changes)?;
    store.rebuild()?;
    loop {
        match store.scrub_step(STEP) {
            Ok(step) if step.is_pass_complete => return Ok(()),
            Ok(_) => {}
            // A part that cannot be read: the scrub goes on behind it.
            Err(error) => tracing::warn!(%error, "part of the cache cannot be read"),
        }
    }
}

/// Takes from others what only the owner may have. What is not on this machine's disk has no mode.
fn restrict(path: &Path) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    if !found.is_symlink() && found.permissions().mode() & 0o077 != 0 {
        let mode = if found.is_dir() { 0o700 } else { 0o600 };
        if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
            tracing::error!(%error, path = %path.display(), "the mode of a cache file cannot be changed");
        }
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
