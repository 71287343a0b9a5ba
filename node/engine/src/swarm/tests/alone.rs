//! A member that shares a content with nobody is served as if there were no swarm.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// The runs that a member is sent to one source for.
fn runs(told: &[Effect], to: Peer, from: Peer) -> Vec<std::ops::Range<u32>> {
    let runs = items(&said(told), to).into_iter().map(|item| match item {
        Item::Held { segments, source } if source == PeerTag::of(&from) => segments,
        other => panic!("{other:?}"),
    });
    runs.collect()
}

/// A home, somebody who holds so many segments, and what somebody is told who joins alone.
fn warm(segments: u64, holder: Peer, one: Peer) -> (Swarm, Vec<Effect>) {
    let mut home = home_with(&[], segments);
    let all: Vec<u32> = (0..segments as u32).collect();
    say(&mut home, ms(1), holder, join(&all, segments, vec![]));
    let told = say(&mut home, ms(1), one, join(&[], segments, vec![]));
    (home, told)
}

fn done(segments: u64, of: std::ops::Range<u32>) -> Say {
    Say::Done { content: content(segments).tag(), segments: of.collect() }
}

#[test]
fn who_takes_alone_what_somebody_holds_takes_it_in_long_runs_and_in_order() {
    let (holder, one) = (peer(10), peer(11));
    let mut home = home_with(&[], 100);
    let all: Vec<u32> = (0..100).collect();
    say(&mut home, ms(1), holder, join(&all, 100, vec![]));
    // It was begun before: nobody comes a moment later who would begin with it.
    let told = say(&mut home, ms(1), one, join(&all[..15], 100, vec![]));
    // A line of 1 Gbit/s carries 60 segments in half a second.
    assert_eq!(runs(&told, one, holder), vec![15..30, 30..45, 45..60, 60..75]);
    let told = say(&mut home, ms(100), one, done(100, 15..19));
    assert_eq!(runs(&told, one, holder), vec![], "a moment later it is a whole run");
    let told = say(&mut home, ms(200), one, done(100, 19..30));
    assert_eq!(runs(&told, one, holder), vec![75..90]);
    let told = say(&mut home, ms(300), one, done(100, 30..75));
    assert_eq!(runs(&told, one, holder), vec![90..100], "and the rest");
}

#[test]
fn who_comes_first_leaves_nearly_all_to_those_who_come_a_moment_later_and_takes_more_the_more_it_has() {
    let (holder, one) = (peer(10), peer(11));
    let (mut home, told) = warm(100, holder, one);
    assert_eq!(runs(&told, one, holder), vec![0..1, 1..2]);
    let told = say(&mut home, ms(10), one, done(100, 0..2));
    assert_eq!(runs(&told, one, holder), vec![2..5, 5..8, 8..11, 11..14]);
    let told = say(&mut home, ms(20), one, done(100, 2..14));
    assert_eq!(runs(&told, one, holder), vec![14..29, 29..44, 44..59, 59..74]);
}

