//! Jobs are made, and listed.

use super::command::{FilePlace, Listed, Refusal, Start, Whose};
use super::{Driver, Durability};
use eddy_engine::job::live::Job;
use eddy_engine::{Asking, Failure, FileRef, Goal, JobId, JobSpec, Owner};
use eddy_wire::api::{JobView, Problem};
use eddy_wire::catalogue::ErrorCode;
use std::collections::{HashMap, HashSet};

/// Bytes of files after which a page of jobs ends: one job may have ten thousand, and the driver does nothing else meanwhile.
const PAGE: usize = 4 * 1024 * 1024;
/// Bytes for which a file counts beside its URL and its destination.
const FILE: usize = 256;

impl Driver {
    /// Makes jobs, each by itself, or takes those that are there; durable before anybody hears of them (promise 7). However many
    /// there are, they are written down together.
    pub(super) async fn make(&mut self, wishes: Vec<(JobSpec, Start)>) -> Vec<Result<JobId, Refusal>> {
        let mut made = Vec::with_capacity(wishes.len());
        for (spec, start) in wishes {
            made.push((self.enter(spec, start), start));
        }
        self.settle().await;
        for (entered, start) in &mut made {
            if let Ok((id, Entered::Now)) = *entered
                && let Some(failure) = self.lacking(id, start)
            {
                let _ = self.engine.cancel(self.now(), id);
                *entered = Err(Refusal::NotDurable(Box::new(failure)));
            }
        }
        self.settle().await;
        let mut answers = Vec::with_capacity(made.len());
        for (entered, start) in made {
            answers.push(entered.and_then(|(id, entered)| {
                let is_to_run = start.is_running && entered != Entered::Before;
                if is_to_run {
                    self.engine.resume(self.now(), id).map_err(Refusal::Command)?;
                }
                Ok(id)
            }));
        }
        self.settle().await;
        answers
    }

    /// Enters one job, which is not durable yet.
    fn enter(&mut self, spec: JobSpec, start: Start) -> Result<(JobId, Entered), Refusal> {
        // A repeated request finds what the first one made.
        if let Some(named) = start.id.and_then(|id| self.engine.job(id)) {
            // Somebody may have taken it since: then it is no longer for its first owner to see (F-84).
            let is_own = named.owner() == start.owner;
            let (id, is_same) = (named.id(), is_own && named.name() == spec.name && named.spec().files == spec.files);
            self.engine.put_away(id);
            let other = || Refusal::Problem(Box::new(ErrorCode::KeyReused.into()));
            return if is_same { Ok((id, Entered::Before)) } else { Err(other()) };
        }
        if start.is_adopting
            && let Some(id) = self.like(start.owner, &spec)
        {
            return Ok((id, Entered::Adopted));
        }
        self.check_room(start.owner)?;
        let id = start.id.unwrap_or_else(|| JobId(rand::random()));
        if start.is_running {
            self.engine.create_to_run(self.now(), id, start.owner, spec);
        } else {
            self.engine.create(self.now(), id, start.owner, spec);
        }
        Ok((id, Entered::Now))
    }

    /// A job of the owner that has not ended and wants the same.
    fn like(&mut self, owner: Owner, spec: &JobSpec) -> Option<JobId> {
        // Who wants the origin to be asked is not served by a job that would not.
        let asks = |job: &Job| spec.asking == Asking::WithinLifetime || job.spec().asking == Asking::Always;
        let alike: Vec<JobId> = self.engine.jobs_alike(owner, &spec.files).map(Job::id).collect();
        // Nor does a question without its header fields, or with others, say the same.
        let shows = |job: &Job| {
            let (known, wanted) = (&job.spec().terms, &spec.terms);
            known.headers == wanted.headers && known.method.is_none()
        };
        let is_same = |id: &JobId| {
            self.engine.job(*id).is_some_and(|job| job.spec().files == spec.files && asks(job) && shows(job))
        };
        let same = alike.iter().copied().find(is_same);
        alike.into_iter().for_each(|id| self.engine.put_away(id));
        same
    }

    /// Why a job may not stay, if it is not written down.
    fn lacking(&self, id: JobId, start: &Start) -> Option<Failure> {
        match &self.durability {
            _ if start.is_followed => None,
            Durability::Wished => None,
            Durability::Required => self.executor.unsaved(id).cloned(),
            Durability::Lacking(failure) => Some(Failure::clone(failure)),
        }
    }

    /// The jobs behind a point in the order in which they were made: at most `most`, and as many as make a page.
    pub(super) fn list(&mut self, whose: Whose, after: Option<(i64, JobId)>, most: usize) -> Listed {
        // What is only held is nobody's job.
        let is_there = |job: &&Job| job.goal() != Goal::Hold && whose.has(job.owner());
        let behind: Vec<JobId> =
            self.engine.jobs_after(after).filter(is_there).take(most.saturating_add(1)).map(Job::id).collect();
        listed(behind, most, |id| self.view(Whose::Anybodys, id).ok())
    }

