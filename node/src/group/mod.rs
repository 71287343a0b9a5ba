//! Who is a peer: the members of a group.
//!
//! *Secret mode*: from 256 secret bits every member derives the same certificate authority and the same lookup secret; it
//! certifies itself and knows another member by its certificate. Nothing has to be run or enrolled, one line of text is
//! copied. The price: who knows the secret is a member, and only a new secret shuts a member out.
//!
//! *CA mode*: the administrator's node keeps a root key; machines are let in by invitation, certificates are short-lived and
//! renew themselves, and a member can be removed. Somebody must run an issuer.
//!
//! *Own PKI*: certificate, key and authorities come from files that somebody else keeps fresh.
//!
//! | module | question that it answers |
//! |---|---|
//! | this one | which group is this node in? |
//! | [`secret`] | secret mode: what is the secret, and what follows from it? |
//! | [`enrolled`] | CA mode: who certifies, for how long, and who was removed? |
//! | [`code`], [`register`] | how is somebody invited, and what does an issuer write down? |
//! | [`denied`] | which removals are known here? |
//! | [`renewal`], `clock` | when is a certificate renewed, and by which clock? |
//! | [`pki`] | what do the files of somebody's own PKI say? |
//! | [`certificate`], `chain` | what does a member show? |
//! | [`member`] | is this certificate a member's, and whose? |

pub mod certificate;
pub(crate) mod chain;
pub(crate) mod clock;
pub mod code;
pub mod denied;
pub mod enrolled;
pub mod member;
pub mod pki;
pub mod register;
pub mod renewal;
pub mod secret;

pub use crate::secret_file::{Overwrite, SecretFileError};
pub use crate::secret_text::SecretTextError;
pub use certificate::NodeCertificate;
pub use code::{CodeError, JoinCode};
pub use denied::Denied;
pub use enrolled::{AdmitError, Standing};
pub use member::{Member, NotAMember};
pub use pki::{PkiError, PkiFiles};
pub use register::{Invite, Listed, Register, RegisterError};
pub use secret::GroupSecret;

use crate::identity::Identity;
use crate::secret_file::{self, Written};
use ed25519_dalek::SigningKey;
use eddy_content::LookupSecret;
use eddy_wire::NodeId;
use eddy_wire::membership::{Admission, DenyListError, Role};
use eddy_wire::statement::GroupId;
use enrolled::Enrolled;
use member::Rule;
use pki::Pki;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The group that this node is in. Clones share what changes: a renewed certificate, the deny-list.
#[derive(Clone)]
pub struct Group {
    mode: Mode,
}

#[derive(Clone)]
enum Mode {
    Secret(Arc<Shared>),
    Enrolled(Arc<Enrolled>),
    Own(Arc<Pki>),
}

/// What follows from a secret.
struct Shared {
    secret: GroupSecret,
    id: GroupId,
    ca_key: SigningKey,
    ca: CertificateDer<'static>,
}

