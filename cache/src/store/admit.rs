//! Letting entities in: admission under quota and reserve, and the opening of what is here.

use super::Core;
use super::stock::Stock;
use crate::content::{Content, FilePair, MOST_IN_INDEX};
use crate::entity::Shared;
use crate::fault::{AdmitError, StoreError};
use crate::index::Change;
use crate::ledger::{Account, Flow, FlowChange, Source, Waste};
use crate::room;
use crate::row::{self, EntityRecord, NewEntity, Place, Privacy};
use eddy_content::{BlockSet, EntityId, Geometry, LookupKey, tree};
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};

/// Entities that are taken in with one transaction.
const MOST_TAKEN: usize = 4096;
/// Bytes of them.
const MOST_TAKEN_BYTES: u64 = 32 << 20;

impl Core {
    pub(super) fn begin(self: &Arc<Self>, new: &NewEntity) -> Result<Arc<Shared>, AdmitError> {
        let geometry =
            Geometry::new(new.entity.length).ok_or(AdmitError::BeyondProtocol { length: new.entity.length })?;
        let id = new.entity.id();
        let place = if new.entity.length <= MOST_IN_INDEX { Place::Index } else { Place::Files };
        let need = room::footprint(&new.entity, &new.requested_url, place);
        // One block needs the room of a few.
        if place == Place::Files && !self.is_in_use(&id) && self.index.record(&id).map_err(StoreError::from)?.is_none()
        {
            self.clear_the_way(need)?;
        }
        let _one = self.admit();
        if let Some(shared) = self.open_existing(&id)? {
            shared.ensure_row()?;
            self.learn(&shared, new)?;
            self.touch(id);
            return Ok(shared);
        }
        self.room_for(need)?;
        let shared = match place {
            Place::Index => {
                let record = EntityRecord::admit(new, place, self.next_generation()?, self.now());
                Shared::unborn(Arc::clone(self), record, geometry)
            }
            Place::Files => {
                let (record, files) = self.admit_files(new, &geometry)?;
                Shared::new(Arc::clone(self), record, geometry, Content::Files(files), Default::default())?
            }
        };
        Ok(self.enter(Arc::new(shared)))
    }

    /// Makes room, if need be with what is kept only to be quick. The caller has the admission lock.
    fn room_for(&self, need: u64) -> Result<(), AdmitError> {
        match self.make_room(need) {
            Err(AdmitError::NoRoom { .. }) => {
                self.take_back();
                self.make_room(need)
            }
            other => other,
        }
    }

    /// Makes the files of a new entity, then its row (C-02).
    fn admit_files(&self, new: &NewEntity, geometry: &Geometry) -> Result<(EntityRecord, FilePair), AdmitError> {
        let (record, files) = self.make_files(new, geometry)?;
        let id = record.id();
        if let Err(error) = self.committer.commit(self.birth(&record)) {
            // Only where the index says that no row refers to the files: the outcome of a commit may be unknown (C-08), and
            // what nobody claims is cleared away by the next start.
            if let Ok(None) = self.index.record(&id) {
                self.files.unlink(&[self.files.pair(&id, record.generation)]);
            }
            return Err(error.into());
        }
        Ok((record, files))
    }

    /// Makes the files of a new entity, under a number that no file there has.
    fn make_files(&self, new: &NewEntity, geometry: &Geometry) -> Result<(EntityRecord, FilePair), AdmitError> {
        let mut attempts = 3;
        loop {
            let record = EntityRecord::admit(new, Place::Files, self.next_generation()?, self.now());
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
        let Some((record, mut held, mut here)) = self.index.entity(id)? else { return Ok(None) };
        let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(None) };
        if record.doomed && self.stuck.has(id) {
            return Ok(None);
        }
        let content = match record.place {
            _ if record.doomed => None,
            Place::Files => self.files.open(&record, &geometry)?.map(Content::Files),
            Place::Index => Some(Content::Index(self.inline(&record))),
        };
        let Some(content) = content else {
            if !record.doomed {
                tracing::error!(entity = %record.entity.url, "the files of a cached entity are gone or foreign: forgotten");
            }
            self.destroy(vec![record])?;
            return Ok(None);
        };
        // Rows never speak of blocks that the entity does not have; a foreign one must not.
        let all = BlockSet::from_run(geometry.all_blocks());
        held = held.intersection(&all);
        here = here.intersection(&held);
        let shared = Shared::new(Arc::clone(self), record, geometry, content, (held, here))?;
        Ok(Some(self.enter(Arc::new(shared))))
    }
}

