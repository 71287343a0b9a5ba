//! What goes out: descriptions first, for the head that is signed, then each entity's data, verified on its way.

use super::format::{self, Description, Head, Piece};
use super::{ExportOutcome, MAX_ENTITIES, NotExported, PackageError, PrivateContent};
use crate::Store;
use crate::handle::EntityHandle;
use crate::outboard;
use crate::row::{EntityRecord, Privacy};
use eddy_content::EntityId;
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

/// Writes the package. Entities are not kept from going or changing between the two passes: what did is withdrawn.
pub(super) fn export(
    store: &Store,
    ids: &[EntityId],
    private: PrivateContent,
    into: &mut dyn Write,
    sign: &dyn Fn(&[u8]) -> Vec<u8>,
) -> Result<ExportOutcome, PackageError> {
    if ids.len() > MAX_ENTITIES {
        return Err(PackageError::TooMany { entities: ids.len() });
    }
    let mut outcome = ExportOutcome::default();
    let (mut head, mut chosen) = (Head { descriptions: Vec::new() }, Vec::new());
    let mut seen = BTreeSet::new();
    for id in ids.iter().filter(|id| seen.insert(**id)) {
        match describe(store, id, private)? {
            Ok(described) => {
                head.descriptions.push(format::description_hash(&described.bytes));
                chosen.push(*id);
            }
            Err(reason) => outcome.left_out.push((*id, reason)),
        }
    }
    let bytes = head.encode();
    let signature = sign(&format::signed(&bytes));
    let mut out = Out(into);
    out.write(format::MAGIC)?;
    out.write_with_length(&bytes)?;
    out.write_with_length(&signature)?;

    for (id, expected) in chosen.iter().zip(&head.descriptions) {
        match describe(store, id, private)? {
            Ok(described) if format::description_hash(&described.bytes) == *expected => {
                out.write_with_length(&described.bytes)?;
                outcome.entities += 1;
                write_content(&described, &mut out, &mut outcome)?;
            }
            _ => {
                out.write_with_length(&[])?;
                outcome.left_out.push((*id, NotExported::Changed));
            }
        }
    }
    out.write(format::END)?;
    out.0.flush().map_err(stream)?;
    Ok(outcome)
}

/// An entity as it is here, and its description.
struct DescribedHere {
    handle: EntityHandle,
    pieces: Vec<Piece>,
    statements: Vec<u8>,
    /// The description, encoded.
    bytes: Vec<u8>,
}

/// Describes what is held of an entity, or says why it is not exported.
fn describe(
    store: &Store,
    id: &EntityId,
    private: PrivateContent,
) -> Result<Result<DescribedHere, NotExported>, PackageError> {
    let Some(handle) = store.find(id)? else { return Ok(Err(NotExported::NotHere)) };
    // The index's word of this moment: an open entity may have become private since.
    let Some(record) = store.record_of(id)? else { return Ok(Err(NotExported::NotHere)) };
    if record.privacy == Privacy::Private && private == PrivateContent::LeaveOut {
        return Ok(Err(NotExported::Private));
    }
    let held = handle.held();
    if held.is_empty() && handle.geometry().block_count() > 0 {
        return Ok(Err(NotExported::NothingHeld));
    }
    let mut pieces = Vec::new();
    for run in format::runs_of_pieces(&held) {
        match handle.block_hashes(run.clone()) {
            Ok(hashes) => pieces.push(Piece::new(run.start, &hashes)),
            Err(_) => return Ok(Err(NotExported::Unreadable)),
        }
    }
    let statements = statements_of(&handle);
    let bytes = description_of(&record, &statements, pieces.clone()).encode();
    if bytes.len() > format::MAX_DESCRIPTION {
        return Ok(Err(NotExported::TooLarge));
    }
    Ok(Ok(DescribedHere { handle, pieces, statements, bytes }))
}

fn description_of(record: &EntityRecord, statements: &[u8], pieces: Vec<Piece>) -> Description {
    Description {
        url: record.entity.url.as_str().to_owned(),
        validator_kind: record.entity.validator.kind(),
        validator: record.entity.validator.header_value().to_owned(),
        length: record.entity.length,
        requested_url: record.requested_url.as_str().to_owned(),
        privacy: record.privacy,
        last_modified: record.last_modified,
        digests: record.digests.clone(),
        statement_bytes: statements.len() as u32,
        statements: format::statements_hash(statements),
        pieces,
    }
}

/// The statements of an entity as they stand in its outboard, as many as a package takes.
fn statements_of(handle: &EntityHandle) -> Vec<u8> {
    let mut bytes = Vec::new();
    for statement in handle.statements(handle.geometry().all_blocks()) {
        let record = outboard::encode_statement(&statement);
        if bytes.len() + record.len() > format::MAX_STATEMENTS {
            break;
        }
        bytes.extend_from_slice(&record);
    }
    bytes
}

fn write_content(
    described: &DescribedHere,
    out: &mut Out<'_>,
    outcome: &mut ExportOutcome,
) -> Result<(), PackageError> {
    let handle = &described.handle;
    out.write(&described.statements)?;
    let mut reader = handle.reader();
    let mut is_whole = true;
    for piece in &described.pieces {
        // Read and hashed before anything is said of it: a piece that rotted is withdrawn whole.
        let hashes = handle.block_hashes(piece.blocks());
        let hashes = hashes.ok().filter(|hashes| Piece::new(piece.first, hashes) == *piece);
        let (Some(hashes), Ok(bytes)) = (hashes, reader.read(piece.blocks())) else {
            out.write(&format::mark(false))?;
            is_whole = false;
            continue;
        };
        out.write(&format::mark(true))?;
        for hash in &hashes {
            out.write(&hash.0)?;
        }
        out.write(bytes)?;
        outcome.blocks += u64::from(piece.count);
        outcome.bytes += bytes.len() as u64;
    }
    if !is_whole {
        outcome.left_out.push((handle.id(), NotExported::Unreadable));
    }
    Ok(())
}

/// The stream that a package is written to.
struct Out<'w>(&'w mut dyn Write);

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.0.write_all(bytes).map_err(stream)
    }

    fn write_with_length(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.write(&(bytes.len() as u32).to_le_bytes())?;
        self.write(bytes)
    }
}

fn stream(error: std::io::Error) -> PackageError {
    PackageError::Stream { operation: "write", source: Arc::new(error) }
}
