//! Blocks are fetched into an open entity.

use super::{Executor, not_open};
use crate::driver::heads::Keeping;
use crate::network::{Losses, Outage};
use crate::origin::Origin;
use crate::peer::Peers;
use crate::transfer::audit::AuditOrder;
use crate::transfer::open::OpenEntity;
use crate::transfer::origin::OriginFetch;
use crate::transfer::peer::PeerFetch;
use crate::transfer::progress::Progress;
use crate::transfer::{self, failure};
use eddy_content::BlockSet;
use eddy_engine::port::FetchOutcome;
use eddy_engine::{Failure, FailureClass, FetchId, FileRef, Input, Peer};
use std::time::Duration;

/// How long a peer may take to say what it holds; the planner gives up waiting sooner.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// A fetch into an open entity.
pub(super) enum Work {
    Origin(Origin, OriginFetch, Option<Keeping>),
    Audit(Origin, Peers, AuditOrder),
    Peer(Peers, PeerFetch),
}

impl Executor {
    pub(super) fn ask(&self, file: FileRef, asked: Vec<Peer>) {
        let (Some(peers), Some(open)) = (&self.peers, self.open.get(&file)) else { return };
        for peer in asked {
            let (peers, inputs, entity) = (peers.clone(), self.inputs.clone(), open.entity.entity().clone());
            self.tasks.spawn(async move {
                let asked = tokio::time::timeout(ASK_TIMEOUT, transfer::peer::ask(&peers, peer, &entity)).await;
                let blocks = asked.unwrap_or_else(|_| BlockSet::new());
                let _ = inputs.send(Input::Holds { file, entity: entity.id(), peer, blocks }).await;
            });
        }
    }

    /// Spawns a fetch for an open file; it reports its end whatever happens.
    pub(super) fn fetch(&mut self, fetch: FetchId, file: FileRef, work: Work) {
        let Some(open) = self.open.get(&file).cloned() else {
            self.answer(move || Input::Ended { fetch, outcome: FetchOutcome::Failed(not_open()) });
            return;
        };
        let (cancel, inputs, judges) = (self.token(fetch), self.inputs.clone(), self.peers.clone());
        let mut losses = self.losses.for_resource(&open.entity.entity().url);
        self.tasks.spawn(async move {
            let _done = cancel.clone().drop_guard();
            let mut progress = Progress::new(fetch, inputs.clone());
            let outcome = match work {
                Work::Origin(origin, order, keeping) => {
                    let fetching = transfer::origin::fetch(&origin, &open, order, &mut progress, &cancel);
                    let fetched = losses.during(&cancel, fetching).await;
                    let outcome = lost(fetched, &losses).await;
                    settle(judges, &open).await;
                    if let Some(keeping) = keeping {
                        keeping.keep().await;
                    }
                    outcome
                }
                Work::Audit(origin, peers, order) => {
                    transfer::audit::audit((&origin, &peers), &open, order, &inputs, &cancel).await
                }
                Work::Peer(peers, order) => {
                    transfer::peer::fetch(&peers, &open, order, (&mut progress, &inputs), &cancel).await
                }
            };
            tracing::debug!(fetch = fetch.0, ?outcome, "fetch ended");
            let _ = inputs.send(Input::Ended { fetch, outcome }).await;
        });
    }
}

/// Blocks came from the origin: what members signed about them is right or wrong from now on.
pub(super) async fn settle(peers: Option<Peers>, open: &OpenEntity) {
    if let Some(peers) = peers {
        peers.settle(&open.entity).await;
    }
}

/// Why there is no way to a host: because there is none to anywhere, if that is so.
pub(super) async fn explained(failure: Failure, losses: &Losses) -> Failure {
    let is_lost = failure.class == FailureClass::Unreachable && losses.is_gone().await;
    if is_lost { failure::network_lost() } else { failure }
}

/// What became of a transfer: one that was ended because the network went has failed.
pub(super) async fn lost((outcome, outage): (FetchOutcome, Outage), losses: &Losses) -> FetchOutcome {
    match (outcome, outage) {
        (FetchOutcome::Aborted, Outage::Met) => FetchOutcome::Failed(failure::network_lost()),
        (FetchOutcome::Failed(failure), _) => FetchOutcome::Failed(explained(failure, losses).await),
        (outcome, _) => outcome,
    }
}
