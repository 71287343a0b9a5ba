use super::*;
use crate::frame::{decode_frame, encode_frame};
use eddy_engine::swarm::constants::{LOST, RUN_SEGMENTS};
use eddy_engine::swarm::{Bits, Holdings, Item, Join, JoinFlow, JoinSource, Link, Medium, Order};
use proptest::collection::vec;
use proptest::prelude::*;

fn content() -> Content {
    Content { key: LookupKey([0x33; 32]), length: 5 << 20, reading: Reading::Ranges }
}

fn link() -> Link {
    Link { up: 1_000_000_000, down: 1_000_000_000, medium: Medium::Wired, subnet: 7 }
}

fn goldens() -> Vec<(&'static str, Say)> {
    let tag = ContentTag(0x1122_3344_5566_7788);
    let mut have = Bits::none(5);
    have.insert(1);
    have.insert(4);
    let flows = vec![
        JoinFlow { segment: 2, source: JoinSource::Origin(LeaseId(9)), prefix: 3 },
        JoinFlow { segment: 3, source: JoinSource::Member(Peer([0x44; 32])), prefix: 0 },
        JoinFlow { segment: 0, source: JoinSource::Nobody, prefix: 7 },
    ];
    let holdings = Holdings { link: link(), have: have.clone(), flows: flows.clone() };
    let lost = vec![Peer([0x88; 32])];
    let join = Join { content: content(), link: link(), wants: Some(Order::Rarest), have, flows, lost, asked: 6 };
    let items =
        vec![Item::From { segment: 3, source: PeerTag(0xaabb) }, Item::Lease { lease: LeaseId(10), segments: 0..2 }];
    let run = vec![Item::Held { segments: 1..4, source: PeerTag(0xaabb) }];
    let fail = |source| Say::Fail { content: tag, segment: 3, source, reason: FailReason::Stalled, prefix: 5 };
    vec![
        ("join", Say::Join(Box::new(join))),
        ("note", Say::Note { home: Peer([0x55; 32]) }),
        ("query", Say::Query { content: content() }),
        ("seek", Say::Seek { content: content(), home: Peer([0x55; 32]) }),
        ("have any", Say::HaveAny { content: tag, role: Role::Plain, holdings: Some(Box::new(holdings)) }),
        ("have none", Say::HaveAny { content: tag, role: Role::Acting, holdings: None }),
        ("assign", Say::Assign { content: tag, collect: Duration::from_millis(250), items }),
        ("assign a run", Say::Assign { content: tag, collect: Duration::from_millis(20), items: run }),
        ("watch", Say::Watch { content: tag, sharing: Sharing { among: 8, duty: Duty::Other } }),
        ("alarm", Say::Alarm { content: tag, block: 77 }),
        ("who is", Say::WhoIs { peer: PeerTag(0xaabb) }),
        ("introduce", Say::Introduce { peer: Peer([0x66; 32]) }),
        ("at", Say::At { peer: Peer([0x66; 32]), address: SocketAddr::from(([10, 0, 0, 7], 4711)) }),
        (
            "at, in IPv6",
            Say::At { peer: Peer([0x66; 32]), address: SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 7], 4711)) },
        ),
        ("waiting", Say::Waiting { content: tag, segment: 3, prefix: 4 }),
        ("tail", Say::Tail { lease: LeaseId(10), first_byte: Duration::from_millis(40) }),
        ("progress", Say::Progress { lease: LeaseId(10), bytes: 1 << 20 }),
        ("offers", Say::Offers { content: tag, lease: LeaseId(10), reading: Reading::Stream }),
        ("done", Say::Done { content: tag, segments: vec![0, 1] }),
        ("fail of a member", fail(Some(PeerTag(0xaabb)))),
        ("fail of the origin", fail(None)),
        ("redirect", Say::Redirect { home: Peer([0x77; 32]) }),
        ("not home", Say::NotHome),
        ("alive", Say::Alive),
        ("reached", Say::Reached { content: tag, blocks: 77 }),
        ("changed", Say::Changed { content: tag }),
        ("leave", Say::Leave { content: tag }),
        ("return", Say::Return { lease: LeaseId(10), prefix: 2 }),
    ]
}

fn message(say: Say) -> Message {
    Message { origin: OriginKey(0x0102_0304_0506_0708), say }
}

#[test]
fn the_bytes_of_every_message_are_as_reviewed() {
    let text: Vec<String> = goldens()
        .into_iter()
        .map(|(name, say)| {
            let bytes = encode_frame(&message(say)).expect("fits");
            let lines = bytes.chunks(32).map(|line| format!("  {}\n", data_encoding::HEXLOWER.encode(line)));
            format!("{name}\n{}", lines.collect::<String>())
        })
        .collect();
    insta::assert_snapshot!(text.concat());
}

