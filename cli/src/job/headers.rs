//! `eddy job headers`: what origins answered last about the files of a job.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::safe;
use crate::text::table::facts;
use crate::text::units;
use clap::Args;
use eddy_node::control::Client;
use eddy_wire::api::{HeadView, MAX_PAGE, PageQuery, Problem};
use eddy_wire::catalogue::ErrorCode;

/// `eddy job headers`.
#[derive(Debug, Args)]
pub struct HeadersArgs {
    /// Its id; the whole of it for a job that ended before the daemon was started
    pub id: String,
    /// One file, by its place in the job: the first is 0
    pub file: Option<u32>,
}

pub(super) async fn run(HeadersArgs { id, file }: HeadersArgs, setting: &Setting) -> Result<(), Failure> {
    let heads = Link::ask(setting, async |client| all(client, &id, file).await).await?;
    setting.answer(&heads, || match heads.as_slice() {
        [] => String::from("no origin has answered yet\n"),
        heads => heads.iter().map(show).collect::<Vec<_>>().join("\n"),
    })
}

/// All pages, or the one file.
async fn all(client: Client, id: &str, file: Option<u32>) -> Result<Vec<HeadView>, Problem> {
    let mut after = file.and_then(|file| file.checked_sub(1)).map(|before| before.to_string());
    let limit = Some(if file.is_some() { 1 } else { MAX_PAGE });
    let mut heads = Vec::new();
    loop {
        let page = client.heads(id, &PageQuery { after, limit }).await?;
        heads.extend(page.items.into_iter().filter(|head| file.is_none_or(|file| head.file == file)));
        after = page.next.filter(|_| file.is_none());
        if after.is_none() {
            break;
        }
    }
    match file {
        Some(file) if heads.is_empty() => {
            Err(Problem::new(ErrorCode::FileNotInJob, format!("of file {file} no answer is kept")))
        }
        _ => Ok(heads),
    }
}

fn show(head: &HeadView) -> String {
    let mut text = facts(&[
        ("file", head.destination.clone()),
        ("from", head.url.clone()),
        ("answered", units::time(head.received_unix_ms)),
        ("status", head.status.to_string()),
    ]);
    for field in &head.fields {
        let value = field.value.as_deref().unwrap_or("(for its owner alone)");
        text += &format!("  {}: {}\n", safe::line(&field.name), safe::line(value));
    }
    if head.is_cut {
        text += "  ... (more than is kept)\n";
    }
    text
}
