//! The cache: opened as a node would, which mends what can be mended, and every byte hashed if asked.

use crate::config::Settings;
use crate::face::cache::{health, verify};
use eddy_cache::{EntityRecord, OpenError, Store, StoreError};
use eddy_wire::api::{DoctorReport, Finding, Problem, Severity};
use eddy_wire::catalogue::ErrorCode;
use std::ops::ControlFlow;
use std::path::Path;

/// Rows that are in memory at once.
const BATCH: usize = 512;

/// How closely the cache is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Rows and files against each other.
    Quick,
    /// Every byte hashed, too.
    Strict,
}

/// Looks at the store of a home.
pub(super) fn look(home: &Path, settings: &Settings, depth: Depth, report: &mut DoctorReport) -> Result<(), Problem> {
    let config = settings.store(home).map_err(|error| Problem::new(ErrorCode::BadConfig, error.to_string()))?;
    let store = match Store::open(config) {
        Ok(store) => store,
        Err(error @ OpenError::InUse { .. }) => return Err(Problem::new(ErrorCode::StoreInUse, error.to_string())),
        Err(error) => {
            let remedy =
                "Check the rights and the room in its directory; if the disk is sound, move the directory away.";
            report.findings.push(Finding {
                object: home.join("cache").display().to_string(),
                severity: Severity::Error,
                what: crate::node::StartError::from(error).problem().to_string(),
                remedy: remedy.to_owned(),
                mended: false,
            });
            return Ok(());
        }
    };
    report.findings.extend(health::findings(&store));
    walk(&store, depth, report).map_err(|error| Problem::new(ErrorCode::StoreUnusable, error.to_string()))
}

fn walk(store: &Store, depth: Depth, report: &mut DoctorReport) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let records = store.list(after, BATCH)?;
        let Some(last) = records.last() else { return Ok(()) };
        after = Some(last.id());
        report.entities += records.len() as u64;
        if depth == Depth::Strict {
            for record in &records {
                hash(store, record, report)?;
            }
        }
    }
}

fn hash(store: &Store, record: &EntityRecord, report: &mut DoctorReport) -> Result<(), StoreError> {
    let (object, url) = (record.id().to_string(), record.entity.url.redacted());
    let mut find = |severity, what: String, remedy: &str, mended| {
        report.findings.push(Finding { object: object.clone(), severity, what, remedy: remedy.to_owned(), mended });
    };
    let Some(handle) = store.find(&record.id())? else {
        let what = format!("the files of {url} were gone or foreign; it was forgotten");
        find(Severity::Warning, what, "It is fetched again; find out who removes files there.", true);
        return Ok(());
    };
    match verify::hash_held(&handle, |_, _| ControlFlow::Continue(())) {
        Ok(hashed) => {
            if hashed.corrupt > 0 {
                let what = format!("{} bytes of {url} were not what was written: set aside", hashed.corrupt);
                find(Severity::Error, what, "They are fetched again; if it happens often, the disk fails.", true);
            }
            report.hashed += hashed.bytes;
        }
        Err(error) => {
            find(Severity::Error, format!("{url} cannot be read: {error}"), "Look at the system's log.", false)
        }
    }
    Ok(())
}
