//! Whom a home believes about what an origin serves, and how long a stream may stand still.

use super::streams::unsaid;
use super::*;
use std::ops::Range;

/// A JOIN for eight segments of somebody who says this of the origin.
fn join_with(reading: Reading, flows: Vec<JoinFlow>) -> Say {
    let Say::Join(join) = join(&[], 8, flows) else { unreachable!() };
    Say::Join(Box::new(Join { content: Content { reading, ..content(8) }, ..*join }))
}

/// The first segment, read under a lease that another home gave.
fn reads_first(lease: u64) -> Vec<JoinFlow> {
    vec![JoinFlow { segment: 0, source: JoinSource::Origin(LeaseId(lease)), prefix: 0 }]
}

fn leases(said: &[(Peer, Say)], to: Peer) -> Vec<(LeaseId, std::ops::Range<u32>)> {
    let leases = items(said, to).into_iter().filter_map(|item| match item {
        Item::Lease { lease, segments } => Some((lease, segments)),
        Item::From { .. } | Item::Held { .. } => None,
    });
    leases.collect()
}

/// A home whose one reader reads ranges under [`LEASES`] leases.
fn ranged(reader: Peer) -> (Swarm, Vec<(LeaseId, std::ops::Range<u32>)>) {
    let mut home = home_with(&[], 8);
    let given = leases(&said(&say(&mut home, ms(1), reader, join(&[], 8, vec![]))), reader);
    assert_eq!(given.len(), LEASES as usize);
    (home, given)
}

/// Whether the reader, which has read segment 0, or the other one gets a lease of the next range.
fn goes_on_in_ranges(home: &mut Swarm, reader: Peer, other: Peer) -> bool {
    let done = Say::Done { content: content(8).tag(), segments: vec![0] };
    let told = said(&say(home, ms(50), reader, done));
    let given = [leases(&told, reader), leases(&told, other)].concat();
    given.len() == 1 && given[0].1 == (4..5)
}

#[test]
fn a_joining_member_that_speaks_of_a_stream_ends_no_lease() {
    let (reader, liar) = (peer(10), peer(11));
    let (mut home, _) = ranged(reader);
    let told = said(&say(&mut home, ms(2), liar, join_with(Reading::Stream, reads_first(99))));
    assert_eq!((leases(&told, reader), leases(&told, liar)), (vec![], vec![]), "{told:?}");
    assert!(goes_on_in_ranges(&mut home, reader, liar));
}

#[test]
fn who_holds_no_lease_is_not_believed_about_what_the_origin_serves() {
    let (reader, liar) = (peer(10), peer(11));
    let (mut home, given) = ranged(reader);
    say(&mut home, ms(2), liar, join(&[], 8, vec![]));
    for lease in [given[0].0, given[3].0, LeaseId(0), LeaseId(u64::MAX)] {
        let lie = Say::Offers { content: content(8).tag(), lease, reading: Reading::Stream };
        let told = said(&say(&mut home, ms(3), liar, lie));
        assert_eq!((leases(&told, reader), leases(&told, liar)), (vec![], vec![]), "{told:?}");
    }
    assert!(goes_on_in_ranges(&mut home, reader, liar));
    // Who holds it is.
    let seen = Say::Offers { content: content(8).tag(), lease: given[1].0, reading: Reading::Stream };
    let told = said(&say(&mut home, ms(60), reader, seen));
    let streams = [leases(&told, reader), leases(&told, liar)].concat();
    assert_eq!(streams.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![1..8], "one reads it");
}

#[test]
fn what_an_answer_shows_counts_more_than_what_a_member_has_heard() {
    let mut home = unsaid(Reading::Unknown);
    let other = peer(11);
    let lease = reads(&effects(&mut home))[0].0;
    home.handle_peer_up(ms(1), other, Weight::STEADY);
    let mut done = say(&mut home, ms(1), other, join_with(Reading::Stream, vec![]));
    assert!(reads(&done).is_empty() && leases(&said(&done), other).is_empty(), "{done:?}");
    home.handle_reading(ms(2), content(8).tag(), lease, Reading::Ranges);
    done = effects(&mut home);
    let own = reads(&done).into_iter().map(|(_, segments)| segments.start);
    let mut begun: Vec<u32> = leases(&said(&done), other).iter().map(|(_, segments)| segments.start).collect();
    begun.extend(own);
    begun.sort_unstable();
    assert_eq!(begun, vec![1, 2, 3]);
}

