//! The tables of one transaction, each opened once however many rows of it change.
//!
//! To open a table means to look its root up in the table of tables, and to close it to note the new one: for a dozen small rows of each
//! entity that costs as much as the rows. What is open here must not be opened beside it; redb refuses that.

use super::Table;
use crate::row;
use redb::{ReadableTable, TableHandle, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table that may be changed.
type OpenTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The tables that a transaction has opened so far.
pub(super) struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: Vec<(Table, OpenTable<'t>)>,
}

impl<'t> Tables<'t> {
    /// None yet.
    pub(super) fn of(transaction: &'t WriteTransaction) -> Self {
        Self { transaction, open: Vec::new() }
    }

    /// A table, opened when it is first asked for, and made when it is not there.
    pub(super) fn at(&mut self, table: Table) -> Result<&mut OpenTable<'t>, redb::Error> {
        let known = self.open.iter().position(|(known, _)| known.name() == table.name());
        let place = match known {
            Some(place) => place,
            None => {
                self.open.push((table, self.transaction.open_table(table)?));
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[place].1)
    }

    /// Removes a table with all its rows.
    pub(super) fn remove(&mut self, table: Table) -> Result<(), redb::Error> {
        self.open.retain(|(known, _)| known.name() != table.name());
        self.transaction.delete_table(table)?;
        Ok(())
    }

    /// Removes every row of a table.
    pub(super) fn empty(&mut self, table: Table) -> Result<(), redb::Error> {
        self.remove(table)?;
        self.at(table).map(|_| ())
    }

    /// Whether there is a row under a key, whatever it says.
    pub(super) fn has(&mut self, table: Table, key: &[u8]) -> Result<bool, redb::Error> {
        Ok(self.at(table)?.get(key)?.is_some())
    }

    /// A value; a damaged row reads as none.
    pub(super) fn get<T: DeserializeOwned>(&mut self, table: Table, key: &[u8]) -> Result<Option<T>, redb::Error> {
        let found = self.at(table)?.get(key)?;
        Ok(found.and_then(|row| row::unseal_value(table.name(), key, row.value())))
    }

    /// Writes a value.
    pub(super) fn put<T: Serialize>(&mut self, table: Table, key: &[u8], value: &T) -> Result<(), redb::Error> {
        self.put_row(table, key, &row::seal_value(table.name(), key, value))
    }

    /// Writes a row that is sealed already.
    pub(super) fn put_row(&mut self, table: Table, key: &[u8], sealed: &[u8]) -> Result<(), redb::Error> {
        self.at(table)?.insert(key, sealed)?;
        Ok(())
    }

    /// Removes a row, if there is one.
    pub(super) fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), redb::Error> {
        self.at(table)?.remove(key)?;
        Ok(())
    }
}
