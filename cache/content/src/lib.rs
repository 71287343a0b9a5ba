//! The pure nouns and rules of eddy: what a resource, a version, a block and an answer *are*.
//!
//! Nothing here touches a clock, a socket, a file or a task. The rooms:
//!
//! | module | question that it answers |
//! |---|---|
//! | [`url`] | which resource does this string name, and how may it be shown? |
//! | [`validator`] | is this version mark strong enough to join bytes under it? |
//! | [`entity`] | under which name is one version of a resource known, here and among peers? |
//! | [`geometry`] | where do the blocks and segments of a file lie? |
//! | [`blocks`] | which blocks of an entity are meant? |
//! | [`tree`] | which hash has a block, and how do the hashes combine to the file's BLAKE3? |
//! | [`digest`] | which digest did somebody promise, and do the bytes keep the promise? |
//! | [`http`] | what does an HTTP answer mean (rules )? |
//! | [`evict`] | what goes first when room is needed? |

pub mod blocks;
pub mod digest;
pub mod entity;
pub mod evict;
pub mod geometry;
pub mod http;
pub mod tree;
pub mod url;
pub mod validator;

pub use blocks::BlockSet;
pub use entity::{Entity, EntityId, LookupKey, LookupSecret};
pub use geometry::{BLOCK_SIZE, Geometry};
pub use tree::{BlockHash, Root};
pub use url::{OriginKey, ResourceUrl};
pub use validator::Validator;
