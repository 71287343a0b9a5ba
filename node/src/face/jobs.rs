//! The jobs: made, seen, steered.

use super::{NodeFace, SHORTEST_ID, change, of_refusal, steering, whose, wish};
use crate::config::{JobSettings, Network, Settings};
use crate::control::Asker;
use crate::driver::command::{Act, IdPrefix, Listed, Refusal, Start, Wish};
use eddy_cache::Privacy;
use eddy_content::BlockSet;
use eddy_engine::engine::Amendment;
use eddy_engine::job::live::Job;
use eddy_engine::job::portion::MAX_DEMANDED;
use eddy_engine::{FileSpec, JobId, JobSpec, Owner, Portion};
use eddy_wire::api::{
    self, BatchView, FileQuery, FilledView, JobAction, JobBatch, JobChange, JobView, MadeJob, MoreFiles, Page,
    PageQuery, Problem, RangeOrder,
};
use eddy_wire::catalogue::ErrorCode;
use std::collections::BTreeMap;
use std::ops::Range;
use tokio::sync::watch;

/// Bytes of the largest job that is taken: it is one row of the store (C-09).
pub(super) const MAX_JOB_ROW: usize = 512 * 1024;

impl NodeFace {
    pub(super) async fn make_job(
        &self,
        asker: Asker,
        spec: api::JobSpec,
        key: Option<&str>,
    ) -> Result<JobView, Problem> {
        self.check_network()?;
        let (spec, start) = wish_of(asker, spec, &*self.settings.lock().await, key)?;
        self.driver.create(spec, start).await.map_err(of_refusal)
    }

    pub(super) async fn make_jobs(
        &self,
        asker: Asker,
        batch: JobBatch,
        key: Option<&str>,
    ) -> Result<BatchView, Problem> {
        self.check_network()?;
        let settings = self.settings.lock().await;
        let (mut wishes, mut outcomes) = (Vec::with_capacity(batch.jobs.len()), Vec::with_capacity(batch.jobs.len()));
        for (spec, number) in batch.jobs.into_iter().zip(1..) {
            // Repeated, the batch finds what it made, each job by itself.
            let key = key.map(|key| format!("{number} of {key}"));
            let wish = spec.check().and_then(|()| wish_of(asker, spec, &settings, key.as_deref()));
            outcomes.push(wish.map(|wish| wishes.push(wish)));
        }
        drop(settings);
        let mut made = self.driver.create_all(wishes).await.map_err(of_refusal)?.into_iter();
        let mut of_made = |()| made.next().unwrap_or(Err(Refusal::Stopping)).map_err(of_refusal);
        let outcomes = outcomes.into_iter().map(|parsed| parsed.and_then(&mut of_made));
        Ok(BatchView { jobs: outcomes.map(of_outcome).collect() })
    }

    fn check_network(&self) -> Result<(), Problem> {
        match self.network {
            Network::Off => Err(Problem::new(ErrorCode::WrongState, "this node only looks at the store")),
            Network::Full => Ok(()),
        }
    }

    pub(super) async fn view_job(&self, asker: Asker, id: &str) -> Result<JobView, Problem> {
        self.driver.view(whose(asker), self.job_id(asker, id).await?).await.map_err(of_refusal)
    }

    pub(super) async fn list_jobs(&self, asker: Asker, query: PageQuery) -> Result<Page<JobView>, Problem> {
        let after = query.after.as_deref().map(|text| {
            cursor(text).ok_or_else(|| Problem::new(ErrorCode::BadRequest, "`after` is no cursor of a page of jobs"))
        });
        let Listed { jobs, is_more } =
            self.driver.list(whose(asker), after.transpose()?, query.size()).await.map_err(of_refusal)?;
        let next = jobs.last().filter(|_| is_more).map(|job| format!("{:x}-{}", job.created_unix_ms / 1000, job.id));
        Ok(Page { items: jobs, next })
    }

    pub(super) async fn act_on(&self, asker: Asker, id: &str, action: JobAction) -> Result<JobView, Problem> {
        let id = self.job_id(asker, id).await?;
        let act = match action {
            JobAction::Resume => Act::Resume,
            JobAction::Pause => Act::Suspend,
            JobAction::Cancel => Act::Cancel,
            JobAction::Finish => Act::Complete,
            JobAction::Take => {
                let taken = Box::new(move |job: &Job| Ok(change::take(job, asker.uid)));
                return self.driver.amend(whose(asker), id, taken).await.map_err(of_refusal);
            }
        };
        self.driver.act(whose(asker), id, act).await.map_err(of_refusal)
    }

