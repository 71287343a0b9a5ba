//! Single machines in virtual time; whole fleets are in the fleet simulator. Traps are numbered as in the design.

use super::constants::*;
use super::*;
use crate::port::Peer;
use crate::trust::{Duty, Sharing};
use eddy_content::LookupKey;
use std::time::Duration;

mod alone;
mod beside;
mod evening;
mod finding;
mod full;
mod grabbing;
mod hearsay;
mod holders;
mod leading;
mod plain;
mod refusing;
mod seeking;
mod streams;
mod successors;
mod taking;

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
    others.iter().for_each(|other| node.handle_peer_up(Duration::ZERO, *other, Weight::STEADY));
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
    Say::Join(Box::new(Join {
        content: content(segments),
        link: LINE,
        wants,
        have: bits,
        flows,
        lost: vec![],
        asked: 0,
    }))
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

/// A home alone with a reader of segment 0 and a second member, all leases taken by others than the reader's.
fn home_with(members: &[Peer], segments: u64) -> Swarm {
    let home = ranked(1)[0];
    let mut home = Swarm::new(home, LINE, Weight::STEADY, 1);
    for member in members {
        say(&mut home, ms(1), *member, join(&[], segments, vec![]));
    }
    home
}
