//! Every network and API format of eddy, pure and with golden bytes.
//!
//! | module | format |
//! |---|---|
//! | [`node_id`] | the public key by which a node is known |
//! | [`frame`] | what two peers say to each other over QUIC |
//! | [`membership`] | who is let into a group with an authority of its own, and who was removed |
//! | [`seal`] | a node's signed word over a package of entities |
//! | [`swarm`] | who reads what from the origin, and who takes what from whom |
//! | [`statement`] | a member's signed word about bytes from the origin |
//! | [`evidence`] | statements that cannot all be true, to be checked by anybody |
//! | [`api`] | JSON of the control API |
//! | [`catalogue`] | every error that a user can meet: code, sentence, remedy, exit code |

pub mod api;
pub mod catalogue;
mod cursor;
pub mod evidence;
pub mod frame;
pub mod membership;
pub mod node_id;
pub mod seal;
pub mod statement;
pub mod swarm;

pub use node_id::NodeId;
