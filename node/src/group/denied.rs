//! Who was removed from the group, as far as this node knows: the deny-list, on disk and at hand.
//!
//! Only a list with a higher epoch replaces another. The epoch is also kept in a file of its own, made durable before a
//! list that came from elsewhere (C-11): where an older list was put back, that file still says which epoch was known, and no list below
//! it is taken from anybody. On the root's machine two lists that differ become one that has both ([`step`]).
//!
//! The command that removes and the daemon change the files, each alone and after a look at what the other wrote: a removal is in one
//! of them before it is anywhere else.

mod step;

use super::clock::unix_now;
use super::register;
use crate::secret_file::{self, Overwrite, SecretFileError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use eddy_wire::NodeId;
use eddy_wire::membership::{DenyList, DenyListError, Removal, SignedDenyList};
use eddy_wire::statement::GroupId;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use step::{Hand, Step, step};
use tokio::sync::watch;

/// The list's file in the node's home.
pub(super) const FILE: &str = "group.denied";
/// The file of the highest epoch that was ever known.
pub(super) const EPOCH_FILE: &str = "group.epoch";
/// Bytes of the longest file.
const MAX_LENGTH: u64 = 256 * 1024;

/// What became of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the list from now on.
    Newer,
    /// It was known, or is older than what is known.
    Known,
}

/// Why a list is not taken.
#[derive(Debug, thiserror::Error)]
pub enum DeniedError {
    /// Not the group's. Whoever sent it is at fault.
    #[error(transparent)]
    Forged(#[from] DenyListError),
    /// The disk's fault. The list holds all the same until the node ends.
    #[error(transparent)]
    File(#[from] SecretFileError),
}

/// Why a node was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Only the root removes.
    #[error("only the node that has the group's root key can remove members")]
    NoRoot,
    /// A newer list was here, so a list from this one would take its removals back. The administrator's to mend.
    #[error("the deny-list on this disk has epoch {list}, and one of epoch {epoch} was here before")]
    Outdated {
        /// The epoch of the list at hand.
        list: u64,
        /// The highest epoch that was ever known.
        epoch: u64,
    },
    /// There is no room, and the oldest removal is too young to be forgotten.
    #[error("the deny-list is full")]
    Full,
    /// The list that is here, or the disk.
    #[error(transparent)]
    List(#[from] DeniedError),
}

/// The deny-list of one group at one node. Clones share it.
#[derive(Debug, Clone)]
pub struct Denied {
    group: GroupId,
    root: VerifyingKey,
    /// Signs lists, where the root is.
    signs: Option<Arc<SigningKey>>,
    home: PathBuf,
    /// Held while a list is compared, written and put in place.
    writing: Arc<Mutex<()>>,
    current: Arc<watch::Sender<Arc<Known>>>,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The list with its signature, to be passed on; none when nobody was ever removed.
    pub signed: Option<SignedDenyList>,
    /// No list below this epoch is taken: the list's own, or a higher one if the list's file was put back.
    pub epoch: u64,
}

impl Known {
    /// Whether a node was removed.
    #[must_use]
    pub fn is_removed(&self, node: &NodeId) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.list.removal(node).is_some())
    }

    /// The list itself.
    #[must_use]
    pub fn list(&self) -> Option<&DenyList> {
        self.signed.as_ref().map(|signed| &signed.list)
    }

    /// The epoch of the list at hand; 0 when there is none.
    fn list_epoch(&self) -> u64 {
        self.list().map_or(0, |list| list.epoch)
    }

    /// Whether a list with this epoch would replace the one at hand.
    fn yields_to(&self, epoch: u64) -> bool {
        epoch > self.list_epoch() && epoch >= self.epoch
    }
}

