//! `eddy job`: see, make, change and steer jobs.
//!
//! | module | verbs |
//! |---|---|
//! | here | `ls`, `show`, `files`, `filled`, `watch`, `pause`, `resume`, `cancel`, `finish`, `take` |
//! | `headers` | `headers` |
//! | `show` | what `show` writes |
//! | `more` | `create`, `add`, `range`, `auth`, `relocate`, `purge` |
//! | [`set`] | `set` |

mod headers;
mod more;
pub(crate) mod set;
mod show;

use crate::failure::Failure;
use crate::follow;
use crate::link::{Link, Purpose};
use crate::setting::Setting;
use crate::text::table::{Column, table};
use crate::text::units;
use clap::Subcommand;
use eddy_node::control::Client;
use eddy_wire::api::{FileQuery, FileState, FileView, JobAction, JobView, MAX_PAGE, PageQuery, Problem, Sources};
use eddy_wire::catalogue::ErrorCode;
use std::time::Duration;

/// Ranges of a file that are shown.
const MOST_SHOWN: usize = 8;

/// `eddy job ...`.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List the jobs
    Ls,
    /// Show one job with its files
    Show {
        /// Its id
        id: String,
    },
    /// Show what the origins answered last: the status and the header fields, which may hold secrets
    Headers(headers::HeadersArgs),
    /// List the files of a job
    Files {
        /// Its id
        id: String,
    },
    /// Make a job, which waits for `resume` and at its end for `finish`
    Create(Box<more::CreateArgs>),
    /// Give a job more files
    Add(more::AddArgs),
    /// Ask for ranges of a file that is fetched on demand
    Range(more::RangeArgs),
    /// Show what of a job's file is here
    Filled {
        /// Its id
        id: String,
        /// The file, by its number in `eddy job files`
        #[arg(default_value_t = 0)]
        file: u32,
    },
    /// Change what a job says: name, description, priority, peers, retry-delay, give-up-after, max-transfer-time,
    /// header, secret-header, proxy, redirects, hook, while-logged-on,
    /// client-certificate, method, limit, url.N
    Set {
        /// Its id
        id: String,
        /// What to set; times as in 30s, 12h, 30d; an empty value takes a wish away
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Give a job proof of identity for its origins, read from standard input
    Auth(more::AuthArgs),
    /// Replace the beginning of a job's URLs
    Relocate(more::RelocateArgs),
    /// Make jobs your own, without the secrets of their last owner
    Take(Ids),
    /// Cancel all jobs
    Purge(more::PurgeArgs),
    /// Stop jobs and keep what they have
    Pause(Ids),
    /// Go on with jobs, or try again now
    Resume(Ids),
    /// Stop jobs and leave nothing behind
    Cancel(Ids),
    /// Put what is complete at its destination and end the jobs
    Finish(Ids),
    /// Follow a job until it ends
    Watch {
        /// Its id
        id: String,
    },
}

/// Jobs by id.
#[derive(Debug, clap::Args)]
pub struct Ids {
    /// Their ids
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
}

pub(crate) async fn run(command: JobCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        JobCommand::Ls => {
            let jobs = Link::ask(setting, all).await?;
            setting.answer(&jobs, || list(&jobs, setting))
        }
        JobCommand::Show { id } => {
            let job = Link::ask(setting, async |client| client.job(&id).await).await?;
            setting.answer(&job, || show::show(&job, setting))
        }
        JobCommand::Headers(args) => headers::run(args, setting).await,
        JobCommand::Files { id } => {
            let job = Link::ask(setting, async |client| client.job(&id).await).await?;
            setting.answer(&job.files, || files(&job, setting))
        }
        JobCommand::Create(args) => more::create(*args, setting).await,
        JobCommand::Add(args) => more::add(args, setting).await,
        JobCommand::Range(args) => more::range(args, setting).await,
        JobCommand::Filled { id, file } => {
            let filled = Link::ask(setting, async |client| client.filled(&id, &FileQuery { file }).await).await?;
            setting.answer(&filled, || filled.filled.iter().map(|range| format!("{range}\n")).collect())
        }
        JobCommand::Set { id, pairs } => more::change(&id, &set::change(&pairs)?, setting).await,
        JobCommand::Auth(args) => more::auth(args, setting).await,
        JobCommand::Relocate(args) => more::relocate(args, setting).await,
        JobCommand::Take(ids) => act(ids, JobAction::Take, setting).await,
        JobCommand::Purge(args) => more::purge(&args, setting).await,
        JobCommand::Pause(ids) => act(ids, JobAction::Pause, setting).await,
        JobCommand::Resume(ids) => act(ids, JobAction::Resume, setting).await,
        JobCommand::Cancel(ids) => act(ids, JobAction::Cancel, setting).await,
        JobCommand::Finish(ids) => act(ids, JobAction::Finish, setting).await,
        JobCommand::Watch { id } => {
            let client = Link::to_running(setting)?;
            let watch = client.watch(&id).await?;
            let job = follow::to_the_end(watch, setting, follow::Patience::Endless).await?;
            follow::finish(&job, setting, None)
        }
    }
}

async fn act(Ids { ids }: Ids, action: JobAction, setting: &Setting) -> Result<(), Failure> {
    act_on_all(ids, (action, |_| false), setting).await
}

