//! What homes and members of a swarm say to each other ([`eddy_engine::swarm`]), as bytes.
//!
//! Each message is one frame in the envelope of [`crate::frame`]: version, length, a kind byte that no other frame has, the
//! origin's key, then fields, little-endian. An assignment has 12 bytes for each item and 8 for its content, so that a member of a
//! large swarm hears less than 1 kB in a second.
//!
//! | module | messages |
//! |---|---|
//! | this one | the kinds, and those of one or two fields |
//! | [`join`] | JOIN and HAVE-ANY: a member's whole state |
//! | [`assign`] | ASSIGN: what to take from where |

mod assign;
mod join;

use crate::cursor::Cursor;
use crate::frame::sealed::Layout;
use crate::frame::{FrameError, Unsendable};
use eddy_content::LookupKey;
use eddy_engine::Peer;
use eddy_engine::swarm::constants::{DONE_SEGMENTS, SEGMENTS};
use eddy_engine::swarm::{Content, ContentTag, FailReason, LeaseId, Message, OriginKey, PeerTag, Reading, Role, Say};
use eddy_engine::trust::{Duty, Sharing};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The kind bytes; 32 to 63 are the swarm's.
mod kind {
    pub(super) const JOIN: u8 = 32;
    pub(super) const NOTE: u8 = 33;
    pub(super) const QUERY: u8 = 34;
    pub(super) const HAVE_ANY: u8 = 35;
    pub(super) const ASSIGN: u8 = 36;
    pub(super) const WHO_IS: u8 = 37;
    pub(super) const INTRODUCE: u8 = 38;
    pub(super) const WAITING: u8 = 39;
    pub(super) const TAIL: u8 = 40;
    pub(super) const PROGRESS: u8 = 41;
    pub(super) const DONE: u8 = 42;
    pub(super) const FAIL: u8 = 43;
    pub(super) const REDIRECT: u8 = 44;
    pub(super) const NOT_HOME: u8 = 45;
    pub(super) const CHANGED: u8 = 46;
    pub(super) const LEAVE: u8 = 47;
    pub(super) const RETURN: u8 = 48;
    pub(super) const WATCH: u8 = 49;
    pub(super) const ALARM: u8 = 50;
    pub(super) const ALIVE: u8 = 51;
    pub(super) const AT: u8 = 52;
    pub(super) const OFFERS: u8 = 53;
    pub(super) const REACHED: u8 = 54;
    pub(super) const SEEK: u8 = 55;
}

impl Layout for Message {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        out.push(kind_of(&self.say));
        put_u64(self.origin.0, out);
        match &self.say {
            Say::Join(join) => join::write_join(join, out)?,
            Say::Note { home } | Say::Redirect { home } => out.extend_from_slice(&home.0),
            Say::Query { content } => write_content(content, out),
            Say::Seek { content, home } => {
                write_content(content, out);
                out.extend_from_slice(&home.0);
            }
            Say::HaveAny { content, role, holdings } => {
                put_u64(content.0, out);
                out.push(role_code(*role));
                join::write_holdings(holdings.as_deref(), out)?;
            }
            Say::Assign { content, collect, items } => {
                put_u64(content.0, out);
                assign::write(*collect, items, out)?;
            }
            Say::Watch { content, sharing } => {
                put_u64(content.0, out);
                put_u32(sharing.among, out);
                out.push(duty_code(sharing.duty));
            }
            Say::Alarm { content, block } => {
                put_u64(content.0, out);
                put_u32(*block, out);
            }
            Say::WhoIs { peer } => put_u64(peer.0, out),
            Say::Introduce { peer } => out.extend_from_slice(&peer.0),
            Say::At { peer, address } => {
                out.extend_from_slice(&peer.0);
                write_address(*address, out);
            }
            Say::Waiting { content, segment, prefix } => {
                put_u64(content.0, out);
                put_u32(*segment, out);
                put_u32(*prefix, out);
            }
            Say::Tail { lease, first_byte } => {
                put_u64(lease.0, out);
                put_u64(first_byte.as_nanos() as u64, out);
            }
            Say::Progress { lease, bytes } => {
                put_u64(lease.0, out);
                put_u64(*bytes, out);
            }
            Say::Offers { content, lease, reading } => {
                put_u64(content.0, out);
                put_u64(lease.0, out);
                out.push(reading_code(*reading));
            }
            Say::Done { content, segments } => {
                put_u64(content.0, out);
                write_segments(segments, out)?;
            }
            Say::Fail { content, segment, source, reason, prefix } => {
                put_u64(content.0, out);
                put_u32(*segment, out);
                out.push(u8::from(source.is_some()));
                source.iter().for_each(|source| put_u64(source.0, out));
                out.push(reason_code(*reason));
                put_u32(*prefix, out);
            }
            Say::NotHome | Say::Alive => {}
            Say::Reached { content, blocks } => {
                put_u64(content.0, out);
                put_u32(*blocks, out);
            }
            Say::Changed { content } | Say::Leave { content } => put_u64(content.0, out),
            Say::Return { lease, prefix } => {
                put_u64(lease.0, out);
                put_u32(*prefix, out);
            }
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let kind = cursor.u8()?;
        if !(kind::JOIN..=kind::SEEK).contains(&kind) {
            return Err(FrameError::Kind { found: kind });
        }
        let origin = OriginKey(cursor.u64()?);
        Ok(Self { origin, say: read_say(kind, cursor)? })
    }
}

