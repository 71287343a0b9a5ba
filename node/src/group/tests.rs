use super::*;
use proptest::prelude::*;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PublicKeyData, date_time_ymd};
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// 2026-11-20.
const NOW: i64 = 1_795_132_800;

fn group(seed: u8) -> Group {
    // A text made by hand would be no test of the parser.
    let secret = crate::secret_text::SecretKind { name: "eddy-group", version: 1 }.text(&[seed; 32]);
    Group::from_secret(GroupSecret::parse(&secret).expect("a secret")).expect("a group")
}

/// The key of `group(seed)`'s authority.
fn ca_key(seed: u8) -> SigningKey {
    group(seed).secret().expect("secret mode").ca_key()
}

fn node(seed: u8) -> Identity {
    Identity::from_key(SigningKey::from_bytes(&[seed; 32]))
}

/// A key for certificates that no honest node makes.
fn pair(key: &SigningKey) -> KeyPair {
    let der = Identity::from_key(key.clone()).private_key();
    let pkcs8 = PrivatePkcs8KeyDer::from(der.secret_der());
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519).expect("a key pair")
}

/// Certificate requests that `ca` signs with the group's own key, as a careless administrator's tool could.
fn issue(ca: &SigningKey, subject: &impl PublicKeyData, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(vec![certificate::MEMBER_NAME.into()]).expect("a name");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer.distinguished_name.push(rcgen::DnType::CommonName, "eddy group");
    let issuer = Issuer::new(issuer, pair(ca));
    params.signed_by(subject, &issuer).expect("signs").der().to_vec()
}

fn verify(group: &Group, der: Vec<u8>) -> Result<NodeId, NotAMember> {
    group.verify_member(&CertificateDer::from(der), NOW)
}

#[test]
fn every_holder_of_the_secret_derives_the_same_group() {
    let home = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let first = Group::init(home[0].path(), Overwrite::Refuse).expect("makes one");
    let text = first.secret().expect("secret mode").text();
    let second = Group::join(home[1].path(), &text, Overwrite::Refuse).expect("joins");
    assert_eq!((first.id(), first.ca(), first.name()), (second.id(), second.ca(), second.name()));
    assert!(first.lookup_secret() == second.lookup_secret());

    let shown = first.certify(&node(1)).expect("certifies");
    assert_eq!(second.verify_member(&shown.certificate, NOW), Ok(node(1).node_id()));
}

#[test]
fn another_secret_is_another_group_in_every_respect() {
    let (one, two) = (group(1), group(2));
    assert_ne!(one.id(), two.id());
    assert_ne!(one.name(), two.name());
    assert!(one.lookup_secret() != two.lookup_secret());
    let shown = one.certify(&node(1)).expect("certifies");
    assert_eq!(two.verify_member(&shown.certificate, NOW), Err(NotAMember::OtherGroup));
}

#[test]
fn what_is_derived_from_a_secret_stays_the_same_in_later_versions() {
    let group = group(7);
    let shown = group.certify(&node(1)).expect("certifies").certificate;
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    insta::assert_snapshot!(format!(
        "secret {}\nid {}\nname {}\nlookup {}\nauthority {}\nmember {}",
        group.secret().expect("secret mode").text().as_str(),
        group.id(),
        group.name(),
        lookup_probe(&group),
        hex(&group.ca()),
        hex(&shown)
    ));
}

/// A key that the lookup secret forms: the secret itself cannot be looked at.
fn lookup_probe(group: &Group) -> eddy_content::LookupKey {
    let entity = eddy_content::Entity {
        url: eddy_content::ResourceUrl::parse("https://h/f").expect("a URL"),
        validator: eddy_content::Validator::StrongEtag("\"a\"".into()),
        length: 1,
    };
    entity.lookup_key(&group.lookup_secret())
}

#[test]
fn a_certificate_is_the_same_each_time_and_small() {
    let group = group(1);
    let shown = group.certify(&node(1)).expect("certifies").certificate;
    assert_eq!(shown, group.certify(&node(1)).expect("certifies").certificate);
    // T-07; with the authority's, although peers send only their own.
    let chain = shown.len() + group.ca().len();
    assert!(chain < 1200, "{chain} bytes");
    assert!(shown.len() <= eddy_wire::statement::MAX_CERTIFICATE);
}

#[test]
fn a_certificate_names_no_person_machine_address_or_group() {
    let group = group(1);
    let shown = group.certify(&node(1)).expect("certifies").certificate;
    let words: Vec<String> = shown
        .split(|byte| !byte.is_ascii_graphic() && *byte != b' ')
        .filter(|word| word.len() >= 6)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    // The letters behind the names are the DER around what follows.
    let known = ["eddy group0 ", "700101000000Z", "99991231000000Z0", "eddy node0*0", "member.eddy.invalid0"];
    assert_eq!(words, known);
}

