//! What goes first when room is needed: a plan, pure and showable before it is executed.
//!
//! | file | what it says |
//! |---|---|
//! | `standing` | how much an entity is wanted, and the order that an index keeps |
//! | `plan` | who goes for an aim, who stays and why |
//!
//! What an index has to do:
//!
//! 1. Keep for each entity its [`Standing`], and a table whose key is [`Standing::key`] and the entity's name, with its bytes and
//!    whether it is pinned. Nothing else is read by a plan.
//! 2. Keep the sum of the bytes that stand in [`Segment::Protected`].
//! 3. [`Standing::admitted`] when an entity comes in, [`Standing::used`] when a job or a peer asks for it again (the reads of one
//!    transfer are one use), [`Standing::superseded`] for the version that was the newest under a URL when another one comes in.
//! 4. [`plan`] over [`Candidates`]: the table before [`Standing::PROTECTED_FROM`] and from there on. A plan reads both from the
//!    front and stops as soon as it has enough.
//!
//! Why this order and no other: the numbers of `benches/evict` in `DESIGN.md`.

mod plan;
mod standing;

pub use plan::{
    Aim, Bounds, Candidate, Candidates, EvictionPlan, EvictionReason, Hold, Kept, MAX_LISTED, NotEnough, Tally, Victim,
    plan, plan_within,
};
pub use standing::{BURST, PROTECTED_SHARE, Segment, Standing};