#[test]
fn every_message_is_read_back_and_no_cut_or_continued_one_is() {
    for (name, say) in goldens() {
        let message = message(say);
        let bytes = encode_frame(&message).expect("fits");
        assert_eq!(decode_frame::<Message>(&bytes), Ok(message), "{name}");
        for end in 0..bytes.len() {
            assert!(decode_frame::<Message>(&bytes[..end]).is_err(), "{name} cut at {end}");
        }
        assert!(decode_frame::<Message>(&[bytes.as_slice(), &[0]].concat()).is_err(), "{name} continued");
    }
}

#[test]
fn no_message_is_another_frame_and_no_other_frame_is_a_message() {
    use crate::frame::{Answers, ReadReply, Request};
    use crate::membership::{MembershipAnswer, MembershipQuestion};
    for (name, say) in goldens() {
        let bytes = encode_frame(&message(say)).expect("fits");
        assert!(decode_frame::<Request>(&bytes).is_err(), "{name}");
        assert!(decode_frame::<Answers>(&bytes).is_err(), "{name}");
        assert!(decode_frame::<ReadReply>(&bytes).is_err(), "{name}");
        assert!(decode_frame::<MembershipQuestion>(&bytes).is_err(), "{name}");
        assert!(decode_frame::<MembershipAnswer>(&bytes).is_err(), "{name}");
    }
    let other = encode_frame(&Request::Ask { keys: vec![LookupKey([1; 32])] }).expect("fits");
    assert!(decode_frame::<Message>(&other).is_err());
}

#[test]
fn what_is_too_much_is_neither_sent_nor_read() {
    let tag = ContentTag(1);
    let (have, lost) = (Bits::none(5), vec![Peer([1; 32]); LOST + 1]);
    let join = Join { content: content(), link: link(), wants: None, have, flows: Vec::new(), lost, asked: 0 };
    assert!(encode_frame(&message(Say::Join(Box::new(join)))).is_err());
    let segments = vec![0; DONE_SEGMENTS + 1];
    assert!(encode_frame(&message(Say::Done { content: tag, segments })).is_err());
    let item = Item::From { segment: 0, source: PeerTag(0) };
    let items = vec![item; eddy_engine::swarm::constants::ASSIGN_ITEMS + 1];
    assert!(encode_frame(&message(Say::Assign { content: tag, collect: Duration::ZERO, items })).is_err());
    let long = vec![Item::Held { segments: 0..RUN_SEGMENTS + 1, source: PeerTag(0) }];
    let bytes =
        encode_frame(&message(Say::Assign { content: tag, collect: Duration::ZERO, items: long })).expect("fits");
    assert_eq!(decode_frame::<Message>(&bytes), Err(FrameError::Field { field: "segments" }));
    let far = Say::Waiting { content: tag, segment: SEGMENTS, prefix: 0 };
    let bytes = encode_frame(&message(far)).expect("fits");
    assert_eq!(decode_frame::<Message>(&bytes), Err(FrameError::Field { field: "segment" }));
    // A length that no swarm shares.
    let vast = Content { length: u64::MAX, ..content() };
    let bytes = encode_frame(&message(Say::Query { content: vast })).expect("fits");
    assert_eq!(decode_frame::<Message>(&bytes), Err(FrameError::Field { field: "length" }));
}

fn peers() -> impl Strategy<Value = Peer> {
    any::<[u8; 32]>().prop_map(Peer)
}

fn bit_sets() -> impl Strategy<Value = Bits> {
    (1..400_u32, vec(0..400_u32, 0..40)).prop_map(|(len, segments)| {
        let mut bits = Bits::none(len);
        segments.into_iter().for_each(|segment| bits.insert(segment));
        bits
    })
}

fn links() -> impl Strategy<Value = Link> {
    (any::<u64>(), any::<u64>(), any::<bool>(), any::<u32>()).prop_map(|(up, down, is_air, subnet)| {
        let medium = if is_air { Medium::Wireless } else { Medium::Wired };
        Link { up, down, medium, subnet }
    })
}

fn readings() -> impl Strategy<Value = Reading> {
    prop_oneof![Just(Reading::Ranges), Just(Reading::Stream), Just(Reading::Unknown)]
}

fn contents() -> impl Strategy<Value = Content> {
    (any::<[u8; 32]>(), 0..(1_u64 << 40), readings()).prop_map(|(key, length, reading)| Content {
        key: LookupKey(key),
        length,
        reading,
    })
}

fn flows() -> impl Strategy<Value = JoinFlow> {
    let source = prop_oneof![
        any::<u64>().prop_map(|lease| JoinSource::Origin(LeaseId(lease))),
        peers().prop_map(JoinSource::Member),
        Just(JoinSource::Nobody),
    ];
    (0..SEGMENTS, source, any::<u32>()).prop_map(|(segment, source, prefix)| JoinFlow { segment, source, prefix })
}

