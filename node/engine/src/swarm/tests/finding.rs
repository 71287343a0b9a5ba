//! Whom a member takes for the home, and when a home hands over to another one.

use super::*;

#[test]
fn a_member_joins_the_best_ranked_and_tells_the_two_after_it() {
    let ranked = ranked(6);
    let mut node = node(ranked[4], &[ranked[0], ranked[1], ranked[2], ranked[3], ranked[5]], 8);
    let said = said(&effects(&mut node));
    assert!(matches!(said.iter().find(|(to, _)| *to == ranked[0]), Some((_, Say::Join(_)))));
    let noted: Vec<Peer> = said.iter().filter(|(_, say)| matches!(say, Say::Note { .. })).map(|(to, _)| *to).collect();
    assert_eq!(noted, vec![ranked[1], ranked[2]]);
    assert_eq!(said.len(), 3);
}

#[test]
fn a_silent_home_is_passed_over_after_its_probe() {
    // Traps 12 and 18: announcements outlive their nodes.
    let ranked = ranked(4);
    let mut node = node(ranked[3], &ranked[..3], 8);
    effects(&mut node);
    assert_eq!(said(&pass(&mut node, JOIN_PROBE - ms(1))), vec![]);
    let said = said(&pass(&mut node, JOIN_PROBE));
    assert!(matches!(said.iter().find(|(to, _)| *to == ranked[1]), Some((_, Say::Join(_)))));
    assert_eq!(node.home(ORIGIN), Some(ranked[1]));
}

#[test]
fn a_home_that_answers_late_is_followed_after_all() {
    // A busy machine: two homes would read everything twice (trap 11).
    let ranked = ranked(2);
    let mut node = node(ranked[1], &ranked[..1], 8);
    effects(&mut node);
    pass(&mut node, JOIN_PROBE);
    assert_eq!(node.home(ORIGIN), Some(ranked[1]), "it acts itself meanwhile");
    let tag = content(8).tag();
    let answer = || Say::Assign { content: tag, collect: COLLECT_DONE, items: Vec::new() };
    let late = say(&mut node, JOIN_PROBE + ms(60), ranked[0], answer());
    assert!(matches!(said(&late).as_slice(), [(to, Say::Join(_))] if *to == ranked[0]), "{late:?}");
    assert_eq!((node.home(ORIGIN), reads(&late)), (Some(ranked[0]), vec![]));
    // The next answer may take as long.
    pass(&mut node, JOIN_PROBE + ms(60) + JOIN_PROBE);
    assert_eq!(node.home(ORIGIN), Some(ranked[0]));
}

#[test]
fn members_make_a_node_hear_of_a_bounded_number_of_origins() {
    let mut node = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
    node.handle_peer_up(peer(1), Weight::STEADY);
    for origin in 0..2 * ROOMS as u64 {
        let note = Message { origin: OriginKey(origin), say: Say::Note { home: peer(1) } };
        node.handle_message(ms(origin), peer(1), note);
    }
    assert!(node.origins() <= ROOMS);
}

#[test]
fn when_nobody_answers_the_member_is_its_own_home() {
    let ranked = ranked(3);
    let mut node = node(ranked[2], &ranked[..2], 8);
    let effects = pass(&mut node, 3 * JOIN_PROBE + TAKE_OVER_GRACE + ACTIVATION);
    assert!(!reads(&effects).is_empty());
    assert_eq!(node.home(ORIGIN), Some(ranked[2]));
}

#[test]
fn a_home_that_does_nothing_costs_five_seconds() {
    let ranked = ranked(2);
    let mut node = node(ranked[1], &ranked[..1], 8);
    effects(&mut node);
    // It answers the JOIN, and then never again.
    let answer = Say::Assign { content: content(8).tag(), collect: ms(20), items: vec![] };
    say(&mut node, ms(1), ranked[0], answer);
    assert!(reads(&pass(&mut node, ms(2000))).is_empty());
    let effects = pass(&mut node, WATCHDOG + ms(1000));
    assert!(!reads(&effects).is_empty(), "{effects:?}");
}

#[test]
fn a_home_that_knows_of_a_better_one_sends_members_there() {
    // Trap 11: two homes read everything twice.
    let ranked = ranked(3);
    let mut home = node(ranked[1], &[], 8);
    effects(&mut home);
    say(&mut home, ms(1), ranked[2], join(&[], 8, vec![]));
    let said = said(&say(&mut home, ms(2), ranked[2], Say::Note { home: ranked[0] }));
    assert!(said.contains(&(ranked[2], Say::Redirect { home: ranked[0] })), "{said:?}");
    assert!(said.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_))));
}

#[test]
fn a_follower_tells_a_lesser_home_of_the_better_one() {
    // Trap 11 again, when neither home knows the other.
    let ranked = ranked(3);
    let mut member = node(ranked[2], &ranked[..1], 8);
    effects(&mut member);
    say(&mut member, ms(1), ranked[0], Say::Assign { content: content(8).tag(), collect: ms(20), items: vec![] });
    let said = said(&say(&mut member, ms(2), ranked[1], Say::Query { content: content(8) }));
    assert!(said.contains(&(ranked[1], Say::Note { home: ranked[0] })), "{said:?}");
}
