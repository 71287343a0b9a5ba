//! The neighbourhood in virtual time.

use super::*;
use crate::dial::{DIAL_SPACING, FIRST_BACKOFF, LONGEST_BACKOFF};
use crate::table::{MAX_CANDIDATES, MAX_LOST_PER_IP, MAX_PER_KEY};

mod named;

const US: NodeKey = [100; 32];
const PORT: u16 = 4040;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn office() -> Neighbours {
    let mut neighbours = Neighbours::new(US, PORT);
    neighbours.handle_networks(vec!["10.0.0.1/16".parse().unwrap()]);
    neighbours
}

/// The first event between `from` and `until`, polled as the service does: when a timeout says so.
fn next_event(neighbours: &mut Neighbours, from: Duration, until: Duration) -> Option<(Duration, DiscoveryEvent)> {
    let mut now = from;
    while now <= until {
        if let Some(event) = neighbours.poll_event(now) {
            return Some((now, event));
        }
        let next = neighbours.poll_timeout(now)?;
        assert!(next > now, "a timeout in the past spins: {next:?} at {now:?}");
        now = next;
    }
    None
}

/// Every event between `from` and `until`, with its time.
fn events(neighbours: &mut Neighbours, from: Duration, until: Duration) -> Vec<(Duration, DiscoveryEvent)> {
    let mut now = from;
    std::iter::from_fn(|| {
        let event = next_event(neighbours, now, until)?;
        now = event.0;
        Some(event)
    })
    .collect()
}

fn dial(key: u8, to: &str) -> DiscoveryEvent {
    DiscoveryEvent::Dial { candidate: Some([key; 32]), address: address(to) }
}

#[test]
fn an_announced_neighbour_is_dialled_once_until_the_node_answers() {
    let mut office = office();
    office.handle_heard(ms(0), [200; 32], address("10.0.0.2:4040")).unwrap();
    office.handle_heard(ms(10), [200; 32], address("10.0.0.2:4040")).unwrap();
    assert_eq!(events(&mut office, ms(10), ms(5_000)), [(ms(10), dial(200, "10.0.0.2:4040"))]);
}

#[test]
fn the_smaller_key_dials_first_and_the_larger_waits_for_it() {
    let mut office = office();
    office.handle_heard(ms(0), [3; 32], address("10.0.0.3:4040")).unwrap();
    assert_eq!(events(&mut office, ms(0), ms(1_000)), [(HEAD_START, dial(3, "10.0.0.3:4040"))]);

    let mut office = self::office();
    office.handle_heard(ms(0), [3; 32], address("10.0.0.3:4040")).unwrap();
    office.handle_proven(ms(200), [3; 32], address("10.0.0.3:4040"));
    assert_eq!(events(&mut office, ms(200), ms(60_000)), []);
}

#[test]
fn a_connected_neighbour_is_dialled_again_only_after_it_was_lost() {
    let mut office = office();
    office.handle_proven(ms(0), [200; 32], address("10.0.0.2:4040"));
    office.handle_heard(ms(1), [200; 32], address("10.0.0.2:4040")).unwrap();
    assert_eq!(events(&mut office, ms(1), ms(600_000)), []);
    office.handle_lost(ms(600_000), [200; 32]);
    let again = events(&mut office, ms(600_000), ms(602_000));
    assert_eq!(again, [(ms(600_000) + LOST_PAUSE, dial(200, "10.0.0.2:4040"))]);
}

#[test]
fn failures_back_off_and_success_forgives_them() {
    let mut office = office();
    office.handle_heard(ms(0), [200; 32], address("10.0.0.2:4040")).unwrap();
    let (mut now, mut waits) = (ms(0), Vec::new());
    for _ in 0..12 {
        let seen = next_event(&mut office, now, now + LONGEST_BACKOFF);
        let Some((at, DiscoveryEvent::Dial { address, .. })) = seen else { panic!("no dial after {now:?}: {seen:?}") };
        waits.push(at - now);
        now = at;
        office.handle_failed(now, address);
        // It keeps announcing itself; else it would be forgotten.
        office.handle_heard(now, [200; 32], address).unwrap();
    }
    assert_eq!(waits[1..4], [FIRST_BACKOFF, FIRST_BACKOFF * 2, FIRST_BACKOFF * 4]);
    assert_eq!(waits[11], LONGEST_BACKOFF);
}

