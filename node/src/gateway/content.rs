//! The content of a request that is forwarded: read into memory that is set aside as it comes, and not for ever.

use super::gathered::with_room;
use super::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use hyper::body::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Bytes of the longest content.
const MOST: usize = 16 << 20;
/// Bytes for which memory is set aside at a time.
const STEP: usize = 64 << 10;
/// KiB that are left for answers: who sends and never ends takes no memory from those who only read.
const FOR_ANSWERS_KIB: usize = 32 << 10;
/// How long a client may send nothing: as long as it may take for a head.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads the content of a request. Its bytes give their memory back when the last of them are gone.
pub(super) async fn collect<B>(room: &Arc<Semaphore>, mut content: B) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut all, mut reserved, mut permit) = (BytesMut::new(), 0, None);
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut content).poll_frame(cx));
        let next = tokio::time::timeout(SILENCE, next).await;
        let next =
            next.map_err(|_| refused(StatusCode::REQUEST_TIMEOUT, "the content of the request does not come"))?;
        let frame = match next {
            None => break,
            Some(Err(_)) => return Err(refused(StatusCode::BAD_REQUEST, "the content of the request broke off")),
            Some(Ok(frame)) => frame,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        let length = all.len() + bytes.len();
        if length > MOST {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the content of the request is too large"));
        }
        if length > reserved {
            let lacking = (length - reserved).next_multiple_of(STEP);
            let more = set_aside(room, lacking / 1024).ok_or_else(|| {
                refused(StatusCode::SERVICE_UNAVAILABLE, "others have the memory for contents; ask again")
            })?;
            match &mut permit {
                None => permit = Some(more),
                Some(permit) => permit.merge(more),
            }
            reserved += lacking;
        }
        all.extend_from_slice(&bytes);
    }
    Ok(match permit {
        Some(permit) => with_room(all.freeze(), permit),
        None => Bytes::new(),
    })
}

/// Memory for so many KiB, where enough is left.
fn set_aside(room: &Arc<Semaphore>, kib: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
    let is_left = room.available_permits() >= kib + FOR_ANSWERS_KIB;
    room.clone().try_acquire_many_owned(u32::try_from(kib).ok()?).ok().filter(|_| is_left)
}

fn refused(status: StatusCode, text: &str) -> Refusal {
    Refusal::new(status, text)
}

#[cfg(test)]
mod tests {
    use super::super::body::AnswerBody;
    use super::*;

    fn status(refusal: &Refusal) -> u16 {
        refusal.answer().status().as_u16()
    }

    fn sends(pieces: usize, length: usize) -> AnswerBody {
        AnswerBody::coming(move |to| async move {
            for _ in 0..pieces {
                if to.send(Ok(Bytes::from(vec![7; length]))).await.is_err() {
                    return;
                }
            }
        })
    }

    #[tokio::test]
    async fn a_content_has_memory_for_what_it_is_and_as_long_as_it_is_there() {
        let room = Arc::new(Semaphore::new(FOR_ANSWERS_KIB + 128));
        let free = room.available_permits();
        let got = collect(&room, sends(3, 30_000)).await.expect("there is room");
        assert_eq!((got.len(), room.available_permits()), (90_000, free - 128));
        // All that there is for contents is taken.
        let refusal = collect(&room, sends(1, 1)).await.expect_err("others have it");
        assert_eq!((status(&refusal), room.available_permits()), (503, free - 128));
        drop(got);
        assert_eq!(room.available_permits(), free);
        assert!(collect(&room, sends(0, 0)).await.expect("nothing needs nothing").is_empty());
        let room = Arc::new(Semaphore::new(2 * FOR_ANSWERS_KIB));
        let refusal = collect(&room, sends(17, 1 << 20)).await.expect_err("it is too long");
        assert_eq!((status(&refusal), room.available_permits()), (413, 2 * FOR_ANSWERS_KIB));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_sending_gives_the_memory_back() {
        let room = Arc::new(Semaphore::new(2 * FOR_ANSWERS_KIB));
        let began = tokio::time::Instant::now();
        let silent = AnswerBody::coming(|to| async move {
            let _ = to.send(Ok(Bytes::from_static(b"a"))).await;
            to.closed().await;
        });
        let refusal = collect(&room, silent).await.expect_err("it never ends");
        assert_eq!((status(&refusal), began.elapsed()), (408, SILENCE));
        assert_eq!(room.available_permits(), 2 * FOR_ANSWERS_KIB);
    }
}