fn items() -> impl Strategy<Value = Item> {
    prop_oneof![
        (0..SEGMENTS, any::<u64>()).prop_map(|(segment, source)| Item::From { segment, source: PeerTag(source) }),
        (0..SEGMENTS, any::<u64>(), 1..=RUN_SEGMENTS).prop_map(|(first, source, count)| Item::Held {
            segments: first..first.saturating_add(count).min(SEGMENTS),
            source: PeerTag(source)
        }),
        (0..SEGMENTS, any::<u64>(), 1..100_u32).prop_map(|(first, lease, count)| Item::Lease {
            lease: LeaseId(lease),
            segments: first..first.saturating_add(count).min(SEGMENTS)
        }),
    ]
}

fn says() -> impl Strategy<Value = Say> {
    let tag = || any::<u64>().prop_map(ContentTag);
    let order = prop_oneof![Just(None), Just(Some(Order::Rarest)), Just(Some(Order::Deadline))];
    let reason = prop::sample::select(REASONS.to_vec());
    let join = (contents(), links(), order, bit_sets(), vec(flows(), 0..20), (vec(peers(), 0..=LOST), any::<u8>()))
        .prop_map(|(content, link, wants, have, flows, (lost, asked))| Join {
            content,
            link,
            wants,
            have,
            flows,
            lost,
            asked,
        });
    let holdings = (links(), bit_sets(), vec(flows(), 0..20))
        .prop_map(|(link, have, flows)| Box::new(Holdings { link, have, flows }));
    let holdings = prop::option::of(holdings);
    prop_oneof![
        join.prop_map(|join| Say::Join(Box::new(join))),
        peers().prop_map(|home| Say::Note { home }),
        contents().prop_map(|content| Say::Query { content }),
        (contents(), peers()).prop_map(|(content, home)| Say::Seek { content, home }),
        (tag(), any::<bool>(), holdings).prop_map(|(content, acts, holdings)| {
            Say::HaveAny { content, role: if acts { Role::Acting } else { Role::Plain }, holdings }
        }),
        (tag(), any::<u16>(), vec(items(), 0..40)).prop_map(|(content, collect, items)| Say::Assign {
            content,
            collect: Duration::from_millis(collect.into()),
            items
        }),
        (tag(), 0..SEGMENTS, prop::option::of(any::<u64>().prop_map(PeerTag)), reason, any::<u32>()).prop_map(
            |(content, segment, source, reason, prefix)| Say::Fail { content, segment, source, reason, prefix }
        ),
        (tag(), vec(0..SEGMENTS, 0..40)).prop_map(|(content, segments)| Say::Done { content, segments }),
        (tag(), any::<u64>(), readings()).prop_map(|(content, lease, reading)| Say::Offers {
            content,
            lease: LeaseId(lease),
            reading
        }),
        (tag(), any::<u32>(), any::<bool>()).prop_map(|(content, among, is_watcher)| {
            let duty = if is_watcher { Duty::Watcher } else { Duty::Other };
            Say::Watch { content, sharing: Sharing { among, duty } }
        }),
        (tag(), any::<u32>()).prop_map(|(content, block)| Say::Alarm { content, block }),
        (peers(), any::<[u8; 4]>(), any::<u16>())
            .prop_map(|(peer, ip, port)| Say::At { peer, address: SocketAddr::from((ip, port)) }),
        (any::<u64>(), any::<u64>())
            .prop_map(|(lease, nanos)| Say::Tail { lease: LeaseId(lease), first_byte: Duration::from_nanos(nanos) }),
    ]
}

proptest! {
    #[test]
    fn every_message_survives_its_bytes(origin in any::<u64>(), say in says()) {
        let message = Message { origin: OriginKey(origin), say };
        let bytes = encode_frame(&message).expect("within the limits");
        prop_assert_eq!(decode_frame::<Message>(&bytes), Ok(message));
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_has_one_form(kind in 30..56_u8, rest in vec(any::<u8>(), 0..200)) {
        let payload = [&[kind], rest.as_slice()].concat();
        if let Ok(message) = crate::frame::decode_payload::<Message>(&payload) {
            let bytes = encode_frame(&message).expect("was a frame");
            prop_assert_eq!(&bytes[crate::frame::HEADER_LENGTH..], payload.as_slice());
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_says_something_else(which in 0..28_usize, place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, say) = goldens().swap_remove(which);
        let message = message(say);
        let mut bytes = encode_frame(&message).expect("fits");
        let place = place.index(bytes.len());
        let is_same = bytes[place] == byte;
        bytes[place] = byte;
        if let Ok(read) = decode_frame::<Message>(&bytes) {
            prop_assert_eq!(read == message, is_same);
        }
    }
}
