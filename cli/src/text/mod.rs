//! Text for people.

pub(crate) mod near;
pub(crate) mod progress;
pub(crate) mod safe;
pub(crate) mod table;
pub(crate) mod units;
