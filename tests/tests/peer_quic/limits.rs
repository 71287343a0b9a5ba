//! What a member may have open at a time: one that wants more waits, and is not thrown out for it (T-05, T-06).

use crate::kit::{BLOCK, Member, SOON, content, entity, group};
use crate::wire::{dial, dialler, identity};
use eddy_wire::frame::{ALPN, Request, encode_frame};
use futures::FutureExt;
use tokio::time::timeout;

/// T-06.
const STREAMS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_wants_more_streams_than_it_may_have_waits_for_one_to_end() {
    let group = group();
    let member = Member::start(&group).await;
    let entity = entity("file", BLOCK);
    member.fetched_from_origin(&entity, &content(BLOCK, 1), 0..1);
    let key = member.peers.lookup_key(&entity);
    let somebody = identity();
    let endpoint = dialler(&group, Some((&group, &somebody)), ALPN);
    let connection = dial(&endpoint, member.address()).await.expect("a member");
    let mut open = Vec::new();
    while let Some(stream) = connection.open_bi().now_or_never() {
        open.push(stream.expect("opens"));
        assert!(open.len() <= STREAMS, "more than {STREAMS} streams");
    }
    assert_eq!(open.len(), STREAMS);
    assert!(connection.open_uni().now_or_never().is_none(), "nobody asks anything on a one-way stream");

    // All of them are asked on, one after another, and each that ends makes room for the next.
    let question = [&[1][..], &encode_frame(&Request::Read { key, blocks: 0..1 }).expect("fits")].concat();
    for number in 0..4 * STREAMS {
        let (mut send, mut receive) = match open.pop() {
            Some(stream) => stream,
            None => timeout(SOON, connection.open_bi()).await.expect("one has ended").expect("opens"),
        };
        send.write_all(&question).await.expect("is taken");
        send.finish().expect("is open");
        let answer = timeout(SOON, receive.read_to_end(1 << 20)).await.expect("in time").expect("an answer");
        assert!(answer.len() > BLOCK, "question {number}");
    }
    assert!(connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_member_leaves_open_keeps_another_from_being_served() {
    let group = group();
    let (mut member, mut honest) = (Member::start(&group).await, Member::start(&group).await);
    let length = 64 * BLOCK;
    let (entity, content) = (entity("file", length), content(length, 2));
    member.fetched_from_origin(&entity, &content, 0..64);
    honest.meet(&mut member).await;
    let (mut held, mut crowd) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let somebody = identity();
        let endpoint = dialler(&group, Some((&group, &somebody)), ALPN);
        let connection = dial(&endpoint, member.address()).await.expect("a member");
        for _ in 0..STREAMS {
            let (mut send, receive) = connection.open_bi().await.expect("opens");
            // Half a question, which opens the stream over there.
            send.write_all(&[1]).await.expect("is taken");
            held.push((send, receive));
        }
        assert!(connection.open_bi().now_or_never().is_none());
        crowd.push((endpoint, connection));
    }
    let (_, outcome) = timeout(SOON, honest.fetch(member.node(), &entity, 0..64)).await.expect("in time");
    outcome.expect("is served");
    honest.assert_true(&entity, &content);
    assert!(crowd.iter().all(|(_, connection)| connection.close_reason().is_none()));
    drop(held);
}
