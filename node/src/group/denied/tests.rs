//! The deny-list on disk and at hand: what replaces what, and what the root puts together.

use super::*;
use ed25519_dalek::SigningKey;

const GROUP: GroupId = GroupId([1; 32]);

fn root() -> SigningKey {
    SigningKey::from_bytes(&[0x52; 32])
}

fn list(epoch: u64, removed: &[u8]) -> SignedDenyList {
    let removed = removed.iter().map(|n| Removal { node: NodeId([*n; 32]), time: 0 }).collect();
    DenyList { group: GROUP, epoch, time: 0, removed }.sign(&root())
}

fn denied(home: &Path) -> Denied {
    Denied::load(home, GROUP, root().verifying_key(), None).expect("loads")
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

/// The root's machine.
fn with_root(home: &Path) -> Denied {
    Denied::load(home, GROUP, root().verifying_key(), Some(root())).expect("loads")
}

fn removed(denied: &Denied) -> (u64, Vec<u8>) {
    let known = denied.known();
    let list = known.list().expect("a list");
    (list.epoch, list.removed.iter().map(|removal| removal.node.0[0]).collect())
}

#[test]
fn nobody_is_removed_by_a_list_that_would_bring_others_back() {
    let home = tempfile::tempdir().expect("a directory");
    let here = with_root(home.path());
    for (number, node) in (1..).zip([7, 8, 9]) {
        assert_eq!(here.remove(NodeId([node; 32]), 5, 100).expect("removes"), number);
    }
    let newest = std::fs::read(home.path().join(FILE)).expect("is there");
    let old = list(2, &[7, 8]).encode();
    std::fs::write(home.path().join(FILE), old).expect("puts it back");
    // A command, which has seen nothing but the disk.
    let refused = with_root(home.path()).remove(NodeId([1; 32]), 6, 100);
    assert!(matches!(refused, Err(RemoveError::Outdated { list: 2, epoch: 3 })), "{refused:?}");
    // A daemon that runs knows better, and mends the disk.
    assert_eq!(here.reread().expect("reads"), Applied::Known);
    assert_eq!(std::fs::read(home.path().join(FILE)).expect("is there"), newest);
    assert_eq!(with_root(home.path()).remove(NodeId([1; 32]), 6, 100).expect("removes"), 4);
    assert_eq!(removed(&with_root(home.path())), (4, vec![1, 7, 8, 9]));
}

#[test]
fn what_only_the_store_remembers_stops_a_command_as_well() {
    let home = tempfile::tempdir().expect("a directory");
    let here = with_root(home.path());
    here.remove(NodeId([7; 32]), 5, 100).expect("removes");
    here.guard(4);
    let refused = with_root(home.path()).remove(NodeId([8; 32]), 6, 100);
    assert!(matches!(refused, Err(RemoveError::Outdated { list: 1, epoch: 4 })), "{refused:?}");
    // Who takes that memory away has a removal that waits for the newer list, and is then put together with it.
    std::fs::remove_file(home.path().join(EPOCH_FILE)).expect("removes");
    assert_eq!(with_root(home.path()).remove(NodeId([8; 32]), 6, 100).expect("removes"), 2);
    assert_eq!(here.reread().expect("reads"), Applied::Known);
    assert_eq!(here.apply(list(4, &[9])).expect("takes it"), Applied::Newer);
    let (epoch, nodes) = removed(&here);
    assert!(epoch > 4 && nodes == [7, 8, 9], "{epoch}: {nodes:?}");
}

#[test]
fn a_root_that_counted_epochs_again_keeps_its_removal_and_the_others() {
    let home = tempfile::tempdir().expect("a directory");
    // Its home is an old copy: the members are at epoch 5.
    let here = with_root(home.path());
    assert_eq!(here.remove(NodeId([3; 32]), 5, 100).expect("removes"), 1);
    assert_eq!(here.apply(list(5, &[7, 8])).expect("takes it"), Applied::Newer);
    assert_eq!(removed(&here), (6, vec![3, 7, 8]));
    assert_eq!(removed(&with_root(home.path())), (6, vec![3, 7, 8]), "also after a restart");
    assert!(here.known().signed.as_ref().expect("a list").verify(GROUP, &root().verifying_key()).is_ok());
    // What a member still has of before changes nothing more.
    assert_eq!(here.apply(list(5, &[7, 8])).expect("is no fault"), Applied::Known);
    // A second machine that has the root's key too: one epoch, two lists.
    assert_eq!(here.apply(list(6, &[7, 8, 9])).expect("takes it"), Applied::Newer);
    assert_eq!(removed(&here), (7, vec![3, 7, 8, 9]));
}

#[test]
fn a_removal_by_a_command_is_not_lost_to_a_list_that_comes_at_that_moment() {
    let home = tempfile::tempdir().expect("a directory");
    let (daemon, command) = (with_root(home.path()), with_root(home.path()));
    command.remove(NodeId([3; 32]), 5, 100).expect("removes");
    // Before the daemon has looked at the disk.
    daemon.apply(list(5, &[7])).expect("takes it");
    assert_eq!(removed(&daemon), (6, vec![3, 7]));
    assert_eq!(removed(&with_root(home.path())), (6, vec![3, 7]));
}

#[test]
fn only_where_the_root_is_is_anybody_removed() {
    let home = tempfile::tempdir().expect("a directory");
    assert!(matches!(denied(home.path()).remove(NodeId([3; 32]), 5, 100), Err(RemoveError::NoRoot)));
}