#[test]
fn first_copies_of_what_one_alone_has_are_spread_over_all_that_take_it() {
    let holder = peer(10);
    let mut home = home_with(&[], 100);
    let all: Vec<u32> = (0..100).collect();
    say(&mut home, ms(1), holder, join(&all, 100, vec![]));
    let takers: Vec<Peer> = (11..27).map(peer).collect();
    let mut under_way: BTreeMap<Peer, Vec<u32>> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    // What each was sent to the holder for as the first one.
    let mut note = |under_way: &mut BTreeMap<Peer, Vec<u32>>, told: &[Effect]| {
        let said = said(told);
        for taker in &takers {
            let from_holder = items(&said, *taker).into_iter().flat_map(|item| match item {
                Item::Held { segments, source } if source == PeerTag::of(&holder) => segments.take(1).collect(),
                Item::From { segment, source } if source == PeerTag::of(&holder) => vec![segment],
                _ => Vec::new(),
            });
            under_way.entry(*taker).or_default().extend(from_holder.filter(|segment| begun.insert(*segment)));
        }
    };
    for taker in &takers {
        // Nobody knows what its line carries, so that twelve flows fill a window.
        let Say::Join(mut join) = join(&[], 100, vec![]) else { unreachable!() };
        join.link = Link { up: 0, down: 0, ..LINE };
        let told = say(&mut home, ms(2), *taker, Say::Join(join));
        note(&mut under_way, &told);
    }
    // The first of them came alone; nobody took all of them.
    let most = |under_way: &BTreeMap<Peer, Vec<u32>>| under_way.values().map(Vec::len).max();
    let told = pass(&mut home, ms(8));
    note(&mut under_way, &told);
    let count = |under_way: &BTreeMap<Peer, Vec<u32>>| under_way.values().map(Vec::len).sum::<usize>();
    assert_eq!((most(&under_way), count(&under_way)), (Some(2), FIRST_COPIES as usize), "{under_way:?}");
    // One that has two finishes one: somebody begins another at once, though all windows are full; not when all are looked after.
    let hog = takers[0];
    let segment = under_way.get_mut(&hog).and_then(Vec::pop).unwrap();
    let one = Say::Done { content: content(100).tag(), segments: vec![segment] };
    let told = [say(&mut home, ms(10), hog, one), pass(&mut home, ms(10) + COLLECT_MIDST)].concat();
    assert!(ms(10) + COLLECT_MIDST < SAFETY_PASS);
    note(&mut under_way, &told);
    assert_eq!((under_way[&hog].len(), count(&under_way)), (1, FIRST_COPIES as usize), "{under_way:?}");
    let mut now = ms(10) + COLLECT_MIDST;
    for _ in 0..4 {
        for taker in &takers {
            now += COLLECT_MIDST;
            let Some(segment) = under_way.get_mut(taker).and_then(Vec::pop) else { continue };
            let one = Say::Done { content: content(100).tag(), segments: vec![segment] };
            let told = [say(&mut home, now, *taker, one), pass(&mut home, now + COLLECT_MIDST)].concat();
            note(&mut under_way, &told);
        }
    }
    let begun: Vec<usize> = under_way.values().map(Vec::len).filter(|begun| *begun > 0).collect();
    assert!(begun.len() + 1 >= FIRST_COPIES as usize && begun.iter().all(|begun| *begun == 1), "{under_way:?}");
}

#[test]
fn when_a_second_one_comes_the_two_take_from_each_other() {
    let (holder, one, other) = (peer(10), peer(11), peer(12));
    let (mut home, _) = warm(100, holder, one);
    let told = items(&said(&say(&mut home, ms(50), other, join(&[], 100, vec![]))), other);
    assert!(!told.is_empty() && told.iter().all(|item| matches!(item, Item::From { .. })), "{told:?}");
    let from_one = told.iter().filter(|item| matches!(item, Item::From { source, .. } if *source == PeerTag::of(&one)));
    assert!(from_one.count() > 0, "{told:?}");
    let told = items(&said(&say(&mut home, ms(200), one, done(100, 0..15))), one);
    assert!(told.iter().all(|item| matches!(item, Item::From { .. })), "{told:?}");
}

#[test]
fn what_its_holder_does_not_have_after_all_is_read_at_once_by_who_takes_it_alone() {
    let (holder, one) = (peer(10), peer(11));
    let (mut home, _) = warm(4, holder, one);
    let source = Some(PeerTag::of(&holder));
    let fail = |reason| Say::Fail { content: content(4).tag(), segment: 1, source, reason, prefix: 3 };
    let told = items(&said(&say(&mut home, ms(50), one, fail(FailReason::Lacking))), one);
    assert!(matches!(&told[..], [Item::Lease { segments, .. }, ..] if *segments == (1..2)), "{told:?}");
    // A holder that is only busy keeps what it has.
    let (mut home, _) = warm(4, holder, one);
    say(&mut home, ms(50), one, fail(FailReason::Refused));
    let told = items(&said(&pass(&mut home, ms(50) + RESCUE - ms(1))), one);
    assert!(!told.iter().any(|item| matches!(item, Item::Lease { .. })), "{told:?}");
    let told = items(&said(&pass(&mut home, ms(50) + RESCUE + SAFETY_PASS)), one);
    assert!(matches!(&told[..], [Item::Held { segments, .. }] if *segments == (1..2)), "it is asked again: {told:?}");
}