    pub(super) async fn change(&self, asker: Asker, id: &str, wish: JobChange) -> Result<JobView, Problem> {
        if let Some(terms) = &wish.terms {
            check_names(&*self.settings.lock().await, terms)?;
        }
        let amend = Box::new(move |job: &Job| changed(job, asker, wish));
        self.driver.amend(whose(asker), self.job_id(asker, id).await?, amend).await.map_err(of_refusal)
    }

    pub(super) async fn add(&self, asker: Asker, id: &str, more: MoreFiles) -> Result<JobView, Problem> {
        let policy = self.settings.lock().await.jobs.clone();
        let add = Box::new(move |job: &Job| {
            steering::check_more(job.owner(), asker)?;
            let amendment = change::add(job, &more)?;
            let mut longer = job.spec().clone();
            longer.files.extend(amendment.files.iter().cloned());
            check_size(&longer)?;
            check_policy(&longer, &policy)?;
            Ok(amendment)
        });
        self.driver.amend(whose(asker), self.job_id(asker, id).await?, add).await.map_err(of_refusal)
    }

    /// Asks for ranges of a file on demand (F-57).
    pub(super) async fn demand(&self, asker: Asker, id: &str, order: RangeOrder) -> Result<JobView, Problem> {
        let id = self.job_id(asker, id).await?;
        let start = order.start;
        let demand = Box::new(move |job: &Job| {
            steering::check_more(job.owner(), asker)?;
            let file = job.files().get(order.file as usize).ok_or(ErrorCode::FileNotInJob)?;
            let before = file.spec().portion.demand().cloned().ok_or(ErrorCode::NotOnDemand)?;
            let demand = order.onto(before)?;
            let mut larger = job.spec().clone();
            if let Some(wanted) = larger.files.get_mut(order.file as usize) {
                wanted.portion = Portion::OnDemand(demand.clone());
            }
            check_size(&larger)?;
            Ok(Amendment { demands: vec![(order.file, demand)], ..Amendment::default() })
        });
        let job = self.driver.amend(whose(asker), id, demand).await.map_err(of_refusal)?;
        if start && job.state == api::JobState::Suspended {
            return self.driver.act(whose(asker), id, Act::Resume).await.map_err(of_refusal);
        }
        Ok(job)
    }

    /// What of a file is here, of the version that the store heard of last: no more than the job has asked for, and nothing that may be
    /// meant for somebody else (T-34).
    pub(super) async fn look_at_filled(&self, asker: Asker, id: &str, query: FileQuery) -> Result<FilledView, Problem> {
        let id = self.job_id(asker, id).await?;
        let wish = self.driver.wish(whose(asker), id, query.file).await.map_err(of_refusal)?;
        let Wish { spec, length, is_staged, opened } = wish;
        let view = move |length, filled| FilledView { file: query.file, length, filled };
        if is_staged {
            return Ok(view(length, vec![api::ByteRange { offset: 0, length }]));
        }
        self.with_store(move |store| {
            let latest = store.latest(&spec.url)?;
            // What is private is shown to the job alone whose own question was answered with it.
            let latest = latest.filter(|record| record.privacy == Privacy::Shareable || opened == Some(record.id()));
            let Some(entity) = latest.map(|record| store.find(&record.id())).transpose()?.flatten() else {
                return Ok(view(length, Vec::new()));
            };
            let geometry = entity.geometry();
            let wanted = match &spec.portion {
                Portion::Whole => BlockSet::from_run(geometry.all_blocks()),
                Portion::Ranges(ranges) => {
                    ranges.within(geometry.length()).map(|stretches| stretches.blocks(geometry)).unwrap_or_default()
                }
                Portion::OnDemand(demand) => demand.blocks(geometry),
            };
            let range =
                |bytes: Range<u64>| api::ByteRange { offset: bytes.start, length: Some(bytes.end - bytes.start) };
            let held = entity.held().intersection(&wanted);
            let filled = held.runs().take(MAX_DEMANDED).map(|run| range(geometry.bytes_of(run))).collect();
            Ok(view(Some(geometry.length()), filled))
        })
        .await
    }

