//! `[hooks.NAME]`: programs that the administrator lets be told of the end of jobs. A job can only name one (complaint 6.9 about BITS).

use eddy_wire::api::EventKind;
use eddy_wire::api::amount::{BadAmount, parse_age};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a hook may run when nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that can be set.
const LONGEST: Duration = Duration::from_secs(3600);

/// `[hooks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HookSettings {
    /// The program by its absolute path, and its arguments. No shell reads them.
    pub command: Vec<String>,
    /// What it is told of: "transferred", "finished", "failed", "cancelled". Default: "finished" and "failed".
    #[serde(default = "usual")]
    pub on: Vec<EventKind>,
    /// How long it may run: "60 s", at most an hour. Default: a minute.
    #[serde(default)]
    pub timeout: Option<String>,
}

fn usual() -> Vec<EventKind> {
    vec![EventKind::Finished, EventKind::Failed]
}

/// Why a hook cannot be as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHook {
    /// No program, or one that is looked for.
    #[error("`command` begins with the absolute path of a program")]
    Command,
    /// Something of which hooks are not told.
    #[error("hooks are told of transferred, finished, failed and cancelled")]
    On,
    /// The time cannot be read.
    #[error("timeout: {0}")]
    Timeout(BadAmount),
}

impl HookSettings {
    /// Whether it can be as it is wanted.
    pub fn check(&self) -> Result<(), BadHook> {
        if !self.command.first().is_some_and(|program| Path::new(program).is_absolute()) {
            return Err(BadHook::Command);
        }
        if !self.on.iter().all(|kind| crate::hooks::is_told(*kind)) {
            return Err(BadHook::On);
        }
        self.timeout().map(|_| ())
    }

    /// How long it may run.
    pub fn timeout(&self) -> Result<Duration, BadHook> {
        let Some(text) = &self.timeout else { return Ok(TIMEOUT) };
        parse_age(text).map(|time| time.min(LONGEST)).map_err(BadHook::Timeout)
    }
}
