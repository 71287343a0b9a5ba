//! What the engine wants done, and what is under way for whom.

use crate::port::{Effect, FetchId, FileRef};
use eddy_content::{BlockSet, EntityId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// A fetch that some file wants to hear of.
#[derive(Debug)]
struct Fetch {
    file: FileRef,
    /// The version of which it brings blocks.
    entity: Option<EntityId>,
}

/// Effects in order, and the fetches under way. Fetches of one version are known to every file that wants it, so that two
/// jobs cost one transfer.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: VecDeque<Effect>,
    fetches: BTreeMap<FetchId, Fetch>,
    claims: BTreeMap<EntityId, BTreeMap<FetchId, (FileRef, Range<u32>)>>,
    /// Versions of which claims were given up, with the file that did.
    freed: BTreeSet<(EntityId, FileRef)>,
    last: u64,
}

impl Outbox {
    /// Wants something done, after all that was wanted before.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Takes the next thing to do.
    pub fn pop(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Names a new fetch of `file`.
    pub fn name_fetch(&mut self, file: FileRef) -> FetchId {
        self.last += 1;
        let fetch = FetchId(self.last);
        self.fetches.insert(fetch, Fetch { file, entity: None });
        fetch
    }

    /// Ends a fetch and forgets it: whatever it still reports is nobody's concern.
    pub fn drop_fetch(&mut self, fetch: FetchId) {
        self.forget(fetch);
        self.push(Effect::Abort { fetch });
    }

    /// Forgets a fetch that is over.
    pub fn forget(&mut self, fetch: FetchId) {
        self.unclaim(fetch);
        self.fetches.remove(&fetch);
    }

    /// The blocks of `entity` that a fetch brings need not be brought by another.
    pub fn claim(&mut self, fetch: FetchId, entity: EntityId, blocks: Range<u32>) {
        let Some(known) = self.fetches.get_mut(&fetch) else { return };
        known.entity = Some(entity);
        self.claims.entry(entity).or_default().insert(fetch, (known.file, blocks));
    }

    /// The blocks of a fetch are no longer to be counted on.
    pub fn unclaim(&mut self, fetch: FetchId) {
        let Some((entity, file)) = self.fetches.get_mut(&fetch).and_then(|f| Some((f.entity.take()?, f.file))) else {
            return;
        };
        if let Some(claims) = self.claims.get_mut(&entity) {
            claims.remove(&fetch);
            if claims.is_empty() {
                self.claims.remove(&entity);
            }
            self.freed.insert((entity, file));
        }
    }

    /// The blocks of `entity` that fetches of other files than `file` bring.
    #[must_use]
    pub fn claimed_elsewhere(&self, entity: EntityId, file: FileRef) -> BlockSet {
        let mut claimed = BlockSet::new();
        for (owner, blocks) in self.claims.get(&entity).into_iter().flat_map(BTreeMap::values) {
            if *owner != file {
                claimed.insert(blocks.clone());
            }
        }
        claimed
    }

    /// The claims that were given up since the last time this was asked, by version and file: other files that want the version may
    /// have waited for them.
    pub fn take_freed(&mut self) -> BTreeSet<(EntityId, FileRef)> {
        std::mem::take(&mut self.freed)
    }

    /// Whose a fetch is, while somebody wants to hear of it.
    #[must_use]
    pub fn owner(&self, fetch: FetchId) -> Option<FileRef> {
        self.fetches.get(&fetch).map(|known| known.file)
    }

    /// Fetches that somebody wants to hear of.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.fetches.len()
    }
}
