//! An entity of the store that is read while the engine fills it.
//!
//! Every reader reads at its own pace: what has just come from the origin from memory, the rest from the store, block by block and each
//! held against its hash; the transfer goes on at its own. Reading begins before the entity is open, for its place in the store takes
//! longer than the first bytes need. When nobody reads any more, what is far from its end is given up; its blocks stay. What the store does
//! not take, or takes no more of, each reader reads at the origin for itself (`alone`).

use super::alone::{Rest, Way};
use super::body::{Broken, Pieces};
use crate::driver::command::{Act, Whose};
use crate::driver::{DriverHandle, HoldOrder, Holding};
use crate::transfer::open::Arrivals;
use crate::transfer::recent::Recent;
use bytes::Bytes;
use eddy_cache::{EntityHandle, ReadError};
use eddy_content::BLOCK_SIZE;
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use eddy_engine::JobId;
use eddy_wire::api::{JobState, Sources};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Blocks that are read at once: 1 MiB.
const RUN: u32 = 16;

/// How long a transfer that nobody reads goes on, in case somebody comes back.
const LINGER: Duration = Duration::from_secs(10);

/// How much sooner those who wait for a body that is all in memory may begin than the store.
const HEAD_START: Duration = Duration::from_millis(100);

/// Bytes that are fetched to the end though nobody reads them: less than the way back would cost.
const NEAR_END: u64 = 16 << 20;

/// How the filling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// The entity is not open yet.
    Opening,
    Going,
    /// Nothing more comes into the store; what is not there then will not be, and nobody has held the whole against what its name promises.
    Over,
    /// The whole is here, and is what its name promises.
    Kept,
    /// The whole is here, and is not what its name promises.
    False,
}

/// An entity, open or about to be, and the job that fills it, if one does.
#[derive(Debug)]
pub(super) struct Filling {
    length: u64,
    /// What its name promises: the last block waits until the whole is held against that, so that nobody gets all of what is false.
    promised: Vec<ExpectedDigest>,
    /// The entity, once it is open, and who tells of its blocks.
    place: OnceLock<(EntityHandle, Arrivals)>,
    /// Tells nothing, until it is.
    silence: Arrivals,
    /// What has just come from the origin.
    recent: Recent,
    /// How a reader goes on where the store has nothing for it.
    way: Option<Way>,
    stand: watch::Sender<Stand>,
    /// Readers now.
    readers: watch::Sender<usize>,
}

impl Filling {
    fn new(length: u64, promised: Vec<ExpectedDigest>, recent: Recent, way: Option<Way>, stand: Stand) -> Self {
        Self {
            length,
            promised,
            place: OnceLock::new(),
            silence: Arrivals::default(),
            recent,
            way,
            stand: watch::channel(stand).0,
            readers: watch::channel(0).0,
        }
    }

    /// One that is whole.
    pub(super) fn whole(entity: EntityHandle) -> Arc<Self> {
        let filling = Self::new(entity.geometry().length(), Vec::new(), Recent::new(0, None), None, Stand::Kept);
        let _ = filling.place.set((entity, Arrivals::default()));
        Arc::new(filling)
    }

    /// One that a job fills.
    pub(super) fn of(holding: &Holding, promised: Vec<ExpectedDigest>, way: Way) -> Arc<Self> {
        let length = holding.entity.geometry().length();
        let filling = Self::new(length, promised, Recent::new(0, None), Some(way), Stand::Opening);
        filling.open(holding);
        Arc::new(filling)
    }

    /// One whose first bytes come before it is open.
    pub(super) fn coming(length: u64, promised: Vec<ExpectedDigest>, recent: Recent, way: Way) -> Arc<Self> {
        Arc::new(Self::new(length, promised, recent, Some(way), Stand::Opening))
    }

    fn open(&self, holding: &Holding) {
        let _ = self.place.set((holding.entity.clone(), holding.arrivals.clone()));
        self.stand.send_replace(Stand::Going);
    }

