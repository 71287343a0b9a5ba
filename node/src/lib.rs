//! The shell of eddy: one node, as a daemon or inside `eddy get`.
//!
//! Shells carry decisions out; the decisions live in `eddy-engine` and `eddy-content`. The rooms:
//!
//! | module | carries out |
//! |---|---|
//! | [`config`] | what the administrator set, and who set it |
//! | [`identity`] | the node's own key |
//! | [`group`] | who is a peer: by one secret, by a root and its issuers, or by somebody's own PKI |
//! | [`origin`] | HTTP to the origin |
//! | [`peer`] | QUIC to the members of the group, serving and asking |
//! | [`condition`] | which errors of the disk stop a job, and what the user is told |
//! | [`swarm`] | one copy for all: what members tell each other about who reads, and who takes what from whom |
//! | [`transfer`] | a fetch: from a body, through the hash, into the store |
//! | [`deliver`] | from the store to the user's destination |
//! | [`neighbourhood`] | discovery and peers together |
//! | [`doctor`] | what is wrong with a node that does not run |
//! | [`driver`] | the one task that owns the engine |
//! | [`control`] | the local API |
//! | [`face`] | the node as its API sees it |
//! | [`owner`] | the users of this machine, and what is done as one of them |
//! | `lines` | a bounded file of lines |
//! | [`hooks`] | programs that are told of the end of jobs |
//! | [`network`] | which ways out there are, and what becomes of jobs when they come and go |
//! | `sessions` | who is logged on, for jobs that run only while their owner is |
//! | `scrub` | looks through the store for rot while nobody else wants the disk |
//! | `refuge` | where a node works whose own disk refuses |
//! | [`node`] | starts and stops all of it |

pub mod condition;
pub mod config;
pub mod control;
pub mod deliver;
pub mod doctor;
pub mod driver;
pub mod face;
pub mod gateway;
pub mod group;
pub mod hooks;
pub mod identity;
mod lines;
pub mod neighbourhood;
pub mod network;
pub mod node;
pub mod origin;
pub mod owner;
pub mod peer;
mod refuge;
mod scrub;
mod secret_file;
mod secret_text;
mod sessions;
pub mod swarm;
pub mod transfer;
