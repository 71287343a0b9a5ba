//! Why a job does not move, since when, what comes next, and what would change it: the answer of `eddy why`.

use super::view::{self, Clock};
use eddy_engine::engine::TurnWait;
use eddy_engine::job::live::Job;
use eddy_engine::{Finish, JobState};
use eddy_wire::api::{Problem, Waiting};
use std::time::Duration;

/// What the job waits for, or does.
pub(super) fn of(job: &Job, turn: Option<TurnWait>, clock: Clock) -> Waiting {
    let id = job.id();
    let since = job.no_progress_since().filter(|_| job.failure().is_some()).unwrap_or_else(|| job.since());
    // What happened before the node started is known by the wall's clock alone.
    let written = || u64::try_from(job.life().touched).ok().filter(|at| *at > 0).map(|at| at.saturating_mul(1000));
    let since_unix_ms = if since > Duration::ZERO { Some(clock.unix_ms(since)) } else { written() };
    let told = |reason: &str, sentence: &str, remedy: String| Waiting {
        reason: reason.to_owned(),
        sentence: sentence.to_owned(),
        since_unix_ms,
        until_unix_ms: None,
        remedy,
    };
    let nothing = || "Nothing has to be done.".to_owned();
    match job.state() {
        _ if job.is_completing() => told("delivering", "its files are being put in place", nothing()),
        JobState::Queued => Waiting { since_unix_ms, ..of_turn(turn, id.to_string(), clock) },
        JobState::TransientError | JobState::Error => of_fault(job, since_unix_ms, clock),
        JobState::Suspended | JobState::Transferred if job.failure().is_some() => of_fault(job, since_unix_ms, clock),
        JobState::Suspended => {
            told("paused", "somebody paused it, or never let it run", format!("eddy job resume {id}"))
        }
        JobState::Connecting => told("connecting", "the origin is being asked, and has not answered yet", nothing()),
        JobState::Transferring => told("transferring", "bytes arrive", nothing()),
        JobState::Transferred if job.spec().finish == Finish::Manual => {
            told("finish", "everything is here and waits for its owner to finish it", format!("eddy job finish {id}"))
        }
        JobState::Transferred => told("delivering", "its files are about to be put in place", nothing()),
        JobState::Acknowledged | JobState::Cancelled => told("ended", "it has ended", nothing()),
    }
}

/// Why it does not have the turn.
fn of_turn(turn: Option<TurnWait>, id: String, clock: Clock) -> Waiting {
    let hurry = format!("It goes on by itself; sooner with: eddy job set {id} priority=foreground");
    let (reason, sentence, until, remedy) = match turn {
        Some(TurnWait::NoTurns) => {
            ("no-node", "no daemon runs, and this command only looks", None, "Start one with `eddy daemon`.".to_owned())
        }
        Some(TurnWait::OwnerAway) => (
            "owner-away",
            "it runs only while its owner is logged on, and its owner has no session",
            None,
            format!("It goes on when its owner logs on; without that: eddy job set {id} while-logged-on=no"),
        ),
        Some(TurnWait::SessionsUnknown) => (
            "sessions-unknown",
            "it runs only while its owner is logged on, and systemd-logind, which knows that, does not answer",
            None,
            format!("Start systemd-logind and the system's D-Bus; without them: eddy job set {id} while-logged-on=no"),
        ),
        Some(TurnWait::HostSpared(until)) => (
            "host-spared",
            "its host did not answer, or asked for a pause, when other jobs asked it",
            Some(clock.unix_ms(until)),
            format!(
                "It goes on by itself when the host answers; to ask at once: eddy job set {id} priority=foreground"
            ),
        ),
        Some(TurnWait::HostTried) => {
            ("host-tried", "its host did not answer before, and another job finds out whether it does", None, hurry)
        }
        Some(TurnWait::HostBusy) => ("host-busy", "as many jobs as may are at its host", None, hurry),
        Some(TurnWait::OwnerBusy) => ("owner-busy", "as many jobs of its owner as may are running", None, hurry),
        Some(TurnWait::PlacesTaken) | None => {
            ("places-taken", "other jobs, as urgent or more, have all the places", None, hurry)
        }
    };
    let sentence = sentence.to_owned();
    Waiting { reason: reason.to_owned(), sentence, since_unix_ms: None, until_unix_ms: until, remedy }
}

/// What stopped it.
fn of_fault(job: &Job, since_unix_ms: Option<u64>, clock: Clock) -> Waiting {
    let problem: Option<Problem> = view::problem_of(job);
    let until_unix_ms = job.retry_at().map(|at| clock.unix_ms(at));
    let Some(problem) = problem else {
        let (reason, sentence) = ("internal".to_owned(), "it stopped without a reason".to_owned());
        let remedy = format!("eddy job resume {}", job.id());
        return Waiting { reason, sentence, since_unix_ms, until_unix_ms, remedy };
    };
    let again = match job.state() {
        JobState::TransientError => String::new(),
        _ => format!(" Then: eddy job resume {}", job.id()),
    };
    Waiting {
        reason: problem.code.clone(),
        sentence: problem.to_string(),
        since_unix_ms,
        until_unix_ms,
        remedy: problem.remedy + &again,
    }
}
