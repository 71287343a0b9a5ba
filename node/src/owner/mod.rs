//! The users of this machine: who they are to the system.
//!
//! | module | idea |
//! |---|---|
//! | `account` | what the system's user database says |

mod account;

pub use account::{Account, is_in_group};
