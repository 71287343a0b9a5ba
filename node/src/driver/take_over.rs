//! The jobs of the last run, taken over page by page, so that however many there are, few are in memory as they were written.

use super::seal::JobSeal;
use super::{Driver, view};
use eddy_cache::{Store, StoreError};
use eddy_engine::job::live::Job;
use eddy_engine::{JobId, JobRecord, JobState};
use eddy_wire::api;
use tokio::task::JoinHandle;

/// Jobs of a page.
const PAGE: usize = 2048;

/// A page that is being read: its jobs, and behind whom the next begins.
type Reading = JoinHandle<Result<(Vec<JobRecord>, Option<[u8; 16]>), StoreError>>;

impl Driver {
    /// Takes over what the store has. A row that cannot be read is left there for a version that can; the others go on (N5).
    pub(super) async fn take_over(&mut self) -> Result<(), StoreError> {
        let (store, seal) = (self.executor.store.clone(), self.executor.seal.clone());
        let mut next = Some(read(&store, &seal, None));
        let logged = self.events.last_states();
        let mut untold = Vec::new();
        while let Some(reading) = next {
            let (records, last) = match reading.await {
                Ok(page) => page?,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            // The next page is read while this one is taken in.
            next = last.map(|last| read(&store, &seal, Some(last)));
            for record in records {
                let (id, state) = (record.id, record.state);
                // What was written down before a crash, and not told, the log hears now: hooks wait for it.
                let is_told = |last: &api::JobState| *last == view::state(state);
                let is_untold = is_at_rest(state) && logged.get(&id.to_string()).is_some_and(|last| !is_told(last));
                if !is_untold {
                    self.told.insert(id, state);
                }
                self.engine.restore(self.now(), record);
                untold.extend(self.news_of(id).filter(|_| is_untold).map(|news| (id, news)));
            }
        }
        self.note(&untold);
        self.tell(untold).await;
        let (heads, living) = (self.executor.heads.clone(), self.engine.jobs().map(Job::id).collect());
        // What is not looked at is not removed; nothing else follows.
        let _ = tokio::task::spawn_blocking(move || heads.take_over(&living)).await;
        Ok(())
    }
}

/// Whether a job in this state goes on only when somebody wants it to.
fn is_at_rest(state: JobState) -> bool {
    state.is_final() || matches!(state, JobState::Error | JobState::Transferred)
}

fn read(store: &Store, seal: &JobSeal, behind: Option<[u8; 16]>) -> Reading {
    let (store, seal) = (store.clone(), seal.clone());
    tokio::task::spawn_blocking(move || {
        let page = store.jobs_behind(behind, PAGE)?;
        let mut records = Vec::with_capacity(page.rows.len());
        for (id, row) in page.rows {
            match seal.open(JobId(id), &row) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(job = %JobId(id), %error, "a job's row cannot be read; it is left as it is");
                }
            }
        }
        Ok((records, page.last))
    })
}
