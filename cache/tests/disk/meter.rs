//! Counts what a store asks of its disk, and says at which operation something is to happen.

use rustix::io::Errno;
use std::fmt;

/// A kind of operation of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Create,
    Open,
    Read,
    Write,
    Sync,
    Preallocate,
    SetLength,
    Rename,
    Unlink,
    List,
    SyncDirectory,
    MakeDirectory,
    Measure,
    Volume,
    Lock,
}

/// All kinds.
pub(crate) const ALL: &[Kind] = &[
    Kind::Create,
    Kind::Open,
    Kind::Read,
    Kind::Write,
    Kind::Sync,
    Kind::Preallocate,
    Kind::SetLength,
    Kind::Rename,
    Kind::Unlink,
    Kind::List,
    Kind::SyncDirectory,
    Kind::MakeDirectory,
    Kind::Measure,
    Kind::Volume,
    Kind::Lock,
];
/// Those that change something on the disk.
pub(crate) const CHANGES: &[Kind] = &[
    Kind::Create,
    Kind::Write,
    Kind::Sync,
    Kind::Preallocate,
    Kind::SetLength,
    Kind::Rename,
    Kind::Unlink,
    Kind::SyncDirectory,
    Kind::MakeDirectory,
];
/// Those that may take room.
pub(crate) const ROOM: &[Kind] =
    &[Kind::Create, Kind::Write, Kind::Preallocate, Kind::SetLength, Kind::Rename, Kind::MakeDirectory];

/// What is to happen at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is refused with this error; of a write, some beginning may be done all the same.
    Refuse(Errno),
    /// The power goes before it.
    PowerCut,
    /// The process kills itself before it.
    Kill,
    /// It says that it is done, and is not: a sync that keeps nothing, a write that goes nowhere.
    Lie,
    /// A write goes to another place.
    Misdirect,
}

/// At which operations of some kinds something happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) kinds: &'static [Kind],
    /// The first of them, counted from 0 among these kinds.
    pub(crate) first: u64,
    /// How many of them.
    pub(crate) count: u64,
    pub(crate) event: Event,
}

impl Order {
    /// At one operation.
    pub(crate) fn once(kinds: &'static [Kind], at: u64, event: Event) -> Self {
        Self { kinds, first: at, count: 1, event }
    }

    /// From one operation on.
    pub(crate) fn from(kinds: &'static [Kind], at: u64, event: Event) -> Self {
        Self { kinds, first: at, count: u64::MAX, event }
    }
}

/// The counters of one disk.
#[derive(Default, Clone)]
pub(crate) struct Meter {
    counts: [u64; ALL.len()],
    order: Option<(Order, u64)>,
    happened: u64,
}

impl Meter {
    /// Counts an operation and says what is to happen at it.
    pub(crate) fn step(&mut self, kind: Kind) -> Option<Event> {
        self.counts[kind as usize] += 1;
        let (order, seen) = self.order.as_mut()?;
        if !order.kinds.contains(&kind) {
            return None;
        }
        let at = *seen;
        *seen += 1;
        if at < order.first || at - order.first >= order.count {
            return None;
        }
        self.happened += 1;
        Some(order.event)
    }

    /// Gives an order; its operations are counted from now on.
    pub(crate) fn order(&mut self, order: Option<Order>) {
        self.order = order.map(|order| (order, 0));
        self.happened = 0;
    }

    /// How often the last order came to pass.
    pub(crate) fn happened(&self) -> u64 {
        self.happened
    }

    /// How many operations of some kinds there were.
    pub(crate) fn count(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().map(|kind| self.counts[*kind as usize]).sum()
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = ALL.iter().filter(|kind| self.count(&[**kind]) > 0);
        said.try_for_each(|kind| write!(f, "{} {kind:?}, ", self.count(&[*kind])))?;
        write!(f, "{} in all", self.count(ALL))
    }
}
