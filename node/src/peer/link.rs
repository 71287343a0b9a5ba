//! The life of one connection: who is there, is it kept, serve its questions until it ends.

use super::close::{self, Parting, code};
use super::core::{Core, Live, Refusal};
use super::enrol;
use super::membership;
use super::serve::guest::Guest;
use super::serve::upload::reads_within;
use super::table::Initiator;
use crate::group::chain;
use eddy_wire::NodeId;
use quinn::Connection;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// How long a retired connection lasts, for what is under way on it. Longer than the idle timeout: by then it is known
/// whether the kept one is alive.
const LINGER: Duration = Duration::from_secs(20);

/// Lives a connection whose handshake is done; `kept` hears once whether it is kept.
pub(crate) async fn live(
    core: Arc<Core>,
    connection: Connection,
    initiator: Initiator,
    kept: Option<oneshot::Sender<Result<NodeId, Refusal>>>,
) {
    if enrol::is_enrolment(&connection) {
        enrol::hear(&core, connection).await;
        return;
    }
    let outcome = enter(&core, &connection, initiator).await;
    let answer = outcome.as_ref().map(|(node, _)| *node).map_err(|refusal| *refusal);
    if let Some(kept) = kept {
        // A caller that stopped waiting does not need the answer.
        let _ = kept.send(answer);
    }
    let (node, guest) = match outcome {
        Ok(entered) => entered,
        Err(refusal) => {
            tracing::debug!(address = %close::address_of(&connection), %refusal, "a connection is not kept");
            if let Some(error) = connection.close_reason() {
                core.hear(&error);
            }
            connection.close(if refusal == Refusal::Blocked { code::BLOCKED } else { code::FULL }, b"");
            return;
        }
    };
    let _counted = core.inbound.count(connection.remote_address());
    membership::compare(&core, &connection);
    let error = loop {
        match connection.accept_bi().await {
            Ok(stream) => {
                // Bounded by the streams that a connection may have open.
                let (core, connection, guest) = (Arc::clone(&core), connection.clone(), Arc::clone(&guest));
                let tasks = core.tasks.clone();
                tasks.spawn(async move { core.server.handle(node, &connection, &guest, stream).await });
            }
            Err(error) => break error,
        }
    };
    tracing::debug!(%node, %error, "a connection ended");
    core.hear(&error);
    core.depart(node, connection.stable_id(), Parting::of(&error)).await;
}

/// Puts a connection into the table.
async fn enter(
    core: &Arc<Core>,
    connection: &Connection,
    initiator: Initiator,
) -> Result<(NodeId, Arc<Guest>), Refusal> {
    let node = member(core, connection).ok_or(Refusal::Gone)?;
    let guest = Arc::new(Guest::new(reads_within(core.config.limits.upload.each, core.config.limits.reads_per_peer)));
    let live = Live { connection: connection.clone(), since: SystemTime::now() };
    if let Some(retired) = core.admit(node, initiator, live).await? {
        core.tasks.spawn(linger(Arc::clone(core), node, retired));
    }
    Ok((node, guest))
}

/// The member at the other end, as the handshake proved it.
fn member(core: &Core, connection: &Connection) -> Option<NodeId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    core.believer.member(&chain::join(chain.iter()), core.group.now()).ok().map(|member| member.node)
}

/// Closes a retired connection after its time, unless it is needed again.
async fn linger(core: Arc<Core>, node: NodeId, id: usize) {
    tokio::select! {
        () = core.stop.cancelled() => return,
        () = tokio::time::sleep(LINGER) => {}
    }
    let table = core.table();
    let retired = table.links(node).iter().find(|link| link.id == id && table.is_retired(node, id));
    if let Some(link) = retired {
        link.connection.connection.close(code::SPARE, b"");
    }
}
