//! What others may ask of the driver.

use super::execute::Given;
use crate::origin::Origin;
use crate::transfer::open::Arrivals;
use crate::transfer::recent::Recent;
use eddy_cache::{EntityHandle, Privacy};
use eddy_content::EntityId;
use eddy_engine::engine::{Amendment, CommandError};
use eddy_engine::job::live::Job;
use eddy_engine::roster::Standing;
use eddy_engine::{Failure, FileRef, FileSpec, JobId, JobSpec, Owner};
use eddy_wire::api::{JobView, Problem};
use std::collections::{HashMap, HashSet};
use tokio::sync::{mpsc, oneshot, watch};

/// What may be done to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Let it run.
    Resume,
    /// Stop it and keep everything.
    Suspend,
    /// Stop it and leave nothing behind.
    Cancel,
    /// Deliver what is whole and end it.
    Complete,
}

/// How a job is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whether it runs at once.
    pub is_running: bool,
    /// Whether a job with the same files that has not ended is taken instead.
    pub is_adopting: bool,
    /// Whether its maker follows it to its end, so that it may run without being written down.
    pub is_followed: bool,
    /// The id that a repeated request would name as well.
    pub id: Option<JobId>,
    /// To whom it will belong.
    pub owner: Owner,
}

/// Whose jobs there are for an asker: all others do not exist for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    Anybodys,
    /// One user's.
    Only(Owner),
}

impl Whose {
    /// Whether what belongs to `owner` is there.
    #[must_use]
    pub fn has(self, owner: Owner) -> bool {
        self == Self::Anybodys || self == Self::Only(owner)
    }
}

/// Makes an amendment for a job as it is.
pub type Change = Box<dyn FnOnce(&Job) -> Result<Amendment, Problem> + Send>;

/// How an id begins.
#[derive(Debug, Clone)]
pub struct IdPrefix {
    pub(super) first: JobId,
    text: String,
}

impl IdPrefix {
    /// Reads hexadecimal digits; `None` when no id begins like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let first = format!("{text:0<32}").parse().ok()?;
        Some(Self { first, text })
    }

    pub(super) fn is_of(&self, id: JobId) -> bool {
        id.to_string().starts_with(&self.text)
    }
}

/// What is to be held in the store for whoever reads it there while it comes.
pub struct HoldOrder {
    /// A job of one file without a destination.
    pub spec: JobSpec,
    /// The origin's answer, which the asker has, so that nothing is asked twice.
    pub given: Given,
    /// Where the bytes that come from the origin are shown before they are written.
    pub recent: Option<Recent>,
    /// The way to the origin that the job is bound to: a client's URL may reach less than an administrator's (T-20).
    pub origin: Origin,
    /// By which URL its content is known.
    pub naming: Naming,
}

/// By which URL content is known, here and among members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// That of the place where its redirects end.
    #[default]
    Place,
    /// That which is asked for: the place has another one each time, signed anew, and a digest names the content. Whether members may have it
    /// though the place is signed.
    Asked(Privacy),
}

/// An entity that is being filled.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The job that fills it.
    pub job: JobId,
    /// The entity.
    pub entity: EntityHandle,
    /// Told of each arrival.
    pub arrivals: Arrivals,
}

/// Why the driver did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The engine refused.
    #[error(transparent)]
    Command(CommandError),
    /// The job could not be written down, so it was not made (promise 7).
    #[error("the job cannot be written down: {}", .0.detail)]
    NotDurable(Box<Failure>),
    /// The change was made, and is not written down (promise 7).
    #[error("the change is not written down: {}", .0.detail)]
    Unwritten(Box<Failure>),
    /// The store does not take it in.
    #[error("it cannot be held: {}", .0.detail)]
    NotHeld(Box<Failure>),
    /// The node refuses it for this reason.
    #[error("{}", .0.title)]
    Problem(Box<Problem>),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// What a file of a job asks for, and what is known of it.
pub struct Wish {
    /// What was asked for.
    pub spec: FileSpec,
    /// Its length, once the origin has named it.
    pub length: Option<u64>,
    /// Whether all of it is there.
    pub is_staged: bool,
    /// The version that its origin has shown to the job, as far as it is remembered.
    pub opened: Option<EntityId>,
}

/// From where a file of a job comes and where it goes, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// The URL, redacted.
    pub url: String,
    /// The destination.
    pub destination: String,
}

/// A page of jobs.
#[derive(Debug, Clone)]
pub struct Listed {
    /// At least one, if there is one.
    pub jobs: Vec<JobView>,
    /// Whether there are more behind them.
    pub is_more: bool,
}

