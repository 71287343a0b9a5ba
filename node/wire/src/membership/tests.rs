use super::*;
use crate::NodeId;
use crate::frame::{Answers, Frame, ReadReply, Request, decode_frame, encode_frame};
use crate::statement::GroupId;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

fn root() -> SigningKey {
    SigningKey::from_bytes(&[0x52; 32])
}

const GROUP: GroupId = GroupId([0x11; 32]);

fn list() -> DenyList {
    let removed = [3, 9].map(|n| Removal { node: NodeId([n; 32]), time: 1_795_000_000 + i64::from(n) });
    DenyList { group: GROUP, epoch: 7, time: 1_795_132_800, removed: removed.into() }
}

fn admission() -> Admission {
    Admission {
        role: Role::Issuer,
        member: Credential { chain: vec![0x30; 40], from: 1_795_132_500, until: 1_795_737_600 },
        issuing: Some(Credential { chain: vec![0x31; 24], from: 1_795_132_500, until: 1_797_724_800 }),
        authority: vec![0x32; 32],
        lookup: [0x77; 32],
        denied: Some(list().sign(&root())),
    }
}

fn goldens() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Admission { role: Role::Member, issuing: None, denied: None, ..admission() };
    let list = list().sign(&root());
    let ask = |question: MembershipQuestion| encode_frame(&question).expect("fits");
    let tell = |answer: MembershipAnswer| encode_frame(&answer).expect("fits");
    vec![
        ("enrol", ask(MembershipQuestion::Enrol { invitation: [0x21; 32], proof: [0x22; 64] })),
        ("renew", ask(MembershipQuestion::Renew)),
        ("denied since", ask(MembershipQuestion::DeniedSince(6))),
        ("denied", ask(MembershipQuestion::Denied(list))),
        ("admitted an issuer", tell(MembershipAnswer::Admitted(admission()))),
        ("admitted a member", tell(MembershipAnswer::Admitted(plain))),
        ("refused", tell(MembershipAnswer::Refused(MembershipRefusal::UsedUp))),
    ]
}

/// Decodes as each kind of frame; whatever succeeds must be the one value that has these bytes.
fn decode_as_anything(bytes: &[u8]) -> usize {
    fn one<T: Frame + std::fmt::Debug>(bytes: &[u8]) -> usize {
        match decode_frame::<T>(bytes) {
            Ok(value) => {
                assert_eq!(encode_frame(&value).expect("was a frame"), bytes, "{value:?}");
                1
            }
            Err(_) => 0,
        }
    }
    let others = one::<Request>(bytes) + one::<Answers>(bytes) + one::<ReadReply>(bytes);
    assert!(others == 0 || one::<MembershipQuestion>(bytes) + one::<MembershipAnswer>(bytes) == 0);
    one::<MembershipQuestion>(bytes) + one::<MembershipAnswer>(bytes)
}

#[test]
fn the_bytes_of_every_frame_about_membership_are_as_reviewed() {
    let text: Vec<String> = goldens()
        .iter()
        .map(|(name, bytes)| {
            let lines = bytes.chunks(32).map(|line| format!("  {}\n", data_encoding::HEXLOWER.encode(line)));
            format!("{name}\n{}", lines.collect::<String>())
        })
        .collect();
    insta::assert_snapshot!(text.concat());
}

#[test]
fn every_frame_is_read_back_and_no_cut_or_continued_one_is() {
    for (name, bytes) in goldens() {
        // A deny-list and an epoch are the same bytes as question and as answer; all else is one or the other.
        assert_eq!(decode_as_anything(&bytes), if name.starts_with("denied") { 2 } else { 1 }, "{name}");
        for end in 0..bytes.len() {
            assert_eq!(decode_as_anything(&bytes[..end]), 0, "{name} cut at {end}");
            let mut shorter = bytes[..end].to_vec();
            if end >= 5 {
                shorter[1..5].copy_from_slice(&((end - 5) as u32).to_le_bytes());
                assert_eq!(decode_as_anything(&shorter), 0, "{name}, payload cut at {end}");
            }
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode_as_anything(&longer), 0, "{name}");
    }
}

#[test]
fn only_the_root_signs_a_deny_list() {
    let signed = list().sign(&root());
    assert_eq!(signed.verify(GROUP, &root().verifying_key()), Ok(&list()));
    let other = SigningKey::from_bytes(&[1; 32]);
    assert_eq!(signed.verify(GROUP, &other.verifying_key()), Err(DenyListError::Signature));
    assert_eq!(signed.verify(GroupId([9; 32]), &root().verifying_key()), Err(DenyListError::Group));
    let forged = SignedDenyList { list: DenyList { epoch: 8, ..list() }, ..signed };
    assert_eq!(forged.verify(GROUP, &root().verifying_key()), Err(DenyListError::Signature));
}

