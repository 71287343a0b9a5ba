//! What comes in: each entity's blocks, verified against the signed head before they are stored.

use super::format::{Described, PackageReader, Piece};
use super::{ImportOutcome, NotImported, PackageError, PackagePlace, PackedEntity};
use crate::Store;
use crate::fault::{AdmitError, StoreError, WriteError};
use crate::handle::{EntityHandle, StoredStatement};
use crate::ledger::{Account, Source};
use crate::writer::RunWriter;
use eddy_content::{BLOCK_SIZE, BlockHash, BlockSet, tree};
use std::io::Read;

/// Whose account an import is on: nobody's, for [`Source::Package`] is in no column.
const NOBODY: Account = Account { job: [0; 16], file: 0 };

/// What becomes of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// It is verified and stored.
    Store,
    /// It is verified only.
    Look,
}

/// Reads the package to its end, or to the first thing that is wrong.
pub(super) fn import(
    store: &Store,
    from: &mut dyn Read,
    trust: &dyn Fn(&[u8], &[u8]) -> bool,
    taking: Taking,
) -> Result<ImportOutcome, PackageError> {
    let mut reader = PackageReader::new(from);
    let head = reader.head(trust)?;
    let mut outcome = ImportOutcome::default();
    for (number, expected) in (0..).zip(&head.descriptions) {
        let Some((described, statements)) = reader.description(number, expected)? else { continue };
        outcome.packed.push(packed(&described));
        let handle = match taking {
            Taking::Store => admit(store, &described, &mut outcome)?,
            Taking::Look => None,
        };
        let mut entity = Incoming { number, described: &described, handle: handle.as_ref(), outcome: &mut outcome };
        let taken = entity.take(&mut reader);
        if let Some(handle) = &handle {
            outcome.entities += 1;
            outcome.statements += handle.put_statements(&of_blocks(statements, &described)) as u64;
            // What was whole before something wrong came stays.
            count(&handle.commit().map_err(|error| error.source)?, &described, &mut outcome);
        }
        taken?;
    }
    reader.end()?;
    Ok(outcome)
}

fn packed(described: &Described) -> PackedEntity {
    let bytes = described.pieces.iter().map(|piece| described.geometry.bytes_of(piece.blocks()));
    PackedEntity {
        entity: described.new.entity.clone(),
        privacy: described.new.privacy,
        bytes: bytes.map(|bytes| bytes.end - bytes.start).sum(),
    }
}

/// The entity to write into; `None` when there is no room for it.
fn admit(
    store: &Store,
    described: &Described,
    outcome: &mut ImportOutcome,
) -> Result<Option<EntityHandle>, PackageError> {
    let id = described.new.entity.id();
    // One that is here is left as it is: a package changes neither its privacy nor its names.
    if let Some(handle) = store.find(&id)? {
        return Ok(Some(handle));
    }
    match store.begin(described.new.clone()) {
        Ok(handle) => Ok(Some(handle)),
        Err(error @ (AdmitError::TooLarge { .. } | AdmitError::NoRoom { .. } | AdmitError::BeyondProtocol { .. })) => {
            outcome.left_out.push((id, NotImported::NoRoom(error.to_string())));
            Ok(None)
        }
        Err(AdmitError::Disk(fault)) => Err(StoreError::Disk(fault).into()),
        Err(AdmitError::Store(error)) => Err(error.into()),
    }
}

/// Statements that speak of blocks which the entity has.
fn of_blocks(statements: Vec<StoredStatement>, described: &Described) -> Vec<StoredStatement> {
    let blocks = described.geometry.block_count();
    let is_inside = |statement: &StoredStatement| {
        statement.first_block.checked_add(statement.count).is_some_and(|end| end <= blocks)
    };
    statements.into_iter().filter(is_inside).collect()
}

fn count(blocks: &BlockSet, described: &Described, outcome: &mut ImportOutcome) {
    for run in blocks.runs() {
        let bytes = described.geometry.bytes_of(run.clone());
        outcome.blocks += u64::from(run.end - run.start);
        outcome.bytes += bytes.end - bytes.start;
    }
}

/// One entity on its way in.
struct Incoming<'i> {
    number: u32,
    described: &'i Described,
    /// Without one its bytes are verified and dropped.
    handle: Option<&'i EntityHandle>,
    outcome: &'i mut ImportOutcome,
}

impl Incoming<'_> {
    fn take(&mut self, reader: &mut PackageReader<'_>) -> Result<(), PackageError> {
        for piece in &self.described.pieces {
            let Some(hashes) = reader.piece(self.number, piece)? else { continue };
            self.take_piece(reader, piece, &hashes)?;
            if let Some(handle) = self.handle
                && handle.is_commit_due()
            {
                count(&handle.commit().map_err(|error| error.source)?, self.described, self.outcome);
            }
        }
        Ok(())
    }

    /// Reads the data of a piece block by block; writes what is not here yet.
    fn take_piece(
        &mut self,
        reader: &mut PackageReader<'_>,
        piece: &Piece,
        hashes: &[BlockHash],
    ) -> Result<(), PackageError> {
        let held = self.handle.map(EntityHandle::held).unwrap_or_default();
        let mut block_bytes = vec![0; BLOCK_SIZE as usize];
        let mut writer: Option<RunWriter> = None;
        for (block, hash) in piece.blocks().zip(hashes) {
            let place = PackagePlace::Block { entity: self.number, block };
            let bytes = &mut block_bytes[..self.described.geometry.block_len(block)];
            reader.fill(bytes, place)?;
            let Some(handle) = self.handle.filter(|_| !held.contains(block)) else {
                // Verified all the same: a damaged package is said to be one.
                if tree::hash_block(&self.described.geometry, block, bytes) != *hash {
                    return Err(reader.damaged(place));
                }
                self.outcome.known_blocks += u64::from(self.handle.is_some());
                end(writer.take())?;
                continue;
            };
            let writing = match &mut writer {
                Some(writing) => writing,
                None => {
                    let expected = hashes[(block - piece.first) as usize..].to_vec();
                    writer.insert(handle.writer(block, Source::Package, NOBODY).expect(expected))
                }
            };
            writing.push(bytes).map_err(|error| match error {
                WriteError::Disk(fault) => PackageError::Store(fault.into()),
                _ => reader.damaged(place),
            })?;
        }
        end(writer)
    }
}

/// Ends a run of blocks.
fn end(writer: Option<RunWriter>) -> Result<(), PackageError> {
    match writer.map(RunWriter::finish) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(WriteError::Disk(fault))) => Err(PackageError::Store(fault.into())),
        // A writer that took everything has nothing else to complain of.
        Some(Err(_)) => Ok(()),
    }
}
