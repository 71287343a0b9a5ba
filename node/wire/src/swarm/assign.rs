//! ASSIGN: what to take from where. 12 bytes for each segment of a source, 16 for each run of them that it holds and for each lease.
//!
//! The highest bit of an item's first segment tells a lease, whose name comes in the place of a source; the second highest a run. Of both
//! the segment behind the last follows.

use super::{put_u32, put_u64};
use crate::cursor::Cursor;
use crate::frame::{FrameError, Unsendable};
use eddy_engine::swarm::constants::{ASSIGN_ITEMS, RUN_SEGMENTS, SEGMENTS};
use eddy_engine::swarm::{Item, LeaseId, PeerTag};
use std::time::Duration;

const IS_LEASE: u32 = 1 << 31;
const IS_RUN: u32 = 1 << 30;

pub(super) fn write(collect: Duration, items: &[Item], out: &mut Vec<u8>) -> Result<(), Unsendable> {
    if items.len() > ASSIGN_ITEMS {
        return Err(Unsendable::TooMany { field: "items" });
    }
    let collect = u16::try_from(collect.as_millis()).unwrap_or(u16::MAX);
    out.extend_from_slice(&collect.to_le_bytes());
    out.extend_from_slice(&(items.len() as u16).to_le_bytes());
    for item in items {
        match item {
            Item::From { segment, source } => {
                put_u32(*segment, out);
                put_u64(source.0, out);
            }
            Item::Held { segments, source } => {
                put_u32(segments.start | IS_RUN, out);
                put_u64(source.0, out);
                put_u32(segments.end, out);
            }
            Item::Lease { lease, segments } => {
                put_u32(segments.start | IS_LEASE, out);
                put_u64(lease.0, out);
                put_u32(segments.end, out);
            }
        }
    }
    Ok(())
}

pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<(Duration, Vec<Item>), FrameError> {
    let collect = Duration::from_millis(u64::from(cursor.u16()?));
    let count = usize::from(cursor.u16()?);
    if count > ASSIGN_ITEMS {
        return Err(FrameError::Field { field: "number of items" });
    }
    let items = (0..count).map(|_| read_item(cursor)).collect::<Result<_, _>>()?;
    Ok((collect, items))
}

fn read_item(cursor: &mut Cursor<'_>) -> Result<Item, FrameError> {
    let first = cursor.u32()?;
    let (segment, kind) = (first & !(IS_LEASE | IS_RUN), first & (IS_LEASE | IS_RUN));
    if segment >= SEGMENTS || kind == IS_LEASE | IS_RUN {
        return Err(FrameError::Field { field: "segment" });
    }
    let name = cursor.u64()?;
    if kind == 0 {
        return Ok(Item::From { segment, source: PeerTag(name) });
    }
    let end = cursor.u32()?;
    let is_run = kind == IS_RUN;
    if end <= segment || end > SEGMENTS || (is_run && end - segment > RUN_SEGMENTS) {
        return Err(FrameError::Field { field: "segments" });
    }
    let segments = segment..end;
    Ok(if is_run {
        Item::Held { segments, source: PeerTag(name) }
    } else {
        Item::Lease { lease: LeaseId(name), segments }
    })
}