/// A home of a stream, its reader, which has taken the lease with it, and somebody who waits.
fn streaming(reader: Peer, child: Peer) -> Swarm {
    let mut home = home_with(&[], 8);
    say(&mut home, ms(1), reader, join_with(Reading::Stream, reads_first(9)));
    let told = said(&say(&mut home, ms(1), child, join_with(Reading::Stream, vec![])));
    assert!(items(&told, child).contains(&Item::From { segment: 0, source: PeerTag::of(&reader) }), "{told:?}");
    home
}

#[test]
fn a_stream_that_stands_still_is_given_to_somebody_else() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = streaming(reader, child);
    let tag = content(8).tag();
    let source = Some(PeerTag::of(&reader));
    let starves = Say::Fail { content: tag, segment: 0, source, reason: FailReason::Starved, prefix: 0 };
    for second in 1..STREAM_SILENCE.as_secs() {
        let now = Duration::from_secs(second);
        let mut told = said(&pass(&mut home, now));
        // That it is still there is no progress, and that it starves blames nobody.
        told.extend(said(&say(&mut home, now, reader, Say::Progress { lease: LeaseId(9), bytes: 0 })));
        told.extend(said(&say(&mut home, now, child, starves.clone())));
        assert_eq!(leases(&told, child), vec![], "after {now:?}");
    }
    let told = said(&pass(&mut home, ms(1) + STREAM_SILENCE + SAFETY_PASS));
    let given = leases(&told, child);
    assert_eq!(given.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..8], "{told:?}");
    // What the old reader says counts no more.
    let late = Say::Offers { content: tag, lease: LeaseId(9), reading: Reading::Stream };
    assert_eq!(say(&mut home, STREAM_SILENCE + SAFETY_PASS * 2, reader, late), vec![]);
}

#[test]
fn a_stream_that_moves_is_left_to_its_reader_also_while_it_skips() {
    let (reader, child) = (peer(10), peer(11));
    let progress = |count: u64| Say::Progress { lease: LeaseId(9), bytes: count << 16 };
    let skips = |_: u64| Say::Offers { content: content(8).tag(), lease: LeaseId(9), reading: Reading::Stream };
    for sign in [&progress as &dyn Fn(u64) -> Say, &skips] {
        let mut home = streaming(reader, child);
        let mut now = ms(1);
        for count in 1..6 {
            now += STREAM_SILENCE - ms(1);
            let mut told = said(&pass(&mut home, now));
            told.extend(said(&say(&mut home, now, reader, sign(count))));
            assert_eq!(leases(&told, child), vec![], "after {now:?}");
        }
        assert_eq!(leases(&said(&pass(&mut home, now + STREAM_SILENCE + SAFETY_PASS)), child).len(), 1);
    }
}

#[test]
fn a_reader_says_that_its_stream_moves_while_nothing_of_it_is_lacking() {
    let ranked = ranked(2);
    let tag = content(8).tag();
    for reading in [Reading::Stream, Reading::Ranges] {
        let mut member = Swarm::new(ranked[1], LINE, Weight::STEADY, 1);
        member.handle_peer_up(Duration::ZERO, ranked[0], Weight::STEADY);
        let wants = Some((Order::Rarest, Patience::Foreground));
        member.start(Duration::ZERO, ORIGIN, Content { reading, ..content(8) }, Bits::none(8), wants);
        effects(&mut member);
        let items = vec![Item::Lease { lease: LeaseId(3), segments: 0..8 }];
        say(&mut member, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items });
        let offers = |told: &[(Peer, Say)]| {
            let offers = Say::Offers { content: tag, lease: LeaseId(3), reading: Reading::Stream };
            told.iter().filter(|(to, say)| (to, say) == (&ranked[0], &offers)).count()
        };
        member.handle_moves(ms(400), tag, LeaseId(3));
        let told = said(&pass(&mut member, ms(400) + PROGRESS + WATCH));
        assert_eq!(offers(&told), usize::from(reading == Reading::Stream), "{told:?}");
        let told = said(&pass(&mut member, ms(400) + PROGRESS * 4));
        assert_eq!(offers(&told), 0, "nothing more came: {told:?}");
    }
}

