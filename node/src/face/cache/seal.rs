//! Who signs packages here, and who is trusted to have signed one.
//!
//! A member is trusted as it is as a peer: its certificate is the group's, holds at this time, and was not taken back. Somebody
//! else is trusted only when the caller names the key.

use crate::face::NodeFace;
use crate::group::{Group, chain};
use eddy_wire::NodeId;
use eddy_wire::seal::Seal;

impl NodeFace {
    /// What stands beside this node's seals; nothing when it is in no group.
    pub(super) fn certificates(&self) -> Vec<u8> {
        let shown = self.group.as_ref().and_then(|group| group.certify(&self.identity).ok());
        shown.map(|shown| chain::join(std::iter::once(&shown.certificate).chain(&shown.above))).unwrap_or_default()
    }
}

/// The signer of `signed` by its seal, if it is trusted; else why not, in words.
pub(super) fn trusted(
    signed: &[u8],
    seal: &[u8],
    named: Option<NodeId>,
    group: Option<&Group>,
) -> Result<NodeId, String> {
    let seal = Seal::decode(seal).map_err(|error| error.to_string())?;
    seal.verify(signed).map_err(|error| error.to_string())?;
    let signer = seal.signer;
    if let Some(named) = named {
        return if signer == named { Ok(signer) } else { Err(format!("{signer} signed it")) };
    }
    let group = group.ok_or_else(|| format!("{signer} signed it, and this node is in no group"))?;
    let no_member = |why: String| format!("{signer} signed it, who is no member of this node's group: {why}");
    let parts = chain::split(&seal.certificate).filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| no_member("it shows no certificate".to_owned()))?;
    let member = group.verify_chain(&parts, group.now()).map_err(|why| no_member(why.to_string()))?;
    if member.node != signer {
        return Err(no_member("the certificate is for another key".to_owned()));
    }
    match group.removed(&member) {
        Some(_) => Err(format!("{signer} signed it, who was removed from the group")),
        None => Ok(signer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupSecret;
    use crate::identity::Identity;
    use ed25519_dalek::SigningKey;

    fn group() -> Group {
        Group::from_secret(GroupSecret::generate().unwrap()).unwrap()
    }

    fn identity(seed: u8) -> Identity {
        Identity::from_key(SigningKey::from_bytes(&[seed; 32]))
    }

    fn sealed(group: Option<&Group>, by: &Identity) -> Vec<u8> {
        let shown = group.map(|group| group.certify(by).unwrap().certificate.to_vec());
        Seal::sign(by.signing_key(), &shown.unwrap_or_default(), b"packed").encode()
    }

    #[test]
    fn a_member_is_trusted_and_nobody_else_unless_named() {
        let (ours, theirs, by) = (group(), group(), identity(1));
        let name = by.node_id();
        let seal = sealed(Some(&ours), &by);
        assert_eq!(trusted(b"packed", &seal, None, Some(&ours)), Ok(name));
        for (seal, named, group) in [
            (&seal, None, Some(&theirs)),
            (&seal, None, None),
            (&sealed(None, &by), None, Some(&ours)),
            (&sealed(None, &by), Some(identity(2).node_id()), Some(&ours)),
        ] {
            let why = trusted(b"packed", seal, named, group).unwrap_err();
            assert!(why.contains(&name.to_string()), "{why}");
        }
        assert_eq!(trusted(b"packed", &sealed(None, &by), Some(name), None), Ok(name));
    }

    #[test]
    fn anothers_certificate_and_another_package_are_noticed() {
        let (group, by) = (group(), identity(1));
        let borrowed = group.certify(&identity(2)).unwrap().certificate.to_vec();
        let seal = Seal::sign(by.signing_key(), &borrowed, b"packed").encode();
        assert!(trusted(b"packed", &seal, None, Some(&group)).unwrap_err().contains("another key"));
        assert!(trusted(b"other", &sealed(Some(&group), &by), None, Some(&group)).is_err());
        assert!(trusted(b"packed", b"nonsense", None, Some(&group)).is_err());
    }
}
