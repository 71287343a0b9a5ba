//! Whose word is enough for bytes that nobody but the origin can vouch for.
//!
//! | module | idea |
//! |---|---|
//! | [`policy`] | what the administrator asks of statements |
//! | [`witness`] | the word of members about blocks, gathered until enough of it agrees |
//! | [`audit`] | which blocks are fetched a second time, to catch who lies |

pub mod audit;
pub mod policy;
pub mod witness;

pub use audit::{Audit, AuditShare, Duty, Sharing};
pub use policy::{Demand, Digest, Line, PlainHttp, Policy, Unwanted, Witnesses};
pub use witness::{Weight, Witnessing};
