//! Members that say that they read, to keep everybody else from reading.

use super::*;

fn leases(effects: &[Effect], to: Peer) -> Vec<(LeaseId, std::ops::Range<u32>)> {
    let leases = items(&said(effects), to).into_iter().filter_map(|item| match item {
        Item::Lease { lease, segments } => Some((lease, segments)),
        Item::From { .. } | Item::Held { .. } => None,
    });
    leases.collect()
}

fn reads_of(lease: u64, segments: &[u32]) -> Vec<JoinFlow> {
    let flow = |segment: &u32| JoinFlow { segment: *segment, source: JoinSource::Origin(LeaseId(lease)), prefix: 0 };
    segments.iter().map(flow).collect()
}

/// A home whose one member reads the first four of so many segments.
fn read_by(reader: Peer, segments: u64) -> (Swarm, Vec<(LeaseId, std::ops::Range<u32>)>) {
    let mut home = home_with(&[], segments);
    let given = leases(&say(&mut home, ms(1), reader, join(&[], segments, vec![])), reader);
    assert_eq!(given.iter().map(|(_, segments)| segments.start).collect::<Vec<_>>(), vec![0, 1, 2, 3]);
    (home, given)
}

/// Where the lease begins that somebody is given when the reader has this segment.
fn next(home: &mut Swarm, now: Duration, reader: Peer, segment: u32, segments: u64) -> Option<u32> {
    let done = Say::Done { content: content(segments).tag(), segments: vec![segment] };
    let done = say(home, now, reader, done);
    [peer(10), peer(11)].iter().flat_map(|to| leases(&done, *to)).map(|(_, segments)| segments.start).next()
}

#[test]
fn who_says_that_it_reads_the_first_and_the_last_reads_nothing_in_between() {
    let (reader, liar) = (peer(10), peer(11));
    let (mut home, _) = read_by(reader, 64);
    say(&mut home, ms(2), liar, join(&[], 64, reads_of(99, &[4, 63])));
    assert_eq!(next(&mut home, ms(100), reader, 0, 64), None, "there are four leases with what it says");
    assert_eq!(next(&mut home, ms(100), reader, 1, 64), Some(5));
    // It may have come from another home, once: what it said before is over, and what it says now counts no more.
    let later = ms(2) + EXPECTED;
    let told = say(&mut home, later, liar, join(&[], 64, reads_of(98, &[6, 7, 8])));
    let mut begun: Vec<u32> =
        [reader, liar].iter().flat_map(|to| leases(&told, *to)).map(|(_, segments)| segments.start).collect();
    begun.sort_unstable();
    assert_eq!(begun, vec![4, 5]);
    assert_eq!(next(&mut home, later, reader, 2, 64), Some(6));
}

#[test]
fn nobody_reads_under_a_lease_that_is_still_to_be_given() {
    let (reader, liar) = (peer(10), peer(11));
    let (mut home, given) = read_by(reader, 8);
    let forged = given[3].0.0 + 2;
    say(&mut home, ms(2), liar, join(&[], 8, reads_of(forged, &[4, 5, 6, 7])));
    let next: Vec<_> = (0..4).map(|segment| next(&mut home, ms(100), reader, segment, 8)).collect();
    assert_eq!(next, vec![Some(4), Some(5), Some(6), Some(7)]);
}

#[test]
fn nobody_takes_the_lease_over_that_another_one_has_brought_along() {
    let (reader, liar) = (peer(10), peer(11));
    let mut home = home_with(&[], 2);
    say(&mut home, ms(1), reader, join(&[], 2, reads_of(99, &[0])));
    say(&mut home, ms(2), liar, join(&[], 2, reads_of(99, &[1])));
    say(&mut home, ms(3), reader, Say::Progress { lease: LeaseId(99), bytes: 1 << 16 });
    home.start(ms(4), ORIGIN, content(2), Bits::none(2), None);
    let read = home.glance(content(2).tag()).map(|glance| glance.reads).unwrap_or_default();
    let of_reader: Vec<_> = read.into_iter().filter(|read| read.received > 0).collect();
    assert_eq!(of_reader, vec![Reads { peer: reader, bytes: 0..1 << 20, received: 1 << 16 }]);
}

#[test]
fn one_that_joins_again_keeps_what_it_was_given_and_gets_no_more() {
    let (reader, other) = (peer(10), peer(11));
    let (mut home, given) = read_by(reader, 8);
    say(&mut home, ms(2), other, join(&[], 8, vec![]));
    let flows = given.iter().flat_map(|(lease, segments)| reads_of(lease.0, &[segments.start, 7])).collect();
    let told = say(&mut home, ms(50), reader, join(&[], 8, flows));
    assert_eq!((leases(&told, reader), leases(&told, other)), (vec![], vec![]), "{told:?}");
    let next: Vec<_> = (0..4).map(|segment| next(&mut home, ms(100), reader, segment, 8)).collect();
    assert_eq!(next, vec![Some(4), Some(5), Some(6), Some(7)]);
}

#[test]
fn to_join_again_makes_no_lease_last_longer() {
    let (reader, other) = (peer(10), peer(11));
    let (mut home, given) = read_by(reader, 4);
    say(&mut home, ms(2), other, join(&[], 4, vec![]));
    let mut told = Vec::new();
    for second in 1..=LEASE_TIME.as_secs() {
        let now = Duration::from_secs(second);
        let flows = given.iter().flat_map(|(lease, segments)| reads_of(lease.0, &[segments.start])).collect();
        told.extend(say(&mut home, now, reader, join(&[], 4, flows)));
        told.extend(pass(&mut home, now));
    }
    assert_eq!(leases(&told, other), vec![]);
    told.extend(pass(&mut home, LEASE_TIME + SAFETY_PASS * 2));
    assert_eq!(leases(&told, other).len(), 4, "{told:?}");
}
