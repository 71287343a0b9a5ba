//! Members that take part in no swarm: what they hold is taken from them beside the swarm, and nobody waits for a word of theirs.

use super::*;

fn tag() -> ContentTag {
    content(8).tag()
}

fn bits(held: std::ops::Range<u32>) -> Bits {
    let mut bits = Bits::none(8);
    held.for_each(|segment| bits.insert(segment));
    bits
}

/// Nothing is ever said to one of them.
fn lookups(effects: &[Effect], plain: Peer) -> usize {
    assert!(!said(effects).iter().any(|(to, _)| *to == plain), "{effects:?}");
    let of_it = |effect: &&Effect| matches!(effect, Effect::LookUp { peer, .. } if *peer == plain);
    effects.iter().filter(of_it).count()
}

fn found(node: &mut Swarm, now: Duration, plain: Peer, have: Option<Bits>) -> Vec<Effect> {
    node.handle_lookup(now, plain, tag(), have);
    effects(node)
}

fn fetches(effects: &[Effect], from: Peer) -> Vec<std::ops::Range<u32>> {
    let fetches = effects.iter().filter_map(|effect| match effect {
        Effect::Fetch { source, segments, .. } if *source == from => Some(segments.clone()),
        Effect::Subscribe { source, .. } if *source == from => panic!("it knows nothing of what is coming"),
        _ => None,
    });
    fetches.collect()
}

fn read_segments(effects: &[Effect]) -> Vec<u32> {
    reads(effects).into_iter().flat_map(|(_, segments)| segments).collect()
}

/// The best ranked of three, whose third one takes part in no swarm, wants eight segments.
fn home_beside() -> (Swarm, Peer, Peer, Vec<Effect>) {
    let ranked = ranked(3);
    let mut home = Swarm::new(ranked[0], LINE, Weight::STEADY, 1);
    ranked[1..].iter().for_each(|other| home.handle_peer_up(ms(0), *other, Weight::STEADY));
    home.handle_plain(ms(0), ranked[2]);
    let wants = Some((Order::Rarest, Patience::Foreground));
    home.start(ms(0), ORIGIN, content(8), Bits::none(8), wants);
    let told = effects(&mut home);
    (home, ranked[1], ranked[2], told)
}

#[test]
fn what_such_a_member_holds_is_taken_from_it_and_the_origin_is_read_for_the_rest() {
    let (mut home, member, plain, told) = home_beside();
    assert_eq!((lookups(&told, plain), reads(&told)), (1, vec![]));
    let told = say(&mut home, ms(1), member, have_any(Role::Plain));
    assert_eq!((lookups(&told, plain), reads(&told)), (0, vec![]), "its answer is waited for");
    let told = found(&mut home, ms(2), plain, Some(bits(0..5)));
    assert_eq!(fetches(&told, plain), vec![0..1, 1..2]);
    assert_eq!(read_segments(&told), vec![5, 6, 7]);
}

#[test]
fn one_that_does_not_answer_costs_no_more_than_others_that_do_not() {
    let (mut home, member, plain, _) = home_beside();
    say(&mut home, ms(1), member, have_any(Role::Plain));
    assert_eq!(reads(&pass(&mut home, ACTIVATION - ms(1))), vec![]);
    let told = pass(&mut home, ACTIVATION);
    assert_eq!((read_segments(&told), lookups(&told, plain)), (vec![0, 1, 2, 3], 0));
    // What it says late still counts.
    let told = found(&mut home, ACTIVATION + ms(1), plain, Some(bits(0..8)));
    assert!(fetches(&told, plain).into_iter().flatten().all(|segment| segment > 3), "{told:?}");
}

#[test]
fn several_are_sent_to_it_as_to_any_holder() {
    let (mut home, member, plain, _) = home_beside();
    found(&mut home, ms(1), plain, Some(bits(0..8)));
    let told = say(&mut home, ms(2), member, join(&[], 8, vec![]));
    let told = [told, pass(&mut home, ms(2) + ACTIVATION + COLLECT)].concat();
    let sent = items(&said(&told), member);
    let to_it = |item: &&Item| matches!(item, Item::From { source, .. } if *source == PeerTag::of(&plain));
    assert!(sent.iter().filter(to_it).count() > 0, "{sent:?}");
    assert_eq!((read_segments(&told), lookups(&told, plain)), (vec![], 0));
}

#[test]
fn a_member_that_is_sent_to_it_asks_for_what_it_holds_and_not_for_what_is_coming() {
    let ranked = ranked(3);
    let (home, plain) = (ranked[0], ranked[1]);
    let mut member = node(ranked[2], &[home, plain], 8);
    effects(&mut member);
    member.handle_plain(ms(1), plain);
    let items = vec![Item::From { segment: 3, source: PeerTag::of(&plain) }];
    let told = say(&mut member, ms(2), home, Say::Assign { content: tag(), collect: ms(20), items });
    assert_eq!(fetches(&told, plain), vec![3..4]);
    // What it does not hold after all is told, and a pace below what a peer has to bring is not borne.
    member.handle_flow_fault(ms(3), plain, tag(), 3, FlowFault::Lacking);
    let told = said(&effects(&mut member));
    assert!(matches!(told[..], [(_, Say::Fail { segment: 3, reason: FailReason::Lacking, .. })]), "{told:?}");
}