    pub(super) async fn follow(&self, asker: Asker, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.driver.watch(whose(asker), self.job_id(asker, id).await?).await.map_err(of_refusal)
    }

    /// A job by its id or a beginning of it that names one of those that there are for the asker.
    pub(super) async fn job_id(&self, asker: Asker, text: &str) -> Result<JobId, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let unknown = || Problem::new(ErrorCode::JobNotFound, text.chars().take(64).collect::<String>());
        let prefix = IdPrefix::parse(text).filter(|_| text.len() >= SHORTEST_ID).ok_or_else(unknown)?;
        match self.driver.find(whose(asker), prefix).await.map_err(of_refusal)?.as_slice() {
            [id] => Ok(*id),
            [] => Err(unknown()),
            _ => Err(Problem::new(ErrorCode::BadRequest, "more than one job's id begins like that")),
        }
    }
}

/// What a change makes of a job that the asker may change like that, and that can be written down afterwards. It has as many files and
/// ranges as before: the administrator's bounds on them, which may be narrower than when it was made, stop no change.
fn changed(job: &Job, asker: Asker, wish: JobChange) -> Result<Amendment, Problem> {
    steering::check_change(job.owner(), asker, &wish)?;
    let amendment = change::amend(job, wish)?;
    let amended = amendment.onto(job).map_err(|error| of_refusal(Refusal::Command(error)))?;
    check_size(&amended)?;
    Ok(amendment)
}

/// A caller's wish for a job, and how the job is made.
fn wish_of(
    asker: Asker,
    spec: api::JobSpec,
    settings: &Settings,
    key: Option<&str>,
) -> Result<(JobSpec, Start), Problem> {
    let start = Start {
        is_running: spec.start,
        // What may have an effect is asked anew.
        is_adopting: spec.adopt && spec.terms.method.is_none(),
        is_followed: spec.followed,
        id: key.map(|key| id_of_key(asker.uid, key)),
        owner: Owner(asker.uid),
    };
    check_names(settings, &spec.terms)?;
    let spec = wish::parse_job(spec, settings.cache.freshness)?;
    check_size(&spec)?;
    check_policy(&spec, &settings.jobs)?;
    Ok((spec, start))
}

fn of_outcome(outcome: Result<JobId, Problem>) -> MadeJob {
    match outcome {
        Ok(id) => MadeJob { id: Some(id.to_string()), error: None },
        Err(problem) => MadeJob { id: None, error: Some(problem) },
    }
}

/// The id of the job that a user's request with this idempotency key makes, once and again: another user's key is another key.
fn id_of_key(uid: u32, key: &str) -> JobId {
    let mut id = [0; 16];
    let words = [&uid.to_le_bytes(), key.as_bytes()].concat();
    id.copy_from_slice(&blake3::derive_key("eddy job id of a user's idempotency key", &words)[..16]);
    JobId(id)
}

/// Refuses a hook or a certificate that nobody has registered.
fn check_names(settings: &Settings, terms: &api::Terms) -> Result<(), Problem> {
    check_name(&settings.hooks, terms.hook.as_deref(), ErrorCode::HookUnknown)?;
    check_name(&settings.origin.certificates, terms.client_certificate.as_deref(), ErrorCode::ClientCertificate)
}

fn check_name<T>(registered: &BTreeMap<String, T>, name: Option<&str>, code: ErrorCode) -> Result<(), Problem> {
    match name.filter(|name| !name.is_empty() && !registered.contains_key(*name)) {
        None => Ok(()),
        Some(_) => {
            let names: Vec<_> = registered.keys().map(String::as_str).collect();
            Err(Problem::new(code, format!("registered: {}", names.join(", "))))
        }
    }
}

fn cursor(text: &str) -> Option<(i64, JobId)> {
    let (created, id) = text.split_once('-')?;
    Some((i64::from_str_radix(created, 16).ok()?, id.parse().ok()?))
}

fn check_size(spec: &JobSpec) -> Result<(), Problem> {
    // The terms stand apart from the rest of a row.
    let terms = postcard::to_stdvec(&spec.terms).map_or(usize::MAX / 4, |row| row.len());
    let size = postcard::to_stdvec(spec).map_or(usize::MAX / 4, |row| row.len() * 2);
    if size + terms > MAX_JOB_ROW {
        return Err(too_long());
    }
    Ok(())
}

