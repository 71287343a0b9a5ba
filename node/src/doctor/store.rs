//! The cache: everything that must be true of it, checked by its own checker, and mended if asked.

use eddy_cache::OpenError;
use eddy_cache::check::{self, CheckReport, check};
use eddy_wire::api::{DoctorReport, Finding, Problem, Severity};
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

pub use eddy_cache::check::{Depth, Repair};

/// Looks at the store in a directory.
pub(super) fn look(directory: &Path, depth: Depth, repair: Repair, report: &mut DoctorReport) -> Result<(), Problem> {
    match check(directory, depth, repair) {
        Ok(checked) => {
            report.entities = checked.entities;
            report.hashed = checked.hashed_bytes;
            report.findings.extend(of_check(&checked));
            Ok(())
        }
        Err(error @ OpenError::InUse { .. }) => Err(Problem::new(ErrorCode::StoreInUse, error.to_string())),
        Err(error) => {
            report.findings.push(Finding {
                object: directory.display().to_string(),
                severity: Severity::Error,
                what: crate::node::StartError::from(error).problem().to_string(),
                remedy: "Check the rights and the room in that directory; the system's log says more of the disk."
                    .to_owned(),
                mended: false,
            });
            Ok(())
        }
    }
}

fn of_check(checked: &CheckReport) -> Vec<Finding> {
    let mut findings: Vec<Finding> = checked.findings.iter().map(finding).collect();
    if checked.omitted > 0 {
        findings.push(Finding {
            object: "cache".to_owned(),
            severity: Severity::Error,
            what: format!("{} more findings are not listed", checked.omitted),
            remedy: "Mend what is listed, then look again.".to_owned(),
            mended: false,
        });
    }
    findings
}

fn finding(found: &check::Finding) -> Finding {
    let with = if found.is_fixable && !found.is_fixed { " (`eddy doctor --fix`)" } else { "" };
    Finding {
        object: found.object.to_string(),
        severity: match found.severity {
            check::Severity::Untidy => Severity::Note,
            check::Severity::Damaged => Severity::Warning,
            check::Severity::Lost => Severity::Error,
        },
        what: found.what.clone(),
        remedy: sentence(&format!("{}{with}", found.remedy)),
        mended: found.is_fixed,
    }
}

/// The text with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let end = if text.ends_with('.') { "" } else { "." };
    first.into_iter().flatten().chain(letters).collect::<String>() + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_reads_as_a_sentence() {
        assert_eq!(sentence("remove the entity"), "Remove the entity.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn what_no_check_lists_is_counted() {
        let checked = CheckReport { omitted: 3, ..CheckReport::default() };
        assert_eq!(of_check(&checked).len(), 1);
        assert!(of_check(&CheckReport::default()).is_empty());
    }
}