#[test]
fn nobody_takes_it_for_the_home_nor_waits_for_a_successor_of_it() {
    let ranked = ranked(3);
    let (plain, me, other) = (ranked[0], ranked[1], ranked[2]);
    let mut node = node(me, &[plain, other], 8);
    let told = said(&effects(&mut node));
    let is_joined = told.iter().any(|(to, say)| *to == plain && matches!(say, Say::Join(_)));
    assert!(is_joined, "nothing is known of it yet: {told:?}");
    node.handle_plain(ms(2), plain);
    let told = effects(&mut node);
    assert_eq!((node.home(ORIGIN), lookups(&told, plain)), (Some(me), 1));
    // Others may name it, who have not found out.
    let told = [
        say(&mut node, ms(3), other, Say::Note { home: plain }),
        say(&mut node, ms(3), other, have_any(Role::Plain)),
        found(&mut node, ms(4), plain, None),
    ];
    assert_eq!((node.home(ORIGIN), read_segments(&told.concat())), (Some(me), vec![0, 1, 2, 3]));
    // One that takes part after all is home again.
    node.handle_peer_up(ms(5), plain, Weight::STEADY);
    let told = say(&mut node, ms(5), plain, Say::Query { content: content(8) });
    assert!(said(&told).iter().any(|(to, say)| *to == plain && matches!(say, Say::Join(_))), "{told:?}");
}

#[test]
fn what_it_comes_to_hold_is_found_while_somebody_wants_it() {
    let (mut home, member, plain, _) = home_beside();
    say(&mut home, ms(1), member, have_any(Role::Plain));
    let leased = reads(&found(&mut home, ms(2), plain, None));
    // It is asked less and less often, or it would take this node for a prober.
    let (first, second) = (ms(2) + LOOK_AGAIN * 2, ms(3) + LOOK_AGAIN * 6);
    assert_eq!(lookups(&pass(&mut home, first - ms(1)), plain), 0);
    assert_eq!(lookups(&pass(&mut home, first), plain), 1);
    found(&mut home, first + ms(1), plain, Some(Bits::none(8)));
    assert_eq!(lookups(&pass(&mut home, second - ms(1)), plain), 0);
    assert_eq!(lookups(&pass(&mut home, second), plain), 1);
    let told = found(&mut home, second + ms(1), plain, Some(bits(6..8)));
    let told = [told, pass(&mut home, second + SAFETY_PASS * 2)].concat();
    assert_eq!(fetches(&told, plain).into_iter().flatten().collect::<Vec<_>>(), vec![6, 7], "{leased:?}");
    // It has more, then less.
    let told = found(&mut home, second + LOOK_AGAIN, plain, Some(bits(5..8)));
    assert_eq!(read_segments(&told), vec![]);
    home.leave(second + LOOK_AGAIN, tag());
    effects(&mut home);
    assert_eq!(lookups(&pass(&mut home, second + LOOK_AGAIN * 100), plain), 0, "nobody wants it");
}

#[test]
fn what_it_lacks_after_all_is_not_asked_of_it_again_at_once() {
    let (one, other, plain) = (peer(11), peer(12), peer(13));
    let mut home = home_with(&[], 8);
    home.handle_peer_up(ms(0), plain, Weight::STEADY);
    home.handle_plain(ms(0), plain);
    say(&mut home, ms(1), one, join(&[], 8, vec![]));
    found(&mut home, ms(2), plain, Some(bits(0..8)));
    say(&mut home, ms(3), other, join(&[], 8, vec![]));
    let source = Some(PeerTag::of(&plain));
    let mut sent = 0;
    for turn in 0..20 {
        let fail = Say::Fail { content: tag(), segment: 0, source, reason: FailReason::Lacking, prefix: 0 };
        let told = [say(&mut home, ms(10 + turn), one, fail), pass(&mut home, ms(10 + turn))].concat();
        let to_it = |item: &&Item| matches!(item, Item::From { segment: 0, source } if *source == PeerTag::of(&plain));
        sent += items(&said(&told), one).iter().filter(to_it).count();
    }
    assert_eq!(sent, 0);
}

#[test]
fn when_it_goes_what_it_was_to_give_is_read() {
    let (mut home, member, plain, _) = home_beside();
    say(&mut home, ms(1), member, have_any(Role::Plain));
    let told = found(&mut home, ms(2), plain, Some(bits(0..8)));
    assert_eq!(fetches(&told, plain), vec![0..1, 1..2]);
    assert_eq!(read_segments(&told), Vec::<u32>::new());
    home.handle_peer_down(ms(3), plain);
    let told = [effects(&mut home), pass(&mut home, ms(3) + ORPHAN_HOLD)].concat();
    assert_eq!(read_segments(&told), vec![0, 1, 2, 3]);
    assert_eq!(lookups(&pass(&mut home, ms(3) + LOOK_AGAIN * 100), plain), 0);
}
