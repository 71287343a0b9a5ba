//! Packages: out of the store piece by piece, and into it.

use super::{seal, whole_id};
use crate::control::face::ExportPiece;
use crate::face::NodeFace;
use bytes::{Buf, Bytes, BytesMut};
use eddy_cache::{ExportOutcome, ImportOutcome, PackageError, PackedEntity, Privacy, Store};
use eddy_content::EntityId;
use eddy_wire::NodeId;
use eddy_wire::api::{
    ExportEnd, ExportOrder, ExportView, ImportQuery, ImportView, LeftOut, MAX_PACKED, MAX_PIECE, PackedView, Problem,
};
use eddy_wire::catalogue::ErrorCode;
use eddy_wire::seal::Seal;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// Pieces that wait for the caller: 4 MiB.
const PIECES: usize = 4;

impl NodeFace {
    /// Begins to pack; who lets go of the pieces stops it.
    pub(in crate::face) async fn pack(&self, order: ExportOrder) -> Result<mpsc::Receiver<ExportPiece>, Problem> {
        if order.ids.len() > MAX_PACKED {
            let detail = format!("a package has at most {MAX_PACKED} entities, these are {}", order.ids.len());
            return Err(Problem::new(ErrorCode::TooLong, detail));
        }
        let ids: Result<Vec<EntityId>, Problem> = order.ids.iter().map(|id| whole_id(id)).collect();
        let (ids, turn, store) = (ids?, self.turn()?, self.store.clone());
        let (certificates, identity) = (self.certificates(), self.identity.clone());
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::task::spawn_blocking(move || {
            let mut writer = PieceWriter { sender: sender.clone(), bytes: BytesMut::new() };
            let sign = |head: &[u8]| Seal::sign(identity.signing_key(), &certificates, head).encode();
            let exported = match order.also_private {
                true => store.export_private_too(&ids, &mut writer, &sign),
                false => store.export(&ids, &mut writer, &sign),
            };
            let end = match exported.and_then(|outcome| writer.flush().map(|()| outcome).map_err(unsent)) {
                Ok(outcome) => exported_view(&outcome, identity.node_id()),
                Err(error) => ExportEnd::Failed(problem(&error, None)),
            };
            drop(turn);
            // Nobody may be there to hear it.
            let _ = sender.blocking_send(ExportPiece::End(end));
        });
        Ok(pieces)
    }

    /// Takes a package in, or looks what it has.
    pub(in crate::face) async fn take_in(
        &self,
        query: ImportQuery,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<ImportView, Problem> {
        let named = query.signer.as_deref().map(str::parse::<NodeId>).transpose();
        let named = named.map_err(|error| Problem::new(ErrorCode::BadRequest, error.to_string()))?;
        let (turn, store, group) = (self.turn()?, self.store.clone(), self.group.clone());
        let taken = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let judged = RefCell::new(Err(String::new()));
            let trust = |signed: &[u8], signature: &[u8]| {
                let verdict = seal::trusted(signed, signature, named, group.as_ref());
                let is_trusted = verdict.is_ok();
                *judged.borrow_mut() = verdict;
                is_trusted
            };
            let read = read(&store, PieceReader { pieces, piece: Bytes::new() }, query.dry_run, &trust);
            match (read, judged.into_inner()) {
                (Ok(outcome), Ok(signer)) => Ok(imported_view(outcome, signer)),
                (Err(error), verdict) => Err(problem(&error, verdict.err())),
                (Ok(_), Err(why)) => Err(Problem::new(ErrorCode::PackageUntrusted, why)),
            }
        });
        taken.await.map_err(|_| Problem::new(ErrorCode::Internal, "reading the package failed"))?
    }
}

fn read(
    store: &Store,
    mut from: PieceReader,
    is_dry_run: bool,
    trust: &dyn Fn(&[u8], &[u8]) -> bool,
) -> Result<ImportOutcome, PackageError> {
    if is_dry_run {
        let packed = store.look_into(&mut from, trust)?;
        return Ok(ImportOutcome { packed, ..ImportOutcome::default() });
    }
    store.import(&mut from, trust)
}

fn exported_view(outcome: &ExportOutcome, signer: NodeId) -> ExportEnd {
    let left_out: Vec<LeftOut> = outcome.left_out.iter().map(|(id, reason)| left_out(id, reason)).collect();
    if outcome.entities == 0 {
        let reason = left_out.first().map_or_else(String::new, |left| left.reason.clone());
        return ExportEnd::Failed(Problem::new(ErrorCode::NothingPacked, reason));
    }
    let (entities, bytes) = (outcome.entities, outcome.bytes);
    ExportEnd::Done(ExportView { entities, bytes, signer: signer.to_string(), left_out })
}

fn imported_view(outcome: ImportOutcome, signer: NodeId) -> ImportView {
    ImportView {
        signer: signer.to_string(),
        entities: outcome.packed.iter().map(packed_view).collect(),
        bytes: outcome.bytes,
        left_out: outcome.left_out.iter().map(|(id, reason)| left_out(id, reason)).collect(),
    }
}

fn packed_view(packed: &PackedEntity) -> PackedView {
    PackedView {
        id: packed.entity.id().to_string(),
        url: packed.entity.url.redacted(),
        length: packed.entity.length,
        packed: packed.bytes,
        shareable: packed.privacy == Privacy::Shareable,
    }
}

fn left_out(id: &EntityId, reason: &impl ToString) -> LeftOut {
    LeftOut { id: id.to_string(), reason: reason.to_string() }
}

fn unsent(source: io::Error) -> PackageError {
    PackageError::Stream { operation: "send", source: source.into() }
}

/// `why` says why the signer is not trusted.
fn problem(error: &PackageError, why: Option<String>) -> Problem {
    let row = match error {
        PackageError::NotAPackage => ErrorCode::NotAPackage,
        PackageError::Untrusted => ErrorCode::PackageUntrusted,
        PackageError::Cut { .. } | PackageError::Damaged { .. } => ErrorCode::PackageDamaged,
        PackageError::TooMany { .. } => ErrorCode::TooLong,
        PackageError::Stream { .. } => ErrorCode::Internal,
        PackageError::Store(_) => ErrorCode::StoreUnusable,
    };
    match (row, why) {
        (ErrorCode::PackageUntrusted, Some(why)) => Problem::new(row, why),
        // The row says it all.
        (ErrorCode::NotAPackage, _) => row.into(),
        _ => Problem::new(row, error.to_string()),
    }
}

/// Cuts a package into pieces for the caller.
struct PieceWriter {
    sender: mpsc::Sender<ExportPiece>,
    bytes: BytesMut,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MAX_PIECE - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        if self.bytes.len() == MAX_PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let piece = ExportPiece::Bytes(self.bytes.split().freeze());
        self.sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Puts the caller's pieces together again.
struct PieceReader {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
