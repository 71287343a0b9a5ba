//! Hosts without the group's secret get a closed handshake, and nothing else.

use crate::kit::{BLOCK, Member, SOON, content, entity, group};
use crate::wire::{Puppet, dial, dialler, identity};
use eddy_node::peer::ConnectError;
use eddy_wire::frame::{ALPN, Request, encode_frame};
use quinn::{Connection, ConnectionError};
use tokio::time::timeout;

/// Puts a question at once, as far as the handshake lets, and gives whatever comes back.
async fn ask_anyway(connection: &Connection, question: &[u8]) -> Result<Vec<u8>, String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(question).await.map_err(|error| error.to_string())?;
    let _ = send.finish();
    receive.read_to_end(1 << 20).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_a_closed_handshake_and_nothing_else() {
    let (group, other) = (group(), group());
    let mut member = Member::start(&group).await;
    let entity = entity("file", BLOCK);
    member.fetched_from_origin(&entity, &content(BLOCK, 1), 0..1);
    let key = member.peers.lookup_key(&entity);
    let mut question = vec![1];
    question.extend_from_slice(&encode_frame(&Request::Read { key, blocks: 0..1 }).expect("fits"));
    let somebody = identity();
    let strangers = [
        ("without a certificate", dialler(&group, None, ALPN)),
        ("of another group", dialler(&group, Some((&other, &somebody)), ALPN)),
        ("with another protocol", dialler(&group, Some((&group, &somebody)), b"h3")),
        ("without a protocol", dialler(&group, Some((&group, &somebody)), b"")),
    ];
    for (who, endpoint) in strangers {
        // The client's side of TLS may be done before the server has looked at the certificate.
        let outcome = timeout(SOON, async {
            match dial(&endpoint, member.address()).await {
                Ok(connection) => {
                    let answer = ask_anyway(&connection, &question).await;
                    assert!(answer.is_err(), "a stranger {who} got {answer:?}");
                    connection.closed().await
                }
                Err(error) => error,
            }
        });
        let error = outcome.await.unwrap_or_else(|_| panic!("a stranger {who} is left hanging"));
        // A TLS alert: the close of a handshake, not of a conversation.
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{who}: {error:?}");
    }
    assert!(member.peers.connected().is_empty());
    assert!(member.events.try_recv().is_err(), "the driver hears nothing of strangers");

    // The same question from a member is answered: the rest of this test is about who asked, not what.
    let endpoint = dialler(&group, Some((&group, &somebody)), ALPN);
    let connection = dial(&endpoint, member.address()).await.expect("a member");
    let answer = ask_anyway(&connection, &question).await.expect("an answer");
    assert!(answer.len() > BLOCK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_talked_to_who_cannot_show_membership() {
    let (group, other) = (group(), group());
    let mut member = Member::start(&group).await;
    let stranger = Puppet::start(&other);
    let refused = member.peers.connect(stranger.address, None).await.expect_err("is of another group");
    assert!(matches!(refused, ConnectError::NotAMember { .. }), "{refused}");
    assert!(member.peers.connected().is_empty() && member.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_than_the_expected_one_is_refused() {
    let group = group();
    let (mut one, two) = (Member::start(&group).await, Member::start(&group).await);
    let refused = one.peers.connect(two.address(), Some(identity().node_id())).await.expect_err("is somebody else");
    assert!(matches!(refused, ConnectError::NotAMember { .. }), "{refused}");
    assert!(one.peers.connected().is_empty() && one.events.try_recv().is_err());
}
