//! Membership while the node runs: removals spread, ended memberships part, certificates are renewed, invitations open.
//!
//! In secret mode none of this happens. A deny-list reaches a member in one of three ways: from the disk, where the command that
//! removed somebody wrote it; from a member that just took it; or from any member, since both ends of each new
//! connection ask the other for a newer one. Whoever takes a list parts from the removed and passes it on at once.

use super::ask::Question;
use super::badge::Badge;
use super::bounded::Bounded;
use super::close::code;
use super::config::REMEMBERED_PEERS;
use super::core::Core;
use super::serve::Abandon;
use super::stream::InputError;
use super::tls::Applicants;
use super::transport;
use crate::group::denied::{Applied, DeniedError};
use crate::group::renewal::{Renewal, Step};
use crate::group::{AdmitError, EXPIRED, Group, Member, NotAMember};
use eddy_wire::NodeId;
use eddy_wire::frame::StreamKind;
use eddy_wire::membership::{MembershipAnswer, MembershipQuestion, MembershipRefusal, Role, SignedDenyList};
use quinn::Connection;
use rustls_pki_types::CertificateDer;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

/// How often the disk is looked at for what a command has changed: the larger part of how long a removal takes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the memberships of connected peers are looked at again.
const RECHECK_EVERY: Duration = Duration::from_secs(30);
/// How long a renewal or a list may take to be answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a removed peer may take to hear of its removal before its connection is closed.
const LAST_WORD: Duration = Duration::from_millis(500);
/// One member is certified again no more often than this: it costs this node a signature and a write.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// Answers what members ask about membership.
pub(crate) struct Keeper {
    group: Arc<Group>,
    badge: Arc<Badge>,
    renewed: Mutex<Bounded<NodeId, Instant>>,
}

impl Keeper {
    pub(crate) fn new(group: Arc<Group>, badge: Arc<Badge>) -> Self {
        Self { group, badge, renewed: Mutex::new(Bounded::new(REMEMBERED_PEERS)) }
    }

    pub(crate) fn badge(&self) -> &Badge {
        &self.badge
    }

    /// Answers a member's question.
    pub(crate) async fn answer(
        &self,
        connection: &Connection,
        question: MembershipQuestion,
    ) -> Result<MembershipAnswer, Abandon> {
        if !self.group.is_ca() {
            return Err(Abandon::Malformed("a question about membership in a group without an authority".to_owned()));
        }
        match question {
            MembershipQuestion::Renew => {
                // The certificate that is shown proves the role, and who gave it.
                let member = member_of(&self.group, connection).map_err(|why| Abandon::Malformed(why.to_string()))?;
                self.renew(member).await
            }
            MembershipQuestion::DeniedSince(epoch) => Ok(self.news_since(epoch)),
            MembershipQuestion::Denied(list) => {
                take(&self.group, list).await?;
                Ok(self.news_since(u64::MAX))
            }
            MembershipQuestion::Enrol { .. } => Err(Abandon::Malformed("an enrolment by a member".to_owned())),
        }
    }

    fn news_since(&self, epoch: u64) -> MembershipAnswer {
        let known = self.group.denied().map(|denied| denied.known());
        match known.and_then(|known| known.signed.clone()) {
            Some(signed) if signed.list.epoch > epoch => MembershipAnswer::Denied(signed),
            Some(signed) => MembershipAnswer::DeniedSince(signed.list.epoch),
            None => MembershipAnswer::DeniedSince(0),
        }
    }

    async fn renew(&self, member: Member) -> Result<MembershipAnswer, Abandon> {
        let node = member.node;
        let is_soon = {
            let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            let is_soon = renewed.at(&node).is_some_and(|at| at.elapsed() < RENEW_EVERY);
            if !is_soon {
                renewed.put(node, Instant::now());
            }
            is_soon
        };
        if is_soon {
            return Ok(MembershipAnswer::Refused(MembershipRefusal::TooMany));
        }
        let (group, badge) = (Arc::clone(&self.group), Arc::clone(&self.badge));
        let admitted = blocking(move || group.renew(badge.identity(), &member)).await?;
        Ok(answer_of(admitted, node))
    }
}

