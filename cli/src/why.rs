//! `eddy why`: what a job, or every job that wants a URL, waits for; since when; when something is tried next; what would change it.

use crate::failure::Failure;
use crate::job::all;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::facts;
use crate::text::{safe, units};
use clap::Args;
use eddy_wire::api::check::parse_url;
use eddy_wire::api::{FileView, JobView};
use eddy_wire::catalogue::ErrorCode;

/// `eddy why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A job's id, or a URL that jobs want
    #[arg(value_name = "JOB|URL")]
    pub what: String,
}

pub(crate) async fn run(args: WhyArgs, setting: &Setting) -> Result<(), Failure> {
    let what = args.what;
    let jobs = if what.contains("://") {
        let wanted = parse_url(&what)?.resource.redacted();
        let mut jobs = Link::ask(setting, all).await?;
        jobs.retain(|job| job.files.iter().any(|file| file.url == wanted));
        if jobs.is_empty() {
            return Err(Failure::new(ErrorCode::JobNotFound, format!("no job wants {}", safe::line(&wanted))));
        }
        jobs
    } else {
        vec![Link::ask(setting, async |client| client.job(&what).await).await?]
    };
    setting.answer(&jobs, || jobs.iter().map(|job| one(job, setting)).collect::<Vec<_>>().join("\n"))
}

fn one(job: &JobView, setting: &Setting) -> String {
    let waiting = job.waiting.as_ref();
    let said = |text: fn(&eddy_wire::api::Waiting) -> String| waiting.map(text).unwrap_or_default();
    let mut rows = vec![
        ("job", job.id.clone()),
        ("name", job.name.clone()),
        ("state", job.state.word().to_owned()),
        ("why", said(|waiting| waiting.sentence.clone())),
        ("code", said(|waiting| waiting.reason.clone())),
        ("since", waiting.and_then(|waiting| waiting.since_unix_ms).map_or_else(String::new, units::time)),
        ("next attempt", waiting.and_then(|waiting| waiting.until_unix_ms).map_or_else(String::new, units::time)),
        ("what helps", said(|waiting| waiting.remedy.clone())),
    ];
    rows.extend(job.files.iter().filter_map(|file| Some(("from the origin", origin(file, setting)?))));
    facts(&rows)
}

/// Why bytes of a file came from the origin, if they did.
fn origin(file: &FileView, setting: &Setting) -> Option<String> {
    let reason = file.origin_reason.as_ref().filter(|_| file.sources.origin > 0)?;
    Some(format!("{} of {}: {reason}", setting.sizes.size(file.sources.origin), file.destination))
}
