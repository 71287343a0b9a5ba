//! The local control API: HTTP/1.1 with JSON over a Unix domain socket.
//!
//! Who is at the other end is the kernel's word, and what they may do stands in one table. In a node of one user the way to the socket is kept
//! as well: a directory for its owner alone, a socket of mode 0600. Everything the command line does goes through here.
//!
//! | module | does |
//! |---|---|
//! | [`access`] | who may do what: the table |
//! | [`audit`] | what was done with more than a user's own rights, written down |
//! | [`face`] | what the API asks of the node |
//! | [`socket`] | makes the socket, and lets in only those who may |
//! | [`server`] | serves connections until it is told to stop |
//! | `routes` | path and method to [`Face`] |
//! | `refusal` | every refusal as problem+json, also those of the HTTP layer |
//! | `events` | a job's views as server-sent events |
//! | `long` | work that takes longer than a call may |
//! | [`openapi`] | the OpenAPI 3.1 document, made from the routes and the types |
//! | [`client`] | the other end, typed |

pub mod access;
pub mod audit;
pub mod client;
mod events;
pub mod face;
mod long;
pub mod openapi;
mod refusal;
mod routes;
pub mod server;
pub mod socket;

pub use access::{Admission, Asker, Reach, Users};
pub use audit::{AuditLog, Guard};
pub use bytes::Bytes;
pub use client::Client;
pub use face::Face;
pub use server::serve;
pub use socket::{BindError, ControlListener, Door, socket_of};
