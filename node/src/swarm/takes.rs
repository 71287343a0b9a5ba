//! What was ordered of the engine, under which name.

use eddy_engine::port::{Reach, TakeId};
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
    /// Segments of a member.
    Flow {
        /// Whom.
        source: Peer,
        /// Which; those that have come may be among them until another is wanted no more.
        segments: Vec<u32>,
        /// Whether it may still be receiving them.
        reach: Reach,
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

    /// A segment of a content is wanted from no member any more: takes those out that were to bring nothing else but what `is_whole`, and
    /// says for whom they were.
    pub(super) fn end_flow(
        &mut self,
        content: ContentTag,
        of: u32,
        is_whole: impl Fn(u32) -> bool,
    ) -> Vec<(TakeId, FileRef)> {
        let mut ended = Vec::new();
        self.takes.retain(|id, take| {
            let What::Flow { segments, .. } = &mut take.what else { return true };
            let Some(place) = segments.iter().position(|segment| *segment == of && take.content == content) else {
                return true;
            };
            segments.remove(place);
            segments.retain(|segment| !is_whole(*segment));
            if segments.is_empty() {
                ended.push((*id, take.file));
            }
            !segments.is_empty()
        });
        ended
    }

    /// Takes those out that bring something under a lease.
    pub(super) fn end_lease(&mut self, of: LeaseId) -> Vec<(TakeId, FileRef)> {
        let is_it = |take: &Take| matches!(take.what, What::Lease { lease, .. } if lease == of);
        let ended: Vec<_> =
            self.takes.iter().filter(|(_, take)| is_it(take)).map(|(id, take)| (*id, take.file)).collect();
        self.takes.retain(|_, take| !is_it(take));
        ended
    }

    /// Forgets what was ordered for a file.
    pub(super) fn forget(&mut self, file: FileRef) {
        self.takes.retain(|_, take| take.file != file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_engine::JobId;

    const ONE: ContentTag = ContentTag(1);

    #[test]
    fn a_request_for_several_segments_ends_when_none_of_them_is_wanted_any_more() {
        let mut takes = Takes::default();
        let file = FileRef { job: JobId([1; 16]), file: 0 };
        let (source, reach) = (Peer([1; 32]), Reach::Held);
        let of_run = |segments| What::Flow { source, segments, reach };
        let take = takes.begin(Take { file, content: ONE, what: of_run(vec![4, 5]) });
        let none = |_: u32| false;
        assert_eq!(takes.end_flow(ContentTag(2), 4, none), vec![], "of another content");
        assert_eq!(takes.end_flow(ONE, 4, none), vec![]);
        let left = Take { file, content: ONE, what: of_run(vec![5]) };
        assert_eq!(takes.at(take), Some(&left));
        assert_eq!(takes.end_flow(ONE, 4, none), vec![]);
        assert_eq!(takes.end_flow(ONE, 5, none), vec![(take, file)]);
        assert_eq!(takes.at(take), None);
        // The first two have come, then the source stalls: nothing keeps the request.
        let take = takes.begin(Take { file, content: ONE, what: of_run(vec![0, 1, 2, 3]) });
        assert_eq!(takes.end_flow(ONE, 2, |segment| segment < 2), vec![]);
        assert_eq!(takes.end_flow(ONE, 3, |segment| segment < 2), vec![(take, file)]);
    }
}
