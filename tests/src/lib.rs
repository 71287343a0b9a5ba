//! The test kit of eddy.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`hostile`] | an origin server that misbehaves on request, down to the byte |
//! | [`lab`] | hosts in network namespaces on a shaped WAN |
//! | [`process`] | real `eddy` processes, started, watched and killed by id |

pub mod hostile;
pub mod lab;
pub mod process;