/// Does it to every job, whatever becomes of the others: those that it was done to are told, then what failed. `is_done` says of a
/// problem that the job is as it was wanted without this.
async fn act_on_all(
    ids: Vec<String>,
    (action, is_done): (JobAction, fn(&Problem) -> bool),
    setting: &Setting,
) -> Result<(), Failure> {
    let link = Link::to_any(setting, Purpose::Look).await?;
    if link.is_inside() {
        setting.note(&format!("no daemon runs here to carry on with jobs; start one: {}", setting.start_command()));
    }
    let client = link.client.clone();
    let (mut jobs, mut failed) = (Vec::new(), Vec::new());
    for id in &ids {
        match client.act(id, action).await {
            Ok(job) => jobs.push(job),
            Err(problem) if is_done(&problem) => {}
            Err(problem) => {
                let is_gone = problem.error_code() == Some(ErrorCode::DaemonUnreachable);
                failed.push((id, problem));
                if is_gone {
                    break;
                }
            }
        }
    }
    link.close().await;
    if !jobs.is_empty() || failed.is_empty() {
        setting.answer(&jobs, || jobs.iter().map(brief).collect())?;
    }
    let mut failed = failed.into_iter();
    let Some((_, first)) = failed.next() else { return Ok(()) };
    failed.for_each(|(id, problem)| setting.note(&format!("{id}: {problem}")));
    Err(first.into())
}

/// One line about a job.
fn brief(job: &JobView) -> String {
    format!("{} {}: {}\n", short(job), name(job), job.state.word())
}

/// All pages.
pub(crate) async fn all(client: Client) -> Result<Vec<JobView>, Problem> {
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let page = client.jobs(&PageQuery { after, limit: Some(MAX_PAGE) }).await?;
        jobs.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(jobs);
        }
    }
}

/// The job's id, harmless on a terminal.
fn short(job: &JobView) -> String {
    crate::text::safe::line(&job.id)
}

/// The job's name, harmless on a terminal.
fn name(job: &JobView) -> String {
    crate::text::safe::line(&job.name)
}

fn list(jobs: &[JobView], setting: &Setting) -> String {
    if jobs.is_empty() {
        return String::from("no jobs\n");
    }
    let mut columns = vec![
        Column::Text("ID"),
        Column::Text("STATE"),
        Column::Number("DONE"),
        Column::Number("LENGTH"),
        Column::Number("RATE"),
        Column::Number("LEFT"),
        Column::Text("NAME"),
    ];
    // To whom a job belongs is a question only where others' jobs are seen.
    let own = rustix::process::getuid().as_raw();
    let has_others = jobs.iter().any(|job| job.owner != own);
    if has_others {
        columns.insert(1, Column::Number("OWNER"));
    }
    let line = |job: &JobView| {
        let length = job.length();
        let mut cells = vec![
            job.id.clone(),
            job.state.word().to_owned(),
            length.map_or_else(
                || setting.sizes.size(job.done()),
                |length| format!("{} %", units::percent(job.done(), length)),
            ),
            setting.sizes.size_if_known(length),
            if job.rate == 0 { String::from("-") } else { setting.sizes.rate(job.rate) },
            job.eta_seconds.map_or_else(|| String::from("-"), |eta| units::duration(Duration::from_secs(eta))),
            job.name.clone(),
        ];
        if has_others {
            cells.insert(1, job.owner.to_string());
        }
        cells
    };
    table(&columns, jobs.iter().map(line))
}

/// The files of a job by the numbers under which commands know them.
fn files(job: &JobView, setting: &Setting) -> String {
    if job.files.is_empty() {
        return String::from("no files\n");
    }
    let columns = [
        Column::Number("FILE"),
        Column::Text("STATE"),
        Column::Number("DONE"),
        Column::Number("LENGTH"),
        Column::Text("RANGES"),
        Column::Text("PATH"),
        Column::Text("URL"),
    ];
    let state = |file: &FileView| match file.state {
        FileState::Waiting => "waiting",
        FileState::Transferring => "transferring",
        FileState::Transferred => "whole",
        FileState::Delivered => "delivered",
        FileState::Failed => "failed",
    };
    let line = |(file, number): (&FileView, usize)| {
        vec![
            number.to_string(),
            state(file).to_owned(),
            setting.sizes.size(file.done),
            setting.sizes.size_if_known(file.length),
            match (file.ranges.is_empty(), file.on_demand) {
                (_, true) => String::from("on demand"),
                (true, false) => String::from("all"),
                (false, false) => ranges(file),
            },
            file.destination.clone(),
            file.url.clone(),
        ]
    };
    table(&columns, job.files.iter().zip(0..).map(line))
}

/// What is wanted of a file, if not all; of very many ranges the first.
fn ranges(file: &FileView) -> String {
    let shown: Vec<String> = file.ranges.iter().take(MOST_SHOWN).map(ToString::to_string).collect();
    match file.ranges.len().checked_sub(MOST_SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(",")),
        _ => shown.join(","),
    }
}

/// Where bytes came from: only what is not nothing, or `nothing yet`.
pub(crate) fn sources(sources: Sources, setting: &Setting) -> String {
    let named: Vec<_> = [("origin", sources.origin), ("peers", sources.peers), ("cache", sources.cache)]
        .iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(name, bytes)| format!("{name} {}", setting.sizes.size(*bytes)))
        .collect();
    if named.is_empty() { String::from("nothing yet") } else { named.join(", ") }
}