/// Why the node's group could not be read, made, joined, changed or left.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The file cannot be read or written: the disk's fault or the administrator's.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file holds no group secret: the administrator's to repair.
    #[error("{} holds no group secret: {source}; leave the group and join it again", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretTextError,
    },
    /// The file holds no membership: the administrator's to repair.
    #[error("{} holds no membership; leave the group and join it again", path.display())]
    Membership {
        /// The file.
        path: PathBuf,
    },
    /// The text that was given is no group secret: the user's to repair.
    #[error(transparent)]
    Secret(#[from] SecretTextError),
    /// The text that was given is no code: the user's to repair.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The node is in another group, and was not told to leave that.
    #[error("this node is in group {name} already")]
    InAnother {
        /// The name of that group.
        name: String,
    },
    /// An issuer gave what is another group's. The issuer is at fault.
    #[error("the certificate that was given is another group's than the code's")]
    OtherGroup,
    /// An issuer gave what is somebody else's. The issuer is at fault.
    #[error("the certificate that was given is another node's")]
    NotForThisNode,
    /// An issuer gave a certificate that ends no later than the one at hand. Another issuer.
    #[error("the certificate that was given holds no longer than the one at hand")]
    NoLonger,
    /// A certificate of the group cannot be used.
    #[error(transparent)]
    Certified(#[from] NotAMember),
    /// The deny-list on disk is not the group's.
    #[error("the deny-list on this disk is not the group's: {0}")]
    Denied(DenyListError),
    /// The issuer's files.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// This node may not certify, or not as that.
    #[error(
        "this node certifies nobody as {role}: ask on the node that has the group's root, or on an issuer for members"
    )]
    NotAnIssuer {
        /// As what.
        role: Role,
    },
    /// Only the root removes members.
    #[error("only the node that has the group's root key can remove members")]
    NoRoot,
    /// The deny-list is full.
    #[error("the deny-list is full; its oldest removal makes room 60 days after it was made")]
    ManyRemoved,
    /// A newer deny-list was here: a list made of this one would take removals back.
    #[error("the deny-list on this disk has epoch {list}, and one of epoch {epoch} was here before")]
    OutdatedDenyList {
        /// The epoch of the list at hand.
        list: u64,
        /// The highest that was known.
        epoch: u64,
    },
    /// The group has no authority of its own that this could be asked of.
    #[error(
        "this group has no invitations and no removals: it is one shared secret, or its certificates come from files"
    )]
    NoAuthority,
    /// The files of the node's own PKI.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// What was given does not fit its file: a bug.
    #[error("the membership could not be kept: {0}")]
    Unkept(String),
    /// The system gave no random bits.
    #[error("the system gives no random bits for a group secret: {0}")]
    Random(String),
    /// The certificate library refused: a bug.
    #[error("a group certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What is said of a membership that has run out.
pub const EXPIRED: &str = "this node's membership has expired; ask for a new code and run `eddy group join CODE`. Until then it downloads from origins only";
/// What is said of a membership that was taken away.
pub const REMOVED: &str = "this node was removed from its group. It downloads from origins only";

/// The group's file in the node's home, in secret mode.
pub const FILE: &str = "group.secret";