/// The answer to who asked for a certificate.
pub(super) fn answer_of(
    admitted: Result<eddy_wire::membership::Admission, AdmitError>,
    node: NodeId,
) -> MembershipAnswer {
    match admitted {
        Ok(admission) => {
            tracing::info!(%node, role = %admission.role, until = admission.member.until, "a member was certified");
            MembershipAnswer::Admitted(admission)
        }
        Err(AdmitError::Refused(refusal)) => {
            tracing::info!(%node, %refusal, "a node was not certified");
            MembershipAnswer::Refused(refusal)
        }
        Err(AdmitError::Fault(error)) => {
            tracing::error!(%node, %error, "a node could not be certified");
            MembershipAnswer::Refused(MembershipRefusal::Fault)
        }
    }
}

/// Starts what keeps memberships true while the node runs.
pub(crate) fn start(core: &Arc<Core>) {
    if core.group.renewals().is_none() {
        return;
    }
    let stop = core.stop.clone();
    let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        core.tasks.spawn(stop.clone().run_until_cancelled_owned(task));
    };
    spawn(Box::pin(watch_files(Arc::clone(core))));
    spawn(Box::pin(wear_renewed(Arc::clone(core))));
    spawn(Box::pin(recheck(Arc::clone(core))));
    if core.group.is_ca() {
        spawn(Box::pin(spread(Arc::clone(core))));
        spawn(Box::pin(renew(Arc::clone(core))));
    }
}

/// Asks the other end of a new connection for a newer deny-list.
pub(crate) fn compare(core: &Arc<Core>, connection: &Connection) {
    let Some(denied) = core.group.denied() else { return };
    let epoch = denied.known().list().map_or(0, |list| list.epoch);
    // The root's machine looks also at one of the same epoch: it may be another, and only here can the two become one.
    let epoch = if core.group.has_root() { epoch.saturating_sub(1) } else { epoch };
    let (core, connection) = (Arc::clone(core), connection.clone());
    let tasks = core.tasks.clone();
    tasks.spawn(async move {
        let answer = ask(&connection, &MembershipQuestion::DeniedSince(epoch)).await;
        if let Ok(MembershipAnswer::Denied(list)) = answer
            && let Err(why) = take(&core.group, list).await
        {
            tracing::warn!(%why, "a member shows a deny-list that is not the group's");
            connection.close(code::MALFORMED, b"");
        }
    });
}

/// Puts one question about membership to a member.
async fn ask(connection: &Connection, question: &MembershipQuestion) -> Result<MembershipAnswer, InputError> {
    let answered = timeout(PATIENCE, async {
        let mut question = Question::put(connection, StreamKind::Membership, question).await?;
        question.input.frame::<MembershipAnswer>().await
    });
    answered.await.unwrap_or_else(|_| Err(InputError::Lost("no answer in time".to_owned())))
}

/// Takes a list that a member sent.
async fn take(group: &Arc<Group>, list: SignedDenyList) -> Result<(), Abandon> {
    let (group, epoch) = (Arc::clone(group), list.list.epoch);
    let taken = blocking(move || group.denied().map(|denied| denied.apply(list))).await?;
    match taken {
        None | Some(Ok(Applied::Known)) => Ok(()),
        Some(Ok(Applied::Newer)) => {
            tracing::info!(epoch, "a newer deny-list came from a member");
            Ok(())
        }
        Some(Err(DeniedError::Forged(error))) => Err(Abandon::Malformed(error.to_string())),
        Some(Err(DeniedError::File(error))) => {
            tracing::error!(%error, "the deny-list holds, but could not be kept: it is gone after a restart");
            Ok(())
        }
    }
}

