//! The local control API: HTTP/1.1 with JSON over a Unix domain socket.
//!
//! | module | does |
//! |---|---|
//! | [`face`] | what the API asks of the node |

pub mod face;

pub use face::Face;
