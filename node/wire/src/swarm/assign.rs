//! ASSIGN: what to take from where. 12 bytes for each source, 20 for each lease.
//!
//! The highest bit of an item's segment tells a lease: its name and length follow in the place of a source.

use super::{put_u32, put_u64};
use crate::cursor::Cursor;
use crate::frame::{FrameError, Unsendable};
use eddy_engine::swarm::constants::{ASSIGN_ITEMS, SEGMENTS};
use eddy_engine::swarm::{Item, LeaseId, PeerTag};
use std::time::Duration;

const IS_LEASE: u32 = 1 << 31;

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
    let segment = first & !IS_LEASE;
    if segment >= SEGMENTS {
        return Err(FrameError::Field { field: "segment" });
    }
    if first & IS_LEASE == 0 {
        return Ok(Item::From { segment, source: PeerTag(cursor.u64()?) });
    }
    let (lease, end) = (LeaseId(cursor.u64()?), cursor.u32()?);
    if end <= segment || end > SEGMENTS {
        return Err(FrameError::Field { field: "segments of a lease" });
    }
    Ok(Item::Lease { lease, segments: segment..end })
}
