//! Somebody's own PKI: certificate, key and authorities from files that another program keeps fresh (step-ca, SPIFFE).
//!
//! A member is who shows a chain to one of the authorities that webpki accepts for servers and for clients, over at most three
//! certificates in between, whatever algorithms they use; the node's own key must be Ed25519, since it is the node's name and
//! signs statements. Whoever the authorities certify is a member, so they should certify nobody else. Who was removed is
//! their business too: there is no deny-list of ours.

use super::NodeCertificate;
use super::clock::Clock;
use super::member::{self, Member, NotAMember, Rule};
use crate::identity::Identity;
use crate::secret_file::{self, SecretFileError};
use eddy_content::LookupSecret;
use eddy_wire::statement::GroupId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Bytes of the longest file that is read.
const MAX_FILE: u64 = 256 * 1024;
/// Fewest bytes of a lookup secret's file.
const SHORTEST_SECRET: usize = 32;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiFiles {
    /// PEM: this node's certificate, then those between it and an authority.
    pub cert: PathBuf,
    /// PEM: the certificate's key, PKCS #8, Ed25519; only its owner may read it.
    pub key: PathBuf,
    /// PEM: the authorities.
    pub ca: PathBuf,
    /// At least 32 bytes that all members have and nobody else; only its owner may read it.
    pub lookup: PathBuf,
}

/// Why the files make no member. The administrator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A secret's file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{}: {expected} was expected", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The certificate makes nobody a member.
    #[error("{}: {why}", path.display())]
    NotAMember {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        why: NotAMember,
    },
    /// The certificate is for another key.
    #[error("{} is not the certificate of {}", cert.display(), key.display())]
    OtherKey {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// A member by files.
pub(super) struct Pki {
    files: PkiFiles,
    id: GroupId,
    lookup: LookupSecret,
    identity: Identity,
    shown: RwLock<Shown>,
    clock: Clock,
    renewed: watch::Sender<u64>,
}

/// What may change while the node runs.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Pki {
    pub(super) fn load(files: &PkiFiles) -> Result<Self, PkiError> {
        let identity = identity(files)?;
        let secret = secret_file::read(&files.lookup)?.filter(|bytes| bytes.trim_ascii().len() >= SHORTEST_SECRET);
        let expected = "a secret of at least 32 bytes";
        let secret = secret.ok_or_else(|| PkiError::Content { path: files.lookup.clone(), expected })?;
        let secret = secret.trim_ascii();
        let lookup = Zeroizing::new(blake3::derive_key("eddy v1 2026-11 own pki lookup secret", secret));
        let id = GroupId(blake3::derive_key("eddy v1 2026-11 own pki group id", secret));
        let shown = Shown::load(files)?;
        let clock = Clock::start(0);
        let pki = Self {
            files: files.clone(),
            id,
            lookup: LookupSecret::new(*lookup),
            identity,
            shown: RwLock::new(shown.clone()),
            clock,
            renewed: watch::Sender::new(0),
        };
        pki.check(&shown)?;
        Ok(pki)
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    pub(super) fn lookup_secret(&self) -> LookupSecret {
        self.lookup.clone()
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(super) fn authority(&self) -> CertificateDer<'static> {
        self.current().authorities.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }

    pub(super) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    pub(super) fn shown(&self, node: &Identity) -> NodeCertificate {
        let mut chain = self.current().chain.into_iter();
        let certificate = chain.next().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        NodeCertificate { certificate, above: chain.collect(), key: node.private_key() }
    }

    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<Member, NotAMember> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        member::verify(Rule::Own(&shown.authorities), chain, now)
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.files.cert.clone(), self.files.ca.clone()]
    }

    /// Takes files that were replaced, if they still make this node a member by the same key.
    pub(super) fn reread(&self) -> Result<(), PkiError> {
        let found = Shown::load(&self.files)?;
        if found != self.current() {
            self.check(&found)?;
            *self.shown.write().unwrap_or_else(PoisonError::into_inner) = found;
            self.renewed.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }

    fn current(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self, shown: &Shown) -> Result<(), PkiError> {
        let path = self.files.cert.clone();
        let member = member::verify(Rule::Own(&shown.authorities), &shown.chain, self.clock.now());
        match member {
            Ok(member) if member.node == self.identity.node_id() => Ok(()),
            Ok(_) => Err(PkiError::OtherKey { cert: path, key: self.files.key.clone() }),
            Err(why) => Err(PkiError::NotAMember { path, why }),
        }
    }
}

