//! The test kit of eddy.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`fleet`] | a whole fleet on simulated lines, with the real swarm |
//! | [`hostile`] | an origin server that misbehaves on request, down to the byte |
//! | [`lab`] | hosts in network namespaces on a shaped WAN |
//! | [`member`] | a member of a group that keeps to no rule of eddy |
//! | [`office`] | machines of one group in a lab that want the same at the same time, and what that costs |
//! | [`process`] | real `eddy` processes, started, watched and killed by id |

pub mod fleet;
pub mod hostile;
pub mod lab;
pub mod member;
pub mod office;
pub mod process;
