//! Homes that are lost, slow or said to be, and what their members owe to the next one.

use super::*;

/// A member of rank 1, which follows the home of rank 0 and hears of it.
fn follower(ranked: &[Peer], segments: u64) -> Swarm {
    let others: Vec<Peer> = ranked.iter().copied().filter(|peer| *peer != ranked[1]).collect();
    let mut member = node(ranked[1], &others, segments);
    effects(&mut member);
    let answer = Say::Assign { content: content(segments).tag(), collect: ms(20), items: vec![] };
    say(&mut member, ms(1), ranked[0], answer);
    say(&mut member, ms(1), ranked[2], Say::Note { home: ranked[0] });
    member
}

#[test]
fn who_has_lost_its_home_is_not_sent_back_to_it_though_it_receives_nothing() {
    // What was read under the home's leases is over when its death is noticed: the JOIN lists no flow.
    let ranked = ranked(4);
    let mut next = follower(&ranked, 8);
    let told = said(&say(&mut next, ms(1300), ranked[2], join_after(ranked[0], 8, vec![])));
    assert!(!told.iter().any(|(_, say)| matches!(say, Say::Redirect { .. })), "{told:?}");
    assert!(told.iter().any(|(to, say)| *to == ranked[2] && matches!(say, Say::Assign { .. })), "{told:?}");
    assert_eq!(next.home(ORIGIN), Some(ranked[1]));
    // Whoever has not noticed yet names the dead one, much later too.
    for at in [1400, 4000] {
        let told = said(&say(&mut next, ms(at), ranked[3], Say::Note { home: ranked[0] }));
        assert_eq!((told, next.home(ORIGIN)), (vec![], Some(ranked[1])));
    }
}

#[test]
fn a_home_that_was_said_to_be_lost_and_lives_is_followed_on_its_own_word_before_anybody_reads() {
    let ranked = ranked(4);
    let mut next = follower(&ranked, 8);
    let asked = said(&say(&mut next, ms(1300), ranked[2], join_after(ranked[0], 8, vec![])));
    assert!(asked.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Query { .. })), "{asked:?}");
    for other in &ranked[2..] {
        assert!(reads(&say(&mut next, ms(1310), *other, have_any(Role::Plain))).is_empty());
    }
    assert!(reads(&pass(&mut next, ms(1300) + TAKE_OVER_GRACE - ms(1))).is_empty());
    let told = said(&say(&mut next, ms(1300) + TAKE_OVER_GRACE - ms(1), ranked[0], have_any(Role::Acting)));
    assert!(told.contains(&(ranked[2], Say::Redirect { home: ranked[0] })), "{told:?}");
    assert_eq!(next.home(ORIGIN), Some(ranked[0]));
}

