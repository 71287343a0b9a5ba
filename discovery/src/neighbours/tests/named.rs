//! Configured names whose peers move, in virtual time.

use super::*;
use crate::named::MAX_MISSED_ANSWERS;
use crate::table::MAX_CONFIGURED;

/// Names are asked once a minute.
fn minute(number: u32) -> Duration {
    Duration::from_secs(60) * number
}

fn host(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([192, 168, high, low], PORT))
}

fn has(neighbours: &Neighbours, address: SocketAddr) -> bool {
    neighbours.table.candidate(&address).is_some()
}

/// What is told when everything that is due has been dialled, and has failed.
fn dial_all(neighbours: &mut Neighbours, now: Duration) -> Vec<DiscoveryEvent> {
    let (mut now, mut told) = (now, Vec::new());
    while let Some(event) = neighbours.poll_event(now) {
        if let DiscoveryEvent::Dial { address, .. } = event {
            neighbours.handle_failed(now, address);
        }
        told.push(event);
        now += DIAL_SPACING;
    }
    told
}

#[test]
fn a_name_that_moves_each_minute_for_a_day_never_crowds_out_a_new_address() {
    let mut office = office();
    for moved in 0..1_440_u16 {
        assert_eq!(office.handle_resolved(minute(moved.into()), 0, &[host(moved)]), [], "minute {moved}");
        assert!(has(&office, host(moved)));
        assert!(office.counts().configured <= MAX_MISSED_ANSWERS as usize);
    }
}

#[test]
fn an_address_that_its_name_has_left_is_forgotten_and_the_node_hears_of_it() {
    let mut office = office();
    office.handle_resolved(minute(0), 0, &[host(1)]);
    assert_eq!(dial_all(&mut office, minute(0)), [DiscoveryEvent::Dial { candidate: None, address: host(1) }]);
    for n in 1..=MAX_MISSED_ANSWERS {
        assert!(has(&office, host(1)), "answer {n}");
        office.handle_resolved(minute(n), 0, &[host(2)]);
    }
    assert!(!has(&office, host(1)) && has(&office, host(2)));
    assert_eq!(office.poll_event(minute(6)), Some(DiscoveryEvent::Gone { candidate: None, address: host(1) }));
}

#[test]
fn a_name_of_many_machines_that_names_a_few_in_turn_loses_none() {
    let mut office = office();
    for n in 0..50_u32 {
        let turn = (n % MAX_MISSED_ANSWERS) as u16;
        office.handle_resolved(minute(n), 0, &[host(turn)]);
    }
    assert_eq!(office.counts().configured, MAX_MISSED_ANSWERS as usize);
}

#[test]
fn a_name_that_does_not_resolve_keeps_what_it_said() {
    let mut office = office();
    office.handle_resolved(minute(0), 0, &[host(1)]);
    for n in 1..10_000 {
        office.handle_unresolved(0);
        assert!(has(&office, host(1)), "minute {n}");
    }
    office.handle_resolved(minute(10_000), 0, &[host(2)]);
    assert!(has(&office, host(1)), "one answer without it is not enough");
}

#[test]
fn what_another_entry_says_and_who_is_connected_stay() {
    let mut office = office();
    office.handle_resolved(minute(0), 0, &[host(1), host(2), host(3)]);
    office.handle_resolved(minute(0), 1, &[host(1)]);
    assert!(office.handle_configured(minute(0), host(2)));
    office.handle_proven(minute(0), [7; 32], host(3));
    for n in 1..100 {
        office.handle_resolved(minute(n), 0, &[host(4)]);
        office.handle_resolved(minute(n), 1, &[host(1)]);
    }
    assert!((1..=4).all(|number| has(&office, host(number))));
    office.handle_lost(minute(100), [7; 32]);
    office.handle_resolved(minute(100), 0, &[host(4)]);
    assert!(!has(&office, host(3)), "it is neither named nor connected");
}

#[test]
fn at_the_cap_who_was_named_longest_ago_gives_way_and_nobody_who_is_named_does() {
    let mut office = office();
    let most = MAX_CONFIGURED as u16;
    for number in 0..most {
        assert_eq!(office.handle_resolved(minute(number.into()), number.into(), &[host(number)]), []);
    }
    let new = |number: u16| host(1_000 + number);
    let late = minute(1_000);
    assert_eq!(office.handle_resolved(late, 1_000, &[new(0)]), [new(0)], "all are named");
    // Two names fail, a third has moved within its five minutes: the one that was named first goes first.
    office.handle_unresolved(7);
    office.handle_unresolved(3);
    assert_eq!(office.handle_resolved(late, 1_000, &[new(0), new(1)]), []);
    assert!(!has(&office, host(3)) && !has(&office, host(7)));
    assert_eq!(office.handle_resolved(late, 5, &[new(2)]), []);
    assert!(!has(&office, host(5)) && has(&office, new(2)));
    assert_eq!(office.counts().configured, MAX_CONFIGURED);
    // A written address takes a place likewise, and gives it to nobody.
    office.handle_unresolved(9);
    assert!(office.handle_configured(late, new(3)));
    assert!(!office.handle_configured(late, new(4)));
    assert!(!has(&office, host(9)) && has(&office, new(3)));
}

#[test]
fn who_is_being_dialled_does_not_give_way() {
    let mut office = office();
    for number in 0..MAX_CONFIGURED as u16 {
        office.handle_resolved(minute(0), number.into(), &[host(number)]);
    }
    let Some(DiscoveryEvent::Dial { address, .. }) = office.poll_event(minute(0)) else {
        panic!("somebody is dialled")
    };
    let entry = (0..MAX_CONFIGURED).find(|entry| host(*entry as u16) == address).unwrap();
    office.handle_unresolved(entry);
    assert_eq!(office.handle_resolved(minute(0), 1_000, &[host(1_000)]), [host(1_000)]);
    office.handle_failed(minute(0), address);
    assert_eq!(office.handle_resolved(minute(0), 1_000, &[host(1_000)]), []);
}
