//! Small bodies go into the store behind everything else: many in one transaction, and none when it cannot keep up.

use bytes::Bytes;
use eddy_cache::{Account, NewEntity, Privacy, Source, Store};
use eddy_content::http::Representation;
use eddy_content::http::freshness::Freshness;
use eddy_content::{BLOCK_SIZE, Entity, ResourceUrl};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Bodies that wait; more are left in memory alone.
const QUEUE: usize = 1024;
/// Bodies that are saved at once.
const BATCH: usize = 256;
/// How long a body waits for others.
const PAUSE: Duration = Duration::from_millis(200);

/// A body that is to be saved.
struct Small {
    new: NewEntity,
    bytes: Bytes,
}

/// The way to the saving task.
#[derive(Clone)]
pub(super) struct Saver(mpsc::Sender<Small>);

impl Saver {
    /// A saver, and its task, which ends with the stop.
    pub(super) fn start(store: Store, stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), run(store, receiver, stop))
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
        let _ = self.0.try_send(Small { new, bytes });
    }
}

async fn run(store: Store, mut queue: mpsc::Receiver<Small>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            count = queue.recv_many(&mut batch, BATCH) => if count == 0 { return },
        }
        let (work, bodies) = (store.clone(), std::mem::take(&mut batch));
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

fn save_all(store: &Store, bodies: Vec<Small>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (small, large): (Vec<_>, Vec<_>) = bodies.into_iter().partition(|body| body.bytes.len() as u64 <= BLOCK_SIZE);
    store.take_in(small.into_iter().map(|Small { new, bytes }| (new, bytes.to_vec())).collect())?;
    for Small { new, bytes } in large {
        let https = new.entity.url.is_https();
        let entity = store.begin(new)?;
        let account = Account { job: rand::random(), file: 0 };
        let mut writer = entity.writer(0, Source::Origin { https }, account);
        writer.push(&bytes)?;
        writer.finish()?;
        entity.commit()?;
    }
    Ok(())
}