#[test]
fn ten_thousand_sybils_cost_five_dials_a_second_and_no_friend() {
    let mut office = office();
    office.handle_proven(ms(0), [1; 32], address("10.0.0.9:4040"));
    for n in 0..10_000_u32 {
        let ip = std::net::Ipv4Addr::from(0x0a00_0100 + n);
        let mut key = [150; 32];
        key[..4].copy_from_slice(&n.to_le_bytes());
        key[31] = 1;
        office.handle_heard(ms(1), key, SocketAddr::new(ip.into(), 5_000)).ok();
    }
    let dials = events(&mut office, ms(1_000), ms(11_000));
    assert!(dials.len() <= 51, "{}", dials.len());
    assert!(dials.windows(2).all(|pair| pair[1].0 - pair[0].0 >= DIAL_SPACING));
    assert_eq!(office.counts().connected, 1);
    assert!(office.counts().waiting + office.counts().dialling <= MAX_CANDIDATES);
    // The friend is lost in the middle of it and comes before all others.
    office.handle_lost(ms(11_000), [1; 32]);
    let next = events(&mut office, ms(12_000), ms(12_000));
    assert_eq!(next, [(ms(12_000), dial(1, "10.0.0.9:4040"))]);
}

#[test]
fn a_loud_address_cannot_starve_a_quiet_one() {
    let mut office = office();
    for port in 2_000..2_100 {
        office.handle_heard(ms(0), [200; 32], SocketAddr::new([10, 0, 0, 66].into(), port)).unwrap();
    }
    office.handle_heard(ms(1), [201; 32], address("10.0.0.7:4040")).unwrap();
    let dials = events(&mut office, ms(1), ms(500));
    let quiet = dials.iter().position(|(_, event)| *event == dial(201, "10.0.0.7:4040"));
    assert!(quiet.is_some_and(|place| place <= 1), "{dials:?}");
}

/// Forty hosts announce a new port every 100 ms, from `from` to `until`; `each` sees every event at its time.
fn shout(office: &mut Neighbours, from: Duration, until: Duration, mut each: impl FnMut(&mut Neighbours, Duration)) {
    let mut now = from;
    while now < until {
        for host in 0..40 {
            let port = 2_000 + (now.as_millis() / 100 % 50_000) as u16;
            office.handle_heard(now, [200; 32], SocketAddr::new([10, 0, 7, host].into(), port)).unwrap();
        }
        each(office, now);
        now += ms(100);
    }
}

#[test]
fn who_speaks_once_comes_before_forty_who_keep_shouting() {
    for joined in [ms(1_000), ms(30_000)] {
        let mut office = office();
        let mut answered = None;
        let fail_all = |office: &mut Neighbours, now| {
            while let Some(event) = office.poll_event(now) {
                let DiscoveryEvent::Dial { address, .. } = event else { continue };
                office.handle_failed(now, address);
            }
        };
        shout(&mut office, ms(0), joined, fail_all);
        office.handle_heard(joined, [201; 32], address("10.0.200.7:4040")).unwrap();
        shout(&mut office, joined, joined + ms(10_000), |office, now| {
            while let Some(event) = office.poll_event(now) {
                let DiscoveryEvent::Dial { address, .. } = event else { continue };
                if address.port() == 4040 {
                    answered.get_or_insert(now - joined);
                }
                office.handle_failed(now, address);
            }
        });
        let waited = answered.expect("dialled");
        assert!(waited <= ms(3_000), "joined at {joined:?}, dialled after {waited:?}");
    }
}

#[test]
fn announcements_that_point_elsewhere_are_refused_with_a_reason() {
    let mut office = office();
    for (to, why) in [
        ("192.168.7.7:4040", Refusal::OffLink),
        ("127.0.0.1:4040", Refusal::NotAHost),
        ("224.0.0.251:5353", Refusal::NotAHost),
        ("10.0.255.255:4040", Refusal::NotAHost),
        ("10.0.0.0:4040", Refusal::NotAHost),
        ("10.0.0.2:53", Refusal::LowPort),
        ("10.0.0.1:4040", Refusal::Ourselves),
    ] {
        assert_eq!(office.handle_heard(ms(0), [200; 32], address(to)), Err(why), "{to}");
    }
    assert_eq!(office.handle_heard(ms(0), US, address("10.0.0.2:4040")), Err(Refusal::Ourselves));
    assert_eq!(events(&mut office, ms(0), ms(60_000)), []);
    let refused: Vec<_> = office.counts().refused().collect();
    assert_eq!(refused[0], (Refusal::OffLink, 1));
    assert_eq!(refused[1], (Refusal::NotAHost, 4));
}

