//! Where members are few, one that joins asks the others itself what they have, and reads when they and its home have answered.

use super::*;

fn sought(effects: &[Effect]) -> Vec<(Peer, Peer)> {
    let sought = said(effects).into_iter().filter_map(|(to, say)| match say {
        Say::Seek { home, .. } => Some((to, home)),
        _ => None,
    });
    sought.collect()
}

fn asked(effects: &[Effect], of: Peer) -> Vec<u8> {
    let asked = said(effects).into_iter().filter_map(|(to, say)| match say {
        Say::Join(join) if to == of => Some(join.asked),
        _ => None,
    });
    asked.collect()
}

fn lease(segments: std::ops::Range<u32>) -> Say {
    let items = vec![Item::Lease { lease: LeaseId(5), segments }];
    Say::Assign { content: content(8).tag(), collect: ms(20), items }
}

fn has(have: &[u32], flows: Vec<JoinFlow>) -> Say {
    let mut bits = Bits::none(8);
    have.iter().for_each(|segment| bits.insert(*segment));
    let holdings = Some(Box::new(Holdings { link: LINE, have: bits, flows }));
    Say::HaveAny { content: content(8).tag(), role: Role::Plain, holdings }
}

/// The last of four in rank has joined the first and asked the two others.
fn joined() -> (Swarm, Vec<Peer>) {
    let ranked = ranked(4);
    let mut member = node(ranked[3], &ranked[..3], 8);
    let told = effects(&mut member);
    let mut others = sought(&told);
    others.sort_unstable();
    let mut expected = vec![(ranked[1], ranked[0]), (ranked[2], ranked[0])];
    expected.sort_unstable();
    assert_eq!((others, asked(&told, ranked[0])), (expected, vec![2]));
    (member, ranked)
}

#[test]
fn one_that_joins_among_few_reads_when_its_home_and_the_others_have_answered() {
    let (mut member, ranked) = joined();
    assert_eq!(reads(&say(&mut member, ms(1), ranked[0], lease(0..2))), vec![]);
    assert_eq!(reads(&say(&mut member, ms(2), ranked[1], have_any(Role::Plain))), vec![]);
    let told = say(&mut member, ms(3), ranked[2], have_any(Role::Plain));
    assert_eq!(reads(&told), vec![(LeaseId(5), 0..2)]);
    // The answers may come before the lease.
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[1], have_any(Role::Plain));
    say(&mut member, ms(1), ranked[2], has(&[7], vec![]));
    assert_eq!(reads(&say(&mut member, ms(2), ranked[0], lease(0..2))), vec![(LeaseId(5), 0..2)]);
    // And say that it is not to be read.
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[1], have_any(Role::Plain));
    say(&mut member, ms(1), ranked[2], has(&[1], vec![]));
    let told = say(&mut member, ms(2), ranked[0], lease(0..2));
    assert_eq!((reads(&told), asked(&told, ranked[0])), (vec![], vec![0]));
}

#[test]
fn what_somebody_else_holds_or_reads_is_not_read_and_the_home_is_asked_anew() {
    let flow = |source| vec![JoinFlow { segment: 1, source, prefix: 0 }];
    let reads_it = has(&[], flow(JoinSource::Origin(LeaseId(1))));
    for (segments, answer) in [(0..2, has(&[1], vec![])), (0..2, reads_it), (0..8, have_any(Role::Acting))] {
        let (mut member, ranked) = joined();
        say(&mut member, ms(1), ranked[0], lease(segments));
        say(&mut member, ms(2), ranked[1], have_any(Role::Plain));
        let told = say(&mut member, ms(3), ranked[2], answer);
        assert_eq!((reads(&told), asked(&told, ranked[0]), sought(&told)), (vec![], vec![0], vec![]), "{told:?}");
        // What the home says then counts, at once.
        assert_eq!(reads(&say(&mut member, ms(4), ranked[0], lease(3..4))), vec![(LeaseId(5), 3..4)]);
    }
    // Who was quicker, and was sent to this member for what it is about to read, is no reason to wait.
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[0], lease(0..2));
    say(&mut member, ms(2), ranked[1], has(&[], flow(JoinSource::Member(ranked[3]))));
    assert_eq!(reads(&say(&mut member, ms(3), ranked[2], have_any(Role::Plain))), vec![(LeaseId(5), 0..2)]);
}