    /// Waits until those who read what has just come have all of it, but not for long: what the store does with it takes the cores and the disk
    /// from them.
    pub(super) async fn let_readers_go_first(&self) {
        let mut readers = self.readers.subscribe();
        let gone = async {
            // The sender lives as long as this does.
            let _ = readers.wait_for(|count| *count > 0).await;
            let _ = readers.wait_for(|count| *count == 0).await;
        };
        let _ = tokio::time::timeout(HEAD_START, gone).await;
    }

    /// Has a job fill it, and follows that to its end.
    pub(super) async fn fill(&self, order: HoldOrder, driver: &DriverHandle) -> Followed {
        match driver.hold(order).await {
            Ok(holding) => {
                self.open(&holding);
                self.follow(holding.job, driver).await
            }
            Err(refusal) => {
                self.say_refused(&refusal);
                self.stand.send_replace(Stand::Over);
                Followed::default()
            }
        }
    }

    /// Follows the job to its end, and holds the whole against what its name promises.
    pub(super) async fn follow(&self, job: JobId, driver: &DriverHandle) -> Followed {
        let mut sources = Sources::default();
        let mut readers = self.readers.subscribe();
        if let Ok(mut view) = driver.watch(Whose::Anybodys, job).await {
            loop {
                let state = {
                    let view = view.borrow_and_update();
                    sources = view.sources();
                    if let (JobState::Error, Some(error)) = (view.state, &view.error) {
                        self.say_refused(error.detail.as_deref().unwrap_or(&error.title));
                    }
                    view.state
                };
                if state.is_final() || state == JobState::Error {
                    break;
                }
                tokio::select! {
                    changed = view.changed() => if changed.is_err() { break },
                    () = self.is_deserted(&mut readers) => break,
                }
            }
        }
        // A job that has ended refuses, which is right.
        let _ = driver.act(Whose::Anybodys, job, Act::Cancel).await;
        let end = self.judge().await;
        self.stand.send_replace(end);
        let proof = match end {
            Stand::False => Proof::False,
            Stand::Kept => Proof::Kept,
            _ if self.promised.is_empty() => Proof::Kept,
            _ => Proof::Unknown,
        };
        Followed { sources, proof }
    }

    fn say_refused(&self, why: impl std::fmt::Display) {
        let url = self.way.as_ref().map(|way| tracing::field::display(&way.question.url));
        tracing::warn!(url, %why, "a file is filled no further: each of its readers goes on at the origin");
    }

    /// How it stands in the end: whether the whole is here, and is what its name promises; that takes a pass over it.
    async fn judge(&self) -> Stand {
        let Some((entity, _)) = self.place.get().filter(|(entity, _)| entity.is_complete()) else { return Stand::Over };
        if self.promised.is_empty() {
            return Stand::Kept;
        }
        let (entity, mut check) = (entity.clone(), DigestCheck::new(&self.promised));
        let kept = tokio::task::spawn_blocking(move || -> Option<bool> {
            let mut reader = entity.reader();
            let blocks = entity.geometry().block_count();
            for start in (0..blocks).step_by(RUN as usize) {
                check.update(reader.read(start..blocks.min(start + RUN)).ok()?);
            }
            Some(check.verify().is_ok())
        });
        match kept.await {
            Ok(Some(true)) => Stand::Kept,
            Ok(Some(false)) => Stand::False,
            // What cannot be read is no lie of the origin's: its readers go on there.
            _ => Stand::Over,
        }
    }

    /// The end of what may be shown now: of what is promised not the last block, unless the whole is known to be that.
    fn shown(&self, now: Stand) -> u64 {
        match now {
            Stand::False => 0,
            Stand::Opening | Stand::Going | Stand::Over if !self.promised.is_empty() => last_block(self.length),
            Stand::Opening | Stand::Going | Stand::Over | Stand::Kept => self.length,
        }
    }

    /// Waits until nobody has read for a while and the end is far.
    async fn is_deserted(&self, readers: &mut watch::Receiver<usize>) {
        loop {
            if readers.wait_for(|count| *count == 0).await.is_err() {
                return std::future::pending().await;
            }
            tokio::select! {
                _ = readers.wait_for(|count| *count > 0) => continue,
                () = tokio::time::sleep(LINGER) => {}
            }
            if self.length.saturating_sub(self.held()) > NEAR_END {
                return;
            }
        }
    }