#[test]
fn a_network_that_was_left_takes_its_unproven_candidates_along() {
    let mut office = office();
    office.handle_heard(ms(0), [200; 32], address("10.0.0.2:4040")).unwrap();
    office.handle_heard(ms(0), [201; 32], address("10.0.0.3:4040")).unwrap();
    assert_eq!(events(&mut office, ms(0), ms(0)).len(), 1);
    office.handle_networks(vec!["172.16.0.1/24".parse().unwrap()]);
    let gone = DiscoveryEvent::Gone { candidate: Some([200; 32]), address: address("10.0.0.2:4040") };
    assert_eq!(events(&mut office, ms(0), ms(60_000)), [(ms(0), gone)]);
}

#[test]
fn a_configured_peer_is_dialled_wherever_it_is_and_never_given_up() {
    let mut office = office();
    assert!(office.handle_configured(ms(0), address("192.0.2.7:443")));
    let mut now = ms(0);
    for _ in 0..50 {
        now = next_event(&mut office, now, now + ms(60_000)).expect("dialled at least every minute").0;
        office.handle_failed(now, address("192.0.2.7:443"));
    }
}

#[test]
fn an_address_that_turns_out_to_be_ourselves_is_left_alone() {
    let mut office = office();
    office.handle_configured(ms(0), address("203.0.113.1:4040"));
    assert_eq!(events(&mut office, ms(0), ms(0)).len(), 1);
    office.handle_proven(ms(1), US, address("203.0.113.1:4040"));
    assert_eq!(events(&mut office, ms(1), ms(3_600_000)), []);
}

#[test]
fn a_node_that_never_answers_for_a_dial_counts_as_failed() {
    let mut office = office();
    office.handle_heard(ms(0), [200; 32], address("10.0.0.2:4040")).unwrap();
    let dials = events(&mut office, ms(0), ms(20_000));
    let times: Vec<_> = dials.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(0), DIAL_PATIENCE + FIRST_BACKOFF]);
}

#[test]
fn an_expired_announcement_ends_an_unproven_candidate_but_not_a_proven_one() {
    let mut office = office();
    office.handle_heard(ms(0), [200; 32], address("10.0.0.2:4040")).unwrap();
    office.handle_proven(ms(0), [201; 32], address("10.0.0.3:4040"));
    office.handle_unheard(address("10.0.0.2:4040"));
    office.handle_unheard(address("10.0.0.3:4040"));
    assert_eq!(office.counts().waiting, 0);
    assert_eq!(office.counts().connected, 1);
    assert_eq!(events(&mut office, ms(0), ms(60_000)), [], "it was never reported, so it is not reported gone");
}

#[test]
fn a_second_address_of_a_connected_neighbour_is_asked_once_and_then_left_alone() {
    let mut office = office();
    office.handle_proven(ms(0), [200; 32], address("10.0.0.2:4040"));
    office.handle_heard(ms(0), [200; 32], address("10.0.1.2:4040")).unwrap();
    assert_eq!(events(&mut office, ms(0), ms(0)), [(ms(0), dial(200, "10.0.1.2:4040"))]);
    office.handle_proven(ms(1), [200; 32], address("10.0.1.2:4040"));
    assert_eq!(events(&mut office, ms(1), ms(3_600_000)), []);
    assert_eq!(office.counts().connected, 1);
}

#[test]
fn what_a_member_tells_is_judged_like_an_announcement_and_dialled_without_a_head_start() {
    let mut office = office();
    office.handle_told(ms(0), [3; 32], address("10.0.0.3:4040")).unwrap();
    assert_eq!(events(&mut office, ms(0), ms(1_000)), [(ms(0), dial(3, "10.0.0.3:4040"))]);
    assert_eq!(office.handle_told(ms(1), [4; 32], address("192.0.2.1:4040")), Err(Refusal::OffLink));
    assert_eq!(office.handle_told(ms(1), [4; 32], address("127.0.0.1:4040")), Err(Refusal::NotAHost));
}

