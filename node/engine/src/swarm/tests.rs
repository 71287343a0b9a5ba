//! Single machines in virtual time; whole fleets are in the fleet simulator. Traps are numbered as in the design.

use super::constants::*;
use super::*;
use crate::port::Peer;
use crate::trust::{Duty, Sharing};
use eddy_content::LookupKey;
use std::time::Duration;

mod alone;
mod hearsay;
mod holders;
mod streams;
mod successors;

const ORIGIN: OriginKey = OriginKey(7);
const LINE: Link = Link { up: 1_000_000_000, down: 1_000_000_000, medium: Medium::Wired, subnet: 0 };

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn peer(n: u8) -> Peer {
    Peer(*blake3::hash(&[n]).as_bytes())
}

fn content(segments: u64) -> Content {
    Content { key: LookupKey([9; 32]), length: segments << 20, reading: Reading::Ranges }
}

/// A node that knows these others, with a job of so many segments begun at time 0.
fn node(me: Peer, others: &[Peer], segments: u64) -> Swarm {
    let mut node = Swarm::new(me, LINE, Weight::STEADY, 1);
    others.iter().for_each(|other| node.handle_peer_up(*other, Weight::STEADY));
    let wants = Some((Order::Rarest, Patience::Foreground));
    node.start(Duration::ZERO, ORIGIN, content(segments), Bits::none(segments as u32), wants);
    node
}

/// Members by rank for the origin, best first.
fn ranked(count: u8) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(peer).collect();
    let of = |peer: &Peer| rank::rank(ORIGIN, peer, Weight::STEADY);
    peers.sort_by(|a, b| of(b).total_cmp(&of(a)));
    peers
}

fn effects(node: &mut Swarm) -> Vec<Effect> {
    std::iter::from_fn(|| node.poll_effect()).collect()
}

fn said(effects: &[Effect]) -> Vec<(Peer, Say)> {
    let said = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => Some((*to, message.say.clone())),
        _ => None,
    });
    said.collect()
}

fn reads(effects: &[Effect]) -> Vec<(LeaseId, std::ops::Range<u32>)> {
    let reads = effects.iter().filter_map(|effect| match effect {
        Effect::Read { lease, segments, .. } => Some((*lease, segments.clone())),
        _ => None,
    });
    reads.collect()
}

fn say(node: &mut Swarm, now: Duration, from: Peer, say: Say) -> Vec<Effect> {
    node.handle_message(now, from, Message { origin: ORIGIN, say });
    effects(node)
}

/// Lets time pass until `until`, and collects what the node does.
fn pass(node: &mut Swarm, until: Duration) -> Vec<Effect> {
    let mut done = effects(node);
    while let Some(at) = node.poll_timeout().filter(|at| *at <= until) {
        node.handle_timeout(at);
        done.extend(effects(node));
    }
    done
}

fn join(have: &[u32], segments: u64, flows: Vec<JoinFlow>) -> Say {
    let mut bits = Bits::none(segments as u32);
    have.iter().for_each(|segment| bits.insert(*segment));
    let wants = Some(Order::Rarest);
    Say::Join(Box::new(Join { content: content(segments), link: LINE, wants, have: bits, flows, lost: vec![] }))
}

/// A JOIN of somebody who has lost a home.
fn join_after(lost: Peer, segments: u64, flows: Vec<JoinFlow>) -> Say {
    let Say::Join(join) = join(&[], segments, flows) else { unreachable!() };
    Say::Join(Box::new(Join { lost: vec![lost], ..*join }))
}

fn items(said: &[(Peer, Say)], to: Peer) -> Vec<Item> {
    let items = said.iter().filter(|(peer, _)| *peer == to).filter_map(|(_, say)| match say {
        Say::Assign { items, .. } => Some(items.clone()),
        _ => None,
    });
    items.flatten().collect()
}

fn have_any(role: Role) -> Say {
    Say::HaveAny { content: content(8).tag(), role, holdings: None }
}

#[test]
fn a_node_alone_reads_at_once_and_says_nothing_to_anybody() {
    let mut node = node(peer(0), &[], 40);
    let effects = effects(&mut node);
    assert_eq!(said(&effects), vec![]);
    let first: Vec<u32> = reads(&effects).iter().map(|(_, segments)| segments.start).collect();
    assert_eq!(first, vec![0, 1, 2, 3], "four leases, the lowest segments first (traps 1 and 2)");
}

