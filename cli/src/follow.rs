//! A job on its way, for people: a moving bar on a terminal, a few plain lines elsewhere.

use crate::failure::Failure;
use crate::job::sources;
use crate::setting::{Format, Setting, write};
use crate::text::{safe, units};
use eddy_node::control::client::Watch;
use eddy_wire::api::{Finish, JobState, JobView, Problem};
use eddy_wire::catalogue::ErrorCode;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::time::{Duration, Instant, SystemTime};

/// How long a failure that may pass is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as the job itself tries.
    Endless,
    /// Not at all while nothing is here yet: then a wrong name is likelier than a bad moment.
    OnceBegun,
}

/// Time between two plain lines that tell of progress only.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Follows a job until it has ended, failed or been stopped by somebody. Returns its last view.
pub(crate) async fn to_the_end(mut watch: Watch, setting: &Setting, patience: Patience) -> Result<JobView, Failure> {
    let mut shown = Shown::new(setting);
    let mut last: Option<JobView> = None;
    while let Some(job) = watch.next().await? {
        shown.show(&job);
        if is_end(&job, patience) {
            return Ok(job);
        }
        last = Some(job);
    }
    // The stream ends without an end of the job only when the node stops.
    last.filter(|job| job.state.is_final()).ok_or_else(|| ErrorCode::ShuttingDown.into())
}

fn is_end(job: &JobView, patience: Patience) -> bool {
    match job.state {
        JobState::Acknowledged | JobState::Cancelled | JobState::Error | JobState::Suspended => true,
        // A job that finishes by itself is transferred for a moment only; with an error it waits for a mended destination.
        JobState::Transferred => job.finish == Finish::Manual || job.error.is_some(),
        // Room is made by people, and rights are given by them: they are told at once.
        JobState::TransientError => patience == Patience::OnceBegun && (job.done() == 0 || waits_for_disk(job)),
        JobState::Queued | JobState::Connecting | JobState::Transferring => false,
    }
}

/// Whether only the disk stands in the way, at the destination or of the cache.
fn waits_for_disk(job: &JobView) -> bool {
    let code = job.error.as_ref().and_then(Problem::error_code);
    let is_right = matches!(code, Some(ErrorCode::DestinationNotWritable | ErrorCode::StoreUnusable));
    is_right || waits_for_room(job)
}

/// Whether only room stands in the way: then what was fetched lies in the cache, whatever the job counts as done.
pub(crate) fn waits_for_room(job: &JobView) -> bool {
    let code = job.error.as_ref().and_then(Problem::error_code);
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::DiskFailed | ErrorCode::DiskReadOnly))
}

/// Writes the outcome of a job, and fails if it is none that was asked for.
pub(crate) fn finish(job: &JobView, setting: &Setting, took: Option<Duration>) -> Result<(), Failure> {
    match job.state {
        JobState::Acknowledged => {}
        JobState::Transferred if job.error.is_none() => {}
        JobState::Suspended => return Err(Failure::new(ErrorCode::JobPaused, job.id.clone())),
        JobState::Cancelled => return Err(Failure::new(ErrorCode::JobCancelled, job.id.clone())),
        _ => return Err(job.error.clone().unwrap_or_else(|| ErrorCode::Internal.into()).into()),
    }
    if setting.format == Format::Json {
        return write(&(safe::json(job) + "\n"));
    }
    if setting.quiet {
        return Ok(());
    }
    for file in &job.files {
        if let Some(blake3) = &file.blake3 {
            write(&format!("blake3 {}  {}\n", safe::line(blake3), safe::line(&file.destination)))?;
        }
    }
    setting.note(&summary(job, setting, took));
    if job.state == JobState::Transferred {
        setting.note(&format!("everything is here; put it in place with: eddy job finish {}", job.id));
    }
    Ok(())
}

/// `256.0 MiB in 2 s, 128.0 MiB/s: peers 256.0 MiB`.
fn summary(job: &JobView, setting: &Setting, took: Option<Duration>) -> String {
    let bytes = job.done();
    let came = job.sources();
    let time = took.map_or_else(String::new, |took| {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = u64::try_from(u128::from(bytes) * 1000 / u128::from(millis)).unwrap_or(u64::MAX);
        let time = if millis < 10_000 { format!("{:.1} s", took.as_secs_f64()) } else { units::duration(took) };
        format!(" in {time}, {}", setting.sizes.rate(rate))
    });
    let from = if came.total() == 0 { String::new() } else { format!(": {}", sources(came, setting)) };
    format!("{}{time}{from}", setting.sizes.size(bytes))
}