#[test]
fn a_holder_that_falls_silent_costs_who_takes_alone_no_more_than_finding_that_out() {
    let (holder, one) = (peer(10), peer(11));
    let (mut home, _) = warm(4, holder, one);
    let source = Some(PeerTag::of(&holder));
    let mut told = Vec::new();
    for segment in 0..4 {
        let fail = Say::Fail { content: content(4).tag(), segment, source, reason: FailReason::Stalled, prefix: 0 };
        told.extend(items(&said(&say(&mut home, ms(900), one, fail)), one));
    }
    let leased: Vec<_> = told.into_iter().map(|item| matches!(item, Item::Lease { .. })).collect();
    assert_eq!(leased, vec![true; 4]);
}

#[test]
fn segments_that_come_by_one_request_wait_for_each_other() {
    let ranked = ranked(2);
    let (home, tag) = (ranked[0], content(4).tag());
    let mut member = node(ranked[1], &ranked[..1], 4);
    effects(&mut member);
    let items = vec![Item::Held { segments: 0..4, source: PeerTag::of(&home) }];
    let begun = say(&mut member, ms(1), home, Say::Assign { content: tag, collect: ms(20), items });
    assert_eq!(begun, vec![Effect::Fetch { source: home, content: tag, segments: 0..4, from: 0 }]);
    let fails = |done: &[Effect]| {
        let told = said(done);
        let failed = told.iter().filter_map(|(_, say)| match say {
            Say::Fail { segment, .. } => Some(*segment),
            _ => None,
        });
        failed.collect::<Vec<_>>()
    };
    // A slow line: the first ones take longer than a source may be silent about the last.
    let (mut now, step) = (ms(1), SILENCE * 4 / 5);
    for block in 0..20 {
        now += step;
        assert_eq!(fails(&pass(&mut member, now)), vec![], "after {now:?}");
        member.handle_blocks(now, tag, block / 16, block % 16 + 1);
        assert_eq!(fails(&effects(&mut member)), vec![]);
    }
    assert!(now > SILENCE_MOST);
    // Then it falls silent, about all of them at once; its home is there all the time.
    let until = now + SILENCE_MOST;
    let mut failed = Vec::new();
    while failed.is_empty() && now < until {
        now += JOIN_PROBE / 2;
        failed = fails(&pass(&mut member, now));
        say(&mut member, now, home, Say::Assign { content: tag, collect: ms(20), items: Vec::new() });
    }
    assert_eq!(failed, vec![1, 2, 3]);
}

#[test]
fn a_home_that_names_a_long_run_is_obeyed_for_its_beginning() {
    let ranked = ranked(2);
    let tag = content(2000).tag();
    let mut member = node(ranked[1], &ranked[..1], 2000);
    effects(&mut member);
    let items = vec![Item::Held { segments: 100..2000, source: PeerTag::of(&ranked[0]) }];
    let begun = say(&mut member, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items });
    let Effect::Fetch { segments, .. } = &begun[0] else { panic!("{begun:?}") };
    let blocks =
        content(2000).geometry().map(|g| g.blocks_of_segment(segments.end - 1).end - g.blocks_of_segment(100).start);
    assert_eq!((begun.len(), segments.start), (1, 100));
    assert!(blocks.is_some_and(|blocks| u64::from(blocks) * eddy_content::BLOCK_SIZE <= RUN_BYTES), "{segments:?}");
}