#[test]
fn the_next_lease_begins_before_the_last_has_ended() {
    // Trap 14: equal streams fall into step and rest together for a round trip.
    let mut node = node(peer(0), &[], 40);
    effects(&mut node);
    let tag = content(40).tag();
    for block in 1..16 {
        node.handle_blocks(ms(40 + 20 * u64::from(block)), tag, 0, block);
    }
    let begun = reads(&effects(&mut node));
    assert_eq!(
        begun.iter().map(|(_, segments)| segments.start).collect::<Vec<_>>(),
        vec![4],
        "while segment 0 lacks a block"
    );
}

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

#[test]
fn a_home_waits_for_the_holdings_of_others_before_it_reads() {
    let ranked = ranked(3);
    let mut home = node(ranked[0], &ranked[1..], 8);
    let before = pass(&mut home, ms(10));
    assert!(reads(&before).is_empty());
    say(&mut home, ms(11), ranked[1], have_any(Role::Plain));
    let after = say(&mut home, ms(12), ranked[2], have_any(Role::Plain));
    assert!(!reads(&after).is_empty(), "when all have answered");
}

#[test]
fn a_home_does_not_wait_for_the_dead() {
    let ranked = ranked(3);
    let mut home = node(ranked[0], &ranked[1..], 8);
    assert!(reads(&pass(&mut home, ACTIVATION - ms(1))).is_empty());
    assert!(!reads(&pass(&mut home, ACTIVATION)).is_empty());
}

/// A home alone with a reader of segment 0 and a second member, all leases taken by others than the reader's.
fn home_with(members: &[Peer], segments: u64) -> Swarm {
    let home = ranked(1)[0];
    let mut home = Swarm::new(home, LINE, Weight::STEADY, 1);
    for member in members {
        say(&mut home, ms(1), *member, join(&[], segments, vec![]));
    }
    home
}

#[test]
fn children_hang_on_a_reader_while_it_reads() {
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader], 1);
    let said = said(&say(&mut home, ms(2), child, join(&[], 1, vec![])));
    assert_eq!(items(&said, child), vec![Item::From { segment: 0, source: PeerTag::of(&reader) }]);
}

#[test]
fn a_dead_readers_child_with_a_part_reads_on() {
    // Trap 4, and the hold: nobody waits for orphans, nobody begins at 0 what a child has half of.
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader, child], 1);
    let tag = content(1).tag();
    home.handle_peer_down(ms(500), reader);
    let source = Some(PeerTag::of(&reader));
    let fail = Say::Fail { content: tag, segment: 0, source, reason: FailReason::Dead, prefix: 8 };
    let mut all = effects(&mut home);
    all.extend(say(&mut home, ms(510), child, fail));
    assert!(items(&said(&all), child).is_empty(), "the hold: a longer part may be told");
    let later = said(&pass(&mut home, ms(500) + ORPHAN_HOLD + SAFETY_PASS));
    assert!(matches!(items(&later, child)[..], [Item::Lease { .. }]), "{later:?}");
}

#[test]
fn who_starves_behind_a_live_reader_keeps_its_source() {
    // Trap 6: one slow origin must not start a storm.
    let (reader, child) = (peer(10), peer(11));
    let mut home = home_with(&[reader, child], 1);
    let source = Some(PeerTag::of(&reader));
    let fail = Say::Fail { content: content(1).tag(), segment: 0, source, reason: FailReason::Starved, prefix: 2 };
    assert_eq!(say(&mut home, ms(900), child, fail), vec![]);
}

