//! Who was removed from the group, as far as this node knows: the deny-list, on disk and at hand.
//!
//! Only a list with a higher epoch replaces another. The epoch is also kept in a file of its own, made durable before the
//! list (C-11): where an older list was put back, that file still says which epoch was known, and no list below it is
//! taken from anybody.

use crate::secret_file::{self, Overwrite, SecretFileError};
use ed25519_dalek::VerifyingKey;
use eddy_wire::NodeId;
use eddy_wire::membership::{DenyList, DenyListError, SignedDenyList};
use eddy_wire::statement::GroupId;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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

/// The deny-list of one group at one node. Clones share it.
#[derive(Debug, Clone)]
pub struct Denied {
    group: GroupId,
    root: VerifyingKey,
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
    pub(super) fn load(home: &Path, group: GroupId, root: VerifyingKey) -> Result<Self, DeniedError> {
        let known = read(home, group, &root)?;
        if known.list_epoch() < known.epoch {
            tracing::error!(
                list = known.list_epoch(),
                epoch = known.epoch,
                "the deny-list on this disk is older than one that was here before; a newer one is awaited from the members"
            );
        }
        let current = Arc::new(watch::Sender::new(Arc::new(known)));
        Ok(Self { group, root, home: home.to_path_buf(), writing: Arc::default(), current })
    }

    /// The group that it is of.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Takes no list below `epoch` any more: another record of this node says that it was known here.
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

    /// Takes a list that somebody sent, if it is the root's and newer. Blocks on the disk.
    ///
    /// The list holds at once, even where the disk fails.
    pub fn apply(&self, signed: SignedDenyList) -> Result<Applied, DeniedError> {
        signed.verify(self.group, &self.root)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = signed.list.epoch;
        if !self.known().yields_to(epoch) {
            return Ok(Applied::Known);
        }
        let bytes = signed.encode();
        self.current.send_replace(Arc::new(Known { signed: Some(signed), epoch }));
        write(&self.home, epoch, &bytes)?;
        Ok(Applied::Newer)
    }

    /// Looks at the disk again: another process of this home may have written a newer list.
    pub fn reread(&self) -> Result<Applied, DeniedError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&self.home, self.group, &self.root)?;
        if !self.known().yields_to(found.list_epoch()) {
            return Ok(Applied::Known);
        }
        self.current.send_replace(Arc::new(found));
        Ok(Applied::Newer)
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

fn write(home: &Path, epoch: u64, list: &[u8]) -> Result<(), SecretFileError> {
    secret_file::write(&home.join(EPOCH_FILE), format!("{epoch}\n").as_bytes(), Overwrite::Replace)?;
    secret_file::write(&home.join(FILE), list, Overwrite::Replace)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use eddy_wire::membership::Removal;

    const GROUP: GroupId = GroupId([1; 32]);

    fn root() -> SigningKey {
        SigningKey::from_bytes(&[0x52; 32])
    }

    fn list(epoch: u64, removed: &[u8]) -> SignedDenyList {
        let removed = removed.iter().map(|n| Removal { node: NodeId([*n; 32]), time: 0 }).collect();
        DenyList { group: GROUP, epoch, time: 0, removed }.sign(&root())
    }

    fn denied(home: &Path) -> Denied {
        Denied::load(home, GROUP, root().verifying_key()).expect("loads")
    }

    #[test]
    fn the_higher_epoch_wins_whatever_comes_first_and_is_there_after_a_restart() {
        let home = tempfile::tempdir().expect("a directory");
        let here = denied(home.path());
        assert_eq!(here.known().epoch, 0);
        assert_eq!(here.apply(list(2, &[7])).expect("takes it"), Applied::Newer);
        assert_eq!(here.apply(list(1, &[])).expect("is no fault"), Applied::Known);
        assert_eq!(here.apply(list(2, &[])).expect("is no fault"), Applied::Known);
        for here in [here, denied(home.path())] {
            let known = here.known();
            assert_eq!(known.epoch, 2);
            assert!(known.is_removed(&NodeId([7; 32])) && !known.is_removed(&NodeId([8; 32])));
        }
    }

    #[test]
    fn a_list_that_was_put_back_lets_nobody_in_again() {
        let home = tempfile::tempdir().expect("a directory");
        let here = denied(home.path());
        here.apply(list(3, &[7])).expect("takes it");
        let old = std::fs::read(home.path().join(FILE)).expect("is there");
        here.apply(list(5, &[7, 9])).expect("takes it");
        std::fs::write(home.path().join(FILE), old).expect("puts it back");
        let again = denied(home.path());
        assert_eq!(again.known().epoch, 5);
        // One between the two would bring the removed back; the one that was known, or a later one, does not.
        assert_eq!(again.apply(list(4, &[7])).expect("is no fault"), Applied::Known);
        assert_eq!(again.apply(list(5, &[7, 9])).expect("takes it"), Applied::Newer);
        assert!(again.known().is_removed(&NodeId([9; 32])));
    }

    #[test]
    fn a_list_that_vanished_is_awaited_again() {
        let home = tempfile::tempdir().expect("a directory");
        denied(home.path()).apply(list(3, &[7])).expect("takes it");
        std::fs::remove_file(home.path().join(FILE)).expect("removes");
        let again = denied(home.path());
        assert_eq!((again.known().epoch, again.known().signed.is_none()), (3, true));
        assert_eq!(again.apply(list(2, &[])).expect("is no fault"), Applied::Known);
        assert_eq!(again.apply(list(3, &[7])).expect("takes it"), Applied::Newer);
    }

    #[test]
    fn a_folder_that_was_put_back_whole_lets_nobody_in_again_either() {
        let home = tempfile::tempdir().expect("a directory");
        let here = denied(home.path());
        here.apply(list(3, &[7])).expect("takes it");
        let again = denied(home.path());
        // The store has seen epoch 5.
        again.guard(5);
        again.guard(2);
        assert_eq!(again.known().epoch, 5);
        assert!(again.known().is_removed(&NodeId([7; 32])), "what the old list says holds");
        assert_eq!(again.apply(list(4, &[])).expect("is no fault"), Applied::Known);
        assert_eq!(again.reread().expect("reads"), Applied::Known);
        assert_eq!(again.apply(list(5, &[7, 9])).expect("takes it"), Applied::Newer);
    }

    #[test]
    fn only_the_roots_list_is_taken() {
        let home = tempfile::tempdir().expect("a directory");
        let here = denied(home.path());
        let forged = list(9, &[1]).list.sign(&SigningKey::from_bytes(&[1; 32]));
        assert!(matches!(here.apply(forged), Err(DeniedError::Forged(DenyListError::Signature))));
        let other = DenyList { group: GroupId([2; 32]), ..list(9, &[1]).list }.sign(&root());
        assert!(matches!(here.apply(other), Err(DeniedError::Forged(DenyListError::Group))));
        assert_eq!(here.known().epoch, 0);
    }

    #[test]
    fn what_another_process_wrote_is_found_and_told() {
        let home = tempfile::tempdir().expect("a directory");
        let (here, there) = (denied(home.path()), denied(home.path()));
        let mut told = here.watch();
        there.apply(list(1, &[7])).expect("takes it");
        assert!(!here.known().is_removed(&NodeId([7; 32])));
        assert_eq!(here.reread().expect("reads"), Applied::Newer);
        assert_eq!(here.reread().expect("reads"), Applied::Known);
        assert!(told.has_changed().expect("lives") && told.borrow_and_update().is_removed(&NodeId([7; 32])));
    }
}