#[test]
fn a_line_on_which_a_block_takes_longer_than_a_silence_is_not_given_up_while_bytes_come() {
    let ranked = ranked(2);
    let tag = content(8).tag();
    let mut member = Swarm::new(ranked[1], LINE, Weight::STEADY, 1);
    member.handle_peer_up(Duration::ZERO, ranked[0], Weight::STEADY);
    let wants = Some((Order::Rarest, Patience::Foreground));
    member.start(Duration::ZERO, ORIGIN, content(8), Bits::none(8), wants);
    effects(&mut member);
    let items = vec![Item::Lease { lease: LeaseId(3), segments: 0..1 }];
    say(&mut member, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items });
    let stops = |told: &[Effect]| told.iter().filter(|effect| matches!(effect, Effect::StopReading { .. })).count();
    let mut at = ms(1);
    while at < ms(1) + ORIGIN_SILENCE * 3 {
        at += ms(1000);
        member.handle_moves(at, tag, LeaseId(3));
        assert_eq!(stops(&pass(&mut member, at)), 0, "after {at:?}");
    }
    assert_eq!(stops(&pass(&mut member, at + ORIGIN_SILENCE + WATCH * 2)), 1, "nothing came any more");
}

#[test]
fn nobody_has_read_more_than_there_is() {
    let reader = peer(10);
    let (mut home, given) = ranged(reader);
    for (lease, _) in given {
        say(&mut home, ms(20), reader, Say::Progress { lease, bytes: u64::MAX });
    }
    assert!(goes_on_in_ranges(&mut home, reader, peer(11)));
}

/// Lets a reader say for so many seconds that it gets on, and the one who waits how much it has; whether that one gets the stream.
fn is_passed_on(
    home: &mut Swarm,
    (reader, child): (Peer, Peer),
    seconds: Range<u64>,
    blocks: impl Fn(u64) -> u32,
) -> bool {
    let tag = content(8).tag();
    let mut told = Vec::new();
    for second in seconds {
        let now = Duration::from_secs(second);
        told.extend(said(&pass(home, now)));
        told.extend(said(&say(home, now, reader, Say::Progress { lease: LeaseId(9), bytes: second << 16 })));
        let skips = Say::Offers { content: tag, lease: LeaseId(9), reading: Reading::Stream };
        told.extend(said(&say(home, now, reader, skips)));
        told.extend(said(&say(home, now, child, Say::Reached { content: tag, blocks: blocks(second) })));
    }
    !leases(&told, child).is_empty()
}

/// A home of a stream, its reader, and two who wait, each of which takes all from the one that is named.
fn chained((reader, one, other): (Peer, Peer, Peer), source_of_other: Peer) -> Swarm {
    let mut home = home_with(&[], 8);
    let all_from = |source| {
        let flows = (0..8).map(|segment| JoinFlow { segment, source: JoinSource::Member(source), prefix: 0 });
        join_with(Reading::Stream, flows.collect())
    };
    say(&mut home, ms(1), reader, join_with(Reading::Stream, reads_first(9)));
    say(&mut home, ms(1), one, all_from(reader));
    say(&mut home, ms(1), other, all_from(source_of_other));
    home
}

/// Lets these say for so many seconds that they have nothing more while the reader says that it gets on; what all are told meanwhile.
fn complain(home: &mut Swarm, reader: Peer, waiting: &[Peer], seconds: Range<u64>) -> Vec<(Peer, Say)> {
    let tag = content(8).tag();
    let mut told = Vec::new();
    for second in seconds {
        let now = Duration::from_secs(second);
        told.extend(said(&pass(home, now)));
        told.extend(said(&say(home, now, reader, Say::Progress { lease: LeaseId(9), bytes: second << 16 })));
        for waiting in waiting {
            told.extend(said(&say(home, now, *waiting, Say::Reached { content: tag, blocks: 0 })));
        }
    }
    told
}

#[test]
fn a_reader_that_only_says_it_reads_loses_the_stream_to_who_has_nothing_of_it() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = streaming(reader, child);
    let patience = STREAM_UNCHECKED.as_secs();
    assert!(!is_passed_on(&mut home, (reader, child), 1..patience, |_| 0), "an honest one needs its time");
    assert!(is_passed_on(&mut home, (reader, child), patience..patience + 3, |_| 0));
}

