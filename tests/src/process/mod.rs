//! Real processes: started with their output collected, watched with deadlines, killed by id when dropped.
//!
//! | type | what it is |
//! |---|---|
//! | [`Running`] | any child process |
//! | [`Eddy`] | the `eddy` program with a home of its own, here or on a host of the lab |
//! | [`Mounts`] | small file systems that fill up or become read-only, where nobody else sees them |
//! | [`Nginx`] | a real origin server with an access log that can be asked |
//! | [`Gateway`] | a daemon whose gateway tools ask over plain HTTP |
//!
//! `node` adds to [`Eddy`] what tests ask a node; `sample` makes the files that are fetched.

mod eddy;
mod gateway;
mod mounts;
mod nginx;
mod node;
mod running;
mod sample;

pub use eddy::Eddy;
pub use gateway::{Gateway, Got, http_client, mount};
pub use mounts::Mounts;
pub use nginx::{Access, Nginx, NginxSpec, Scheme, body_bytes};
pub use node::Ended;
pub use running::{Running, SIGINT, SIGTERM, Signal};
pub use sample::{MIB, from_environment, hash_of, write_sample};