impl Denied {
    /// Reads what is kept in `home`.
    pub(super) fn load(
        home: &Path,
        group: GroupId,
        root: VerifyingKey,
        signs: Option<SigningKey>,
    ) -> Result<Self, DeniedError> {
        let known = read(home, group, &root)?;
        if known.list_epoch() < known.epoch {
            tracing::error!(
                list = known.list_epoch(),
                epoch = known.epoch,
                "the deny-list on this disk is older than one that was here before; a newer one is awaited from the members"
            );
        }
        let current = Arc::new(watch::Sender::new(Arc::new(known)));
        let signs = signs.map(Arc::new);
        Ok(Self { group, root, signs, home: home.to_path_buf(), writing: Arc::default(), current })
    }

    /// The group that it is of.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Takes no list below `epoch` any more: another record of this node says that it was known here. Blocks on the disk.
    pub fn guard(&self, epoch: u64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        if epoch <= known.epoch {
            return;
        }
        tracing::error!(
            list = known.list_epoch(),
            epoch,
            "the deny-list on this disk is older than one that this node has known: its folder was put back; a newer one is \
             awaited from the members"
        );
        self.current.send_replace(Arc::new(Known { signed: known.signed.clone(), epoch }));
        // For the commands of this home, which do not see the store.
        if let Err(error) = write_epoch(&self.home, epoch) {
            tracing::error!(%error, "the epoch of the deny-list cannot be kept");
        }
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells of every list from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Known>> {
        self.current.subscribe()
    }

    /// Takes a list that somebody sent, if it is the root's and newer. Where the root is, also one that lacks what is known, or has what
    /// is not: both become one. Blocks on the disk.
    ///
    /// The list holds at once, even where the disk fails.
    pub fn apply(&self, signed: SignedDenyList) -> Result<Applied, DeniedError> {
        signed.verify(self.group, &self.root)?;
        // Most that come are known: they are not worth a look at the disk.
        if self.step(&signed.list) == Step::Keep {
            return Ok(Applied::Known);
        }
        self.settle(Some(signed))
    }

    /// Looks at the disk again: another process of this home may have written a newer list. Blocks on the disk.
    pub fn reread(&self) -> Result<Applied, DeniedError> {
        self.settle(None)
    }

    /// Removes a node, where the root is: a new list, signed and kept; gives its epoch. Who was removed longer than `forgotten_after`
    /// seconds ago gives way when there is no room. Blocks on the disk.
    pub(super) fn remove(&self, node: NodeId, now: i64, forgotten_after: i64) -> Result<u64, RemoveError> {
        let signs = self.signs.as_ref().ok_or(RemoveError::NoRoot)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = register::lock(&self.home).map_err(DeniedError::from)?;
        let found = read(&self.home, self.group, &self.root)?;
        self.raise(found.epoch);
        found.signed.into_iter().for_each(|signed| self.take(signed));
        let known = self.known();
        if known.list_epoch() < known.epoch {
            return Err(RemoveError::Outdated { list: known.list_epoch(), epoch: known.epoch });
        }
        let removal = Removal { node, time: now };
        let removed = step::with(known.list(), removal, forgotten_after).ok_or(RemoveError::Full)?;
        let list = DenyList { group: self.group, epoch: known.epoch.saturating_add(1), time: now, removed };
        self.put(list.sign(signs));
        self.write().map_err(DeniedError::from)?;
        Ok(self.known().epoch)
    }

    /// Puts together what is known, what is on the disk and what came, and leaves it in both.
    fn settle(&self, came: Option<SignedDenyList>) -> Result<Applied, DeniedError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = register::lock(&self.home);
        let (found, before) = (read(&self.home, self.group, &self.root), self.known());
        let (is_asked, mut on_disk) = (came.is_some(), None);
        match found {
            Ok(found) => {
                self.raise(found.epoch);
                found.signed.iter().cloned().for_each(|signed| self.take(signed));
                on_disk = found.signed;
            }
            // What came replaces it.
            Err(error) if is_asked => tracing::error!(%error, "the deny-list on this disk cannot be read"),
            Err(error) => return Err(error),
        }
        // What was incomplete without the one that came may be something new beside it.
        came.into_iter().chain(on_disk.clone()).for_each(|signed| self.take(signed));
        let after = self.known();
        let on_disk_epoch = on_disk.as_ref().map_or(0, |signed| signed.list.epoch);
        if after.signed != on_disk && after.list_epoch() >= on_disk_epoch && after.signed.is_some() {
            if on_disk.is_some() && on_disk != before.signed {
                tracing::error!(
                    epoch = after.list_epoch(),
                    "the deny-list on this disk is not the one that is known: it was put back, or changed elsewhere; it is replaced"
                );
            }
            let _alone = alone?;
            self.write()?;
        }
        Ok(if after.signed == before.signed { Applied::Known } else { Applied::Newer })
    }