fn read_say(kind: u8, cursor: &mut Cursor<'_>) -> Result<Say, FrameError> {
    Ok(match kind {
        kind::JOIN => Say::Join(Box::new(join::read_join(cursor)?)),
        kind::NOTE => Say::Note { home: Peer(cursor.array()?) },
        kind::QUERY => Say::Query { content: read_content(cursor)? },
        kind::SEEK => Say::Seek { content: read_content(cursor)?, home: Peer(cursor.array()?) },
        kind::HAVE_ANY => {
            let content = read_tag(cursor)?;
            let role = read_role(cursor.u8()?)?;
            Say::HaveAny { content, role, holdings: join::read_holdings(cursor)?.map(Box::new) }
        }
        kind::ASSIGN => {
            let content = read_tag(cursor)?;
            let (collect, items) = assign::read(cursor)?;
            Say::Assign { content, collect, items }
        }
        kind::WATCH => {
            let (content, among) = (read_tag(cursor)?, cursor.u32()?);
            Say::Watch { content, sharing: Sharing { among, duty: read_duty(cursor.u8()?)? } }
        }
        kind::ALARM => Say::Alarm { content: read_tag(cursor)?, block: cursor.u32()? },
        kind::WHO_IS => Say::WhoIs { peer: PeerTag(cursor.u64()?) },
        kind::INTRODUCE => Say::Introduce { peer: Peer(cursor.array()?) },
        kind::AT => Say::At { peer: Peer(cursor.array()?), address: read_address(cursor)? },
        kind::WAITING => {
            Say::Waiting { content: read_tag(cursor)?, segment: read_segment(cursor)?, prefix: cursor.u32()? }
        }
        kind::TAIL => Say::Tail { lease: LeaseId(cursor.u64()?), first_byte: Duration::from_nanos(cursor.u64()?) },
        kind::PROGRESS => Say::Progress { lease: LeaseId(cursor.u64()?), bytes: cursor.u64()? },
        kind::OFFERS => {
            let (content, lease) = (read_tag(cursor)?, LeaseId(cursor.u64()?));
            Say::Offers { content, lease, reading: read_reading(cursor.u8()?)? }
        }
        kind::DONE => Say::Done { content: read_tag(cursor)?, segments: read_segments(cursor)? },
        kind::FAIL => {
            let (content, segment) = (read_tag(cursor)?, read_segment(cursor)?);
            let source = match cursor.u8()? {
                0 => None,
                1 => Some(PeerTag(cursor.u64()?)),
                _ => return Err(FrameError::Field { field: "source" }),
            };
            Say::Fail { content, segment, source, reason: read_reason(cursor.u8()?)?, prefix: cursor.u32()? }
        }
        kind::REDIRECT => Say::Redirect { home: Peer(cursor.array()?) },
        kind::NOT_HOME => Say::NotHome,
        kind::ALIVE => Say::Alive,
        kind::REACHED => Say::Reached { content: read_tag(cursor)?, blocks: cursor.u32()? },
        kind::CHANGED => Say::Changed { content: read_tag(cursor)? },
        kind::LEAVE => Say::Leave { content: read_tag(cursor)? },
        kind::RETURN => Say::Return { lease: LeaseId(cursor.u64()?), prefix: cursor.u32()? },
        found => return Err(FrameError::Kind { found }),
    })
}

fn kind_of(say: &Say) -> u8 {
    match say {
        Say::Join(_) => kind::JOIN,
        Say::Note { .. } => kind::NOTE,
        Say::Query { .. } => kind::QUERY,
        Say::Seek { .. } => kind::SEEK,
        Say::HaveAny { .. } => kind::HAVE_ANY,
        Say::Assign { .. } => kind::ASSIGN,
        Say::Watch { .. } => kind::WATCH,
        Say::Alarm { .. } => kind::ALARM,
        Say::WhoIs { .. } => kind::WHO_IS,
        Say::Introduce { .. } => kind::INTRODUCE,
        Say::At { .. } => kind::AT,
        Say::Waiting { .. } => kind::WAITING,
        Say::Tail { .. } => kind::TAIL,
        Say::Progress { .. } => kind::PROGRESS,
        Say::Offers { .. } => kind::OFFERS,
        Say::Done { .. } => kind::DONE,
        Say::Fail { .. } => kind::FAIL,
        Say::Redirect { .. } => kind::REDIRECT,
        Say::NotHome => kind::NOT_HOME,
        Say::Alive => kind::ALIVE,
        Say::Reached { .. } => kind::REACHED,
        Say::Changed { .. } => kind::CHANGED,
        Say::Leave { .. } => kind::LEAVE,
        Say::Return { .. } => kind::RETURN,
    }
}

