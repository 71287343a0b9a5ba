//! Segments that are followed: what a member gets of them, and what it learns and breaks by asking.

use crate::kit::{BLOCK, Member, SOON, content, entity, group};
use crate::wire::{dial, dialler, identity};
use eddy_content::{Entity, LookupKey};
use eddy_node::group::Group;
use eddy_node::peer::{FromMember, Limits, Patience, Peers};
use eddy_node::transfer::open::Arrivals;
use eddy_wire::frame::{ALPN, ReadRefusal, ReadReply, Request, encode_frame};
use quinn::{Connection, Endpoint};
use std::ops::Range;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Blocks of a segment of a small file.
const SEGMENT: u32 = 16;

/// A room that gives every segment that is wished for, and says which contents it was told are missing.
fn attach_giver(peers: &Peers) -> mpsc::Receiver<LookupKey> {
    let (gate, mut said) = mpsc::channel(16);
    let (missing, told) = mpsc::channel(16);
    peers.attach(gate);
    tokio::spawn(async move {
        while let Some(said) = said.recv().await {
            match said {
                FromMember::Wish { answer, .. } => drop(answer.send(Some(Arrivals::default()))),
                FromMember::Missing { key } => drop(missing.try_send(key)),
                FromMember::Message { .. } | FromMember::Served { .. } => {}
            }
        }
    });
    told
}

/// A member in good standing that speaks for itself.
async fn somebody(group: &Group, to: &Member) -> (Endpoint, Connection) {
    let endpoint = dialler(group, Some((group, &identity())), ALPN);
    let connection = dial(&endpoint, to.address()).await.expect("a member");
    (endpoint, connection)
}

/// The whole answer to a wish.
async fn follow(connection: &Connection, key: LookupKey, blocks: Range<u32>) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    let question = [&[1][..], &encode_frame(&Request::Follow { key, blocks }).expect("fits")].concat();
    send.write_all(&question).await.ok()?;
    send.finish().ok()?;
    timeout(SOON, receive.read_to_end(16 << 20)).await.expect("in time").ok()
}

fn not_here() -> Vec<u8> {
    encode_frame(&ReadReply::Refused(ReadRefusal::NotHere)).expect("fits")
}

fn other(number: u8) -> Entity {
    entity(&format!("other-{number}"), BLOCK)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wishes_for_much_that_is_not_here_is_told_nothing_of_what_is() {
    let group = group();
    let limits = Limits { swarm_misses_per_minute: 3, ..Limits::default() };
    let member = Member::start_with(&group, limits, Patience::default()).await;
    let (entity, bytes) = (entity("file", 2 * BLOCK), content(2 * BLOCK, 1));
    member.fetched_from_origin(&entity, &bytes, 0..2);
    let mut missing = attach_giver(&member.peers);
    let key = member.peers.lookup_key(&entity);
    let (_endpoint, curious) = somebody(&group, &member).await;
    for number in 0..3 {
        let guessed = member.peers.lookup_key(&other(number));
        assert_eq!(follow(&curious, guessed, 0..1).await, Some(not_here()));
        assert_eq!(missing.recv().await, Some(guessed), "the room hears what is not here any more");
    }
    let given = follow(&curious, key, 0..2).await.expect("an answer");
    assert!(given.len() > 2 * BLOCK, "at the bound it may still ask");
    assert_eq!(follow(&curious, member.peers.lookup_key(&other(3)), 0..1).await, Some(not_here()));
    assert_eq!(follow(&curious, key, 0..2).await, Some(not_here()), "beyond it nothing is here");
    let (_endpoint, another) = somebody(&group, &member).await;
    assert!(follow(&another, key, 0..2).await.is_some_and(|given| given.len() > 2 * BLOCK), "others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_for_blocks_behind_the_end_does_not_make_a_holder_leave() {
    let group = group();
    let member = Member::start(&group).await;
    let (entity, bytes) = (entity("file", 2 * BLOCK), content(2 * BLOCK, 1));
    member.fetched_from_origin(&entity, &bytes, 0..2);
    let mut missing = attach_giver(&member.peers);
    let key = member.peers.lookup_key(&entity);
    let (_endpoint, hostile) = somebody(&group, &member).await;
    assert_eq!(follow(&hostile, key, 2..3).await, None);
    timeout(SOON, hostile.closed()).await.expect("who does not speak the protocol is parted from");
    let (_endpoint, honest) = somebody(&group, &member).await;
    let gone = member.peers.lookup_key(&other(1));
    assert_eq!(follow(&honest, gone, 0..1).await, Some(not_here()));
    assert_eq!(missing.recv().await, Some(gone), "and nothing was said to be missing before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_member_signed_in_one_run_is_followed_whole() {
    let group = group();
    let (mut origin, mut relay) = (Member::start(&group).await, Member::start(&group).await);
    let length = 2 * SEGMENT as usize * BLOCK;
    let (entity, bytes) = (entity("file", length), content(length, 3));
    origin.fetched_from_origin(&entity, &bytes, 0..2 * SEGMENT);
    relay.meet(&mut origin).await;
    relay.fetch(origin.node(), &entity, 0..2 * SEGMENT).await.1.expect("is served");
    let _missing = attach_giver(&relay.peers);
    let mut taker = Member::start(&group).await;
    taker.meet(&mut relay).await;
    for blocks in [0..SEGMENT, SEGMENT + 3..2 * SEGMENT] {
        let handle = taker.begin(&entity);
        let read = taker.peers.follow(relay.node(), &entity, blocks.clone()).await.expect("is followed");
        taker.take(&handle, read).await.expect("is right");
        assert_eq!(handle.commit().expect("commits").len(), blocks.end - blocks.start);
    }
    taker.assert_true(&entity, &bytes);
}