    /// Bytes that are held.
    fn held(&self) -> u64 {
        let Some((entity, _)) = self.place.get() else { return 0 };
        let geometry = entity.geometry();
        entity.held().runs().map(|run| geometry.bytes_of(run)).map(|bytes| bytes.end - bytes.start).sum()
    }

    /// Whether nothing of it is shown before the whole is known to be what is promised.
    pub(super) fn is_judged_first(&self) -> bool {
        !self.promised.is_empty() && last_block(self.length) == 0
    }

    /// Counts a reader for as long as the result lives.
    pub(super) fn reader(self: &Arc<Self>) -> Reader {
        self.readers.send_modify(|count| *count += 1);
        Reader(self.clone())
    }

    /// The bytes at the beginning of this range that have just come.
    fn fresh(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut bytes = self.recent.from(range.start).filter(|_| !range.is_empty())?;
        bytes.truncate(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
        Some(bytes)
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some((entity, _)) = self.place.take() {
            let_go(entity);
        }
    }
}

/// Lets go of an entity. The last one who has it may write what is not in the index, and evict: not where clients are served.
pub(super) fn let_go(entity: EntityHandle) {
    if entity.ends_quietly() {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn_blocking(move || drop(entity)));
    }
}

/// Where the last block of so many bytes begins.
pub(super) fn last_block(length: u64) -> u64 {
    length.saturating_sub(1) / BLOCK_SIZE * BLOCK_SIZE
}

/// Which of the blocks of a range can be read now, from the first on.
fn ready(entity: &EntityHandle, range: &Range<u64>) -> Range<u32> {
    let blocks = (range.start / BLOCK_SIZE) as u32..range.end.div_ceil(BLOCK_SIZE) as u32;
    if range.is_empty() {
        return blocks.start..blocks.start;
    }
    let end = blocks.clone().take(RUN as usize).find(|block| !entity.is_readable(*block));
    blocks.start..end.unwrap_or(blocks.end.min(blocks.start + RUN))
}

/// How it went with a filling.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Where its bytes came from.
    pub(super) sources: Sources,
    /// What is known in the end of what its name promises.
    pub(super) proof: Proof,
}

/// Whether a promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Proof {
    /// It is, or there is none.
    Kept,
    /// It is not.
    False,
    /// Nobody knows: not all is here, or it cannot be read.
    #[default]
    Unknown,
}

/// One reader of a filling.
pub(super) struct Reader(Arc<Filling>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.send_modify(|count| *count -= 1);
    }
}

impl Reader {
    /// Whether nothing comes before the whole is known to be what is promised.
    pub(super) fn is_judged_first(&self) -> bool {
        self.0.is_judged_first()
    }

    /// Sends these bytes, waiting for those that are still to come. Ends when the client is gone.
    pub(super) async fn send(&self, mut range: Range<u64>, to: &Pieces) {
        let filling = &*self.0;
        let mut stand = filling.stand.subscribe();
        // In case that the store has no place for it: then this reader alone can say whether the whole is right.
        let is_whole = range == (0..filling.length);
        let mut check = (is_whole && !filling.promised.is_empty()).then(|| DigestCheck::new(&filling.promised));
        while range.start < range.end {
            let now = *stand.borrow_and_update();
            let (entity, arrivals) =
                filling.place.get().map_or((None, &filling.silence), |(entity, arrivals)| (Some(entity), arrivals));
            let (mut arrival, mut newest) = (pin!(arrivals.next()), pin!(filling.recent.next()));
            arrival.as_mut().enable();
            newest.as_mut().enable();
            let visible = range.start..range.end.min(filling.shown(now)).max(range.start);
            let bytes = match (filling.fresh(&visible), entity.map(|entity| (entity, ready(entity, &visible)))) {
                (Some(bytes), _) => bytes,
                (None, Some((entity, blocks))) if !blocks.is_empty() => match read(entity, blocks, &visible).await {
                    Some(bytes) => bytes,
                    // Damaged, or lost with a commit that failed.
                    None => return self.go_on(range, check, to).await,
                },
                (None, _) if now == Stand::Over => return self.go_on(range, check, to).await,
                (None, _) if now == Stand::False => return broken(to, Broken::False).await,
                (None, _) if now == Stand::Kept => return broken(to, Broken::Off).await,
                (None, _) => {
                    tokio::select! {
                        () = arrival => {}
                        () = newest => {}
                        _ = stand.changed() => {}
                        () = to.closed() => return,
                    }
                    continue;
                }
            };
            range.start += bytes.len() as u64;
            match &mut check {
                Some(_) if entity.is_some() => check = None,
                Some(check) => check.update(&bytes),
                None => {}
            }
            if to.send(Ok(bytes)).await.is_err() {
                return;
            }
        }
    }

