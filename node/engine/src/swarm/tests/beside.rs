//! Several contents of one origin at one member.

use super::*;

/// The content of this number, of eight segments.
fn numbered(n: u8) -> Content {
    Content { key: LookupKey([n; 32]), ..content(8) }
}

fn start(node: &mut Swarm, now: Duration, n: u8) -> Vec<Effect> {
    node.start(now, ORIGIN, numbered(n), Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    effects(node)
}

/// Contents that the home was told of.
fn joined(effects: &[Effect], home: Peer) -> Vec<ContentTag> {
    let joined = said(effects).into_iter().filter_map(|(to, say)| match say {
        Say::Join(join) if to == home => Some(join.content.tag()),
        _ => None,
    });
    joined.collect()
}

fn heard(node: &mut Swarm, now: Duration, home: Peer, n: u8) {
    say(node, now, home, Say::Assign { content: numbered(n).tag(), collect: ms(20), items: vec![] });
}

/// A member that follows a home, with the contents 1 to `count`.
fn member(count: u8) -> (Swarm, Peer) {
    let ranked = ranked(2);
    let mut member = Swarm::new(ranked[1], LINE, Weight::STEADY, 1);
    member.handle_peer_up(ms(0), ranked[0], Weight::STEADY);
    for n in 1..=count {
        start(&mut member, ms(0), n);
        heard(&mut member, ms(0), ranked[0], n);
    }
    (member, ranked[0])
}

#[test]
fn a_home_that_is_followed_is_told_of_a_new_content_and_of_no_other() {
    // The others crossed what the home had just given, which was void then and read by two.
    let (mut member, home) = member(3);
    assert_eq!(joined(&start(&mut member, ms(10), 4), home), vec![numbered(4).tag()]);
}

#[test]
fn a_content_of_which_nothing_comes_is_told_again_while_another_one_moves() {
    let (mut member, home) = member(2);
    let mut again = Vec::new();
    for tick in 1..70_u64 {
        let now = ms(100 * tick);
        member.handle_blocks(now, numbered(1).tag(), (tick / 16) as u32, (tick % 16) as u32 + 1);
        let told = joined(&pass(&mut member, now), home);
        if !told.is_empty() {
            heard(&mut member, now, home, 2);
        }
        again.extend(told);
    }
    assert_eq!(again, vec![numbered(2).tag(); 2], "after 2 s, and after 4 s more");
}

#[test]
fn a_home_that_starves_one_content_is_left_though_it_serves_another() {
    let (mut member, home) = member(2);
    let mut now = ms(0);
    let mut step = |member: &mut Swarm| {
        now += ms(200);
        // Never whole: eight segments are soon over.
        member.handle_blocks(now, numbered(1).tag(), (now.as_millis() / 200 % 8) as u32, 1);
        heard(member, now, home, 1);
        pass(member, now);
        now
    };
    while step(&mut member) < HOME_WORTH * 2 - ms(500) {
        assert_eq!(member.home(ORIGIN), Some(home), "the two may take turns");
    }
    while step(&mut member) < HOME_WORTH * 2 + ms(1000) {}
    assert_ne!(member.home(ORIGIN), Some(home));
}
