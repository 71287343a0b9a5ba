//! `eddy cache set`: how much the cache may hold, and for how long.

use super::plan::{Tense, show};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::near;
use crate::text::table::facts;
use clap::Args;
use eddy_wire::api::{LimitView, LimitsChange, LimitsOutcome};
use eddy_wire::catalogue::ErrorCode;

/// The keys.
const KEYS: [&str; 3] = ["quota", "reserve", "max-age"];

/// `eddy cache set`.
#[derive(Debug, Args)]
#[command(after_help = "Keys:\n  \
                        quota    most that it may hold: 50GiB, or 20% of the file system\n  \
                        reserve  what is always left free on the file system: 2GiB\n  \
                        max-age  how long what nobody uses is kept: 30d, or none\n\n\
                        `default` takes a key back. The settings are written into the configuration file, whose comments \
                        stay, and hold at once, also in a running daemon.")]
pub struct SetArgs {
    /// What to set
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Only show what would go
    #[arg(long)]
    pub dry_run: bool,
}

pub(super) async fn run(args: SetArgs, setting: &Setting) -> Result<(), Failure> {
    let mut change = LimitsChange { dry_run: args.dry_run, ..LimitsChange::default() };
    for text in &args.settings {
        let (key, value) = parse(text)?;
        let place = match key {
            "quota" => &mut change.quota,
            "reserve" => &mut change.reserve,
            _ => &mut change.max_age,
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(Failure::new(ErrorCode::BadUsage, format!("{key} is set twice")));
        }
    }
    let outcome = Link::ask(setting, async |client| client.set_limits(&change).await).await?;
    let tense = if args.dry_run { Tense::Would } else { Tense::Did };
    setting.answer(&outcome, || people(&outcome, tense, setting))
}

fn parse(text: &str) -> Result<(&str, &str), Failure> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(Failure::new(
            ErrorCode::UnknownSetting,
            format!("`{text}` has no `=`; the keys are {}", KEYS.join(", ")),
        ));
    };
    let key = key.trim();
    if KEYS.contains(&key) {
        return Ok((key, value.trim()));
    }
    let keys = KEYS.join(", ");
    let detail = match near::nearest(key, &KEYS) {
        Some(near) => format!("`{key}`: did you mean {near}? The keys are {keys}"),
        None => format!("`{key}`; the keys are {keys}"),
    };
    Err(Failure::new(ErrorCode::UnknownSetting, detail))
}

fn people(outcome: &LimitsOutcome, tense: Tense, setting: &Setting) -> String {
    let line = |old: &LimitView, new: &LimitView| {
        if old == new {
            format!("{} as before, set by {}", new.value, new.set_by)
        } else {
            format!("{} (set by {}) becomes {} (set by {})", old.value, old.set_by, new.value, new.set_by)
        }
    };
    let (old, new) = (&outcome.old, &outcome.new);
    let limits = facts(&[
        ("quota", line(&old.quota, &new.quota)),
        ("reserve", line(&old.reserve, &new.reserve)),
        ("max-age", line(&old.max_age, &new.max_age)),
        ("written to", outcome.written_to.clone().unwrap_or_default()),
    ]);
    limits + &show(&outcome.plan, usize::MAX, tense, setting)
}
