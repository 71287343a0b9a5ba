//! What the planner decides, one situation at a time.

use super::flight::ABORT_GRACE;
use super::neighbour::BUSY_PATIENCE;
use super::origin::ORIGIN_FLIGHTS;
use super::*;
use crate::port::PeerFault;
use eddy_content::BLOCK_SIZE;
use rand::SeedableRng;

const A: Peer = Peer([1; 32]);
const B: Peer = Peer([2; 32]);

type Begun = (FetchId, Source, Range<u32>);

struct Rig {
    planner: Planner,
    now: Duration,
    rng: SmallRng,
    next: u64,
}

impl Rig {
    fn new(length: u64) -> Self {
        let geometry = Geometry::new(length).unwrap();
        let planner = Planner::new(geometry, BlockSet::new(), RangeSupport::Yes);
        Self { planner, now: Duration::ZERO, rng: SmallRng::seed_from_u64(7), next: 0 }
    }

    /// Plans and begins what the plan says; gives the orders with the names of the fetches begun.
    fn plan(&mut self, peers: &[Peer]) -> (Vec<Order>, Vec<Begun>) {
        let orders = self.planner.plan(self.now, peers, &BlockSet::new(), &mut self.rng);
        let mut begun = Vec::new();
        for order in &orders {
            if let Order::Fetch { source, blocks } = order {
                self.next += 1;
                self.planner.begin(self.now, FetchId(self.next), *source, blocks.clone());
                begun.push((FetchId(self.next), *source, blocks.clone()));
            }
        }
        (orders, begun)
    }

    fn all(&self) -> BlockSet {
        BlockSet::from_run(self.planner.geometry().all_blocks())
    }
}

#[test]
fn alone_the_origin_gives_everything_in_a_few_parallel_requests() {
    let mut rig = Rig::new(256 << 20);
    let (_, begun) = rig.plan(&[]);
    assert_eq!(begun.len(), ORIGIN_FLIGHTS);
    assert!(begun.iter().all(|(_, source, _)| *source == Source::Origin));
    assert!(begun.windows(2).all(|pair| pair[0].2.end == pair[1].2.start));
    assert_eq!(rig.plan(&[]).0, vec![]);
}

/// Bytes a millisecond.
#[derive(Clone, Copy)]
enum Pace {
    OfEach(u64),
    OfAllTogether(u64),
}

/// Fetches everything from an origin that waits so long before each answer, on connections that bring so many bytes a millisecond, the
/// first 16 MiB with its first answer; the time that took since the question, and the number of requests.
fn alone_from(length: u64, wait: Duration, bytes_per_ms: u64) -> (Duration, usize) {
    alone_in(Rig::new(length), wait, Pace::OfEach(bytes_per_ms))
}

fn alone_in(mut rig: Rig, wait: Duration, pace: Pace) -> (Duration, usize) {
    let step = Duration::from_millis(2);
    let parked = 0..(16 << 20) / BLOCK_SIZE as u32;
    rig.planner.begin_answered(rig.now, FetchId(0), parked.clone(), Some(wait));
    let mut under_way = vec![(FetchId(0), parked, Duration::ZERO)];
    let mut requests = 1;
    loop {
        let begun = rig.plan(&[]).1;
        requests += begun.len();
        under_way.extend(begun.into_iter().map(|(fetch, _, blocks)| (fetch, blocks, rig.now + wait)));
        if under_way.is_empty() {
            return (wait + rig.now, requests);
        }
        rig.now += step;
        let bring = under_way.iter().filter(|(.., from)| rig.now > *from).count() as u64;
        let bytes_per_ms = match pace {
            Pace::OfEach(bytes) => bytes,
            Pace::OfAllTogether(bytes) => bytes / bring.max(1),
        };
        let mut going = Vec::new();
        for (fetch, blocks, from) in under_way {
            if rig.now > from {
                rig.planner.on_bytes(rig.now, fetch, bytes_per_ms * step.as_millis() as u64);
            }
            if rig.planner.flights[&fetch].has_arrived(rig.planner.geometry()) {
                rig.planner.on_committed(&BlockSet::from_run(blocks));
                assert!(rig.planner.on_ended(fetch));
            } else {
                going.push((fetch, blocks, from));
            }
        }
        under_way = going;
    }
}

