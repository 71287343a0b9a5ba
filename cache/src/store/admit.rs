//! Letting entities in: admission under quota and reserve, and the opening of what is here.

use super::Core;
use super::files::OpenFiles;
use super::stock::{Stock, wall_clock};
use crate::entity::Shared;
use crate::fault::{AdmitError, StoreError};
use crate::index::Change;
use crate::room;
use crate::row::{self, EntityRecord, NewEntity, Place, Privacy};
use eddy_content::{BlockSet, EntityId, Geometry, LookupKey};
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};

impl Core {
    pub(super) fn begin(self: &Arc<Self>, new: &NewEntity) -> Result<Arc<Shared>, AdmitError> {
        let geometry =
            Geometry::new(new.entity.length).ok_or(AdmitError::BeyondProtocol { length: new.entity.length })?;
        let id = new.entity.id();
        let _one = self.admit();
        if let Some(shared) = self.open_existing(&id)? {
            self.learn(&shared.record.id(), new)?;
            self.touch(id);
            return Ok(shared);
        }
        self.make_room(room::footprint(new.entity.length))?;
        let (record, files) = self.make_files(new, &geometry)?;
        let name = row::name_of(&new.requested_url);
        let mut changes = vec![Change::Entity(Box::new(record.clone()), name)];
        changes.extend(self.lookup_change(&record));
        let newest = self.index.latest(&name).map_err(StoreError::from)?;
        changes.extend(newest.map(|newest| Change::Superseded(newest.id())));
        if let Err(error) = self.committer.commit(changes) {
            // Only where the index says that no row refers to the files: the outcome of a commit may be unknown (C-08), and
            // what nobody claims is cleared away by the next start.
            if let Ok(None) = self.index.record(&id) {
                let _ = self.files.unlink(&[self.files.pair(&id, record.generation)]);
            }
            return Err(error.into());
        }
        let shared = Shared::new(Arc::clone(self), record, geometry, files, Default::default())?;
        Ok(self.enter(Arc::new(shared)))
    }

    /// Makes the files of a new entity, under a number that no file there has.
    fn make_files(&self, new: &NewEntity, geometry: &Geometry) -> Result<(EntityRecord, OpenFiles), AdmitError> {
        let mut attempts = 3;
        loop {
            let record = EntityRecord::admit(new, self.next_generation()?, wall_clock());
            match self.files.make(&record, geometry) {
                Ok(files) => return Ok((record, files)),
                // A file that an older copy of the index does not know of: the sweep looks after it.
                Err(fault) if fault.source.kind() == ErrorKind::AlreadyExists && attempts > 1 => attempts -= 1,
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    pub(super) fn find(self: &Arc<Self>, id: &EntityId) -> Result<Option<Arc<Shared>>, StoreError> {
        if let Some(shared) = self.leased(id) {
            return Ok(Some(shared));
        }
        let _one = self.admit();
        self.open_existing(id)
    }

    /// Opens what the index knows; what has lost its files is forgotten.
    fn open_existing(self: &Arc<Self>, id: &EntityId) -> Result<Option<Arc<Shared>>, StoreError> {
        if let Some(shared) = self.leased(id) {
            return Ok(Some(shared));
        }
        let Some(record) = self.index.record(id)? else { return Ok(None) };
        let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(None) };
        let files = if record.doomed { None } else { self.files.open(&record, &geometry)? };
        let Some(files) = files else {
            if !record.doomed {
                tracing::error!(entity = %record.entity.url, "the files of a cached entity are gone or foreign: forgotten");
            }
            self.destroy(vec![record])?;
            return Ok(None);
        };
        let (mut held, mut here) = self.index.held(id)?;
        // Rows never speak of blocks that the entity does not have; a foreign one must not.
        let all = BlockSet::from_run(geometry.all_blocks());
        held = held.intersection(&all);
        here = here.intersection(&held);
        let shared = Shared::new(Arc::clone(self), record, geometry, files, (held, here))?;
        Ok(Some(self.enter(Arc::new(shared))))
    }
}

impl Stock {
    /// Takes over what a repeated admission knows better.
    fn learn(&self, id: &EntityId, new: &NewEntity) -> Result<(), StoreError> {
        let Some(mut record) = self.index.record(id)? else { return Ok(()) };
        let name = row::name_of(&new.requested_url);
        let newest = self.index.latest(&name)?.map(|newest| newest.id());
        let was = record.privacy;
        if !record.learn(new) && newest == Some(*id) {
            return Ok(());
        }
        let mut changes: Vec<Change> =
            newest.filter(|newest| newest != id).map(Change::Superseded).into_iter().collect();
        if was == Privacy::Shareable && record.privacy == Privacy::Private {
            changes.extend(self.secret_key(&record).map(Change::Unlookup));
            // First the file: should the index be lost, what is made again from it must not be shared.
            if record.place == Place::Files {
                self.files.mark_private(&record)?;
            }
        }
        changes.push(Change::Entity(Box::new(record), name));
        self.committer.commit(changes)
    }

    pub(super) fn secret_key(&self, record: &EntityRecord) -> Option<LookupKey> {
        self.secret.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|s| record.entity.lookup_key(s))
    }

    /// The row of the lookup table, for shareable entities. Where no secret is set (yet), the table is no longer complete
    /// for the one of its mark.
    pub(crate) fn lookup_change(&self, record: &EntityRecord) -> Option<Change> {
        match self.secret_key(record) {
            _ if record.privacy == Privacy::Private => None,
            Some(key) => Some(Change::Lookup(key, record.id())),
            None => Some(Change::Fingerprint(None)),
        }
    }
}
