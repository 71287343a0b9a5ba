//! Looks at everything, changes nothing.

use super::Depth;
use super::finding::{CheckReport, Object, Remedy, Severity};
use crate::aligned::AlignedBuffer;
use crate::content::FilePair;
use crate::direct::BlockFile;
use crate::disk::{self, Disk};
use crate::fault::{DiskFault, OpenError};
use crate::index::{FORMAT, Index, IndexOpenError};
use crate::journal;
use crate::ledger::{Account, EARLIER_PEERS};
use crate::rebuild;
use crate::row::{EntityRecord, Place, Privacy};
use crate::store::{Files, Name};
use eddy_content::digest::DigestCheck;
use eddy_content::{BlockSet, EntityId, Geometry, tree};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Rows that are read at once.
const PAGE: usize = 256;
/// Blocks that are hashed at once.
const RUN: u32 = 16;

/// What is known while looking.
struct Looker<'l> {
    files: Files,
    depth: Depth,
    report: &'l mut CheckReport,
    /// Generations of rows, and whose they are.
    generations: HashMap<u64, EntityId>,
    in_files: HashSet<(EntityId, u64)>,
    private: HashSet<EntityId>,
}

/// Looks at the store of a directory, whose lock the caller has.
pub(super) fn look(directory: &Path, disk: &Arc<dyn Disk>, depth: Depth) -> Result<CheckReport, OpenError> {
    let mut report = CheckReport::default();
    let files = Files::at(Arc::clone(disk), directory);
    let mut looker = Looker {
        files,
        depth,
        report: &mut report,
        generations: HashMap::new(),
        in_files: HashSet::new(),
        private: HashSet::new(),
    };
    looker.names(directory)?;
    looker.modes(directory);
    if let Some(index) = looker.index()? {
        looker.rows(&index)?;
        looker.entities(&index)?;
        looker.jobs(&index)?;
        looker.ledger(&index)?;
        looker.orphans()?;
        if let Err(error) = index.close() {
            tracing::debug!(%error, "the index did not close after a check");
        }
    }
    report.findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.object.cmp(&b.object)));
    Ok(report)
}