#[test]
fn a_child_tells_starving_from_stalling() {
    // Trap 6, at the member.
    let ranked = ranked(3);
    let source = ranked[1];
    let mut child = node(ranked[2], &ranked[..2], 1);
    effects(&mut child);
    let tag = content(1).tag();
    let item = Item::From { segment: 0, source: PeerTag::of(&source) };
    say(&mut child, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] });
    child.handle_blocks(ms(10), tag, 0, 2);
    say(&mut child, ms(700), source, Say::Waiting { content: tag, segment: 0, prefix: 2 });
    let told = said(&pass(&mut child, ms(1500)));
    let reasons = |told: &[(Peer, Say)]| {
        let reasons = told.iter().filter_map(|(_, say)| match say {
            Say::Fail { reason, .. } => Some(*reason),
            _ => None,
        });
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(reasons(&told), vec![FailReason::Starved], "the flow is kept");
    // From now on its source says nothing of waiting any more.
    let told = said(&pass(&mut child, ms(700) + WAITING_LIFE + SILENCE + ms(600)));
    assert_eq!(reasons(&told).last(), Some(&FailReason::Stalled), "{told:?}");
}

#[test]
fn a_subscriber_waits_for_its_sources_own_assignment() {
    // Trap 7: SUB overtakes ASSIGN.
    let ranked = ranked(2);
    let mut parent = node(ranked[1], &[ranked[0]], 4);
    effects(&mut parent);
    let tag = content(4).tag();
    parent.handle_subscribe(ms(5), peer(21), tag, 0, 0);
    assert_eq!(effects(&mut parent), vec![]);
    let item = Item::From { segment: 0, source: PeerTag::of(&ranked[0]) };
    let done = say(&mut parent, ms(10), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] });
    let serve = Effect::Serve { to: peer(21), content: tag, segment: 0, from: 0 };
    let patience: Duration = SUBSCRIBER_PATIENCE.iter().sum();
    let done = [done, pass(&mut parent, ms(5) + patience)].concat();
    assert!(done.contains(&serve), "{done:?}");
    // And is refused when nothing comes of it.
    parent.handle_subscribe(ms(300), peer(22), tag, 3, 0);
    let done = pass(&mut parent, ms(300) + patience);
    assert!(done.contains(&Effect::Refuse { to: peer(22), content: tag, segment: 3 }), "{done:?}");
}

#[test]
fn two_that_accuse_make_a_member_no_source_and_what_it_holds_is_read_anew() {
    // Trap 9: one that takes and never gives, and is the only holder.
    let (taker, one, other) = (peer(10), peer(11), peer(12));
    let mut home = home_with(&[], 1);
    let source = Some(PeerTag::of(&taker));
    let fail = Say::Fail { content: content(1).tag(), segment: 0, source, reason: FailReason::Corrupt, prefix: 0 };
    let is_lease = |item: &Item| matches!(item, Item::Lease { .. });
    say(&mut home, ms(1), taker, join(&[0], 1, vec![]));
    say(&mut home, ms(1), one, join(&[], 1, vec![]));
    let given = items(&said(&say(&mut home, ms(1), other, join(&[], 1, vec![]))), other);
    let first = said(&say(&mut home, ms(10), one, fail.clone()));
    assert!(!items(&first, one).iter().any(is_lease), "one accuser is not enough");
    // Whom the other takes it from has nothing any more: it is sent to the holder as well.
    let [Item::From { source: orphan, .. }] = given[..] else { panic!("{given:?}") };
    let starves = Say::Fail {
        content: content(1).tag(),
        segment: 0,
        source: Some(orphan),
        reason: FailReason::Starved,
        prefix: 0,
    };
    say(&mut home, ms(11), other, starves);
    let second = said(&say(&mut home, ms(12), other, fail));
    let leases = [one, other].into_iter().flat_map(|n| items(&second, n)).filter(is_lease).count();
    assert_eq!(leases, 1, "{second:?}");
}

#[test]
fn nobody_reads_because_holders_are_busy_but_who_refused_them_all_may() {
    // Trap 10.
    let (holder, other, one) = (peer(10), peer(12), peer(11));
    let mut home = home_with(&[], 1);
    let fail = |source| {
        let (content, source) = (content(1).tag(), Some(source));
        Say::Fail { content, segment: 0, source, reason: FailReason::Dead, prefix: 0 }
    };
    say(&mut home, ms(1), holder, join(&[0], 1, vec![]));
    say(&mut home, ms(1), other, join(&[], 1, vec![]));
    let mut given = items(&said(&say(&mut home, ms(1), one, join(&[], 1, vec![]))), one);
    assert!(matches!(given[..], [Item::From { .. }]), "{given:?}");
    assert_eq!(items(&said(&pass(&mut home, ms(5000))), one), vec![], "however long it takes");
    // It refuses whomever it is sent to, until nobody is left.
    for _ in 0..2 {
        let [Item::From { source, .. }] = given[..] else { panic!("{given:?}") };
        given = items(&said(&say(&mut home, ms(5000), one, fail(source))), one);
    }
    assert_eq!(given, vec![]);
    assert_eq!(items(&said(&pass(&mut home, ms(5000) + RESCUE - ms(1))), one), vec![]);
    let rescued = items(&said(&pass(&mut home, ms(5000) + RESCUE + SAFETY_PASS)), one);
    assert!(matches!(rescued[..], [Item::Lease { .. }]), "{rescued:?}");
}