/// Why a job is refused that would be no row of the store.
pub(super) fn too_long() -> Problem {
    Problem::new(ErrorCode::TooManyFiles, "the job's files and URLs together are too long")
}

/// Refuses a job with more files, or more ranges of a file, than the administrator allows (F-16).
fn check_policy(spec: &JobSpec, policy: &JobSettings) -> Result<(), Problem> {
    let refused = |code, number: usize, most, what| {
        Err(Problem::new(code, format!("{number} {what}; the administrator allows {most}")))
    };
    let of_file = |file: &FileSpec| file.portion.ranges().map_or(0, |ranges| ranges.as_slice().len());
    let (files, ranges) = (spec.files.len(), spec.files.iter().map(of_file).max().unwrap_or_default());
    match (policy.most_files, policy.most_ranges) {
        (Some(most), _) if files > most => refused(ErrorCode::TooManyFiles, files, most, "files"),
        (_, Some(most)) if ranges > most => refused(ErrorCode::TooManyRanges, ranges, most, "ranges of a file"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FreshnessPolicy;
    use eddy_engine::JobRecord;
    use eddy_engine::job::parcel::Parcel;
    use eddy_engine::job::terms::Life;

    #[test]
    fn f16_files_and_ranges_are_limited_by_the_administrator() {
        let file = |name: &str, ranges: usize| {
            let ranges: Vec<_> = (0..ranges).map(|at| serde_json::json!({"offset": 10 * at, "length": 1})).collect();
            serde_json::json!({"url": "https://h/a", "destination": format!("/tmp/{name}"), "ranges": ranges})
        };
        let spec = serde_json::json!({"files": [file("a", 0), file("b", 3)]});
        let spec = wish::parse_job(serde_json::from_value(spec).expect("a job"), FreshnessPolicy::Ask).expect("legal");
        let code = |most_files, most_ranges| {
            let policy = JobSettings { most_files, most_ranges, ..JobSettings::default() };
            check_policy(&spec, &policy).err().and_then(|problem| problem.error_code())
        };
        assert_eq!([code(None, None), code(Some(2), Some(3))], [None, None]);
        assert_eq!(code(Some(1), None), Some(ErrorCode::TooManyFiles));
        assert_eq!(code(None, Some(2)), Some(ErrorCode::TooManyRanges));
    }

    #[test]
    fn a_change_that_makes_a_job_too_long_for_a_row_is_refused_however_few_words_it_has() {
        let files: Vec<_> = (0..2000).map(|at| format!("f/{at}")).collect();
        let file = |name: &String| serde_json::json!({"url": format!("http://h/{name}"), "destination": format!("/tmp/{name}")});
        let spec = serde_json::json!({ "files": files.iter().map(file).collect::<Vec<_>>() });
        let spec = wish::parse_job(serde_json::from_value(spec).expect("a job"), FreshnessPolicy::Ask).expect("legal");
        check_size(&spec).expect("it is short enough as it is");
        let life = Life { owner: Owner(7), ..Life::default() };
        let parcel = Parcel::of(&spec, &[]);
        let (id, state) = (JobId([1; 16]), eddy_engine::JobState::Suspended);
        let record = JobRecord { id, state, created: 0, failure: None, is_completing: false, life, parcel };
        let job = Job::from_record(record);
        let asker = Asker { uid: 7, reach: crate::control::Reach::Own };
        let code = |change: serde_json::Value| {
            let change = serde_json::from_value(change).expect("a change");
            changed(&job, asker, change).err().and_then(|problem| problem.error_code())
        };
        let presigned = |url: &str| -> Vec<_> {
            (0..2000)
                .map(|at| serde_json::json!({"file": at, "url": format!("{url}/{at}?{}", "s".repeat(700))}))
                .collect()
        };
        let elsewhere = |to: String| serde_json::json!({"relocate": {"from": "http://h/", "to": to}});
        assert_eq!(code(serde_json::json!({"urls": presigned("http://h")})), Some(ErrorCode::TooManyFiles));
        assert_eq!(code(elsewhere(format!("http://h/{}", "x".repeat(150)))), Some(ErrorCode::TooManyFiles));
        assert_eq!(code(elsewhere(format!("http://h/{}", "x".repeat(8000)))), Some(ErrorCode::TooManyFiles));
        assert_eq!(code(elsewhere("http://other/".to_owned())), None);
    }
}
