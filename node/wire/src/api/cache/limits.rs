//! How much the store may use: as people wrote it, and what that comes to.

use super::removal::PlanView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// As it was written: "50 GiB", "20 %", "30 d"; "none" for no limit.
    pub value: String,
    /// Who said so: "default", or the configuration file.
    pub set_by: String,
}

/// The limits of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Most that it may use.
    pub quota: LimitView,
    /// What is always left free on the file system.
    pub reserve: LimitView,
    /// How long what nobody uses is kept.
    pub max_age: LimitView,
}

/// Limits that are to be others; what is missing stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsChange {
    /// Most that the store may use: "50 GiB" or "20 %"; "default" for the default.
    pub quota: Option<String>,
    /// What is always left free: "2 GiB" or "default".
    pub reserve: Option<String>,
    /// How long what nobody uses is kept: "30 d", or "none".
    pub max_age: Option<String>,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// What became of an order to change the limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsOutcome {
    /// The limits before.
    pub old: LimitsView,
    /// The limits after.
    pub new: LimitsView,
    /// The file that was written; missing when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_to: Option<String>,
    /// What goes at once under the limits after; what is in use goes later.
    pub plan: PlanView,
}
