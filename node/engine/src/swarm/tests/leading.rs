//! What a home makes of what its members say: sources, leases, failures, and what it remembers.

use super::*;

#[test]
fn a_home_waits_for_the_holdings_of_others_before_it_reads() {
    let ranked = ranked(3);
    let mut home = node(ranked[0], &ranked[1..], 8);
    let before = pass(&mut home, ms(10));
    assert!(reads(&before).is_empty());
    say(&mut home, ms(11), ranked[1], have_any(Role::Plain));
    let after = say(&mut home, ms(12), ranked[2], have_any(Role::Plain));
    assert!(!reads(&after).is_empty(), "when all have answered");
}

#[test]
fn a_home_does_not_wait_for_the_dead() {
    let ranked = ranked(3);
    let mut home = node(ranked[0], &ranked[1..], 8);
    assert!(reads(&pass(&mut home, ACTIVATION - ms(1))).is_empty());
    assert!(!reads(&pass(&mut home, ACTIVATION)).is_empty());
}

#[test]
fn children_hang_on_a_reader_while_it_reads() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader], 1);
    let said = said(&say(&mut home, ms(2), child, join(&[], 1, vec![])));
    assert_eq!(items(&said, child), vec![Item::From { segment: 0, source: PeerTag::of(&reader) }]);
}

#[test]
fn a_dead_readers_child_with_a_part_reads_on() {
    // Trap 4, and the hold: nobody waits for orphans, nobody begins at 0 what a child has half of.
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader, child], 1);
    let tag = content(1).tag();
    home.handle_peer_down(ms(500), reader);
    let source = Some(PeerTag::of(&reader));
    let fail = Say::Fail { content: tag, segment: 0, source, reason: FailReason::Dead, prefix: 8 };
    let mut all = effects(&mut home);
    all.extend(say(&mut home, ms(510), child, fail));
    assert!(items(&said(&all), child).is_empty(), "the hold: a longer part may be told");
    let later = said(&pass(&mut home, ms(500) + ORPHAN_HOLD + SAFETY_PASS));
    assert!(matches!(items(&later, child)[..], [Item::Lease { .. }]), "{later:?}");
}

#[test]
fn who_starves_behind_a_live_reader_keeps_its_source() {
    // Trap 6: one slow origin must not start a storm.
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader, child], 1);
    let source = Some(PeerTag::of(&reader));
    let fail = Say::Fail { content: content(1).tag(), segment: 0, source, reason: FailReason::Starved, prefix: 2 };
    assert_eq!(say(&mut home, ms(900), child, fail), vec![]);
}

#[test]
fn two_that_accuse_make_a_member_no_source_and_what_it_holds_is_read_anew() {
    // Trap 9: one that takes and never gives, and is the only holder.
    let (taker, one, other) = (peer(10), peer(11), peer(12));
    let mut home = home_with(&[], 1);
    let source = Some(PeerTag::of(&taker));
    let fail = Say::Fail { content: content(1).tag(), segment: 0, source, reason: FailReason::Corrupt, prefix: 0 };
    let is_lease = |item: &Item| matches!(item, Item::Lease { .. });
    say(&mut home, ms(1), taker, join(&[0], 1, vec![]));
    say(&mut home, ms(1), one, join(&[], 1, vec![]));
    let given = items(&said(&say(&mut home, ms(1), other, join(&[], 1, vec![]))), other);
    let first = said(&say(&mut home, ms(10), one, fail.clone()));
    assert!(!items(&first, one).iter().any(is_lease), "one accuser is not enough");
    // Whom the other takes it from has nothing any more: it is sent to the holder as well.
    let [Item::From { source: orphan, .. }] = given[..] else { panic!("{given:?}") };
    let starves = Say::Fail {
        content: content(1).tag(),
        segment: 0,
        source: Some(orphan),
        reason: FailReason::Starved,
        prefix: 0,
    };
    say(&mut home, ms(11), other, starves);
    let second = said(&say(&mut home, ms(12), other, fail));
    let leases = [one, other].into_iter().flat_map(|n| items(&second, n)).filter(is_lease).count();
    assert_eq!(leases, 1, "{second:?}");
}

