//! `eddy get`: fetch files, by the daemon or by a node inside this command.

use crate::daemon::StopSignal;
use crate::failure::Failure;
use crate::follow::{self, Patience};
use crate::job::set::{self, Secrecy};
use crate::link::{Link, Purpose};
use crate::seen;
use crate::setting::{Setting, utf8};
use clap::{Args, ValueEnum};
use eddy_node::control::Client;
use eddy_wire::api::check::{file_name, parse_ranges, parse_url};
use eddy_wire::api::terms::limit_in_force;
use eddy_wire::api::{
    Asking, FileSpec, Finish, JobAction, JobChange, JobSpec, JobState, PeerUse, Priority, Problem, SwarmView, Terms,
};
use eddy_wire::catalogue::ErrorCode;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a command that is done stays for machines that fetch the same.
const STAY: Duration = Duration::from_secs(30);
/// How often it looks whether there still are some.
const STAY_LOOK: Duration = Duration::from_millis(200);

/// `eddy get`.
#[derive(Debug, Args)]
#[command(after_help = "The same command goes on where an interrupted one stopped.\n\
                        Standard output has one line for each file: blake3 HEX  PATH")]
pub struct GetArgs {
    /// What to fetch: http and https
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,
    /// Where to put it: a file, or a directory; by default the URL's file name in this directory
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// The digest that the file must have: sha256:HEX, also blake3, sha512, sha1, md5
    #[arg(long, value_name = "ALGORITHM:HEX")]
    pub digest: Option<String>,
    /// Fetch these ranges only, one behind the other into the file: 0-1023,4096- (first and last byte, counted from 0)
    #[arg(long, value_name = "RANGES")]
    pub range: Option<String>,
    /// Replace a file that already stands at the destination
    #[arg(long)]
    pub overwrite: bool,
    /// Whose turn it is when not everything fits: foreground, high, normal or low; foreground unless somebody says otherwise, normal with
    /// --background
    #[arg(long, value_enum, hide_possible_values = true)]
    pub priority: Option<PriorityArg>,
    /// Hand the job to the daemon, print its id and return
    #[arg(long)]
    pub background: bool,
    /// Let the job wait while you are not logged on
    #[arg(long, requires = "background")]
    pub while_logged_on: bool,
    /// Neither take bytes from peers nor give them any
    #[arg(long)]
    pub no_peers: bool,
    /// Show the origin a header field, or those of a file (@FILE, or @- for standard input); it is never shown again and makes the
    /// file private
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Ask with this method of HTTP instead of GET: once, past cache and peers
    #[arg(long, value_name = "METHOD", conflicts_with = "priority")]
    pub method: Option<String>,
    /// Take at most so much from the origin: 5MB/s; what peers give is not counted
    #[arg(long, value_name = "RATE")]
    pub limit: Option<String>,
    /// Ask the origin even about a file whose lifetime, as the origin gave it, is not over
    #[arg(long)]
    pub refresh: bool,
    /// Keep trying even if nothing can be fetched yet
    #[arg(long)]
    pub wait: bool,
}

/// Seconds without progress that `--wait` bears, as a job in the background does: 14 days.
const WAIT: u64 = 14 * 24 * 60 * 60;

/// The priorities as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriorityArg {
    /// Somebody waits for it
    Foreground,
    /// Before the ordinary
    High,
    /// The ordinary
    Normal,
    /// When nothing else is to be done
    Low,
}

impl From<PriorityArg> for Priority {
    fn from(priority: PriorityArg) -> Self {
        match priority {
            PriorityArg::Foreground => Self::Foreground,
            PriorityArg::High => Self::High,
            PriorityArg::Normal => Self::Normal,
            PriorityArg::Low => Self::Low,
        }
    }
}

pub(crate) async fn run(args: GetArgs, setting: &Setting) -> Result<(), Failure> {
    let spec = specify(&args)?;
    if args.background {
        let job = Link::to_running(setting)?.create_job(&spec).await?;
        return setting.answer(&job, || format!("{}\n", crate::text::safe::line(&job.id)));
    }
    let mut stop = StopSignal::listen()?;
    let link = Link::to_any(setting, Purpose::Transfer).await?;
    let mut job = None;
    let outcome = tokio::select! {
        outcome = fetch(&link.client, &spec, &args, &mut job, setting) => outcome,
        () = stop.next() => Err(Failure::from(ErrorCode::Interrupted)),
    };
    if outcome.is_ok() && link.is_inside() {
        // What was asked for is there: an interruption ends the stay and nothing else.
        tokio::select! {
            () = stay(&link.client, setting) => {}
            () = stop.next() => {}
        }
    }
    let interrupted = matches!(&outcome, Err(failure) if failure.is(ErrorCode::Interrupted));
    let leave = async {
        let outcome = if interrupted { Err(interrupt(&link, job.as_deref()).await) } else { outcome };
        link.close().await;
        outcome
    };
    tokio::select! {
        outcome = leave => outcome,
        // Whoever asks twice is in a hurry; what is not durable yet is fetched again.
        () = stop.next() => Err(ErrorCode::Interrupted.into()),
    }
}

