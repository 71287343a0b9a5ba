//! `eddy cache pin` and `eddy cache unpin`: what is never evicted.

use super::choice::NAMES;
use super::{short, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::safe;
use clap::Args;
use eddy_wire::api::PinChange;

/// `eddy cache pin` and `eddy cache unpin`.
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub struct PinArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// The entries stay from now on.
    Pin,
    /// They may go again.
    Unpin,
}

pub(super) async fn run(args: PinArgs, act: Act, setting: &Setting) -> Result<(), Failure> {
    let changes = Link::ask(setting, async |client| {
        let mut changes = Vec::new();
        for entity in walk::named(&client, &args.names).await? {
            changes.push(match act {
                Act::Pin => client.pin(&entity.id).await?,
                Act::Unpin => client.unpin(&entity.id).await?,
            });
        }
        Ok::<_, Failure>(changes)
    })
    .await?;
    setting.answer(&changes, || changes.iter().map(line).collect())
}

fn line(change: &PinChange) -> String {
    let state = match (change.pinned, change.changed) {
        (true, true) => "pinned",
        (true, false) => "was pinned already",
        (false, true) => "unpinned",
        (false, false) => "was not pinned",
    };
    format!("{}  {}: {state}\n", safe::line(&short(&change.id)), safe::line(&change.url))
}
