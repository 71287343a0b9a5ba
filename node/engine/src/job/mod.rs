//! The job: states, specification, durable record and the live thing.

pub mod live;
pub mod record;
pub mod spec;
pub mod state;