/// Parts from the removed and passes every new list on.
async fn spread(core: Arc<Core>) {
    let Some(mut lists) = core.group.denied().map(|denied| denied.watch()) else { return };
    while lists.changed().await.is_ok() {
        let Some(list) = lists.borrow_and_update().signed.clone() else { continue };
        let question = Arc::new(MembershipQuestion::Denied(list));
        for connection in connections(&core) {
            let (core, question) = (Arc::clone(&core), Arc::clone(&question));
            let tasks = core.tasks.clone();
            // Bounded by the number of peers; each ends within its patience.
            tasks.spawn(async move {
                if member_of(&core.group, &connection).is_ok() {
                    // One that does not take it asks for it when it connects the next time.
                    let _ = ask(&connection, &question).await;
                } else {
                    // The removed may know why it is left; it is not waited for.
                    let _ = timeout(LAST_WORD, ask(&connection, &question)).await;
                    part_if_former(&core, &connection);
                }
            });
        }
    }
}

/// Closes the connections of peers whose membership has ended meanwhile.
async fn recheck(core: Arc<Core>) {
    loop {
        tokio::time::sleep(RECHECK_EVERY).await;
        connections(&core).iter().for_each(|connection| part_if_former(&core, connection));
    }
}

fn part_if_former(core: &Core, connection: &Connection) {
    match member_of(&core.group, connection) {
        Ok(_) => {}
        Err(NotAMember::Removed { node }) => {
            tracing::warn!(%node, "a peer was removed from the group: disconnected");
            connection.close(code::REMOVED, b"");
        }
        Err(why) => {
            tracing::info!(address = %super::close::address_of(connection), %why, "a peer is no member any more");
            connection.close(code::EXPIRED, b"");
        }
    }
}

/// Every connection, those about to go included.
fn connections(core: &Core) -> Vec<Connection> {
    let table = core.table();
    let nodes: Vec<NodeId> = table.iter().map(|(node, ..)| node).collect();
    let of =
        |node: &NodeId| table.links(*node).iter().map(|link| link.connection.connection.clone()).collect::<Vec<_>>();
    nodes.iter().flat_map(of).collect()
}

/// The member at the other end, as it stands now.
pub(super) fn member_of(group: &Group, connection: &Connection) -> Result<Member, NotAMember> {
    let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = shown.ok_or(NotAMember::Chain { count: 0 })?;
    group.verify_chain(&chain, group.now())
}

/// Shows each renewed certificate from then on.
async fn wear_renewed(core: Arc<Core>) {
    let Some(mut renewals) = core.group.renewals() else { return };
    while renewals.changed().await.is_ok() {
        match core.keeper.badge().refresh(&core.group) {
            Ok(()) => tracing::info!("this node's certificate was renewed"),
            Err(error) => tracing::error!(%error, "a renewed certificate cannot be used"),
        }
    }
}

/// Looks at the disk for what commands of this home have changed.
async fn watch_files(core: Arc<Core>) {
    let files = core.group.files();
    let (mut seen, mut heard) = (Vec::new(), Applicants::Refused);
    loop {
        let found: Vec<_> = files.iter().map(|file| changed_at(file)).collect();
        if found != seen {
            seen = found;
            let group = Arc::clone(&core.group);
            match blocking(move || group.reread()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the group's files cannot be read again"),
                Err(_) => return,
            }
        }
        let wanted = applicants(&core.group).await;
        if wanted != heard {
            heard = wanted;
            open_to(&core, heard);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn changed_at(file: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|found| found.modified()).ok()
}

/// Whether somebody is awaited: an invitation is open here.
async fn applicants(group: &Arc<Group>) -> Applicants {
    if !group.may_issue() {
        return Applicants::Refused;
    }
    let group = Arc::clone(group);
    let is_open = blocking(move || {
        let now = group.now();
        let invites = group.register().ok().and_then(|register| register.invites().ok()).unwrap_or_default();
        invites.iter().any(|invite| now < invite.until)
    });
    if is_open.await.unwrap_or(false) { Applicants::Heard } else { Applicants::Refused }
}

/// Lets applicants through handshakes, or no longer.
fn open_to(core: &Core, applicants: Applicants) {
    match core.tls.server(applicants) {
        Ok(tls) => {
            let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
            transport::bound_incoming(&mut server, &core.config.limits);
            core.endpoint.set_server_config(Some(server));
            tracing::info!(open = applicants == Applicants::Heard, "invitations");
        }
        Err(error) => tracing::error!(%error, "applicants cannot be let in"),
    }
}

/// What is asked of an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// To stay a member.
    Membership,
    /// To go on certifying others, which only the root can give.
    Issuing,
}

/// How an attempt to renew went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It was renewed.
    Renewed,
    /// Somebody who could have done so did not.
    Failed,
    /// No issuer is connected.
    NobodyThere,
}