#[test]
fn sixteen_files_share_one_budget() {
    // Trap 17.
    let mut node = Swarm::new(peer(0), LINE, Weight::STEADY, 1);
    for file in 0..16 {
        let content = Content { key: LookupKey([file; 32]), ..content(8) };
        node.start(Duration::ZERO, ORIGIN, content, Bits::none(8), Some((Order::Rarest, Patience::Foreground)));
    }
    assert_eq!(reads(&effects(&mut node)).len(), LEASES as usize);
}

#[test]
fn a_wireless_member_reads_and_gives_last() {
    // Trap 19.
    let (air, wired) = (peer(10), peer(11));
    let mut home = Swarm::new(ranked(1)[0], LINE, Weight::STEADY, 1);
    let on_air = Link { medium: Medium::Wireless, ..LINE };
    let join_as = |link| {
        let have = Bits::none(8);
        Say::Join(Box::new(Join {
            content: content(8),
            link,
            wants: Some(Order::Rarest),
            have,
            flows: vec![],
            lost: vec![],
        }))
    };
    // Both are there before the first lease: a third member owes its answer about holdings.
    home.handle_peer_up(peer(12), Weight::STEADY);
    say(&mut home, ms(1), air, join_as(on_air));
    say(&mut home, ms(1), wired, join_as(LINE));
    let said = said(&pass(&mut home, ms(1) + ACTIVATION));
    let leases = |to| items(&said, to).into_iter().filter(|item| matches!(item, Item::Lease { .. })).count();
    assert_eq!((leases(air), leases(wired)), (0, LEASES as usize), "{said:?}");
}

#[test]
fn another_version_ends_it_for_everybody() {
    // Trap 20.
    let (one, other) = (peer(10), peer(11));
    let mut home = home_with(&[one, other], 4);
    let tag = content(4).tag();
    let said = said(&say(&mut home, ms(50), one, Say::Changed { content: tag }));
    assert!(said.contains(&(one, Say::Changed { content: tag })));
    assert!(said.contains(&(other, Say::Changed { content: tag })));
    assert_eq!(home.poll_timeout(), None, "nothing is left to look after");
}

#[test]
fn a_lease_is_given_back_by_who_leaves() {
    let (one, other) = (peer(10), peer(11));
    let mut home = home_with(&[one, other], 1);
    let said = said(&say(&mut home, ms(50), one, Say::Leave { content: content(1).tag() }));
    let later = [said, self::said(&pass(&mut home, ms(50) + ORPHAN_HOLD + SAFETY_PASS))].concat();
    assert!(items(&later, other).iter().any(|item| matches!(item, Item::Lease { .. })), "{later:?}");
}

#[test]
fn a_strange_source_is_asked_about_and_then_used() {
    let ranked = ranked(2);
    let mut node = node(ranked[1], &ranked[..1], 1);
    effects(&mut node);
    let item = Item::From { segment: 0, source: PeerTag::of(&peer(10)) };
    let tag = content(1).tag();
    let asked =
        said(&say(&mut node, ms(1), ranked[0], Say::Assign { content: tag, collect: ms(20), items: vec![item] }));
    assert_eq!(asked, vec![(ranked[0], Say::WhoIs { peer: PeerTag::of(&peer(10)) })]);
    let done = say(&mut node, ms(2), ranked[0], Say::Introduce { peer: peer(10) });
    assert_eq!(done, vec![Effect::Subscribe { source: peer(10), content: tag, segment: 0, from: 0 }]);
}

