//! A body in memory that grows while it is read: small objects, and what has no version to hold on to.

use super::body::{Broken, Pieces};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// Pieces that have no more bytes together are kept as one: an origin may send them one by one, and each costs memory beside them.
const TINY: usize = 512;

/// A body that somebody fills and any number of readers read.
#[derive(Debug, Default)]
pub(super) struct Growing {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Pieces, each with its place.
    pieces: Vec<(u64, Bytes)>,
    received: u64,
    end: Option<End>,
    /// The memory that it takes, given back with it.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

enum Next {
    Piece(Bytes),
    Wait,
    End,
    Broken,
}

impl Growing {
    /// One that will have as many bytes as it has room for.
    pub(super) fn with_room(room: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        let state = State { _room: room, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), more: Notify::new() })
    }

    /// One that is whole.
    pub(super) fn whole(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        let growing = Self::with_room(room);
        growing.push(bytes);
        growing.end_whole();
        growing
    }

    pub(super) fn push(&self, bytes: Bytes) {
        if !bytes.is_empty() {
            let mut state = self.state();
            let at = state.received;
            state.received += bytes.len() as u64;
            match state.pieces.last_mut() {
                Some((_, last)) if last.len() + bytes.len() <= TINY => {
                    *last = Bytes::from([last.as_ref(), bytes.as_ref()].concat());
                }
                _ => state.pieces.push((at, bytes)),
            }
            drop(state);
            self.more.notify_waiters();
        }
    }

    /// Shows what has come so far, in order.
    pub(super) fn look(&self, mut see: impl FnMut(&[u8])) {
        let pieces: Vec<Bytes> = self.state().pieces.iter().map(|(_, piece)| piece.clone()).collect();
        pieces.iter().for_each(|piece| see(piece));
    }

    /// All that has come so far, and these bytes behind it.
    pub(super) fn followed_by(&self, last: &Bytes) -> Bytes {
        if self.received() == 0 {
            return last.clone();
        }
        let mut all = BytesMut::with_capacity(self.received() as usize + last.len());
        self.look(|piece| all.extend_from_slice(piece));
        all.extend_from_slice(last);
        all.freeze()
    }

    /// Bytes so far.
    pub(super) fn received(&self) -> u64 {
        self.state().received
    }

    /// Nothing more comes, and nothing is missing. What came in pieces is kept as one.
    pub(super) fn end_whole(&self) {
        let mut state = self.state();
        if state.pieces.len() > 1 {
            let mut all = BytesMut::with_capacity(state.received as usize);
            state.pieces.iter().for_each(|(_, piece)| all.extend_from_slice(piece));
            state.pieces = vec![(0, all.freeze())];
        }
        state.end = Some(End::Whole);
        drop(state);
        self.more.notify_waiters();
    }

    /// Nothing more comes, though something is missing.
    pub(super) fn end_broken(&self) {
        self.state().end.get_or_insert(End::Broken);
        self.more.notify_waiters();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state().end == Some(End::Broken)
    }

    /// All bytes, once they are here.
    pub(super) fn all(&self) -> Option<Bytes> {
        let state = self.state();
        let all = || state.pieces.first().map(|(_, piece)| piece.clone()).unwrap_or_default();
        (state.end == Some(End::Whole)).then(all)
    }

    /// Sends these bytes, waiting for those that are still to come. Ends when the reader is gone.
    pub(super) async fn send(&self, mut range: Range<u64>, to: &Pieces) {
        while range.start < range.end {
            let more = self.more.notified();
            let mut more = std::pin::pin!(more);
            more.as_mut().enable();
            match self.next(&range) {
                Next::Piece(bytes) => {
                    range.start += bytes.len() as u64;
                    if to.send(Ok(bytes)).await.is_err() {
                        return;
                    }
                }
                Next::Wait => more.await,
                Next::End => return,
                Next::Broken => {
                    let _ = to.send(Err(Broken::Off)).await;
                    return;
                }
            }
        }
    }

    fn next(&self, range: &Range<u64>) -> Next {
        let state = self.state();
        let after = state.pieces.partition_point(|(at, _)| *at <= range.start);
        let found = after.checked_sub(1).map(|index| &state.pieces[index]);
        if let Some((at, piece)) = found
            && range.start < at + piece.len() as u64
        {
            let from = (range.start - at) as usize;
            let to = ((range.end - at) as usize).min(piece.len());
            return Next::Piece(piece.slice(from..to));
        }
        match state.end {
            None => Next::Wait,
            Some(End::Whole) => Next::End,
            Some(End::Broken) => Next::Broken,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    async fn read(growing: Arc<Growing>, range: Range<u64>) -> Result<Vec<u8>, Broken> {
        let (to, mut from) = mpsc::channel(2);
        let sending = tokio::spawn(async move { growing.send(range, &to).await });
        let mut all = Vec::new();
        while let Some(piece) = from.recv().await {
            all.extend_from_slice(&piece?);
        }
        sending.await.expect("the sender ends");
        Ok(all)
    }

    #[tokio::test]
    async fn readers_follow_while_it_grows_and_begin_anywhere() {
        let growing = Growing::with_room(None);
        growing.push(Bytes::from_static(b"01234"));
        let readers = [0..10, 3..7, 9..10].map(|range| tokio::spawn(read(growing.clone(), range)));
        growing.push(Bytes::from_static(b"56789"));
        growing.end_whole();
        let mut found = Vec::new();
        for reader in readers {
            found.push(reader.await.expect("no panic").expect("whole"));
        }
        assert_eq!(found, [b"0123456789".to_vec(), b"3456".to_vec(), b"9".to_vec()]);
        assert_eq!(growing.all().expect("whole"), Bytes::from_static(b"0123456789"));
    }

    #[tokio::test]
    async fn bytes_that_come_one_by_one_are_kept_in_few_pieces() {
        let growing = Growing::with_room(None);
        let all: Vec<u8> = (0..4096u32).map(|number| number as u8).collect();
        all.iter().for_each(|byte| growing.push(Bytes::copy_from_slice(&[*byte])));
        assert_eq!(growing.state().pieces.len(), 4096 / TINY);
        assert_eq!(read(growing, 300..4096).await.expect("here"), &all[300..]);
    }

    #[tokio::test]
    async fn readers_hear_of_a_break() {
        let growing = Growing::with_room(None);
        growing.push(Bytes::from_static(b"01"));
        growing.end_broken();
        assert!(read(growing.clone(), 0..5).await.is_err());
        assert_eq!(read(growing, 0..2).await.expect("what is here is good"), b"01");
    }
}
