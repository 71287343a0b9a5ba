//! An entity is opened for a file.

use super::gate::Gate;
use super::{Bound, Executor};
use crate::deliver::{Destination, Part, refusal};
use crate::driver::command::{Holding, Refusal};
use crate::driver::heads::Keeping;
use crate::transfer::failure;
use crate::transfer::open::OpenEntity;
use crate::transfer::room::CacheRoom;
use eddy_cache::{EntityHandle, NewEntity};
use eddy_engine::{Engine, Failure, FailureClass, FileRef, Input, JobId, JobState};
use eddy_wire::catalogue::ErrorCode;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An entity that a task has opened for a file.
pub(in crate::driver) struct OpenedFile {
    file: FileRef,
    result: Result<OpenEntity, Failure>,
}

impl Executor {
    /// Enters an entity that was opened; what to tell the engine.
    pub(in crate::driver) fn on_opened(&mut self, opened: OpenedFile) -> Input {
        let OpenedFile { file, result } = opened;
        let result = result.map(|open| {
            let held = open.entity.held();
            if let Some(Bound { recent, .. }) = self.bound.get(&file.job) {
                match recent {
                    Some(recent) => open.follow_closely(recent.clone()),
                    None => open.follow(),
                }
            }
            if let Some(answer) = self.holders.remove(&file.job) {
                let (entity, arrivals) = (open.entity.clone(), open.arrivals());
                // Who waited may be gone; then nobody ends the job, and it ends by itself when all is held.
                let _ = answer.send(Ok(Holding { job: file.job, entity, arrivals }));
            }
            self.open.insert(file, open);
            held
        });
        Input::Opened { file, result }
    }

    /// Tells who waits for the entity of a job that it will not come, because the job has failed; whether somebody waited.
    pub(in crate::driver) fn turn_away(&mut self, engine: &Engine, id: JobId) -> bool {
        let failed = engine.job(id).filter(|job| job.state() == JobState::Error);
        let Some(holder) = failed.and_then(|_| self.holders.remove(&id)) else { return false };
        let unknown = || Failure::fatal("internal", "the job has failed");
        let why = failed.and_then(|job| job.failure().cloned()).unwrap_or_else(unknown);
        // Who waited may be gone.
        let _ = holder.send(Err(Refusal::NotHeld(Box::new(why))));
        true
    }

    pub(super) fn open_entity(
        &self,
        file: FileRef,
        (new, keeping): (NewEntity, Option<Keeping>),
        (destination, gate): (Option<Destination>, Option<Gate>),
    ) {
        let (room, opened, inputs, tasks) =
            (self.room.clone(), self.opened.clone(), self.inputs.clone(), self.tasks.clone());
        let last_modified = new.last_modified;
        // In a later turn the same readers wait.
        let arrivals = self.bound.get(&file.job).map(|bound| bound.arrivals.clone()).unwrap_or_default();
        self.tasks.spawn_blocking(move || {
            let opening = AssertUnwindSafe(|| -> Result<_, Failure> {
                if let Some(keeping) = keeping {
                    keeping.keep_here();
                }
                let entity = admit(&room, new, destination.as_ref())?;
                let doubted = gate.and_then(|gate| gate.close(&entity.0));
                Ok((entity, doubted))
            });
            // The engine awaits an answer to everything that it asks for.
            let begun =
                catch_unwind(opening).unwrap_or_else(|_| Err(Failure::fatal("internal", "opening the entity died")));
            let result = match begun {
                Ok((entity, doubted)) => {
                    if let Some(blocks) = doubted {
                        // Another job may count on them.
                        let _ = inputs.blocking_send(Input::Doubted { file, entity: entity.0.id(), blocks });
                    }
                    let (entity, part) = entity;
                    Ok(OpenEntity::start((file, room), (entity, part, arrivals), last_modified, inputs, &tasks))
                }
                Err(failure) => {
                    tracing::warn!(detail = %failure.detail, "the cache does not take the file in");
                    Err(failure)
                }
            };
            let _ = opened.blocking_send(OpenedFile { file, result });
        });
    }
}

/// Lets an entity in, with the file that will be the user's beside it: where the disk has no room for both, the cache goes
/// without.
fn admit(
    room: &CacheRoom,
    new: NewEntity,
    destination: Option<&Destination>,
) -> Result<(EntityHandle, Option<Part>), Failure> {
    let entity = room.store.begin(new).map_err(|error| failure::of_admission(&error, &room.directory))?;
    let Some(destination) = destination else { return Ok((entity, None)) };
    destination.mirror(&entity, room).map(|part| (entity.clone(), part)).map_err(|failure| {
        let id = entity.id();
        drop(entity);
        // Another job may have it open; then it stays.
        let _ = room.store.remove(&id);
        let detail = format!("the disk has no room for the file and its copy in the cache: {}", failure.detail);
        Failure { class: FailureClass::Disk, ..refusal(ErrorCode::CacheTooSmall, detail) }
    })
}
