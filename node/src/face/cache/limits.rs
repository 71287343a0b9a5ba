//! How much may be here: changed in the configuration file and in the running store at once.

use super::removal;
use crate::config::edit::{Draft, Edit, EditError};
use crate::config::{ConfigError, LimitSource, Settings};
use crate::face::NodeFace;
use eddy_cache::Goal;
use eddy_wire::api::amount::{BadAmount, parse_age, parse_amount, parse_size};
use eddy_wire::api::{LimitView, LimitsChange, LimitsOutcome, LimitsView, Problem};
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

impl NodeFace {
    /// Changes limits: the file first, so that what holds now also holds after the next start.
    pub(in crate::face) async fn change_limits(&self, change: LimitsChange) -> Result<LimitsOutcome, Problem> {
        let edits = edits(&change).map_err(|error| Problem::new(ErrorCode::BadAmount, error.to_string()))?;
        let mut settings = self.settings.lock().await;
        let old = view(&settings, &self.config);
        let config = self.config.clone();
        let draft = blocking(move || Draft::of(&config, &edits)).await?.map_err(|error| problem(&error))?;
        let limits = draft.settings.limits().map_err(|error| problem(&error.into()))?;
        let changed = draft.settings.clone();
        let new = view(&changed, &self.config);
        if change.dry_run {
            let plan =
                self.with_store(move |store| removal::plan_view(store, &store.plan(&Goal::Fit(limits))?)).await?;
            return Ok(LimitsOutcome { old, new, written_to: None, plan });
        }
        let written = blocking(move || draft.write()).await?.map_err(|error| problem(&error))?;
        let plan = self
            .with_store(move |store| {
                // What has gone has no name any more.
                let shown = removal::plan_view(store, &store.plan(&Goal::Fit(limits))?)?;
                let gone = store.set_limits(limits)?;
                Ok(removal::only(shown, &gone))
            })
            .await?;
        // Other sections of the file hold from the next start on.
        settings.cache = changed.cache;
        Ok(LimitsOutcome { old, new, written_to: written.then(|| self.config.display().to_string()), plan })
    }
}

/// The limits as they were set, and by whom.
pub(super) fn view(settings: &Settings, config: &Path) -> LimitsView {
    let view = |(value, source): (String, LimitSource)| LimitView {
        value,
        set_by: match source {
            LimitSource::Default => "default".to_owned(),
            LimitSource::File => config.display().to_string(),
        },
    };
    LimitsView {
        quota: view(settings.quota_text()),
        reserve: view(settings.reserve_text()),
        max_age: view(settings.max_age_text()),
    }
}

/// What becomes of the keys of the file; `default`, and `none` for the age, take a key out.
fn edits(change: &LimitsChange) -> Result<Vec<Edit>, BadAmount> {
    let mut edits = Vec::new();
    let mut edit = |key: &str, text: &Option<String>, check: fn(&str) -> Result<(), BadAmount>| {
        let Some(text) = text.as_deref().map(str::trim) else { return Ok(()) };
        let is_default = text == "default" || (key == "max-age" && text == "none");
        if !is_default {
            check(text)?;
        }
        edits.push(Edit { key: format!("cache.{key}"), value: (!is_default).then(|| text.into()) });
        Ok(())
    };
    edit("quota", &change.quota, |text| parse_amount(text).map(drop))?;
    edit("reserve", &change.reserve, |text| parse_size(text).map(drop))?;
    edit("max-age", &change.max_age, |text| parse_age(text).map(drop))?;
    Ok(edits)
}

fn problem(error: &EditError) -> Problem {
    let row = match error {
        EditError::Write { .. } => ErrorCode::ConfigNotWritable,
        EditError::Config(ConfigError::Value { .. }) => ErrorCode::BadAmount,
        EditError::Config(_) | EditError::NoTable { .. } => ErrorCode::BadConfig,
    };
    let mut detail = error.to_string();
    if let EditError::Config(ConfigError::Read { source, .. }) = error {
        detail = format!("{detail}: {source}");
    }
    Problem::new(row, detail)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::new(ErrorCode::Internal, "changing the settings failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes_and_defaults_take_keys_out() {
        let change =
            LimitsChange { quota: Some(" 50GiB ".into()), max_age: Some("none".into()), ..LimitsChange::default() };
        let edits = edits(&change).unwrap();
        let pairs: Vec<_> = edits
            .iter()
            .map(|edit| (edit.key.as_str(), edit.value.as_ref().and_then(|value| value.as_str())))
            .collect();
        assert_eq!(pairs, [("cache.quota", Some("50GiB")), ("cache.max-age", None)]);
    }

    #[test]
    fn a_wrong_unit_is_refused_before_the_file_is_touched() {
        for (quota, reserve, max_age) in [
            (Some("50 parsecs"), None, None),
            (Some("0 %"), None, None),
            (None, Some("5 %"), None),
            (None, None, Some("30")),
            (None, Some("none"), None),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let change =
                LimitsChange { quota: text(quota), reserve: text(reserve), max_age: text(max_age), dry_run: false };
            assert!(edits(&change).is_err(), "{change:?}");
        }
    }
}
