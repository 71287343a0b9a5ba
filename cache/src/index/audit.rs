//! What a check asks of the index beyond what the store asks: every page, every row.

use super::guard::{Place, guarded};
use super::{ALL_TABLES, ENTITIES, Index, KEY_UNPROVEN, LOOKUP, builder};
use crate::disk::Disk;
use crate::fault::IndexFault;
use crate::row::{self, EntityRecord};
use eddy_content::EntityId;
use redb::{ReadableTable, TableHandle};
use std::path::Path;
use std::sync::Arc;

impl Index {
    /// Checks every page of an index file; says what is wrong with it.
    pub(crate) fn check_pages(disk: &Arc<dyn Disk>, path: &Path) -> Result<Option<String>, IndexFault> {
        let fault = |e: std::io::Error| IndexFault::new("be opened", redb::Error::Io(e));
        let file = disk.open(path).map_err(fault)?;
        if file.length().map_err(fault)? == 0 {
            return Ok(Some("it is empty".to_owned()));
        }
        let place = Place::new(disk, path);
        let backend = place.settled(file).map_err(fault)?;
        let checked = guarded(&place, || {
            let database = builder().set_check_integrity_on_open(true).create_with_backend(backend)?;
            Ok(database.close()?)
        });
        Ok(checked.err().map(|error| error.to_string()))
    }

    /// Visits every row of every table, with whether it is whole and in its place.
    pub(crate) fn audit(&self, mut each: impl FnMut(&'static str, &[u8], bool)) -> Result<(), IndexFault> {
        self.read(|transaction| {
            for table in ALL_TABLES {
                let name = table_name(table.name());
                for row in transaction.open_table(table)?.iter()? {
                    let (key, value) = row?;
                    let is_whole = if table.name() == ENTITIES.name() {
                        EntityRecord::unseal(ENTITIES.name(), key.value(), value.value()).is_some()
                    } else {
                        row::unseal(table.name(), key.value(), value.value()).is_some()
                    };
                    each(name, key.value(), is_whole);
                }
            }
            Ok(())
        })
    }

    /// Visits the entities that the lookup table names.
    pub(crate) fn looked_up(&self) -> Result<Vec<EntityId>, IndexFault> {
        self.read(|transaction| {
            let mut ids = Vec::new();
            for row in transaction.open_table(LOOKUP)?.iter()? {
                let (key, value) = row?;
                ids.extend(row::unseal_value::<EntityId>(LOOKUP.name(), key.value(), value.value()));
            }
            Ok(ids)
        })
    }

    /// The last entity whose blocks were proved; `None` when nothing is left to prove.
    pub(crate) fn unproven(&self) -> Result<Option<Vec<u8>>, IndexFault> {
        self.meta(KEY_UNPROVEN)
    }
}

/// The table's own name, which lives as long as the program.
fn table_name(name: &str) -> &'static str {
    const NAMES: [&str; 15] = [
        "meta",
        "entities",
        "held",
        "lines",
        "order",
        "doomed",
        "inline",
        "inline_statements",
        "names",
        "lookup",
        "jobs",
        "ledger_files",
        "ledger_names",
        "ledger_peers",
        "ledger_ended",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("unknown")
}
