//! CA mode: a membership that somebody granted, that runs out, and that can be taken away.
//!
//! The root's key stays on the administrator's node. Every member keeps what its enrolment gave it in one file: certificate,
//! authority, lookup secret. The root certifies anybody; an issuer certifies plain members with a certificate of its own
//! that the root gave it. Short lives bound what a stolen key is worth where news of its removal do not get through (T-16).

use super::certificate::{self, Signs};
use super::chain;
use super::clock::Clock;
use super::code::{self, JoinCode};
use super::denied::{self, Denied, DeniedError, RemoveError};
use super::member::{self, Member, NotAMember, Rule};
use super::register::{Invite, MAX_USES, RedeemError, Register};
use super::secret::group_id;
use super::{GroupError, NodeCertificate};
use crate::identity::{Identity, random_secret};
use crate::secret_file::{self, Overwrite, Written};
use crate::secret_text::SecretKind;
use ed25519_dalek::SigningKey;
use eddy_content::LookupSecret;
use eddy_wire::NodeId;
use eddy_wire::frame::{decode_frame, encode_frame};
use eddy_wire::membership::{Admission, Credential, MembershipAnswer, MembershipRefusal, Role};
use eddy_wire::statement::GroupId;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// What the enrolment gave, in the node's home.
pub const MEMBER_FILE: &str = "group.member";
/// The root's key, on the administrator's node only.
pub const ROOT_FILE: &str = "group.root";
const ROOT: SecretKind = SecretKind { name: "eddy-root", version: 1 };
/// Bytes of the longest membership: its certificates and some more.
const MAX_MEMBERSHIP: u64 = 8 * 1024;

/// Seconds before its making from which a certificate holds: clocks differ (T-18).
const SKEW: i64 = 5 * 60;
const DAY: i64 = 24 * 60 * 60;
/// How long a member's certificate holds (T-16).
const MEMBER_LIFE: i64 = 7 * DAY;
/// How long that holds which only the root renews: the certificates of issuers as such, and of anchors.
const ROOTED_LIFE: i64 = 30 * DAY;
/// How long a removal stays on a full list at the least: longer than any certificate lives.
const REMEMBERED: i64 = 2 * ROOTED_LIFE;

/// How a node stands in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is a member, and nothing ends that.
    Unlimited,
    /// It is a member until then, in seconds since 1970.
    Until(i64),
    /// It was one until then.
    Expired(i64),
    /// It was removed.
    Removed,
}

