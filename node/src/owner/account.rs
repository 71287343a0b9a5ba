//! What the system's user database says of a user. It may be anything behind NSS, so every call may block.

use nix::unistd::{Group, Uid, User};
use std::ffi::CString;

/// The group of whoever the system does not know: one that owns nothing.
const NOGROUP: u32 = 65_534;

/// A user, with the groups that the system gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its own group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

impl Account {
    /// The account of a user; one that the system does not know, or has no answer about, is in no group.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        let nobody = || Self { uid, gid: NOGROUP, groups: Vec::new() };
        let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return nobody() };
        let Ok(name) = CString::new(user.name) else { return nobody() };
        let groups = nix::unistd::getgrouplist(&name, user.gid).unwrap_or_default();
        Self { uid, gid: user.gid.as_raw(), groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect() }
    }
}

/// What the system calls a user; nothing for one that it does not know.
#[must_use]
pub fn name_of(uid: u32) -> Option<String> {
    Some(User::from_uid(Uid::from_raw(uid)).ok()??.name)
}

/// Whether a user is in a group of the system: by its own group or by the group's list. Who cannot be found is not.
#[must_use]
pub fn is_in_group(uid: u32, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else { return false };
    Account::of(uid).groups.contains(&group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_in_its_own_group_and_a_stranger_in_none() {
        assert!(is_in_group(0, "root"));
        assert!(!is_in_group(0, "no-such-group-anywhere"));
        assert!(!is_in_group(3_999_999_999, "root"));
        assert_eq!(Account::of(3_999_999_999).groups, [0; 0]);
    }
}
