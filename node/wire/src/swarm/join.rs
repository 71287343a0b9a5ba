//! JOIN and HAVE-ANY: a member's line, what it holds, and what it is receiving.

use super::{put_u32, put_u64, read_content, read_segment, write_content};
use crate::cursor::Cursor;
use crate::frame::{FrameError, Unsendable};
use eddy_engine::Peer;
use eddy_engine::swarm::constants::{JOIN_FLOWS, LOST, SEGMENTS};
use eddy_engine::swarm::{Bits, Holdings, Join, JoinFlow, JoinSource, LeaseId, Link, Medium, Order};

pub(super) fn write_join(join: &Join, out: &mut Vec<u8>) -> Result<(), Unsendable> {
    write_content(&join.content, out);
    write_link(join.link, out);
    out.push(match join.wants {
        None => 0,
        Some(Order::Rarest) => 1,
        Some(Order::Deadline) => 2,
    });
    write_bits(&join.have, out)?;
    write_flows(&join.flows, out)?;
    if join.lost.len() > LOST {
        return Err(Unsendable::TooMany { field: "lost homes" });
    }
    out.push(join.lost.len() as u8);
    join.lost.iter().for_each(|lost| out.extend_from_slice(&lost.0));
    out.push(join.asked);
    Ok(())
}

fn write_flows(flows: &[JoinFlow], out: &mut Vec<u8>) -> Result<(), Unsendable> {
    if flows.len() > JOIN_FLOWS {
        return Err(Unsendable::TooMany { field: "flows" });
    }
    out.extend_from_slice(&(flows.len() as u16).to_le_bytes());
    for flow in flows {
        put_u32(flow.segment, out);
        match flow.source {
            JoinSource::Origin(lease) => {
                out.push(1);
                put_u64(lease.0, out);
            }
            JoinSource::Member(peer) => {
                out.push(2);
                out.extend_from_slice(&peer.0);
            }
            JoinSource::Nobody => out.push(3),
        }
        put_u32(flow.prefix, out);
    }
    Ok(())
}

pub(super) fn read_join(cursor: &mut Cursor<'_>) -> Result<Join, FrameError> {
    let content = read_content(cursor)?;
    let link = read_link(cursor)?;
    let wants = match cursor.u8()? {
        0 => None,
        1 => Some(Order::Rarest),
        2 => Some(Order::Deadline),
        _ => return Err(FrameError::Field { field: "order" }),
    };
    let (have, flows) = (read_bits(cursor)?, read_flows(cursor)?);
    let count = usize::from(cursor.u8()?);
    if count > LOST {
        return Err(FrameError::Field { field: "number of lost homes" });
    }
    let lost = (0..count).map(|_| cursor.array().map(Peer)).collect::<Result<_, _>>()?;
    Ok(Join { content, link, wants, have, flows, lost, asked: cursor.u8()? })
}

fn read_flows(cursor: &mut Cursor<'_>) -> Result<Vec<JoinFlow>, FrameError> {
    let count = usize::from(cursor.u16()?);
    if count > JOIN_FLOWS {
        return Err(FrameError::Field { field: "number of flows" });
    }
    (0..count).map(|_| read_flow(cursor)).collect()
}

fn read_flow(cursor: &mut Cursor<'_>) -> Result<JoinFlow, FrameError> {
    let segment = read_segment(cursor)?;
    let source = match cursor.u8()? {
        1 => JoinSource::Origin(LeaseId(cursor.u64()?)),
        2 => JoinSource::Member(Peer(cursor.array()?)),
        3 => JoinSource::Nobody,
        _ => return Err(FrameError::Field { field: "source" }),
    };
    Ok(JoinFlow { segment, source, prefix: cursor.u32()? })
}

pub(super) fn write_holdings(holdings: Option<&Holdings>, out: &mut Vec<u8>) -> Result<(), Unsendable> {
    out.push(u8::from(holdings.is_some()));
    let Some(holdings) = holdings else { return Ok(()) };
    write_link(holdings.link, out);
    write_bits(&holdings.have, out)?;
    write_flows(&holdings.flows, out)
}

pub(super) fn read_holdings(cursor: &mut Cursor<'_>) -> Result<Option<Holdings>, FrameError> {
    match cursor.u8()? {
        0 => Ok(None),
        1 => Ok(Some(Holdings { link: read_link(cursor)?, have: read_bits(cursor)?, flows: read_flows(cursor)? })),
        _ => Err(FrameError::Field { field: "holdings" }),
    }
}

fn write_link(link: Link, out: &mut Vec<u8>) {
    put_u64(link.up, out);
    put_u64(link.down, out);
    out.push(match link.medium {
        Medium::Wired => 1,
        Medium::Wireless => 2,
    });
    put_u32(link.subnet, out);
}

fn read_link(cursor: &mut Cursor<'_>) -> Result<Link, FrameError> {
    let (up, down) = (cursor.u64()?, cursor.u64()?);
    let medium = match cursor.u8()? {
        1 => Medium::Wired,
        2 => Medium::Wireless,
        _ => return Err(FrameError::Field { field: "medium" }),
    };
    Ok(Link { up, down, medium, subnet: cursor.u32()? })
}

fn write_bits(bits: &Bits, out: &mut Vec<u8>) -> Result<(), Unsendable> {
    if bits.len() > SEGMENTS {
        return Err(Unsendable::TooMany { field: "segments" });
    }
    put_u32(bits.len(), out);
    out.extend_from_slice(&bits.to_bytes());
    Ok(())
}

fn read_bits(cursor: &mut Cursor<'_>) -> Result<Bits, FrameError> {
    let len = cursor.u32()?;
    if len > SEGMENTS {
        return Err(FrameError::Field { field: "number of segments" });
    }
    let bytes = cursor.slice(len.div_ceil(8) as usize)?;
    Bits::from_bytes(len, bytes).ok_or(FrameError::Field { field: "segments" })
}