/// Why a certificate was not given.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// What the asker hears.
    #[error(transparent)]
    Refused(#[from] MembershipRefusal),
    /// A fault here.
    #[error(transparent)]
    Fault(#[from] GroupError),
}

/// A membership in a group with an authority of its own.
pub(super) struct Enrolled {
    home: PathBuf,
    id: GroupId,
    authority: CertificateDer<'static>,
    root: Option<SigningKey>,
    /// What the enrolment gave, without a deny-list: that has a file of its own.
    kept: RwLock<Admission>,
    clock: Clock,
    denied: Denied,
    /// Counts the renewals.
    renewed: watch::Sender<u64>,
}

impl Enrolled {
    /// The membership that is kept in `home`, if there is one.
    pub(super) fn load(home: &Path) -> Result<Option<Self>, GroupError> {
        let Some(kept) = read_membership(home)? else { return Ok(None) };
        let root = read_root(home)?;
        Self::of(home, kept, root).map(Some)
    }

    fn of(home: &Path, kept: Admission, root: Option<SigningKey>) -> Result<Self, GroupError> {
        let authority = CertificateDer::from(kept.authority.clone());
        let key = member::authority_key(&authority)?;
        let id = group_id(&key);
        let denied = Denied::load(home, id, key, root.clone())?;
        let (clock, renewed) = (Clock::start(kept.member.from), watch::Sender::new(0));
        Ok(Self { home: home.to_path_buf(), id, authority, root, kept: RwLock::new(kept), clock, denied, renewed })
    }

    /// Makes a group whose root is kept in `home`, with this node as its first issuer.
    pub(super) fn init(home: &Path, node: &Identity) -> Result<Self, GroupError> {
        let seed = random_secret().map_err(|error| GroupError::Random(error.to_string()))?;
        let lookup = random_secret().map_err(|error| GroupError::Random(error.to_string()))?;
        let root = SigningKey::from_bytes(&seed);
        let mut line = ROOT.text(&seed);
        line.push('\n');
        secret_file::write(&home.join(ROOT_FILE), line.as_bytes(), Overwrite::Refuse)?;
        let kept = Admission {
            role: Role::Issuer,
            member: Credential { chain: Vec::new(), from: 0, until: 0 },
            issuing: None,
            authority: certificate::root(&root)?.to_vec(),
            lookup: *lookup,
            denied: None,
        };
        let group = Self::of(home, kept, Some(root))?;
        let admission = group.certify(node, node.node_id(), Role::Issuer, group.clock.now())?;
        group.keep(admission)?;
        Ok(group)
    }

    /// Becomes what an issuer made of this node; everything in it is checked against the code first.
    pub(super) fn join(
        home: &Path,
        node: &Identity,
        code: &JoinCode,
        mut admission: Admission,
    ) -> Result<Self, GroupError> {
        let denied = admission.denied.take();
        let group = Self::of(home, admission.clone(), None)?;
        if !code.is_of(group.id) {
            return Err(GroupError::OtherGroup);
        }
        group.check_own(node, &admission)?;
        group.keep(admission)?;
        if let Some(list) = denied {
            group.denied.apply(list)?;
        }
        Ok(group)
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    pub(super) fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }

    pub(super) fn lookup_secret(&self) -> LookupSecret {
        LookupSecret::new(self.kept().lookup)
    }

    pub(super) fn denied(&self) -> &Denied {
        &self.denied
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(super) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    pub(super) fn role(&self) -> Role {
        self.kept().role
    }

    pub(super) fn has_root(&self) -> bool {
        self.root.is_some()
    }

    pub(super) fn register(&self) -> Register {
        Register::of(&self.home)
    }

    /// How long this node's certificates hold: its own as a member, and the one with which it certifies others.
    pub(super) fn lives(&self) -> (Range<i64>, Option<Range<i64>>) {
        let kept = self.kept();
        let life = |credential: &Credential| credential.from..credential.until;
        (life(&kept.member), kept.issuing.as_ref().filter(|_| self.root.is_none()).map(life))
    }

    pub(super) fn standing(&self, node: &NodeId) -> Standing {
        let until = self.kept().member.until;
        if self.denied.known().is_removed(node) {
            Standing::Removed
        } else if self.clock.now() >= until.saturating_add(SKEW) {
            Standing::Expired(until)
        } else {
            Standing::Until(until)
        }
    }

    /// What this node shows.
    pub(super) fn shown(&self, node: &Identity) -> Result<NodeCertificate, GroupError> {
        let kept = self.kept();
        let mut chain =
            chain::split(&kept.member.chain).unwrap_or_default().into_iter().map(CertificateDer::into_owned);
        let certificate = chain.next().ok_or(NotAMember::Chain { count: 0 })?;
        Ok(NodeCertificate { certificate, above: chain.collect(), key: node.private_key() })
    }

    /// The member that shows a chain at `now`, unless it or its issuer was removed.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<Member, NotAMember> {
        let member = member::verify(Rule::Root(&self.authority), chain, now)?;
        let known = self.denied.known();
        let removed = std::iter::once(member.node).chain(member.issuer).find(|node| known.is_removed(node));
        removed.map_or(Ok(member), |node| Err(NotAMember::Removed { node }))
    }

    /// Whether this node can certify others at this time.
    pub(super) fn may_issue(&self) -> bool {
        let now = self.clock.now();
        self.root.is_some() || self.kept().issuing.as_ref().is_some_and(|issuing| now < issuing.until)
    }

    /// Makes an invitation and gives its code.
    pub(super) fn invite(
        &self,
        role: Role,
        uses: u32,
        life: Duration,
        hints: &[SocketAddr],
    ) -> Result<(JoinCode, Invite), GroupError> {
        if !self.may_issue() || (role != Role::Member && self.root.is_none()) {
            return Err(GroupError::NotAnIssuer { role });
        }
        let secret = random_secret().map_err(|error| GroupError::Random(error.to_string()))?;
        let mut token = Zeroizing::new([0; 16]);
        token.copy_from_slice(&secret[..16]);
        let now = self.clock.now();
        let until = now.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
        let key = code::token_key(&token).verifying_key();
        let invite = Invite::new(&key, role, uses.clamp(1, MAX_USES), now, until);
        self.register().invite(invite.clone())?;
        Ok((JoinCode::new(*token, self.id, hints), invite))
    }

    /// Lets in who proved an invitation's token.
    pub(super) fn enrol(
        &self,
        issuer: &Identity,
        applicant: NodeId,
        token: &[u8; 32],
        message: &[u8],
        proof: &[u8; 64],
    ) -> Result<Admission, AdmitError> {
        let now = self.clock.now();
        if self.denied.known().is_removed(&applicant) {
            return Err(MembershipRefusal::Removed.into());
        }
        if !self.may_issue() {
            return Err(MembershipRefusal::NotIssued.into());
        }
        let role = self.register().redeem(token, message, proof, applicant, now).map_err(|error| match error {
            RedeemError::Refused(refusal) => AdmitError::Refused(refusal),
            RedeemError::Register(error) => AdmitError::Fault(error.into()),
        })?;
        self.admit(issuer, applicant, role)
    }

    /// Certifies a member again, as what it is.
    ///
    /// An issuer's key can certify anybody as an issuer, and webpki lets that pass: such a certificate is what an issuer makes for itself. In
    /// another's name it says nothing of what the root wanted, and whoever made it may have been stolen.
    pub(super) fn renew(&self, issuer: &Identity, member: &Member) -> Result<Admission, AdmitError> {
        let is_rooted = member.issuer.is_none_or(|issuer| issuer == member.node);
        if member.role == Role::Issuer && !is_rooted && !self.has_listed_issuer(member.node)? {
            return Err(MembershipRefusal::NotIssued.into());
        }
        self.admit(issuer, member.node, member.role)
    }

    /// Whether this node has certified another as an issuer before.
    fn has_listed_issuer(&self, node: NodeId) -> Result<bool, GroupError> {
        let roster = self.register().roster()?;
        Ok(roster.iter().any(|listed| listed.node() == node && listed.role() == Role::Issuer))
    }

    /// Certifies a member, and writes that down.
    pub(super) fn admit(&self, issuer: &Identity, node: NodeId, role: Role) -> Result<Admission, AdmitError> {
        let now = self.clock.now();
        let admission = self.admit_at(issuer, node, role, now)?;
        self.register().list(node, role, now, admission.member.until).map_err(GroupError::from)?;
        Ok(admission)
    }

    /// Certifies a member as of `now`.
    pub(super) fn admit_at(
        &self,
        issuer: &Identity,
        node: NodeId,
        role: Role,
        now: i64,
    ) -> Result<Admission, AdmitError> {
        let known = self.denied.known();
        if known.is_removed(&node) {
            return Err(MembershipRefusal::Removed.into());
        }
        if self.root.is_none() && (!self.may_issue() || role == Role::Anchor) {
            return Err(MembershipRefusal::NotIssued.into());
        }
        let mut admission = self.certify(issuer, node, role, now)?;
        admission.denied = known.signed.clone();
        Ok(admission)
    }

    fn certify(&self, issuer: &Identity, node: NodeId, role: Role, now: i64) -> Result<Admission, GroupError> {
        let kept = self.kept();
        let from = now.saturating_sub(SKEW);
        let long = now.saturating_add(ROOTED_LIFE);
        let (member, issuing) = match (&self.root, &kept.issuing) {
            (Some(root), _) => {
                let life = from..if role == Role::Anchor { long } else { now.saturating_add(MEMBER_LIFE) };
                let leaf = certificate::enrolled(Signs::Root(root), node, role, life.clone())?;
                let issuing = match role {
                    Role::Issuer => Some(credential(&[&certificate::issuing(root, node, from..long)?], from..long)),
                    Role::Member | Role::Anchor => None,
                };
                (credential(&[&leaf], life), issuing)
            }
            (None, Some(own)) => {
                let life = from..now.saturating_add(MEMBER_LIFE).min(own.until);
                let leaf = certificate::enrolled(Signs::Issuer(issuer.signing_key()), node, role, life.clone())?;
                (credential(&[&leaf, &CertificateDer::from(own.chain.as_slice())], life), None)
            }
            (None, None) => return Err(GroupError::NotAnIssuer { role }),
        };
        Ok(Admission { role, member, issuing, authority: kept.authority.clone(), lookup: kept.lookup, denied: None })
    }

    /// Renews what this node can renew by itself: all of it as the root, its membership as an issuer.
    pub(super) fn renew_alone(&self, node: &Identity) -> Result<bool, GroupError> {
        if !self.may_issue() {
            return Ok(false);
        }
        let role = self.role();
        if self.root.is_none() && role == Role::Anchor {
            return Ok(false);
        }
        let admission = self.certify(node, node.node_id(), role, self.clock.now())?;
        self.take_renewal(node, admission)?;
        Ok(true)
    }

    /// Takes what an issuer gave this member for its renewal.
    pub(super) fn take_renewal(&self, node: &Identity, mut admission: Admission) -> Result<(), GroupError> {
        self.check_own(node, &admission)?;
        let kept = self.kept();
        if admission.member.until <= kept.member.until && admission.issuing.is_none() {
            return Err(GroupError::NoLonger);
        }
        // An issuer keeps the certificate that only the root renews.
        admission.issuing = admission.issuing.or_else(|| kept.issuing.clone());
        (admission.authority, admission.lookup, admission.role) = (kept.authority.clone(), kept.lookup, kept.role);
        drop(kept);
        let denied = admission.denied.take();
        self.keep(admission)?;
        if let Some(list) = denied {
            self.denied.apply(list)?;
        }
        Ok(())
    }

    /// Removes a node from the group: a new deny-list, signed and kept. Only where the root is.
    pub(super) fn revoke(&self, node: NodeId) -> Result<u64, GroupError> {
        Ok(self.denied.remove(node, self.clock.now(), REMEMBERED)?)
    }

    /// The files that another process of this home may change.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        [MEMBER_FILE, denied::FILE, super::register::INVITES_FILE].map(|file| self.home.join(file)).into()
    }

    /// Looks at the disk again, where another process of this home may have renewed or removed.
    pub(super) fn reread(&self) -> Result<(), GroupError> {
        self.denied.reread()?;
        if let Some(found) = read_membership(&self.home)? {
            let is_new = found.authority == self.kept().authority && found.member != self.kept().member;
            if is_new {
                self.put(found);
            }
        }
        Ok(())
    }

    /// Whether an admission is for this node in this group.
    fn check_own(&self, node: &Identity, admission: &Admission) -> Result<(), GroupError> {
        let chain = chain::split(&admission.member.chain).unwrap_or_default();
        // Issuers date their certificates; what holds at their middle holds at all.
        let middle = admission.member.from / 2 + admission.member.until / 2;
        let member = member::verify(Rule::Root(&self.authority), &chain, middle)?;
        if member.node == node.node_id() { Ok(()) } else { Err(GroupError::NotForThisNode) }
    }

    fn kept(&self) -> std::sync::RwLockReadGuard<'_, Admission> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, admission: Admission) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = admission;
        self.renewed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn keep(&self, admission: Admission) -> Result<(), GroupError> {
        let frame = MembershipAnswer::Admitted(admission.clone());
        let bytes = encode_frame(&frame).map(Zeroizing::new).map_err(|error| GroupError::Unkept(error.to_string()))?;
        let written = secret_file::write(&self.home.join(MEMBER_FILE), &bytes, Overwrite::Replace)?;
        debug_assert_eq!(written, Written::Done);
        self.put(admission);
        Ok(())
    }
}

