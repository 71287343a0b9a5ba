//! What a member makes of its assignments, of those who ask it, and of what it finds out.

use super::*;

#[test]
fn a_node_alone_reads_at_once_and_says_nothing_to_anybody() {
    let mut node = node(peer(0), &[], 40);
    let effects = effects(&mut node);
    assert_eq!(said(&effects), vec![]);
    let first: Vec<u32> = reads(&effects).iter().map(|(_, segments)| segments.start).collect();
    assert_eq!(first, vec![0, 1, 2, 3], "four leases, the lowest segments first (traps 1 and 2)");
}

#[test]
fn the_next_lease_begins_before_the_last_has_ended() {
    // Trap 14: equal streams fall into step and rest together for a round trip.
    let mut node = node(peer(0), &[], 40);
    effects(&mut node);
    let tag = content(40).tag();
    for block in 1..16 {
        node.handle_blocks(ms(40 + 20 * u64::from(block)), tag, 0, block);
    }
    let begun = reads(&effects(&mut node));
    assert_eq!(
        begun.iter().map(|(_, segments)| segments.start).collect::<Vec<_>>(),
        vec![4],
        "while segment 0 lacks a block"
    );
}

#[test]
fn a_child_tells_starving_from_stalling() {
    // Trap 6, at the member.
    let ranked = ranked(3);
    let source = ranked[1];
    let mut child = node(ranked[2], &ranked[..2], 1);
    effects(&mut child);
    let tag = content(1).tag();
    let item = Item::From { segment: 0, source: PeerTag::of(&source) };
    say(&mut child, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] });
    child.handle_blocks(ms(10), tag, 0, 2);
    say(&mut child, ms(700), source, Say::Waiting { content: tag, segment: 0, prefix: 2 });
    let told = said(&pass(&mut child, ms(1500)));
    let reasons = |told: &[(Peer, Say)]| {
        let reasons = told.iter().filter_map(|(_, say)| match say {
            Say::Fail { reason, .. } => Some(*reason),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(reasons(&told), vec![FailReason::Starved], "the flow is kept");
    // From now on its source says nothing of waiting any more.
    let told = said(&pass(&mut child, ms(700) + WAITING_LIFE + SILENCE + ms(600)));
    assert_eq!(reasons(&told).last(), Some(&FailReason::Stalled), "{told:?}");
}

#[test]
fn a_subscriber_waits_for_its_sources_own_assignment() {
    // Trap 7: SUB overtakes ASSIGN.
    let ranked = ranked(2);
    let mut parent = node(ranked[1], &[ranked[0]], 4);
    effects(&mut parent);
    let tag = content(4).tag();
    parent.handle_subscribe(ms(5), peer(21), tag, 0, 0);
    assert_eq!(effects(&mut parent), vec![]);
    let item = Item::From { segment: 0, source: PeerTag::of(&ranked[0]) };
    let done = say(&mut parent, ms(10), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] });
    let serve = Effect::Serve { to: peer(21), content: tag, segment: 0, from: 0 };
    let patience: Duration = SUBSCRIBER_PATIENCE.iter().sum();
    let done = [done, pass(&mut parent, ms(5) + patience)].concat();
    assert!(done.contains(&serve), "{done:?}");
    // And is refused when nothing comes of it.
    parent.handle_subscribe(ms(300), peer(22), tag, 3, 0);
    let done = pass(&mut parent, ms(300) + patience);
    assert!(done.contains(&Effect::Refuse { to: peer(22), content: tag, segment: 3 }), "{done:?}");
}

#[test]
fn a_strange_source_is_asked_about_and_then_used() {
    let ranked = ranked(2);
    let mut node = node(ranked[1], &ranked[..1], 1);
    effects(&mut node);
    let item = Item::From { segment: 0, source: PeerTag::of(&peer(10)) };
    let tag = content(1).tag();
    let asked =
        said(&say(&mut node, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] }));
    assert_eq!(asked, vec![(ranked[0], Say::WhoIs { peer: PeerTag::of(&peer(10)) })]);
    let done = say(&mut node, ms(2), ranked[0], Say::Introduce { peer: peer(10) });
    assert_eq!(done, vec![Effect::Subscribe { source: peer(10), content: tag, segment: 0, from: 0 }]);
}

