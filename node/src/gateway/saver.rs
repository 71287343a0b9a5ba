//! Small bodies go into the store behind everything else: many in one transaction, and none when it cannot keep up.

use bytes::Bytes;
use eddy_cache::{Account, NewEntity, Privacy, Source, Store};
use eddy_content::http::Representation;
use eddy_content::http::freshness::Freshness;
use eddy_content::{BLOCK_SIZE, Entity, ResourceUrl};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bodies that wait; more are left in memory alone.
const QUEUE: usize = 1024;
/// Bytes of those that wait: no more than what their readers and the shelf have of them counts elsewhere. As many again may be on their way.
const QUEUE_BYTES: u64 = 64 << 20;
/// Bodies that are saved at once.
const BATCH: usize = 256;
/// How long a body waits for others, and lets its client have it first: to wake who saves it takes as long as to send it.
const PAUSE: Duration = Duration::from_millis(200);

/// A body that is to be saved.
struct Small {
    new: NewEntity,
    bytes: Bytes,
}

/// What is to be saved, and who wakes the one that does.
#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue>,
    is_time: Notify,
}

#[derive(Default)]
struct Queue {
    bodies: VecDeque<Small>,
    bytes: u64,
}

impl Waiting {
    /// Takes a body; whether it is the first that waits.
    fn push(&self, body: Small) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = queue.bytes + body.bytes.len() as u64;
        if queue.bodies.len() >= QUEUE || bytes > QUEUE_BYTES {
            return false;
        }
        queue.bytes = bytes;
        queue.bodies.push_back(body);
        queue.bodies.len() == 1
    }

    /// Those that have waited longest.
    fn batch(&self) -> Vec<Small> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let count = queue.bodies.len().min(BATCH);
        let batch: Vec<Small> = queue.bodies.drain(..count).collect();
        queue.bytes -= batch.iter().map(|body| body.bytes.len() as u64).sum::<u64>();
        batch
    }
}

/// The way to the saving task.
#[derive(Clone)]
pub(super) struct Saver {
    waiting: Arc<Waiting>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Saver {
    /// A saver, and its task, which ends with the stop.
    pub(super) fn start(
        store: Store,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let waiting = Arc::new(Waiting::default());
        (Self { waiting: waiting.clone(), tasks, stop: stop.clone() }, run(store, waiting, stop))
    }

    /// Takes a whole body in, some time.
    pub(super) fn save(
        &self,
        requested: &ResourceUrl,
        entity: Entity,
        facts: &Representation,
        freshness: Freshness,
        bytes: Bytes,
    ) {
        let new = NewEntity {
            entity,
            requested_url: requested.clone(),
            privacy: if facts.shareable.is_ok() { Privacy::Shareable } else { Privacy::Private },
            last_modified: facts.last_modified,
            digests: facts.digests.clone(),
            freshness: Some(freshness),
        };
        if !self.waiting.push(Small { new, bytes }) {
            return;
        }
        // By the clock of this thread, which serves the client: no other is woken before.
        let (waiting, stop) = (self.waiting.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => waiting.is_time.notify_one(),
            }
        });
    }
}

async fn run(store: Store, waiting: Arc<Waiting>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = waiting.is_time.notified() => {}
        }
        loop {
            let bodies = waiting.batch();
            if bodies.is_empty() {
                break;
            }
            let work = store.clone();
            let saved = tokio::task::spawn_blocking(move || save_all(&work, bodies)).await;
            if let Ok(Err(error)) = saved {
                tracing::debug!(%error, "small bodies stay in memory alone");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

fn save_all(store: &Store, bodies: Vec<Small>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (small, large): (Vec<_>, Vec<_>) = bodies.into_iter().partition(|body| body.bytes.len() as u64 <= BLOCK_SIZE);
    let small = small.into_iter().map(|Small { new, bytes }| (new, bytes.to_vec()));
    store.take_in(small.collect(), Account::NO_JOB)?;
    for Small { new, bytes } in large {
        let https = new.entity.url.is_https();
        let entity = store.begin(new)?;
        let mut writer = entity.writer(0, Source::Origin { https }, Account::NO_JOB);
        writer.push(&bytes)?;
        writer.finish()?;
        entity.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::Validator;

    fn small(number: u64) -> Small {
        of(number, Bytes::new())
    }

    fn of(number: u64, bytes: Bytes) -> Small {
        let url = ResourceUrl::parse("http://h/f").expect("parses");
        let entity = Entity { url: url.clone(), validator: Validator::StrongEtag("\"a\"".to_owned()), length: number };
        let new = NewEntity {
            entity,
            requested_url: url,
            privacy: Privacy::Private,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        Small { new, bytes }
    }

    #[test]
    fn bodies_wait_in_order_and_the_first_alone_wakes_who_saves_them() {
        let waiting = Waiting::default();
        let firsts = (0..QUEUE as u64 + 9).filter(|number| waiting.push(small(*number))).count();
        assert_eq!(firsts, 1);
        let mut saved = Vec::new();
        loop {
            let batch = waiting.batch();
            if batch.is_empty() {
                break;
            }
            assert!(batch.len() <= BATCH);
            saved.extend(batch.into_iter().map(|body| body.new.entity.length));
        }
        assert_eq!(saved, (0..QUEUE as u64).collect::<Vec<_>>(), "what comes while there is no room is not saved");
        assert!(waiting.push(small(0)), "the next is the first again");
    }
    #[test]
    fn what_waits_takes_a_bounded_memory() {
        let waiting = Waiting::default();
        let large = Bytes::from(vec![0; 4 << 20]);
        let fitting = QUEUE_BYTES / (4 << 20);
        let firsts = (0..2 * fitting).filter(|number| waiting.push(of(*number, large.clone()))).count();
        assert_eq!(firsts, 1);
        assert_eq!(waiting.batch().len() as u64, fitting);
        assert!(waiting.push(of(0, large)), "there is room again");
    }
}
