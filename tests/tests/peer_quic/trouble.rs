//! Members that stall, vanish, babble or read too slowly: each costs a deadline, and no more.

use crate::kit::{BLOCK, Failure, Member, SOON, content, entity, group, impatient};
use crate::wire::{Puppet, Then, Truth, dial, dialler, frame, identity};
use eddy_content::{BlockSet, tree};
use eddy_node::peer::{Limits, Parting, Patience, PeerEvent, Piece, ReadFailure};
use eddy_wire::frame::{ALPN, ReadReply, Request, encode_frame};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_stalls_or_vanishes_costs_the_deadline_and_leaves_nothing_wrong() {
    let group = group();
    let length = 8 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 1));
    for then in [Then::Stall, Then::Vanish] {
        // One that vanishes may do so before the first byte, so the deadline of the answer counts, too.
        let patience = Patience { answer: Duration::from_secs(3), ..impatient() };
        let victim = Member::start_with(&group, Limits::default(), patience).await;
        let puppet = Puppet::start(&group);
        victim.peers.connect(puppet.address, None).await.expect("connects");
        let truth =
            Truth { group: group.id(), key: victim.peers.lookup_key(&entity), entity: &entity, content: &content };
        let mut said = frame(&ReadReply::Run(truth.header(&group, &puppet.identity, 0..8)));
        // A full piece and some bytes of the next one.
        said.extend_from_slice(&content[..4 * BLOCK + 100]);
        puppet.will_say(said, then).await;
        let fetched = timeout(SOON, victim.fetch(puppet.node(), &entity, 0..8)).await.expect("has a deadline");
        assert!(matches!(fetched.1, Err(Failure::Read(ReadFailure::Stalled))), "{then:?}: {fetched:?}");
        victim.assert_true(&entity, &content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_frame_is_a_lie() {
    let group = group();
    let victim = Member::start_with(&group, Limits::default(), impatient()).await;
    let puppet = Puppet::start(&group);
    victim.peers.connect(puppet.address, None).await.expect("connects");
    let entity = entity("file", BLOCK);
    let huge = [&[1][..], &u32::MAX.to_le_bytes()].concat();
    for garbage in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), huge, vec![0xff; 4096]] {
        puppet.will_say(garbage.clone(), Then::Stall).await;
        let outcome = victim.peers.read(puppet.node(), &entity, 0..1).await;
        assert!(matches!(outcome, Err(ReadFailure::Lied(_))), "{garbage:02x?}: {outcome:?}");
        puppet.will_say(garbage, Then::Stall).await;
        let outcome = victim.peers.ask(puppet.node(), victim.peers.lookup_key(&entity)).await;
        assert!(matches!(outcome, Err(eddy_node::peer::AskError::Lied(_))), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_babbles_is_disconnected() {
    let group = group();
    let mut member = Member::start(&group).await;
    let somebody = identity();
    let valid = encode_frame(&ReadReply::End).expect("fits");
    for babble in [vec![9; 64], [&[1][..], &valid].concat(), [&[1][..], &[1, 0xff, 0xff, 0xff, 0xff]].concat()] {
        let endpoint = dialler(&group, Some((&group, &somebody)), ALPN);
        let connection = dial(&endpoint, member.address()).await.expect("a member");
        let (mut send, _receive) = connection.open_bi().await.expect("opens");
        send.write_all(&babble).await.expect("is taken");
        timeout(SOON, connection.closed()).await.expect("is closed");
        assert!(matches!(member.event().await, PeerEvent::Up { .. }));
        assert!(matches!(member.event().await, PeerEvent::Down { reason: Parting::ClosedHere, .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_cut_off_and_its_place_is_free_again() {
    let group = group();
    let limits = Limits { reads: 1, ..Limits::default() };
    let mut member = Member::start_with(&group, limits, impatient()).await;
    let mut honest = Member::start(&group).await;
    let length = 256 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 2));
    member.fetched_from_origin(&entity, &content, 0..256);
    honest.meet(&mut member).await;
    let key = member.peers.lookup_key(&entity);
    let somebody = identity();
    let endpoint = dialler(&group, Some((&group, &somebody)), ALPN);
    let connection = dial(&endpoint, member.address()).await.expect("a member");
    let (mut send, mut receive) = connection.open_bi().await.expect("opens");
    let question = encode_frame(&Request::Read { key, blocks: 0..256 }).expect("fits");
    send.write_all(&[&[1][..], &question].concat()).await.expect("is taken");
    // The answer begins, so the only place is taken; then nothing more is read.
    let mut first = [0; 1];
    receive.read_exact(&mut first).await.expect("begins");
    let busy = honest.peers.read(member.node(), &entity, 0..1).await.err();
    assert_eq!(busy, Some(ReadFailure::Busy));
    let reset = timeout(SOON, receive.received_reset()).await.expect("is cut off").expect("is reset");
    assert!(reset.is_some());
    let (_, outcome) = honest.fetch(member.node(), &entity, 0..256).await;
    outcome.expect("is served");
    honest.assert_true(&entity, &content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_proof_disconnects_a_peer_and_keeps_it_out() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    one.meet(&mut two).await;
    one.peers.blame(two.node(), "block 3 of https://origin.example/file");
    assert_eq!(one.peers.connected().len(), 1, "one proof is not enough");
    one.peers.blame(two.node(), "block 4 of https://origin.example/file");
    assert_eq!(one.event().await, PeerEvent::Down { node: two.node(), reason: Parting::ClosedHere });
    assert_eq!(two.event().await, PeerEvent::Down { node: one.node(), reason: Parting::BlocksUs });
    one.peers.connect(two.address(), Some(two.node())).await.expect_err("is blocked");
    // Nor is it let in: its own side of the handshake may be done before it is told so.
    if two.peers.connect(one.address(), None).await.is_ok() {
        assert!(matches!(two.event().await, PeerEvent::Up { .. }));
        assert_eq!(two.event().await, PeerEvent::Down { node: one.node(), reason: Parting::BlocksUs });
    }
    assert!(two.peers.connected().is_empty());
    assert!(one.events.try_recv().is_err() && one.peers.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotten_blocks_never_leave() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let length = 8 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 3));
    one.fetched_from_origin(&entity, &content, 0..8);
    one.rot(&entity, 5 * BLOCK + 17);
    two.meet(&mut one).await;
    let (committed, outcome) = two.fetch(one.node(), &entity, 0..8).await;
    assert!(matches!(outcome, Err(Failure::Read(ReadFailure::Gone(_)))), "{outcome:?}");
    assert!(!committed.contains(5));
    // Dropped there, no longer offered; the rest is.
    let (_, outcome) = two.fetch(one.node(), &entity, 0..8).await;
    outcome.expect("the others come");
    let held = two.begin(&entity).held();
    assert_eq!((held.len(), held.contains(5)), (7, false));
    two.assert_true(&entity, &content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotten_blocks_never_leave_when_they_are_asked_for_one_by_one() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let length = 4 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 3));
    one.fetched_from_origin(&entity, &content, 0..4);
    two.meet(&mut one).await;
    two.fetch(one.node(), &entity, 0..1).await.1.expect("it comes");
    one.rot(&entity, BLOCK + 17);
    for block in 1..4 {
        let (_, outcome) = two.fetch(one.node(), &entity, block..block + 1).await;
        assert_eq!(outcome.is_err(), block == 1, "block {block}: {outcome:?}");
    }
    let held = two.begin(&entity).held();
    assert_eq!((held.len(), held.contains(1)), (3, false));
    two.assert_true(&entity, &content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_is_fetched_anew_in_the_midst_of_a_read_is_not_sent_under_its_old_hash() {
    let group = group();
    let (mut member, mut reader) = (Member::start(&group).await, Member::start(&group).await);
    let length = 256 * BLOCK;
    let (entity, before, after) = (entity("file", length), content(length, 3), content(length, 4));
    let held = member.fetched_from_origin(&entity, &before, 0..256);
    reader.meet(&mut member).await;
    // One that was told of the hashes and takes nothing yet: only the first chunks are read over there.
    let mut read = reader.peers.read(member.node(), &entity, 0..256).await.expect("is served");
    let first = read.next().await.expect("goes well");
    assert!(matches!(first, Some(Piece::Run { first_block: 0, .. })), "{first:?}");
    let doubted = 200..203;
    held.set_aside(&BlockSet::from_run(doubted.clone()));
    member.fetched_from_origin(&entity, &after, doubted.clone());

    let (mut hashes, mut bytes, mut next, mut piece) = (Vec::new(), Vec::new(), 0, first);
    let end = loop {
        match piece {
            Some(Piece::Run { first_block, hashes: told, .. }) => (next, hashes) = (first_block, told),
            Some(Piece::Bytes(parts)) => bytes.extend(parts.concat()),
            None => break Ok(()),
        }
        while bytes.len() >= BLOCK {
            let rest = bytes.split_off(BLOCK);
            assert_eq!(tree::hash_block(&held.geometry(), next, &bytes), hashes[0], "block {next} is not as told");
            (next, bytes) = (next + 1, rest);
            hashes.remove(0);
        }
        match timeout(SOON, read.next()).await.expect("in time") {
            Ok(more) => piece = more,
            Err(failure) => break Err(failure),
        }
    };
    assert!(matches!(end, Err(ReadFailure::Gone(_))), "{end:?}");
    assert!(next <= doubted.start, "block {next}");

    // Whoever asks now hears of the new hashes, and gets what they speak of.
    reader.fetch(member.node(), &entity, doubted.clone()).await.1.expect("all comes");
    reader.assert_true(&entity, &after);
}
