//! Questions about membership and their answers, one of each on a stream.
//!
//! An applicant proves a token that it never shows: the token is the seed of a key, the issuer knows the public half, and
//! the signature covers the TLS channel's exported secret, so it is worth nothing on any other connection.

use super::Role;
use super::denied::SignedDenyList;
use crate::NodeId;
use crate::cursor::Cursor;
use crate::frame::sealed::Layout;
use crate::frame::{FrameError, Unsendable, kind};
use crate::statement::{GroupId, MAX_CERTIFICATE};

/// Bytes of the longest chain: a member's certificate, then its issuer's, one after the other as DER.
pub const MAX_CHAIN: usize = MAX_CERTIFICATE;
/// Bytes of the longest certificate of an authority or an issuer.
pub const MAX_AUTHORITY: usize = 1024;

/// What is asked or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipQuestion {
    /// Make me a member. The asker's name is the key that its handshake proved.
    Enrol {
        /// The public key of the token.
        invitation: [u8; 32],
        /// The token's signature over [`enrolment_proof`].
        proof: [u8; 64],
    },
    /// Certify me again: the asker is a member, and stays what it is.
    Renew,
    /// My deny-list has this epoch; show me a newer one.
    DeniedSince(u64),
    /// Here is a newer deny-list.
    Denied(SignedDenyList),
}

/// What comes back.
#[derive(Clone, PartialEq, Eq)]
pub enum MembershipAnswer {
    /// The asker is a member.
    Admitted(Admission),
    /// It is not, or no longer.
    Refused(MembershipRefusal),
    /// The answerer's deny-list has this epoch: it has no newer one.
    DeniedSince(u64),
    /// A newer deny-list.
    Denied(SignedDenyList),
}

/// One certificate and how long it holds, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// DER; for a member followed by the certificate of its issuer unless that is the root.
    pub chain: Vec<u8>,
    /// From then on.
    pub from: i64,
    /// Until then.
    pub until: i64,
}

/// What makes the asker a member.
#[derive(Clone, PartialEq, Eq)]
pub struct Admission {
    /// What it is.
    pub role: Role,
    /// What it shows in handshakes.
    pub member: Credential,
    /// For an issuer, when the root answers: the certificate with which it certifies others.
    pub issuing: Option<Credential>,
    /// The root's certificate.
    pub authority: Vec<u8>,
    /// The secret that turns entities into lookup keys.
    pub lookup: [u8; 32],
    /// The deny-list, if there is one.
    pub denied: Option<SignedDenyList>,
}

/// Why somebody is not made a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MembershipRefusal {
    /// No such invitation, or the proof is wrong: the same answer.
    #[error("no invitation of this group fits the code")]
    Unknown,
    /// The invitation has run out.
    #[error("the invitation has expired")]
    Expired,
    /// The invitation was used as often as it may be.
    #[error("the invitation has been used up")]
    UsedUp,
    /// Too many wrong proofs came from there; later it may go better.
    #[error("too many wrong codes came from here; wait a minute")]
    TooMany,
    /// The asker was removed from the group.
    #[error("this node was removed from the group")]
    Removed,
    /// The one asked may not certify the asker; another one may.
    #[error("the machine that was asked does not certify this node")]
    NotIssued,
    /// A fault at the one asked.
    #[error("the machine that was asked failed")]
    Fault,
}

/// The bytes that a token signs: worth something for one group, one applicant and one TLS channel only.
#[must_use]
pub fn enrolment_proof(group: GroupId, applicant: NodeId, exported: &[u8; 32]) -> Vec<u8> {
    [b"eddy v1 enrolment\0".as_slice(), &group.0, &applicant.0, exported].concat()
}

impl MembershipRefusal {
    const ALL: [Self; 7] =
        [Self::Unknown, Self::Expired, Self::UsedUp, Self::TooMany, Self::Removed, Self::NotIssued, Self::Fault];