#[test]
fn tls_takes_the_certificate_with_its_key() {
    let shown = group(1).certify(&node(1)).expect("certifies");
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&shown.key).expect("a key");
    let certified = rustls::sign::CertifiedKey::new(vec![shown.certificate], key);
    certified.keys_match().expect("belong together");
}

#[test]
fn no_flipped_bit_of_a_certificate_lets_anybody_in() {
    let group = group(1);
    let shown = group.certify(&node(1)).expect("certifies").certificate.to_vec();
    for bit in 0..shown.len() * 8 {
        let mut forged = shown.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&group, forged).is_err(), "bit {bit}");
    }
}

#[test]
fn who_imitates_the_group_without_its_secret_is_refused() {
    let group = group(1);
    let stranger = SigningKey::from_bytes(&[0xee; 32]);
    let node = pair(&SigningKey::from_bytes(&[1; 32]));
    assert_eq!(verify(&group, issue(&stranger, &node, |_| ())), Err(NotAMember::OtherGroup));
    // The same request, signed by the group, would pass: the test refuses for the right reason.
    assert!(verify(&group, issue(&ca_key(1), &node, |_| ())).is_ok());
}

#[test]
fn a_member_cannot_make_members() {
    let group = group(1);
    let member = SigningKey::from_bytes(&[1; 32]);
    let made = issue(&member, &pair(&SigningKey::from_bytes(&[2; 32])), |_| ());
    assert_eq!(verify(&group, made), Err(NotAMember::OtherGroup));
}

#[test]
fn the_authority_itself_is_not_a_member() {
    let group = group(1);
    assert_eq!(verify(&group, group.ca().to_vec()), Err(NotAMember::Purpose));
    let node = pair(&SigningKey::from_bytes(&[1; 32]));
    let another = issue(&ca_key(1), &node, |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    assert_eq!(verify(&group, another), Err(NotAMember::Purpose));
}

#[test]
fn a_certificate_for_one_end_of_a_connection_is_refused() {
    let group = group(1);
    let node = pair(&SigningKey::from_bytes(&[1; 32]));
    for purposes in [
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth],
        vec![ExtendedKeyUsagePurpose::CodeSigning],
    ] {
        let shown = issue(&ca_key(1), &node, |params| params.extended_key_usages = purposes.clone());
        assert_eq!(verify(&group, shown), Err(NotAMember::Purpose), "{purposes:?}");
    }
    let without = issue(&ca_key(1), &node, |params| params.extended_key_usages.clear());
    assert_eq!(verify(&group, without), Err(NotAMember::Purpose));
}

#[test]
fn only_an_ed25519_key_is_a_name() {
    let group = group(1);
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    assert_eq!(verify(&group, issue(&ca_key(1), &other, |_| ())), Err(NotAMember::Key));

    // The neutral point: every signature that it checks is anybody's.
    struct Neutral([u8; 32]);
    impl PublicKeyData for Neutral {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }
        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_ED25519
        }
    }
    let mut neutral = Neutral([0; 32]);
    neutral.0[0] = 1;
    assert_eq!(verify(&group, issue(&ca_key(1), &neutral, |_| ())), Err(NotAMember::Key));
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let group = group(1);
    let shown = CertificateDer::from(issue(&ca_key(1), &pair(&SigningKey::from_bytes(&[1; 32])), |params| {
        params.not_before = date_time_ymd(2026, 11, 1);
        params.not_after = date_time_ymd(2026, 11, 8);
    }));
    let (start, end) = (1_793_491_200, 1_794_096_000);
    let verify = |now| group.verify_member(&shown, now).map(|_| ());
    assert_eq!(verify(start - 301), Err(NotAMember::NotYetValid));
    assert_eq!(verify(start - 300), Ok(()));
    assert_eq!(verify(end + 300), Ok(()));
    assert_eq!(verify(end + 301), Err(NotAMember::Expired));
    assert_eq!(verify(i64::MIN), Err(NotAMember::NotYetValid));
    assert_eq!(verify(i64::MAX), Err(NotAMember::Expired));
}

#[test]
fn a_machine_that_believes_it_is_1970_or_2100_keeps_its_peers() {
    let group = group(1);
    let shown = group.certify(&node(1)).expect("certifies").certificate;
    for now in [0, 1, NOW, 4_102_444_800] {
        assert_eq!(group.verify_member(&shown, now), Ok(node(1).node_id()), "{now}");
    }
}

