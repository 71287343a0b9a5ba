//! The users of this machine: who they are to the system, and what is done as one of them.
//!
//! | module | idea |
//! |---|---|
//! | `account` | what the system's user database says |
//! | `hand` | work on files with their owner's rights, and no others |

mod account;
mod hand;

pub use account::{Account, is_in_group, name_of};
pub use hand::Hand;
