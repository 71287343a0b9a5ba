//! `eddy cache verify`: hashes what is held.

use super::choice::NAMES;
use super::plan::entries;
use super::{short, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::progress::Progress;
use crate::text::table::{Column, table};
use clap::Args;
use eddy_node::control::Client;
use eddy_node::control::client::VerificationNews;
use eddy_wire::api::{EntityQuery, EntityView, VerifiedView};
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;

/// `eddy cache verify`.
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub struct VerifyArgs {
    /// Their names
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    pub names: Vec<String>,
    /// All entries
    #[arg(long)]
    pub all: bool,
}

/// What a verification came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verified {
    /// Entries that were hashed.
    pub(crate) entities: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Those that had corrupt bytes.
    pub(crate) corrupt: Vec<VerifiedView>,
}

pub(super) async fn run(args: VerifyArgs, setting: &Setting) -> Result<(), Failure> {
    let verified = Link::ask(setting, async |client| {
        let entities = if args.all {
            walk::all(&client, EntityQuery::default()).await?
        } else {
            walk::named(&client, &args.names).await?
        };
        verify(&client, &entities, setting).await
    })
    .await?;
    setting.answer(&verified, || people(&verified, setting))?;
    match verified.corrupt.len() {
        0 => Ok(()),
        count => Err(Failure::new(ErrorCode::ContentCorrupt, format!("in {}", entries(count as u64)))),
    }
}

/// Hashes entities, one after the other.
pub(crate) async fn verify(client: &Client, entities: &[EntityView], setting: &Setting) -> Result<Verified, Failure> {
    let total = entities.iter().map(|entity| entity.held).sum();
    let progress = Progress::new(setting, "hashing", Some(total));
    let mut verified = Verified::default();
    for entity in entities {
        match one(client, entity, verified.bytes, &progress).await {
            Ok(view) => {
                verified.entities += 1;
                verified.bytes += view.bytes;
                if view.corrupt > 0 {
                    verified.corrupt.push(view);
                }
            }
            // It went meanwhile: to another version, or for room.
            Err(failure) if failure.is(ErrorCode::EntityNotFound) => {}
            Err(failure) => return Err(failure),
        }
    }
    progress.end();
    Ok(verified)
}

async fn one(client: &Client, entity: &EntityView, before: u64, progress: &Progress) -> Result<VerifiedView, Failure> {
    let mut verification = client.verify(&entity.id).await?;
    loop {
        match verification.next().await? {
            VerificationNews::Progress(news) => progress.at(before + news.done),
            VerificationNews::Done(view) => return Ok(view),
        }
    }
}

fn people(verified: &Verified, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let columns = [Column::Text("ID"), Column::Number("CORRUPT"), Column::Number("OF"), Column::Text("URL")];
    let line = |view: &VerifiedView| vec![short(&view.id), size(view.corrupt), size(view.bytes), view.url.clone()];
    let hashed = format!("hashed {} of {}", size(verified.bytes), entries(verified.entities));
    match verified.corrupt.is_empty() {
        true => format!("{hashed}: everything is what was written\n"),
        false => format!("{}{hashed}\n", table(&columns, verified.corrupt.iter().map(line))),
    }
}