/// Friend number `n`, at an address of its own.
fn friend(n: u16) -> (NodeKey, SocketAddr) {
    let mut key = [50; 32];
    key[..2].copy_from_slice(&n.to_le_bytes());
    (key, SocketAddr::new([10, 0, 1 + (n / 200) as u8, 1 + (n % 200) as u8].into(), PORT))
}

/// Fails every dial between `from` and `until` but those to `alive`; when the first of those was dialled.
fn fail_all(office: &mut Neighbours, from: Duration, until: Duration, alive: &[SocketAddr]) -> Vec<Duration> {
    let (mut now, mut dialled) = (from, vec![None; alive.len()]);
    while let Some((at, event)) = next_event(office, now, until) {
        now = at;
        let DiscoveryEvent::Dial { address, .. } = event else { continue };
        match alive.iter().position(|known| *known == address) {
            Some(place) => _ = dialled[place].get_or_insert(at),
            None => office.handle_failed(at, address),
        }
    }
    dialled.into_iter().flatten().collect()
}

#[test]
fn friends_that_are_gone_for_good_do_not_keep_newcomers_waiting() {
    let mut office = office();
    for (key, address) in (0..400).map(friend) {
        office.handle_proven(ms(0), key, address);
        office.handle_lost(ms(0), key);
    }
    // Each is tried a few times, as one that may be back soon.
    let joined = ms(1_000_000);
    fail_all(&mut office, ms(0), joined, &[]);
    let newcomers = [address("192.0.2.7:443"), address("10.0.200.7:4040")];
    assert!(office.handle_configured(joined, newcomers[0]));
    office.handle_heard(joined, [201; 32], newcomers[1]).unwrap();
    let dialled = fail_all(&mut office, joined, joined + ms(1_000), &newcomers);
    assert_eq!(dialled.len(), 2, "{dialled:?}");
}

#[test]
fn a_member_that_comes_back_on_another_port_has_one_address_there() {
    let mut office = office();
    for port in 5_000..5_100 {
        office.handle_proven(ms(0), [200; 32], SocketAddr::new([10, 0, 0, 2].into(), port));
        office.handle_lost(ms(0), [200; 32]);
    }
    assert_eq!(office.counts().lost, 1);
    let dials = events(&mut office, LOST_PAUSE, LOST_PAUSE);
    assert_eq!(dials.last(), Some(&(LOST_PAUSE, dial(200, "10.0.0.2:5099"))), "the last one");
}

#[test]
fn a_member_has_a_few_addresses_and_those_that_are_configured() {
    let mut office = office();
    assert!(office.handle_configured(ms(0), address("10.0.0.2:9000")));
    office.handle_proven(ms(0), [200; 32], address("10.0.0.2:9000"));
    for host in 2..12 {
        office.handle_proven(ms(u64::from(host)), [200; 32], SocketAddr::new([10, 0, 0, host].into(), 4040));
    }
    office.handle_lost(ms(20), [200; 32]);
    assert_eq!(office.counts().lost, MAX_PER_KEY + 1);
    let dials = events(&mut office, ms(20), ms(20) + LOST_PAUSE + ms(5_000));
    let newest = dial(200, "10.0.0.11:4040");
    assert!(dials.iter().any(|(_, event)| *event == newest), "{dials:?}");
}

#[test]
fn keys_that_come_and_go_at_one_address_leave_few_behind() {
    let mut office = office();
    for n in 0..100 {
        let (key, _) = friend(n);
        office.handle_proven(ms(0), key, SocketAddr::new([10, 0, 0, 2].into(), 5_000 + n));
    }
    assert_eq!(office.counts().connected, 100, "as long as they are there");
    (0..100).for_each(|n| office.handle_lost(ms(0), friend(n).0));
    fail_all(&mut office, ms(0), ms(120_000), &[]);
    assert_eq!(office.counts().lost, MAX_LOST_PER_IP);
}
