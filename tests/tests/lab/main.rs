//! Whole nodes on a network: real processes in namespaces, on a bridge with multicast and shaped lines.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

mod capture;
mod discovery;
mod floods;
mod kill_client;
mod kill_server;
mod kit;
mod leaving;
mod membership;
mod network;
mod outsider;
mod swarm;
mod switches;
mod three_nodes;
mod tools;
