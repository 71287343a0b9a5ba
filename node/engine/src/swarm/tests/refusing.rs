//! Sources that are said to hold something and do not give it.

use super::*;

fn holds_all(segments: u64) -> Say {
    let holdings = Holdings { link: LINE, have: Bits::all(segments as u32), flows: Vec::new() };
    Say::HaveAny { content: content(segments).tag(), role: Role::Plain, holdings: Some(Box::new(holdings)) }
}

fn holds_nothing(segments: u64) -> Say {
    Say::HaveAny { content: content(segments).tag(), role: Role::Plain, holdings: None }
}

fn refuses(segments: u64, segment: u32, source: Peer) -> Say {
    let source = Some(PeerTag::of(&source));
    Say::Fail { content: content(segments).tag(), segment, source, reason: FailReason::Refused, prefix: 0 }
}

fn sent_to(effects: &[Effect], to: Peer, source: Peer) -> Vec<u32> {
    let from = PeerTag::of(&source);
    let of_source = items(&said(effects), to).into_iter().filter_map(|item| match item {
        Item::From { segment, source } if source == from => Some(segment),
        _ => None,
    });
    of_source.collect()
}

fn leases(effects: &[Effect], to: Peer) -> usize {
    items(&said(effects), to).iter().filter(|item| matches!(item, Item::Lease { .. })).count()
}

/// A home with two members that take a content of four segments, and a third that does not follow it and holds all.
fn home_of(takers: [Peer; 2], holder: Peer) -> (Swarm, Vec<Effect>) {
    let mut home = home_with(&[], 4);
    home.handle_peer_up(ms(1), holder, Weight::STEADY);
    let mut told = say(&mut home, ms(1), takers[0], join(&[], 4, vec![]));
    told.extend(say(&mut home, ms(1), takers[1], join(&[], 4, vec![])));
    told.extend(say(&mut home, ms(2), holder, holds_all(4)));
    told.extend(pass(&mut home, ms(10)));
    (home, told)
}

/// The one of them that is sent to the holder, and for what; the other one takes it from that one.
fn sent_there(told: &[Effect], takers: [Peer; 2], holder: Peer) -> (Peer, Vec<u32>) {
    let sent = takers.map(|taker| (taker, sent_to(told, taker, holder)));
    sent.into_iter().find(|(_, segments)| segments.len() > 1).expect("nobody else has anything")
}

#[test]
fn who_left_while_another_one_was_home_is_asked_when_it_refuses_and_holds_nobody_up() {
    let (takers, holder) = ([peer(10), peer(11)], peer(12));
    let (mut home, told) = home_of(takers, holder);
    let (taker, segments) = sent_there(&told, takers, holder);
    let told = say(&mut home, ms(20), taker, refuses(4, segments[0], holder));
    let asked = |told: &[Effect]| {
        let told = said(told);
        told.iter().filter(|(to, say)| *to == holder && matches!(say, Say::Query { .. })).count()
    };
    assert_eq!(asked(&told), 1, "{told:?}");
    let again = say(&mut home, ms(21), taker, refuses(4, segments[1], holder));
    assert_eq!(asked(&again), 0, "one question is under way");
    let told = say(&mut home, ms(22), holder, holds_nothing(4));
    assert_eq!(takers.map(|taker| leases(&told, taker)).iter().sum::<usize>(), 4, "{told:?}");
}

#[test]
fn who_is_only_busy_and_says_that_it_holds_all_stays_a_source() {
    let (takers, holder) = ([peer(10), peer(11)], peer(12));
    let (mut home, told) = home_of(takers, holder);
    let (taker, segments) = sent_there(&told, takers, holder);
    let mut told = say(&mut home, ms(20), taker, refuses(4, segments[0], holder));
    told.extend(say(&mut home, ms(21), holder, holds_all(4)));
    told.extend(pass(&mut home, ms(20) + RESCUE + SAFETY_PASS));
    assert_eq!(takers.map(|taker| leases(&told, taker)), [0, 0]);
    assert!(takers.iter().any(|taker| !sent_to(&told, *taker, holder).is_empty()), "it is asked again: {told:?}");
}