#[test]
fn a_home_that_holds_what_somebody_asks_for_is_its_source_until_it_holds_it_no_more() {
    let (one, tag) = (peer(11), content(4).tag());
    for others in [vec![], vec![peer(12)]] {
        let mut home = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
        others.iter().for_each(|other| home.handle_peer_up(Duration::ZERO, *other, Weight::STEADY));
        // It was fetched before there was anybody else, or before a restart.
        home.start(Duration::ZERO, ORIGIN, content(4), Bits::all(4), None);
        let told = [say(&mut home, ms(1), one, join(&[], 4, vec![])), pass(&mut home, ms(1) + ACTIVATION)].concat();
        assert_eq!(runs(&told, one, peer(0)), vec![0..1, 1..2]);
        home.leave(ms(60), tag);
        let told = [effects(&mut home), pass(&mut home, ms(60) + ORPHAN_HOLD + SAFETY_PASS)].concat();
        let told = items(&said(&told), one);
        assert!(!told.is_empty() && told.iter().all(|item| matches!(item, Item::Lease { .. })), "{told:?}");
    }
}

#[test]
fn a_run_counts_at_its_source_until_its_last_segment_is_there() {
    // Else a holder would be thought free while its line is full: then others are sent to it as if nobody took anything.
    let (holder, one) = (peer(10), peer(11));
    let mut home = home::Home::new(peer(0), ms(0), 1, home::Succession::First);
    let joins = |segments: std::ops::Range<u32>| {
        let Say::Join(join) = join(&segments.collect::<Vec<_>>(), 30, vec![]) else { unreachable!() };
        *join
    };
    assert!(home.enter(ms(1), holder, joins(0..30), BTreeSet::new()));
    assert!(home.enter(ms(1), one, joins(0..15), BTreeSet::new()));
    for segment in 15..29 {
        let before = home.requests_to(&holder);
        home.on_say(ms(10), one, done(30, segment..segment + 1));
        assert_eq!((before, home.requests_to(&holder)), (Some(1), Some(1)), "segment {segment}");
    }
    home.on_say(ms(10), one, done(30, 29..30));
    assert_eq!(home.requests_to(&holder), Some(0));
}

#[test]
fn what_one_said_that_was_alone_is_not_held_against_a_holder_when_the_next_one_comes() {
    let (holder, liar, next) = (peer(10), peer(11), peer(12));
    let (mut home, _) = warm(4, holder, liar);
    let source = Some(PeerTag::of(&holder));
    for segment in 0..4 {
        let fail = Say::Fail { content: content(4).tag(), segment, source, reason: FailReason::Lacking, prefix: 0 };
        say(&mut home, ms(50), liar, fail);
    }
    say(&mut home, ms(60), liar, Say::Leave { content: content(4).tag() });
    let joined = say(&mut home, ms(100), next, join(&[], 4, vec![]));
    assert!(said(&joined).contains(&(holder, Say::Query { content: content(4) })), "{joined:?}");
    assert_eq!(items(&said(&joined), next), vec![], "nobody reads before it has answered");
    let holdings = Some(Box::new(Holdings { link: LINE, have: Bits::all(4), flows: vec![] }));
    let answer = Say::HaveAny { content: content(4).tag(), role: Role::Plain, holdings };
    let told = [say(&mut home, ms(101), holder, answer), pass(&mut home, ms(101) + ACTIVATION)].concat();
    assert_eq!(runs(&told, next, holder), vec![0..1, 1..2]);
}

#[test]
fn who_does_not_answer_when_it_was_doubted_is_waited_for_no_longer_than_others() {
    let (holder, one, next) = (peer(10), peer(11), peer(12));
    let (mut home, _) = warm(1, holder, one);
    let source = Some(PeerTag::of(&holder));
    let fail = Say::Fail { content: content(1).tag(), segment: 0, source, reason: FailReason::Lacking, prefix: 0 };
    say(&mut home, ms(50), one, fail);
    say(&mut home, ms(60), one, Say::Leave { content: content(1).tag() });
    say(&mut home, ms(100), next, join(&[], 1, vec![]));
    let told = items(&said(&pass(&mut home, ms(60) + ORPHAN_HOLD + SAFETY_PASS)), next);
    assert!(matches!(told[..], [Item::Lease { .. }]), "{told:?}");
}
