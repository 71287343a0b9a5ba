//! `eddy why`: what a job, or every job that wants a URL, waits for; since when; when something is tried next; what would change it;
//! and who reads from the origin what machines fetch together.

use crate::failure::Failure;
use crate::job::all;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::facts;
use crate::text::{safe, units};
use clap::Args;
use eddy_node::control::Client;
use eddy_wire::api::check::parse_url;
use eddy_wire::api::{FileView, JobView, Problem, SwarmView};
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
    let (jobs, mut swarms) = if what.contains("://") {
        let wanted = parse_url(&what)?.resource.redacted();
        let (mut jobs, mut swarms) = Link::ask(setting, async |client: Client| {
            Ok::<_, Problem>((all(client.clone()).await?, together(&client).await))
        })
        .await?;
        jobs.retain(|job| job.files.iter().any(|file| file.url == wanted));
        swarms.retain(|swarm| swarm.url == wanted);
        if jobs.is_empty() && swarms.is_empty() {
            return Err(Failure::new(ErrorCode::JobNotFound, format!("no job wants {}", safe::line(&wanted))));
        }
        (jobs, swarms)
    } else {
        let ask = async |client: Client| Ok::<_, Problem>((vec![client.job(&what).await?], together(&client).await));
        Link::ask(setting, ask).await?
    };
    let is_wanted = |swarm: &SwarmView| jobs.iter().flat_map(|job| &job.files).any(|file| file.url == swarm.url);
    swarms.retain(|swarm| jobs.is_empty() || is_wanted(swarm));
    setting.answer(&jobs, || {
        let jobs = jobs.iter().map(|job| one(job, setting));
        jobs.chain(swarms.iter().map(|swarm| shared(swarm, setting))).collect::<Vec<_>>().join("\n")
    })
}

/// What this node fetches together with others; a node that does not say so fetches nothing together.
async fn together(client: &Client) -> Vec<SwarmView> {
    client.peers().await.map(|peers| peers.swarms).unwrap_or_default()
}

/// Who reads from the origin for all that want the same.
fn shared(swarm: &SwarmView, setting: &Setting) -> String {
    let node = |node: &Option<String>| node.clone().unwrap_or_else(|| "the origin".to_owned());
    let home = match &swarm.home {
        _ if swarm.is_home => "this node says who reads and who takes from whom".to_owned(),
        Some(node) => format!("{node} says who reads and who takes from whom"),
        None => "nobody yet".to_owned(),
    };
    let mut rows = vec![
        ("fetched together", safe::line(&swarm.url)),
        ("held", format!("{} of {} segments", swarm.held, swarm.segments)),
        ("home", home),
        ("others", swarm.others.map(|others| others.to_string()).unwrap_or_default()),
        ("longest way", if swarm.is_home { format!("{} machines", swarm.depth) } else { String::new() }),
    ];
    rows.extend(swarm.readers.iter().map(|read| {
        let size = |bytes| setting.sizes.size(bytes);
        let (received, all) = (size(read.received), size(read.end.saturating_sub(read.start)));
        let last = read.end.saturating_sub(1);
        ("reads from the origin", format!("{}: bytes {} to {last}, {received} of {all}", read.node, read.start))
    }));
    rows.extend(
        swarm.sources.iter().map(|share| ("comes from", format!("{}: {} segments", node(&share.node), share.segments))),
    );
    facts(&rows)
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