#[test]
fn what_a_stranger_says_of_leases_and_segments_that_are_not_there_changes_nothing() {
    // Trap 3 among them: news of the dead, after their death.
    let mut home = home_with(&[peer(10)], 2);
    let tag = content(2).tag();
    for from in [peer(10), peer(99)] {
        for strange in [
            Say::Tail { lease: LeaseId(1), first_byte: ms(1) },
            Say::Progress { lease: LeaseId(1), bytes: u64::MAX },
            Say::Return { lease: LeaseId(1), prefix: 9 },
            Say::Done { content: tag, segments: vec![7, u32::MAX] },
            Say::Fail { content: tag, segment: u32::MAX, source: None, reason: FailReason::Dead, prefix: u32::MAX },
            Say::Leave { content: ContentTag(1) },
        ] {
            let done = say(&mut home, ms(20), from, strange);
            assert!(reads(&done).is_empty());
        }
    }
}

fn watches(said: &[(Peer, Say)]) -> Vec<(Peer, Sharing)> {
    let watches = said.iter().filter_map(|(to, say)| match say {
        Say::Watch { sharing, .. } => Some((*to, *sharing)),
        _ => None,
    });
    watches.collect()
}

#[test]
fn one_of_those_who_take_a_content_has_to_look_twice_and_all_know_among_how_many() {
    let mut home = home_with(&[], 4);
    let members: Vec<Peer> = (10..18).map(peer).collect();
    let mut told = Vec::new();
    for member in &members {
        home.handle_peer_up(*member, Weight::STEADY);
        told.extend(watches(&said(&say(&mut home, ms(1), *member, join(&[], 4, vec![])))));
    }
    told.extend(watches(&said(&pass(&mut home, ms(1) + SAFETY_PASS * 2))));
    let last = |member: &Peer| told.iter().rev().find(|(to, _)| to == member).map(|(_, sharing)| *sharing);
    let known: Vec<Sharing> = members.iter().filter_map(last).collect();
    assert_eq!(known.len(), members.len(), "everybody is told");
    assert!(known.iter().all(|sharing| (6..=8).contains(&sharing.among)), "{known:?}");
    let watchers = known.iter().filter(|sharing| sharing.duty == Duty::Watcher).count();
    assert!(watchers <= 1, "{known:?}");
}

#[test]
fn a_home_cannot_keep_a_few_from_looking_by_naming_a_crowd() {
    let ranked = ranked(3);
    let mut node = node(ranked[2], &ranked[..2], 8);
    effects(&mut node);
    let sharing = Sharing { among: u32::MAX, duty: Duty::Other };
    let done = say(&mut node, ms(1), ranked[0], Say::Watch { content: content(8).tag(), sharing });
    let bounded = Sharing { among: 3, duty: Duty::Other };
    assert_eq!(done, vec![Effect::Watch { content: content(8).tag(), sharing: bounded }]);
    let stranger = say(&mut node, ms(2), ranked[1], Say::Watch { content: content(8).tag(), sharing });
    assert_eq!(stranger, vec![], "only the home says so");
}

#[test]
fn who_finds_a_lie_tells_every_member_and_who_hears_it_looks_for_itself() {
    let ranked = ranked(3);
    let tag = content(8).tag();
    let mut finder = node(ranked[0], &ranked[1..], 8);
    effects(&mut finder);
    finder.handle_lie(tag, 5);
    let told: Vec<Peer> = said(&effects(&mut finder)).into_iter().map(|(to, _)| to).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let mut hearer = node(ranked[1], &[ranked[0], ranked[2]], 8);
    effects(&mut hearer);
    let alarm = |block| Say::Alarm { content: tag, block };
    let heard = say(&mut hearer, ms(1), ranked[2], alarm(5));
    assert_eq!(heard, vec![Effect::LookTwice { content: tag, block: 5 }]);
    assert_eq!(say(&mut hearer, ms(1), ranked[2], alarm(u32::MAX)), vec![], "there is no such block");
    let heard = (0..100).filter(|block| !say(&mut hearer, ms(1), ranked[2], alarm(*block)).is_empty()).count();
    assert_eq!(heard, ALARMS_EACH - 1, "one member costs a block or two");
    let mut all = 0;
    for n in 20..60 {
        all += (0..3).filter(|block| !say(&mut hearer, ms(2), peer(n), alarm(*block)).is_empty()).count();
    }
    assert_eq!(all, ALARMS - ALARMS_EACH, "and all members together no more than a few");
}