#[test]
fn two_who_take_it_from_the_reader_and_get_nothing_are_believed() {
    let (reader, one, other) = (peer(10), peer(11), peer(12));
    let mut home = chained((reader, one, other), reader);
    let patience = STREAM_UNCHECKED.as_secs();
    let told = complain(&mut home, reader, &[one, other], 1..patience + 3);
    let given = [leases(&told, one), leases(&told, other)].concat();
    assert_eq!(given.iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..8], "one reads for all");
    assert_eq!(home.tally().leases, 1, "and its old reader does no more");
}

#[test]
fn one_who_only_says_that_nothing_comes_takes_the_stream_from_nobody_and_reads_for_itself() {
    let (reader, liar) = (peer(10), peer(11));
    let mut home = streaming(reader, liar);
    let told = complain(&mut home, reader, &[liar], 1..STREAM_UNCHECKED.as_secs() + 3);
    assert_eq!(leases(&told, liar).iter().map(|(_, segments)| segments.clone()).collect::<Vec<_>>(), vec![0..8]);
    assert_eq!(home.tally().leases, 2, "the reader reads on");
    // Whoever comes later takes it from the reader.
    let third = said(&say(&mut home, Duration::from_secs(30), peer(12), join_with(Reading::Stream, vec![])));
    let sources = items(&third, peer(12)).into_iter().filter(|item| matches!(item, Item::From { .. })).count();
    assert!(sources > 0 && leases(&third, peer(12)).is_empty(), "{third:?}");
    // When it has all of it, nothing is left of that.
    let segments = (0..8).collect();
    say(&mut home, Duration::from_secs(31), liar, Say::Done { content: content(8).tag(), segments });
    assert_eq!(home.tally().leases, 1);
}

#[test]
fn one_who_holds_others_up_does_not_speak_for_them() {
    let (reader, liar, behind) = (peer(10), peer(11), peer(12));
    let mut home = chained((reader, liar, behind), liar);
    let patience = STREAM_UNCHECKED.as_secs();
    let told = complain(&mut home, reader, &[liar, behind], 1..patience + 3);
    assert_eq!([leases(&told, liar), leases(&told, behind)], [vec![], vec![]], "it is one word and not two");
    let moved = Item::From { segment: 0, source: PeerTag::of(&reader) };
    assert!(items(&told, behind).contains(&moved), "it is sent to the reader itself: {told:?}");
    // Where that brings it nothing either there are two.
    let told = complain(&mut home, reader, &[liar, behind], patience + 3..patience * 2 + 8);
    assert_eq!([leases(&told, liar), leases(&told, behind)].concat().len(), 1, "{told:?}");
}

#[test]
fn a_home_that_reads_a_stream_itself_needs_nobodys_word_for_it() {
    let mut home = unsaid(Reading::Stream);
    let (tag, liar) = (content(8).tag(), peer(11));
    assert_eq!(reads(&effects(&mut home)).len(), 1);
    home.handle_peer_up(ms(1), liar, Weight::STEADY);
    let mut done = say(&mut home, ms(1), liar, join_with(Reading::Stream, vec![]));
    for second in 1..=STREAM_UNCHECKED.as_secs() * 3 {
        let now = Duration::from_secs(second);
        home.handle_blocks(now, tag, (second / 16) as u32, (second % 16) as u32 + 1);
        done.extend(pass(&mut home, now));
        done.extend(say(&mut home, now, liar, Say::Reached { content: tag, blocks: 0 }));
    }
    assert_eq!(leases(&said(&done), liar), vec![]);
    assert!(!done.iter().any(|effect| matches!(effect, Effect::StopReading { .. })), "{done:?}");
}