#[test]
fn an_origin_that_answers_late_is_asked_for_long_runs_and_one_that_answers_at_once_for_short_ones() {
    let (late, asked_late) = alone_from(64 << 20, Duration::from_millis(300), 8 << 10);
    let (at_once, asked_at_once) = alone_from(64 << 20, Duration::ZERO, 8 << 10);
    // Four connections at 8 MiB a second; before the first answer nobody knows that there is more to ask for.
    assert!(late <= Duration::from_millis(2 * 300 + 2000 + 50), "{late:?}");
    assert_eq!(asked_late, ORIGIN_FLIGHTS);
    assert!(at_once <= Duration::from_millis(2000 + 300), "{at_once:?}");
    assert!(asked_at_once > 2 * ORIGIN_FLIGHTS, "no connection that turns out slow holds the end up");
}

#[test]
fn a_line_that_one_connection_fills_does_not_rest_between_requests() {
    for (mib, wait) in [(512, 100), (1024, 100), (1024, 20)] {
        let (wait, alone) = (Duration::from_millis(wait), Duration::from_millis(mib * 8));
        let (took, asked) = alone_in(Rig::new(mib << 20), wait, Pace::OfAllTogether(128 << 10));
        assert!(took <= wait + alone + Duration::from_millis(40), "{mib} MiB, {wait:?}: {took:?}");
        assert!(asked <= 26, "{mib} MiB, {wait:?}: {asked} requests");
        // Where each connection brings a quarter, the next request takes over when the one before is done.
        let (took, _) = alone_from(mib << 20, wait, 32 << 10);
        assert!(took <= wait + alone + Duration::from_millis(40), "{mib} MiB, {wait:?}: {took:?}");
    }
}

#[test]
fn the_next_request_is_sent_when_one_is_about_to_end_and_not_before() {
    let mut rig = Rig::new(1 << 30);
    let parked = 0..(64 << 20) / BLOCK_SIZE as u32;
    rig.planner.begin_answered(rig.now, FetchId(0), parked.clone(), Some(Duration::from_millis(100)));
    let mut all = vec![(FetchId(0), parked)];
    all.extend(rig.plan(&[]).1.into_iter().map(|(fetch, _, blocks)| (fetch, blocks)));
    assert_eq!(all.len(), ORIGIN_FLIGHTS);
    let length = |blocks: &Range<u32>| u64::from(blocks.end - blocks.start) * BLOCK_SIZE;
    // All of them at an even pace, to the end in two seconds.
    for tenth in 1..20 {
        rig.now += Duration::from_millis(100);
        for (fetch, blocks) in &all {
            rig.planner.on_bytes(rig.now, *fetch, length(blocks) / 20);
        }
        let begun = rig.plan(&[]).1.len();
        // The pace counts from the first report on; that of the first answer from its question.
        let expected = match tenth {
            18 => ORIGIN_FLIGHTS - 1,
            19 => 1,
            _ => 0,
        };
        assert_eq!(begun, expected, "after {tenth} tenths of a second");
    }
}

#[test]
fn a_near_origin_is_asked_one_thing_at_a_time_for_who_reads_along_and_more_at_once_where_its_connections_are_narrow() {
    let read_along = |length| {
        let mut rig = Rig::new(length);
        rig.planner = rig.planner.read_along();
        rig
    };
    let near = Duration::from_millis(1);
    let parked = 0..(16 << 20) / BLOCK_SIZE as u32;
    let mut rig = read_along(256 << 20);
    rig.planner.begin_answered(rig.now, FetchId(0), parked, Some(near));
    let (_, begun) = rig.plan(&[]);
    assert_eq!(begun.len(), 1, "the first body may be here already: what follows it is asked for");
    let (fetch, _, blocks) = begun[0].clone();
    let bytes = u64::from(blocks.end - blocks.start) * BLOCK_SIZE;
    rig.now += Duration::from_millis(100);
    rig.planner.on_bytes(rig.now, fetch, bytes - 1);
    assert_eq!(rig.plan(&[]).1, vec![]);
    rig.planner.on_bytes(rig.now, fetch, 1);
    assert_eq!(rig.plan(&[]).1.len(), 1, "what has arrived need not be durable");

    let (wide, asked) = alone_in(read_along(256 << 20), near, Pace::OfEach(512 << 10));
    assert!(wide <= Duration::from_millis(512 + 100) && asked <= 6, "{wide:?}, {asked} requests");
    let (narrow, asked) = alone_in(read_along(64 << 20), near, Pace::OfEach(8 << 10));
    assert!(narrow <= Duration::from_millis(2000 + 800), "{narrow:?}");
    assert!(asked >= ORIGIN_FLIGHTS, "{asked} requests");
}