fn write_content(content: &Content, out: &mut Vec<u8>) {
    out.extend_from_slice(&content.key.0);
    put_u64(content.length, out);
    out.push(reading_code(content.reading));
}

fn reading_code(reading: Reading) -> u8 {
    match reading {
        Reading::Ranges => 1,
        Reading::Stream => 2,
        Reading::Unknown => 3,
    }
}

fn read_reading(code: u8) -> Result<Reading, FrameError> {
    match code {
        1 => Ok(Reading::Ranges),
        2 => Ok(Reading::Stream),
        3 => Ok(Reading::Unknown),
        _ => Err(FrameError::Field { field: "reading" }),
    }
}

/// A content of a length that a swarm shares.
fn read_content(cursor: &mut Cursor<'_>) -> Result<Content, FrameError> {
    let (key, length) = (LookupKey(cursor.array()?), cursor.u64()?);
    let reading = read_reading(cursor.u8()?)?;
    let content = Content { key, length, reading };
    content.geometry().map(|_| content).ok_or(FrameError::Field { field: "length" })
}

/// An address in its one form: what is written in IPv6 of an IPv4 address is that one.
fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

fn read_address(cursor: &mut Cursor<'_>) -> Result<SocketAddr, FrameError> {
    let ip = match cursor.u8()? {
        4 => IpAddr::from(cursor.array::<4>()?),
        6 => IpAddr::from(cursor.array::<16>()?),
        _ => return Err(FrameError::Field { field: "family of an address" }),
    };
    if ip != ip.to_canonical() {
        return Err(FrameError::Field { field: "address" });
    }
    Ok(SocketAddr::new(ip, cursor.u16()?))
}

fn read_tag(cursor: &mut Cursor<'_>) -> Result<ContentTag, FrameError> {
    Ok(ContentTag(cursor.u64()?))
}

fn read_segment(cursor: &mut Cursor<'_>) -> Result<u32, FrameError> {
    let segment = cursor.u32()?;
    if segment < SEGMENTS { Ok(segment) } else { Err(FrameError::Field { field: "segment" }) }
}

fn write_segments(segments: &[u32], out: &mut Vec<u8>) -> Result<(), Unsendable> {
    if segments.len() > DONE_SEGMENTS {
        return Err(Unsendable::TooMany { field: "segments" });
    }
    out.extend_from_slice(&(segments.len() as u16).to_le_bytes());
    segments.iter().for_each(|segment| put_u32(*segment, out));
    Ok(())
}

fn read_segments(cursor: &mut Cursor<'_>) -> Result<Vec<u32>, FrameError> {
    let count = usize::from(cursor.u16()?);
    if count > DONE_SEGMENTS {
        return Err(FrameError::Field { field: "number of segments" });
    }
    (0..count).map(|_| read_segment(cursor)).collect()
}

fn role_code(role: Role) -> u8 {
    match role {
        Role::Acting => 1,
        Role::Plain => 2,
    }
}

fn read_role(code: u8) -> Result<Role, FrameError> {
    match code {
        1 => Ok(Role::Acting),
        2 => Ok(Role::Plain),
        _ => Err(FrameError::Field { field: "role" }),
    }
}

fn duty_code(duty: Duty) -> u8 {
    match duty {
        Duty::Watcher => 1,
        Duty::Other => 2,
    }
}

fn read_duty(code: u8) -> Result<Duty, FrameError> {
    match code {
        1 => Ok(Duty::Watcher),
        2 => Ok(Duty::Other),
        _ => Err(FrameError::Field { field: "duty" }),
    }
}

const REASONS: [FailReason; 7] = [
    FailReason::Dead,
    FailReason::Stalled,
    FailReason::Starved,
    FailReason::Corrupt,
    FailReason::Refused,
    FailReason::OriginError,
    FailReason::Lacking,
];

fn reason_code(reason: FailReason) -> u8 {
    match reason {
        FailReason::Dead => 1,
        FailReason::Stalled => 2,
        FailReason::Starved => 3,
        FailReason::Corrupt => 4,
        FailReason::Refused => 5,
        FailReason::OriginError => 6,
        FailReason::Lacking => 7,
    }
}

fn read_reason(code: u8) -> Result<FailReason, FrameError> {
    REASONS.into_iter().find(|reason| reason_code(*reason) == code).ok_or(FrameError::Field { field: "reason" })
}

fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests;