fn credential(chain: &[&CertificateDer<'_>], life: Range<i64>) -> Credential {
    Credential { chain: chain::join(chain.iter().copied()), from: life.start, until: life.end }
}

fn read_membership(home: &Path) -> Result<Option<Admission>, GroupError> {
    let path = home.join(MEMBER_FILE);
    let Some(bytes) = secret_file::read_up_to(&path, MAX_MEMBERSHIP)? else { return Ok(None) };
    match decode_frame(&bytes) {
        Ok(MembershipAnswer::Admitted(admission)) => Ok(Some(admission)),
        _ => Err(GroupError::Membership { path }),
    }
}

fn read_root(home: &Path) -> Result<Option<SigningKey>, GroupError> {
    let path = home.join(ROOT_FILE);
    let Some(bytes) = secret_file::read(&path)? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let seed = ROOT.parse(text).map_err(|source| GroupError::Content { path, source })?;
    Ok(Some(SigningKey::from_bytes(&seed)))
}

/// Every file of a membership but the root's key.
pub(super) const FILES: [&str; 6] = [
    MEMBER_FILE,
    denied::FILE,
    denied::EPOCH_FILE,
    super::register::INVITES_FILE,
    super::register::ROSTER_FILE,
    super::register::LOCK_FILE,
];

impl From<DeniedError> for GroupError {
    fn from(error: DeniedError) -> Self {
        match error {
            DeniedError::File(error) => Self::File(error),
            DeniedError::Forged(error) => Self::Denied(error),
        }
    }
}

impl From<RemoveError> for GroupError {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::NoRoot => Self::NoRoot,
            RemoveError::Outdated { list, epoch } => Self::OutdatedDenyList { list, epoch },
            RemoveError::Full => Self::ManyRemoved,
            RemoveError::List(error) => error.into(),
        }
    }
}
