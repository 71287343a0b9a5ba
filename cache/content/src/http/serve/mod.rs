//! How a cache answers a request from what it holds (RFC 9111; RFC 9110 sections 13 and 14).
//!
//! Pure: facts and `now` go in, decisions come out; the gateway carries them out.
//!
//! | file | what it says |
//! |---|---|
//! | `request` | what the request's `Cache-Control` allows (RFC 9111 section 5.2.1) |
//! | `reuse` | whether a stored answer may be used, now or when the origin fails (RFC 9111 section 4) |
//! | `keep` | whether an answer may be stored (RFC 9111 section 3) |
//! | `condition` | whether a condition of the request holds (RFC 9110 section 13) |
//! | `ranges` | which bytes a `Range` means (RFC 9110 section 14) |
//! | `part` | which bytes a 206 carries, and what may be joined to it (RFC 9111 sections 3.3 and 3.4) |
//! | `language` | whether a stored answer is in the language that a request wants most (RFC 9111 section 4.1) |
//! | `fields` | which fields are stored, sent on, and replaced by a 304 (RFC 9111 sections 3.1 and 3.2) |
//! | `invalidate` | what a successful unsafe request makes useless (RFC 9111 section 4.4) |
//! | `names` | which URLs name bytes that never change |
//! | `cache_status` | how the answer says where it came from (RFC 9211) |

mod cache_status;
mod condition;
mod fields;
mod invalidate;
mod keep;
mod language;
mod names;
mod part;
mod ranges;
mod request;
mod reuse;

pub use cache_status::{CacheStatus, Forwarded, Found};
pub use condition::{Condition, Marks, condition, may_range};
pub use fields::{end_to_end, refresh, storable};
pub use invalidate::invalidated;
pub use keep::{Keeping, NotKept, may_keep, may_keep_posted};
pub use language::is_favourite;
pub use names::{Name, digest_of, name_of};
pub use part::{Joint, Part, joint, part_of, suffix_of};
pub use ranges::{MAX_RANGES, Selected, select};
pub use request::{MaxStale, RequestDirectives};
pub use reuse::{AskFirst, OnError, Reuse, on_error, reuse};
