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
    assert_eq!(said.iter().filter(|(_, say)| !matches!(say, Say::Seek { .. })).count(), 3);
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
    node.handle_peer_up(Duration::ZERO, peer(1), Weight::STEADY);
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

/// Whether somebody was told that this one is the home.
fn is_told(told: &[(Peer, Say)], to: Peer, home: Peer) -> bool {
    told.contains(&(to, Say::Note { home }))
}

#[test]
fn who_takes_no_part_tells_a_home_of_the_better_one_that_acts_too() {
    let ranked = ranked(3);
    for order in [[0, 1], [1, 0]] {
        let mut idle = Swarm::new(ranked[2], LINE, Weight::STEADY, 1);
        ranked[..2].iter().for_each(|other| idle.handle_peer_up(ms(0), *other, Weight::STEADY));
        let query = || Say::Query { content: content(8) };
        let first = said(&say(&mut idle, ms(1), ranked[order[0]], query()));
        assert!(first.iter().all(|(_, say)| matches!(say, Say::HaveAny { .. })), "it knows of one only: {first:?}");
        let second = said(&say(&mut idle, ms(2), ranked[order[1]], query()));
        assert!(is_told(&second, ranked[1], ranked[0]), "{second:?}");
        assert!(is_told(&second, ranked[0], ranked[1]), "whose members will come to it: {second:?}");
        // With its last answer a home begins to let others read: that there is a better one it hears before.
        let to_lesser = second.iter().filter(|(to, _)| *to == ranked[1]).map(|(_, say)| say).next();
        assert!(matches!(to_lesser, Some(Say::Note { .. })), "{second:?}");
    }
}

#[test]
fn a_lesser_home_that_asked_too_early_is_told_when_the_better_one_answers() {
    let ranked = ranked(3);
    let mut member = node(ranked[2], &ranked[..2], 8);
    effects(&mut member);
    let early = said(&say(&mut member, ms(1), ranked[1], Say::Query { content: content(8) }));
    assert!(!is_told(&early, ranked[1], ranked[0]), "nobody knows yet whether the better one is there: {early:?}");
    let assign = || Say::Assign { content: content(8).tag(), collect: ms(20), items: vec![] };
    let late = said(&say(&mut member, ms(200), ranked[0], assign()));
    assert!(is_told(&late, ranked[1], ranked[0]), "{late:?}");
    // And whenever it leads this member though it is not followed.
    let soon = said(&say(&mut member, ms(300), ranked[1], assign()));
    assert!(!is_told(&soon, ranked[1], ranked[0]), "it has just been told: {soon:?}");
    let again = said(&say(&mut member, ms(200) + TAKE_OVER_GRACE, ranked[1], assign()));
    assert!(is_told(&again, ranked[1], ranked[0]), "{again:?}");
}

#[test]
fn a_home_that_was_named_before_the_job_began_is_joined() {
    let ranked = ranked(3);
    let mut late = Swarm::new(ranked[1], LINE, Weight::STEADY, 1);
    late.handle_peer_up(ms(0), ranked[2], Weight::STEADY);
    say(&mut late, ms(1), ranked[2], Say::Note { home: ranked[0] });
    let wants = Some((Order::Rarest, Patience::Foreground));
    late.start(ms(50), ORIGIN, content(8), Bits::none(8), wants);
    let told = said(&effects(&mut late));
    assert!(told.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_))), "{told:?}");
    assert!(!told.iter().any(|(_, say)| matches!(say, Say::Query { .. })), "it does not act itself: {told:?}");
}

#[test]
fn what_was_said_to_a_home_before_there_was_a_way_to_it_is_said_again() {
    let ranked = ranked(3);
    let mut member = node(ranked[1], &ranked[2..], 8);
    effects(&mut member);
    let is_join = |told: &[(Peer, Say)]| told.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_)));
    assert!(is_join(&said(&say(&mut member, ms(1), ranked[2], Say::Note { home: ranked[0] }))));
    member.handle_peer_up(ms(80), ranked[0], Weight::STEADY);
    assert!(is_join(&said(&effects(&mut member))));
    // It has the whole of its time from then on.
    pass(&mut member, ms(80) + JOIN_PROBE - ms(1));
    assert_eq!(member.home(ORIGIN), Some(ranked[0]));
}