#[test]
fn others_that_do_not_answer_or_are_gone_are_not_waited_for() {
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[0], lease(0..2));
    say(&mut member, ms(2), ranked[1], have_any(Role::Plain));
    assert_eq!(reads(&pass(&mut member, ACTIVATION - ms(1))), vec![]);
    assert_eq!(reads(&pass(&mut member, ACTIVATION)), vec![(LeaseId(5), 0..2)]);
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[0], lease(0..2));
    say(&mut member, ms(2), ranked[1], have_any(Role::Plain));
    member.handle_peer_down(ms(3), ranked[2]);
    assert_eq!(reads(&effects(&mut member)), vec![(LeaseId(5), 0..2)]);
}

#[test]
fn a_lease_that_the_home_takes_back_before_it_has_begun_does_not_begin() {
    let (mut member, ranked) = joined();
    say(&mut member, ms(1), ranked[0], lease(0..2));
    let items = vec![Item::From { segment: 0, source: PeerTag::of(&ranked[1]) }];
    say(&mut member, ms(2), ranked[0], Say::Assign { content: content(8).tag(), collect: ms(20), items });
    say(&mut member, ms(3), ranked[1], have_any(Role::Plain));
    assert_eq!(reads(&say(&mut member, ms(3), ranked[2], have_any(Role::Plain))), vec![]);
}

#[test]
fn a_home_gives_leases_at_once_to_one_that_asks_all_whom_it_would_ask() {
    let ranked = ranked(4);
    for (asked, waits) in [(2, false), (1, true)] {
        let mut home = Swarm::new(ranked[0], LINE, Weight::STEADY, 1);
        ranked[1..].iter().for_each(|other| home.handle_peer_up(ms(0), *other, Weight::STEADY));
        let Say::Join(join) = join(&[], 8, vec![]) else { unreachable!() };
        let told = said(&say(&mut home, ms(1), ranked[3], Say::Join(Box::new(Join { asked, ..*join }))));
        let is_leased = items(&told, ranked[3]).iter().any(|item| matches!(item, Item::Lease { .. }));
        let queries = told.iter().filter(|(_, say)| matches!(say, Say::Query { .. })).count();
        assert_eq!((is_leased, queries), (!waits, 2), "{told:?}");
        // Who asks anew, having heard one of them before its home did, gets nothing more before that has heard them too.
        let again = said(&say(&mut home, ms(1), ranked[3], super::join(&[], 8, vec![])));
        assert!(items(&again, ranked[3]).is_empty(), "{again:?}");
        // What the others tell it counts as if it had asked.
        say(&mut home, ms(2), ranked[1], has(&[0, 1, 2, 3, 4, 5, 6, 7], vec![]));
        say(&mut home, ms(2), ranked[2], have_any(Role::Plain));
        let told = said(&say(&mut home, ms(3), ranked[3], super::join(&[], 8, vec![])));
        let held = |item: &Item| matches!(item, Item::Held { source, .. } if *source == PeerTag::of(&ranked[1]));
        let told = items(&told, ranked[3]);
        assert!(!told.is_empty() && told.iter().all(held), "{told:?}");
    }
}

#[test]
fn one_that_is_asked_tells_both_the_asker_and_the_home() {
    let ranked = ranked(3);
    let mut other = Swarm::new(ranked[2], LINE, Weight::STEADY, 1);
    ranked[..2].iter().for_each(|peer| other.handle_peer_up(ms(0), *peer, Weight::STEADY));
    other.start(ms(0), ORIGIN, content(8), Bits::all(8), None);
    let told = say(&mut other, ms(1), ranked[1], Say::Seek { content: content(8), home: ranked[0] });
    let answer = has(&[0, 1, 2, 3, 4, 5, 6, 7], vec![]);
    assert_eq!(said(&told), vec![(ranked[0], answer.clone()), (ranked[1], answer)]);
}

#[test]
fn among_many_the_home_asks() {
    let ranked = ranked(FEW_MEMBERS as u8 + 1);
    let mut member = node(ranked[5], &[&ranked[..5], &ranked[6..]].concat(), 8);
    let told = effects(&mut member);
    assert_eq!((sought(&told), asked(&told, ranked[0])), (vec![], vec![0]));
}