#[test]
fn the_origin_waits_for_answers_but_not_for_ever() {
    let mut rig = Rig::new(64 << 20);
    assert_eq!(rig.plan(&[A]).0, vec![Order::Ask { peers: vec![A] }]);
    assert_eq!(rig.planner.timeout(), Some(ANSWER_WAIT));
    rig.now = ANSWER_WAIT;
    let (_, begun) = rig.plan(&[A]);
    assert!(begun.iter().all(|(_, source, _)| *source == Source::Origin) && !begun.is_empty());
}

#[test]
fn what_a_peer_holds_is_not_asked_of_the_origin() {
    let mut rig = Rig::new(64 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, BlockSet::from_run(0..512));
    let (_, begun) = rig.plan(&[A]);
    let (peer, origin): (Vec<_>, Vec<_>) = begun.into_iter().partition(|(_, source, _)| *source == Source::Peer(A));
    assert!(peer.iter().all(|(_, _, blocks)| blocks.end <= 512) && !peer.is_empty());
    assert!(origin.iter().all(|(_, _, blocks)| blocks.start >= 512) && !origin.is_empty());
}

#[test]
fn a_stalled_peer_loses_its_blocks_within_a_second() {
    let mut rig = Rig::new(4 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    let (_, first) = rig.plan(&[A]);
    assert!(first.iter().all(|(_, source, _)| *source == Source::Peer(A)));
    rig.now += PEER_STALL;
    let (orders, _) = rig.plan(&[A]);
    assert_eq!(orders.iter().filter(|o| matches!(o, Order::Abort { .. })).count(), first.len());
    rig.now = rig.planner.timeout().expect("it thinks again");
    let (_, second) = rig.plan(&[A]);
    assert!(second.iter().all(|(_, source, _)| *source == Source::Origin) && !second.is_empty());
    assert!(rig.now < Duration::from_secs(1));
}

/// A planner of a large file that has three fetches under way from one peer.
fn reading(rig: &mut Rig) -> Vec<Begun> {
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    let begun = rig.plan(&[A]).1;
    assert_eq!(begun.len(), FLIGHTS_PER_PEER);
    begun
}

fn has_aborts(orders: &[Order]) -> bool {
    orders.iter().any(|order| matches!(order, Order::Abort { .. }))
}

#[test]
fn what_waits_in_the_line_of_a_peer_that_brings_something_has_not_stalled() {
    let mut rig = Rig::new(256 << 20);
    let begun = reading(&mut rig);
    // One after the other, half a MiB a second: the last one waits for eight seconds.
    for (fetch, _, blocks) in begun {
        let bytes = rig.planner.geometry().bytes_of(blocks.clone());
        for _ in (bytes.start..bytes.end).step_by(256 << 10) {
            rig.now += Duration::from_millis(500);
            rig.planner.on_bytes(rig.now, fetch, 256 << 10);
            assert!(!has_aborts(&rig.plan(&[A]).0), "at {:?}", rig.now);
        }
        rig.planner.on_committed(&BlockSet::from_run(blocks));
        assert!(rig.planner.on_ended(fetch));
    }
    assert!(rig.now > Duration::from_secs(10));
}

#[test]
fn a_peer_that_serves_later_requests_and_one_never_loses_that_one() {
    let mut rig = Rig::new(1 << 30);
    let held_back = reading(&mut rig)[0].0;
    let mut brought = 0;
    loop {
        let later: Vec<FetchId> = rig.planner.fetches().filter(|fetch| *fetch != held_back).collect();
        for fetch in later {
            rig.now += Duration::from_millis(10);
            rig.planner.on_bytes(rig.now, fetch, 1 << 20);
            brought += 1;
            let flight = &rig.planner.flights[&fetch];
            if flight.has_arrived(rig.planner.geometry()) {
                let blocks = flight.blocks.clone();
                rig.planner.on_committed(&BlockSet::from_run(blocks));
                rig.planner.on_ended(fetch);
            }
        }
        let orders = rig.plan(&[A]).0;
        if has_aborts(&orders) {
            assert!(orders.contains(&Order::Abort { fetch: held_back }));
            break;
        }
        assert!(brought < 200, "it is held back for ever");
    }
    assert!(brought >= 32, "it was given up after {brought} MiB of others");
}

#[test]
fn a_peer_that_only_trickles_is_given_up_whatever_the_line() {
    let mut rig = Rig::new(256 << 20);
    let begun = reading(&mut rig);
    while !has_aborts(&rig.plan(&[A]).0) {
        rig.now += Duration::from_millis(500);
        rig.planner.on_bytes(rig.now, begun[0].0, 8 << 10);
        assert!(rig.now < Duration::from_secs(10), "16 KiB a second are less than it must bring");
    }
}

#[test]
fn requests_are_as_long_as_a_peer_is_fast() {
    let runs = |rate: u64| {
        let mut rig = Rig::new(1 << 30);
        let mut begun = std::collections::VecDeque::from(reading(&mut rig));
        let mut lengths = Vec::new();
        for _ in 0..12 {
            let (fetch, _, blocks) = begun.pop_front().expect("there is always one");
            let bytes = u64::from(blocks.end - blocks.start) * BLOCK_SIZE;
            lengths.push(bytes >> 20);
            rig.now += Duration::from_millis(bytes * 1000 / rate);
            rig.planner.on_bytes(rig.now, fetch, bytes);
            rig.planner.on_committed(&BlockSet::from_run(blocks));
            rig.planner.on_ended(fetch);
            begun.extend(rig.plan(&[A]).1);
        }
        lengths
    };
    assert_eq!(runs(1 << 30), [2, 2, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16]);
    assert_eq!(runs(10 << 20), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(runs(1 << 20), [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn what_a_stalled_peer_has_brought_is_not_fetched_twice() {
    let mut rig = Rig::new(4 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    let (_, first) = rig.plan(&[A]);
    let (fetch, _, blocks) = first[0].clone();
    rig.planner.on_bytes(rig.now, fetch, 3 * BLOCK_SIZE + 100);
    rig.now += PEER_STALL;
    let (orders, second) = rig.plan(&[A]);
    assert!(orders.contains(&Order::Abort { fetch }));
    assert_eq!(second, vec![], "it may report what it has first");
    rig.now += ABORT_GRACE;
    let (_, second) = rig.plan(&[A]);
    let arrived = blocks.start..blocks.start + 3;
    let asked: BlockSet = second.into_iter().map(|(_, _, blocks)| blocks).collect();
    assert_eq!(asked, rig.all().difference(&BlockSet::from_run(arrived.clone())));
    // It ends, and the disk had refused them: somebody else brings them after all.
    rig.planner.on_ended(fetch);
    let again: BlockSet = rig.plan(&[A]).1.into_iter().map(|(_, _, blocks)| blocks).collect();
    assert_eq!(again, BlockSet::from_run(arrived));
}

#[test]
fn a_peer_that_has_given_everything_has_not_stalled_while_the_disk_takes_it() {
    let mut rig = Rig::new(4 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    let (_, first) = rig.plan(&[A]);
    for (fetch, _, blocks) in &first {
        let bytes = rig.planner.geometry().bytes_of(blocks.clone());
        rig.planner.on_bytes(rig.now, *fetch, bytes.end - bytes.start);
    }
    rig.now += 10 * PEER_STALL;
    rig.planner.on_peer_down(A);
    assert_eq!(rig.plan(&[]), (vec![], vec![]));
}

#[test]
fn a_liar_is_not_asked_again() {
    let mut rig = Rig::new(4 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    let (_, begun) = rig.plan(&[A]);
    for (fetch, ..) in begun {
        rig.planner.on_ended(fetch);
        rig.planner.on_peer_fault(rig.now, A, PeerFault::Lied);
    }
    let (orders, begun) = rig.plan(&[A]);
    assert!(!orders.iter().any(|order| matches!(order, Order::Ask { .. })));
    assert!(begun.iter().all(|(_, source, _)| *source == Source::Origin) && !begun.is_empty());
}

#[test]
fn a_busy_peer_is_waited_for_a_moment_only() {
    let mut rig = Rig::new(4 << 20);
    rig.plan(&[A]);
    rig.planner.on_holds(A, rig.all());
    for (fetch, ..) in rig.plan(&[A]).1 {
        rig.planner.on_ended(fetch);
    }
    rig.planner.on_peer_fault(rig.now, A, PeerFault::Busy);
    assert_eq!(rig.plan(&[A]).1, vec![]);
    rig.now += BUSY_PATIENCE;
    rig.planner.on_peer_fault(rig.now, A, PeerFault::Busy);
    assert!(rig.plan(&[A]).1.iter().all(|(_, source, _)| *source == Source::Origin));
}

#[test]
fn two_holders_are_read_side_by_side() {
    let mut rig = Rig::new(256 << 20);
    rig.plan(&[A, B]);
    rig.planner.on_holds(A, rig.all());
    rig.planner.on_holds(B, rig.all());
    let (_, begun) = rig.plan(&[A, B]);
    for peer in [A, B] {
        assert_eq!(begun.iter().filter(|(_, s, _)| *s == Source::Peer(peer)).count(), FLIGHTS_PER_PEER);
    }
    let mut seen = BlockSet::new();
    for (_, _, blocks) in begun {
        assert!(seen.intersection(&BlockSet::from_run(blocks.clone())).is_empty(), "no block twice");
        seen.insert(blocks);
    }
}

#[test]
fn without_ranges_there_is_one_stream() {
    let mut rig = Rig::new(64 << 20);
    rig.planner.on_no_ranges();
    let (_, begun) = rig.plan(&[]);
    assert_eq!(begun.iter().map(|(_, _, b)| b.clone()).collect::<Vec<_>>(), vec![0..1024]);
    assert_eq!(rig.plan(&[]).1, vec![]);
}

#[test]
fn damaged_blocks_are_fetched_again() {
    let mut rig = Rig::new(1 << 20);
    let (_, begun) = rig.plan(&[]);
    for (fetch, _, blocks) in begun {
        rig.planner.on_committed(&BlockSet::from_run(blocks));
        rig.planner.on_ended(fetch);
    }
    assert!(rig.planner.is_complete());
    rig.planner.on_damaged(&BlockSet::from_run(3..4));
    assert_eq!(rig.plan(&[]).1.len(), 1);
}

#[test]
fn a_single_block_is_read_from_one_peer_while_the_others_are_asked() {
    let mut rig = Rig::new(10 << 10);
    let (orders, begun) = rig.plan(&[A, B]);
    let [(_, Source::Peer(chosen), blocks)] = begun.as_slice() else { panic!("one is read: {begun:?}") };
    let other = if *chosen == A { B } else { A };
    assert_eq!(*blocks, 0..1);
    assert!(orders.contains(&Order::Ask { peers: vec![other] }) && orders.len() == 2, "{orders:?}");
    assert_eq!(rig.plan(&[A, B]), (vec![], vec![]), "its answer is awaited");
}

#[test]
fn whoever_was_read_from_in_vain_has_answered() {
    let mut rig = Rig::new(10 << 10);
    let (_, begun) = rig.plan(&[A]);
    rig.planner.on_ended(begun[0].0);
    rig.planner.on_peer_fault(rig.now, A, PeerFault::NotHere);
    let (orders, begun) = rig.plan(&[A]);
    assert!(matches!(begun.as_slice(), [(_, Source::Origin, _)]), "at once: {orders:?}");
}

#[test]
fn a_busy_peer_that_was_read_from_unasked_is_waited_for_as_if_it_held_the_block() {
    let mut rig = Rig::new(10 << 10);
    let (_, begun) = rig.plan(&[A]);
    rig.planner.on_ended(begun[0].0);
    rig.planner.on_peer_fault(rig.now, A, PeerFault::Busy);
    assert_eq!(rig.plan(&[A]).1, vec![]);
    rig.now = Duration::from_millis(500);
    let (_, begun) = rig.plan(&[A]);
    assert!(matches!(begun.as_slice(), [(_, Source::Peer(A), _)]));
    // What it says to that counts as for any other.
    rig.planner.on_ended(begun[0].0);
    rig.planner.on_peer_fault(rig.now, A, PeerFault::NotHere);
    rig.now += BUSY_PATIENCE;
    assert!(matches!(rig.plan(&[A]).1.as_slice(), [(_, Source::Origin | Source::Peer(A), _)]));
}

#[test]
fn a_peer_that_was_read_from_unasked_and_is_silent_holds_the_block_for_half_a_second() {
    let mut rig = Rig::new(10 << 10);
    let (_, begun) = rig.plan(&[A]);
    assert_eq!(rig.planner.timeout(), Some(ANSWER_WAIT));
    rig.now = ANSWER_WAIT;
    assert_eq!(rig.plan(&[A]).0, vec![Order::Abort { fetch: begun[0].0 }]);
    rig.now += ABORT_GRACE;
    assert!(matches!(rig.plan(&[A]).1.as_slice(), [(_, Source::Origin, _)]));
}

#[test]
fn nobody_is_read_from_unasked_where_several_words_are_needed_or_somebody_holds_the_block() {
    let mut rig = Rig::new(10 << 10);
    rig.planner.need(Words::Several);
    assert_eq!(rig.plan(&[A]).0, vec![Order::Ask { peers: vec![A] }]);
    let mut rig = Rig::new(10 << 10);
    rig.planner.need(Words::Several);
    rig.plan(&[A]);
    rig.planner.need(Words::One);
    rig.planner.on_holds(A, rig.all());
    let (orders, begun) = rig.plan(&[A, B]);
    assert!(matches!(begun.as_slice(), [(_, Source::Peer(A), _)]), "{orders:?}");
    assert!(orders.contains(&Order::Ask { peers: vec![B] }));
}
