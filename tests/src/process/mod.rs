//! Real processes: started with their output collected, watched with deadlines, killed by id when dropped.
//!
//! | type | what it is |
//! |---|---|
//! | [`Running`] | any child process |
//! | [`Eddy`] | the `eddy` program with a home of its own, here or on a host of the lab |
//! | [`Nginx`] | a real origin server with an access log that can be asked |

mod eddy;
mod nginx;
mod running;

pub use eddy::Eddy;
pub use nginx::{Access, Nginx, NginxSpec, Scheme};
pub use running::{Running, SIGINT, SIGTERM, Signal};