impl Shown {
    fn load(files: &PkiFiles) -> Result<Self, PkiError> {
        Ok(Self { chain: certificates(&files.cert)?, authorities: certificates(&files.ca)? })
    }
}

/// The identity of a node whose key is in a file of its administrator's.
pub(crate) fn identity(files: &PkiFiles) -> Result<Identity, PkiError> {
    let wrong = || PkiError::Content { path: files.key.clone(), expected: "an Ed25519 key in PKCS #8, as PEM," };
    let text = secret_file::read(&files.key)?.ok_or_else(wrong)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| wrong())?;
    Identity::from_pkcs8(&key).ok_or_else(wrong)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read = |source| PkiError::Read { path: path.to_path_buf(), source };
    let wrong = || PkiError::Content { path: path.to_path_buf(), expected: "certificates as PEM" };
    if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE {
        return Err(wrong());
    }
    let text = std::fs::read(path).map_err(read)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::super::{Group, GroupError, NotAMember, Standing};
    use super::*;
    use data_encoding::BASE64;
    use eddy_wire::membership::Role;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
        date_time_ymd,
    };
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use tempfile::TempDir;

    /// Authorities as a step-ca or a SPIRE server has them: a root and one below it, of ECDSA keys.
    struct Office {
        root: Vec<u8>,
        below: Vec<u8>,
        below_params: CertificateParams,
        below_key: KeyPair,
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn office(name: &str) -> Office {
        let key = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let (root_key, below_key) = (key(), key());
        let (root, below_params) = (authority(name), authority(&format!("{name} below")));
        let root_der = root.self_signed(&root_key).expect("signs").der().to_vec();
        let below = below_params.signed_by(&below_key, &Issuer::new(root, root_key)).expect("signs").der().to_vec();
        Office { root: root_der, below, below_params, below_key }
    }

    fn pem(label: &str, ders: &[&[u8]]) -> String {
        let one = |der: &&[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der));
        ders.iter().map(one).collect()
    }

    impl Office {
        /// A workload's certificate, as SPIRE names it.
        fn certify(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI("spiffe://office.example/eddy".try_into().expect("a name"))];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            change(&mut params);
            let issuer = Issuer::new(self.below_params.clone(), &self.below_key);
            params.signed_by(key, &issuer).expect("signs").der().to_vec()
        }

        fn write(&self, home: &TempDir, key: &KeyPair, certificate: &[u8]) -> PkiFiles {
            let path = |name: &str| home.path().join(name);
            let files = PkiFiles { cert: path("cert"), key: path("key"), ca: path("ca"), lookup: path("lookup") };
            fs::write(&files.cert, pem("CERTIFICATE", &[certificate, &self.below])).expect("writes");
            fs::write(&files.ca, pem("CERTIFICATE", &[&self.root])).expect("writes");
            fs::write(&files.key, pem("PRIVATE KEY", &[key.serialized_der()])).expect("writes");
            fs::write(&files.lookup, "a secret that all machines of the office have").expect("writes");
            for secret in [&files.key, &files.lookup] {
                fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("changes");
            }
            files
        }

        fn member(&self) -> (TempDir, PkiFiles, Group) {
            let (home, key) = (tempfile::tempdir().expect("a directory"), ed25519());
            let files = self.write(&home, &key, &self.certify(&key, |_| ()));
            let group = Group::from_files(&files).expect("a member");
            (home, files, group)
        }
    }

    fn ed25519() -> KeyPair {
        KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key")
    }

    fn sees(one: &Group, other: &Group) -> Result<Member, NotAMember> {
        let node = other.own_identity().expect("by files");
        let shown = other.certify(&node).expect("shows");
        let chain: Vec<_> = std::iter::once(shown.certificate).chain(shown.above).collect();
        one.verify_chain(&chain, one.now())
    }

    #[test]
    fn nodes_of_one_pki_and_one_lookup_secret_are_a_group() {
        let here = office("office");
        let ((_one, _, one_group), (_two, _, two_group)) = (here.member(), here.member());
        let two = two_group.own_identity().expect("by files").node_id();
        assert_eq!(sees(&one_group, &two_group), Ok(Member { node: two, role: Role::Member, issuer: None }));
        assert_eq!((one_group.id(), one_group.lookup_secret()), (two_group.id(), two_group.lookup_secret()));
        assert_eq!(one_group.standing(&two), Standing::Unlimited);
        assert!(matches!(one_group.revoke(two), Err(GroupError::NoAuthority)));
        // Another authority's certificates are strangers'.
        let (_three, _, three) = office("elsewhere").member();
        assert!(sees(&one_group, &three).is_err());
    }

    #[test]
    fn a_certificate_that_makes_no_member_is_refused_with_its_file() {
        let here = office("office");
        let (home, key) = (tempfile::tempdir().expect("a directory"), ed25519());
        let load = |key: &KeyPair, certificate: &[u8]| match Group::from_files(&here.write(&home, key, certificate)) {
            Err(GroupError::Pki(error)) => error,
            other => panic!("{other:?}"),
        };
        let expired = here.certify(&key, |params| params.not_after = date_time_ymd(2020, 1, 1));
        assert!(matches!(load(&key, &expired), PkiError::NotAMember { why: NotAMember::Expired, .. }));
        let servers = here.certify(&key, |params| params.extended_key_usages.truncate(1));
        assert!(matches!(load(&key, &servers), PkiError::NotAMember { .. }));
        let others = here.certify(&ed25519(), |_| ());
        assert!(matches!(load(&key, &others), PkiError::OtherKey { .. }));
        let ecdsa = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        assert!(matches!(load(&ecdsa, &here.certify(&ecdsa, |_| ())), PkiError::Content { .. }));
        let strange = office("elsewhere").certify(&key, |_| ());
        assert!(matches!(load(&key, &strange), PkiError::NotAMember { .. }));
    }

    #[test]
    fn exposed_missing_and_short_files_are_refused() {
        let office = office("office");
        let (_home, files, _) = office.member();
        for secret in [&files.key, &files.lookup] {
            fs::set_permissions(secret, fs::Permissions::from_mode(0o644)).expect("changes");
            let refused = Group::from_files(&files);
            assert!(matches!(refused, Err(GroupError::Pki(PkiError::File(SecretFileError::Exposed { .. })))));
            fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("changes");
        }
        fs::write(&files.lookup, "short").expect("writes");
        assert!(matches!(Group::from_files(&files), Err(GroupError::Pki(PkiError::Content { .. }))));
        fs::remove_file(&files.ca).expect("removes");
        assert!(Group::from_files(&files).is_err());
    }

    #[test]
    fn a_certificate_that_was_renewed_by_its_keeper_is_shown_from_then_on() {
        let office = office("office");
        let (home, key) = (tempfile::tempdir().expect("a directory"), ed25519());
        let files = office.write(&home, &key, &office.certify(&key, |_| ()));
        let group = Group::from_files(&files).expect("a member");
        let told = group.renewals().expect("by files");
        group.reread().expect("reads");
        assert!(!told.has_changed().expect("lives"), "nothing has changed");
        let longer = office.certify(&key, |params| params.not_after += Duration::from_secs(86_400));
        office.write(&home, &key, &longer);
        group.reread().expect("reads");
        assert!(told.has_changed().expect("lives"));
        let node = group.own_identity().expect("by files");
        assert_eq!(group.certify(&node).expect("shows").certificate.as_ref(), &longer[..]);
        // One for another key does not take its place.
        office.write(&home, &key, &office.certify(&ed25519(), |_| ()));
        assert!(group.reread().is_err());
        assert_eq!(group.certify(&node).expect("shows").certificate.as_ref(), &longer[..]);
    }
}
