//! What is or was wrong with the store: as its last opening found it, what its index met since, and what its disk keeps.

use eddy_cache::{DiskFault, FaultKind, IndexTroubles, KeptFiles, RecoveryReport, Store};
use eddy_wire::api::{Finding, Severity};

/// The findings of a store that is open.
pub(super) fn findings(store: &Store) -> Vec<Finding> {
    [of_kept(&store.kept_files()), of_use(store.index_troubles()), of_recovery(store.recovery())].concat()
}

/// What the disk keeps now: it stays so until somebody does something.
fn of_kept(kept: &KeptFiles) -> Vec<Finding> {
    let found = |fault: &DiskFault, what: String, again: &str| Finding {
        object: fault.path.display().to_string(),
        severity: Severity::Warning,
        what: format!("{what}; the last was: {fault}"),
        remedy: format!("{} {again}", remedy_of(fault.kind())),
        mended: false,
    };
    let going = kept.last.as_ref().map(|fault| {
        let what =
            format!("the disk keeps the files of {} that are to go, and their room", count(kept.entities, "entries"));
        found(fault, what, "It is tried again every minute.")
    });
    let passed = kept.last_passed.as_ref().filter(|_| kept.passed > 0).map(|fault| {
        let what = format!("the disk lets nobody look after {} of the cache", count(kept.passed, "files or folders"));
        found(fault, what, "It is tried again once a day, and when the node starts.")
    });
    going.into_iter().chain(passed).collect()
}

fn count(number: u64, of: &str) -> String {
    match (number, of) {
        (1, "entries") => "1 entry".to_owned(),
        (1, _) => "1 file or folder".to_owned(),
        _ => format!("{number} {of}"),
    }
}

fn remedy_of(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Denied => {
            "Give the file and its folder back to the user that the node runs as (`chown`), and take what makes them immutable away \
             (`lsattr`, `chattr -i`)."
        }
        FaultKind::ReadOnly => "Mount the file system writable again; the system's log says why it is not.",
        FaultKind::Medium => "The disk fails: look at the system's log, and at the disk.",
        FaultKind::Full | FaultKind::TooManyFiles | FaultKind::Other => {
            "Look at that file and its folder: whose they are, and whether the file is one at all."
        }
    }
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
    if let Some(aside) = &report.journal_moved_to {
        let what =
            format!("made no sense when this node started and was set aside; the old one is {}", aside.display());
        // Beside a new index it was the last that knew of jobs.
        let (severity, remedy) = match report.index_moved_to {
            None => (Severity::Warning, "The jobs are those of the index; if it happens again, look at the disk."),
            Some(_) => (Severity::Error, "The index was damaged as well: add the jobs again, and look at the disk."),
        };
        find("the job journal", severity, what, remedy);
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
        assert_eq!(of_kept(&KeptFiles::default()), []);
    }

    #[test]
    fn what_the_disk_keeps_is_open_and_names_the_file_and_what_to_do() {
        let fault = |error| DiskFault {
            operation: "delete",
            path: "/c/entities/ab/x.data".into(),
            source: std::sync::Arc::new(std::io::Error::from_raw_os_error(error)),
        };
        let (eperm, eio) = (1, 5);
        let kept = KeptFiles { entities: 1, last: Some(fault(eperm)), passed: 3, last_passed: Some(fault(eio)) };
        let findings = of_kept(&kept);
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|found| found.is_open() && found.object == "/c/entities/ab/x.data"));
        assert!(findings[0].what.contains("1 entry") && findings[0].remedy.contains("chattr -i"), "{findings:?}");
        assert!(findings[1].what.contains("3 files or folders") && findings[1].remedy.contains("disk fails"));
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
            journal_moved_to: Some("/c/jobs.damaged-1".into()),
            dangling: 2,
            damaged_rows: 3,
            quarantined_files: 4,
            ..RecoveryReport::default()
        };
        let findings = of_recovery(&report);
        assert_eq!(findings.len(), 6);
        assert!(findings.iter().all(|finding| !finding.is_open() && finding.remedy.ends_with('.')));
    }

    #[test]
    fn a_lost_journal_loses_jobs_only_beside_a_lost_index() {
        let report = RecoveryReport { journal_moved_to: Some("/c/jobs.damaged-1".into()), ..RecoveryReport::default() };
        let [journal] = &of_recovery(&report)[..] else { panic!("one finding") };
        assert!(journal.severity == Severity::Warning && journal.what.contains("/c/jobs.damaged-1"), "{journal:?}");
        let report = RecoveryReport { index_moved_to: Some("/c/index.damaged-1".into()), ..report };
        let [_, journal] = &of_recovery(&report)[..] else { panic!("two findings") };
        assert!(journal.severity == Severity::Error && journal.remedy.contains("add the jobs again"), "{journal:?}");
    }
}
