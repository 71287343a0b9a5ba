//! The job: states, specification, durable record and the live thing.

pub(crate) mod body;
pub(crate) mod condition;
pub mod live;
pub mod parcel;
pub mod portion;
pub mod record;
pub mod spec;
pub mod state;
pub mod terms;
