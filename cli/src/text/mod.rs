//! Text for people.

pub(crate) mod safe;
pub(crate) mod table;
pub(crate) mod units;