impl Looker<'_> {
    fn add(&mut self, severity: Severity, object: Object, what: impl Into<String>, remedy: Remedy) {
        self.report.add(severity, object, what, remedy);
    }

    /// Names in the directory that are not the store's.
    fn names(&mut self, directory: &Path) -> Result<(), DiskFault> {
        let disk = Arc::clone(self.files.disk());
        let known = ["lock", "index.redb", journal::NAME, "entities", "quarantine"];
        for name in disk::list(&*disk, directory)? {
            let is_kept = name.starts_with("index.damaged-") || name.starts_with("jobs.damaged-");
            if known.contains(&name.as_str()) || is_kept {
                continue;
            }
            // A directory of such a name is somebody else's, too.
            let is_file = disk::open(&*disk, &directory.join(&name)).is_ok();
            let (what, remedy) = match name.as_str() {
                "index.suspect" if is_file => {
                    ("damage was met in use", Remedy::Repair("the next start checks the index"))
                }
                "index.unsynced" if is_file => {
                    ("a sync of the index failed", Remedy::Repair("the next start settles it"))
                }
                "index.unfinished" => ("its making was cut short", Remedy::Hand("remove it while no node runs")),
                journal::NEW_NAME if is_file => {
                    ("a journal that was not finished", Remedy::Repair("the next start removes it"))
                }
                _ => ("it is not the cache's", Remedy::Hand("look whose it is, and move it away")),
            };
            self.add(Severity::Untidy, Object::File(name), what, remedy);
        }
        self.report.quarantined = disk::list(&*disk, &self.files.quarantine())?.len() as u64;
        Ok(())
    }

    /// Modes and owners, where the directory is on a disk of this machine.
    fn modes(&mut self, directory: &Path) {
        use std::os::unix::fs::MetadataExt;
        let Ok(root) = std::fs::symlink_metadata(directory) else { return };
        let mut waiting = vec![directory.to_owned()];
        while let Some(path) = waiting.pop() {
            let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
            let name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
            let object = Object::File(if name.is_empty() { ".".to_owned() } else { name });
            if found.is_dir() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                waiting.extend(entries.map(|entry| entry.path()));
            } else if !found.is_file() {
                self.add(
                    Severity::Damaged,
                    object,
                    "it is no file",
                    Remedy::Hand("look whose it is, and move it away"),
                );
                continue;
            }
            if found.mode() & 0o077 != 0 {
                let what = format!("others may use it: mode {:o}", found.mode() & 0o7777);
                self.add(Severity::Damaged, object, what, Remedy::Repair("a repair takes that away"));
            } else if found.uid() != root.uid() {
                let what = format!("it belongs to user {}, the cache to {}", found.uid(), root.uid());
                self.add(Severity::Damaged, object, what, Remedy::Hand("change its owner"));
            }
        }
    }

    /// The index, if it opens.
    fn index(&mut self) -> Result<Option<Index>, OpenError> {
        let (disk, path) = (Arc::clone(self.files.disk()), self.files.index());
        let remedy = || Remedy::Repair("a repair makes it again from the files");
        let has_files = !disk::list(&*disk, &self.files.entities())?.is_empty();
        let is_used = has_files || disk::length(&*disk, &self.files.root().join(journal::NAME))?.is_some();
        if disk::length(&*disk, &path)?.is_none() {
            if is_used {
                self.add(Severity::Lost, Object::Index, "it is not there", remedy());
            }
            return Ok(None);
        }
        // One that a kill left half made, before anything was in it, was never an index of anything.
        let severity = if is_used { Severity::Damaged } else { Severity::Untidy };
        if let Some(found) = Index::format_of(&disk, &path).filter(|found| *found > FORMAT) {
            return Err(OpenError::TooNew { found, supported: FORMAT });
        }
        if self.depth == Depth::Strict
            && let Some(damage) = Index::check_pages(&disk, &path)?
        {
            self.add(severity, Object::Index, damage, remedy());
            return Ok(None);
        }
        match Index::open(&disk, &path) {
            Ok(index) => Ok(Some(index)),
            Err(IndexOpenError::Damaged(damage)) => {
                self.add(severity, Object::Index, damage, remedy());
                Ok(None)
            }
            Err(IndexOpenError::TooNew(found)) => Err(OpenError::TooNew { found, supported: FORMAT }),
            Err(IndexOpenError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Every row's seal, and the tables that must agree with each other.
    fn rows(&mut self, index: &Index) -> Result<(), OpenError> {
        let mut damaged = Vec::new();
        index.audit(|table, key, is_whole| {
            if !is_whole {
                damaged.push((table, hex(key)));
            }
        })?;
        for (table, key) in damaged {
            let remedy = Remedy::Repair("a repair removes it, and what can be made again is");
            self.add(Severity::Damaged, Object::Row { table, key }, "it cannot be read", remedy);
        }
        if !index.do_lines_agree()? {
            let what = "the order of eviction and the sums do not agree with the entities";
            self.add(Severity::Damaged, Object::Index, what, Remedy::Repair("a repair makes them again"));
        }
        Ok(())
    }

    fn entities(&mut self, index: &Index) -> Result<(), OpenError> {
        let (highest, _) = index.generations()?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = index.rows(after.as_deref(), PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, record) in rows {
                // One that cannot be read is found by its seal.
                let Some(record) = record else { continue };
                self.entity(index, &key, &record, highest)?;
            }
        }
        for id in index.looked_up()? {
            if self.private.contains(&id) {
                let remedy = Remedy::Repair("a repair makes the table again");
                self.add(Severity::Damaged, Object::Entity(id.to_string()), "private, and named for peers", remedy);
            }
        }
        Ok(())
    }

    fn entity(&mut self, index: &Index, key: &[u8], record: &EntityRecord, highest: u64) -> Result<(), OpenError> {
        let id = record.id();
        let object = || Object::Entity(id.to_string());
        if key != id.0 {
            let what = "its row is under another name";
            self.add(Severity::Damaged, object(), what, Remedy::Hand("remove the entity"));
            return Ok(());
        }
        if record.doomed {
            let remedy = Remedy::Repair("the next start finishes it");
            self.add(Severity::Untidy, object(), "its removal was not finished", remedy);
            return Ok(());
        }
        self.report.entities += 1;
        if record.privacy == Privacy::Private {
            self.private.insert(id);
        }
        if record.place != Place::Files {
            return self.inline(index, record);
        }
        if record.generation > highest {
            let what = format!("generation {} is beyond the highest, {highest}", record.generation);
            self.add(Severity::Damaged, object(), what, Remedy::Hand("remove the entity"));
        }
        if let Some(other) = self.generations.insert(record.generation, id) {
            let what = format!("generation {} is also that of {other}", record.generation);
            self.add(Severity::Damaged, object(), what, Remedy::Hand("remove both entities"));
        }
        self.in_files.insert((id, record.generation));
        let Some((open, geometry)) = rebuild::open_files(&self.files, record)? else {
            let remedy = Remedy::Repair("a repair forgets it; it is fetched again when it is wanted");
            self.add(Severity::Lost, object(), "its files are gone, cut short or another's", remedy);
            return Ok(());
        };
        self.held(index, record, &open, &geometry)
    }

    /// An entity in the index: its one block.
    fn inline(&mut self, index: &Index, record: &EntityRecord) -> Result<(), OpenError> {
        let id = record.id();
        let block = || Object::Block { entity: id.to_string(), block: 0 };
        if record.entity.length > 0 && !index.held(&id)?.0.contains(0) {
            // What was struck off may lie there until it is fetched again.
            return Ok(());
        }
        let Some((hash, bytes)) = index.inline(&id, record.generation)? else {
            if record.entity.length > 0 {
                self.add(Severity::Lost, block(), "it is said to be held, and is not there", STRIKE);
            }
            return Ok(());
        };
        let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(()) };
        let is_right = bytes.len() as u64 == record.entity.length
            && (bytes.is_empty() || tree::hash_block(&geometry, 0, &bytes) == hash);
        if !is_right {
            self.add(Severity::Lost, block(), "it is not what was written", STRIKE);
        }
        self.report.hashed_blocks += 1;
        self.report.hashed_bytes += bytes.len() as u64;
        Ok(())
    }

    /// The held blocks of an entity against its outboard and its data.
    fn held(
        &mut self,
        index: &Index,
        record: &EntityRecord,
        open: &FilePair,
        geometry: &Geometry,
    ) -> Result<(), OpenError> {
        let id = record.id();
        let (held, here) = index.held(&id)?;
        let beyond = held.difference(&BlockSet::from_run(geometry.all_blocks()));
        if !beyond.is_empty() || !here.difference(&held).is_empty() {
            let what = "the index speaks of blocks that it does not have";
            self.add(Severity::Damaged, Object::Entity(id.to_string()), what, Remedy::Hand("remove the entity"));
        }
        if self.depth == Depth::Quick {
            return Ok(());
        }
        let FilePair { data, outboard, layout } = open;
        let medium = BlockFile::on_medium(self.files.disk(), &data.path, data.file());
        let mut buffer = AlignedBuffer::default();
        let is_complete = held.contains_run(geometry.all_blocks());
        let mut digests = DigestCheck::new(if is_complete { &record.digests } else { &[] });
        let (needs_bytes, mut all_right) = (digests.needs_bytes(), true);
        for run in held.difference(&beyond).runs() {
            let mut start = run.start;
            while start < run.end {
                let piece = start..run.end.min(start.saturating_add(RUN));
                start = piece.end;
                let hashes = layout.read_hashes(&*outboard.file(), &outboard.path, piece.clone())?;
                for (block, expected) in piece.zip(&hashes) {
                    let bytes = geometry.block_bytes(block);
                    let length = (bytes.end - bytes.start) as usize;
                    let read = medium.read_once(&mut buffer, length, bytes.start);
                    let what = match &read {
                        Ok(()) if tree::hash_block(geometry, block, &buffer) == *expected => None,
                        Ok(()) => Some("it is not what was written".to_owned()),
                        Err(error) => Some(format!("it cannot be read: {error}")),
                    };
                    self.report.hashed_blocks += 1;
                    self.report.hashed_bytes += length as u64;
                    if let Some(what) = what {
                        all_right = false;
                        self.add(Severity::Lost, Object::Block { entity: id.to_string(), block }, what, STRIKE);
                    } else if needs_bytes {
                        digests.update(&buffer);
                    }
                }
            }
        }
        if is_complete && all_right && needs_bytes && digests.verify().is_err() {
            // Who delivers it finds that out, too; whose fault it is, the store does not know.
            let what = "it does not have a digest that was promised for it";
            self.add(Severity::Untidy, Object::Entity(id.to_string()), what, Remedy::Hand("remove the entity"));
        }
        Ok(())
    }

    fn jobs(&mut self, index: &Index) -> Result<(), OpenError> {
        let state = journal::compare(self.files.disk(), self.files.root(), index)?;
        self.report.jobs = state.jobs;
        let (severity, what) = match state.agreement {
            journal::Agreement::Level => return Ok(()),
            journal::Agreement::Behind => (Severity::Untidy, "it is behind the index, as after a crash"),
            journal::Agreement::Ahead => (Severity::Damaged, "it is ahead of the index, which is an older copy"),
            journal::Agreement::Differs => (Severity::Damaged, "it does not say the same as the index"),
            journal::Agreement::Unreadable => (Severity::Damaged, "it is not there, damaged or foreign"),
        };
        self.add(severity, Object::Journal, what, Remedy::Repair("the next start settles it with the index"));
        Ok(())
    }

    fn ledger(&mut self, index: &Index) -> Result<(), OpenError> {
        let mut open = Vec::new();
        index.each_balance(|account, balance| {
            if !balance.closes() {
                open.push(match account {
                    Account::EARLIER => "of jobs that ended earlier".to_owned(),
                    Account { job, file } => format!("{}/{file}", hex(&job)),
                });
            }
        })?;
        index.each_peer(|node, flow| {
            if !flow.closes() {
                open.push(if node == EARLIER_PEERS { "of earlier peers".to_owned() } else { hex(&node) });
            }
        })?;
        for name in open {
            let remedy = Remedy::Hand("report it: no repair can know the truth");
            self.add(Severity::Damaged, Object::Account(name), "its columns do not close", remedy);
        }
        Ok(())
    }

    /// Files that no row speaks of.
    fn orphans(&mut self) -> Result<(), DiskFault> {
        let disk = Arc::clone(self.files.disk());
        for shard in disk::list(&*disk, &self.files.entities())? {
            for name in disk::list(&*disk, &self.files.entities().join(&shard))? {
                let is_claimed =
                    Name::parse(&name).is_some_and(|name| self.in_files.contains(&(name.id, name.generation)));
                if !is_claimed {
                    let object = Object::File(format!("entities/{shard}/{name}"));
                    let remedy = Remedy::Repair("the next sweep adopts it or sets it aside");
                    self.add(Severity::Untidy, object, "no row speaks of it", remedy);
                }
            }
        }
        Ok(())
    }
}