#[test]
fn who_has_all_of_it_hears_when_nobody_lacks_anything() {
    let (one, other) = (peer(10), peer(11));
    let mut home = home_with(&[one, other], 1);
    let tag = content(1).tag();
    let done = |segments| Say::Done { content: tag, segments };
    say(&mut home, ms(20), one, done(vec![0]));
    let early = watches(&said(&pass(&mut home, ms(20) + SAFETY_PASS * 2)));
    assert!(early.iter().all(|(_, sharing)| sharing.among == 1), "{early:?}");
    say(&mut home, ms(20) + SAFETY_PASS * 2, other, done(vec![0]));
    let late = watches(&said(&pass(&mut home, ms(20) + SAFETY_PASS * 4)));
    let told: Vec<Peer> = late.iter().filter(|(_, sharing)| sharing.among == 0).map(|(peer, _)| *peer).collect();
    assert!(told.contains(&one) && told.contains(&other), "{late:?}");
}

#[test]
fn a_home_that_hands_out_everything_at_once_is_obeyed_within_bounds() {
    let ranked = ranked(2);
    let count = 2000;
    let mut member = node(ranked[1], &ranked[..1], count);
    effects(&mut member);
    let tag = content(count).tag();
    let assign = |items| Say::Assign { content: tag, collect: ms(20), items };
    let lease = |n: u32| Item::Lease { lease: LeaseId(n.into()), segments: n..n + 1 };
    let done = say(&mut member, ms(1), ranked[0], assign((0..100).map(lease).collect()));
    assert_eq!(reads(&done).len(), LEASES_MOST as usize);
    let from = |n: u32| Item::From { segment: n, source: PeerTag::of(&ranked[0]) };
    let done = say(&mut member, ms(2), ranked[0], assign((100..1100).map(from).collect()));
    let subscribed = done.iter().filter(|effect| matches!(effect, Effect::Subscribe { .. })).count();
    assert_eq!(subscribed, FLOWS_MOST - LEASES_MOST as usize);
}

#[test]
fn a_member_that_names_thousands_of_others_keeps_nobody_out() {
    let mut home = home_with(&[peer(10)], 8);
    for round in 0..3_u32 {
        let named = |n: u32| Peer(*blake3::hash(&(round << 16 | n).to_le_bytes()).as_bytes());
        for first in (0..MEMBERS as u32).step_by(8) {
            let flows =
                (0..8).map(|s| JoinFlow { segment: s, source: JoinSource::Member(named(first + s)), prefix: 0 });
            say(&mut home, ms(2), peer(10), join(&[], 8, flows.collect()));
        }
    }
    let later = ms(2) + TAKE_OVER_GRACE + SAFETY_PASS * 4;
    pass(&mut home, later);
    let said = said(&say(&mut home, later, peer(11), join(&[], 8, vec![])));
    assert!(said.iter().any(|(to, say)| *to == peer(11) && matches!(say, Say::Assign { .. })), "{said:?}");
}

#[test]
fn all_homes_of_a_node_together_remember_no_more_than_they_may() {
    let mut home = home_with(&[peer(10)], 8);
    let mut refused = 0;
    for n in 0..2000_u64 {
        let vast = Content {
            key: LookupKey(*blake3::hash(&n.to_le_bytes()).as_bytes()),
            length: 1 << 38,
            reading: Reading::Ranges,
        };
        let have = Bits::none(vast.geometry().map_or(0, |geometry| geometry.segment_count()));
        let join = Join { content: vast, link: LINE, wants: Some(Order::Rarest), have, flows: vec![], lost: vec![] };
        let message = Message { origin: OriginKey(n % 50), say: Say::Join(Box::new(join)) };
        home.handle_message(ms(2), peer(10), message);
        refused += said(&effects(&mut home)).iter().filter(|(_, say)| *say == Say::NotHome).count();
    }
    assert!(refused > 1000, "{refused} of 2000 contents of 2^38 bytes are not remembered");
}
