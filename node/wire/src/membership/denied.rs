//! The deny-list: who was removed from a group, signed by the group's root.
//!
//! Its epoch only grows: of two lists the one with the higher epoch holds, so that nobody can bring a removed member back
//! by showing an older list (C-11). The signed bytes stand behind a domain string: the root's key also signs certificates.

use crate::NodeId;
use crate::cursor::{Cursor, Short};
use crate::statement::GroupId;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Members on one list: all of it fits one frame. Only where there is no room for one more does the root leave out who was removed first.
pub const MAX_DENIED: usize = 4096;

/// Version of the layout below; part of what is signed.
const VERSION: u8 = 1;
/// Sets these signatures apart from every other use of the key.
const DOMAIN: &[u8] = b"eddy v1 deny-list of a group\0";
const SIGNATURE_LENGTH: usize = 64;

/// One removed member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Who.
    pub node: NodeId,
    /// When, in seconds since 1970, by the root's clock.
    pub time: i64,
}

/// Who was removed, as of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyList {
    /// The group.
    pub group: GroupId,
    /// Grows by one with each list.
    pub epoch: u64,
    /// When the list was made, in seconds since 1970.
    pub time: i64,
    /// At most [`MAX_DENIED`], ascending by node, none twice.
    pub removed: Vec<Removal>,
}

/// A [`DenyList`] and its signature, which nobody has checked yet unless [`SignedDenyList::verify`] was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDenyList {
    /// What is said.
    pub list: DenyList,
    /// Ed25519 over the domain string, the version and the body.
    pub signature: [u8; SIGNATURE_LENGTH],
}

/// Why bytes are no deny-list of a group. The fault is the sender's; asking again is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DenyListError {
    /// Made by another version of eddy.
    #[error("the deny-list has version {found}, this node reads {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Too few or too many bytes.
    #[error("the deny-list has the wrong length")]
    Length,
    /// More entries than a list may have, or not in order.
    #[error("the deny-list's entries are too many or out of order")]
    Entries,
    /// Of another group.
    #[error("the deny-list is another group's")]
    Group,
    /// Not signed by the group's root.
    #[error("the deny-list's signature is wrong")]
    Signature,
}

impl DenyList {
    /// The first list of a group: nobody was removed. It is never sent; every signed list has a higher epoch.
    #[must_use]
    pub fn empty(group: GroupId) -> Self {
        Self { group, epoch: 0, time: 0, removed: Vec::new() }
    }

    /// The removal of a node, if it was removed.
    #[must_use]
    pub fn removal(&self, node: &NodeId) -> Option<&Removal> {
        let place = self.removed.binary_search_by_key(node, |removal| removal.node).ok()?;
        self.removed.get(place)
    }

    /// What is removed in either, each with its later time; of more than fit one list those that were removed last.
    #[must_use]
    pub fn united(&self, other: &Self) -> Vec<Removal> {
        let mut united: Vec<Removal> = self.removed.iter().chain(&other.removed).copied().collect();
        united.sort_unstable_by_key(|removal| (removal.node, std::cmp::Reverse(removal.time)));
        united.dedup_by_key(|removal| removal.node);
        if united.len() > MAX_DENIED {
            united.sort_unstable_by_key(|removal| (std::cmp::Reverse(removal.time), removal.node));
            united.truncate(MAX_DENIED);
            united.sort_unstable_by_key(|removal| removal.node);
        }
        united
    }

    /// Signs it with the root's key.
    #[must_use]
    pub fn sign(self, root: &SigningKey) -> SignedDenyList {
        let signature = root.sign(&self.signed_bytes()).to_bytes();
        SignedDenyList { list: self, signature }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.group.0);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&(self.removed.len() as u16).to_le_bytes());
        for removal in &self.removed {
            out.extend_from_slice(&removal.node.0);
            out.extend_from_slice(&removal.time.to_le_bytes());
        }
    }

    fn is_well_formed(&self) -> bool {
        let ascends = self.removed.windows(2).all(|pair| pair[0].node < pair[1].node);
        ascends && self.removed.len() <= MAX_DENIED
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DenyListError> {
        match cursor.u8()? {
            VERSION => {}
            found => return Err(DenyListError::Version { found }),
        }
        let (group, epoch, time) = (GroupId(cursor.array()?), cursor.u64()?, cursor.i64()?);
        let count = usize::from(cursor.u16()?);
        if count > MAX_DENIED {
            return Err(DenyListError::Entries);
        }
        let entry = |_| Ok::<_, Short>(Removal { node: NodeId(cursor.array()?), time: cursor.i64()? });
        let list = Self { group, epoch, time, removed: (0..count).map(entry).collect::<Result<_, _>>()? };
        if list.is_well_formed() { Ok(list) } else { Err(DenyListError::Entries) }
    }
}

impl SignedDenyList {
    /// The bytes that travel and are kept: version, body, signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Reads the bytes of one list, and nothing after them. Does not check the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, DenyListError> {
        let mut cursor = Cursor::new(bytes);
        let list = Self::read(&mut cursor)?;
        if cursor.is_at_end() { Ok(list) } else { Err(DenyListError::Length) }
    }

    /// Checks that it is the list of `group`, and that the group's root, whose public key is `root`, signed it.
    pub fn verify(&self, group: GroupId, root: &VerifyingKey) -> Result<&DenyList, DenyListError> {
        if self.list.group != group {
            return Err(DenyListError::Group);
        }
        if !self.list.is_well_formed() {
            return Err(DenyListError::Entries);
        }
        let signature = Signature::from_bytes(&self.signature);
        root.verify_strict(&self.list.signed_bytes(), &signature).map_err(|_| DenyListError::Signature)?;
        Ok(&self.list)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.list.write(out);
        out.extend_from_slice(&self.signature);
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, DenyListError> {
        Ok(Self { list: DenyList::read(cursor)?, signature: cursor.array()? })
    }
}

impl From<Short> for DenyListError {
    fn from(_: Short) -> Self {
        Self::Length
    }
}