/// Renews this node's certificates at their half.
async fn renew(core: Arc<Core>) {
    let jitter = rand::random();
    let (mut own, mut rooted) = (Renewal::new(jitter), Renewal::new(jitter));
    let mut said_expired = false;
    while let Some((member, issuing)) = core.group.lives() {
        let mut step = own.step(core.group.now(), &member);
        if step == Step::Renew {
            let attempt = match core.group.may_issue() {
                true => renew_alone(&core).await,
                false => renew_by_others(&core, Wanted::Membership).await,
            };
            step = note(&core, &mut own, attempt);
        }
        if step == Step::Expired && !said_expired {
            tracing::error!("{EXPIRED}");
        }
        said_expired = step == Step::Expired;
        let mut waits = vec![step];
        if let Some(life) = issuing {
            let mut step = rooted.step(core.group.now(), &life);
            // Who may certify nobody any more may again, once the root is met.
            if step == Step::Renew || (step == Step::Expired && rooted.may_try(core.group.now())) {
                let attempt = renew_by_others(&core, Wanted::Issuing).await;
                step = note(&core, &mut rooted, attempt);
            }
            waits.push(step);
        }
        let waits = waits.into_iter().map(|step| match step {
            Step::Wait(wait) => wait,
            Step::Renew | Step::Expired => RECHECK_EVERY,
        });
        tokio::time::sleep(waits.min().unwrap_or(RECHECK_EVERY)).await;
    }
}

/// Notes how an attempt went; what is left to do is looked at again after a moment.
fn note(core: &Core, renewal: &mut Renewal, attempt: Attempt) -> Step {
    match attempt {
        Attempt::Renewed => renewal.on_renewed(),
        Attempt::Failed => renewal.on_failed(core.group.now()),
        // That costs nobody anything: whoever connects is asked soon.
        Attempt::NobodyThere => {}
    }
    Step::Wait(LOOK_EVERY)
}

/// Renews what this node can certify itself.
async fn renew_alone(core: &Arc<Core>) -> Attempt {
    let (group, keeper) = (Arc::clone(&core.group), Arc::clone(&core.keeper));
    match blocking(move || group.renew_alone(keeper.badge().identity())).await {
        Ok(Ok(true)) => Attempt::Renewed,
        Ok(Ok(false)) | Err(_) => Attempt::Failed,
        Ok(Err(error)) => {
            tracing::error!(%error, "this node's certificate cannot be renewed");
            Attempt::Failed
        }
    }
}

/// Asks one issuer after the other that is connected.
async fn renew_by_others(core: &Arc<Core>, wanted: Wanted) -> Attempt {
    let is_issuer =
        |connection: &Connection| member_of(&core.group, connection).is_ok_and(|member| member.role == Role::Issuer);
    let end = |core: &Core| core.group.lives().and_then(|(_, issuing)| issuing).map(|life| life.end);
    let before = end(core);
    let mut outcome = Attempt::NobodyThere;
    for connection in connections(core).into_iter().filter(is_issuer) {
        outcome = Attempt::Failed;
        let Ok(MembershipAnswer::Admitted(admission)) = ask(&connection, &MembershipQuestion::Renew).await else {
            continue;
        };
        let (group, keeper) = (Arc::clone(&core.group), Arc::clone(&core.keeper));
        match blocking(move || group.take_renewal(keeper.badge().identity(), admission)).await {
            Ok(Ok(())) if wanted == Wanted::Membership || end(core) > before => return Attempt::Renewed,
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "what an issuer gave is no renewal"),
            Err(_) => return Attempt::Failed,
        }
    }
    tracing::debug!(?wanted, ?outcome, "this node's certificate was not renewed");
    outcome
}

/// Runs work that blocks on the disk beside the reactor.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Abandon> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Abandon::Fault(error.to_string()))
}
