//! Commands, each answered.

use super::command::{self, Command, Refusal, Whose};
use super::execute::{Bound, Holder};
use super::{Driver, Durability};
use crate::transfer::open::Arrivals;
use eddy_engine::engine::CommandError;
use eddy_engine::job::live::Job;
use eddy_engine::{JobId, Now, Owner};
use eddy_wire::api::{EventKind, JobView};
use tokio::sync::watch;

impl Driver {
    pub(super) async fn on_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Create { spec, start, answer } => {
                let made = self.make(vec![(*spec, start)]).await.pop().unwrap_or(Err(Refusal::Stopping));
                let _ = answer.send(made.and_then(|id| self.view(Whose::Anybodys, id)));
            }
            Command::CreateAll { wishes, answer } => {
                let _ = answer.send(self.make(wishes).await);
            }
            Command::Amend { whose, job, change, answer } => {
                let owner = self.engine.job(job).map(Job::owner);
                let amended = self.amend((now, whose), job, change);
                self.settle().await;
                if amended.is_ok() {
                    self.executor.heed_limit(&self.engine, job);
                    let is_taken = owner != self.engine.job(job).map(Job::owner);
                    if is_taken {
                        // What was answered to the last owner may be a secret of theirs (F-84).
                        self.executor.forget_heads(job).await;
                        // What is done for it from now on is done as its new owner.
                        self.executor.forget_destinations(job);
                        // Who followed it followed their own.
                        self.watchers.end(job);
                    }
                    self.tell(vec![(job, if is_taken { EventKind::Taken } else { EventKind::Changed })]).await;
                }
                let written = amended.and_then(|()| self.written(job));
                let _ = answer.send(written.and_then(|()| self.view(Whose::Anybodys, job)));
            }
            Command::Wish { whose, job, file, answer } => {
                let wish = self.job(whose, job).and_then(|job| {
                    let file = job.files().get(file as usize).ok_or(Refusal::Command(CommandError::NoSuchFile))?;
                    Ok(command::Wish {
                        spec: file.spec().clone(),
                        length: file.length(),
                        is_staged: file.is_staged(),
                        opened: file.opened(),
                    })
                });
                self.engine.put_away(job);
                let _ = answer.send(wish);
            }
            Command::Find { whose, prefix, answer } => {
                let found = self.engine.jobs_from(prefix.first).take_while(|job| prefix.is_of(job.id()));
                let _ = answer.send(found.filter(|job| whose.has(job.owner())).map(Job::id).take(2).collect());
            }
            Command::Act { whose, job, act, answer } => {
                let done = self.job(whose, job).map(|_| ()).and_then(|()| {
                    let done = match act {
                        command::Act::Resume => self.engine.resume(now, job),
                        command::Act::Suspend => self.engine.suspend(now, job),
                        command::Act::Cancel => self.engine.cancel(now, job),
                        command::Act::Complete => self.engine.complete(now, job),
                    };
                    done.map_err(Refusal::Command)
                });
                self.settle().await;
                let seen = done.and_then(|()| self.view(Whose::Anybodys, job));
                // Who is told that a job has ended counts on it to stay so.
                self.executor.discards.once_erased(job, Box::new(move || drop(answer.send(seen))));
            }
            Command::Owner { whose, job, answer } => {
                let _ = answer.send(self.job(whose, job).map(Job::owner));
            }
            Command::View { whose, job, answer } => {
                let _ = answer.send(self.view(whose, job));
            }
            Command::List { whose, after, most, answer } => {
                let _ = answer.send(self.list(whose, after, most));
            }
            Command::Ids { whose, answer } => {
                let _ = answer.send(self.ids(whose));
            }
            Command::Places { whose, files, answer } => {
                let _ = answer.send(self.places(whose, files));
            }
            Command::Standing { answer } => {
                let _ = answer.send(self.engine.standing());
            }
            Command::Watch { whose, job, answer } => {
                let _ = answer.send(self.watch(whose, job));
            }
            Command::Hold { order, answer } => self.hold(*order, answer).await,
            Command::IsBusy { answer } => {
                let _ = answer.send(self.engine.is_busy());
            }
            Command::IsNeeded { answer } => {
                let _ = answer.send(self.engine.is_busy() || self.engine.awaits_owners());
            }
        }
    }

    fn amend(&mut self, (now, whose): (Now, Whose), id: JobId, change: command::Change) -> Result<(), Refusal> {
        let amendment = change(self.job(whose, id)?).map_err(|problem| Refusal::Problem(Box::new(problem)));
        self.engine.put_away(id);
        self.engine.amend(now, id, amendment?).map_err(Refusal::Command)
    }

    /// Refuses to say that a change will last, where it must and does not.
    fn written(&self, job: JobId) -> Result<(), Refusal> {
        match self.executor.unsaved(job).filter(|_| self.durability == Durability::Required) {
            None => Ok(()),
            Some(failure) => Err(Refusal::Unwritten(Box::new(failure.clone()))),
        }
    }

    /// Makes a job that holds an entity, and has its first question answered by what the asker knows already.
    async fn hold(&mut self, order: command::HoldOrder, answer: Holder) {
        let id = JobId(rand::random());
        let (origin, naming, recent) = (order.origin, order.naming, order.recent);
        let bound = Bound { origin, naming, recent, arrivals: Arrivals::default() };
        self.executor.expect(id, order.given, bound, answer);
        self.engine.create(self.now(), id, Owner(rustix::process::geteuid().as_raw()), order.spec);
        let _ = self.engine.resume(self.now(), id);
        self.settle().await;
    }

    fn watch(&mut self, whose: Whose, job: JobId) -> Result<watch::Receiver<JobView>, Refusal> {
        let view = self.view(whose, job)?;
        if view.state.is_final() {
            // The last view, from a sender that is gone.
            return Ok(watch::channel(view).1);
        }
        let now = self.now().mono;
        let job = self.engine.job(job).ok_or(Refusal::Command(CommandError::NoSuchJob))?;
        Ok(self.watchers.follow(now, job, view))
    }
}