#[test]
fn a_home_that_introduces_whom_nobody_asked_about_adds_no_member() {
    let ranked = ranked(2);
    let mut node = node(ranked[1], &ranked[..1], 2);
    // It is home of something else, and asks whoever turns up what that one holds of it.
    let (tag, elsewhere) = (content(2).tag(), OriginKey(8));
    node.start(ms(0), elsewhere, Content { key: LookupKey([1; 32]), ..content(2) }, Bits::none(2), None);
    let Say::Join(other) = join(&[], 2, vec![]) else { unreachable!() };
    let other = Join { content: Content { key: LookupKey([1; 32]), ..content(2) }, ..*other };
    node.handle_message(ms(1), peer(20), Message { origin: elsewhere, say: Say::Join(Box::new(other)) });
    let members = node.all.len();
    effects(&mut node);
    for n in 0..2 * MEMBERS as u64 {
        let invented = Peer(*blake3::hash(&n.to_le_bytes()).as_bytes());
        assert_eq!(say(&mut node, ms(2), ranked[0], Say::Introduce { peer: invented }), vec![]);
    }
    // One that it asked about is remembered, and is no member for that.
    let from = |segment| Item::From { segment, source: PeerTag::of(&peer(10)) };
    let assign = |segment| Say::Assign { content: tag, collect: ms(20), items: vec![from(segment)] };
    say(&mut node, ms(3), ranked[0], assign(0));
    say(&mut node, ms(4), ranked[0], Say::Introduce { peer: peer(10) });
    let known = say(&mut node, ms(5), ranked[0], assign(1));
    assert_eq!(known, vec![Effect::Subscribe { source: peer(10), content: tag, segment: 1, from: 0 }]);
    assert_eq!(node.all.len(), members);
}

#[test]
fn a_home_cannot_keep_a_few_from_looking_by_naming_a_crowd() {
    let ranked = ranked(3);
    let mut node = node(ranked[2], &ranked[..2], 8);
    effects(&mut node);
    let sharing = Sharing { among: u32::MAX, duty: Duty::Other };
    let done = say(&mut node, ms(1), ranked[0], Say::Watch { content: content(8).tag(), sharing });
    let bounded = Sharing { among: 3, duty: Duty::Other };
    assert_eq!(done, vec![Effect::Watch { content: content(8).tag(), sharing: bounded }]);
    let stranger = say(&mut node, ms(2), ranked[1], Say::Watch { content: content(8).tag(), sharing });
    assert_eq!(stranger, vec![], "only the home says so");
}

#[test]
fn who_finds_a_lie_tells_every_member_and_who_hears_it_looks_for_itself() {
    let ranked = ranked(3);
    let tag = content(8).tag();
    let mut finder = node(ranked[0], &ranked[1..], 8);
    effects(&mut finder);
    finder.handle_lie(tag, 5);
    let told: Vec<Peer> = said(&effects(&mut finder)).into_iter().map(|(to, _)| to).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let mut hearer = node(ranked[1], &[ranked[0], ranked[2]], 8);
    effects(&mut hearer);
    let alarm = |block| Say::Alarm { content: tag, block };
    let heard = say(&mut hearer, ms(1), ranked[2], alarm(5));
    assert_eq!(heard, vec![Effect::LookTwice { content: tag, block: 5 }]);
    assert_eq!(say(&mut hearer, ms(1), ranked[2], alarm(u32::MAX)), vec![], "there is no such block");
    let heard = (0..100).filter(|block| !say(&mut hearer, ms(1), ranked[2], alarm(*block)).is_empty()).count();
    assert_eq!(heard, ALARMS_EACH - 1, "one member costs a block or two");
    let mut all = 0;
    for n in 20..60 {
        all += (0..3).filter(|block| !say(&mut hearer, ms(2), peer(n), alarm(*block)).is_empty()).count();
    }
    assert_eq!(all, ALARMS - ALARMS_EACH, "and all members together no more than a few");
}

#[test]
fn a_home_that_hands_out_everything_at_once_is_obeyed_within_bounds() {
    let ranked = ranked(2);
    let count = 2000;
    let mut member = node(ranked[1], &ranked[..1], count);
    effects(&mut member);
    let tag = content(count).tag();
    let assign = |items| Say::Assign { content: tag, collect: ms(20), items };
    let lease = |n: u32| Item::Lease { lease: LeaseId(n.into()), segments: n..n + 1 };
    let done = say(&mut member, ms(1), ranked[0], assign((0..100).map(lease).collect()));
    assert_eq!(reads(&done).len(), LEASES_MOST as usize);
    let from = |n: u32| Item::From { segment: n, source: PeerTag::of(&ranked[0]) };
    let done = say(&mut member, ms(2), ranked[0], assign((100..1100).map(from).collect()));
    let subscribed = done.iter().filter(|effect| matches!(effect, Effect::Subscribe { .. })).count();
    assert_eq!(subscribed, FLOWS_MOST - LEASES_MOST as usize);
}
