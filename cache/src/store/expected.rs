//! What was let in and has no row in the index yet.
//!
//! The row comes with the first commit. Until then its room is taken all the same; a member that follows what is being received asks
//! for it by its key, and a job that wants the same by its URL, of which the index does not know.

use crate::row::{self, EntityRecord, Place, Privacy};
use eddy_content::{EntityId, LookupKey, LookupSecret};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Expected {
    entities: u64,
    bytes: u64,
    /// Those that have files, by what members call them and by what they were asked for under. Small ones are there for others with their
    /// row: before, nothing of them is.
    keys: HashMap<LookupKey, EntityId>,
    names: HashMap<[u8; 32], EntityId>,
}

impl Expected {
    /// How many there are, and their footprint in bytes.
    pub(super) fn sums(&self) -> (u64, u64) {
        (self.entities, self.bytes)
    }

    /// One more.
    pub(super) fn add(&mut self, record: &EntityRecord, secret: Option<&LookupSecret>) {
        self.entities += 1;
        self.bytes = self.bytes.saturating_add(record.footprint());
        if record.place != Place::Files {
            return;
        }
        self.names.insert(row::name_of(&record.requested_url), record.id());
        if let Some(secret) = secret
            && record.privacy == Privacy::Shareable
        {
            self.keys.insert(record.entity.lookup_key(secret), record.id());
        }
    }

    /// It has its row, or never gets one.
    pub(super) fn remove(&mut self, record: &EntityRecord) {
        self.entities = self.entities.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(record.footprint());
        if record.place == Place::Files {
            let id = record.id();
            self.keys.retain(|_, known| *known != id);
            self.names.retain(|_, known| *known != id);
        }
    }

    /// The one that members call so.
    pub(super) fn under(&self, key: &LookupKey) -> Option<EntityId> {
        self.keys.get(key).copied()
    }

    /// The one that was let in last under the name of a URL.
    pub(super) fn named(&self, name: &[u8; 32]) -> Option<EntityId> {
        self.names.get(name).copied()
    }

    /// Members call them otherwise from now on: those that are here are found with their rows.
    pub(super) fn forget_keys(&mut self) {
        self.keys.clear();
    }
}
