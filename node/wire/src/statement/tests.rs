use super::*;
use eddy_content::BLOCK_SIZE;
use eddy_content::tree::{BlockHash, run_hash};
use proptest::prelude::*;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[0x42; 32])
}

/// Hashes that differ from block to block.
pub(crate) fn hashes(first: u32, count: u32) -> Vec<BlockHash> {
    (first..first + count).map(|block| BlockHash(run_hash(block, &[]).0)).collect()
}

/// What `key()`'s owner says of blocks 3 to 6 of an entity of ten blocks.
pub(crate) fn said() -> Statement {
    Statement {
        group: GroupId([0x11; 32]),
        key: LookupKey([0x22; 32]),
        length: 10 * BLOCK_SIZE - 5,
        first_block: 3,
        count: 4,
        run: run_hash(3, &hashes(3, 4)),
        time: 1_795_000_000,
        transport: Transport::Https,
        validator: 1,
        signer: NodeId([0; 32]),
    }
}

pub(crate) fn endorsed() -> EndorsedStatement {
    EndorsedStatement { signed: said().sign(&key()), certificate: vec![0x30; 40] }
}

fn expected() -> Expected {
    let said = said();
    Expected { group: said.group, key: said.key, length: said.length }
}

fn hex_lines(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| data_encoding::HEXLOWER.encode(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_bytes_of_a_statement_are_as_reviewed() {
    insta::assert_snapshot!(hex_lines(&said().sign(&key()).encode()));
}

#[test]
fn the_bytes_of_an_endorsed_statement_are_as_reviewed() {
    let bytes = endorsed().encode();
    assert_eq!(bytes[..STATEMENT_LENGTH], endorsed().signed.encode());
    assert_eq!(bytes[STATEMENT_LENGTH..], [&[40, 0][..], &[0x30; 40]].concat());
}

#[test]
fn a_statement_is_signed_in_the_name_of_the_key() {
    let signed = said().sign(&key());
    assert_eq!(signed.statement.signer.0, key().verifying_key().to_bytes());
    assert_eq!(signed.verify_signature(), Ok(()));
    assert_eq!(signed.encode().len(), STATEMENT_LENGTH);
}

#[test]
fn no_flipped_bit_of_a_statement_is_believed() {
    let bytes = said().sign(&key()).encode();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let believed = SignedStatement::decode(&forged).and_then(|signed| signed.verify_signature());
        assert!(believed.is_err(), "bit {bit}");
    }
}

#[test]
fn a_signature_over_the_same_bytes_for_another_purpose_is_worth_nothing() {
    let mut said = said();
    said.signer = NodeId(key().verifying_key().to_bytes());
    let mut bare = Vec::new();
    said.write_body(&mut bare);
    let signed = SignedStatement { statement: said, signature: key().sign(&bare).to_bytes() };
    assert_eq!(signed.verify_signature(), Err(StatementError::Signature));
}

#[test]
fn a_key_that_signs_everything_signs_nothing() {
    // The neutral point as key and as R, with s = 0, satisfies the equation of RFC 8032 for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let mut statement = said();
    statement.signer = NodeId(neutral);
    let key = VerifyingKey::from_bytes(&neutral).expect("a point");
    let message = statement.signed_bytes();
    assert!(ed25519_dalek::Verifier::verify(&key, &message, &Signature::from_bytes(&signature)).is_ok());
    assert_eq!(SignedStatement { statement, signature }.verify_signature(), Err(StatementError::Key));
}

#[test]
fn a_statement_is_believed_of_its_own_bytes_only() {
    let signed = said().sign(&key());
    let known = expected();
    assert_eq!(signed.believe(&known, &hashes(3, 4)), Ok(()));
    let other_group = Expected { group: GroupId([0; 32]), ..known };
    assert_eq!(signed.believe(&other_group, &hashes(3, 4)), Err(Disbelief::Group));
    let other_version = Expected { key: LookupKey([0; 32]), ..known };
    assert_eq!(signed.believe(&other_version, &hashes(3, 4)), Err(Disbelief::Entity));
    let other_length = Expected { length: known.length + 1, ..known };
    assert_eq!(signed.believe(&other_length, &hashes(3, 4)), Err(Disbelief::Length));
    assert_eq!(signed.believe(&known, &hashes(3, 3)), Err(Disbelief::Count { stated: 4, given: 3 }));
    assert_eq!(signed.believe(&known, &hashes(4, 4)), Err(Disbelief::Hashes));
    let mut swapped = hashes(3, 4);
    swapped.swap(0, 1);
    assert_eq!(signed.believe(&known, &swapped), Err(Disbelief::Hashes));
}

#[test]
fn a_moved_run_is_a_forgery() {
    let mut signed = said().sign(&key());
    signed.statement.first_block = 4;
    signed.statement.run = run_hash(4, &hashes(4, 4));
    assert_eq!(signed.believe(&expected(), &hashes(4, 4)), Err(Disbelief::Forged(StatementError::Signature)));
}

#[test]
fn impossible_runs_are_refused_even_when_well_signed() {
    let cases = [
        (10 * BLOCK_SIZE, 0, 0, "number of blocks"),
        (1000 * BLOCK_SIZE, 0, MAX_STATEMENT_BLOCKS + 1, "number of blocks"),
        (10 * BLOCK_SIZE, 9, 2, "run"),
        (10 * BLOCK_SIZE, u32::MAX, 2, "run"),
        (0, 0, 1, "run"),
        (u64::MAX, 0, 1, "length"),
    ];
    for (length, first_block, count, field) in cases {
        let signed = Statement { length, first_block, count, ..said() }.sign(&key());
        assert_eq!(SignedStatement::decode(&signed.encode()), Err(StatementError::Field { field }), "{field}");
        let known = Expected { length, ..expected() };
        assert_eq!(signed.believe(&known, &[]), Err(Disbelief::Forged(StatementError::Field { field })), "{field}");
    }
}

#[test]
fn another_version_is_named_before_anything_else_is_wrong() {
    assert_eq!(SignedStatement::decode(&[2, 1, 1]), Err(StatementError::Version { found: 2 }));
    assert_eq!(SignedStatement::decode(&[]), Err(StatementError::Length));
    let mut long = said().sign(&key()).encode();
    long.push(0);
    assert_eq!(SignedStatement::decode(&long), Err(StatementError::Length));
}

#[test]
fn a_statement_travels_with_a_certificate_of_bounded_size() {
    let most = EndorsedStatement { certificate: vec![7; MAX_CERTIFICATE], ..endorsed() };
    assert_eq!(most.encode().len(), MAX_ENDORSED);
    assert_eq!(EndorsedStatement::decode(&most.encode()), Ok(most));
    for length in [0, MAX_CERTIFICATE + 1, usize::from(u16::MAX)] {
        let mut bytes = endorsed().signed.encode();
        bytes.extend_from_slice(&(length as u16).to_le_bytes());
        bytes.resize(bytes.len() + length, 7);
        let refused = Err(StatementError::Field { field: "certificate" });
        assert_eq!(EndorsedStatement::decode(&bytes), refused, "{length}");
    }
}

#[test]
fn neither_signature_nor_certificate_is_in_the_debug_text() {
    let text = format!("{:?}", endorsed());
    assert!(text.contains("40 bytes") && !text.contains("48, 48"), "{text}");
}

proptest! {
    #[test]
    fn random_bytes_are_no_statement(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let believed = EndorsedStatement::decode(&bytes).and_then(|endorsed| endorsed.signed.verify_signature());
        prop_assert!(believed.is_err());
    }

    #[test]
    fn a_statement_with_random_bytes_behind_its_version_is_not_believed(
        body in proptest::collection::vec(any::<u8>(), STATEMENT_LENGTH - 1),
    ) {
        let bytes: Vec<u8> = std::iter::once(1).chain(body).collect();
        prop_assert!(SignedStatement::decode(&bytes).and_then(|signed| signed.verify_signature()).is_err());
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        seed in any::<[u8; 32]>(), length in 1u64..1 << 40, time in any::<i64>(), validator in any::<u8>(),
        at in any::<u32>(), count in 1u32..=MAX_STATEMENT_BLOCKS,
    ) {
        let blocks = Geometry::new(length).expect("fits").block_count();
        let count = count.min(blocks);
        let statement = Statement { length, first_block: at % (blocks - count + 1), count, time, validator, ..said() };
        let signed = statement.sign(&SigningKey::from_bytes(&seed));
        let decoded = SignedStatement::decode(&signed.encode()).expect("decodes");
        prop_assert_eq!(decoded.verify_signature(), Ok(()));
        prop_assert_eq!(decoded, signed);
    }
}
