//! What is open when an index is lost in use, and must stand in the new one (see [`crate::index`]).
//!
//! An entity that somebody has open keeps its row and, when it has files, its blocks: they were acknowledged, and who has it open
//! goes on reading and writing. Its description comes from its outboard, as in any rebuild. One that lay in the index has lost its
//! bytes: who reads it next finds that out, and it is fetched again.

use super::stock::{Known, Stock};
use crate::fault::OpenError;
use crate::index::{Change, Heirs};
use crate::rebuild;
use crate::row::{self, EntityRecord, Place, Privacy};
use crate::store::Name;
use eddy_content::BlockSet;

impl Heirs for Stock {
    fn open_rows(&self) -> Result<Vec<Change>, OpenError> {
        let mut changes = Vec::new();
        for Known { record, held, fetched_here } in self.known() {
            let (id, generation, place) = (record.id(), record.generation, record.place);
            let record = self.as_remembered(record)?;
            let named = row::name_of(&record.requested_url);
            changes.extend(self.lookup_change(&record));
            changes.push(Change::Entity(Box::new(record), named));
            if place == Place::Files && !held.is_empty() {
                changes.push(Change::Blocks { id, generation, add: held, fetched_here, remove: BlockSet::new() });
            }
        }
        Ok(changes)
    }
}

impl Stock {
    /// An open entity as far as it is known without the index.
    fn as_remembered(&self, record: EntityRecord) -> Result<EntityRecord, OpenError> {
        if record.place == Place::Files {
            let name = Name { id: record.id(), generation: record.generation };
            if let Some((remembered, _)) = rebuild::read_record(&self.files, &name)? {
                return Ok(remembered);
            }
        }
        // It may have turned private after it was opened.
        Ok(EntityRecord { privacy: Privacy::Private, ..record })
    }
}
