//! `eddy events`: what happened to jobs.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::{Format, Setting, write};
use crate::text::{safe, units};
use clap::Args;
use eddy_wire::api::{EventView, MAX_PAGE, PageQuery};

/// `eddy events`.
#[derive(Debug, Args)]
#[command(after_help = "With --json, and with --follow, each line is one event. Its id is the cursor for --after.")]
pub struct EventsArgs {
    /// Go on with what will happen
    #[arg(short, long)]
    pub follow: bool,
    /// Begin behind this event
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    /// Only of this job
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
}

pub(crate) async fn run(args: EventsArgs, setting: &Setting) -> Result<(), Failure> {
    let is_wanted = |event: &EventView| args.job.as_ref().is_none_or(|job| event.job.starts_with(job));
    if !args.follow {
        let after = args.after.clone();
        let events = Link::ask(setting, async |client| {
            let mut events = Vec::new();
            let mut after = after;
            loop {
                let page = client.events(&PageQuery { after, limit: Some(MAX_PAGE) }).await?;
                events.extend(page.items);
                after = page.next;
                if after.is_none() {
                    return Ok::<_, Failure>(events);
                }
            }
        })
        .await?;
        return events.iter().filter(|event| is_wanted(event)).try_for_each(|event| show(event, setting));
    }
    let client = Link::to_running(setting)?;
    let mut cursor = args.after;
    let mut news = client.follow_events(cursor.as_deref()).await?;
    while let Some(event) = news.next().await? {
        if is_wanted(&event) {
            show(&event, setting)?;
        }
        cursor = Some(event.id);
    }
    if let Some(cursor) = cursor {
        setting.note(&format!("the node stops; go on with: eddy events --follow --after {cursor}"));
    }
    Ok(())
}

fn show(event: &EventView, setting: &Setting) -> Result<(), Failure> {
    if setting.format == Format::Json {
        return write(&(safe::json(event).replace('\n', " ") + "\n"));
    }
    let code = event.code.as_ref().map_or_else(String::new, |code| format!(" [{code}]"));
    let detail = event.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    let job = event.job.get(..8).unwrap_or(&event.job);
    let line = format!(
        "{} {} {:<12} {job} {}{code}{detail}",
        event.id,
        units::time(event.at_unix_ms),
        event.kind.word(),
        event.name
    );
    write(&(safe::line(&line) + "\n"))
}
