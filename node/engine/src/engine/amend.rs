//! Amendments: what its owner changes about a job that is there already.

use super::{CommandError, Engine};
use crate::file::File;
use crate::job::live::Job;
use crate::job::portion::{Demand, Portion};
use crate::job::spec::{FileSpec, JobId, JobSpec, PeerUse, Priority};
use crate::job::state::{IllegalTransition, JobEvent, JobState};
use crate::job::terms::{Owner, Terms};
use crate::port::Now;
use eddy_content::ResourceUrl;

/// What is to be changed; what is not named stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amendment {
    /// The owner's name for it.
    pub name: Option<String>,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// Whether peers are used.
    pub peers: Option<PeerUse>,
    /// What else it says.
    pub terms: Option<Terms>,
    /// Other URLs of files, by their place.
    pub urls: Vec<(u32, ResourceUrl)>,
    /// More files.
    pub files: Vec<FileSpec>,
    /// What is asked for of files on demand, by their place.
    pub demands: Vec<(u32, Demand)>,
    /// To whom it belongs from now on.
    pub owner: Option<Owner>,
}

impl Amendment {
    /// What the job asks for once it is amended; nothing is changed.
    pub fn onto(&self, job: &Job) -> Result<JobSpec, CommandError> {
        self.onto_wish(job, &job.record().spec())
    }

    fn onto_wish(&self, job: &Job, old: &JobSpec) -> Result<JobSpec, CommandError> {
        let mut spec = JobSpec {
            name: self.name.clone().unwrap_or_else(|| old.name.clone()),
            priority: self.priority.unwrap_or(old.priority),
            peers: self.peers.unwrap_or(old.peers),
            terms: self.terms.clone().unwrap_or_else(|| old.terms.clone()),
            ..old.clone()
        };
        for (at, url) in &self.urls {
            let is_changeable = job.files().get(*at as usize).is_some_and(|file| !file.is_published());
            let file = spec.files.get_mut(*at as usize).filter(|_| is_changeable).ok_or(CommandError::NoSuchFile)?;
            if file.url.origin() != url.origin() {
                // They were given for that origin, and are shown to no other.
                file.credentials = None;
            }
            file.url = url.clone();
        }
        if self.owner.is_some_and(|owner| owner != job.owner()) {
            // Those of its last owner are not the next one's to use (F-84).
            spec.files.iter_mut().for_each(|file| file.credentials = None);
        }
        for (at, demand) in &self.demands {
            let file = spec.files.get_mut(*at as usize).ok_or(CommandError::NoSuchFile)?;
            if file.portion.demand().is_none() {
                return Err(CommandError::NotOnDemand);
            }
            file.portion = Portion::OnDemand(demand.clone());
        }
        spec.files.extend(self.files.iter().cloned());
        Ok(spec)
    }
}

impl Engine {
    /// Changes a job that has not ended. A turn goes on where nothing changes that its transfers know; otherwise it begins
    /// anew, with what is durable.
    pub fn amend(&mut self, now: Now, id: JobId, amendment: Amendment) -> Result<(), CommandError> {
        self.begin(now);
        let job = self.roster.get(id).ok_or(CommandError::NoSuchJob)?;
        let state = job.state();
        // While files become visible, what they are is settled.
        if state.is_final() || job.is_completing() {
            let event = JobEvent::FilesAdded;
            return Err(CommandError::WrongState(IllegalTransition { state, event }));
        }
        let old = job.record().spec();
        let spec = amendment.onto_wish(job, &old)?;
        // What is demanded of a file that is done with this turn.
        let is_satisfied = |at: u32| job.files().get(at as usize).is_some_and(File::is_satisfied);
        let is_awaited = amendment.demands.iter().any(|(at, _)| is_satisfied(*at));
        let (is_longer, owner) = (!amendment.files.is_empty(), amendment.owner);
        let begins_anew = state.is_active() && (is_awaited || is_felt(&old, &spec));
        if begins_anew {
            self.preempt(id);
        }
        let Some(job) = self.roster.get_mut(id) else { return Err(CommandError::NoSuchJob) };
        let is_slowed_down = old.terms.limit.is_none() && spec.terms.limit.is_some();
        job.amend(spec);
        if is_slowed_down {
            job.slow_down(now.mono, &mut self.out);
        }
        if let Some(owner) = owner {
            job.life_mut().owner = owner;
        }
        if is_longer && state == JobState::Transferred {
            self.transit(id, JobEvent::FilesAdded);
        }
        self.persist(id);
        self.attend_sessions(id);
        self.heed_sessions(id);
        self.run(now);
        Ok(())
    }
}

/// Whether transfers under way would go another way.
fn is_felt(old: &JobSpec, new: &JobSpec) -> bool {
    let shown = |terms: &Terms| (terms.headers.clone(), terms.authorization.clone(), terms.ties.certificate.clone());
    let network = |terms: &Terms| (shown(terms), terms.proxy.clone(), terms.redirects);
    // What is asked for on demand is taken up in mid-turn.
    let is_demanded = |old: &FileSpec, new: &FileSpec| {
        new.portion.demand().is_some() && FileSpec { portion: new.portion.clone(), ..old.clone() } == *new
    };
    let is_other = |(old, new): (&FileSpec, &FileSpec)| old != new && !is_demanded(old, new);
    old.peers != new.peers
        || network(&old.terms) != network(&new.terms)
        || old.files.iter().zip(&new.files).any(is_other)
}
