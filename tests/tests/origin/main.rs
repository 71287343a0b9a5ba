//! The origin shell against a hostile origin, in one process.

mod degraded;
mod hops;