/// Whether an argument that is no URL may be where the file is to go: behind the URLs, as `cp` has it.
fn may_be_path(args: &GetArgs, place: usize) -> bool {
    place > 0 && place + 1 == args.urls.len() && args.output.is_none() && !args.urls[place].contains("://")
}

fn with_output(mut problem: Problem) -> Problem {
    problem.remedy = format!("Is it where the file is to go? Then: eddy get URL -o PATH. Else: {}", problem.remedy);
    problem
}

/// What the arguments ask for; everything that can be refused without a node is refused here.
fn specify(args: &GetArgs) -> Result<JobSpec, Failure> {
    if args.digest.is_some() && args.urls.len() > 1 {
        return Err(Failure::new(ErrorCode::BadUsage, "--digest is for one URL"));
    }
    if args.range.is_some() && args.urls.len() > 1 {
        return Err(Failure::new(ErrorCode::BadUsage, "--range is for one URL"));
    }
    let ranges = args.range.as_deref().map_or(Ok(Vec::new()), parse_ranges)?;
    let mut files = Vec::new();
    for (place, url) in args.urls.iter().enumerate() {
        parse_url(url).map_err(|problem| if may_be_path(args, place) { with_output(problem) } else { problem })?;
        let path = destination(url, args.output.as_deref(), args.urls.len())?;
        let path = resolve(&path)?;
        // The node asks again when it puts the file there; this only spares the user the wait.
        if !args.overwrite && path.symlink_metadata().is_ok() {
            return Err(Failure::new(ErrorCode::DestinationExists, path.display().to_string()));
        }
        let destination = utf8(&path)?;
        files.push(FileSpec {
            url: url.clone(),
            destination,
            digest: args.digest.clone(),
            overwrite: args.overwrite,
            ranges: ranges.clone(),
            on_demand: false,
        });
    }
    let mut headers = Vec::new();
    for text in &args.headers {
        headers.extend(set::headers(text, Secrecy::Kept)?);
    }
    // Nobody waits for what is handed over: it takes no place of those who do.
    let usual = if args.background { PriorityArg::Normal } else { PriorityArg::Foreground };
    let spec = JobSpec {
        files,
        name: None,
        priority: args.priority.unwrap_or(usual).into(),
        peers: PeerUse { fetch: !args.no_peers, share: !args.no_peers },
        start: true,
        finish: Finish::Auto,
        asking: args.refresh.then_some(Asking::Always),
        // An interrupted or killed command left its job behind; the same command goes on with it.
        adopt: true,
        terms: Terms {
            while_logged_on: args.while_logged_on.then_some(true),
            headers,
            method: args.method.clone(),
            limit_bytes_per_second: args.limit.as_deref().map(set::limit).transpose()?,
            give_up_after_seconds: args.wait.then_some(WAIT),
            ..Terms::default()
        },
        followed: !args.background,
    };
    spec.check()?;
    Ok(spec)
}

/// Where one of `count` URLs goes. The name is never chosen by the origin: only by the user, or by the URL (T-27).
fn destination(url: &str, output: Option<&Path>, count: usize) -> Result<PathBuf, Failure> {
    let is_directory = |path: &Path| path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir();
    let directory = match output {
        Some(path) if !is_directory(path) && count > 1 => {
            let detail = format!("-o {} is no directory, and {count} files cannot be one", path.display());
            return Err(Failure::new(ErrorCode::BadDestination, detail));
        }
        Some(path) if !is_directory(path) => return Ok(path.to_owned()),
        Some(path) => path,
        None => Path::new(""),
    };
    let name = file_name(url)
        .ok_or_else(|| Failure::new(ErrorCode::BadDestination, "the URL suggests no file name; name one with -o"))?;
    Ok(directory.join(name))
}

/// A path as somebody types it, as the node takes it.
pub(crate) fn place(path: &Path) -> Result<String, Failure> {
    utf8(&resolve(path)?)
}

/// The absolute path, with the user's own links and `..` on the way followed: the node follows none.
fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let shown = path.display();
    let name =
        path.file_name().ok_or_else(|| Failure::new(ErrorCode::BadDestination, format!("{shown}: no file name")))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = directory.canonicalize().map_err(|error| {
        let code = match error.kind() {
            ErrorKind::NotFound => ErrorCode::DestinationNoParent,
            _ => ErrorCode::DestinationNotWritable,
        };
        Failure::new(code, format!("{}: {error}", directory.display()))
    })?;
    if !directory.is_dir() {
        return Err(Failure::new(ErrorCode::BadDestination, format!("{} is no directory", directory.display())));
    }
    Ok(directory.join(name))
}