    /// The jobs that there are; none is unpacked for it.
    pub(super) fn ids(&self, whose: Whose) -> HashSet<JobId> {
        let is_there = |job: &&Job| job.goal() != Goal::Hold && whose.has(job.owner());
        self.engine.jobs().filter(is_there).map(Job::id).collect()
    }

    /// From where files come and where they go.
    pub(super) fn places(&mut self, whose: Whose, files: Vec<FileRef>) -> HashMap<FileRef, FilePlace> {
        let mut places = HashMap::with_capacity(files.len());
        for at in files {
            if let Ok(job) = self.job(whose, at.job)
                && let Some(file) = job.files().get(at.file as usize)
            {
                let (url, destination) = (file.spec().url.redacted(), file.spec().destination.clone());
                places.insert(at, FilePlace { url, destination });
                self.engine.put_away(at.job);
            }
        }
        places
    }

    /// Refuses one job more than the administrator allows (F-16).
    fn check_room(&self, owner: Owner) -> Result<(), Refusal> {
        let (all, own) = self.engine.living(owner);
        let (limit, whose) = match () {
            () if all >= self.limits.jobs => (self.limits.jobs, "on this machine"),
            () if own >= self.limits.jobs_per_user => (self.limits.jobs_per_user, "of this user"),
            () => return Ok(()),
        };
        let detail = format!("at most {limit} jobs {whose}");
        Err(Refusal::Problem(Box::new(Problem::new(ErrorCode::TooManyJobs, detail))))
    }
}

/// The first of the jobs, of which no more are looked at than make a page.
fn listed(behind: Vec<JobId>, most: usize, mut view: impl FnMut(JobId) -> Option<JobView>) -> Listed {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    let mut behind = behind.into_iter().peekable();
    while jobs.len() < most
        && bytes < PAGE
        && let Some(id) = behind.next()
    {
        if let Some(job) = view(id) {
            bytes += job.files.iter().map(|file| FILE + file.url.len() + file.destination.len()).sum::<usize>();
            jobs.push(job);
        }
    }
    Listed { jobs, is_more: behind.peek().is_some() }
}

/// How a wish got its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    /// It was made.
    Now,
    /// One that wants the same was there.
    Adopted,
    /// The same request made it before.
    Before,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::view;
    use eddy_content::ResourceUrl;
    use eddy_engine::job::parcel::Parcel;
    use eddy_engine::job::spec::{FileSpec, Finish, Patience};
    use eddy_engine::job::terms::Life;
    use eddy_engine::{JobRecord, JobState, Now, PeerUse, Portion, Priority, Terms};
    use std::time::Duration;

    /// A job of so many files.
    fn of_files(id: JobId, count: usize) -> JobView {
        let file = |at| FileSpec {
            url: ResourceUrl::parse(&format!("http://h/{at}")).expect("a URL"),
            destination: format!("/tmp/{at}"),
            digests: Vec::new(),
            overwrite: false,
            credentials: None,
            portion: Portion::Whole,
        };
        let spec = JobSpec {
            name: String::new(),
            priority: Priority::Normal,
            files: (0..count).map(file).collect(),
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::Always,
            terms: Terms::default(),
        };
        let (parcel, state, life) = (Parcel::of(&spec, &[]), JobState::Suspended, Life::default());
        let record = JobRecord { id, state, created: 0, failure: None, is_completing: false, life, parcel };
        view::job(&Job::from_record(record), view::Clock { now: Now { mono: Duration::ZERO, wall: 0 } })
    }

    #[test]
    fn a_page_of_large_jobs_is_short_and_the_next_begins_behind_it() {
        let ids: Vec<JobId> = (0..5).map(|id| JobId([id; 16])).collect();
        let large = of_files(JobId([0; 16]), 10_000);
        let (mut behind, mut seen, mut pages) = (ids.clone(), Vec::new(), 0);
        loop {
            let mut looks = 0;
            let page = listed(behind.clone(), 1000, |id| {
                looks += 1;
                seen.push(id);
                Some(large.clone())
            });
            assert_eq!((looks, page.jobs.len()), (2, 2).min((behind.len(), behind.len())), "no other is unpacked");
            pages += 1;
            behind.drain(..looks);
            if !page.is_more {
                break;
            }
        }
        assert_eq!((seen, pages), (ids, 3));
    }

    #[test]
    fn a_page_of_small_jobs_is_as_long_as_was_asked_for() {
        let small = of_files(JobId([0; 16]), 1);
        let ids = |count: u16| (0..count).map(|id| JobId([id as u8; 16])).collect::<Vec<_>>();
        let page = |count| listed(ids(count), 1000, |_| Some(small.clone()));
        assert_eq!((page(1001).jobs.len(), page(1001).is_more), (1000, true));
        assert_eq!((page(1000).jobs.len(), page(1000).is_more), (1000, false));
    }
}
