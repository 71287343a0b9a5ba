//! What an issuer writes down: the invitations that are open, and whom it has certified.
//!
//! Two small files, changed under a lock by the command that invites and by the daemon that admits. Of a token only the public
//! half of its key is kept: who reads the file can let nobody in.

use crate::secret_file::{self, Overwrite, SecretFileError};
use ed25519_dalek::{Signature, VerifyingKey};
use eddy_wire::NodeId;
use eddy_wire::membership::{MembershipRefusal, Role};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub(super) const INVITES_FILE: &str = "group.invites";
pub(super) const ROSTER_FILE: &str = "group.roster";
pub(super) const LOCK_FILE: &str = "group.lock";
/// Invitations that may be open at a time.
pub const MAX_INVITES: usize = 64;
/// Machines that one invitation may let in.
pub const MAX_USES: u32 = 1000;
/// Members that are remembered.
const MAX_ROSTER: usize = 4096;
/// Bytes of the longest file.
const MAX_LENGTH: u64 = 4 * 1024 * 1024;
/// Version of both layouts, before the rows.
const VERSION: u8 = 1;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The public half of the token's key.
    pub token: [u8; 32],
    role: String,
    /// How many machines it lets in.
    pub uses: u32,
    /// When it was made, in seconds since 1970.
    pub made: i64,
    /// When it ends.
    pub until: i64,
    /// Whom it let in. One of them may come again: the answer may have been lost on its way.
    pub admitted: Vec<[u8; 32]>,
}

/// Somebody whom this issuer certified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    node: [u8; 32],
    role: String,
    /// When it was first certified here, in seconds since 1970.
    pub since: i64,
    /// How long its newest certificate holds.
    pub until: i64,
}

/// Why the register could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The disk's fault or the administrator's.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file is there and cannot be read.
    #[error("{} cannot be read; remove it to begin a new one", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// Too many invitations.
    #[error("there are {MAX_INVITES} invitations already; revoke some")]
    Full,
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// What the applicant hears.
    #[error(transparent)]
    Refused(#[from] MembershipRefusal),
    /// A fault here.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl Invite {
    /// An invitation that was not used.
    pub(super) fn new(token: &VerifyingKey, role: Role, uses: u32, made: i64, until: i64) -> Self {
        Self { token: token.to_bytes(), role: role.word().to_owned(), uses, made, until, admitted: Vec::new() }
    }

    /// A short name for people: the first 8 digits of the public half.
    #[must_use]
    pub fn name(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.token[..4])
    }

    /// What it makes of whom it lets in.
    #[must_use]
    pub fn role(&self) -> Role {
        role_of(&self.role)
    }

    /// Whether somebody may still be let in at `now`.
    #[must_use]
    pub fn is_open(&self, now: i64) -> bool {
        now < self.until && self.admitted.len() < self.uses as usize
    }
}

impl Listed {
    /// Who.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        role_of(&self.role)
    }
}

/// A word that this version does not know gives no more than plain membership.
fn role_of(word: &str) -> Role {
    Role::parse(word).unwrap_or(Role::Member)
}

/// The register of the issuer whose home this is.
#[derive(Debug, Clone)]
pub struct Register {
    home: PathBuf,
}

impl Register {
    pub(super) fn of(home: &Path) -> Self {
        Self { home: home.to_path_buf() }
    }

    /// The invitations, as they were made.
    pub fn invites(&self) -> Result<Vec<Invite>, RegisterError> {
        self.read(INVITES_FILE)
    }

    /// Whom this issuer has certified.
    pub fn roster(&self) -> Result<Vec<Listed>, RegisterError> {
        self.read(ROSTER_FILE)
    }

    /// Adds an invitation; those that let nobody in any more make room for it.
    pub(super) fn invite(&self, invite: Invite) -> Result<(), RegisterError> {
        self.change(INVITES_FILE, |invites: &mut Vec<Invite>| {
            if invites.len() >= MAX_INVITES {
                invites.retain(|old| old.is_open(invite.made));
            }
            if invites.len() >= MAX_INVITES {
                return Err(RegisterError::Full);
            }
            invites.push(invite);
            Ok(())
        })
    }

    /// Takes back every invitation whose name begins so; gives how many there were.
    pub fn withdraw(&self, name: &str) -> Result<usize, RegisterError> {
        self.change(INVITES_FILE, |invites: &mut Vec<Invite>| {
            let before = invites.len();
            invites.retain(|invite| !invite.name().starts_with(name));
            Ok(before - invites.len())
        })
    }

