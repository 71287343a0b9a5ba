//! One machine: its swarm, what it holds, and what it is sending.

use super::clock::Moment;
use eddy_engine::Peer;
use eddy_engine::swarm::{ContentTag, Link, Swarm};
use std::collections::{BTreeMap, VecDeque};

/// Chunks of one flow that may be under way: a QUIC stream's window.
pub(super) const FLOW_WINDOW: u32 = 6;

/// One machine.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) peer: Peer,
    pub(super) swarm: Swarm,
    pub(super) link: Link,
    pub(super) is_alive: bool,
    /// Takes part in no swarm.
    pub(super) is_plain: bool,
    /// Takes and never gives.
    pub(super) is_taker: bool,
    pub(super) has_started: bool,
    /// Which half of a split network it is in.
    pub(super) half: bool,
    /// By file: verified blocks of each segment.
    pub(super) stores: Vec<Vec<u32>>,
    pub(super) whole: Vec<Option<Moment>>,
    pub(super) segments_left: Vec<u32>,
    /// The subscription by which a segment comes now.
    pub(super) subscriptions: BTreeMap<(usize, u32), (usize, u64)>,
    /// Segments that come by one request with another one, after it.
    pub(super) behind: BTreeMap<(usize, u32), u32>,
    /// Under which subscription somebody asked for a segment.
    pub(super) asked: BTreeMap<(usize, usize, u32), (u64, u32)>,
    pub(super) serves: Vec<Option<Serve>>,
    pub(super) free_serves: Vec<usize>,
    pub(super) by_segment: BTreeMap<(usize, u32), Vec<usize>>,
    pub(super) ready: VecDeque<usize>,
    pub(super) is_sending: bool,
    pub(super) stalled_until: Moment,
    /// It stands still.
    pub(super) busy_until: Moment,
    pub(super) down_free: Moment,
    pub(super) timer: Option<Moment>,
    pub(super) sent: u64,
    pub(super) messages: u64,
    pub(super) message_bytes: u64,
    pub(super) known: BTreeMap<ContentTag, usize>,
}

/// A segment on its way to somebody.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) to: usize,
    pub(super) file: usize,
    pub(super) segment: u32,
    pub(super) subscription: u64,
    pub(super) next: u32,
    /// Parts of the next chunk that have left.
    pub(super) parts: u32,
    pub(super) under_way: u32,
    pub(super) is_queued: bool,
    /// The segment after which this one comes, by the same request.
    pub(super) behind: Option<u32>,
}

impl Host {
    /// Makes a flow ready to send if there is something to send.
    pub(super) fn wake(&mut self, place: usize) {
        let Some(Some(serve)) = self.serves.get(place) else { return };
        let has_more = self.stores[serve.file][serve.segment as usize] > serve.next;
        let is_behind = serve.behind.is_some_and(|before| self.find_serve(serve.to, serve.file, before).is_some());
        let Some(Some(serve)) = self.serves.get_mut(place).filter(|_| !is_behind) else { return };
        if has_more && serve.under_way < FLOW_WINDOW && !serve.is_queued && !self.is_taker {
            serve.is_queued = true;
            self.ready.push_back(place);
        }
    }

    /// Wakes every flow of a segment.
    pub(super) fn wake_segment(&mut self, file: usize, segment: u32) {
        let Some(places) = self.by_segment.get(&(file, segment)) else { return };
        for place in places.clone() {
            self.wake(place);
        }
    }

    pub(super) fn add_serve(&mut self, serve: Serve) -> usize {
        let key = (serve.file, serve.segment);
        let place = match self.free_serves.pop() {
            Some(place) => {
                self.serves[place] = Some(serve);
                place
            }
            None => {
                self.serves.push(Some(serve));
                self.serves.len() - 1
            }
        };
        self.by_segment.entry(key).or_default().push(place);
        place
    }

    /// Ends a flow; its place is used again when nothing of it is under way.
    pub(super) fn drop_serve(&mut self, place: usize) {
        let Some(serve) = self.serves[place].take() else { return };
        if let Some(places) = self.by_segment.get_mut(&(serve.file, serve.segment)) {
            places.retain(|other| *other != place);
        }
        self.ready.retain(|other| *other != place);
        self.free_serves.push(place);
        // What comes after it by the same request begins.
        if let Some(next) = self.find_serve(serve.to, serve.file, serve.segment + 1) {
            self.wake(next);
        }
    }

    pub(super) fn find_serve(&self, to: usize, file: usize, segment: u32) -> Option<usize> {
        let places = self.by_segment.get(&(file, segment))?;
        places.iter().copied().find(|place| self.serves[*place].as_ref().is_some_and(|serve| serve.to == to))
    }
}