#[test]
fn nothing_is_read_anew_because_a_machine_stood_still_once() {
    let (busy, tag) = (peer(10), content(8).tag());
    let mut home = home_with(&[busy], 8);
    let from_busy = |segment| vec![JoinFlow { segment, source: JoinSource::Member(busy), prefix: 0 }];
    let stalls = |home: &mut Swarm, now, accusers: [u8; 2], segment| {
        let source = Some(PeerTag::of(&busy));
        let fail = Say::Fail { content: tag, segment, source, reason: FailReason::Stalled, prefix: 0 };
        accusers.into_iter().flat_map(|n| say(home, now, peer(n), fail.clone())).collect::<Vec<_>>()
    };
    let leases = |effects: &[Effect]| {
        let told = said(effects);
        let items = (10..16).flat_map(|n| items(&told, peer(n))).filter(|item| matches!(item, Item::Lease { .. }));
        items.count()
    };
    // It has read a segment, and reads four more; others take them from it, and two of them get nothing.
    say(&mut home, ms(100), busy, Say::Done { content: tag, segments: vec![0] });
    for n in 11..14 {
        say(&mut home, ms(100), peer(n), join(&[], 8, from_busy(0)));
    }
    let mut done = stalls(&mut home, ms(1000), [11, 12], 0);
    done.extend(say(&mut home, ms(1500), busy, Say::Done { content: tag, segments: vec![1] }));
    done.extend(pass(&mut home, ms(1000) + PAUSED));
    // Another one may read what comes next, but neither what the busy one has nor what it reads.
    let told = said(&done);
    let again = (11..14).flat_map(|n| items(&told, peer(n))).filter(|item| match item {
        Item::Lease { segments, .. } => segments.start < 5,
        Item::From { .. } | Item::Held { .. } => false,
    });
    assert_eq!(again.count(), 0, "{told:?}");
    let back = said(&pass(&mut home, ms(1000) + PAUSED + SAFETY_PASS * 2));
    let from = |item: &Item| matches!(item, Item::From { source, .. } if *source == PeerTag::of(&busy));
    assert!(items(&back, peer(13)).iter().any(from), "it is a source again: {back:?}");
    // Should it never give anything, it is found out the second time.
    let mut other = home_with(&[], 1);
    say(&mut other, ms(1), busy, join(&[0], 1, vec![]));
    for n in 11..15 {
        say(&mut other, ms(1), peer(n), join(&[], 1, from_busy(0)));
    }
    let tag = content(1).tag();
    let accuse = |home: &mut Swarm, now, n| {
        let source = Some(PeerTag::of(&busy));
        let fail = Say::Fail { content: tag, segment: 0, source, reason: FailReason::Stalled, prefix: 0 };
        say(home, now, peer(n), fail)
    };
    let mut first = [accuse(&mut other, ms(1000), 11), accuse(&mut other, ms(1000), 12)].concat();
    first.extend(pass(&mut other, ms(1000) + PAUSED));
    assert_eq!(leases(&first), 0);
    let later = ms(1000) + PAUSED + SAFETY_PASS * 2;
    pass(&mut other, later);
    for n in 13..15 {
        say(&mut other, later, peer(n), join(&[], 1, from_busy(0)));
    }
    let mut second = [accuse(&mut other, later, 13), accuse(&mut other, later, 14)].concat();
    second.extend(pass(&mut other, later + SAFETY_PASS));
    assert_eq!(leases(&second), 1, "{second:?}");
}

#[test]
fn nobody_reads_because_holders_are_busy_but_who_refused_them_all_may() {
    // Trap 10.
    let (holder, other, one) = (peer(10), peer(12), peer(11));
    let mut home = home_with(&[], 1);
    let fail = |source| {
        let (content, source) = (content(1).tag(), Some(source));
        Say::Fail { content, segment: 0, source, reason: FailReason::Dead, prefix: 0 }
    };
    say(&mut home, ms(1), holder, join(&[0], 1, vec![]));
    say(&mut home, ms(1), other, join(&[], 1, vec![]));
    let mut given = items(&said(&say(&mut home, ms(1), one, join(&[], 1, vec![]))), one);
    assert!(matches!(given[..], [Item::From { .. }]), "{given:?}");
    assert_eq!(items(&said(&pass(&mut home, ms(5000))), one), vec![], "however long it takes");
    // It refuses whomever it is sent to, until nobody is left.
    for _ in 0..2 {
        let [Item::From { source, .. }] = given[..] else { panic!("{given:?}") };
        given = items(&said(&say(&mut home, ms(5000), one, fail(source))), one);
    }
    assert_eq!(given, vec![]);
    assert_eq!(items(&said(&pass(&mut home, ms(5000) + RESCUE - ms(1))), one), vec![]);
    let rescued = items(&said(&pass(&mut home, ms(5000) + RESCUE + SAFETY_PASS)), one);
    assert!(matches!(rescued[..], [Item::Lease { .. }]), "{rescued:?}");
}