    /// Uses an invitation once for `applicant`, if `proof` is the token's signature over `message`; gives the role.
    pub(super) fn redeem(
        &self,
        token: &[u8; 32],
        message: &[u8],
        proof: &[u8; 64],
        applicant: NodeId,
        now: i64,
    ) -> Result<Role, RedeemError> {
        self.change(INVITES_FILE, |invites: &mut Vec<Invite>| {
            let invite = invites.iter_mut().find(|invite| invite.token == *token).ok_or(MembershipRefusal::Unknown)?;
            let key = VerifyingKey::from_bytes(&invite.token).map_err(|_| MembershipRefusal::Unknown)?;
            key.verify_strict(message, &Signature::from_bytes(proof)).map_err(|_| MembershipRefusal::Unknown)?;
            // From here on the applicant has proved to hold the token and may hear what became of it.
            if now >= invite.until {
                return Err(MembershipRefusal::Expired.into());
            }
            if !invite.admitted.contains(&applicant.0) {
                if invite.admitted.len() >= invite.uses as usize {
                    return Err(MembershipRefusal::UsedUp.into());
                }
                invite.admitted.push(applicant.0);
            }
            Ok(invite.role())
        })
    }

    /// Writes down that somebody was certified.
    pub(super) fn list(&self, node: NodeId, role: Role, now: i64, until: i64) -> Result<(), RegisterError> {
        self.change(ROSTER_FILE, |roster: &mut Vec<Listed>| {
            let since = roster.iter().find(|listed| listed.node == node.0).map_or(now, |listed| listed.since);
            roster.retain(|listed| listed.node != node.0);
            if roster.len() >= MAX_ROSTER {
                // Who has been without a certificate for longest is the one to forget.
                if let Some(place) = (0..roster.len()).min_by_key(|place| roster[*place].until) {
                    roster.remove(place);
                }
            }
            roster.push(Listed { node: node.0, role: role.word().to_owned(), since, until });
            Ok(())
        })
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, file: &str) -> Result<Vec<T>, RegisterError> {
        let path = self.home.join(file);
        let Some(bytes) = secret_file::read_up_to(&path, MAX_LENGTH)? else { return Ok(Vec::new()) };
        let rows = bytes.split_first().filter(|(version, _)| **version == VERSION);
        rows.and_then(|(_, rows)| postcard::from_bytes(rows).ok()).ok_or(RegisterError::Content { path })
    }

    /// Changes one file, alone among all processes of this home.
    fn change<T, R, E>(&self, file: &str, change: impl FnOnce(&mut Vec<T>) -> Result<R, E>) -> Result<R, E>
    where
        T: Serialize + for<'a> Deserialize<'a> + PartialEq + Clone,
        E: From<RegisterError>,
    {
        let _alone = lock(&self.home).map_err(RegisterError::from)?;
        let mut rows: Vec<T> = self.read(file)?;
        let before = rows.clone();
        let outcome = change(&mut rows)?;
        if rows != before {
            let path = self.home.join(file);
            let mut bytes = vec![VERSION];
            bytes.extend(postcard::to_stdvec(&rows).map_err(|_| RegisterError::Content { path: path.clone() })?);
            secret_file::write(&path, &bytes, Overwrite::Replace).map_err(RegisterError::from)?;
        }
        Ok(outcome)
    }
}

