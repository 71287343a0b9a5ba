//! What a node needs around its store: a home of its own, settings that can be read, its key, its group, room on the disk.

use crate::config;
use crate::group::{self, Group, GroupError};
use crate::identity::{self, Identity, IdentityError};
use crate::secret_file::SecretFileError;
use eddy_cache::Reserve;
use eddy_wire::api::{Finding, Severity};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Looks at what lies around the store. Nothing is changed.
#[must_use]
pub fn look(home: &Path, config: Option<&Path>) -> Vec<Finding> {
    let Ok(metadata) = std::fs::metadata(home) else {
        let remedy = "Nothing has to be done: the first command makes it. If there should be one, name it with --home.";
        return vec![finding(home, Severity::Note, "there is no node here yet".to_owned(), remedy)];
    };
    let mut findings = Vec::new();
    if metadata.mode() & 0o077 != 0 {
        let what = format!("other users may enter it (mode {:03o})", metadata.mode() & 0o777);
        findings.push(finding(home, Severity::Warning, what, &format!("Run `chmod 700 {}`.", home.display())));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let what = format!("it belongs to user {}", metadata.uid());
        findings.push(finding(home, Severity::Warning, what, "Look at it as that user, who also runs the node."));
    }
    if let Err(error) = config::load(home, config) {
        let path = config::file_of(home, config);
        findings.push(finding(&path, Severity::Error, chain(&error), "Correct it; until then no node starts."));
    }
    if let Err(error) = Identity::existing(home) {
        findings.push(finding(&home.join(identity::FILE), Severity::Error, error.to_string(), key_remedy(&error)));
    }
    if let Err(error) = Group::load(home) {
        findings.push(finding(&home.join(group::FILE), Severity::Error, error.to_string(), group_remedy(&error)));
    }
    findings.extend(room(home, config));
    findings
}

/// Whether the disk has so little room that nothing can come in.
fn room(home: &Path, config: Option<&Path>) -> Option<Finding> {
    let volume = rustix::fs::statvfs(home).ok()?;
    let (free, total) =
        (volume.f_bavail.saturating_mul(volume.f_frsize), volume.f_blocks.saturating_mul(volume.f_frsize));
    // As the store reckons it.
    let reserve = match super::settings(home, config).reserve().ok()? {
        Reserve::Standard => (total / 20).max(2 << 30),
        Reserve::Bytes(bytes) => bytes,
    };
    if free >= reserve {
        return None;
    }
    let mib = |bytes: u64| bytes >> 20;
    let what = format!("its disk has {} MiB free, and {} MiB shall always be left free", mib(free), mib(reserve));
    Some(finding(home, Severity::Warning, what, "Make room, or lower the reserve: `eddy cache set reserve=1GiB`."))
}

fn key_remedy(error: &IdentityError) -> &'static str {
    match error {
        IdentityError::File(SecretFileError::Exposed { .. }) => "Run `chmod 600` on it if nobody can have copied it.",
        _ => "Restore it from a copy; or delete it, and the node gets a new name.",
    }
}

fn group_remedy(error: &GroupError) -> &'static str {
    match error {
        GroupError::File(SecretFileError::Exposed { .. }) => "Run `chmod 600` on it if nobody can have copied it.",
        _ => "Leave the group and join it again: `eddy group leave`, `eddy group join FILE`.",
    }
}

fn finding(object: &Path, severity: Severity, what: String, remedy: &str) -> Finding {
    Finding { object: object.display().to_string(), severity, what, remedy: remedy.to_owned(), mended: false }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        // Whatever disk the test runs on.
        std::fs::write(home.path().join("eddy.toml"), "[cache]\nreserve = \"1 B\"\n").unwrap();
        home
    }

    fn objects(home: &Path) -> Vec<(String, Severity)> {
        let name = |finding: Finding| {
            assert!(finding.remedy.ends_with('.') && !finding.mended, "{finding:?}");
            (Path::new(&finding.object).file_name().unwrap().display().to_string(), finding.severity)
        };
        look(home, None).into_iter().map(name).collect()
    }

    #[test]
    fn a_home_in_order_has_no_findings_and_none_is_made() {
        let home = home();
        assert_eq!(objects(home.path()), []);
        Identity::load_or_create(home.path()).unwrap();
        Group::init(home.path(), group::Overwrite::Refuse).unwrap();
        assert_eq!(objects(home.path()), []);
        let missing = home.path().join("missing");
        assert_eq!(objects(&missing), [("missing".to_owned(), Severity::Note)]);
        assert!(!missing.exists());
    }

    #[test]
    fn each_thing_that_keeps_a_node_from_starting_is_an_error() {
        let home = home();
        for file in ["node.key", "group.secret"] {
            std::fs::write(home.path().join(file), "nonsense").unwrap();
            std::fs::set_permissions(home.path().join(file), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(home.path().join("eddy.toml"), "[cache]\nqouta = 1\nreserve = \"1 B\"\n").unwrap();
        let found = objects(home.path());
        for file in ["eddy.toml", "node.key", "group.secret"] {
            assert!(found.contains(&(file.to_owned(), Severity::Error)), "{file}: {found:?}");
        }
    }

    #[test]
    fn a_home_that_others_may_enter_and_a_full_disk_are_warnings() {
        let home = home();
        let name = home.path().file_name().unwrap().display().to_string();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(home.path().join("eddy.toml"), "[cache]\nreserve = \"10000000 TiB\"\n").unwrap();
        assert_eq!(objects(home.path()), [(name.clone(), Severity::Warning), (name, Severity::Warning)]);
    }
}
