//! `eddy cache show`: entries in full.

use super::choice::NAMES;
use super::walk;
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::facts;
use crate::text::units;
use clap::Args;
use eddy_wire::api::{EntityDetail, Place};

/// `eddy cache show`.
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub struct ShowArgs {
    /// Their names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

pub(super) async fn run(args: ShowArgs, setting: &Setting) -> Result<(), Failure> {
    let details = Link::ask(setting, async |client| {
        let mut details = Vec::new();
        for entity in walk::named(&client, &args.names).await? {
            details.push(client.entity(&entity.id).await?);
        }
        Ok::<_, Failure>(details)
    })
    .await?;
    setting.answer(&details, || details.iter().map(|detail| show(detail, setting)).collect::<Vec<_>>().join("\n"))
}

fn show(detail: &EntityDetail, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let entity = &detail.entity;
    let requested = if detail.requested_url == entity.url { "" } else { &detail.requested_url };
    let held = format!("{} ({} %)", size(entity.held), units::percent(entity.held, entity.length));
    let sources = [(detail.from_origin, "the origin"), (detail.from_peers, "peers")];
    let sources = sources.iter().filter(|(bytes, _)| *bytes > 0);
    let came_from: Vec<_> = sources.map(|(bytes, whom)| format!("{} from {whom}", size(*bytes))).collect();
    facts(&[
        ("id", entity.id.clone()),
        ("url", entity.url.clone()),
        ("asked for as", requested.to_owned()),
        ("version", entity.validator.clone()),
        ("modified", detail.modified_unix_ms.map(units::time).unwrap_or_default()),
        ("length", size(entity.length)),
        ("held", held),
        ("came from", came_from.join(", ")),
        ("blake3", detail.blake3.clone().unwrap_or_default()),
        ("digests", detail.digests.join(" ")),
        ("believed by", detail.rung.map(|rung| rung.sentence(detail.witnesses)).unwrap_or_default()),
        ("statements", if detail.statements == 0 { String::new() } else { detail.statements.to_string() }),
        ("fresh until", detail.fresh_until_unix_ms.map(units::time).unwrap_or_default()),
        ("not fresh", detail.not_fresh.clone().unwrap_or_default()),
        ("shared", if entity.shareable { "peers may have it" } else { "for this machine only" }.to_owned()),
        ("pinned", yes(entity.pinned)),
        ("in use", yes(entity.in_use)),
        ("made", units::time(entity.created_unix_ms)),
        ("used last", units::time(entity.used_unix_ms)),
        ("lies in", place(&detail.place)),
    ])
}

fn place(place: &Place) -> String {
    match place {
        Place::Index => "the index".to_owned(),
        Place::File(path) => path.clone(),
    }
}
