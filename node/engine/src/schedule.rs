//! Whose turn it is.
//!
//! Foreground jobs run at once; the others share a few places in the order of priority and age, and give their place to a
//! more urgent job that waits.

use crate::job::live::Job;
use crate::job::spec::{JobId, Priority};
use crate::job::state::JobState;

/// Background jobs that run side by side.
const BACKGROUND_PLACES: usize = 4;
/// Foreground jobs that run side by side.
const FOREGROUND_PLACES: usize = 16;

/// What the scheduler wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// Jobs that get the turn.
    pub begin: Vec<JobId>,
    /// Jobs that give it up.
    pub preempt: Vec<JobId>,
}

/// Chooses among the jobs: `order` is their age, oldest first.
#[must_use]
pub fn turns<'a>(jobs: impl Iterator<Item = &'a Job>) -> Turns {
    let mut waiting = Vec::new();
    let mut running = Vec::new();
    for job in jobs {
        match job.state() {
            JobState::Queued => waiting.push(job),
            state if state.is_active() => running.push(job),
            _ => {}
        }
    }
    waiting.sort_by_key(|job| (job.spec().priority, job.created(), job.id()));
    let mut turns = Turns::default();
    let foreground = running.iter().filter(|job| is_foreground(job)).count();
    let mut foreground_left = FOREGROUND_PLACES.saturating_sub(foreground);
    let mut background: Vec<&Job> = running.into_iter().filter(|job| !is_foreground(job)).collect();
    background.sort_by_key(|job| job.spec().priority);
    let mut places = BACKGROUND_PLACES.saturating_sub(background.len());
    for job in waiting {
        if is_foreground(job) {
            if foreground_left > 0 {
                foreground_left -= 1;
                turns.begin.push(job.id());
            }
        } else if places > 0 {
            places -= 1;
            turns.begin.push(job.id());
        } else if background.last().is_some_and(|last| last.spec().priority > job.spec().priority) {
            turns.preempt.extend(background.pop().map(Job::id));
            turns.begin.push(job.id());
        }
    }
    turns
}

fn is_foreground(job: &Job) -> bool {
    job.spec().priority == Priority::Foreground
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::record::JobRecord;
    use crate::{Finish, JobEvent, JobSpec, Patience, PeerUse};

    fn job(number: u8, priority: Priority, is_running: bool) -> Job {
        let spec = JobSpec {
            name: String::new(),
            priority,
            files: Vec::new(),
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
        };
        let id = JobId([number; 16]);
        let created = i64::from(number);
        let state = JobState::Queued;
        let mut job = Job::from_record(JobRecord { id, spec, state, created, failure: None, files: Vec::new() });
        if is_running {
            job.apply(JobEvent::Turn).unwrap();
        }
        job
    }

    #[test]
    fn the_most_urgent_and_then_the_oldest_get_the_places() {
        let jobs =
            [(1, Priority::Low), (2, Priority::High), (3, Priority::Low), (4, Priority::Normal), (5, Priority::Low)];
        let jobs: Vec<Job> = jobs.iter().map(|(n, p)| job(*n, *p, false)).collect();
        let begun: Vec<u8> = turns(jobs.iter()).begin.iter().map(|id| id.0[0]).collect();
        assert_eq!(begun, vec![2, 4, 1, 3]);
    }

    #[test]
    fn a_foreground_job_never_waits_for_background_jobs() {
        let mut jobs: Vec<Job> = (1..=4).map(|n| job(n, Priority::Normal, true)).collect();
        jobs.push(job(9, Priority::Foreground, false));
        let turns = turns(jobs.iter());
        assert_eq!((turns.begin.len(), turns.preempt.len()), (1, 0));
    }

    #[test]
    fn a_more_urgent_job_takes_the_place_of_the_least_urgent() {
        let mut jobs: Vec<Job> = (1..=4).map(|n| job(n, Priority::Low, true)).collect();
        jobs.push(job(9, Priority::High, false));
        jobs.push(job(8, Priority::Low, false));
        let turns = turns(jobs.iter());
        assert_eq!(turns.begin, vec![JobId([9; 16])]);
        assert_eq!(turns.preempt.len(), 1);
    }
}
