//! The origin, and the line to it that all share.

use super::clock::Moment;
use eddy_engine::swarm::{LeaseId, Reading};
use std::collections::VecDeque;

/// Chunks of one connection that may be under way.
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
    /// What the reader knows of the origin.
    pub(super) reading: Reading,
}