    /// What to do about a list beside the one that is known.
    fn step(&self, other: &DenyList) -> Step {
        let known = self.known();
        let hand = if self.signs.is_some() { Hand::Root } else { Hand::Member };
        let step = step(&known, other, hand, unix_now());
        let is_tie = step == Step::Keep && other.epoch == known.list_epoch();
        if is_tie && known.list().is_some_and(|list| list.removed != other.removed) {
            tracing::warn!(
                epoch = other.epoch,
                "two deny-lists of one epoch differ; the root's machine has to meet both"
            );
        }
        step
    }

    /// Takes a list that the root has signed into what is known, as far as it is anything new.
    fn take(&self, signed: SignedDenyList) {
        match (self.step(&signed.list), &self.signs) {
            (Step::Take, _) => self.put(signed),
            (Step::Unite(list), Some(signs)) => {
                tracing::warn!(
                    epoch = list.epoch,
                    "two deny-lists differ: one that has the removals of both is signed"
                );
                self.put(list.sign(signs));
            }
            // Without the root's key nothing is put together.
            (Step::Keep | Step::Unite(_), _) => {}
        }
    }

    fn put(&self, signed: SignedDenyList) {
        let epoch = self.known().epoch.max(signed.list.epoch);
        self.current.send_replace(Arc::new(Known { signed: Some(signed), epoch }));
    }

    /// Takes no list below this epoch any more.
    fn raise(&self, epoch: u64) {
        let known = self.known();
        if epoch > known.epoch {
            self.current.send_replace(Arc::new(Known { signed: known.signed.clone(), epoch }));
        }
    }

    /// Writes what is known. Whoever signed a list writes that first: where it stopped in between, an epoch without its list would wait for
    /// what nobody has.
    fn write(&self) -> Result<(), SecretFileError> {
        let known = self.known();
        let Some(signed) = &known.signed else { return Ok(()) };
        let list = |bytes: &[u8]| secret_file::write(&self.home.join(FILE), bytes, Overwrite::Replace).map(drop);
        if self.signs.is_none() {
            write_epoch(&self.home, known.epoch)?;
        }
        list(&signed.encode())?;
        if self.signs.is_some() {
            write_epoch(&self.home, known.epoch)?;
        }
        Ok(())
    }
}

fn read(home: &Path, group: GroupId, root: &VerifyingKey) -> Result<Known, DeniedError> {
    let signed = match secret_file::read_up_to(&home.join(FILE), MAX_LENGTH)? {
        Some(bytes) => {
            let signed = SignedDenyList::decode(&bytes)?;
            signed.verify(group, root)?;
            Some(signed)
        }
        None => None,
    };
    let of_list = signed.as_ref().map_or(0, |signed| signed.list.epoch);
    let kept = secret_file::read(&home.join(EPOCH_FILE))?;
    let kept = kept.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.trim().parse().ok()).unwrap_or(0);
    Ok(Known { signed, epoch: of_list.max(kept) })
}

fn write_epoch(home: &Path, epoch: u64) -> Result<(), SecretFileError> {
    secret_file::write(&home.join(EPOCH_FILE), format!("{epoch}\n").as_bytes(), Overwrite::Replace).map(drop)
}

#[cfg(test)]
mod tests;
