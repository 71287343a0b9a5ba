//! What a person is promised, line by line, of files that are bad, change, or need not be asked for again.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

mod bad_input;
mod changing_origin;
mod freshness;
mod real_https;
