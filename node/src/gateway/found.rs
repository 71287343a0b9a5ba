//! What is found in the store, for who wants it now: noted as used, and small ones read into memory, from where the next get them.
//!
//! After a restart, and for what a job has filled, an answer's body is in the store alone. Each hit would then change threads twice and read
//! and hash the same few blocks. Nothing of this is done on the threads that serve clients: one use in a while commits the index.

use super::Gateway;
use super::answer::Here;
use super::filling::Filling;
use super::flight::{MOST_IN_MEMORY, Target};
use super::growing::Growing;
use super::shelf::Stored;
use bytes::Bytes;
use eddy_cache::EntityHandle;

impl Gateway {
    /// Where what is held of a stored answer is read; nothing where it turns out to be damaged.
    pub(super) async fn found(&self, target: &Target, stored: &Stored, entity: EntityHandle) -> Option<Here> {
        let is_small = stored.length <= MOST_IN_MEMORY && entity.is_complete();
        let room = if is_small { self.room(stored.length) } else { None };
        let found = tokio::task::spawn_blocking(move || {
            entity.touch();
            match room {
                Some(room) => read(&entity).map(|bytes| Here::Memory(Growing::whole(bytes, Some(room)))),
                None => Some(Here::Entity(Filling::whole(entity))),
            }
        });
        let here = found.await.ok()??;
        if let Here::Memory(body) = &here {
            self.shelf.warm(&target.url, stored, body.clone());
        }
        Some(here)
    }
}

/// All of a complete entity, each block held against its hash.
fn read(entity: &EntityHandle) -> Option<Bytes> {
    let mut bytes = Vec::new();
    match entity.read_run(entity.geometry().all_blocks(), &mut bytes) {
        Ok(()) => Some(bytes.into()),
        Err(error) => {
            tracing::warn!(url = %entity.entity().url, %error, "what a client wants cannot be read");
            None
        }
    }
}
