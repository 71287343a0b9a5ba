//! Lists that are read in pieces: a cursor names the last element that was seen, so that nothing is missed or repeated
//! while the list changes.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Elements of a page when the caller does not say how many.
pub const DEFAULT_PAGE: usize = 100;

/// Most elements of one page.
pub const MAX_PAGE: usize = 1000;

/// One piece of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The elements.
    pub items: Vec<T>,
    /// The cursor of the next page; missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which piece of a list is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// The cursor that the page before ended with; missing for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most elements to answer with, 1 to 1000; 100 if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl PageQuery {
    /// How many elements the page may have, within the bounds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }
}