#[test]
fn sixteen_files_share_one_budget() {
    // Trap 17.
    let mut node = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
    for file in 0..16 {
        let content = Content { key: LookupKey([file; 32]), ..content(8) };
        node.start(Duration::ZERO, ORIGIN, content, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    }
    assert_eq!(reads(&effects(&mut node)).len(), LEASES as usize);
}

#[test]
fn a_wireless_member_reads_and_gives_last() {
    // Trap 19.
    let (air, wired) = (peer(10), peer(11));
    let mut home = Swarm::new(ranked(1)[0], LINE, Weight::STEADY, 1);
    let on_air = Link { medium: Medium::Wireless, ..LINE };
    let join_as = |link| {
        let have = Bits::none(8);
        Say::Join(Box::new(Join {
            content: content(8),
            link,
            wants: Some(Order::Rarest),
            have,
            flows: vec![],
            lost: vec![],
            asked: 0,
        }))
    };
    // Both are there before the first lease: a third member owes its answer about holdings.
    home.handle_peer_up(Duration::ZERO, peer(12), Weight::STEADY);
    say(&mut home, ms(1), air, join_as(on_air));
    say(&mut home, ms(1), wired, join_as(LINE));
    let said = said(&pass(&mut home, ms(1) + ACTIVATION));
    let leases = |to| items(&said, to).into_iter().filter(|item| matches!(item, Item::Lease { .. })).count();
    assert_eq!((leases(air), leases(wired)), (0, LEASES as usize), "{said:?}");
}

#[test]
fn another_version_ends_it_for_everybody_when_two_readers_have_found_it() {
    // Trap 20. One may be behind another edge of the origin's network.
    let (one, other, third) = (peer(10), peer(11), peer(12));
    let mut home = home_with(&[one, other, third], 4);
    let tag = content(4).tag();
    let changed = || Say::Changed { content: tag };
    let is_lease = |item: &Item| matches!(item, Item::Lease { .. });
    let first = said(&say(&mut home, ms(50), one, changed()));
    assert!(!first.iter().any(|(_, say)| *say == changed()), "{first:?}");
    let reader = [other, third].into_iter().find(|to| items(&first, *to).iter().any(is_lease));
    let reader = reader.expect("what it was to read somebody else reads at once");
    // Who reads nothing knows nothing of it, and who has said it says nothing new.
    assert!(!said(&say(&mut home, ms(51), one, changed())).iter().any(|(_, say)| *say == changed()));
    let second = said(&say(&mut home, ms(90), reader, changed()));
    assert!([other, third].iter().all(|member| second.contains(&(*member, changed()))), "{second:?}");
    assert_eq!(home.poll_timeout(), None, "nothing is left to look after");
}

#[test]
fn members_that_read_nothing_end_nothing_by_saying_that_the_version_is_another() {
    let (reader, liars) = (peer(10), [peer(11), peer(12), peer(13)]);
    let mut home = home_with(&[reader], 4);
    let changed = || Say::Changed { content: content(4).tag() };
    for liar in liars {
        say(&mut home, ms(2), liar, join(&[], 4, vec![]));
    }
    let told: Vec<_> = liars.iter().flat_map(|liar| said(&say(&mut home, ms(50), *liar, changed()))).collect();
    assert!(!told.iter().any(|(_, say)| *say == changed()), "{told:?}");
    assert_eq!(home.tally().leases, 4, "the reader reads on");
}

#[test]
fn what_this_node_has_read_itself_needs_no_second_word() {
    let mut home = node(peer(0), &[], 4);
    let lease = reads(&effects(&mut home))[0].0;
    say(&mut home, ms(1), peer(11), join(&[], 4, vec![]));
    home.handle_read_fault(ms(50), content(4).tag(), lease, ReadFault::Changed);
    let done = effects(&mut home);
    assert!(done.contains(&Effect::Changed { content: content(4).tag() }), "{done:?}");
    assert!(said(&done).contains(&(peer(11), Say::Changed { content: content(4).tag() })), "{done:?}");
}

#[test]
fn a_lease_is_given_back_by_who_leaves() {
    let (one, other) = (peer(10), peer(11));
    let mut home = home_with(&[one, other], 1);
    let said = said(&say(&mut home, ms(50), one, Say::Leave { content: content(1).tag() }));
    let later = [said, self::said(&pass(&mut home, ms(50) + ORPHAN_HOLD + SAFETY_PASS))].concat();
    assert!(items(&later, other).iter().any(|item| matches!(item, Item::Lease { .. })), "{later:?}");
}

#[test]
fn what_a_stranger_says_of_leases_and_segments_that_are_not_there_changes_nothing() {
    // Trap 3 among them: news of the dead, after their death.
    let mut home = home_with(&[peer(10)], 2);
    let tag = content(2).tag();
    for from in [peer(10), peer(99)] {
        for strange in [
            Say::Tail { lease: LeaseId(1), first_byte: ms(1) },
            Say::Progress { lease: LeaseId(1), bytes: u64::MAX },
            Say::Return { lease: LeaseId(1), prefix: 9 },
            Say::Done { content: tag, segments: vec![7, u32::MAX] },
            Say::Fail { content: tag, segment: u32::MAX, source: None, reason: FailReason::Dead, prefix: u32::MAX },
            Say::Leave { content: ContentTag(1) },
        ] {
            let done = say(&mut home, ms(20), from, strange);
            assert!(reads(&done).is_empty());
        }
    }
}

fn watches(said: &[(Peer, Say)]) -> Vec<(Peer, Sharing)> {
    let watches = said.iter().filter_map(|(to, say)| match say {
        Say::Watch { sharing, .. } => Some((*to, *sharing)),
        _ => None,
    });
    watches.collect()
}

#[test]
fn one_of_those_who_take_a_content_has_to_look_twice_and_all_know_among_how_many() {
    let mut home = home_with(&[], 4);
    let members: Vec<Peer> = (10..18).map(peer).collect();
    let mut told = Vec::new();
    for member in &members {
        home.handle_peer_up(ms(1), *member, Weight::STEADY);
        told.extend(watches(&said(&say(&mut home, ms(1), *member, join(&[], 4, vec![])))));
    }
    told.extend(watches(&said(&pass(&mut home, ms(1) + SAFETY_PASS * 2))));
    let last = |member: &Peer| told.iter().rev().find(|(to, _)| to == member).map(|(_, sharing)| *sharing);
    let known: Vec<Sharing> = members.iter().filter_map(last).collect();
    assert_eq!(known.len(), members.len(), "everybody is told");
    assert!(known.iter().all(|sharing| (6..=8).contains(&sharing.among)), "{known:?}");
    let watchers = known.iter().filter(|sharing| sharing.duty == Duty::Watcher).count();
    assert!(watchers <= 1, "{known:?}");
}

/// Who was told last that it has to look.
fn watcher(told: &[(Peer, Sharing)]) -> Vec<Peer> {
    let last: std::collections::BTreeMap<Peer, Sharing> = told.iter().copied().collect();
    last.into_iter().filter(|(_, sharing)| sharing.duty == Duty::Watcher).map(|(peer, _)| peer).collect()
}

#[test]
fn who_has_to_look_is_drawn_of_those_that_read_nothing() {
    // The first one reads, and all of a small file: it would have nothing to look at.
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut home = Swarm::new(ranked(1)[0], LINE, Weight::STEADY, seed);
        let mut told = Vec::new();
        for n in 10..14 {
            told.extend(watches(&said(&say(&mut home, ms(1), peer(n), join(&[], 4, vec![])))));
            let first = told.first().map(|(_, sharing): &(Peer, Sharing)| sharing.among);
            assert_eq!(first, Some(1), "one alone looks for sure without being told");
        }
        told.extend(watches(&said(&pass(&mut home, ms(1) + SAFETY_PASS * 2))));
        drawn.extend(watcher(&told));
        assert_eq!(watcher(&told).len(), 1, "{told:?}");
    }
    assert!(!drawn.contains(&peer(10)) && drawn.len() > 1, "{drawn:?}");
}

