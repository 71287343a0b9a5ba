//! What was ordered of the engine, under which name.

use eddy_engine::port::TakeId;
use eddy_engine::swarm::{ContentTag, LeaseId};
use eddy_engine::{FileRef, Peer};
use std::collections::BTreeMap;
use std::ops::Range;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Take {
    /// For which file.
    pub(super) file: FileRef,
    /// Of which content.
    pub(super) content: ContentTag,
    /// What.
    pub(super) what: What,
}

/// What is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A segment of a member.
    Flow {
        /// Whom.
        source: Peer,
        /// Which.
        segment: u32,
    },
    /// Segments of the origin.
    Lease {
        /// The right.
        lease: LeaseId,
        /// Which.
        segments: Range<u32>,
    },
}

/// The orders that are not over.
#[derive(Debug, Default)]
pub(super) struct Takes {
    last: u64,
    takes: BTreeMap<TakeId, Take>,
}

impl Takes {
    /// Enters an order.
    pub(super) fn begin(&mut self, take: Take) -> TakeId {
        self.last += 1;
        self.takes.insert(TakeId(self.last), take);
        TakeId(self.last)
    }

    /// An order that is not over.
    pub(super) fn at(&self, take: TakeId) -> Option<&Take> {
        self.takes.get(&take)
    }

    /// What was to bring segments of the origin brings all up to this one.
    pub(super) fn lengthen(&mut self, take: TakeId, to: u32) {
        if let Some(Take { what: What::Lease { segments, .. }, .. }) = self.takes.get_mut(&take) {
            segments.end = segments.end.max(to);
        }
    }

    /// Takes one out that is over.
    pub(super) fn end(&mut self, take: TakeId) -> Option<Take> {
        self.takes.remove(&take)
    }

    /// Takes those of a content out that bring a segment from a member, and for whom they were.
    pub(super) fn end_flow(&mut self, content: ContentTag, of: u32) -> Vec<(TakeId, FileRef)> {
        self.end_where(|take| {
            take.content == content && matches!(take.what, What::Flow { segment, .. } if segment == of)
        })
    }

    /// Takes those out that bring something under a lease.
    pub(super) fn end_lease(&mut self, of: LeaseId) -> Vec<(TakeId, FileRef)> {
        self.end_where(|take| matches!(take.what, What::Lease { lease, .. } if lease == of))
    }

    /// Forgets what was ordered for a file.
    pub(super) fn forget(&mut self, file: FileRef) {
        self.takes.retain(|_, take| take.file != file);
    }

    fn end_where(&mut self, is_it: impl Fn(&Take) -> bool) -> Vec<(TakeId, FileRef)> {
        let ended: Vec<_> =
            self.takes.iter().filter(|(_, take)| is_it(take)).map(|(id, take)| (*id, take.file)).collect();
        for (id, _) in &ended {
            self.takes.remove(id);
        }
        ended
    }
}
