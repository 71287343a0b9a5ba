//! A body that is read to its end, into memory, before anything of it goes out: one of unknown length, or a page whose links are replaced.

use super::flight::{MOST_IN_MEMORY, Target};
use super::refusal::Refusal;
use super::{Gateway, links, tally};
use crate::origin::{OriginBody, OriginError};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of the longest page whose links are replaced.
pub(super) const MOST_OF_PAGE: u64 = 16 << 20;
/// What `Cache-Status` says of a longer one, which goes out as it is.
pub(super) const OWN_LINKS: &str = "own-links";
/// Bytes of a page that keeps nobody waiting while it is gone through.
pub(super) const QUICK: usize = 64 << 10;
/// Bytes for which memory is set aside at a time, where nobody knows how many there will be.
const STEP: u64 = 64 << 10;
/// How long a page waits for memory that others have.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// A page whose links are replaced, of the length that its head names: without memory for it there is no answer, so it waits for some.
    Page(Option<u64>),
    /// A body of unknown length, which may go on as it comes.
    Body,
}

/// How far it could be read.
pub(super) enum Gathered {
    /// To its end, with the memory for it.
    All(Bytes, OwnedSemaphorePermit),
    /// So far: it is longer than was wanted. The bytes have their memory with them.
    TooLong(Bytes),
    /// So far: others have the memory for more.
    NoRoom(Bytes),
    /// Not to its end: the origin failed.
    Broken(OriginError),
}

impl Gateway {
    /// Reads a body. Memory is set aside for it as it comes: one whose length nobody knows holds no more than it has.
    pub(super) async fn gathered(&self, body: &mut OriginBody, wanted: Wanted, tally: &tally::Tally) -> Gathered {
        let (length, most) = match wanted {
            Wanted::Page(length) => (length, MOST_OF_PAGE),
            Wanted::Body => (None, MOST_IN_MEMORY),
        };
        if length.is_some_and(|length| length > most) {
            return Gathered::TooLong(Bytes::new());
        }
        let mut reserved = length.unwrap_or(STEP);
        let Some(mut room) = self.room_for(wanted, reserved).await else { return Gathered::NoRoom(Bytes::new()) };
        let mut read = BytesMut::with_capacity(length.map_or(0, |_| reserved as usize));
        loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
                    read.extend_from_slice(&bytes);
                    let lacking = (read.len() as u64).saturating_sub(reserved).next_multiple_of(STEP);
                    if lacking > 0 {
                        if reserved >= most {
                            return Gathered::TooLong(with_room(read.freeze(), room));
                        }
                        let Some(more) = self.room_for(wanted, lacking).await else {
                            return Gathered::NoRoom(with_room(read.freeze(), room));
                        };
                        room.merge(more);
                        reserved += lacking;
                    }
                }
                Ok(None) => break,
                Err(error) => return Gathered::Broken(error),
            }
        }
        // What it has grown in may be twice as large, and it may lie there for long.
        let read = if read.capacity() > read.len() { Bytes::copy_from_slice(&read) } else { read.freeze() };
        give_back(&mut room, read.len() as u64);
        Gathered::All(read, room)
    }

    /// Memory for more of what is read. What is on the shelf makes room for a page, and else it waits a while.
    async fn room_for(&self, wanted: Wanted, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let room = self.room(bytes);
        if room.is_some() || matches!(wanted, Wanted::Body) {
            return room;
        }
        self.shelf.give_up(bytes);
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        tokio::time::timeout(PATIENCE, self.room.clone().acquire_many_owned(kib)).await.ok()?.ok()
    }

    /// A page with its links replaced, and its fields made to fit it. A long one is not gone through where clients are served.
    pub(super) async fn led(&self, target: &Target, fields: &mut HeaderMap, page: Bytes) -> Result<Bytes, Refusal> {
        links::fit(fields);
        let (links, base, url) = (target.links.clone(), target.base.clone(), target.url.clone());
        let is_quick = page.len() <= QUICK;
        let leading = move || links::lead(&links, &base, &url, &page);
        if is_quick {
            return Ok(leading());
        }
        let led = tokio::task::spawn_blocking(leading).await;
        led.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops"))
    }

    /// Makes the memory for a page fit what it has become; false where others have it all.
    pub(super) async fn refit(&self, room: &mut OwnedSemaphorePermit, bytes: u64) -> bool {
        let lacking = bytes.saturating_sub(room.num_permits() as u64 * 1024);
        if lacking > 0 {
            let Some(more) = self.room_for(Wanted::Page(None), lacking).await else { return false };
            room.merge(more);
        }
        give_back(room, bytes);
        true
    }
}

/// Bytes that give their memory back when the last who has some of them lets go.
pub(super) fn with_room(bytes: Bytes, room: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Roomed { bytes, _room: room })
}

struct Roomed {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// There is no memory for a page that cannot go out as it is.
pub(super) fn no_room() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "others have the memory for pages; ask again")
}

/// Gives the memory back that so many bytes do not need: they may lie there for long.
fn give_back(room: &mut OwnedSemaphorePermit, bytes: u64) {
    let needed = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
    drop(room.split(room.num_permits().saturating_sub(needed)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[test]
    fn bytes_have_their_memory_until_the_last_of_them_is_gone() {
        let all = Arc::new(Semaphore::new(4));
        let room = all.clone().try_acquire_many_owned(3).expect("it is free");
        let bytes = with_room(Bytes::from_static(b"abc"), room);
        let last = bytes.slice(2..);
        drop(bytes);
        assert_eq!((all.available_permits(), &last[..]), (1, &b"c"[..]));
        drop(last);
        assert_eq!(all.available_permits(), 4);
    }
}