#[test]
fn a_home_that_could_not_be_reached_is_asked_as_long_as_somebody_names_it() {
    let ranked = ranked(3);
    let mut home = node(ranked[1], &ranked[2..], 8);
    effects(&mut home);
    let note = || Say::Note { home: ranked[0] };
    say(&mut home, ms(1), ranked[2], note());
    pass(&mut home, ms(1) + JOIN_PROBE);
    assert_eq!(home.home(ORIGIN), Some(ranked[1]), "nothing came of it: it acts itself");
    let is_query =
        |told: &[(Peer, Say)]| told.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Query { .. }));
    say(&mut home, ms(900), ranked[2], note());
    assert_eq!(home.home(ORIGIN), Some(ranked[1]), "hearsay is not enough");
    assert!(is_query(&said(&pass(&mut home, ms(900) + BETTER_HOME / 5))), "its own word is");
    assert!(is_query(&said(&pass(&mut home, ms(900) + BETTER_HOME * 2))), "and it is asked again");
    let answer = Say::HaveAny { content: content(8).tag(), role: Role::Acting, holdings: None };
    let told = said(&say(&mut home, ms(2000), ranked[0], answer));
    assert!(told.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_))), "{told:?}");
}

#[test]
fn a_home_asks_whoever_turns_up_and_hands_over_to_a_better_one_at_once() {
    let ranked = ranked(3);
    let mut home = node(ranked[1], &[], 8);
    effects(&mut home);
    for other in [ranked[2], ranked[0]] {
        home.handle_peer_up(ms(50), other, Weight::STEADY);
        let told = said(&effects(&mut home));
        assert_eq!(told, vec![(other, Say::Query { content: content(8) })]);
    }
    let answer = Say::HaveAny { content: content(8).tag(), role: Role::Acting, holdings: None };
    let told = said(&say(&mut home, ms(51), ranked[0], answer));
    assert!(matches!(told.as_slice(), [(to, Say::Join(_))] if *to == ranked[0]), "{told:?}");
}

#[test]
fn a_home_that_takes_over_from_a_lesser_one_lets_nobody_read_before_its_members_have_said_what_they_have() {
    let ranked = ranked(4);
    // The lesser one leads a member when it hears of the better one, and is asked by that one a moment later.
    let mut lesser = node(ranked[1], &ranked[2..], 8);
    effects(&mut lesser);
    say(&mut lesser, ms(1), ranked[3], join(&[], 8, vec![]));
    let told = said(&say(&mut lesser, ms(2), ranked[2], Say::Note { home: ranked[0] }));
    assert!(told.contains(&(ranked[3], Say::Redirect { home: ranked[0] })), "{told:?}");
    let answers = |node: &mut Swarm, at| {
        let told = said(&say(node, at, ranked[0], Say::Query { content: content(8) }));
        let acting = |(_, say): &(Peer, Say)| matches!(say, Say::HaveAny { role: Role::Acting, .. });
        told.iter().any(acting)
    };
    assert!(answers(&mut lesser, ms(3)));
    assert!(!answers(&mut lesser, ms(3) + TAKE_OVER_MOST), "by then all have arrived");
    // The better one waits for that member, which it need not know.
    let mut better = node(ranked[0], &ranked[1..2], 8);
    effects(&mut better);
    let begun = reads(&say(&mut better, ms(3), ranked[1], have_any(Role::Acting)));
    assert_eq!(begun, vec![]);
    let told = said(&say(&mut better, ms(200), ranked[3], join(&[0, 1], 8, vec![])));
    assert!(items(&told, ranked[3]).is_empty(), "{told:?}");
    // Once for each home: who says again and again that it acts holds nobody up.
    say(&mut better, ms(250), ranked[1], have_any(Role::Acting));
    let all = pass(&mut better, ms(3) + TAKE_OVER_GRACE);
    let read = reads(&all).into_iter().chain(items(&said(&all), ranked[3]).into_iter().filter_map(|item| match item {
        Item::Lease { lease, segments } => Some((lease, segments)),
        Item::From { .. } | Item::Held { .. } => None,
    }));
    let mut read: Vec<u32> = read.map(|(_, segments)| segments.start).collect();
    read.sort_unstable();
    assert_eq!(read, vec![2, 3, 4, 5]);
}

#[test]
fn who_has_just_given_way_to_a_home_does_not_take_it_for_lost_on_the_word_of_another() {
    // After a split many have lost it: all would act and give way in turn, as quickly as messages go.
    let ranked = ranked(3);
    let mut node = node(ranked[1], &ranked[2..], 8);
    node.handle_peer_up(ms(10), ranked[0], Weight::STEADY);
    effects(&mut node);
    say(&mut node, ms(20), ranked[0], have_any(Role::Acting));
    assert_eq!(node.home(ORIGIN), Some(ranked[0]));
    let told = said(&say(&mut node, ms(21), ranked[2], join_after(ranked[0], 8, vec![])));
    assert!(told.contains(&(ranked[2], Say::Redirect { home: ranked[0] })), "{told:?}");
    assert_eq!(node.home(ORIGIN), Some(ranked[0]));
    say(&mut node, ms(20) + TAKE_OVER_GRACE, ranked[2], join_after(ranked[0], 8, vec![]));
    assert_eq!(node.home(ORIGIN), Some(ranked[1]), "a while later it may be so");
}