/// Makes the job, or goes on with the one that an interrupted command left, and follows it; `id` is set as soon as it is known.
async fn fetch(
    client: &Client,
    spec: &JobSpec,
    args: &GetArgs,
    id: &mut Option<String>,
    setting: &Setting,
) -> Result<(), Failure> {
    let started = Instant::now();
    let before = seen::before(spec);
    let job = client.create_job(spec).await?;
    *id = Some(job.id.clone());
    if let Some(change) = other_limit(job.terms.limit_bytes_per_second, spec.terms.limit_bytes_per_second)
        && let Err(problem) = client.change_job(&job.id, &change).await
        // One that has ended meanwhile, or is being delivered, takes no limit and needs none.
        && problem.error_code() != Some(ErrorCode::WrongState)
    {
        return Err(problem.into());
    }
    let patience = if args.wait { Patience::Endless } else { Patience::OnceBegun };
    let watch = client.watch(&job.id).await?;
    let job = follow::to_the_end(watch, setting, patience).await?;
    let is_at_rest = matches!(job.state, JobState::TransientError | JobState::Error);
    if is_at_rest && job.done() == 0 && !follow::waits_for_room(&job) {
        // Nothing is here that could be kept. That it is gone matters less than why it failed.
        let _ = client.act(&job.id, JobAction::Cancel).await;
    }
    seen::check(&job, &before)?;
    follow::finish(&job, setting, Some(started.elapsed()))
}

/// What changes the limit of a job that an interrupted command left at another pace than is wanted.
fn other_limit(known: Option<u64>, wanted: Option<u64>) -> Option<JobChange> {
    let wanted = wanted.unwrap_or_default();
    let terms = Terms { limit_bytes_per_second: Some(wanted), ..Terms::default() };
    (known != limit_in_force(wanted)).then(|| JobChange { terms: Some(terms), ..JobChange::default() })
}

/// Stays for the machines that fetch the same and may still need what is here, as long as there are some, and not long.
async fn stay(client: &Client, setting: &Setting) {
    let until = Instant::now() + STAY;
    let is_needed = |swarm: &SwarmView| {
        let is_whole = swarm.held == swarm.segments;
        is_whole && (swarm.given > 0 || swarm.others.is_some_and(|others| others > 0))
    };
    let mut is_said = false;
    while let Ok(peers) = client.peers().await
        && peers.swarms.iter().any(is_needed)
        && Instant::now() < until
    {
        if !is_said {
            let seconds = STAY.as_secs();
            setting.note(&format!("staying up to {seconds} s for machines that fetch the same; Ctrl-C ends that"));
            is_said = true;
        }
        tokio::time::sleep(STAY_LOOK).await;
    }
}

/// Pauses the job, and says how to go on.
async fn interrupt(link: &Link, job: Option<&str>) -> Failure {
    let Some(job) = job else { return ErrorCode::Interrupted.into() };
    if let Err(problem) = link.client.act(job, JobAction::Pause).await {
        return problem.into();
    }
    let or = if link.is_inside() { String::new() } else { format!(", or: eddy job resume {job}") };
    Failure::new(ErrorCode::Interrupted, format!("what was fetched is kept; go on with the same command{or}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<PathBuf, Failure>) -> Option<String> {
        match result {
            Err(Failure::Problem(problem)) => Some(problem.code),
            _ => None,
        }
    }

    #[test]
    fn f110_a_job_is_changed_only_when_another_limit_would_hold() {
        // The node raises what is less than the least.
        assert_eq!(other_limit(Some(64 * 1024), Some(1)), None);
        assert_eq!((other_limit(None, None), other_limit(None, Some(0))), (None, None));
        let changed = |known, wanted| {
            other_limit(known, wanted).and_then(|change| change.terms).and_then(|terms| terms.limit_bytes_per_second)
        };
        assert_eq!(changed(Some(64 * 1024), None), Some(0), "it is taken away");
        assert_eq!(changed(None, Some(1 << 20)), Some(1 << 20));
    }

    #[test]
    fn the_destination_is_what_the_user_says_or_the_name_in_the_url() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = "https://h/dir/file%20a.iso?x=1";
        assert_eq!(destination(url, None, 1).ok(), Some("file a.iso".into()));
        assert_eq!(destination(url, Some(Path::new("b")), 1).ok(), Some("b".into()));
        assert_eq!(destination(url, Some(Path::new("new/")), 1).ok(), Some("new/file a.iso".into()));
        assert_eq!(destination(url, Some(directory.path()), 2).ok(), Some(directory.path().join("file a.iso")));
    }

    #[test]
    fn a_destination_that_cannot_be_is_refused() {
        assert_eq!(code(destination("https://h/", None, 1)).as_deref(), Some("bad-destination"));
        assert_eq!(code(destination("https://h/a", Some(Path::new("b")), 2)).as_deref(), Some("bad-destination"));
    }
}
