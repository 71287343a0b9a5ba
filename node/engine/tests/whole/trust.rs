//! On whose word files are believed, as sentences: witnesses, second fetches, doubts.

use crate::rig::world::{Manner, Neighbour, Origin, unreachable};
use crate::rig::{Rig, job};
use eddy_engine::JobState;
use eddy_engine::trust::{AuditShare, Policy, Witnesses};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 32 * MIB;
const HOUR: Duration = Duration::from_secs(3600);

fn rig(policy: Policy) -> Rig {
    let mut rig = Rig::new(7).trusting(policy);
    rig.set_origin("a", Origin::new(LENGTH));
    rig
}

fn witnesses(witnesses: Witnesses) -> Policy {
    Policy { witnesses, ..Policy::default() }
}

fn run(rig: &mut Rig) {
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.delivered(id, 0), Some(1));
}

#[test]
fn one_statement_is_enough_and_a_little_is_looked_at_twice() {
    let mut rig = rig(Policy::default());
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    run(&mut rig);
    assert!(rig.count("audit") >= 1);
    let origin = rig.origin("a");
    assert_eq!(origin.sent, 0);
    assert!((1..=LENGTH / 8).contains(&origin.audited), "{}", origin.audited);
}

#[test]
fn nothing_is_looked_at_twice_where_the_policy_says_so_or_nothing_came_from_peers() {
    let mut off = rig(Policy { audit: AuditShare::OFF, ..Policy::default() });
    off.connect(1, Neighbour::new(Manner::Serves, 0..512));
    run(&mut off);
    let mut alone = rig(Policy::default());
    run(&mut alone);
    assert_eq!((off.count("audit"), alone.count("audit")), (0, 0));
}

#[test]
fn a_second_fetch_that_fails_holds_nothing_up_for_long() {
    let mut rig = rig(Policy::default());
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.count("fetch peer") > 0);
    rig.origin("a").failing = Some((u32::MAX, unreachable()));
    let began = rig.now;
    rig.run_to_state(id, JobState::Acknowledged);
    assert!(rig.now - began < Duration::from_secs(10));
}

#[test]
fn a_liar_that_is_caught_costs_its_blocks_and_they_come_from_the_origin() {
    let mut rig = rig(Policy { audit: AuditShare::percent(100), ..Policy::default() });
    rig.connect(1, Neighbour::new(Manner::Poisons, 0..512));
    run(&mut rig);
    assert_eq!(rig.disk.poisoned_parts, 0);
    assert!(rig.origin("a").sent > 0, "the truth came from the origin");
}

#[test]
fn who_lies_about_a_whole_file_is_always_caught_before_it_is_delivered() {
    for seed in 0..200 {
        let mut rig = Rig::new(seed).trusting(Policy::default());
        rig.set_origin("a", Origin::new(LENGTH));
        rig.connect(1, Neighbour::new(Manner::Poisons, 0..512));
        run(&mut rig);
        assert_eq!(rig.disk.poisoned_parts, 0, "seed {seed}");
    }
}

#[test]
fn two_witnesses_agree_or_the_origin_gives_the_block() {
    let mut rig = rig(witnesses(Witnesses::Two));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    rig.connect(2, Neighbour::new(Manner::Serves, 0..256));
    run(&mut rig);
    let origin = rig.origin("a");
    assert!(origin.sent >= LENGTH / 2, "one member alone vouches for the second half: {}", origin.sent);
    assert!(origin.sent < LENGTH, "two vouch for the first: {}", origin.sent);
    assert_eq!(rig.count("audit"), 0, "two members agree");
}

#[test]
fn with_one_member_two_witnesses_cost_one_more_copy() {
    let mut rig = rig(witnesses(Witnesses::Two));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    run(&mut rig);
    assert_eq!(rig.origin("a").sent, LENGTH);
}

#[test]
fn three_witnesses_are_three() {
    let mut rig = rig(witnesses(Witnesses::Three));
    for number in 1..=3 {
        rig.connect(number, Neighbour::new(Manner::Serves, 0..512));
    }
    run(&mut rig);
    assert_eq!(rig.origin("a").sent, 0);
}

#[test]
fn without_a_digest_nothing_comes_from_peers_where_the_policy_wants_one() {
    let mut rig = rig(witnesses(Witnesses::DigestOnly));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    run(&mut rig);
    assert_eq!((rig.origin("a").sent, rig.count("fetch peer")), (LENGTH, 0));
}