    /// Sends what the store does not have: from the origin, for this reader alone.
    async fn go_on(&self, range: Range<u64>, check: Option<DigestCheck>, to: &Pieces) {
        let (length, promised) = (self.0.length, &self.0.promised);
        let sent = match &self.0.way {
            Some(way) => way.send(Rest { range, length, promised, check }, to).await,
            None => Err(Broken::Off),
        };
        if let Err(why) = sent {
            broken(to, why).await;
        }
    }
}

async fn broken(to: &Pieces, why: Broken) {
    let _ = to.send(Err(why)).await;
}

/// Bytes of `range` that lie in these blocks.
async fn read(entity: &EntityHandle, blocks: Range<u32>, range: &Range<u64>) -> Option<Bytes> {
    let reading = entity.clone();
    let read = tokio::task::spawn_blocking(move || read_some(&reading, blocks)).await.ok()?;
    let (read, bytes) = match read {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(url = %entity.entity().url, %error, "a block that a client wants cannot be read");
            return None;
        }
    };
    let place = entity.geometry().bytes_of(read);
    let from = (range.start - place.start) as usize;
    let to = (range.end.min(place.end) - place.start) as usize;
    Some(Bytes::from(bytes).slice(from..to))
}

/// Reads blocks; only the first of them where they are partly held and partly only written.
fn read_some(entity: &EntityHandle, blocks: Range<u32>) -> Result<(Range<u32>, Vec<u8>), ReadError> {
    let mut bytes = Vec::new();
    match entity.read_written(blocks.clone(), &mut bytes) {
        Err(ReadError::NotHeld { .. }) if blocks.len() > 1 => {
            let first = blocks.start..blocks.start + 1;
            entity.read_written(first.clone(), &mut bytes).map(|()| (first, bytes))
        }
        read => read.map(|()| (blocks, bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::digest::DigestAlgorithm;

    fn coming(promised: Vec<ExpectedDigest>) -> Filling {
        Filling::new(3 * BLOCK_SIZE + 5, promised, Recent::new(0, None), None, Stand::Opening)
    }

    #[test]
    fn the_end_of_what_is_promised_is_shown_when_the_whole_keeps_it_and_not_before() {
        let digest = ExpectedDigest { algorithm: DigestAlgorithm::Sha256, value: vec![7; 32] };
        let (promised, plain) = (coming(vec![digest]), coming(Vec::new()));
        for now in [Stand::Opening, Stand::Going, Stand::Over] {
            assert_eq!((promised.shown(now), plain.shown(now)), (3 * BLOCK_SIZE, plain.length), "{now:?}");
        }
        assert_eq!((promised.shown(Stand::Kept), promised.shown(Stand::False)), (promised.length, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_begins_when_the_readers_are_gone_and_waits_for_no_slow_one() {
        let filling = Arc::new(coming(Vec::new()));
        let began = tokio::time::Instant::now();
        let (first, second) = (filling.reader(), filling.reader());
        let waiting = filling.clone();
        let going = tokio::spawn(async move { waiting.let_readers_go_first().await });
        drop(first);
        tokio::time::sleep(HEAD_START / 2).await;
        assert!(!going.is_finished(), "one of them still reads");
        drop(second);
        going.await.expect("no panic");
        assert_eq!(began.elapsed(), HEAD_START / 2);
        let _slow = filling.reader();
        filling.let_readers_go_first().await;
        assert_eq!(began.elapsed(), HEAD_START / 2 + HEAD_START);
    }
}
