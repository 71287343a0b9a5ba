use super::*;
use crate::statement::tests::{endorsed, hashes};
use eddy_content::{BLOCK_SIZE, BlockSet, LookupKey};
use proptest::prelude::*;
use std::fmt::Debug;
use std::ops::Range;

const LENGTH: u64 = 10 * BLOCK_SIZE - 5;

fn ask() -> Request {
    Request::Ask { keys: vec![LookupKey([0x22; 32]), LookupKey([0x33; 32])] }
}

fn read() -> Request {
    Request::Read { key: LookupKey([0x22; 32]), blocks: 4..6 }
}

fn follow() -> Request {
    Request::Follow { key: LookupKey([0x22; 32]), blocks: 4..6 }
}

fn answers() -> Answers {
    let blocks = [0..2, 4..5, 9..10].into_iter().collect();
    Answers(vec![Answer::NotHere, Answer::Holds { length: LENGTH, blocks }])
}

/// Two blocks, with a statement that reaches beyond them on both sides.
fn header() -> RunHeader {
    RunHeader { hashes_from: 3, hashes: hashes(3, 4), send: 4..6, statements: vec![endorsed()] }
}

fn goldens() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ask", encode_frame(&ask()).expect("fits")),
        ("read", encode_frame(&read()).expect("fits")),
        ("follow", encode_frame(&follow()).expect("fits")),
        ("answers", encode_frame(&answers()).expect("fits")),
        ("run", encode_frame(&ReadReply::Run(header())).expect("fits")),
        ("end", encode_frame(&ReadReply::End).expect("fits")),
        ("not here", encode_frame(&ReadReply::Refused(ReadRefusal::NotHere)).expect("fits")),
        ("busy", encode_frame(&ReadReply::Refused(ReadRefusal::Busy)).expect("fits")),
        ("too much", encode_frame(&ReadReply::Refused(ReadRefusal::TooMuch)).expect("fits")),
    ]
}

/// Decodes as each kind of frame; whatever succeeds must be the one value that has these bytes.
fn decode_as_anything(bytes: &[u8]) -> usize {
    fn one<T: Frame + Debug>(bytes: &[u8]) -> usize {
        match decode_frame::<T>(bytes) {
            Ok(value) => {
                assert_eq!(encode_frame(&value).expect("was a frame"), bytes, "{value:?}");
                1
            }
            Err(_) => 0,
        }
    }
    one::<Request>(bytes) + one::<Answers>(bytes) + one::<ReadReply>(bytes)
}

/// The payload as a frame of the right length.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn the_bytes_of_every_frame_are_as_reviewed() {
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
fn every_frame_is_read_back_and_as_nothing_else() {
    assert_eq!(decode_frame::<Request>(&encode_frame(&ask()).expect("fits")), Ok(ask()));
    assert_eq!(decode_frame::<Request>(&encode_frame(&read()).expect("fits")), Ok(read()));
    assert_eq!(decode_frame::<Request>(&encode_frame(&follow()).expect("fits")), Ok(follow()));
    assert_eq!(decode_frame::<Answers>(&encode_frame(&answers()).expect("fits")), Ok(answers()));
    let run = ReadReply::Run(header());
    assert_eq!(decode_frame::<ReadReply>(&encode_frame(&run).expect("fits")), Ok(run));
    for (name, bytes) in goldens() {
        assert_eq!(decode_as_anything(&bytes), 1, "{name}");
    }
}

