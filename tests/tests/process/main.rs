//! One matter of the daemon each, by real processes on loopback.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

mod cache_verbs;
mod certificate;
mod changes;
mod conditions;
mod cycles;
mod headers;
mod hooks;
mod jobs;
mod kept;
mod kill;
mod limit;
mod method;
mod proof;
mod ranges;
mod rebinding;
mod rot;
mod service;
mod sessions;
mod troubles;
mod unwritten;
mod users;
mod why;
