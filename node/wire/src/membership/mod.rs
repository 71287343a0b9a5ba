//! How a group with an authority of its own says who is a member: enrolment, renewal, and who was removed.
//!
//! | module | question that it answers |
//! |---|---|
//! | this one | what may a member be? |
//! | [`talk`] | what is asked of an issuer or told to a member, and what comes back? |
//! | [`denied`] | who was removed, by the word of the group's root? |
//!
//! All of it travels on streams of the kind [`crate::frame::StreamKind::Membership`]; an applicant, who is no member yet, puts
//! its one question under the protocol name [`ENROL_ALPN`].

pub mod denied;
pub mod talk;

pub use denied::{DenyList, DenyListError, MAX_DENIED, Removal, SignedDenyList};
pub use talk::{
    Admission, Credential, MAX_AUTHORITY, MAX_CHAIN, MembershipAnswer, MembershipQuestion, MembershipRefusal,
    enrolment_proof,
};

use std::fmt;

/// The protocol name of TLS's ALPN under which an applicant speaks; nothing but enrolment is answered under it.
pub const ENROL_ALPN: &[u8] = b"eddy-enrol/1";

/// What a member of a group with an authority of its own may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes part.
    Member,
    /// Takes part, and certifies plain members.
    Issuer,
    /// Takes part, and is meant to count as a witness by itself.
    Anchor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Member, Self::Issuer, Self::Anchor];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Issuer => "issuer",
            Self::Anchor => "anchor",
        }
    }

    /// The role that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Member => 1,
            Self::Issuer => 2,
            Self::Anchor => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests;
