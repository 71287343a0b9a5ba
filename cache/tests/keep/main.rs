//! What keeps a cache worth having: jobs in two places, scrub, packages, a way back from every loss of one file.

mod check;
mod jobs;
mod package;
mod rebuild;
mod scrub;
#[allow(dead_code, reason = "shared with the tests of the store")]
#[path = "../store/support.rs"]
mod support;
