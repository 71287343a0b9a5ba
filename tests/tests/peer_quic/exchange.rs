//! What members do for each other when all is well.

use crate::kit::{BLOCK, Failure, Member, SOON, content, entity, group};
use eddy_cache::{Privacy, RemoveOutcome};
use eddy_content::BlockSet;
use eddy_engine::engine::Swarms;
use eddy_engine::swarm::{Content, Message, OriginKey, Reading, Say};
use eddy_node::peer::{FromMember, Limits, Parting, Patience, PeerEvent, ReadFailure, Serving};
use eddy_wire::frame::encode_frame;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_exchange_a_file() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let length = 40 * BLOCK + 777;
    let (entity, content) = (entity("file", length), content(length, 1));
    one.fetched_from_origin(&entity, &content, 0..41);
    two.meet(&mut one).await;

    let key = two.peers.lookup_key(&entity);
    let offered = two.peers.ask(one.node(), key).await.expect("answers");
    assert_eq!(offered, Some((length as u64, BlockSet::from_run(0..41))));

    let (committed, outcome) = two.fetch(one.node(), &entity, 0..41).await;
    outcome.expect("all comes");
    assert_eq!(committed, BlockSet::from_run(0..41));
    two.assert_true(&entity, &content);
    let handle = two.store.find(&entity.id()).expect("works").expect("is there");
    assert_eq!(handle.root().expect("whole").0, *blake3::hash(&content).as_bytes());
    assert!(handle.fetched_here().is_empty(), "it came from a peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_a_moment_ago_is_removed_like_anything_else() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let (entity, content) = (entity("file", 3 * BLOCK), content(3 * BLOCK, 1));
    drop(one.fetched_from_origin(&entity, &content, 0..3));
    two.meet(&mut one).await;
    for block in 0..3 {
        two.fetch(one.node(), &entity, block..block + 1).await.1.expect("it comes");
    }
    let removed = async {
        // The task that served it may still be at its end.
        while one.store.remove(&entity.id()).expect("works") == RemoveOutcome::InUse {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, removed).await.expect("nothing is in use for good");
    let (_, again) = two.fetch(one.node(), &entity, 0..1).await;
    assert!(matches!(again, Err(Failure::Read(ReadFailure::NotHere))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_a_moment_ago_turns_private_like_anything_else() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let (entity, content) = (entity("file", 3 * BLOCK), content(3 * BLOCK, 1));
    drop(one.fetched_from_origin(&entity, &content, 0..3));
    two.meet(&mut one).await;
    for block in 0..2 {
        two.fetch(one.node(), &entity, block..block + 1).await.1.expect("it comes");
    }
    drop(one.begin_as(&entity, Privacy::Private));
    let (_, refused) = two.fetch(one.node(), &entity, 2..3).await;
    assert!(matches!(refused, Err(Failure::Read(ReadFailure::NotHere))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_gets_from_the_second_block_by_block_what_the_first_signed() {
    let group = group();
    let mut first = Member::start(&group).await;
    let (mut second, mut third) = (Member::start(&group).await, Member::start(&group).await);
    let length = 18 * BLOCK + 5;
    let (entity, content) = (entity("file", length), content(length, 2));
    first.fetched_from_origin(&entity, &content, 0..19);
    second.meet(&mut first).await;
    third.meet(&mut second).await;
    second.fetch(first.node(), &entity, 0..19).await.1.expect("all comes");
    for block in 0..19 {
        third.fetch(second.node(), &entity, block..block + 1).await.1.expect("it comes");
    }
    third.assert_true(&entity, &content);
    assert_eq!(third.begin(&entity).held(), BlockSet::from_run(0..19));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_gets_from_the_second_what_the_first_signed() {
    let group = group();
    let mut first = Member::start(&group).await;
    let (mut second, mut third) = (Member::start(&group).await, Member::start(&group).await);
    let length = 300 * BLOCK + 5;
    let (entity, content) = (entity("file", length), content(length, 2));
    first.fetched_from_origin(&entity, &content, 0..301);
    second.meet(&mut first).await;
    for blocks in [0..256, 256..301] {
        second.fetch(first.node(), &entity, blocks).await.1.expect("all comes");
    }
    first.peers.clone().close().await;
    assert_eq!(second.event().await, PeerEvent::Down { node: first.node(), reason: Parting::Left });

    third.meet(&mut second).await;
    let offered = third.peers.ask(second.node(), third.peers.lookup_key(&entity)).await.expect("answers");
    assert_eq!(offered, Some((length as u64, BlockSet::from_run(0..301))));
    // Ends that are no ends of statements: the hashes of whole statements come along.
    for blocks in [7..200, 0..7, 200..301] {
        third.fetch(second.node(), &entity, blocks).await.1.expect("all comes");
    }
    third.assert_true(&entity, &content);
    let handle = third.store.find(&entity.id()).expect("works").expect("is there");
    assert_eq!(handle.root().expect("whole").0, *blake3::hash(&content).as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_takes_part_in_no_swarm_says_so_to_whoever_speaks_of_one() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    two.meet(&mut one).await;
    let talk = two.peers.talk(one.node()).await.expect("connected");
    timeout(SOON, talk.is_deaf()).await.expect("it says so");
    let (gate, mut heard) = tokio::sync::mpsc::channel(1);
    one.peers.attach(gate);
    let mut talk = two.peers.talk(one.node()).await.expect("connected");
    let message = Message { origin: OriginKey(1), say: Say::Alive };
    talk.say(encode_frame(&message).expect("fits").into()).await.expect("taken");
    let FromMember::Message { node, message: read, .. } =
        timeout(SOON, heard.recv()).await.expect("comes").expect("is there")
    else {
        panic!("a message was said")
    };
    assert_eq!((node, *read), (two.node(), message));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_still_starting_is_not_taken_for_one_without_swarms() {
    for (swarms, is_deaf) in [(Swarms::On, false), (Swarms::Off, true)] {
        let group = group();
        let limits = Limits { swarms, ..Limits::default() };
        let mut one = Member::start_with(&group, limits, Patience::default()).await;
        let mut two = Member::start(&group).await;
        two.meet(&mut one).await;
        let mut talk = two.peers.talk(one.node()).await.expect("connected");
        let message = encode_frame(&Message { origin: OriginKey(1), say: Say::Alive }).expect("fits");
        let stopped = async {
            while talk.say(message.clone().into()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, stopped).await.expect("nobody hears it yet");
        // Known by then, or never: one look is enough.
        assert_eq!(timeout(Duration::ZERO, talk.is_deaf()).await.is_ok(), is_deaf, "{swarms:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_nobody_signs_for_are_neither_offered_nor_sent() {
    let group = group();
    let mut first = Member::start(&group).await;
    let (mut second, mut third) = (Member::start(&group).await, Member::start(&group).await);
    let length = 32 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 3));
    first.fetched_from_origin(&entity, &content, 0..32);
    second.meet(&mut first).await;
    second.fetch(first.node(), &entity, 0..16).await.1.expect("all comes");
    // A part of a signed run only: its statement cannot be shown whole.
    let mut read = second.peers.read(first.node(), &entity, 16..32).await.expect("answers");
    let handle = second.begin(&entity);
    let eddy_node::peer::Piece::Run { first_block, hashes, statements, .. } =
        read.next().await.expect("comes").expect("a run")
    else {
        panic!("the run comes first")
    };
    assert_eq!((first_block, handle.put_statements(&statements)), (16, 1));
    let source = eddy_cache::Source::Peer { node: first.node().0 };
    let mut writer = handle.writer(16, source, crate::kit::ACCOUNT).expect(hashes);
    writer.push(&content[16 * BLOCK..20 * BLOCK]).expect("right");
    writer.finish().expect("finishes");
    handle.commit().expect("commits");
    drop(read);

    third.meet(&mut second).await;
    let offered = third.peers.ask(second.node(), third.peers.lookup_key(&entity)).await.expect("answers");
    assert_eq!(offered, Some((length as u64, BlockSet::from_run(0..16))));
    let (committed, outcome) = third.fetch(second.node(), &entity, 8..24).await;
    outcome.expect("ends well");
    assert_eq!(committed, BlockSet::from_run(8..16), "the rest is just not sent");
    let (_, outcome) = third.fetch(second.node(), &entity, 16..32).await;
    assert!(matches!(outcome, Err(Failure::Read(ReadFailure::NotHere))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_and_private_get_the_same_answer() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let (private, absent) = (entity("private", BLOCK), entity("absent", BLOCK));
    let handle = one.begin_as(&private, Privacy::Private);
    let mut writer = handle.writer(0, eddy_cache::Source::Origin { https: true }, crate::kit::ACCOUNT);
    writer.push(&content(BLOCK, 4)).expect("writes");
    writer.finish().expect("finishes");
    handle.commit().expect("commits");
    two.meet(&mut one).await;
    for entity in [private, absent] {
        assert_eq!(two.peers.ask(one.node(), two.peers.lookup_key(&entity)).await, Ok(None));
        let refused = two.peers.read(one.node(), &entity, 0..1).await.expect_err("is not given");
        assert_eq!(refused, ReadFailure::NotHere);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_node_that_serves_nobody_has_nothing_for_anybody_and_takes_from_others() {
    let group = group();
    let limits = Limits { serving: Serving::Nobody, ..Limits::default() };
    let mut one = Member::start_with(&group, limits, Patience::default()).await;
    let mut two = Member::start(&group).await;
    let (ones, twos, content) = (entity("ones", BLOCK), entity("twos", BLOCK), content(BLOCK, 5));
    one.fetched_from_origin(&ones, &content, 0..1);
    two.fetched_from_origin(&twos, &content, 0..1);
    two.meet(&mut one).await;
    assert_eq!(two.peers.ask(one.node(), two.peers.lookup_key(&ones)).await, Ok(None));
    assert_eq!(two.peers.read(one.node(), &ones, 0..1).await.err(), Some(ReadFailure::NotHere));
    assert!(one.peers.ask(two.node(), one.peers.lookup_key(&twos)).await.expect("answers").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_too_much_in_vain_learns_nothing() {
    let group = group();
    let limits = Limits { misses_per_minute: 8, ..Limits::default() };
    let mut one = Member::start_with(&group, limits, Patience::default()).await;
    let mut two = Member::start(&group).await;
    let (here, content) = (entity("here", BLOCK), content(BLOCK, 5));
    one.fetched_from_origin(&here, &content, 0..1);
    two.meet(&mut one).await;
    let key = two.peers.lookup_key(&here);
    for guess in 0..9 {
        assert!(two.peers.ask(one.node(), key).await.expect("answers").is_some(), "after {guess} guesses");
        let guess = two.peers.lookup_key(&entity(&format!("guess-{guess}"), BLOCK));
        assert_eq!(two.peers.ask(one.node(), guess).await, Ok(None));
    }
    assert_eq!(two.peers.ask(one.node(), key).await, Ok(None));
    assert_eq!(two.peers.read(one.node(), &here, 0..1).await.err(), Some(ReadFailure::NotHere));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_that_asks_about_many_new_files_may_still_read_and_ask_here() {
    let group = group();
    let limits = Limits { misses_per_minute: 8, swarm_misses_per_minute: 32, swarms: Swarms::On, ..Limits::default() };
    let mut one = Member::start_with(&group, limits, Patience::default()).await;
    let mut two = Member::start(&group).await;
    let (gate, mut heard) = tokio::sync::mpsc::channel(64);
    one.peers.attach(gate);
    let (here, content) = (entity("here", BLOCK), content(BLOCK, 5));
    one.fetched_from_origin(&here, &content, 0..1);
    two.meet(&mut one).await;
    let key = two.peers.lookup_key(&here);
    let mut talk = two.peers.talk(one.node()).await.expect("connected");
    let mut offers = Vec::new();
    for new in 0..34 {
        for key in [two.peers.lookup_key(&entity(&format!("new-{new}"), BLOCK)), key] {
            let content = Content { key, length: BLOCK as u64, reading: Reading::Ranges };
            let query = Message { origin: OriginKey(1), say: Say::Query { content } };
            talk.say(encode_frame(&query).expect("fits").into()).await.expect("taken");
            let said = timeout(SOON, heard.recv()).await.expect("comes").expect("is there");
            let FromMember::Message { here, .. } = said else { panic!("a question was asked") };
            offers.push(here.is_some());
        }
    }
    // With the 33rd new file it goes over the bound of its own: it is told nothing any more, and heard all the same.
    let told: Vec<bool> = offers.chunks(2).map(|of_new| of_new[1]).collect();
    assert_eq!(told, (0..34).map(|new| new < 32).collect::<Vec<_>>());
    assert!(two.peers.ask(one.node(), key).await.expect("answers").is_some());
    two.fetch(one.node(), &here, 0..1).await.1.expect("is served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_read_too_many_hears_busy() {
    let group = group();
    let limits = Limits { reads_per_peer: 1, ..Limits::default() };
    let mut one = Member::start_with(&group, limits, Patience::default()).await;
    let mut two = Member::start(&group).await;
    // More than the windows of the connection take, so that the first read stays under way while nobody reads it.
    let length = 256 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 6));
    one.fetched_from_origin(&entity, &content, 0..256);
    two.meet(&mut one).await;
    let first = two.peers.read(one.node(), &entity, 0..256).await.expect("is served");
    assert_eq!(two.peers.read(one.node(), &entity, 0..1).await.err(), Some(ReadFailure::Busy));
    drop(first);
    let again = timeout(SOON, async {
        loop {
            match two.peers.read(one.node(), &entity, 0..1).await {
                Err(ReadFailure::Busy) => tokio::task::yield_now().await,
                other => break other,
            }
        }
    });
    again.await.expect("in time").expect("is served once the first is given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_reads_that_come_at_once_wait_for_each_other() {
    let group = group();
    let limits = Limits { reads_per_peer: 1, ..Limits::default() };
    let patience = Patience { turn: 2 * SOON, ..Patience::default() };
    let mut one = Member::start_with(&group, limits, patience).await;
    let mut two = Member::start(&group).await;
    let (entity, content) = (entity("file", 16 * BLOCK), content(16 * BLOCK, 6));
    one.fetched_from_origin(&entity, &content, 0..16);
    two.meet(&mut one).await;
    let reads = (0..16).map(|block| two.fetch(one.node(), &entity, block..block + 1));
    for (_, outcome) in futures::future::join_all(reads).await {
        outcome.expect("none of them is turned away");
    }
    two.assert_true(&entity, &content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_dial_each_other_at_once_are_up_once() {
    let group = group();
    for _ in 0..20 {
        let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
        let (from_one, from_two) =
            tokio::join!(one.peers.connect(two.address(), None), two.peers.connect(one.address(), Some(one.node())),);
        assert_eq!((from_one.expect("connects"), from_two.expect("connects")), (two.node(), one.node()));
        for member in [&mut one, &mut two] {
            assert!(matches!(member.event().await, PeerEvent::Up { .. }));
            assert_eq!(member.peers.connected().len(), 1);
        }
        timeout(SOON, agreement(&one, &two)).await.expect("both ends come to use the same connection");
        one.peers.clone().close().await;
        let gone = two.event().await;
        assert_eq!(gone, PeerEvent::Down { node: one.node(), reason: Parting::Left });
        assert!(one.events.try_recv().is_err() && two.events.try_recv().is_err(), "nothing else happened");
    }
}

/// Waits until two members know the same connections and use the same one.
async fn agreement(one: &Member, two: &Member) {
    loop {
        let (here, there) = (one.peers.connected().remove(0), two.peers.connected().remove(0));
        if here.connections == there.connections && here.initiator != there.initiator {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_finds_itself_and_is_not_its_own_peer() {
    let group = group();
    let mut one = Member::start(&group).await;
    let refused = one.peers.connect(one.address(), None).await.expect_err("that is itself");
    assert!(refused.to_string().contains("this node itself"), "{refused}");
    assert!(one.peers.connected().is_empty() && one.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_wait_for_a_piece_loses_nothing() {
    let group = group();
    let (mut one, mut two) = (Member::start(&group).await, Member::start(&group).await);
    let length = 64 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 7));
    one.fetched_from_origin(&entity, &content, 0..64);
    two.meet(&mut one).await;
    let mut read = two.peers.read(one.node(), &entity, 0..64).await.expect("is served");
    let mut got = Vec::new();
    loop {
        match timeout(Duration::from_micros(50), read.next()).await {
            Err(_) => {}
            Ok(piece) => match piece.expect("goes well") {
                Some(eddy_node::peer::Piece::Bytes(bytes)) => got.extend(bytes.concat()),
                Some(eddy_node::peer::Piece::Run { .. }) => {}
                None => break,
            },
        }
    }
    assert!(got == content);
}