#[test]
fn no_frame_survives_being_cut_or_continued() {
    for (name, bytes) in goldens() {
        for end in 0..bytes.len() {
            assert_eq!(decode_as_anything(&bytes[..end]), 0, "{name} cut at {end}");
            if end >= HEADER_LENGTH {
                assert_eq!(decode_as_anything(&framed(&bytes[HEADER_LENGTH..end])), 0, "{name}, payload cut at {end}");
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode_as_anything(&longer), 0, "{name}");
        assert_eq!(decode_as_anything(&framed(&longer[HEADER_LENGTH..])), 0, "{name}");
    }
}

#[test]
fn a_header_beyond_the_limits_is_refused_before_its_payload() {
    let over = (MAX_FRAME as u32 + 1).to_le_bytes();
    assert_eq!(payload_length([1, over[0], over[1], over[2], over[3]]), Err(FrameError::TooLong { length: 262_145 }));
    assert_eq!(payload_length([2, 0, 0, 0, 0]), Err(FrameError::Version { found: 2 }));
    let mut reader = FrameReader::new();
    reader.push(&[1, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(reader.poll::<Request>(), Err(FrameError::TooLong { length: u32::MAX }));
}

#[test]
fn counts_beyond_the_limits_are_refused_by_both_ends() {
    let keys = vec![LookupKey([1; 32]); MAX_KEYS + 1];
    let mut payload = vec![kind::ASK, keys.len() as u8];
    keys.iter().for_each(|key| payload.extend_from_slice(&key.0));
    assert_eq!(encode_frame(&Request::Ask { keys }), Err(Unsendable::TooMany { field: "keys" }));
    let refused = Err(FrameError::Field { field: "number of keys" });
    assert_eq!(decode_payload::<Request>(&payload), refused);
    assert_eq!(decode_payload::<Request>(&[kind::ASK, 0]), refused);

    for blocks in [4..4, 0..MAX_READ_BLOCKS + 1] {
        let mut payload = vec![kind::READ];
        payload.extend_from_slice(&[0; 32]);
        request::write_run(&blocks, &mut payload);
        let refused = Err(FrameError::Field { field: "number of blocks" });
        assert_eq!(decode_payload::<Request>(&payload), refused, "{blocks:?}");
        assert!(encode_frame(&Request::Read { key: LookupKey([0; 32]), blocks }).is_err());
    }
    let full = Request::Read { key: LookupKey([0; 32]), blocks: 7..7 + MAX_READ_BLOCKS };
    assert_eq!(decode_frame::<Request>(&encode_frame(&full).expect("fits")), Ok(full));
}

#[test]
fn runs_that_overlap_adjoin_or_leave_the_file_are_refused() {
    let holds = |runs: &[(u32, u32)]| {
        let mut payload = vec![kind::ANSWERS, 1, 1];
        payload.extend_from_slice(&LENGTH.to_le_bytes());
        payload.extend_from_slice(&(runs.len() as u16).to_le_bytes());
        for (start, count) in runs {
            payload.extend_from_slice(&start.to_le_bytes());
            payload.extend_from_slice(&count.to_le_bytes());
        }
        decode_payload::<Answers>(&payload)
    };
    assert!(holds(&[(0, 2), (3, 7)]).is_ok());
    for runs in [&[(0, 2), (2, 1)][..], &[(0, 3), (2, 1)], &[(3, 1), (0, 1)], &[(0, 0)], &[(9, 2)], &[(10, 1)]] {
        assert_eq!(holds(runs), Err(FrameError::Field { field: "runs" }), "{runs:?}");
    }
    assert_eq!(holds(&[(u32::MAX, 2)]), Err(FrameError::Field { field: "run" }));
    assert_eq!(holds(&[]), Err(FrameError::Field { field: "number of runs" }));
    assert_eq!(holds(&[(0, 1); MAX_RUNS + 1]), Err(FrameError::Field { field: "number of runs" }));
}

#[test]
fn a_scattered_holding_is_told_in_part_and_always_fits() {
    let scattered: BlockSet = (0..6000).map(|n| 2 * n..2 * n + 1).collect();
    let holds = Answer::Holds { length: 12_000 * BLOCK_SIZE, blocks: scattered.clone() };
    for (keys, runs) in [(1, MAX_RUNS), (MAX_KEYS, 510)] {
        let bytes = encode_frame(&Answers(vec![holds.clone(); keys])).expect("fits");
        let Answers(told) = decode_frame(&bytes).expect("decodes");
        assert_eq!(told.len(), keys);
        for answer in told {
            let Answer::Holds { blocks, .. } = answer else { panic!("holds") };
            assert_eq!(blocks.run_count(), runs);
            assert!(blocks.difference(&scattered).is_empty(), "no block is claimed that is not held");
        }
    }
}

#[test]
fn an_empty_holding_is_not_here() {
    let nothing = Answers(vec![Answer::Holds { length: LENGTH, blocks: BlockSet::new() }]);
    let bytes = encode_frame(&nothing).expect("fits");
    assert_eq!(decode_frame(&bytes), Ok(Answers(vec![Answer::NotHere])));
}

#[test]
fn a_run_header_has_a_hash_for_every_block_it_speaks_of() {
    let incomplete: [RunHeader; 5] = [
        RunHeader { hashes_from: 4, hashes: hashes(4, 3), ..header() },
        RunHeader { hashes: hashes(3, 3), ..header() },
        RunHeader { send: 6..8, ..header() },
        RunHeader { send: 2..4, ..header() },
        RunHeader { send: 4..4, ..header() },
    ];
    for header in incomplete {
        assert!(encode_frame(&ReadReply::Run(header.clone())).is_err(), "{header:?}");
        let mut payload = vec![kind::RUN];
        request::write_run(&header.send, &mut payload);
        payload.extend_from_slice(&header.hashes_from.to_le_bytes());
        payload.extend_from_slice(&(header.hashes.len() as u16).to_le_bytes());
        header.hashes.iter().for_each(|hash| payload.extend_from_slice(&hash.0));
        payload.extend_from_slice(&1u16.to_le_bytes());
        payload.extend_from_slice(&endorsed().encode());
        let refused = Err(FrameError::Field { field: "run header" });
        assert_eq!(decode_payload::<ReadReply>(&payload), refused, "{header:?}");
    }
}

#[test]
fn hashes_are_found_by_block_number() {
    let header = header();
    assert_eq!(header.hashes_of(4..6), Some(&hashes(4, 2)[..]));
    assert_eq!(header.hashes_of(3..7), Some(&header.hashes[..]));
    for outside in [2..4, 6..8, 9..10, 0..1] {
        assert_eq!(header.hashes_of(outside.clone()), None, "{outside:?}");
    }
}

#[test]
fn the_largest_honest_run_fits_one_frame() {
    // A read of 256 blocks whose statements are for one block each, with certificates of the usual size.
    let one = |block| {
        let mut said = endorsed();
        said.certificate = vec![0x30; 600];
        said.signed.statement.first_block = block;
        said.signed.statement.count = 1;
        said.signed.statement.length = 1 << 30;
        said
    };
    let statements: Vec<_> = (0..MAX_READ_BLOCKS).map(one).collect();
    let hashes = hashes(0, MAX_HASHES as u32);
    let run = ReadReply::Run(RunHeader { hashes_from: 0, hashes, send: 0..MAX_READ_BLOCKS, statements });
    let bytes = encode_frame(&run).expect("fits");
    assert_eq!(decode_frame::<ReadReply>(&bytes), Ok(run));
}

#[test]
fn what_is_too_much_for_a_frame_is_not_sent() {
    let many = |count| RunHeader { statements: vec![endorsed(); count], ..header() };
    let refused = Err(Unsendable::TooMany { field: "statements" });
    assert_eq!(encode_frame(&ReadReply::Run(many(MAX_STATEMENTS + 1))), refused);
    let hashes = RunHeader { hashes: hashes(3, MAX_HASHES as u32 + 1), ..header() };
    assert_eq!(encode_frame(&ReadReply::Run(hashes)), Err(Unsendable::TooMany { field: "hashes" }));
    let mut heavy = many(MAX_STATEMENTS);
    heavy.statements.iter_mut().for_each(|said| said.certificate = vec![0x30; 2048]);
    assert!(matches!(encode_frame(&ReadReply::Run(heavy)), Err(Unsendable::TooLong { .. })));
}

#[test]
fn stream_kinds_are_their_bytes() {
    for kind in [StreamKind::Request, StreamKind::Membership, StreamKind::Swarm] {
        assert_eq!(StreamKind::from_byte(kind.byte()), Some(kind));
    }
    assert_eq!((0..=u8::MAX).filter(|byte| StreamKind::from_byte(*byte).is_some()).collect::<Vec<_>>(), [1, 2, 3]);
}

fn any_run() -> impl Strategy<Value = Range<u32>> {
    (0u32..5000, 1u32..40).prop_map(|(start, count)| start..start + count)
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::NotHere),
        proptest::collection::vec(any_run(), 1..60)
            .prop_map(|runs| Answer::Holds { length: 5040 * BLOCK_SIZE, blocks: runs.into_iter().collect() }),
    ]
}

proptest! {
    #[test]
    fn random_payloads_never_panic(kind in 0u8..8, payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let payload: Vec<u8> = std::iter::once(kind).chain(payload).collect();
        decode_as_anything(&framed(&payload));
        decode_as_anything(&payload);
    }

    #[test]
    fn damaged_frames_never_panic_nor_have_two_forms(
        which in 0usize..8, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (_, mut bytes) = goldens().swap_remove(which);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_as_anything(&bytes);
    }

    #[test]
    fn no_damaged_statement_in_a_frame_is_believed(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (_, mut bytes) = goldens().swap_remove(3);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(ReadReply::Run(damaged)) = decode_frame(&bytes) {
            // Either the statement is untouched, or it is not its signer's any more.
            let said = &damaged.statements[0].signed;
            prop_assert!(*said == endorsed().signed || said.verify_signature().is_err());
        }
    }

    #[test]
    fn answers_survive_the_wire(told in proptest::collection::vec(any_answer(), 1..=MAX_KEYS)) {
        let answers = Answers(told);
        let bytes = encode_frame(&answers).expect("fits");
        prop_assert_eq!(decode_frame::<Answers>(&bytes), Ok(answers));
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_same_frames(cuts in proptest::collection::vec(1usize..200, 1..40)) {
        let raw = [0xabu8; 300];
        let run = ReadReply::Run(header());
        let mut stream = encode_frame(&run).expect("fits");
        stream.extend_from_slice(&raw);
        stream.extend_from_slice(&encode_frame(&ReadReply::End).expect("fits"));

        let (mut reader, mut frames, mut bytes) = (FrameReader::new(), Vec::new(), Vec::new());
        let mut rest = stream.as_slice();
        for cut in cuts.into_iter().chain(std::iter::repeat(1)) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            reader.push(piece);
            rest = after;
            loop {
                if !frames.is_empty() && bytes.len() < raw.len() {
                    let taken = reader.take(raw.len() - bytes.len());
                    if taken.is_empty() {
                        break;
                    }
                    bytes.extend_from_slice(&taken);
                } else if let Some(frame) = reader.poll::<ReadReply>().expect("well formed") {
                    frames.push(frame);
                } else {
                    break;
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(frames, vec![run, ReadReply::End]);
        prop_assert_eq!(bytes, raw);
        prop_assert_eq!(reader.buffered(), 0);
    }
}