#[test]
fn a_reader_that_boasts_leaves_the_next_one_its_time_to_pass_over_what_is_there() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[], 8);
    let with_six = |flows| {
        let Say::Join(join) = join(&[0, 1, 2, 3, 4, 5], 8, flows) else { unreachable!() };
        Say::Join(Box::new(Join { content: Content { reading: Reading::Stream, ..content(8) }, ..*join }))
    };
    let reads = |id| vec![JoinFlow { segment: 6, source: JoinSource::Origin(LeaseId(id)), prefix: 0 }];
    say(&mut home, ms(1), reader, with_six(reads(9)));
    // It says that it brings the whole of it in a second, several times, and is gone.
    for second in 1..4 {
        say(&mut home, Duration::from_secs(second), reader, Say::Progress { lease: LeaseId(9), bytes: second << 23 });
        pass(&mut home, Duration::from_secs(second) + ms(999));
    }
    home.handle_peer_down(Duration::from_secs(5), reader);
    say(&mut home, Duration::from_secs(5), peer(12), with_six(reads(10)));
    say(&mut home, Duration::from_secs(5), child, with_six(vec![]));
    let borne = 5 + STREAM_UNCHECKED.as_secs() + (6 << 20) / SKIP_PACE;
    let told = complain(&mut home, peer(12), &[child], 6..borne);
    assert_eq!(leases(&told, child), vec![], "it passes over six segments");
}

#[test]
fn a_stream_that_others_have_more_and_more_of_is_left_to_its_reader() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = streaming(reader, child);
    // On a slow line: a run of four blocks takes nearly as long as is borne.
    let blocks = |second| (second / (STREAM_UNCHECKED.as_secs() - 1)) as u32 * 4;
    assert!(!is_passed_on(&mut home, (reader, child), 1..200, blocks));
    // Where nobody waits, its own word is enough.
    say(&mut home, Duration::from_secs(200), child, Say::Leave { content: content(8).tag() });
    let told = said(&pass(&mut home, Duration::from_secs(199) + STREAM_SILENCE - ms(1)));
    assert_eq!([leases(&told, reader), leases(&told, child)], [vec![], vec![]]);
}

#[test]
fn a_new_reader_has_time_to_pass_over_what_the_others_have() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[], 8);
    let with_six = |flows| {
        let Say::Join(join) = join(&[0, 1, 2, 3, 4, 5], 8, flows) else { unreachable!() };
        Say::Join(Box::new(Join { content: Content { reading: Reading::Stream, ..content(8) }, ..*join }))
    };
    let reads = vec![JoinFlow { segment: 6, source: JoinSource::Origin(LeaseId(9)), prefix: 0 }];
    say(&mut home, ms(1), reader, with_six(reads));
    say(&mut home, ms(1), child, with_six(vec![]));
    let borne = STREAM_UNCHECKED.as_secs() + (6 << 20) / SKIP_PACE;
    assert!(!is_passed_on(&mut home, (reader, child), 1..borne, |_| 96));
    assert!(is_passed_on(&mut home, (reader, child), borne..borne + 3, |_| 96));
}

#[test]
fn who_takes_a_stream_from_others_says_how_much_it_has_of_it() {
    let ranked = ranked(3);
    let tag = content(8).tag();
    for (reading, tells) in [(Reading::Stream, true), (Reading::Unknown, true), (Reading::Ranges, false)] {
        let mut member = Swarm::new(ranked[2], LINE, Weight::STEADY, 1);
        ranked[..2].iter().for_each(|other| member.handle_peer_up(Duration::ZERO, *other, Weight::STEADY));
        let wants = Some((Order::Rarest, Patience::Foreground));
        member.start(Duration::ZERO, ORIGIN, Content { reading, ..content(8) }, Bits::none(8), wants);
        effects(&mut member);
        let assign = |items| Say::Assign { content: tag, collect: ms(20), items };
        let item = Item::From { segment: 0, source: PeerTag::of(&ranked[1]) };
        say(&mut member, ms(1), ranked[0], assign(vec![item]));
        for block in 1..=20 {
            member.handle_blocks(
                ms(10 * u64::from(block)),
                tag,
                block / 17,
                if block < 17 { block } else { block - 16 },
            );
        }
        let reached = |told: Vec<(Peer, Say)>| {
            let told = told.into_iter().filter(|(to, say)| *to == ranked[0] && matches!(say, Say::Reached { .. }));
            told.map(|(_, say)| say).collect::<Vec<_>>()
        };
        let told = reached(said(&pass(&mut member, REACHED + WATCH)));
        assert_eq!(told, vec![Say::Reached { content: tag, blocks: 20 }; usize::from(tells)], "{reading:?}");
        // Who reads it has no say in the matter.
        say(&mut member, REACHED + WATCH, ranked[0], assign(vec![Item::Lease { lease: LeaseId(3), segments: 2..8 }]));
        assert_eq!(reached(said(&pass(&mut member, REACHED * 3))), vec![], "{reading:?}");
    }
}