#[test]
fn a_removed_member_is_found_and_no_other() {
    let list = list();
    assert_eq!(list.removal(&NodeId([9; 32])).map(|removal| removal.time), Some(1_795_000_009));
    assert_eq!(list.removal(&NodeId([4; 32])), None);
}

#[test]
fn a_list_out_of_order_doubled_or_too_long_is_refused() {
    let entry = |n: u16| {
        let mut node = [0; 32];
        node[..2].copy_from_slice(&n.to_be_bytes());
        Removal { node: NodeId(node), time: 0 }
    };
    let with = |removed: Vec<Removal>| DenyList { removed, ..list() }.sign(&root());
    let full = with((0..MAX_DENIED as u16).map(entry).collect());
    assert!(SignedDenyList::decode(&full.encode()).is_ok());
    assert!(encode_frame(&MembershipQuestion::Denied(full)).is_ok(), "the longest list fits a frame");
    let longer = with((0..=MAX_DENIED as u16).map(entry).collect());
    for wrong in [longer, with(vec![entry(2), entry(1)]), with(vec![entry(1), entry(1)])] {
        assert_eq!(SignedDenyList::decode(&wrong.encode()), Err(DenyListError::Entries));
        assert_eq!(wrong.verify(GROUP, &root().verifying_key()), Err(DenyListError::Entries));
    }
}

#[test]
fn two_lists_have_together_what_is_in_either_the_latest_first_to_stay() {
    let entry = |n: u16, time: i64| {
        let mut node = [0; 32];
        node[..2].copy_from_slice(&n.to_be_bytes());
        Removal { node: NodeId(node), time }
    };
    let of = |removed: Vec<Removal>| DenyList { removed, ..list() };
    let (one, two) = (of(vec![entry(1, 5), entry(3, 5)]), of(vec![entry(1, 9), entry(2, 4)]));
    for united in [one.united(&two), two.united(&one)] {
        assert_eq!(united, [entry(1, 9), entry(2, 4), entry(3, 5)]);
    }
    let full = of((0..MAX_DENIED as u16).map(|n| entry(n, i64::from(n))).collect());
    let united = full.united(&of(vec![entry(9000, 1), entry(9001, 0)]));
    assert_eq!((united.len(), united[0], united[MAX_DENIED - 1]), (MAX_DENIED, entry(1, 1), entry(9000, 1)));
    assert!(SignedDenyList::decode(&of(united).sign(&root()).encode()).is_ok());
}

#[test]
fn certificates_beyond_their_bounds_are_refused_by_both_ends() {
    let with = |chain: usize, authority: usize| {
        let member = Credential { chain: vec![0x30; chain], ..admission().member };
        MembershipAnswer::Admitted(Admission { member, authority: vec![0x30; authority], ..admission() })
    };
    assert!(encode_frame(&with(MAX_CHAIN, MAX_AUTHORITY)).is_ok());
    for (chain, authority) in [(MAX_CHAIN + 1, 1), (0, 1), (1, MAX_AUTHORITY + 1), (1, 0)] {
        assert!(encode_frame(&with(chain, authority)).is_err(), "{chain}, {authority}");
    }
}

#[test]
fn a_proof_is_for_one_group_one_applicant_and_one_channel() {
    let proof = enrolment_proof(GROUP, NodeId([1; 32]), &[2; 32]);
    assert_ne!(proof, enrolment_proof(GroupId([0; 32]), NodeId([1; 32]), &[2; 32]));
    assert_ne!(proof, enrolment_proof(GROUP, NodeId([0; 32]), &[2; 32]));
    assert_ne!(proof, enrolment_proof(GROUP, NodeId([1; 32]), &[0; 32]));
}

#[test]
fn nothing_secret_is_in_the_debug_text() {
    let text = format!("{:?} {:?}", admission(), MembershipAnswer::Admitted(admission()));
    assert!(!text.contains("119"), "{text}");
}

#[test]
fn roles_are_their_words() {
    for role in Role::ALL {
        assert_eq!((Role::parse(role.word()), Role::from_code(role.code())), (Some(role), Some(role)));
    }
    assert_eq!((Role::parse("root"), Role::from_code(0)), (None, None));
}

proptest! {
    #[test]
    fn random_payloads_never_panic(kind in 6u8..14, payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&(payload.len() as u32 + 1).to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&payload);
        decode_as_anything(&bytes);
        let _ = SignedDenyList::decode(&payload);
    }

    #[test]
    fn damaged_frames_never_panic_nor_have_two_forms(
        which in 0usize..7, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_, mut bytes) = goldens().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_anything(&bytes);
    }

    #[test]
    fn no_damaged_list_is_the_roots(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = list().sign(&root()).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(damaged) = SignedDenyList::decode(&bytes) {
            prop_assert!(damaged.verify(GROUP, &root().verifying_key()).is_err());
        }
    }
}
