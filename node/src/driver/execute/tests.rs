//! What the executor keeps of what is over.

use super::*;
use crate::config::Network;
use crate::driver::log::EventLog;
use crate::driver::{Durability, EngineLimits};
use crate::network::Outlook;
use crate::origin::OriginConfig;
use eddy_cache::{Quota, Reserve, StoreConfig};
use eddy_engine::schedule::Places;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// An executor with a home of its own.
fn executor(home: &Path) -> Executor {
    let directory = home.join("cache");
    let (quota, reserve) = (Quota::Bytes(1 << 30), Reserve::Bytes(0));
    let store = Store::open(StoreConfig { directory: directory.clone(), quota, reserve }).expect("opens");
    let seal = JobSeal::load_or_create(home).expect("a key");
    let parts = DriverParts {
        store,
        directory,
        durability: Durability::Required,
        origin: Origin::new(OriginConfig::default()).expect("an origin"),
        ways: OriginConfig::default(),
        heads: Heads::of(home, seal.clone()),
        seal,
        events: EventLog::open(home),
        engine: EngineLimits { places: Places::default(), inactive: None, jobs: 1, jobs_per_user: 1 },
        peers: None,
        settling: Duration::ZERO,
        swarms: Swarms::Off,
        losses: Losses::of(&watch::Sender::new(Outlook::default())),
        network: Network::Full,
    };
    let ((inputs, _), (opened, _)) = (mpsc::channel(1), mpsc::channel(1));
    Executor::new(parts, inputs, opened, TaskTracker::new(), CancellationToken::new())
}

#[tokio::test]
async fn of_questions_that_are_answered_without_a_body_nothing_is_kept() {
    let home = tempfile::tempdir().expect("a home");
    let mut executor = executor(home.path());
    for fetch in (0..1000).map(FetchId) {
        let (order, mut ordered) = oneshot::channel();
        executor.parked.insert(fetch, order);
        let has_body = fetch == FetchId(500);
        executor.on_contacted(fetch, has_body);
        let is_waiting = ordered.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty);
        assert_eq!(is_waiting, has_body, "its task waits for an order only with a body");
    }
    assert_eq!(executor.parked.into_keys().collect::<Vec<_>>(), [FetchId(500)]);
}
