//! `eddy cache`: what is stored here.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::{Column, facts, table};
use crate::text::units;
use clap::Subcommand;
use eddy_node::control::Client;
use eddy_wire::api::{CacheView, EntityView, MAX_PAGE, PageQuery, Problem};

/// Characters of an id that a list shows; a beginning of an id is enough to name an entity.
const SHORT_ID: usize = 12;

/// `eddy cache ...`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show how large it is and may be
    Info,
    /// List what it holds
    Ls,
    /// Show one entry
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Remove entries
    Rm {
        /// Their ids, or the beginnings of them
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Remove everything that nothing uses
    Clear,
}

pub(crate) async fn run(command: CacheCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        CacheCommand::Info => {
            let cache = Link::ask(setting, async |client| client.cache().await).await?;
            setting.answer(&cache, || info(&cache, setting))
        }
        CacheCommand::Ls => {
            let entities = Link::ask(setting, all).await?;
            setting.answer(&entities, || list(&entities, setting))
        }
        CacheCommand::Show { id } => {
            let entity = Link::ask(setting, async |client| client.entity(&id).await).await?;
            setting.answer(&entity, || show(&entity, setting))
        }
        CacheCommand::Rm { ids } => {
            let removed = Link::ask(setting, async |client| {
                let mut removed = Vec::new();
                for id in &ids {
                    removed.push(client.remove_entity(id).await?);
                }
                Ok(removed)
            })
            .await?;
            let freed = removed.iter().map(|removed| removed.freed).sum();
            setting.answer(&removed, || format!("removed {}, freed {}\n", ids.len(), setting.sizes.size(freed)))
        }
        CacheCommand::Clear => {
            let cleared = Link::ask(setting, async |client| client.clear_cache().await).await?;
            let kept =
                if cleared.kept == 0 { String::new() } else { format!("; {} are in use and stay", cleared.kept) };
            let freed = setting.sizes.size(cleared.freed);
            setting.answer(&cleared, || format!("removed {}, freed {freed}{kept}\n", cleared.removed))
        }
    }
}

/// All pages.
async fn all(client: Client) -> Result<Vec<EntityView>, Problem> {
    let mut entities = Vec::new();
    let mut after = None;
    loop {
        let page = client.entities(&PageQuery { after, limit: Some(MAX_PAGE) }).await?;
        entities.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(entities);
        }
    }
}

fn info(cache: &CacheView, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let used = format!("{} of {} ({} %)", size(cache.used), size(cache.quota), units::percent(cache.used, cache.quota));
    facts(&[
        ("directory", cache.directory.clone()),
        ("entries", cache.entities.to_string()),
        ("used", used),
        ("free on the disk", format!("{}, of which {} are left free", size(cache.free), size(cache.reserve))),
    ])
}

fn list(entities: &[EntityView], setting: &Setting) -> String {
    if entities.is_empty() {
        return String::from("the cache is empty\n");
    }
    let columns = [
        Column::Text("ID"),
        Column::Number("LENGTH"),
        Column::Number("HELD"),
        Column::Text("USED LAST"),
        Column::Text("SHARED"),
        Column::Text("URL"),
    ];
    let line = |entity: &EntityView| {
        vec![
            entity.id.chars().take(SHORT_ID).collect(),
            setting.sizes.size(entity.length),
            format!("{} %", units::percent(entity.held, entity.length)),
            units::time(entity.used_unix_ms),
            if entity.shareable { "yes" } else { "no" }.to_owned(),
            entity.url.clone(),
        ]
    };
    table(&columns, entities.iter().map(line))
}

fn show(entity: &EntityView, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let percent = units::percent(entity.held, entity.length);
    facts(&[
        ("id", entity.id.clone()),
        ("url", entity.url.clone()),
        ("version", entity.validator.clone()),
        ("length", size(entity.length)),
        ("held", format!("{} ({percent} %)", size(entity.held))),
        ("blake3", entity.blake3.clone().unwrap_or_default()),
        ("shared", if entity.shareable { "peers may have it" } else { "for this machine only" }.to_owned()),
        ("in use", if entity.in_use { "yes" } else { "no" }.to_owned()),
        ("made", units::time(entity.created_unix_ms)),
        ("used last", units::time(entity.used_unix_ms)),
    ])
}
