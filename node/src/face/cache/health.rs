//! What is or was wrong with the store: as its last opening found it, and what its index met since.

use eddy_cache::{IndexTroubles, RecoveryReport, Store};
use eddy_wire::api::{Finding, Severity};

/// The findings of a store that is open.
pub(super) fn findings(store: &Store) -> Vec<Finding> {
    [of_use(store.index_troubles()), of_recovery(store.recovery())].concat()
}

/// What was met in use, the worst first.
fn of_use(troubles: IndexTroubles) -> Vec<Finding> {
    let found = |what: String, remedy: &str| Finding {
        object: "index".to_owned(),
        severity: Severity::Warning,
        what,
        remedy: remedy.to_owned(),
        mended: true,
    };
    let mut findings = Vec::new();
    if troubles.renewed > 0 {
        let what = format!("was damaged in use and made anew from the files ({} times)", troubles.renewed);
        findings.push(found(what, "Damaged pages mean that the disk fails, or the memory: look at both."));
    }
    if troubles.reopened > 0 {
        let what = format!("was opened again after the disk refused a change of it ({} times)", troubles.reopened);
        findings.push(found(what, "If the disk was full, nothing has to be done; otherwise look at the disk."));
    }
    findings
}

fn of_recovery(report: &RecoveryReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |object: &str, severity, what: String, remedy: &str| {
        findings.push(Finding { object: object.to_owned(), severity, what, remedy: remedy.to_owned(), mended: true });
    };
    if let Some(aside) = &report.index_moved_to {
        let what = format!("was damaged when this node started and was begun anew; the old one is {}", aside.display());
        let remedy = "Run `eddy doctor` when no node runs; if it happens again, look at the disk.";
        find("index", Severity::Warning, what, remedy);
    }
    if report.damaged_rows > 0 {
        let what = format!("{} damaged rows were forgotten when this node started", report.damaged_rows);
        find(
            "index",
            Severity::Warning,
            what,
            "What they spoke of is fetched again; if it happens often, the disk fails.",
        );
    }
    if report.dangling > 0 {
        let what = format!("the files of {} entries were gone or foreign; the entries were forgotten", report.dangling);
        find("entities", Severity::Warning, what, "They are fetched again; find out who removes files there.");
    }
    if report.quarantined_files > 0 {
        let what = format!("{} files that belong to nothing were set aside", report.quarantined_files);
        find("quarantine", Severity::Note, what, "They are deleted after a day, or when room is needed.");
    }
    if report.was_unclean {
        let what = "the node before this one stopped without closing the store".to_owned();
        find("store", Severity::Note, what, "Nothing has to be done: what was acknowledged is here.");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_start_has_nothing_to_tell() {
        assert_eq!(of_recovery(&RecoveryReport::default()), []);
        assert_eq!(of_use(IndexTroubles::default()), []);
    }

    #[test]
    fn what_the_index_got_over_in_use_is_told_with_how_often() {
        let findings = of_use(IndexTroubles { reopened: 3, renewed: 1 });
        assert!(findings[0].what.contains("made anew") && findings[0].what.contains("(1 times)"));
        assert!(findings[1].what.contains("opened again") && findings[1].what.contains("(3 times)"));
        assert!(findings.iter().all(|finding| !finding.is_open() && finding.remedy.ends_with('.')));
    }

    #[test]
    fn what_opening_did_is_told_and_nobody_has_to_act() {
        let report = RecoveryReport {
            was_unclean: true,
            index_moved_to: Some("/c/index.damaged-1".into()),
            dangling: 2,
            damaged_rows: 3,
            quarantined_files: 4,
            ..RecoveryReport::default()
        };
        let findings = of_recovery(&report);
        assert_eq!(findings.len(), 5);
        assert!(findings.iter().all(|finding| !finding.is_open() && finding.remedy.ends_with('.')));
    }
}
