//! Flows are evened out over their sources.

use super::*;
use std::collections::BTreeMap;

const SEGMENTS: u64 = 100;

/// A member whose line nobody knows.
fn unknown(have: &[u32]) -> Say {
    let Say::Join(mut join) = join(have, SEGMENTS, vec![]) else { unreachable!() };
    join.link = Link { up: 0, down: 0, ..LINE };
    Say::Join(join)
}

/// From whom each member takes what, by what their home told them.
#[derive(Default)]
struct Taken(BTreeMap<(Peer, u32), PeerTag>);

impl Taken {
    /// Members that were sent to another source for what they were taking already.
    fn note(&mut self, told: &[Effect], members: &[Peer]) -> Vec<(Peer, PeerTag)> {
        let said = said(told);
        let mut moved = Vec::new();
        for member in members {
            for item in items(&said, *member) {
                let (segments, source) = match item {
                    Item::From { segment, source } => (segment..segment + 1, source),
                    Item::Held { segments, source } => (segments, source),
                    Item::Lease { .. } => panic!("somebody holds it"),
                };
                for segment in segments {
                    if self.0.insert((*member, segment), source).is_some_and(|before| before != source) {
                        moved.push((*member, source));
                    }
                }
            }
        }
        moved
    }

    fn given_by(&self, source: Peer) -> u32 {
        self.0.values().filter(|of| **of == PeerTag::of(&source)).count() as u32
    }
}

/// A home, three that hold everything and give all they can to six that take it, and a fourth holder, which came when all had their fill.
fn crowded() -> (Swarm, Vec<Peer>, Vec<Peer>, Taken) {
    let (holders, takers): (Vec<Peer>, Vec<Peer>) = ((10..14).map(peer).collect(), (14..20).map(peer).collect());
    let all: Vec<u32> = (0..SEGMENTS as u32).collect();
    let mut home = home_with(&[], SEGMENTS);
    let mut taken = Taken::default();
    for holder in &holders[..3] {
        say(&mut home, ms(1), *holder, unknown(&all));
    }
    let mut told = Vec::new();
    for taker in &takers {
        told.extend(say(&mut home, ms(2), *taker, unknown(&[])));
    }
    told.extend(pass(&mut home, ms(300)));
    assert_eq!(taken.note(&told, &takers), vec![]);
    say(&mut home, ms(400), holders[3], unknown(&all));
    (home, holders, takers, taken)
}

/// Somebody says something, so that flows may be evened out.
fn nudge(home: &mut Swarm, now: Duration, by: Peer) -> Vec<Effect> {
    say(home, now, by, Say::Done { content: content(SEGMENTS).tag(), segments: vec![] })
}

#[test]
fn a_flow_that_lasts_leaves_a_source_of_many_for_one_of_few_until_they_are_even() {
    let (mut home, holders, takers, mut taken) = crowded();
    let told = [pass(&mut home, ms(1000)), nudge(&mut home, ms(1000), holders[0])].concat();
    assert_eq!(taken.note(&told, &takers), vec![], "they are young");
    let given = |taken: &Taken| holders.iter().map(|holder| taken.given_by(*holder)).collect::<Vec<_>>();
    assert_eq!(given(&taken), [UPLOADS, UPLOADS, UPLOADS, 0]);

    let mut rounds = 0;
    for at in (2000..6000).step_by(100) {
        let told = [pass(&mut home, ms(at)), nudge(&mut home, ms(at), holders[0])].concat();
        let moved = taken.note(&told, &takers);
        let is_spread = moved.len() <= 1 + takers.len() / EVEN_EACH;
        assert!(is_spread && moved.iter().all(|(_, to)| *to == PeerTag::of(&holders[3])), "{moved:?}");
        rounds += u32::from(!moved.is_empty());
    }
    let after = given(&taken);
    let is_even = after[..3].iter().all(|given| (after[3]..=after[3] * 3 / 2).contains(given));
    assert!(rounds > 2 && is_even && after.iter().sum::<u32>() == 3 * UPLOADS, "{after:?}");
}

#[test]
fn one_that_does_not_have_the_segment_is_no_lighter_source() {
    // So few segments that several take each of them.
    let holders: Vec<Peer> = (10..13).map(peer).collect();
    let takers: Vec<Peer> = (14..20).map(peer).collect();
    let join = |have: &[u32]| {
        let Say::Join(mut join) = join(have, 40, vec![]) else { unreachable!() };
        join.link = Link { up: 0, down: 0, ..LINE };
        Say::Join(join)
    };
    let mut home = home_with(&[], 40);
    let mut taken = Taken::default();
    let all: Vec<u32> = (0..40).collect();
    let mut told = Vec::new();
    for holder in &holders {
        say(&mut home, ms(1), *holder, join(&all));
    }
    for taker in &takers {
        told.extend(say(&mut home, ms(2), *taker, join(&[])));
    }
    told.extend(pass(&mut home, ms(300)));
    // The last one receives what others do, and gives nothing.
    let late = peer(20);
    let everybody = [takers, vec![late]].concat();
    told.extend(say(&mut home, ms(400), late, join(&[])));
    told.extend(pass(&mut home, ms(700)));
    assert_eq!(taken.note(&told, &everybody), vec![]);
    assert!(taken.given_by(late) == 0 && holders.iter().all(|holder| taken.given_by(*holder) > 2 * EVEN_GAP));
    for at in (2000..4000).step_by(100) {
        let one = Say::Done { content: content(40).tag(), segments: vec![] };
        let told = [pass(&mut home, ms(at)), say(&mut home, ms(at), holders[0], one)].concat();
        assert_eq!(taken.note(&told, &everybody), vec![], "{at}");
    }
}

#[test]
fn where_lines_are_known_flows_stay() {
    let (mut home, holders, takers, mut taken) = crowded();
    let all: Vec<u32> = (0..SEGMENTS as u32).collect();
    say(&mut home, ms(500), holders[3], join(&all, SEGMENTS, vec![]));
    for at in (2000..4000).step_by(100) {
        let told = [pass(&mut home, ms(at)), nudge(&mut home, ms(at), holders[0])].concat();
        assert_eq!(taken.note(&told, &takers), vec![], "{at}");
    }
}