#[test]
fn a_swollen_certificate_is_refused_unread() {
    let group = group(1);
    let swollen = issue(&ca_key(1), &pair(&SigningKey::from_bytes(&[1; 32])), |params| {
        params.custom_extensions =
            vec![rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 9], vec![4; 2048])];
    });
    assert!(matches!(verify(&group, swollen), Err(NotAMember::TooLong { .. })));
}

#[test]
fn a_node_without_a_group_says_so() {
    let home = tempfile::tempdir().expect("a directory");
    assert!(Group::load(home.path()).expect("no fault").is_none());
    assert!(!Group::leave(home.path()).expect("no fault"));
}

#[test]
fn a_group_is_kept_until_it_is_left() {
    let home = tempfile::tempdir().expect("a directory");
    let made = Group::init(home.path(), Overwrite::Refuse).expect("makes one");
    let loaded = Group::load(home.path()).expect("reads").expect("is there");
    assert_eq!((made.id(), made.ca()), (loaded.id(), loaded.ca()));
    let mode = fs::metadata(home.path().join(FILE)).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(Group::leave(home.path()).expect("leaves"));
    assert!(Group::load(home.path()).expect("no fault").is_none());
}

#[test]
fn a_group_is_not_lost_by_joining_another_by_mistake() {
    let home = tempfile::tempdir().expect("a directory");
    let first = Group::init(home.path(), Overwrite::Refuse).expect("makes one");
    let other = group(9);
    let refused =
        Group::join(home.path(), &other.secret().expect("secret mode").text(), Overwrite::Refuse).expect_err("refused");
    assert!(matches!(refused, GroupError::InAnother { ref name } if *name == first.name()), "{refused}");
    assert!(matches!(Group::init(home.path(), Overwrite::Refuse), Err(GroupError::InAnother { .. })));
    let again = Group::join(home.path(), &first.secret().expect("secret mode").text(), Overwrite::Refuse)
        .expect("is in it already");
    assert_eq!(again.id(), first.id());
    let replaced =
        Group::join(home.path(), &other.secret().expect("secret mode").text(), Overwrite::Replace).expect("changes");
    assert_eq!(Group::load(home.path()).expect("reads").expect("is there").id(), replaced.id());
}

#[test]
fn a_mistyped_secret_joins_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let mut text = group(9).secret().expect("secret mode").text().to_string();
    let last = if text.ends_with('a') { "b" } else { "a" };
    text.replace_range(text.len() - 1.., last);
    let refused = Group::join(home.path(), &text, Overwrite::Replace).expect_err("refused");
    assert!(matches!(refused, GroupError::Secret(SecretTextError::Checksum)), "{refused}");
    assert!(!refused.to_string().contains(&text[14..]), "the text is not repeated");
    assert!(Group::load(home.path()).expect("no fault").is_none());
}

#[test]
fn a_broken_or_exposed_group_file_is_reported() {
    let home = tempfile::tempdir().expect("a directory");
    Group::init(home.path(), Overwrite::Refuse).expect("makes one");
    let path = home.path().join(FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changes");
    assert!(matches!(Group::load(home.path()), Err(GroupError::File(SecretFileError::Exposed { .. }))));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changes");
    fs::write(&path, "eddy-group-v2:whatever").expect("writes");
    let error = Group::load(home.path()).expect_err("unreadable");
    assert!(matches!(error, GroupError::Content { source: SecretTextError::OtherVersion { found: 2, .. }, .. }));
}

#[test]
fn nothing_secret_is_in_any_debug_text() {
    let group = group(0x77);
    let shown = group.certify(&node(0x77)).expect("certifies");
    let text = format!("{group:?} {:?} {shown:?} {:?}", group.secret(), group.lookup_secret());
    let body = group.secret().expect("secret mode").text()["eddy-group-v1:".len()..].to_string();
    for secret in [body.as_str(), "7777", "119, 119"] {
        assert!(!text.contains(secret), "{text}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_nobodys_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
        prop_assert!(verify(&group(1), bytes).is_err());
    }

    #[test]
    fn a_damaged_certificate_never_panics_nor_lets_anybody_in(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6), cut in any::<prop::sample::Index>(),
    ) {
        let group = group(1);
        let whole = group.certify(&node(1)).expect("certifies").certificate.to_vec();
        let mut damaged = whole.clone();
        for (at, change) in damage {
            let at = at.index(damaged.len());
            damaged[at] ^= change;
        }
        prop_assert!(damaged == whole || verify(&group, damaged.clone()).is_err());
        damaged.truncate(cut.index(damaged.len()));
        prop_assert!(verify(&group, damaged).is_err());
    }
}
