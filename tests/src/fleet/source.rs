//! The origin, and the line to it that all share.

use super::clock::Moment;
use super::host::Host;
use super::world::World;
use eddy_engine::swarm::{LeaseId, Reading};
use std::collections::VecDeque;
use std::ops::Range;

/// Blocks of one connection that may be under way, and two chunks at least. More would not fit what a kernel keeps for a socket, and
/// what waits before a slow line stays there when its connection is closed.
pub(super) const ORIGIN_WINDOW: u32 = 24;

/// The origin.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) connections: Vec<Option<Connection>>,
    pub(super) ready: VecDeque<usize>,
    pub(super) is_sending: bool,
    pub(super) sent: u64,
    pub(super) open: usize,
    pub(super) most: usize,
    /// Connections opened.
    pub(super) requests: u64,
    pub(super) down_until: Moment,
    pub(super) is_changed: bool,
    /// By file, whether each block has been sent.
    pub(super) blocks: Vec<Vec<bool>>,
    /// Connections that will be broken.
    pub(super) cuts: Vec<u64>,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) host: usize,
    pub(super) file: usize,
    pub(super) lease: LeaseId,
    /// Next block, counted in the file.
    pub(super) next: u32,
    pub(super) end: u32,
    pub(super) under_way: u32,
    pub(super) is_queued: bool,
    pub(super) not_before: Moment,
    /// Breaks before this block.
    pub(super) cut: Option<u32>,
    pub(super) serial: u64,
    /// First block that was asked for.
    pub(super) first: u32,
    /// What the reader knows of the origin.
    pub(super) reading: Reading,
}

impl Connection {
    /// Whether any of these was asked for by it, sent or not.
    pub(super) fn reads(&self, blocks: &Range<u32>) -> bool {
        self.first < blocks.end && blocks.start < self.end
    }
}

impl World {
    /// Counts what is sent again, and why.
    pub(super) fn note_again(&mut self, (host, file): (usize, usize), place: usize, blocks: Range<u32>, bytes: u64) {
        let sent = &mut self.origin.blocks;
        sent.resize(self.site.files, vec![false; self.geometry.block_count() as usize]);
        let known = &mut sent[file][blocks.start as usize..blocks.end as usize];
        let is_again = known.iter().any(|sent| *sent);
        known.fill(true);
        if !is_again {
            return;
        }
        let segment = self.geometry.segment_of(blocks.start);
        let first = self.geometry.blocks_of_segment(segment).start;
        let has = |host: &Host| host.is_alive && host.stores[file][segment as usize] >= blocks.end - first;
        let others = self.origin.connections.iter().enumerate().filter(|(other, _)| *other != place);
        let reads = |c: &&Connection| c.file == file && c.reads(&blocks);
        let why = if has(&self.hosts[host]) {
            "its reader has it"
        } else if others.filter_map(|(_, connection)| connection.as_ref()).any(|c| reads(&c)) {
            "another one reads it"
        } else if self.hosts.iter().any(has) {
            "another one has it"
        } else {
            "what was read is lost"
        };
        *self.figures.again.entry(why).or_default() += bytes;
    }
}
