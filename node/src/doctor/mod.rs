//! What is wrong with a node, and what to do about it: looked at while no node runs.
//!
//! | module | looks at |
//! |---|---|
//! | [`surroundings`] | the home, the settings, the key, the group, the disk |
//! | [`store`] | the cache: rows and files against each other, and every byte if asked |
//!
//! A node that runs answers for its store itself, through its control API.

pub mod store;
pub mod surroundings;

use crate::config::Settings;
use eddy_wire::api::{DoctorReport, Problem};
use std::cmp::Reverse;
use std::path::Path;

pub use store::{Depth, Repair};

/// Looks at everything; the store must be nobody's. Blocks.
pub fn examine(home: &Path, config: Option<&Path>, depth: Depth, repair: Repair) -> Result<DoctorReport, Problem> {
    let mut report = DoctorReport { findings: surroundings::look(home, config), ..DoctorReport::default() };
    let directory = home.join("cache");
    if directory.exists() {
        store::look(&directory, depth, repair, &mut report)?;
    }
    report.findings.sort_by_key(|finding| (Reverse(finding.is_open()), Reverse(finding.severity)));
    Ok(report)
}

/// The settings as the node would read them; the defaults when it could not.
fn settings(home: &Path, config: Option<&Path>) -> Settings {
    crate::config::load(home, config).unwrap_or_default()
}