/// What stands on the screen.
struct Shown<'a> {
    setting: &'a Setting,
    bar: Option<ProgressBar>,
    line: Option<(JobState, Instant)>,
}

impl<'a> Shown<'a> {
    fn new(setting: &'a Setting) -> Self {
        let bar = setting.may_animate().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { setting, bar, line: None }
    }

    fn show(&mut self, job: &JobView) {
        match &self.bar {
            Some(bar) => animate(bar, job, self.setting),
            None => self.say(job),
        }
    }

    /// A plain line at each change of state, and now and then between.
    fn say(&mut self, job: &JobView) {
        let due = self.line.is_none_or(|(state, at)| state != job.state || at.elapsed() >= LINE_INTERVAL);
        // The end has its own line.
        if due && !job.state.is_final() && job.state != JobState::Error {
            self.line = Some((job.state, Instant::now()));
            let mut line = job.state.word().to_owned() + &waiting(job);
            if job.done() > 0 {
                line += &format!(", {}", amount(job, self.setting));
            }
            if job.rate > 0 {
                line += &format!(", {}", speed(job, self.setting));
            }
            self.setting.note(&line);
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Three lines: the name; the bar with rate and time left; the amount, and where it comes from or what the job waits for.
fn animate(bar: &ProgressBar, job: &JobView, setting: &Setting) {
    let template = match job.length() {
        Some(_) => "{prefix}\n  {bar:32.cyan/dim} {percent:>3} %  {speed}\n  {msg}",
        None => "{prefix}\n  {spinner:.cyan} {msg}",
    };
    // The templates are constant and well formed; were they not, the bar would look plainer.
    if let Ok(style) = ProgressStyle::with_template(template) {
        let speed = speed(job, setting);
        let speed = move |_: &ProgressState, line: &mut dyn std::fmt::Write| {
            // Writing to the line cannot fail.
            let _ = line.write_str(&speed);
        };
        bar.set_style(style.progress_chars("━╸─").with_key("speed", speed));
    }
    bar.set_length(job.length().unwrap_or(0));
    bar.set_position(job.done());
    bar.set_prefix(cut(safe::line(&job.name)));
    let moving = job.state == JobState::Transferring && job.sources().total() > 0;
    let state = if moving {
        sources(job.sources(), setting)
    } else {
        safe::line(&(job.state.word().to_owned() + &waiting(job)))
    };
    let known = job.done() > 0 || job.length().is_some();
    bar.set_message(cut(if known { format!("{}: {state}", amount(job, setting)) } else { state }));
}

/// Cuts a line so that it fits the terminal behind the indent: a line that wraps would not be cleared whole.
fn cut(line: String) -> String {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    // A terminal that does not know its width says 0.
    let columns = if columns == 0 { 80 } else { columns };
    let room = columns.saturating_sub(8).max(8);
    if line.chars().count() <= room {
        return line;
    }
    line.chars().take(room - 1).chain(['…']).collect()
}

/// `120.3 MiB of 256.0 MiB`.
fn amount(job: &JobView, setting: &Setting) -> String {
    let length = job.length().map_or_else(String::new, |length| format!(" of {}", setting.sizes.size(length)));
    setting.sizes.size(job.done()) + &length
}

/// `35.2 MiB/s  4 s left`; empty while nothing moves.
fn speed(job: &JobView, setting: &Setting) -> String {
    if job.rate == 0 {
        return String::new();
    }
    let left = |eta| format!("  {} left", units::duration(Duration::from_secs(eta)));
    setting.sizes.rate(job.rate) + &job.eta_seconds.map_or_else(String::new, left)
}

/// What a job waits for: ` in 12 s: the origin cannot answer now`.
fn waiting(job: &JobView) -> String {
    if job.state != JobState::TransientError {
        return String::new();
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let wait = job.next_attempt_unix_ms.map(|at| Duration::from_millis(at.saturating_sub(now)));
    let wait = wait.map_or_else(String::new, |wait| match wait.as_secs() {
        0 => String::from(" now"),
        _ => format!(" in {}", units::duration(wait)),
    });
    format!("{wait}{}", job.error.as_ref().map_or_else(String::new, |error: &Problem| format!(": {error}")))
}
