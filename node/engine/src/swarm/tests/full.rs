//! Homes that have no place for one more content, and whom they send away.

use super::*;

const MEMBER: u8 = 10;

/// The content of this number, of one segment.
fn numbered(n: u64) -> Content {
    Content { key: LookupKey(*blake3::hash(&n.to_le_bytes()).as_bytes()), ..content(1) }
}

/// A JOIN for that content of one that wants it, or only gives it.
fn join_for(n: u64, wants: Option<Order>) -> Say {
    let Say::Join(join) = join(&[], 1, vec![]) else { unreachable!() };
    Say::Join(Box::new(Join { content: numbered(n), wants, ..*join }))
}

/// A home that knows as many contents as it may.
fn full(wants: Option<Order>) -> Swarm {
    let mut home = home_with(&[], 1);
    for n in 0..CONTENTS as u64 {
        say(&mut home, ms(n), peer(MEMBER), join_for(n, wants));
    }
    home
}

fn is_refused(effects: &[Effect]) -> bool {
    said(effects).iter().any(|(_, say)| *say == Say::NotHome)
}

#[test]
fn a_full_home_forgets_what_nobody_wants_for_one_more_content_and_refuses_while_all_is_wanted() {
    let (last, wants) = (CONTENTS as u64, Some(Order::Rarest));
    let mut home = full(None);
    for n in last..last + 3 {
        assert!(!is_refused(&say(&mut home, ms(n), peer(11), join_for(n, wants))), "{n}");
    }
    let mut home = full(wants);
    assert!(is_refused(&say(&mut home, ms(last), peer(11), join_for(last, wants))));
}

#[test]
fn a_node_whose_home_is_full_takes_what_it_wants_itself() {
    // It asked itself again and again, and its room never came to an end.
    let mut home = full(Some(Order::Rarest));
    let own = numbered(u64::MAX);
    home.start(ms(5000), ORIGIN, own, Bits::none(1), Some((Order::Rarest, Patience::Foreground)));
    let done = effects(&mut home);
    assert!(!done.contains(&Effect::Over { content: own.tag() }), "{done:?}");
    assert_eq!(home.glance(own.tag()).and_then(|glance| glance.others), Some(0));
}

#[test]
fn a_content_of_which_a_member_named_another_length_is_taken_without_a_swarm() {
    let mut home = home_with(&[], 8);
    let own = content(8);
    let Say::Join(lie) = join(&[], 9, vec![]) else { unreachable!() };
    assert_eq!(lie.content.tag(), own.tag());
    say(&mut home, ms(1), peer(MEMBER), Say::Join(lie));
    home.start(ms(2), ORIGIN, own, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    assert_eq!(effects(&mut home), vec![Effect::Over { content: own.tag() }]);
    assert_eq!(home.glance(own.tag()), None);
}

#[test]
fn a_home_that_serves_and_refuses_in_one_breath_is_not_asked_each_time() {
    let ranked = ranked(2);
    let mut member = node(ranked[1], &ranked[..1], 8);
    effects(&mut member);
    let mut asked = 0;
    for round in 1..20 {
        let now = ms(10 * round);
        let assign = Say::Assign { content: content(8).tag(), collect: ms(20), items: vec![] };
        say(&mut member, now, ranked[0], assign);
        let told = said(&say(&mut member, now, ranked[0], Say::NotHome));
        asked += told.iter().filter(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_))).count();
    }
    assert_eq!(asked, 1, "it may have begun anew, and is asked once");
    assert_eq!(member.home(ORIGIN), Some(ranked[0]));
    // Where it goes on like that the watchdog asks.
    let told = said(&pass(&mut member, IDLE_JOIN + WATCH * 2));
    assert!(told.iter().any(|(to, say)| *to == ranked[0] && matches!(say, Say::Join(_))), "{told:?}");
}