#[test]
fn one_that_claims_to_hold_all_and_gives_nobody_anything_does_not_keep_them_from_reading() {
    // The refusal of a source lasted as long as one waits that may read for itself: it was sent there again, for ever.
    let (takers, holder) = ([peer(10), peer(11)], peer(12));
    let (mut home, told) = home_of(takers, holder);
    let (mut now, mut told, mut read) = (ms(20), told, std::collections::BTreeSet::new());
    while now < ms(20) + RESCUE * 5 {
        let mut next = Vec::new();
        for taker in takers {
            for segment in sent_to(&told, taker, holder) {
                next.extend(say(&mut home, now, taker, refuses(4, segment, holder)));
            }
            read.extend(items(&said(&told), taker).into_iter().filter_map(|item| match item {
                Item::Lease { segments, .. } => Some(segments.start),
                _ => None,
            }));
        }
        if said(&told).iter().any(|(to, say)| *to == holder && matches!(say, Say::Query { .. })) {
            next.extend(say(&mut home, now, holder, holds_all(4)));
        }
        now += ms(50);
        next.extend(pass(&mut home, now));
        told = next;
    }
    assert_eq!(read.len(), takers.len(), "each reads another one: {read:?}");
}

#[test]
fn who_hangs_on_one_that_has_lost_its_source_is_not_left_there_though_somebody_else_reads_it() {
    // They waited two seconds for their first byte, and said then that they starve.
    let (reader, lost, child) = (peer(10), peer(11), peer(12));
    let mut home = home_with(&[reader], 1);
    let from = |source| vec![JoinFlow { segment: 0, source: JoinSource::Member(source), prefix: 0 }];
    say(&mut home, ms(2), lost, join(&[], 1, from(reader)));
    say(&mut home, ms(3), child, join(&[], 1, from(lost)));
    let told = say(&mut home, ms(4), lost, refuses(1, 0, reader));
    assert_eq!(sent_to(&told, child, reader), vec![0], "{told:?}");
    assert_eq!(sent_to(&told, lost, child), vec![0], "{told:?}");
}

fn starves(segment: u32, source: Peer) -> Say {
    let source = Some(PeerTag::of(&source));
    Say::Fail { content: content(4).tag(), segment, source, reason: FailReason::Starved, prefix: 0 }
}

#[test]
fn one_that_holds_a_segment_and_says_that_it_waits_for_it_is_taken_for_stalled() {
    // Its flows led to a holder, so they were kept, and as many as one gives.
    let (takers, liar) = ([peer(10), peer(11)], peer(12));
    let mut home = home_with(&[], 4);
    say(&mut home, ms(1), liar, join(&[0, 1, 2, 3], 4, vec![]));
    let from_liar = |segment| vec![JoinFlow { segment, source: JoinSource::Member(liar), prefix: 0 }];
    for (segment, taker) in (0..).zip(takers) {
        say(&mut home, ms(1), taker, join(&[], 4, from_liar(segment)));
    }
    let mut told = Vec::new();
    // The first word may have crossed what makes it a holder.
    for (segment, taker) in (0..).zip(takers) {
        told.extend(say(&mut home, ms(2000), taker, starves(segment, liar)));
    }
    assert_eq!(takers.map(|taker| sent_to(&told, taker, liar).len() + leases(&told, taker)), [0, 0], "{told:?}");
    for (segment, taker) in (0..).zip(takers) {
        told.extend(say(&mut home, ms(2000) + WAITING_LIFE, taker, starves(segment, liar)));
    }
    told.extend(pass(&mut home, ms(2000) + WAITING_LIFE + PAUSED + SAFETY_PASS));
    assert!(takers.iter().all(|taker| sent_to(&told, *taker, liar).is_empty()), "nobody is sent there: {told:?}");
    told.extend(pass(&mut home, ms(2000) + WAITING_LIFE + PAUSED + RESCUE + SAFETY_PASS * 4));
    assert!(takers.iter().any(|taker| leases(&told, *taker) > 0), "they read for themselves: {told:?}");
}

#[test]
fn one_that_waits_for_what_it_is_receiving_itself_is_not_to_blame_however_often_that_is_said() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader], 4);
    say(
        &mut home,
        ms(1),
        child,
        join(&[], 4, vec![JoinFlow { segment: 0, source: JoinSource::Member(reader), prefix: 0 }]),
    );
    for second in 1..10 {
        assert_eq!(items(&said(&say(&mut home, ms(1000 * second), child, starves(0, reader))), child), vec![]);
    }
    // It has it now: what the child said before it knew that counts once.
    say(&mut home, ms(10_000), reader, Say::Done { content: content(4).tag(), segments: vec![0] });
    assert_eq!(items(&said(&say(&mut home, ms(10_001), child, starves(0, reader))), child), vec![]);
}
