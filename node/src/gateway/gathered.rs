//! A body that is read to its end, into memory, before anything of it goes out: one of unknown length, or a page whose links are replaced.

use super::flight::{MOST_IN_MEMORY, Target};
use super::refusal::Refusal;
use super::{Gateway, links, tally};
use crate::origin::{OriginBody, OriginError};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of the longest page whose links are replaced.
pub(super) const MOST_OF_PAGE: u64 = 16 << 20;
/// Bytes of a page that keeps nobody waiting while it is gone through.
const QUICK: usize = 64 << 10;

/// How far it could be read.
pub(super) enum Gathered {
    /// To its end, with the memory for it.
    All(Bytes, OwnedSemaphorePermit),
    /// So far: it is longer than was wanted.
    TooLong(Bytes),
    /// So far: others have the memory.
    NoRoom(Bytes),
    /// Not to its end: the origin failed.
    Broken(OriginError),
}

impl Gateway {
    /// Reads a body, of the length that its head names, up to so many bytes.
    pub(super) async fn gathered(
        &self,
        body: &mut OriginBody,
        (length, most): (Option<u64>, u64),
        tally: &tally::Tally,
    ) -> Gathered {
        let mut reserved = length.map_or(MOST_IN_MEMORY, |length| length.min(MOST_IN_MEMORY));
        let Some(mut room) = self.room(reserved) else { return Gathered::NoRoom(Bytes::new()) };
        let mut read = BytesMut::with_capacity(length.map_or(0, |_| reserved as usize));
        loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
                    read.extend_from_slice(&bytes);
                    while read.len() as u64 > reserved {
                        if reserved >= most {
                            return Gathered::TooLong(read.freeze());
                        }
                        let Some(more) = self.room(MOST_IN_MEMORY) else { return Gathered::NoRoom(read.freeze()) };
                        room.merge(more);
                        reserved += MOST_IN_MEMORY;
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

    /// A page with its links replaced, and its fields made to fit it. A long one is not gone through where clients are served.
    pub(super) async fn led(&self, target: &Target, fields: &mut HeaderMap, page: Bytes) -> Result<Bytes, Refusal> {
        links::fit(fields);
        let (links, base, url) = (target.links.clone(), self.base.clone(), target.url.clone());
        let is_quick = page.len() <= QUICK;
        let leading = move || links::lead(&links, &base, &url, &page);
        if is_quick {
            return Ok(leading());
        }
        let led = tokio::task::spawn_blocking(leading).await;
        led.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops"))
    }

    /// Makes the memory for a body fit what it has become; false where others have it all.
    pub(super) fn refit(&self, room: &mut OwnedSemaphorePermit, bytes: u64) -> bool {
        let lacking = bytes.saturating_sub(room.num_permits() as u64 * 1024);
        if lacking > 0 {
            let Some(more) = self.room(lacking) else { return false };
            room.merge(more);
        }
        give_back(room, bytes);
        true
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
