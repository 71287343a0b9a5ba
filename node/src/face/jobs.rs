//! The jobs: made, seen, steered.

use super::{NodeFace, SHORTEST_ID, of_refusal, wish};
use crate::config::Network;
use crate::driver::command::{Act, Start};
use eddy_engine::JobId;
use eddy_wire::api::{self, JobAction, JobView, Page, PageQuery, Problem};
use eddy_wire::catalogue::ErrorCode;
use tokio::sync::watch;

/// Bytes of the largest job that is taken: it is one row of the store (C-09).
const MAX_JOB_ROW: usize = 512 * 1024;

impl NodeFace {
    pub(super) async fn make_job(&self, spec: api::JobSpec) -> Result<JobView, Problem> {
        if self.network == Network::Off {
            return Err(Problem::new(ErrorCode::WrongState, "this node only looks at the store"));
        }
        let start = Start { is_running: spec.start, is_adopting: spec.adopt, is_followed: spec.followed };
        let policy = self.settings.lock().await.cache.freshness;
        let spec = wish::parse_job(spec, policy)?;
        let size = postcard::to_stdvec(&spec).map_or(usize::MAX, |row| row.len() * 2);
        if size > MAX_JOB_ROW {
            return Err(Problem::new(ErrorCode::TooManyFiles, "the job's files and URLs together are too long"));
        }
        self.driver.create(spec, start).await.map_err(of_refusal)
    }

    pub(super) async fn view_job(&self, id: &str) -> Result<JobView, Problem> {
        self.driver.view(self.job_id(id).await?).await.map_err(of_refusal)
    }

    pub(super) async fn list_jobs(&self, query: PageQuery) -> Result<Page<JobView>, Problem> {
        let mut jobs = self.driver.list().await.map_err(of_refusal)?;
        if let Some(after) = &query.after {
            let seen = jobs.iter().position(|job| &job.id == after).map_or(0, |at| at + 1);
            jobs.drain(..seen);
        }
        let is_more = jobs.len() > query.size();
        jobs.truncate(query.size());
        let next = if is_more { jobs.last().map(|job| job.id.clone()) } else { None };
        Ok(Page { items: jobs, next })
    }

    pub(super) async fn act_on(&self, id: &str, action: JobAction) -> Result<JobView, Problem> {
        let act = match action {
            JobAction::Resume => Act::Resume,
            JobAction::Pause => Act::Suspend,
            JobAction::Cancel => Act::Cancel,
            JobAction::Finish => Act::Complete,
        };
        self.driver.act(self.job_id(id).await?, act).await.map_err(of_refusal)
    }

    pub(super) async fn follow(&self, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.driver.watch(self.job_id(id).await?).await.map_err(of_refusal)
    }

    /// A job by its id or an unambiguous beginning of it.
    async fn job_id(&self, text: &str) -> Result<JobId, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let jobs = self.driver.list().await.map_err(of_refusal)?;
        let mut found = jobs.iter().filter(|job| text.len() >= SHORTEST_ID && job.id.starts_with(text));
        match (found.next().and_then(|job| job.id.parse().ok()), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Problem::new(ErrorCode::BadRequest, "more than one job's id begins like that")),
            (None, _) => Err(Problem::new(ErrorCode::JobNotFound, text.chars().take(64).collect::<String>())),
        }
    }
}