    fn code(self) -> u8 {
        match self {
            Self::Unknown => 1,
            Self::Expired => 2,
            Self::UsedUp => 3,
            Self::TooMany => 4,
            Self::Removed => 5,
            Self::NotIssued => 6,
            Self::Fault => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

impl Layout for MembershipQuestion {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::Enrol { invitation, proof } => {
                out.push(kind::ENROL);
                out.extend_from_slice(invitation);
                out.extend_from_slice(proof);
            }
            Self::Renew => out.push(kind::RENEW),
            Self::DeniedSince(epoch) => {
                out.push(kind::DENIED_SINCE);
                out.extend_from_slice(&epoch.to_le_bytes());
            }
            Self::Denied(list) => {
                out.push(kind::DENIED);
                list.write(out);
            }
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::ENROL => Ok(Self::Enrol { invitation: cursor.array()?, proof: cursor.array()? }),
            kind::RENEW => Ok(Self::Renew),
            kind::DENIED_SINCE => Ok(Self::DeniedSince(cursor.u64()?)),
            kind::DENIED => read_list(cursor).map(Self::Denied),
            found => Err(FrameError::Kind { found }),
        }
    }
}

impl Layout for MembershipAnswer {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::Admitted(admission) => {
                out.push(kind::ADMITTED);
                admission.write(out)?;
            }
            Self::Refused(refusal) => out.extend_from_slice(&[kind::NOT_ADMITTED, refusal.code()]),
            Self::DeniedSince(epoch) => {
                out.push(kind::DENIED_SINCE);
                out.extend_from_slice(&epoch.to_le_bytes());
            }
            Self::Denied(list) => {
                out.push(kind::DENIED);
                list.write(out);
            }
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::ADMITTED => Admission::read(cursor).map(Self::Admitted),
            kind::NOT_ADMITTED => {
                let refusal = MembershipRefusal::from_code(cursor.u8()?);
                refusal.map(Self::Refused).ok_or(FrameError::Field { field: "refusal" })
            }
            kind::DENIED_SINCE => Ok(Self::DeniedSince(cursor.u64()?)),
            kind::DENIED => read_list(cursor).map(Self::Denied),
            found => Err(FrameError::Kind { found }),
        }
    }
}

impl Admission {
    /// Appends the fields; the kept form of a membership has the same layout.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        out.push(self.role.code());
        self.member.write(MAX_CHAIN, out)?;
        write_option(self.issuing.as_ref(), out, |issuing, out| issuing.write(MAX_AUTHORITY, out))?;
        write_bytes(&self.authority, MAX_AUTHORITY, out)?;
        out.extend_from_slice(&self.lookup);
        write_option(self.denied.as_ref(), out, |list, out| {
            list.write(out);
            Ok(())
        })
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            role: Role::from_code(cursor.u8()?).ok_or(FrameError::Field { field: "role" })?,
            member: Credential::read(MAX_CHAIN, cursor)?,
            issuing: read_option(cursor, |cursor| Credential::read(MAX_AUTHORITY, cursor))?,
            authority: read_bytes(MAX_AUTHORITY, cursor)?,
            lookup: cursor.array()?,
            denied: read_option(cursor, read_list)?,
        })
    }
}

impl Credential {
    fn write(&self, most: usize, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        out.extend_from_slice(&self.from.to_le_bytes());
        out.extend_from_slice(&self.until.to_le_bytes());
        write_bytes(&self.chain, most, out)
    }

    fn read(most: usize, cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        Ok(Self { from: cursor.i64()?, until: cursor.i64()?, chain: read_bytes(most, cursor)? })
    }
}

fn write_bytes(bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Unsendable> {
    if bytes.is_empty() || bytes.len() > most {
        return Err(Unsendable::TooMany { field: "bytes of a certificate" });
    }
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn read_bytes(most: usize, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, FrameError> {
    let length = usize::from(cursor.u16()?);
    if length == 0 || length > most {
        return Err(FrameError::Field { field: "certificate" });
    }
    Ok(cursor.slice(length)?.to_vec())
}

fn write_option<T>(
    value: Option<&T>,
    out: &mut Vec<u8>,
    write: impl FnOnce(&T, &mut Vec<u8>) -> Result<(), Unsendable>,
) -> Result<(), Unsendable> {
    out.push(u8::from(value.is_some()));
    value.map_or(Ok(()), |value| write(value, out))
}

fn read_option<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, FrameError>,
) -> Result<Option<T>, FrameError> {
    match cursor.u8()? {
        0 => Ok(None),
        1 => read(cursor).map(Some),
        _ => Err(FrameError::Field { field: "option" }),
    }
}

fn read_list(cursor: &mut Cursor<'_>) -> Result<SignedDenyList, FrameError> {
    SignedDenyList::read(cursor).map_err(|_| FrameError::Field { field: "deny-list" })
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("role", &self.role)
            .field("until", &self.member.until)
            .field("issues", &self.issuing.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for MembershipAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admitted(admission) => f.debug_tuple("Admitted").field(admission).finish(),
            Self::Refused(refusal) => f.debug_tuple("Refused").field(refusal).finish(),
            Self::DeniedSince(epoch) => f.debug_tuple("DeniedSince").field(epoch).finish(),
            Self::Denied(list) => f.debug_tuple("Denied").field(&list.list.epoch).finish(),
        }
    }
}
