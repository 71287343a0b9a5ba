//! The gateway: what tools get through it, what it promises, and what it refuses.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

mod answers;
mod fate;
mod hub;
mod leave;
mod links;
mod lost;
mod office;
mod promises;
mod reach;
mod room;
mod safety;
mod terms;
mod tools;
