//! What the store of a node holds, and what may be done about it.
//!
//! | module | nouns |
//! |---|---|
//! | [`view`] | the store as a whole, an entity in a list, an entity in full |
//! | [`choice`] | which entities are meant |
//! | [`removal`] | what goes, shown before it goes |
//! | [`verify`] | whether what is held is what was written |
//! | [`package`] | entities in a file, to carry them |
//! | [`limits`] | how much the store may use, and who said so |
//! | [`pattern`] | texts with stars |
//!
//! Whoever changes anything names entities by whole ids: first a choice is listed, then a person sees the plan, then the ids
//! of the plan go. So nothing goes that was not shown.

pub mod choice;
pub mod limits;
pub mod package;
pub mod pattern;
pub mod removal;
pub mod verify;
pub mod view;

pub use choice::{EntityQuery, Held};
pub use limits::{LimitView, LimitsChange, LimitsOutcome, LimitsView};
pub use package::{
    ExportEnd, ExportOrder, ExportView, ImportQuery, ImportView, LeftOut, MAX_PACKED, MAX_PIECE, PackedView,
};
pub use removal::{Kept, KeptReason, MAX_ORDER, PinChange, PinnedToo, PlanView, Planned, RemovalOrder, Removed};
pub use verify::{VerifiedView, VerifyProgress};
pub use view::{CacheView, EntityDetail, EntityView, Place};
