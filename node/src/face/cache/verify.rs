//! Hashes what is held, on demand.
//!
//! Large files are read past the page cache, so that it is the disk that is asked. A block that is wrong is set aside by the
//! store itself, as on every read, and comes again when somebody asks for it.

use super::whole_id;
use crate::control::face::VerifyNews;
use crate::face::NodeFace;
use eddy_cache::{EntityHandle, ReadError, RunReader};
use eddy_content::BlockSet;
use eddy_wire::api::{Problem, VerifiedView, VerifyProgress};
use eddy_wire::catalogue::ErrorCode;
use std::ops::{ControlFlow, Range};
use tokio::sync::mpsc;

/// Blocks that are hashed between two news: 4 MiB.
const STEP: u32 = 64;
/// News that wait for the caller.
const NEWS: usize = 16;

impl NodeFace {
    /// Starts a verification; who lets go of the news stops it.
    pub(in crate::face) async fn start_verification(&self, id: &str) -> Result<mpsc::Receiver<VerifyNews>, Problem> {
        let id = whole_id(id)?;
        let turn = self.turn()?;
        let (store, handle) = self.with_store(move |store| Ok((store.clone(), store.find(&id)?))).await?;
        let handle = handle.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id.to_string()))?;
        let (sender, news) = mpsc::channel(NEWS);
        tokio::task::spawn_blocking(move || {
            let outcome = hash_held(&handle, |done, held| {
                // Who does not keep up hears the next.
                let _ = sender.try_send(VerifyNews::Progress(VerifyProgress { done, held }));
                if sender.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            // What was found before it was stopped was found, too.
            if let Ok(Hashed { corrupt_blocks: blocks @ 1.., .. }) = outcome
                && let Err(error) = store.note_corrupt(blocks)
            {
                tracing::warn!(%error, "blocks that were found corrupt are not in the record");
            }
            let last = match outcome {
                Ok(hashed) if hashed.is_cut => return,
                Ok(hashed) => VerifyNews::Done(view(&handle, &hashed)),
                Err(error) => VerifyNews::Failed(Problem::new(ErrorCode::StoreUnusable, error.to_string())),
            };
            // The entity is free again before anybody hears that this has ended.
            drop((handle, turn));
            let _ = sender.blocking_send(last);
        });
        Ok(news)
    }
}

fn view(handle: &EntityHandle, hashed: &Hashed) -> VerifiedView {
    VerifiedView {
        id: handle.id().to_string(),
        url: handle.entity().url.redacted(),
        bytes: hashed.bytes,
        corrupt: hashed.corrupt,
    }
}

/// What hashing an entity came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hashed {
    /// Bytes that were hashed.
    bytes: u64,
    /// Those that were not what was written.
    corrupt: u64,
    /// The blocks that they were in.
    corrupt_blocks: u64,
    /// Whether it was stopped before the end.
    is_cut: bool,
}

/// Hashes every held block; `on_progress` hears how many bytes of how many are done, and may stop it.
fn hash_held(
    handle: &EntityHandle,
    mut on_progress: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Hashed, ReadError> {
    let (geometry, mut reader, held) = (handle.geometry(), handle.reader(), handle.held());
    let bytes_of = |blocks: Range<u32>| {
        let bytes = geometry.bytes_of(blocks);
        bytes.end - bytes.start
    };
    let total: u64 = held.runs().map(bytes_of).sum();
    let (mut bytes, mut corrupt, mut is_cut) = (0, BlockSet::new(), false);
    'runs: for run in held.runs() {
        for start in run.clone().step_by(STEP as usize) {
            let blocks = start..run.end.min(start.saturating_add(STEP));
            hash(&mut reader, blocks.clone(), &mut corrupt)?;
            bytes += bytes_of(blocks);
            if on_progress(bytes, total).is_break() {
                is_cut = true;
                break 'runs;
            }
        }
    }
    let corrupt_blocks = u64::from(corrupt.len());
    Ok(Hashed { bytes, corrupt: corrupt.runs().map(bytes_of).sum(), corrupt_blocks, is_cut })
}

/// Hashes some blocks at once, and one by one as soon as one of them is wrong.
fn hash(reader: &mut RunReader, blocks: Range<u32>, corrupt: &mut BlockSet) -> Result<(), ReadError> {
    match reader.read(blocks.clone()) {
        Ok(_) => return Ok(()),
        Err(ReadError::Corrupt { block }) => corrupt.insert(block..block + 1),
        Err(ReadError::NotHeld { .. }) => {}
        Err(disk) => return Err(disk),
    }
    for block in blocks {
        match reader.read(block..block + 1) {
            // What is not held was set aside just now, by this or by another reader.
            Ok(_) | Err(ReadError::NotHeld { .. }) => {}
            Err(ReadError::Corrupt { block }) => corrupt.insert(block..block + 1),
            Err(disk) => return Err(disk),
        }
    }
    Ok(())
}