const STRIKE: Remedy = Remedy::Repair("a repair strikes it off; it is fetched again when it is wanted");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::check::{Depth, Object, Repair, Severity, check};
    use crate::index::Change;
    use crate::ledger::{Account, Source};
    use crate::{NewEntity, Reserve, Store, StoreConfig};
    use eddy_content::{BlockHash, EntityId};

    /// A row is whole and says what cannot be: of an entity that lies in the index, which has no page of its own to rot.
    #[test]
    fn a_block_in_the_index_that_is_wrong_or_gone_is_found_and_struck_off() {
        type Damage = fn(EntityId) -> Change;
        let damages: [Damage; 3] = [
            |id| Change::Inline { id, generation: 1, hash: BlockHash([7; 32]), bytes: vec![1; 400].into() },
            |id| Change::Inline { id, generation: 1, hash: BlockHash([7; 32]), bytes: vec![1; 399].into() },
            |id| Change::StrikeRow("inline", id.0.to_vec()),
        ];
        for damage in damages {
            let directory = tempfile::tempdir().expect("a directory");
            let new = NewEntity::numbered(1, 400);
            let id = new.entity.id();
            // However full this machine's disk is.
            let config = StoreConfig { reserve: Reserve::Bytes(0), ..StoreConfig::new(directory.path()) };
            let store = Store::open(config).expect("opens");
            let handle = store.begin(new).expect("admitted");
            let account = Account { job: [1; 16], file: 0 };
            let mut writer = handle.writer(0, Source::Origin { https: true }, account);
            writer.push(&[1; 400]).expect("pushed");
            writer.finish().expect("finished");
            handle.commit().expect("committed");
            drop(handle);
            store.stock().committer.commit(vec![damage(id)]).expect("committed");
            drop(store);

            let found = check(directory.path(), Depth::Strict, Repair::No).expect("checked");
            let [finding] = &found.findings[..] else { panic!("one finding: {found}") };
            assert_eq!(finding.severity, Severity::Lost);
            assert_eq!(finding.object, Object::Block { entity: id.to_string(), block: 0 });
            let mended = check(directory.path(), Depth::Strict, Repair::Yes).expect("checked");
            assert!(mended.is_sound() && mended.findings.iter().all(|finding| finding.is_fixed), "{mended}");
            let after = check(directory.path(), Depth::Strict, Repair::No).expect("checked");
            assert_eq!(after.findings, [], "{after}");
        }
    }
}
