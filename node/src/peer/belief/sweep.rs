//! Puts aside, all over the store, what stands on no word that counts: after every newer deny-list, and once at the start.
//!
//! What a job or a member uses at that moment is left: it is looked at again before it is delivered, and is offered to nobody.

use crate::group::denied::Denied;
use crate::peer::Peers;
use eddy_cache::{Store, StoreError};
use eddy_content::EntityId;
use tokio_util::sync::CancellationToken;

/// Rows that are looked at in one go.
const PAGE: usize = 256;

/// Guards the store and the deny-list against each other until `stop`.
///
/// The highest epoch is kept in the store, too: an older list that was put back, and even an older folder, is noticed.
pub(crate) async fn run(peers: Peers, store: Store, denied: Denied, stop: CancellationToken) {
    let mut lists = denied.watch();
    loop {
        let epoch = lists.borrow_and_update().epoch;
        if epoch > 0 {
            let (peers, store, group) = (peers.clone(), store.clone(), denied.group());
            let swept = tokio::task::spawn_blocking(move || {
                store.raise_epoch(&group.0, epoch)?;
                sweep(&peers, &store)
            });
            match swept.await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(blocks)) => tracing::warn!(blocks, "blocks that stood on a removed member's word are put aside"),
                Ok(Err(error)) => tracing::error!(%error, "the store could not be looked through after a removal"),
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = lists.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks through the store; gives the blocks that were put aside.
pub fn sweep(peers: &Peers, store: &Store) -> Result<u64, StoreError> {
    let (mut after, mut aside) = (None::<EntityId>, 0);
    loop {
        let page = store.list(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(aside) };
        after = Some(last.id());
        for record in page.iter().filter(|record| record.held_blocks > 0 && record.digests.is_empty()) {
            if store.is_in_use(&record.id()) {
                continue;
            }
            let Some(handle) = store.find(&record.id())? else { continue };
            let weak = peers.weak(&handle, 1);
            if !weak.is_empty() {
                handle.set_aside(&weak);
                aside += u64::from(weak.len());
            }
        }
    }
}
