//! The local control API: HTTP/1.1 with JSON over a Unix domain socket.
//!
//! Whoever may open the socket rules the node, so the way to it is kept: a directory for its owner alone, a socket of
//! mode 0600, and the kernel's word on who is at the other end. Everything the command line does goes through here.
//!
//! | module | does |
//! |---|---|
//! | [`face`] | what the API asks of the node |
//! | [`socket`] | makes the socket, and lets in only those who may |
//! | [`server`] | serves connections until it is told to stop |
//! | `routes` | path and method to [`Face`] |
//! | `refusal` | every refusal as problem+json, also those of the HTTP layer |
//! | `events` | a job's views as server-sent events |
//! | `long` | work that takes longer than a call may |
//! | [`openapi`] | the OpenAPI 3.1 document, made from the routes and the types |
//! | [`client`] | the other end, typed |

pub mod client;
mod events;
pub mod face;
mod long;
pub mod openapi;
mod refusal;
mod routes;
pub mod server;
pub mod socket;

pub use bytes::Bytes;
pub use client::Client;
pub use face::Face;
pub use server::serve;
pub use socket::{BindError, ControlListener, socket_of};