impl Group {
    /// The group of the node whose home this is; `None` when it is in none.
    pub fn load(home: &Path) -> Result<Option<Self>, GroupError> {
        let path = home.join(FILE);
        let Some(bytes) = secret_file::read(&path)? else {
            return Ok(Enrolled::load(home)?.map(Self::enrolled));
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let secret = GroupSecret::parse(text).map_err(|source| GroupError::Content { path, source })?;
        Self::from_secret(secret).map(Some)
    }

    /// Makes a new group in secret mode with this node as its first member.
    pub fn init(home: &Path, overwrite: Overwrite) -> Result<Self, GroupError> {
        let secret = GroupSecret::generate().map_err(|error| GroupError::Random(error.to_string()))?;
        Self::from_secret(secret)?.keep(home, overwrite)
    }

    /// Makes a new group in CA mode; this node keeps its root and is its first issuer.
    pub fn init_ca(home: &Path, node: &Identity, overwrite: Overwrite) -> Result<Self, GroupError> {
        make_room(home, overwrite)?;
        Enrolled::init(home, node).map(Self::enrolled)
    }

    /// Joins the group whose secret `text` is. Joining the group that one is in changes nothing.
    pub fn join(home: &Path, text: &str, overwrite: Overwrite) -> Result<Self, GroupError> {
        Self::from_secret(GroupSecret::parse(text)?)?.keep(home, overwrite)
    }

    /// Joins the group of a code with what an issuer of it gave. Joining the group that one is in renews the membership.
    pub fn join_enrolled(
        home: &Path,
        node: &Identity,
        code: &JoinCode,
        admission: Admission,
        overwrite: Overwrite,
    ) -> Result<Self, GroupError> {
        if !Self::load(home)?.is_some_and(|group| group.is_ca() && code.is_of(group.id())) {
            make_room(home, overwrite)?;
        }
        Enrolled::join(home, node, code, admission).map(Self::enrolled)
    }

    /// The group of certificates from files; see [`PkiFiles`].
    pub fn from_files(files: &PkiFiles) -> Result<Self, GroupError> {
        Ok(Self { mode: Mode::Own(Arc::new(Pki::load(files)?)) })
    }

    /// Who this node is where its key is not in its home.
    #[must_use]
    pub fn own_identity(&self) -> Option<Identity> {
        match &self.mode {
            Mode::Own(pki) => Some(pki.identity()),
            Mode::Secret(_) | Mode::Enrolled(_) => None,
        }
    }

    /// Leaves the group; whether there was one. In secret mode the secret is gone from this node, in CA mode its membership
    /// is, and on the administrator's node the root.
    pub fn leave(home: &Path) -> Result<bool, GroupError> {
        let mut was_in_one = secret_file::remove(&home.join(FILE))?;
        was_in_one |= secret_file::remove(&home.join(enrolled::ROOT_FILE))?;
        for file in enrolled::FILES {
            was_in_one |= secret_file::remove(&home.join(file))? && file == enrolled::MEMBER_FILE;
        }
        Ok(was_in_one)
    }

    /// The group of a secret, kept nowhere.
    pub fn from_secret(secret: GroupSecret) -> Result<Self, GroupError> {
        let ca_key = secret.ca_key();
        let ca = certificate::authority(&ca_key)?;
        let id = secret::group_id(&ca_key.verifying_key());
        Ok(Self { mode: Mode::Secret(Arc::new(Shared { secret, id, ca_key, ca })) })
    }

    fn enrolled(enrolled: Enrolled) -> Self {
        Self { mode: Mode::Enrolled(Arc::new(enrolled)) }
    }

    /// A short name for people, which tells two groups apart and gives nothing away: the first 12 digits of the id.
    #[must_use]
    pub fn name(&self) -> String {
        self.id().to_string().chars().take(12).collect()
    }

    /// The public fingerprint.
    #[must_use]
    pub fn id(&self) -> GroupId {
        match &self.mode {
            Mode::Secret(shared) => shared.id,
            Mode::Enrolled(enrolled) => enrolled.id(),
            Mode::Own(pki) => pki.id(),
        }
    }

    /// What makes another machine a member, in secret mode.
    #[must_use]
    pub fn secret(&self) -> Option<&GroupSecret> {
        match &self.mode {
            Mode::Secret(shared) => Some(&shared.secret),
            Mode::Enrolled(_) | Mode::Own(_) => None,
        }
    }

    /// Whether the group has a root, invitations and removals.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        matches!(self.mode, Mode::Enrolled(_))
    }

    /// What turns an entity into the key that members ask by (T-12).
    #[must_use]
    pub fn lookup_secret(&self) -> LookupSecret {
        match &self.mode {
            Mode::Secret(shared) => shared.secret.lookup_secret(),
            Mode::Enrolled(enrolled) => enrolled.lookup_secret(),
            Mode::Own(pki) => pki.lookup_secret(),
        }
    }

