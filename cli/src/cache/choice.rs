//! Which entries a command means: conditions that must all hold.

use crate::failure::Failure;
use clap::Args;
use eddy_wire::api::amount::{BadAmount, parse_age, parse_size};
use eddy_wire::api::{EntityQuery, Held};
use eddy_wire::catalogue::ErrorCode;

/// What the help of a verb says about names.
pub(super) const NAMES: &str = "A name is an id, the beginning of one (at least 4 digits), or a URL; a URL means every \
                                version of it that is here.";

/// Conditions.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which entries (all conditions must hold)")]
pub struct Filters {
    /// Whose URL fits: * stands for anything; without a *, any part of the URL will do
    #[arg(long, value_name = "PATTERN")]
    pub url: Option<String>,
    /// Whose host fits, like '*.example.org'
    #[arg(long, value_name = "PATTERN")]
    pub host: Option<String>,
    /// Larger than this, like 100MiB
    #[arg(long, value_name = "SIZE")]
    pub larger: Option<String>,
    /// Smaller than this
    #[arg(long, value_name = "SIZE")]
    pub smaller: Option<String>,
    /// Not used for so long, like 30d or 12h
    #[arg(long, value_name = "AGE")]
    pub unused_for: Option<String>,
    /// Of which every byte is held
    #[arg(long, conflicts_with = "partial")]
    pub complete: bool,
    /// Of which some bytes are missing
    #[arg(long)]
    pub partial: bool,
    /// That somebody pinned
    #[arg(long)]
    pub pinned: bool,
    /// That peers may not have
    #[arg(long)]
    pub private: bool,
}

impl Filters {
    /// Whether there is any condition.
    pub(super) fn is_empty(&self) -> bool {
        self.query().is_ok_and(|query| query == EntityQuery::default())
    }

    /// What the node is asked for.
    pub(super) fn query(&self) -> Result<EntityQuery, Failure> {
        let query = EntityQuery {
            url: self.url.clone(),
            host: self.host.clone(),
            larger: self.larger.as_deref().map(parse_size).transpose().map_err(|e| wrong("--larger", &e))?,
            smaller: self.smaller.as_deref().map(parse_size).transpose().map_err(|e| wrong("--smaller", &e))?,
            unused_seconds: self
                .unused_for
                .as_deref()
                .map(parse_age)
                .transpose()
                .map_err(|e| wrong("--unused-for", &e))?
                .map(|age| age.as_secs()),
            held: match (self.complete, self.partial) {
                (true, _) => Some(Held::Complete),
                (_, true) => Some(Held::Partial),
                _ => None,
            },
            pinned: self.pinned.then_some(true),
            shareable: self.private.then_some(false),
            ..EntityQuery::default()
        };
        query.check()?;
        Ok(query)
    }
}

fn wrong(option: &str, error: &BadAmount) -> Failure {
    Failure::new(ErrorCode::BadAmount, format!("{option}: {error}"))
}