#[test]
fn one_that_has_read_all_of_it_itself_does_not_count_as_having_looked() {
    let (reader, others) = (peer(10), [peer(11), peer(12), peer(13)]);
    let mut home = home_with(&[reader], 1);
    let tag = content(1).tag();
    let mut told = Vec::new();
    for other in others {
        told.extend(watches(&said(&say(&mut home, ms(1), other, join(&[], 1, vec![])))));
    }
    told.extend(watches(&said(&pass(&mut home, ms(1) + SAFETY_PASS * 2))));
    let appointed = watcher(&told)[0];
    // The reader is gone, and the one that has to look has the longest part: it reads the rest.
    home.handle_peer_down(ms(2000), reader);
    effects(&mut home);
    let source = Some(PeerTag::of(&reader));
    say(
        &mut home,
        ms(2000),
        appointed,
        Say::Fail { content: tag, segment: 0, source, reason: FailReason::Dead, prefix: 8 },
    );
    let later = said(&pass(&mut home, ms(2000) + ORPHAN_HOLD + SAFETY_PASS));
    assert!(matches!(items(&later, appointed)[..], [Item::Lease { .. }]), "{later:?}");
    let mut told = watches(&later);
    let done = Say::Done { content: tag, segments: vec![0] };
    told.extend(watches(&said(&say(&mut home, ms(4000), appointed, done))));
    told.extend(watches(&said(&pass(&mut home, ms(4000) + SAFETY_PASS * 2))));
    let next = watcher(&told);
    assert!(next.iter().any(|peer| *peer != appointed && others.contains(peer)), "{told:?}");
}

