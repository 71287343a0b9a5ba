//! One member holds a content whole: who takes how much of it at once, and what its home does when nobody wants it any more.

use super::*;

const SEGMENTS: u64 = 100;

fn sent(effects: &[Effect], to: Peer) -> Vec<(u32, PeerTag)> {
    let of_item = |item| match item {
        Item::From { segment, source } => vec![(segment, source)],
        Item::Held { segments, source } => segments.map(|segment| (segment, source)).collect(),
        Item::Lease { .. } => panic!("somebody holds it"),
    };
    items(&said(effects), to).into_iter().flat_map(of_item).collect()
}

#[test]
fn a_fast_member_is_not_held_to_the_pace_of_slow_ones_that_came_first() {
    let (holder, slow, fast) = (peer(10), [peer(11), peer(13)], peer(12));
    let mut home = home_with(&[], SEGMENTS);
    let all: Vec<u32> = (0..SEGMENTS as u32).collect();
    say(&mut home, ms(1), holder, join(&all, SEGMENTS, vec![]));
    for member in slow {
        let Say::Join(join) = join(&[], SEGMENTS, vec![]) else { unreachable!() };
        let link = Link { down: 1_000_000, ..LINE };
        say(&mut home, ms(1), member, Say::Join(Box::new(Join { link, ..*join })));
    }
    let mut told = say(&mut home, ms(2), fast, join(&[], SEGMENTS, vec![]));
    // The slow ones never end anything; the fast one ends what the holder gives it as soon as it is told to take it.
    let (mut now, mut got) = (ms(2), std::collections::BTreeSet::new());
    for _ in 0..200 {
        let segments: Vec<u32> = sent(&told, fast)
            .into_iter()
            .filter(|(_, source)| *source == PeerTag::of(&holder))
            .map(|(segment, _)| segment)
            .collect();
        got.extend(segments.iter().copied());
        now += ms(20);
        let ended = Say::Done { content: content(SEGMENTS).tag(), segments };
        told = [say(&mut home, now, fast, ended), pass(&mut home, now + ms(10))].concat();
    }
    let begun = slow.len() * WINDOW_LEAST as usize;
    assert!(got.len() >= SEGMENTS as usize - begun, "only {} in {now:?}", got.len());
}

#[test]
fn a_home_of_which_nobody_wants_anything_asks_for_no_wake_up_before_it_forgets() {
    let (holder, one) = (peer(10), peer(11));
    let mut home = home_with(&[], 4);
    home.handle_peer_up(ms(1), holder, Weight::STEADY);
    home.handle_peer_up(ms(1), one, Weight::STEADY);
    say(&mut home, ms(1), holder, join(&[0, 1, 2, 3], 4, vec![]));
    say(&mut home, ms(1), one, join(&[], 4, vec![]));
    assert!(home.companions().contains(&one));
    say(&mut home, ms(500), one, Say::Done { content: content(4).tag(), segments: (0..4).collect() });
    pass(&mut home, ms(500) + SAFETY_PASS * 2);
    assert_eq!(home.companions(), std::collections::BTreeSet::new());
    assert!(home.poll_timeout().is_none_or(|at| at >= ms(500) + CONTENT_LIFE), "{:?}", home.poll_timeout());
    // Somebody wants it again: it is looked after again, and forgotten in the end.
    say(&mut home, ms(5000), peer(12), join(&[], 4, vec![]));
    assert!(home.poll_timeout().is_some_and(|at| at <= ms(5000) + SAFETY_PASS));
    say(&mut home, ms(6000), peer(12), Say::Leave { content: content(4).tag() });
    pass(&mut home, ms(6000) + CONTENT_LIFE + SAFETY_PASS);
    assert_eq!((home.poll_timeout(), home.tally().homes), (None, 0));
}

#[test]
fn a_holder_that_boasts_of_its_line_is_counted_with_no_more_than_there_can_be() {
    let (holder, taker) = (peer(10), peer(11));
    let mut home = home_with(&[], SEGMENTS);
    let all: Vec<u32> = (0..SEGMENTS as u32).collect();
    let with = |have: &[u32], link| {
        let Say::Join(join) = join(have, SEGMENTS, vec![]) else { unreachable!() };
        Say::Join(Box::new(Join { link, ..*join }))
    };
    say(&mut home, ms(1), holder, with(&all, Link { up: u64::MAX - 1, ..LINE }));
    let mut told = say(&mut home, ms(1), taker, with(&[], Link { down: 0, ..LINE }));
    let (mut now, mut got) = (ms(1), 0);
    while now < ms(2000) {
        let segments: Vec<u32> = sent(&told, taker).into_iter().map(|(segment, _)| segment).collect();
        got += segments.len();
        now += ms(20);
        let ended = Say::Done { content: content(SEGMENTS).tag(), segments };
        told = [say(&mut home, now, taker, ended), pass(&mut home, now + ms(10))].concat();
    }
    assert!(got > 1, "{got}");
}
