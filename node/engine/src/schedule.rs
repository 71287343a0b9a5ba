//! Whose turn it is.
//!
//! Foreground jobs run at once; the others share a few places in the order of priority and age, and give their place to a
//! more urgent job that waits.

use crate::job::live::Job;
use crate::job::spec::{JobId, Priority};
use crate::roster::Roster;

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

/// Chooses among the jobs. It looks at no more of those that wait than there are places.
#[must_use]
pub fn turns(roster: &Roster) -> Turns {
    let (foreground, mut background): (Vec<&Job>, Vec<&Job>) = roster.running().partition(|job| is_foreground(job));
    let mut turns = Turns::default();
    let places = FOREGROUND_PLACES.saturating_sub(foreground.len());
    turns.begin.extend(roster.waiting_foreground().take(places).map(Job::id));
    // The least urgent last, and the youngest last among equals: it has least to lose.
    background.sort_by_key(|job| (job.spec().priority, job.created(), job.id()));
    let mut places = BACKGROUND_PLACES.saturating_sub(background.len());
    for job in roster.waiting_background() {
        if places > 0 {
            places -= 1;
        } else if let Some(last) = background.pop_if(|last| last.spec().priority > job.spec().priority) {
            turns.preempt.push(last.id());
        } else {
            // Those behind are no more urgent.
            break;
        }
        turns.begin.push(job.id());
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
    use crate::{Asking, FileSpec, Finish, JobEvent, JobSpec, JobState, Patience, PeerUse};
    use eddy_content::ResourceUrl;

    fn file() -> FileSpec {
        let url = ResourceUrl::parse("https://example.org/file").unwrap();
        FileSpec { url, destination: "/file".to_owned(), digests: Vec::new(), overwrite: false, credentials: None }
    }

    fn roster(jobs: impl IntoIterator<Item = Job>) -> Roster {
        let mut roster = Roster::default();
        jobs.into_iter().for_each(|job| roster.insert(job));
        roster
    }

    fn job(number: u8, priority: Priority, is_running: bool) -> Job {
        let spec = JobSpec {
            name: String::new(),
            priority,
            files: vec![file()],
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::Always,
        };
        let id = JobId([number; 16]);
        let created = i64::from(number);
        let state = JobState::Queued;
        let files = Vec::new();
        let mut job = Job::from_record(JobRecord {
            id,
            spec,
            state,
            created,
            failure: None,
            files,
            is_completing: false,
            asking: Asking::Always,
        });
        if is_running {
            job.apply(JobEvent::Turn).unwrap();
        }
        job
    }

    #[test]
    fn the_most_urgent_and_then_the_oldest_get_the_places() {
        let jobs =
            [(1, Priority::Low), (2, Priority::High), (3, Priority::Low), (4, Priority::Normal), (5, Priority::Low)];
        let jobs = roster(jobs.iter().map(|(n, p)| job(*n, *p, false)));
        let begun: Vec<u8> = turns(&jobs).begin.iter().map(|id| id.0[0]).collect();
        assert_eq!(begun, vec![2, 4, 1, 3]);
    }

    #[test]
    fn a_foreground_job_never_waits_for_background_jobs() {
        let mut jobs: Vec<Job> = (1..=4).map(|n| job(n, Priority::Normal, true)).collect();
        jobs.push(job(9, Priority::Foreground, false));
        let turns = turns(&roster(jobs));
        assert_eq!((turns.begin.len(), turns.preempt.len()), (1, 0));
    }

    #[test]
    fn a_more_urgent_job_takes_the_place_of_the_least_urgent() {
        let mut jobs: Vec<Job> = (1..=4).map(|n| job(n, Priority::Low, true)).collect();
        jobs.push(job(9, Priority::High, false));
        jobs.push(job(8, Priority::Low, false));
        let turns = turns(&roster(jobs));
        assert_eq!(turns.begin, vec![JobId([9; 16])]);
        assert_eq!(turns.preempt.len(), 1);
    }
}