/// Waits until no other process of this home changes the register; dropped, the next one may.
pub(super) fn lock(home: &Path) -> Result<rustix::fd::OwnedFd, SecretFileError> {
    let path = home.join(LOCK_FILE);
    let failed =
        |error: rustix::io::Errno| SecretFileError::Io { step: "lock", path: path.clone(), source: error.into() };
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const NOW: i64 = 1_795_132_800;
    const HOUR: i64 = 3600;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn register() -> (tempfile::TempDir, Register) {
        let home = tempfile::tempdir().expect("a directory");
        let register = Register::of(home.path());
        (home, register)
    }

    fn token(n: u8) -> SigningKey {
        super::super::code::token_key(&[n; 16])
    }

    fn refusal(outcome: Result<Role, RedeemError>) -> MembershipRefusal {
        match outcome.expect_err("is refused") {
            RedeemError::Refused(refusal) => refusal,
            RedeemError::Register(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_invitation_lets_in_as_many_as_it_says_until_it_ends() {
        let (_home, register) = register();
        let key = token(1);
        let invite = Invite::new(&key.verifying_key(), Role::Issuer, 2, NOW, NOW + HOUR);
        register.invite(invite).expect("invites");
        let redeem = |n: u8, now: i64| {
            let message = [n; 40];
            let proof = key.sign(&message).to_bytes();
            register.redeem(&key.verifying_key().to_bytes(), &message, &proof, node(n), now)
        };
        assert_eq!(redeem(1, NOW).expect("is let in"), Role::Issuer);
        assert_eq!(redeem(2, NOW + HOUR - 1).expect("is let in"), Role::Issuer);
        assert_eq!(refusal(redeem(3, NOW)), MembershipRefusal::UsedUp);
        assert_eq!(redeem(2, NOW).expect("its answer was lost"), Role::Issuer);
        assert_eq!(refusal(redeem(1, NOW + HOUR)), MembershipRefusal::Expired);
    }

    #[test]
    fn without_the_token_nobody_hears_whether_it_exists() {
        let (_home, register) = register();
        let (key, other) = (token(1), token(2));
        register.invite(Invite::new(&key.verifying_key(), Role::Member, 1, NOW, NOW + HOUR)).expect("invites");
        let right = key.sign(b"message").to_bytes();
        let wrong = other.sign(b"message").to_bytes();
        let tries: [(&SigningKey, &[u8], [u8; 64]); 3] =
            [(&other, b"message", wrong), (&key, b"message", wrong), (&key, b"another channel", right)];
        for (key, message, proof) in tries {
            let outcome = register.redeem(&key.verifying_key().to_bytes(), message, &proof, node(1), NOW);
            assert_eq!(refusal(outcome), MembershipRefusal::Unknown);
        }
        assert!(register.invites().expect("reads")[0].admitted.is_empty(), "nothing was used");
    }

    #[test]
    fn a_withdrawn_invitation_is_unknown() {
        let (_home, register) = register();
        let key = token(1);
        let invite = Invite::new(&key.verifying_key(), Role::Member, 5, NOW, NOW + HOUR);
        register.invite(invite.clone()).expect("invites");
        assert_eq!(register.withdraw("zz").expect("changes"), 0);
        assert_eq!(register.withdraw(&invite.name()).expect("changes"), 1);
        let proof = key.sign(b"m").to_bytes();
        let outcome = register.redeem(&invite.token, b"m", &proof, node(1), NOW);
        assert_eq!(refusal(outcome), MembershipRefusal::Unknown);
    }

    #[test]
    fn nothing_of_a_token_is_in_the_file() {
        let (home, register) = register();
        let key = token(0x41);
        register.invite(Invite::new(&key.verifying_key(), Role::Member, 1, NOW, NOW + HOUR)).expect("invites");
        let bytes = std::fs::read(home.path().join(INVITES_FILE)).expect("is there");
        for secret in [&[0x41; 16][..], key.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }

    #[test]
    fn one_invitation_too_many_is_refused_and_ended_ones_make_room() {
        let (_home, register) = register();
        for n in 0..MAX_INVITES as u8 {
            let invite = Invite::new(&token(n).verifying_key(), Role::Member, 1, NOW, NOW + HOUR);
            register.invite(invite).expect("there is room");
        }
        let more = |made| Invite::new(&token(99).verifying_key(), Role::Member, 1, made, made + HOUR);
        assert!(matches!(register.invite(more(NOW)), Err(RegisterError::Full)));
        register.invite(more(NOW + HOUR)).expect("there is room again");
        assert_eq!(register.invites().expect("reads").len(), 1);
    }

    #[test]
    fn many_at_once_use_an_invitation_no_more_often_than_it_says() {
        let (_home, register) = register();
        let key = token(1);
        register.invite(Invite::new(&key.verifying_key(), Role::Member, 3, NOW, NOW + HOUR)).expect("invites");
        let proof = key.sign(b"m").to_bytes();
        let admitted = std::thread::scope(|scope| {
            let (register, key) = (&register, &key);
            let redeem = move |n| register.redeem(&key.verifying_key().to_bytes(), b"m", &proof, node(n), NOW).is_ok();
            let threads: Vec<_> = (0..12).map(|n| scope.spawn(move || redeem(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|is_in| *is_in).count()
        });
        assert_eq!(admitted, 3);
    }

    #[test]
    fn the_roster_keeps_when_somebody_first_came() {
        let (_home, register) = register();
        register.list(node(1), Role::Member, NOW, NOW + 7).expect("lists");
        register.list(node(2), Role::Anchor, NOW, NOW + 7).expect("lists");
        register.list(node(1), Role::Issuer, NOW + 5, NOW + 12).expect("lists");
        let roster = register.roster().expect("reads");
        let rows: Vec<_> = roster.iter().map(|row| (row.node(), row.role(), row.since, row.until)).collect();
        assert_eq!(rows, [(node(2), Role::Anchor, NOW, NOW + 7), (node(1), Role::Issuer, NOW, NOW + 12)]);
    }

    #[test]
    fn a_broken_register_is_reported() {
        let (home, register) = register();
        secret_file::write(&home.path().join(INVITES_FILE), &[9, 9], Overwrite::Replace).expect("writes");
        assert!(matches!(register.invites(), Err(RegisterError::Content { .. })));
    }
}