    /// The certificate of the group itself, the same on every member.
    #[must_use]
    pub fn ca(&self) -> CertificateDer<'static> {
        match &self.mode {
            Mode::Secret(shared) => shared.ca.clone(),
            Mode::Enrolled(enrolled) => enrolled.authority(),
            Mode::Own(pki) => pki.authority(),
        }
    }

    /// What a node shows as a member. In secret mode anybody certifies himself, the same bytes each time.
    pub fn certify(&self, node: &Identity) -> Result<NodeCertificate, GroupError> {
        match &self.mode {
            Mode::Secret(shared) => {
                let certificate = certificate::member(&shared.ca_key, node.node_id())?;
                Ok(NodeCertificate { certificate, above: Vec::new(), key: node.private_key() })
            }
            Mode::Enrolled(enrolled) => enrolled.shown(node),
            Mode::Own(pki) => Ok(pki.shown(node)),
        }
    }

    /// The member that a single certificate is for, at `now_unix` seconds since 1970.
    pub fn verify_member(&self, certificate: &CertificateDer<'_>, now_unix: i64) -> Result<NodeId, NotAMember> {
        self.verify_chain(std::slice::from_ref(certificate), now_unix).map(|member| member.node)
    }

    /// The member that a chain is for, its own certificate first, at `now_unix` seconds since 1970.
    pub fn verify_chain(&self, chain: &[CertificateDer<'_>], now_unix: i64) -> Result<Member, NotAMember> {
        match &self.mode {
            Mode::Secret(shared) => member::verify(Rule::Secret(&shared.ca), chain, now_unix),
            Mode::Enrolled(enrolled) => enrolled.verify(chain, now_unix),
            Mode::Own(pki) => pki.verify(chain, now_unix),
        }
    }

    /// The time by which certificates hold, in seconds since 1970: where they run out, setting the clock back extends none.
    #[must_use]
    pub fn now(&self) -> i64 {
        match &self.mode {
            Mode::Secret(_) => clock::unix_now(),
            Mode::Enrolled(enrolled) => enrolled.now(),
            Mode::Own(pki) => pki.now(),
        }
    }

    /// The deny-list of a group that has one.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        self.in_ca().ok().map(|enrolled| enrolled.denied())
    }

    /// Who of a member and its issuer was removed, if one of them was.
    #[must_use]
    pub fn removed(&self, member: &Member) -> Option<NodeId> {
        let known = self.denied()?.known();
        std::iter::once(member.node).chain(member.issuer).find(|node| known.is_removed(node))
    }

    /// How a node that is this one stands.
    #[must_use]
    pub fn standing(&self, node: &NodeId) -> Standing {
        match &self.mode {
            Mode::Secret(_) | Mode::Own(_) => Standing::Unlimited,
            Mode::Enrolled(enrolled) => enrolled.standing(node),
        }
    }

    /// What this node is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.in_ca().map_or(Role::Member, Enrolled::role)
    }

    /// Whether the root's key is here.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.in_ca().is_ok_and(Enrolled::has_root)
    }

    /// Whether this node can certify others at this time.
    #[must_use]
    pub fn may_issue(&self) -> bool {
        self.in_ca().is_ok_and(Enrolled::may_issue)
    }

    /// What an issuer wrote down.
    pub fn register(&self) -> Result<Register, GroupError> {
        self.in_ca().map(Enrolled::register)
    }

    /// How long this node's certificates hold: as a member, and as an issuer that is not the root.
    #[must_use]
    pub fn lives(&self) -> Option<(Range<i64>, Option<Range<i64>>)> {
        self.in_ca().ok().map(Enrolled::lives)
    }

    /// Makes an invitation; gives the code and what was written down of it. Blocks on the disk.
    pub fn invite(
        &self,
        role: Role,
        uses: u32,
        life: Duration,
        hints: &[SocketAddr],
    ) -> Result<(JoinCode, Invite), GroupError> {
        self.in_ca()?.invite(role, uses, life, hints)
    }

    /// Lets in who proved an invitation's token with a signature over `message`. Blocks on the disk.
    pub fn enrol(
        &self,
        issuer: &Identity,
        applicant: NodeId,
        token: &[u8; 32],
        message: &[u8],
        proof: &[u8; 64],
    ) -> Result<Admission, AdmitError> {
        self.in_ca()?.enrol(issuer, applicant, token, message, proof)
    }

    /// Certifies somebody as a member, as this node may. Blocks on the disk.
    pub fn admit(&self, issuer: &Identity, node: NodeId, role: Role) -> Result<Admission, AdmitError> {
        self.in_ca()?.admit(issuer, node, role)
    }

    /// Certifies a member again, as what it is, if that is what the root made of it. Blocks on the disk.
    pub fn renew(&self, issuer: &Identity, member: &Member) -> Result<Admission, AdmitError> {
        self.in_ca()?.renew(issuer, member)
    }

    /// The same as [`Self::admit`], as of another time, and written down nowhere: for tests of what time does.
    pub fn admit_at(
        &self,
        issuer: &Identity,
        node: NodeId,
        role: Role,
        now_unix: i64,
    ) -> Result<Admission, AdmitError> {
        self.in_ca()?.admit_at(issuer, node, role, now_unix)
    }

    /// Renews this node's own certificate without asking anybody; false when it cannot. Blocks on the disk.
    pub fn renew_alone(&self, node: &Identity) -> Result<bool, GroupError> {
        self.in_ca()?.renew_alone(node)
    }

    /// Takes what an issuer gave this node for its renewal. Blocks on the disk.
    pub fn take_renewal(&self, node: &Identity, admission: Admission) -> Result<(), GroupError> {
        self.in_ca()?.take_renewal(node, admission)
    }

    /// Removes a member and gives the deny-list's new epoch. Blocks on the disk.
    pub fn revoke(&self, node: NodeId) -> Result<u64, GroupError> {
        self.in_ca()?.revoke(node)
    }

    /// The files whose change makes a look at them worth while; none where nothing changes.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.mode {
            Mode::Secret(_) => Vec::new(),
            Mode::Enrolled(enrolled) => enrolled.files(),
            Mode::Own(pki) => pki.files(),
        }
    }

    /// Looks again at what other processes may have changed: the files of this home, or of somebody's own PKI. Blocks on
    /// the disk.
    pub fn reread(&self) -> Result<(), GroupError> {
        match &self.mode {
            Mode::Secret(_) => Ok(()),
            Mode::Enrolled(enrolled) => enrolled.reread(),
            Mode::Own(pki) => Ok(pki.reread()?),
        }
    }

    /// Tells when this node's own certificate was renewed; `None` where that does not happen.
    #[must_use]
    pub fn renewals(&self) -> Option<watch::Receiver<u64>> {
        match &self.mode {
            Mode::Secret(_) => None,
            Mode::Enrolled(enrolled) => Some(enrolled.renewals()),
            Mode::Own(pki) => Some(pki.renewals()),
        }
    }

    fn in_ca(&self) -> Result<&Enrolled, GroupError> {
        match &self.mode {
            Mode::Enrolled(enrolled) => Ok(enrolled),
            Mode::Secret(_) | Mode::Own(_) => Err(GroupError::NoAuthority),
        }
    }

    fn keep(self, home: &Path, overwrite: Overwrite) -> Result<Self, GroupError> {
        let Mode::Secret(shared) = &self.mode else { return Ok(self) };
        if let Some(there) = Enrolled::load(home)? {
            let name = Self::enrolled(there).name();
            match overwrite {
                Overwrite::Refuse => return Err(GroupError::InAnother { name }),
                Overwrite::Replace => Self::leave(home).map(drop)?,
            }
        }
        let mut line = shared.secret.text();
        line.push('\n');
        match secret_file::write(&home.join(FILE), line.as_bytes(), overwrite)? {
            Written::Done => Ok(self),
            Written::WasThere => match Self::load(home)? {
                Some(there) if there.id() != self.id() => Err(GroupError::InAnother { name: there.name() }),
                // The same one; or somebody left it in this moment, which is as if he had left after us.
                _ => Ok(self),
            },
        }
    }
}

/// Leaves the group that this node is in, if it was told to.
fn make_room(home: &Path, overwrite: Overwrite) -> Result<(), GroupError> {
    match (Group::load(home), overwrite) {
        (Ok(None), _) => Ok(()),
        (Ok(Some(there)), Overwrite::Refuse) => Err(GroupError::InAnother { name: there.name() }),
        (Err(error), Overwrite::Refuse) => Err(error),
        (_, Overwrite::Replace) => Group::leave(home).map(drop),
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.id()).finish()
    }
}

#[cfg(test)]
mod ca_tests;
#[cfg(test)]
mod tests;