pub(super) enum Command {
    Create { spec: Box<JobSpec>, start: Start, answer: oneshot::Sender<Result<JobView, Refusal>> },
    CreateAll { wishes: Vec<(JobSpec, Start)>, answer: oneshot::Sender<Vec<Result<JobId, Refusal>>> },
    Act { whose: Whose, job: JobId, act: Act, answer: oneshot::Sender<Result<JobView, Refusal>> },
    Owner { whose: Whose, job: JobId, answer: oneshot::Sender<Result<Owner, Refusal>> },
    View { whose: Whose, job: JobId, answer: oneshot::Sender<Result<JobView, Refusal>> },
    Amend { whose: Whose, job: JobId, change: Change, answer: oneshot::Sender<Result<JobView, Refusal>> },
    Wish { whose: Whose, job: JobId, file: u32, answer: oneshot::Sender<Result<Wish, Refusal>> },
    Find { whose: Whose, prefix: IdPrefix, answer: oneshot::Sender<Vec<JobId>> },
    List { whose: Whose, after: Option<(i64, JobId)>, most: usize, answer: oneshot::Sender<Listed> },
    Ids { whose: Whose, answer: oneshot::Sender<HashSet<JobId>> },
    Places { whose: Whose, files: Vec<FileRef>, answer: oneshot::Sender<HashMap<FileRef, FilePlace>> },
    Standing { answer: oneshot::Sender<Standing> },
    Watch { whose: Whose, job: JobId, answer: oneshot::Sender<Result<watch::Receiver<JobView>, Refusal>> },
    IsBusy { answer: oneshot::Sender<bool> },
    IsNeeded { answer: oneshot::Sender<bool> },
    Hold { order: Box<HoldOrder>, answer: oneshot::Sender<Result<Holding, Refusal>> },
}

/// The way to the driver. A command that was sent is carried out whole, even if its asker goes away.
#[derive(Debug, Clone)]
pub struct DriverHandle {
    commands: mpsc::Sender<Command>,
}

impl DriverHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    /// Makes a job; durable when this returns.
    pub async fn create(&self, spec: JobSpec, start: Start) -> Result<JobView, Refusal> {
        self.ask(|answer| Command::Create { spec: Box::new(spec), start, answer }).await?
    }

    /// Makes jobs, each by itself; those that were made are durable when this returns.
    pub async fn create_all(&self, wishes: Vec<(JobSpec, Start)>) -> Result<Vec<Result<JobId, Refusal>>, Refusal> {
        self.ask(|answer| Command::CreateAll { wishes, answer }).await
    }

    /// Does something to a job.
    pub async fn act(&self, whose: Whose, job: JobId, act: Act) -> Result<JobView, Refusal> {
        self.ask(|answer| Command::Act { whose, job, act, answer }).await?
    }

    /// One job.
    pub async fn view(&self, whose: Whose, job: JobId) -> Result<JobView, Refusal> {
        self.ask(|answer| Command::View { whose, job, answer }).await?
    }

    /// Whose a job is.
    pub async fn owner(&self, whose: Whose, job: JobId) -> Result<Owner, Refusal> {
        self.ask(|answer| Command::Owner { whose, job, answer }).await?
    }

    /// Changes a job.
    pub async fn amend(&self, whose: Whose, job: JobId, change: Change) -> Result<JobView, Refusal> {
        self.ask(|answer| Command::Amend { whose, job, change, answer }).await?
    }

    /// What a file of a job asks for.
    pub async fn wish(&self, whose: Whose, job: JobId, file: u32) -> Result<Wish, Refusal> {
        self.ask(|answer| Command::Wish { whose, job, file, answer }).await?
    }

    /// At most two jobs whose ids begin like this.
    pub async fn find(&self, whose: Whose, prefix: IdPrefix) -> Result<Vec<JobId>, Refusal> {
        self.ask(|answer| Command::Find { whose, prefix, answer }).await
    }

    /// The jobs behind a point in the order in which they were made: at most `most`, and fewer where they are large.
    pub async fn list(&self, whose: Whose, after: Option<(i64, JobId)>, most: usize) -> Result<Listed, Refusal> {
        self.ask(|answer| Command::List { whose, after, most, answer }).await
    }

    /// The jobs that there are.
    pub async fn ids(&self, whose: Whose) -> Result<HashSet<JobId>, Refusal> {
        self.ask(|answer| Command::Ids { whose, answer }).await
    }

    /// From where files come and where they go, of those that are there.
    pub async fn places(&self, whose: Whose, files: Vec<FileRef>) -> Result<HashMap<FileRef, FilePlace>, Refusal> {
        self.ask(|answer| Command::Places { whose, files, answer }).await
    }

    /// How many jobs there are.
    pub async fn standing(&self) -> Result<Standing, Refusal> {
        self.ask(|answer| Command::Standing { answer }).await
    }

    /// Follows a job; the sender is dropped after the last view.
    pub async fn watch(&self, whose: Whose, job: JobId) -> Result<watch::Receiver<JobView>, Refusal> {
        self.ask(|answer| Command::Watch { whose, job, answer }).await?
    }

    /// Whether some job runs or will run by itself.
    pub async fn is_busy(&self) -> Result<bool, Refusal> {
        self.ask(|answer| Command::IsBusy { answer }).await
    }

    /// Whether some job runs, will run by itself, or will run when its owner logs on.
    pub async fn is_needed(&self) -> Result<bool, Refusal> {
        self.ask(|answer| Command::IsNeeded { answer }).await
    }

    /// Has an entity filled, and gives it as soon as it is open; [`Refusal::NotHeld`] where it cannot be opened.
    pub async fn hold(&self, order: HoldOrder) -> Result<Holding, Refusal> {
        self.ask(|answer| Command::Hold { order: Box::new(order), answer }).await?
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Refusal::Stopping)?;
        answered.await.map_err(|_| Refusal::Stopping)
    }
}