#[test]
fn a_successor_has_nobody_read_what_a_member_reads_that_has_not_noticed_yet() {
    let ranked = ranked(4);
    let mut next = follower(&ranked, 4);
    say(&mut next, ms(1300), ranked[2], join_after(ranked[0], 4, vec![]));
    say(&mut next, ms(1301), ranked[2], have_any(Role::Plain));
    assert!(reads(&pass(&mut next, ms(1300) + TAKE_OVER_GRACE)).is_empty(), "one has not answered");
    let flows = vec![JoinFlow { segment: 0, source: JoinSource::Origin(LeaseId(7)), prefix: 3 }];
    let holdings = Some(Box::new(Holdings { link: LINE, have: Bits::none(4), flows: flows.clone() }));
    let answer = Say::HaveAny { content: content(4).tag(), role: Role::Plain, holdings };
    let mut done = say(&mut next, ms(1700), ranked[3], answer);
    done.extend(pass(&mut next, ms(1700) + SAFETY_PASS));
    let leased = |done: &[Effect]| {
        let told = said(done);
        let given = ranked.iter().flat_map(|peer| items(&told, *peer)).filter_map(|item| match item {
            Item::Lease { segments, .. } => Some(segments.start),
            Item::From { .. } | Item::Held { .. } => None,
        });
        let mut all: Vec<u32> = given.chain(reads(done).into_iter().map(|(_, segments)| segments.start)).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(leased(&done), vec![1, 2, 3], "{done:?}");
    // It joins, and reads on under the lease that it has.
    let joined = say(&mut next, ms(2300), ranked[3], join_after(ranked[0], 4, flows));
    assert_eq!(leased(&joined), vec![], "{joined:?}");
    assert!(!items(&said(&joined), ranked[3]).iter().any(|item| matches!(item, Item::From { segment: 0, .. })));
    // One that never joins keeps nobody out for ever: see the constant.
    assert!(EXPECTED < HEARSAY);
}

#[test]
fn a_part_whose_source_died_is_told_to_the_next_home_and_only_the_rest_is_read() {
    let ranked = ranked(4);
    let (home, next, source) = (ranked[0], ranked[1], ranked[3]);
    let mut member = node(ranked[2], &[home, next, source], 1);
    effects(&mut member);
    let tag = content(1).tag();
    let item = Item::From { segment: 0, source: PeerTag::of(&source) };
    say(&mut member, ms(1), home, Say::Assign { content: tag, collect: ms(20), items: vec![item] });
    member.handle_blocks(ms(10), tag, 0, 9);
    // Both fall silent: the flow is given up before the home is.
    pass(&mut member, ms(1400));
    member.handle_peer_down(ms(1400), home);
    let told = said(&effects(&mut member));
    let joined = told.iter().find_map(|(to, say)| match say {
        Say::Join(join) if *to == next => Some(join.clone()),
        _ => None,
    });
    let joined = joined.expect("it joins the next one");
    assert_eq!(joined.flows, vec![JoinFlow { segment: 0, source: JoinSource::Nobody, prefix: 9 }]);
    assert_eq!(joined.lost, vec![home]);
    let mut successor = Swarm::new(next, LINE, Weight::STEADY, 1);
    // Somebody else owes its answer until both are there.
    successor.handle_peer_up(Duration::ZERO, peer(12), Weight::STEADY);
    say(&mut successor, ms(1), peer(11), join(&[], 1, vec![]));
    say(&mut successor, ms(2), ranked[2], Say::Join(joined));
    let told = said(&pass(&mut successor, ms(2) + ACTIVATION));
    assert!(matches!(items(&told, ranked[2])[..], [Item::Lease { .. }]), "who has a part reads the rest: {told:?}");
}

#[test]
fn a_home_that_was_too_slow_is_asked_again_when_somebody_names_it() {
    let ranked = ranked(4);
    let mut member = node(ranked[3], &ranked[..3], 8);
    effects(&mut member);
    pass(&mut member, JOIN_PROBE);
    assert_eq!(member.home(ORIGIN), Some(ranked[1]));
    let told = said(&say(&mut member, JOIN_PROBE + ms(10), ranked[1], Say::Redirect { home: ranked[0] }));
    assert!(matches!(told.as_slice(), [(to, Say::Join(_))] if *to == ranked[0]), "{told:?}");
    // A dead one is not.
    member.handle_peer_down(JOIN_PROBE + ms(20), ranked[0]);
    effects(&mut member);
    let told = said(&say(&mut member, JOIN_PROBE + ms(30), ranked[1], Say::Redirect { home: ranked[0] }));
    assert!(!told.iter().any(|(to, _)| *to == ranked[0]), "{told:?}");
}

#[test]
fn a_lease_that_is_given_back_at_once_is_not_given_to_the_same_at_once() {
    // A member that reads as much as it may: home and member in one node would pass the lease to and fro for ever.
    let reader = peer(10);
    let mut home = home_with(&[], 8);
    let first = items(&said(&say(&mut home, ms(1), reader, join(&[], 8, vec![]))), reader);
    let returned = first.iter().filter_map(|item| match item {
        Item::Lease { lease, .. } => Some(Say::Return { lease: *lease, prefix: 0 }),
        Item::From { .. } | Item::Held { .. } => None,
    });
    let mut again = Vec::new();
    for say_return in returned {
        again.extend(items(&said(&say(&mut home, ms(2), reader, say_return)), reader));
    }
    assert_eq!((first.len(), again), (LEASES as usize, vec![]));
    assert!(!items(&said(&pass(&mut home, ms(2) + READ_PAUSE * 32 + SAFETY_PASS)), reader).is_empty());
}
