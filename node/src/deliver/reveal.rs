//! Staged files become visible: all are renamed, then their directories are synced.

use super::folder::{Folder, Identity};
use super::{Destination, refusal};
use eddy_content::Root;
use eddy_engine::Failure;
use eddy_wire::catalogue::ErrorCode;
use rustix::fs::{FileType, RenameFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::time::SystemTime;

/// Bytes of a staged file that are copied at a time when it is made anew.
const COPIED: usize = 1 << 20;

/// A staged file that is to become visible.
#[derive(Debug)]
pub struct Publication {
    /// Where.
    pub destination: Destination,
    /// Whether it may replace a file that stands there.
    pub overwrite: bool,
    /// Its length.
    pub length: u64,
    /// The BLAKE3 of the whole.
    pub root: Option<Root>,
}

/// Makes staged files visible: all are renamed, then each directory is synced once. What became of each, in their order; where it
/// is good, the name is durable.
#[must_use]
pub fn publish(files: &[Publication]) -> Vec<Result<(), Failure>> {
    let revealed: Vec<_> = files.iter().map(|file| file.destination.reveal(file)).collect();
    let mut synced = HashMap::new();
    let settled = files.iter().zip(revealed);
    settled.map(|(file, revealed)| revealed.and_then(|()| file.destination.settle(&mut synced))).collect()
}

impl Destination {
    /// Renames the staged file to its destination. Done twice, it succeeds twice.
    fn reveal(&self, &Publication { overwrite, length, root, .. }: &Publication) -> Result<(), Failure> {
        let folder = self.folder()?;
        let shown = self.path.display();
        match folder.look(&self.part) {
            Ok(found) if !self.is_ours(&found, length) => self.adopt(folder, length, root)?,
            _ => {}
        }
        let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let renamed = match folder.rename(&self.part, &self.name, flags) {
            // Not every file system knows the flag; then there is a moment between the look and the rename.
            Err(Errno::INVAL | Errno::NOSYS) if !overwrite => match folder.look(&self.name) {
                Err(Errno::NOENT) => folder.rename(&self.part, &self.name, RenameFlags::empty()),
                _ => Err(Errno::EXIST),
            },
            other => other,
        };
        match renamed {
            Ok(()) => Ok(()),
            // Renamed before a crash that came before the job was written down as ended.
            Err(Errno::NOENT) if self.is_delivered(folder, length, root) => Ok(()),
            Err(Errno::NOENT) => Err(refusal(ErrorCode::StagedLost, format!("what was made for `{shown}` is gone"))),
            Err(Errno::EXIST) => Err(refusal(ErrorCode::DestinationExists, format!("`{shown}` exists"))),
            Err(e) => Err(self.disk_failure("rename", &e.into())),
        }
    }

    /// Whether what stands at the destination is what was staged. A file of its length may have stood there before: the bytes count.
    fn is_delivered(&self, folder: &Folder, length: u64, root: Option<Root>) -> bool {
        let Some(root) = root else { return false };
        if !folder.look(&self.name).is_ok_and(|found| self.is_ours(&found, length)) {
            return false;
        }
        let Ok(mut found) = folder.open_file(&self.name) else { return false };
        self.copy(&mut found, &mut io::sink(), length).is_ok_and(|there| there == root)
    }

    /// Makes the staged file anew, by the hand of the job's owner, from one that was made by another's.
    ///
    /// That is right for a job that was taken over (F-84): its staged file belongs to its last owner, who may change it. But whoever may
    /// write there may as well have put something else in its place. So the bytes count and nothing else: the copy is held against
    /// the hash under which they were verified, and what differs is refused.
    fn adopt(&self, folder: &Folder, length: u64, root: Option<Root>) -> Result<(), Failure> {
        let shown = self.path.display();
        let foreign = || refusal(ErrorCode::DestinationUnsafe, format!("what stands beside `{shown}` is not ours"));
        let root = root.ok_or_else(foreign)?;
        let mut found = folder.open_file(&self.part).map_err(|_| foreign())?;
        let status = found.metadata().map_err(|_| foreign())?;
        if !status.is_file() || status.len() != length {
            return Err(foreign());
        }
        let mut name = self.part.clone();
        name.push("-taken");
        let _ = folder.remove(&name);
        let mut copy = folder.create(&name).map_err(|e| self.disk_failure("create", &e.into()))?;
        let copied = self.copy(&mut found, &mut copy, length).and_then(|copied| {
            if copied != root {
                return Err(foreign());
            }
            let modified = status.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
            self.seal(&copy, modified.and_then(|at| i64::try_from(at.as_secs()).ok()))?;
            let renamed = folder.rename(&name, &self.part, RenameFlags::empty());
            renamed.map_err(|e| self.disk_failure("rename", &e.into()))
        });
        if copied.is_err() {
            let _ = folder.remove(&name);
        }
        copied
    }

    /// Copies so many bytes; their hash.
    fn copy(&self, from: &mut File, to: &mut impl io::Write, length: u64) -> Result<Root, Failure> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; COPIED];
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(COPIED).min(COPIED);
            let read = from.read(&mut piece[..most]).map_err(|e| self.disk_failure("read", &e))?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            to.write_all(&piece[..read]).map_err(|e| self.disk_failure("write", &e))?;
            left -= read as u64;
        }
        Ok(Root(hasher.finalize().into()))
    }

    /// Makes the name durable, with those that were made in the same directory before: `synced` has what came of its sync.
    fn settle(&self, synced: &mut HashMap<Identity, Result<(), Errno>>) -> Result<(), Failure> {
        let folder = self.folder()?;
        let identity = folder.identity().map_err(|e| self.folder_failure(e))?;
        let outcome = *synced.entry(identity).or_insert_with(|| folder.sync());
        outcome.map_err(|e| self.disk_failure("sync the folder of", &e.into()))
    }

    /// Whether this is a file that was made as the owner, of the right length.
    fn is_ours(&self, found: &Stat, length: u64) -> bool {
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        is_file && found.st_uid == self.owner && u64::try_from(found.st_size) == Ok(length)
    }
}