#[test]
fn who_has_all_of_it_hears_when_nobody_lacks_anything() {
    let (one, other) = (peer(10), peer(11));
    let mut home = home_with(&[one, other], 1);
    let tag = content(1).tag();
    let done = |segments| Say::Done { content: tag, segments };
    say(&mut home, ms(20), one, done(vec![0]));
    let early = watches(&said(&pass(&mut home, ms(20) + SAFETY_PASS * 2)));
    assert!(early.iter().all(|(_, sharing)| sharing.among == 1), "{early:?}");
    say(&mut home, ms(20) + SAFETY_PASS * 2, other, done(vec![0]));
    let late = watches(&said(&pass(&mut home, ms(20) + SAFETY_PASS * 4)));
    let told: Vec<Peer> = late.iter().filter(|(_, sharing)| sharing.among == 0).map(|(peer, _)| *peer).collect();
    assert!(told.contains(&one) && told.contains(&other), "{late:?}");
}

#[test]
fn a_member_that_names_thousands_of_others_keeps_nobody_out() {
    let mut home = home_with(&[peer(10)], 8);
    for round in 0..3_u32 {
        let named = |n: u32| Peer(*blake3::hash(&(round << 16 | n).to_le_bytes()).as_bytes());
        for first in (0..MEMBERS as u32).step_by(8) {
            let flows =
                (0..8).map(|s| JoinFlow { segment: s, source: JoinSource::Member(named(first + s)), prefix: 0 });
            say(&mut home, ms(2), peer(10), join(&[], 8, flows.collect()));
        }
    }
    let later = ms(2) + TAKE_OVER_GRACE + SAFETY_PASS * 4;
    pass(&mut home, later);
    let said = said(&say(&mut home, later, peer(11), join(&[], 8, vec![])));
    assert!(said.iter().any(|(to, say)| *to == peer(11) && matches!(say, Say::Assign { .. })), "{said:?}");
}

#[test]
fn all_homes_of_a_node_together_remember_no_more_than_they_may() {
    let mut home = home_with(&[peer(10)], 8);
    let mut refused = 0;
    for n in 0..2000_u64 {
        let vast = Content {
            key: LookupKey(*blake3::hash(&n.to_le_bytes()).as_bytes()),
            length: 1 << 38,
            reading: Reading::Ranges,
        };
        let have = Bits::none(vast.geometry().map_or(0, |geometry| geometry.segment_count()));
        let (wants, flows, lost, asked) = (Some(Order::Rarest), vec![], vec![], 0);
        let join = Join { content: vast, link: LINE, wants, have, flows, lost, asked };
        let message = Message { origin: OriginKey(n % 50), say: Say::Join(Box::new(join)) };
        home.handle_message(ms(2), peer(10), message);
        refused += said(&effects(&mut home)).iter().filter(|(_, say)| *say == Say::NotHome).count();
    }
    assert!(refused > 1000, "{refused} of 2000 contents of 2^38 bytes are not remembered");
    // What the node takes itself it has a place for: its own home is the only one that it would ask.
    let own = Content { key: LookupKey([1; 32]), ..content(8) };
    home.start(ms(3), ORIGIN, own, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    assert_eq!(home.glance(own.tag()).and_then(|glance| glance.others), Some(0));
}
