//! Evidence against members, kept as files in the node's home for people to look at and to hand on.
//!
//! Bounded in number, by age, and for each accused, so that nobody fills the disk or pushes out what is known of others by lying
//! much. A file that cannot be written costs the record, not the verdict.

use crate::secret_file::{self, Overwrite, SecretFileError};
use eddy_wire::NodeId;
use eddy_wire::api::{EvidenceView, MAX_EVIDENCE};
use eddy_wire::evidence::Evidence;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Documents that are kept.
const MOST: usize = 64;
/// Documents that are kept against one member.
const MOST_OF_ONE: usize = 8;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Names in the folder that are looked at.
const MOST_LOOKED_AT: usize = 1024;

/// The folder of evidence.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// The evidence that is kept in a node's home. Nothing is made before there is some.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self { folder: home.join("evidence") }
    }

    /// Keeps some evidence; gives its name. Blocks on the disk.
    pub(crate) fn keep(&self, evidence: &Evidence, url: String) -> Result<String, SecretFileError> {
        let accused = evidence.accused.endorsed.encode();
        let id: String = blake3::hash(&accused).to_hex().chars().take(16).collect();
        let found = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        self.make_room(&evidence.accused.signer().to_string());
        let view = EvidenceView::of(evidence, id.clone(), found, url);
        // A tree of strings and numbers; JSON takes all of it.
        let bytes = serde_json::to_vec_pretty(&view).unwrap_or_default();
        secret_file::write(&self.path(&id), &bytes, Overwrite::Refuse)?;
        Ok(id)
    }

    /// Everything that is kept, the newest first. What cannot be read is left out. Blocks on the disk.
    #[must_use]
    pub fn list(&self) -> Vec<EvidenceView> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.take(MOST_LOOKED_AT).filter_map(|entry| Some(entry.ok()?.path()));
        let mut views: Vec<EvidenceView> = names.filter_map(|path| read(&path)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.found_unix_ms));
        views
    }

    /// Who was caught lately, and how long ago each time.
    pub(crate) fn verdicts(&self) -> Vec<(NodeId, Duration)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let views = self.list().into_iter().filter_map(|view| {
            let age = now.saturating_sub(Duration::from_millis(view.found_unix_ms));
            Some((view.accused.signer.parse().ok()?, age))
        });
        views.collect()
    }

    /// Lets the oldest go, so that one more has room.
    fn make_room(&self, accused: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut all, mut of_accused) = (0, 0);
        for view in self.list() {
            let is_his = view.accused.signer == accused;
            let age = now.saturating_sub(Duration::from_millis(view.found_unix_ms));
            all += 1;
            of_accused += usize::from(is_his);
            if all >= MOST || age > KEPT_FOR || (is_his && of_accused >= MOST_OF_ONE) {
                // What stays costs a little of the disk.
                let _ = secret_file::remove(&self.path(&view.id));
            }
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Option<EvidenceView> {
    let bytes = secret_file::read_up_to(path, MAX_EVIDENCE).ok()??;
    let view: EvidenceView = serde_json::from_slice(&bytes).ok()?;
    // Its name leads to its file, and to nothing else.
    (path.file_stem()?.to_str()? == view.id).then_some(view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use eddy_content::tree::run_hash;
    use eddy_content::{BlockHash, LookupKey};
    use eddy_wire::statement::{Claim, EndorsedStatement, GroupId, Statement, Transport};

    fn claim(signer: u8, time: i64, hash: u8) -> Claim {
        let hashes = vec![BlockHash([hash; 32])];
        let statement = Statement {
            group: GroupId([1; 32]),
            key: LookupKey([2; 32]),
            length: 100,
            first_block: 0,
            count: 1,
            run: run_hash(0, &hashes),
            time,
            transport: Transport::Https,
            validator: 1,
            signer: NodeId([0; 32]),
        };
        let signed = statement.sign(&SigningKey::from_bytes(&[signer; 32]));
        Claim { endorsed: EndorsedStatement { signed, certificate: vec![0x30; 40] }, hashes }
    }

    fn evidence(signer: u8, time: i64) -> Evidence {
        Evidence { accused: claim(signer, time, 1), against: vec![claim(0xff, time, 2)] }
    }

    #[test]
    fn what_was_found_is_there_after_a_restart_and_checks() {
        let home = tempfile::tempdir().expect("a folder");
        assert!(Archive::of(home.path()).list().is_empty());
        let id = Archive::of(home.path()).keep(&evidence(3, 7), "https://origin.example/a".into()).expect("is kept");
        let kept = Archive::of(home.path()).list();
        assert_eq!(kept.len(), 1);
        assert_eq!((&kept[0].id, kept[0].url.as_str()), (&id, "https://origin.example/a"));
        assert!(kept[0].evidence().expect("is read").check().is_ok());
        let verdicts = Archive::of(home.path()).verdicts();
        assert_eq!(verdicts[0].0, evidence(3, 7).accused.signer());
    }

    #[test]
    fn who_lies_much_pushes_out_nobody_else() {
        let home = tempfile::tempdir().expect("a folder");
        let archive = Archive::of(home.path());
        archive.keep(&evidence(3, 7), String::new()).expect("is kept");
        (0..40).for_each(|time| drop(archive.keep(&evidence(4, time), String::new()).expect("is kept")));
        let kept = archive.list();
        assert_eq!(kept.len(), 1 + MOST_OF_ONE);
        let first = evidence(3, 7).accused.signer().to_string();
        assert_eq!(kept.iter().filter(|view| view.accused.signer == first).count(), 1);
        (10..90).for_each(|signer| drop(archive.keep(&evidence(signer, 1), String::new()).expect("is kept")));
        assert_eq!(archive.list().len(), MOST);
    }

    #[test]
    fn what_is_no_evidence_is_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let archive = Archive::of(home.path());
        archive.keep(&evidence(3, 7), String::new()).expect("is kept");
        std::fs::write(home.path().join("evidence/notes.json"), "mine").expect("writes");
        assert_eq!(archive.list().len(), 1);
    }
}