impl Core {
    /// Lets whole small entities in, in few transactions; gives how many were taken. See [`super::Store::take_in`].
    pub(super) fn take_in(&self, whole: Vec<(NewEntity, Vec<u8>)>, account: Account) -> Result<u64, AdmitError> {
        let (mut taken, mut whole) = (0, whole.into_iter().peekable());
        while whole.peek().is_some() {
            let _one = self.admit();
            let (mut changes, mut bytes, mut entities) = (Vec::new(), 0, HashSet::new());
            let mut book = BTreeMap::<Source, Flow>::new();
            while entities.len() < MOST_TAKEN
                && bytes < MOST_TAKEN_BYTES
                && let Some((new, content)) = whole.next()
            {
                let id = new.entity.id();
                let is_small = new.entity.length <= MOST_IN_INDEX && new.entity.length == content.len() as u64;
                if !is_small {
                    continue;
                }
                let is_here = entities.contains(&id)
                    || self.is_in_use(&id)
                    || self.index.record(&id).map_err(StoreError::from)?.is_some();
                let flow = book.entry(Source::Origin { https: new.entity.url.is_https() }).or_default();
                if is_here {
                    flow.waste(Waste::Duplicate, new.entity.length);
                    continue;
                }
                flow.use_up(new.entity.length);
                entities.insert(id);
                bytes += room::footprint(&new.entity, &new.requested_url, Place::Index);
                changes.extend(self.whole(&new, content)?);
            }
            let flows = book.into_iter().filter(|(_, flow)| flow.received > 0);
            changes.extend(flows.map(|(source, flow)| Change::Flow(FlowChange { account, source, flow })));
            self.room_for(bytes)?;
            self.committer.commit(changes)?;
            taken += entities.len() as u64;
        }
        Ok(taken)
    }

    /// The changes that let a whole small entity in.
    fn whole(&self, new: &NewEntity, bytes: Vec<u8>) -> Result<Vec<Change>, StoreError> {
        let record = EntityRecord::admit(new, Place::Index, self.next_generation()?, self.now());
        let (id, generation) = (record.id(), record.generation);
        let mut changes = self.birth(&record);
        if let Some(geometry) = Geometry::new(new.entity.length)
            && !bytes.is_empty()
        {
            let hash = tree::hash_block(&geometry, 0, &bytes);
            changes.push(Change::Inline { id, generation, hash, bytes: bytes.into() });
            let (add, remove) = (BlockSet::from_run(0..1), BlockSet::new());
            changes.push(Change::Blocks { id, generation, fetched_here: add.clone(), add, remove });
        }
        Ok(changes)
    }
}

impl Stock {
    /// Takes over what a repeated admission knows better.
    fn learn(&self, shared: &Shared, new: &NewEntity) -> Result<(), StoreError> {
        let id = &shared.id;
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
            // Before anybody hears of it: who has it open asks no index.
            shared.turn_private();
            changes.extend(self.secret_key(&record).map(Change::Unlookup));
            // First the file: should the index be lost, what is made again from it must not be shared.
            if record.place == Place::Files {
                self.files.mark_private(&record)?;
            }
        }
        changes.push(Change::Entity(Box::new(record), name));
        self.committer.commit(changes)
    }

    /// The changes that let an entity in: its row, its lookup key, and that it is the newest under its URL.
    pub(crate) fn birth(&self, record: &EntityRecord) -> Vec<Change> {
        let name = row::name_of(&record.requested_url);
        let newest = Change::Supersede { name, by: record.id() };
        let row = Change::Entity(Box::new(record.clone()), name);
        [newest, row].into_iter().chain(self.lookup_change(record)).collect()
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
