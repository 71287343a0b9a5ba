//! A fetch: from a body, through the hash, into the store.
//!
//! Bytes are received on the reactor and hashed and written on a blocking thread behind a short bounded queue, so that the
//! network and the disk work side by side and neither runs ahead of the other. What a fetch wrote is committed before its end
//! is reported: the engine never counts a block that a crash could take back.
//!
//! | module | idea |
//! |---|---|
//! | [`open`] | an open entity of a job's file, and its commits |
//! | [`sink`] | the blocking half: hash, verify, write |
//! | [`origin`] | the body of an origin into a sink |
//! | [`peer`] | the verified runs of a peer into a sink |
//! | [`audit`] | a few blocks from the origin once more, to catch liars |
//! | [`stream`] | a body that cannot be kept, straight beside the destination |
//! | [`recent`] | the newest bytes from an origin, for readers that keep up |
//! | [`room`] | the cache gives way to the user's files, and says whether its disk is well |
//! | [`failure`] | what went wrong, in the engine's terms |

pub mod audit;
pub mod failure;
pub mod open;
pub mod origin;
pub mod peer;
pub mod progress;
pub mod recent;
pub mod room;
pub mod sink;
pub mod stream;
