//! Which contents this node takes part in: for which files, and what of them can be read.

use crate::transfer::open::{Arrivals, OpenEntity};
use eddy_content::{BlockSet, Geometry};
use eddy_engine::FileRef;
use eddy_engine::swarm::{Bits, Content, ContentTag, Order, OriginKey, Patience, Reading};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Contents that are remembered for others; the one that was wished for the longest ago is forgotten for one more.
const MOST: usize = 1024;
/// Blocks that arrive within this time are told of together.
const GATHER: Duration = Duration::from_millis(2);

/// A file that wants a content.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) file: FileRef,
    pub(super) open: OpenEntity,
    pub(super) reading: Reading,
    pub(super) order: Order,
    pub(super) patience: Patience,
}

/// One content.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) content: Content,
    pub(super) geometry: Geometry,
    pub(super) origin: OriginKey,
    /// Who wants it; what is ordered is ordered for the first. None where it is only given.
    pub(super) wants: Vec<Want>,
    /// What can be read of it, as far as was looked.
    readable: BlockSet,
    /// Tells of blocks that come for the first of those who want it.
    watch: Option<AbortOnDropHandle<()>>,
    /// When it was last of use, in the order of uses.
    used: u64,
    /// The URL under which a file of this node wanted it.
    url: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Contents {
    known: BTreeMap<ContentTag, Known>,
    uses: u64,
}

impl Known {
    /// A file wants it.
    pub(super) fn want(&mut self, want: Want) {
        self.url = Some(want.open.entity.entity().url.redacted());
        // Others may have named it who know less.
        self.content.reading = want.reading;
        self.wants.push(want);
    }

    /// What tells of blocks that come.
    pub(super) fn arrivals(&self) -> Arrivals {
        self.wants.first().map(|want| want.open.arrivals()).unwrap_or_default()
    }

    /// Looks what can be read; the segments of which that is more than before, with the blocks at their beginning.
    pub(super) fn look(&mut self) -> Vec<(u32, u32)> {
        let Some(want) = self.wants.first() else { return Vec::new() };
        let (readable, _) = want.open.entity.readable();
        let news = readable.difference(&self.readable);
        self.readable = readable;
        let mut grown = Vec::new();
        for run in news.runs() {
            for segment in self.geometry.segment_of(run.start)..=self.geometry.segment_of(run.end - 1) {
                if grown.last().is_none_or(|(last, _)| *last != segment) {
                    grown.push((segment, self.prefix(segment)));
                }
            }
        }
        grown
    }

    /// Blocks that can be read at the beginning of a segment.
    fn prefix(&self, segment: u32) -> u32 {
        let blocks = self.geometry.blocks_of_segment(segment);
        let lacking = BlockSet::from_run(blocks.clone()).difference(&self.readable).first_run();
        lacking.map_or(blocks.end, |run| run.start) - blocks.start
    }

    /// Whether these segments can be read.
    pub(super) fn is_whole(&self, mut segments: impl Iterator<Item = u32>) -> bool {
        segments.all(|segment| self.readable.contains_run(self.geometry.blocks_of_segment(segment)))
    }

    /// The segments that can be read.
    pub(super) fn have(&self) -> Bits {
        bits(&self.geometry, &self.readable)
    }

    /// Whether all of it is on the disk for good, as whoever gives it without wanting it must have it.
    pub(super) fn held(&self) -> Bits {
        let held = self.wants.first().map(|want| want.open.entity.held()).unwrap_or_default();
        bits(&self.geometry, &held)
    }

    /// Begins to tell `told` of blocks that come.
    pub(super) fn watch(&mut self, told: &mpsc::Sender<ContentTag>) {
        let Some(want) = self.wants.first() else { return self.watch = None };
        let (arrivals, tag, told) = (want.open.arrivals(), self.content.tag(), told.clone());
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut arrival = pin!(arrivals.next());
            arrival.as_mut().enable();
            loop {
                arrival.as_mut().await;
                arrival.set(arrivals.next());
                arrival.as_mut().enable();
                if told.send(tag).await.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
        })));
    }
}

impl Contents {
    pub(super) fn at(&self, tag: ContentTag) -> Option<&Known> {
        self.known.get(&tag)
    }

    pub(super) fn at_mut(&mut self, tag: ContentTag) -> Option<&mut Known> {
        self.known.get_mut(&tag)
    }

    /// Notes a use.
    pub(super) fn touch(&mut self, tag: ContentTag) {
        self.uses += 1;
        if let Some(known) = self.known.get_mut(&tag) {
            known.used = self.uses;
        }
    }

    /// Enters a content that is not known, and names one that is forgotten for it.
    pub(super) fn enter(&mut self, content: Content, geometry: Geometry, origin: OriginKey) -> Option<ContentTag> {
        self.uses += 1;
        let (wants, readable, watch, used, url) = (Vec::new(), BlockSet::new(), None, self.uses, None);
        self.known.insert(content.tag(), Known { content, geometry, origin, wants, readable, watch, used, url });
        if self.known.len() <= MOST {
            return None;
        }
        let given = self.known.iter().filter(|(_, known)| known.wants.is_empty() && known.used != used);
        let oldest = given.min_by_key(|(_, known)| known.used).map(|(tag, _)| *tag)?;
        self.known.remove(&oldest);
        Some(oldest)
    }

    /// Those that a file of this node wanted, with its URL.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (ContentTag, &str)> {
        self.known.iter().filter_map(|(tag, known)| Some((*tag, known.url.as_deref()?)))
    }

    pub(super) fn forget(&mut self, tag: ContentTag) {
        self.known.remove(&tag);
    }

    /// The content that a file wants.
    pub(super) fn of(&self, file: FileRef) -> Option<ContentTag> {
        let wants = |known: &Known| known.wants.iter().any(|want| want.file == file);
        self.known.iter().find(|(_, known)| wants(known)).map(|(tag, _)| *tag)
    }
}

/// The segments of which all blocks are among these.
pub(super) fn bits(geometry: &Geometry, blocks: &BlockSet) -> Bits {
    let mut have = Bits::none(geometry.segment_count());
    let is_whole = |segment: &u32| blocks.contains_run(geometry.blocks_of_segment(*segment));
    (0..geometry.segment_count()).filter(is_whole).for_each(|segment| have.insert(segment));
    have
}
