//! Jobs are written down before anything that follows from them is done, and again later when the disk refused.

use super::execute::Executor;
use crate::condition;
use crate::deliver::refusal;
use eddy_cache::StoreError;
use eddy_engine::{Engine, Failure, JobId, JobRecord};
use eddy_wire::catalogue::ErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Jobs that are written down again in one go.
const SAVED_AT_ONCE: usize = 16;
/// Bytes of a row that is written by itself.
const LARGE: usize = 64 * 1024;

/// How often it is tried to write down again what could not be.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// When it is tried again to write down what could not be. Whatever happens before puts it off no further.
#[derive(Debug, Default)]
pub(super) struct SaveAgain {
    at: Option<Duration>,
}

impl SaveAgain {
    /// How long until then, if anything waits for it.
    pub(super) fn left(&mut self, is_waiting: bool, now: Duration) -> Option<Duration> {
        self.at = is_waiting.then(|| self.at.unwrap_or(now + SAVE_AGAIN));
        self.at.map(|at| at.saturating_sub(now))
    }

    /// It was tried.
    pub(super) fn was_tried(&mut self) {
        self.at = None;
    }
}

impl Executor {
    /// Why the job's newest state is not on the disk, if it is not.
    pub(super) fn unsaved(&self, job: JobId) -> Option<&Failure> {
        self.unsaved.get(&job)
    }

    /// Whether something waits to be written down again.
    pub(super) fn has_unsaved(&self) -> bool {
        !to_try(&self.unsaved).is_empty() || !self.owed.is_empty()
    }

    /// Tries again to write down all that could not be, as long as the disk takes it.
    pub(super) async fn save_all_again(&mut self, engine: &Engine) {
        let mut waiting = usize::MAX;
        while self.has_unsaved() && self.unsaved.len() < waiting {
            waiting = self.unsaved.len();
            self.save_again(engine).await;
        }
    }

    /// Tries again to write down what could not be.
    pub(super) async fn save_again(&mut self, engine: &Engine) {
        let (store, owed) = (self.store.clone(), self.owed.clone());
        if !tokio::task::spawn_blocking(move || owed.settle(&store)).await.unwrap_or(false) {
            return;
        }
        for id in to_try(&self.unsaved) {
            match engine.job(id).filter(|job| !job.state().is_final()) {
                Some(job) => self.persist(vec![job.record()]).await,
                None => self.erase(id).await,
            }
            if self.unsaved.get(&id).is_some_and(|failure| !is_too_long(failure)) {
                // The others would meet the same.
                return;
            }
        }
    }

    /// Writes jobs down, the last record of each, in one go.
    pub(super) async fn persist(&mut self, records: Vec<JobRecord>) {
        let newest: BTreeMap<JobId, JobRecord> = records.into_iter().map(|record| (record.id, record)).collect();
        newest.keys().for_each(|job| self.discards.keep(*job));
        let mut rows = Vec::with_capacity(newest.len());
        for (job, record) in newest {
            match self.seal.seal(&record) {
                Ok(row) => rows.push((job.0, row)),
                Err(error) => {
                    tracing::error!(%job, %error, "a job cannot be written down");
                    self.unsaved.insert(job, refusal(ErrorCode::Internal, error.to_string()));
                }
            }
        }
        // What one of them may be refused for, the others are not.
        let (large, small): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, row)| row.len() > LARGE);
        for rows in large.into_iter().map(|row| vec![row]).chain([small]).filter(|rows| !rows.is_empty()) {
            let jobs: Vec<JobId> = rows.iter().map(|(id, _)| JobId(*id)).collect();
            let store = self.store.clone();
            self.durable(&jobs, "write down", move || store.put_jobs(rows)).await;
        }
    }

    pub(super) async fn erase(&mut self, job: JobId) {
        let store = self.store.clone();
        self.durable(&[job], "forget", move || store.remove_job(job.0)).await;
    }

    /// Does something durable before the next effect. A disk that fails is said loudly; the job goes on in memory, and is
    /// tried again with its next change, or a few seconds later.
    async fn durable<T: Send + 'static>(
        &mut self,
        jobs: &[JobId],
        what: &str,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) {
        let failure = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(_)) => {
                for job in jobs.iter().filter(|job| self.unsaved.remove(job).is_some()) {
                    tracing::info!(%job, "the job is written down after all");
                }
                return;
            }
            Ok(Err(error @ StoreError::RowTooLarge { .. })) => refusal(ErrorCode::TooManyFiles, error.to_string()),
            Ok(Err(error)) => condition::of_cache(condition::of_store(&error), &self.room.directory, &error),
            Err(_) => refusal(ErrorCode::Internal, "the thread that writes down died"),
        };
        for job in jobs {
            tracing::error!(%job, error = %failure.detail, "cannot {what} the job");
            self.unsaved.insert(*job, failure.clone());
        }
    }
}

/// The jobs that are tried next. One that is too long for a row is not: only a change makes it shorter, and each change tries by itself.
fn to_try(unsaved: &HashMap<JobId, Failure>) -> Vec<JobId> {
    let waiting = unsaved.iter().filter(|(_, failure)| !is_too_long(failure));
    waiting.map(|(id, _)| *id).take(SAVED_AT_ONCE).collect()
}

/// Whether the job itself is what cannot be written down, and the others can.
fn is_too_long(failure: &Failure) -> bool {
    failure.code == ErrorCode::TooManyFiles.entry().code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_too_long_keep_no_other_from_being_written_down_again() {
        let too_long = |id: u8| (JobId([id; 16]), refusal(ErrorCode::TooManyFiles, "too long"));
        let mut unsaved: HashMap<_, _> = (0..200).map(too_long).collect();
        assert_eq!(to_try(&unsaved), []);
        let healthy = JobId([250; 16]);
        unsaved.insert(healthy, refusal(ErrorCode::DiskFull, "full"));
        assert_eq!(to_try(&unsaved), [healthy]);
    }

    #[test]
    fn inputs_that_come_without_a_pause_do_not_put_the_next_try_off() {
        let mut again = SaveAgain::default();
        assert_eq!(again.left(false, Duration::ZERO), None);
        let begun = Duration::from_secs(100);
        let at = |tenths: u32| begun + Duration::from_millis(100) * tenths;
        let mut looks = (0..=50).map(|tenths| again.left(true, at(tenths)));
        assert_eq!(looks.next(), Some(Some(SAVE_AGAIN)));
        assert_eq!(looks.last(), Some(Some(Duration::ZERO)));
        // The next one comes as long after it.
        again.was_tried();
        assert_eq!(again.left(true, at(51)), Some(SAVE_AGAIN));
        // What could be written down meanwhile is not waited for.
        assert_eq!(again.left(false, at(52)), None);
        assert_eq!(again.left(true, at(90)), Some(SAVE_AGAIN));
    }
}
