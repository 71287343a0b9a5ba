//! Groups with a root: who is let in, renewed, parted from and refused, over real QUIC.

use crate::kit::{BLOCK, Member, SOON, content, entity};
use crate::wire::{dial, dialler, identity, pretender};
use eddy_node::group::{Group, JoinCode, Overwrite};
use eddy_node::identity::Identity;
use eddy_node::peer::{ConnectError, EnrolError, Limits, Parting, Patience, PeerEvent, Where, enrol};
use eddy_wire::frame::{ALPN, Request, StreamKind, encode_frame};
use eddy_wire::membership::{
    DenyList, ENROL_ALPN, MembershipQuestion, MembershipRefusal, Removal, Role, SignedDenyList,
};
use quinn::{Connection, ConnectionError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

const DAY: i64 = 86_400;

/// A node that is a member and does not run yet.
struct Enrolled {
    home: TempDir,
    identity: Identity,
    group: Group,
}

fn administrator() -> Enrolled {
    let home = TempDir::new().expect("a directory");
    let identity = Identity::load_or_create(home.path()).expect("a key");
    let group = Group::init_ca(home.path(), &identity, Overwrite::Refuse).expect("a group");
    Enrolled { home, identity, group }
}

impl Enrolled {
    /// Another node, let in as of so many seconds from here.
    fn lets_in(&self, role: Role, shift: i64) -> Self {
        let home = TempDir::new().expect("a directory");
        let identity = Identity::load_or_create(home.path()).expect("a key");
        let now = self.group.now() + shift;
        let admission = self.group.admit_at(&self.identity, identity.node_id(), role, now).expect("admits");
        let group = Group::join_enrolled(home.path(), &identity, &self.code(1, 3600), admission, Overwrite::Refuse)
            .expect("joins");
        Self { home, identity, group }
    }

    fn code(&self, uses: u32, seconds: u64) -> JoinCode {
        self.group.invite(Role::Member, uses, Duration::from_secs(seconds), &[]).expect("invites").0
    }

    async fn start(self) -> (Member, Group) {
        let member =
            Member::start_at(self.home, self.identity, &self.group, Limits::default(), Patience::default()).await;
        (member, self.group)
    }
}

/// Waits until a node knows a deny-list of this epoch.
async fn knows(group: &Group, epoch: u64) {
    let mut lists = group.denied().expect("CA mode").watch();
    timeout(SOON, lists.wait_for(|known| known.epoch >= epoch)).await.expect("in time").expect("lives");
}

/// Waits until this peer is gone, and says why.
async fn parting(member: &mut Member, from: &Member) -> Parting {
    loop {
        match member.event().await {
            PeerEvent::Down { node, reason } if node == from.node() => return reason,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_parted_from_refused_and_not_believed_and_the_news_go_round() {
    let root = administrator();
    let [one, two, far] = [(); 3].map(|()| root.lets_in(Role::Member, 0));
    let (mut root, administration) = root.start().await;
    let ((mut one, _), (mut two, _)) = (one.start().await, two.start().await);
    let (mut far, far_group) = far.start().await;
    // The one to be removed has fetched something, and another took it from there.
    let file = entity("file", 4 * BLOCK);
    let bytes = content(4 * BLOCK, 1);
    two.fetched_from_origin(&file, &bytes, 0..4);
    one.meet(&mut two).await;
    root.meet(&mut one).await;
    far.meet(&mut one).await;
    let (got, outcome) = one.fetch(two.node(), &file, 0..4).await;
    outcome.expect("a member serves");
    assert_eq!(got.len(), 4);
    let key = far.peers.lookup_key(&file);
    assert!(far.peers.ask(one.node(), key).await.expect("answers").is_some());

    assert_eq!(administration.revoke(two.node()).expect("the root is here"), 1);
    assert_eq!(parting(&mut one, &two).await, Parting::ClosedHere);
    let told = parting(&mut two, &one).await;
    assert!(matches!(told, Parting::Removed | Parting::ClosedHere), "{told}");
    // Over a member in between, to one whom the administrator never meets.
    knows(&far_group, 1).await;
    for dialler in [&one, &far, &root] {
        let refused = dialler.peers.connect(two.address(), None).await.expect_err("is removed");
        assert!(matches!(refused, ConnectError::NotAMember { .. } | ConnectError::Refused { .. }), "{refused}");
    }
    for dialled in [&one, &far, &root] {
        // The dialler's side of TLS may be done before the other has looked at its certificate; then it ends at once.
        if two.peers.connect(dialled.address(), None).await.is_ok() {
            parting(&mut two, dialled).await;
        }
        assert!(dialled.peers.connected().iter().all(|peer| peer.node != two.node()));
    }
    // What it signed is passed on to nobody, and not taken from one who has not heard of the removal.
    assert_eq!(far.peers.ask(one.node(), key).await.expect("answers"), None);
    let (got, outcome) = far.fetch(one.node(), &file, 0..4).await;
    assert!(got.is_empty() && outcome.is_err(), "{outcome:?}");
    // The others go on as before.
    assert!(one.peers.connected().iter().any(|peer| peer.node == far.node()));
    drop(root.events.try_recv());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_hears_of_a_removal_with_the_next_handshake() {
    let root = administrator();
    let [late, two] = [(); 2].map(|()| root.lets_in(Role::Member, 0));
    let removed = identity().node_id();
    root.group.revoke(removed).expect("the root is here");
    let (mut root, _) = root.start().await;
    let ((mut late, late_group), (mut two, two_group)) = (late.start().await, two.start().await);
    late.meet(&mut two).await;
    assert_eq!(late_group.denied().expect("CA mode").known().epoch, 0);
    late.meet(&mut root).await;
    knows(&late_group, 1).await;
    knows(&two_group, 1).await;
    assert!(two_group.denied().expect("CA mode").known().is_removed(&removed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_without_a_membership_of_this_day_are_refused() {
    let (root, other) = (administrator(), administrator());
    let good = root.lets_in(Role::Member, 0);
    let (expired, early) = (root.lets_in(Role::Member, -8 * DAY), root.lets_in(Role::Member, 2 * DAY));
    let (removed, stranger) = (root.lets_in(Role::Member, 0), other.lets_in(Role::Member, 0));
    root.group.revoke(removed.identity.node_id()).expect("the root is here");
    let list = root.group.denied().expect("CA mode").known().signed.clone().expect("a list");
    let here = root.lets_in(Role::Member, 0);
    here.group.denied().expect("CA mode").apply(list).expect("is the root's");
    let (mut here, group) = here.start().await;
    let cases = [
        ("expired", Some(&expired), ALPN),
        ("not yet valid", Some(&early), ALPN),
        ("removed", Some(&removed), ALPN),
        ("of another group", Some(&stranger), ALPN),
        ("with another protocol", Some(&good), b"h3"),
        ("that wants to enrol where nobody is let in", Some(&good), ENROL_ALPN),
        ("without a certificate", None, ALPN),
    ];
    for (who, shown, alpn) in cases {
        let endpoint = dialler(&group, shown.map(|shown| (&shown.group, &shown.identity)), alpn);
        let error = timeout(SOON, async {
            match dial(&endpoint, here.address()).await {
                // The client's side of TLS may be done before the server has looked at the certificate.
                Ok(connection) => connection.closed().await,
                Err(error) => error,
            }
        });
        let error = error.await.unwrap_or_else(|_| panic!("one {who} is left hanging"));
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{who}: {error:?}");
    }
    // Nor does this node take them for members when it dials them.
    for shown in [expired, early, removed, stranger] {
        let (there, _) = shown.start().await;
        let refused = here.peers.connect(there.address(), None).await.expect_err("is no member");
        assert!(matches!(refused, ConnectError::NotAMember { .. }), "{refused}");
    }
    assert!(here.peers.connected().is_empty() && here.events.try_recv().is_err());
    // The same handshake by a member of this day comes about, and gives nothing with which a later one could be cut short.
    let endpoint = dialler(&group, Some((&good.group, &good.identity)), ALPN);
    let connection = dial(&endpoint, here.address()).await.expect("a member");
    assert!(matches!(here.event().await, PeerEvent::Up { .. }));
    connection.close(0u32.into(), b"");
    let again = endpoint.connect(here.address(), "member.eddy.invalid").expect("dials");
    assert!(again.into_0rtt().is_err(), "nothing is sent before the handshake");
}

/// Asks to be let in until an issuer has noticed its invitation.
async fn ask(node: &Identity, code: &JoinCode, at: &Member) -> Result<eddy_wire::membership::Admission, EnrolError> {
    let place = Where::At(vec![at.address()]);
    timeout(SOON, async {
        loop {
            match enrol(node, code, &place).await {
                Err(EnrolError::NobodyThere { tried }) if tried.contains("no invitation is open") => {}
                outcome => return outcome,
            }
        }
    })
    .await
    .expect("an issuer hears in time")
}

fn refusal(outcome: Result<eddy_wire::membership::Admission, EnrolError>) -> MembershipRefusal {
    match outcome {
        Err(EnrolError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_lets_a_machine_in_and_nobody_else_by_any_other_way() {
    let (root, other) = (administrator(), administrator());
    let plain = root.lets_in(Role::Member, 0);
    let register = root.group.register().expect("CA mode");
    for invite in register.invites().expect("reads") {
        register.withdraw(&invite.name()).expect("changes");
    }
    let (mut root, group) = root.start().await;
    let (plain, _) = plain.start().await;
    let home = TempDir::new().expect("a directory");
    let node = Identity::load_or_create(home.path()).expect("a key");

    // Nobody is awaited.
    let invite = |uses, seconds| group.invite(Role::Member, uses, Duration::from_secs(seconds), &[]).expect("invites");
    let (over, _) = invite(1, 0);
    let outcome = enrol(&node, &over, &Where::At(vec![root.address()])).await;
    assert!(matches!(outcome, Err(EnrolError::NobodyThere { ref tried }) if tried.contains("no invitation is open")));

    let (code, _) = invite(1, 3600);
    let (gone, withdrawn) = invite(5, 3600);
    register.withdraw(&withdrawn.name()).expect("changes");
    let admission = ask(&node, &code, &root).await.expect("is let in");
    assert_eq!(admission.role, Role::Member);
    // The answer may be lost: the same node is let in again. Another one is not.
    ask(&node, &code, &root).await.expect("is let in again");
    assert_eq!(refusal(ask(&identity(), &code, &root).await), MembershipRefusal::UsedUp);
    assert_eq!(refusal(ask(&node, &over, &root).await), MembershipRefusal::Expired);
    assert_eq!(refusal(ask(&node, &gone, &root).await), MembershipRefusal::Unknown);
    // A code of another group is not even tried here: the issuer cannot show that it is of that group.
    let foreign = other.code(1, 3600);
    let outcome = ask(&node, &foreign, &root).await;
    assert!(
        matches!(outcome, Err(EnrolError::NobodyThere { ref tried }) if tried.contains("another group")),
        "{outcome:?}"
    );
    // A member that is no issuer lets nobody in.
    let outcome = enrol(&node, &code, &Where::At(vec![plain.address()])).await;
    assert!(matches!(outcome, Err(EnrolError::NobodyThere { .. })), "{outcome:?}");

    let joined = Group::join_enrolled(home.path(), &node, &code, admission, Overwrite::Refuse).expect("joins");
    let mut new = Member::start_at(home, node, &joined, Limits::default(), Patience::default()).await;
    new.meet(&mut root).await;
    // Who guesses is not even looked at after a while, be the code right or not.
    let refusals: Vec<_> = {
        let mut heard = Vec::new();
        for _ in 0..9 {
            heard.push(refusal(ask(&identity(), &gone, &root).await));
        }
        heard
    };
    assert_eq!(refusals[0], MembershipRefusal::Unknown);
    assert_eq!(refusals[8], MembershipRefusal::TooMany);
    let (last, _) = invite(1, 3600);
    assert_eq!(refusal(ask(&identity(), &last, &root).await), MembershipRefusal::TooMany);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_applicant_gets_nothing_but_an_answer_to_its_code() {
    let root = administrator();
    let code = root.code(1, 3600);
    let (mut root, group) = root.start().await;
    // Wait until applicants are heard at all.
    let guess = ask(&identity(), &code, &root).await;
    guess.expect("is let in");
    let file = entity("file", BLOCK);
    root.fetched_from_origin(&file, &content(BLOCK, 1), 0..1);
    let read = Request::Read { key: root.peers.lookup_key(&file), blocks: 0..1 };
    let renew = encode_frame(&MembershipQuestion::Renew).expect("fits");
    let since = encode_frame(&MembershipQuestion::DeniedSince(0)).expect("fits");
    let read = [&[StreamKind::Request.byte()][..], &encode_frame(&read).expect("fits")].concat();
    let [renew, since] = [renew, since].map(|frame| [&[StreamKind::Membership.byte()][..], &frame].concat());
    for (name, alpn) in [("applicant.eddy.invalid", ALPN), ("applicant.eddy.invalid", ENROL_ALPN), ("x.invalid", ALPN)]
    {
        for question in [&read, &renew, &since] {
            let endpoint = pretender(&group, name, alpn);
            // An issuer is called an issuer.
            let Ok(connection) = endpoint.connect(root.address(), "issuer.eddy.invalid").expect("dials").await else {
                continue;
            };
            let answer = async {
                let (mut send, mut receive) = connection.open_bi().await.ok()?;
                let _ = send.write_all(question).await;
                let _ = send.finish();
                receive.read_to_end(1 << 20).await.ok()
            };
            let answer = timeout(SOON, answer).await.expect("an end");
            assert_eq!(answer, None, "{name} under {}", String::from_utf8_lossy(alpn));
        }
    }
    assert!(root.peers.connected().is_empty() && root.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_past_its_half_renews_itself_from_any_issuer_that_is_connected() {
    let root = administrator();
    let (issuer, member) = (root.lets_in(Role::Issuer, 0), root.lets_in(Role::Member, -4 * DAY));
    let now = root.group.now();
    let other = root.lets_in(Role::Member, 0);
    let (mut issuer, _) = issuer.start().await;
    let (mut member, group) = member.start().await;
    let (mut other, _) = other.start().await;
    assert!(group.lives().expect("CA mode").0.end < now + 4 * DAY);
    let mut renewals = group.renewals().expect("CA mode");
    member.meet(&mut other).await;
    member.meet(&mut issuer).await;
    timeout(SOON * 3, renewals.changed()).await.expect("in time").expect("lives");
    let (life, _) = group.lives().expect("CA mode");
    assert!(life.end >= now + 7 * DAY - 60, "{life:?}");
    // It shows the new one, signed by the issuer, and what it says is believed.
    let file = entity("file", BLOCK);
    member.fetched_from_origin(&file, &content(BLOCK, 3), 0..1);
    let (got, outcome) = other.fetch(member.node(), &file, 0..1).await;
    outcome.expect("is believed");
    assert_eq!(got.len(), 1);
    assert_eq!(member.peers.connected().len(), 2);
}

/// Says something about membership as a member, and gives what became of the connection.
async fn say(connection: &Connection, bytes: &[u8]) -> Result<Vec<u8>, ConnectionError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let _ = send.write_all(&[&[StreamKind::Membership.byte()], bytes].concat()).await;
    let _ = send.finish();
    match timeout(SOON, receive.read_to_end(1 << 20)).await.expect("an answer or an end") {
        Ok(answer) => Ok(answer),
        Err(_) => Err(timeout(SOON, connection.closed()).await.expect("is closed")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lies_about_membership_is_disconnected() {
    let root = administrator();
    let (here, liar) = (root.lets_in(Role::Member, 0), root.lets_in(Role::Member, 0));
    let (here, group) = here.start().await;
    let forged = |group_id, epoch| -> SignedDenyList {
        let removed = vec![Removal { node: here.node(), time: 0 }];
        DenyList { group: group_id, epoch, time: 0, removed }.sign(liar.identity.signing_key())
    };
    let frame = |question: MembershipQuestion| encode_frame(&question).expect("fits");
    let lies = [
        frame(MembershipQuestion::Denied(forged(group.id(), 9))),
        frame(MembershipQuestion::Denied(forged(administrator().group.id(), 9))),
        frame(MembershipQuestion::Enrol { invitation: [1; 32], proof: [2; 64] }),
        vec![1, 0xff, 0xff, 0xff, 0xff],
        b"nonsense".to_vec(),
    ];
    for lie in lies {
        let endpoint = dialler(&group, Some((&liar.group, &liar.identity)), ALPN);
        let connection = dial(&endpoint, here.address()).await.expect("a member");
        let error = say(&connection, &lie).await.expect_err("is disconnected");
        assert!(matches!(error, ConnectionError::ApplicationClosed(_)), "{error:?}");
    }
    assert_eq!(group.denied().expect("CA mode").known().epoch, 0);
    // A member that is no issuer certifies nobody, and says so.
    let endpoint = dialler(&group, Some((&liar.group, &liar.identity)), ALPN);
    let connection = dial(&endpoint, here.address()).await.expect("a member");
    let answer = say(&connection, &frame(MembershipQuestion::Renew)).await.expect("an answer");
    let refused = eddy_wire::membership::MembershipAnswer::Refused(MembershipRefusal::NotIssued);
    assert_eq!(answer, encode_frame(&refused).expect("fits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_group_of_one_secret_nobody_talks_about_membership() {
    let group = crate::kit::group();
    let member = Member::start(&group).await;
    let endpoint = dialler(&group, Some((&group, &identity())), ALPN);
    let connection = dial(&endpoint, member.address()).await.expect("a member");
    let question = encode_frame(&MembershipQuestion::DeniedSince(0)).expect("fits");
    assert!(say(&connection, &question).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_on_a_removed_members_word_alone_is_put_aside_and_what_others_confirm_stays() {
    let root = administrator();
    let [removed, honest, reader] = [(); 3].map(|()| root.lets_in(Role::Member, 0));
    let gone = removed.identity.node_id();
    let (mut removed, _) = removed.start().await;
    let (mut honest, _) = honest.start().await;
    let (mut reader, group) = reader.start().await;
    let (alone, both, own) = (entity("alone", 20 * BLOCK), entity("both", 20 * BLOCK), entity("own", 20 * BLOCK));
    let bytes = content(20 * BLOCK, 1);
    for file in [&alone, &both, &own] {
        removed.fetched_from_origin(file, &bytes, 0..20);
    }
    honest.fetched_from_origin(&both, &bytes, 0..20);
    reader.meet(&mut removed).await;
    reader.meet(&mut honest).await;
    for file in [&alone, &both] {
        reader.fetch(gone, file, 0..20).await.1.expect("is believed");
    }
    reader.fetch(gone, &own, 0..16).await.1.expect("is believed");
    reader.fetched_from_origin(&own, &bytes, 16..20);
    let heard = reader.fetch_statements(honest.node(), &both, 0..20).await;
    assert!(heard > 0, "the other member signs for it, too");
    assert_eq!(eddy_node::peer::sweep(&reader.peers, &reader.store).expect("looks"), 0, "nobody was removed");

    root.group.revoke(gone).expect("removes");
    let list = root.group.denied().expect("CA mode").known().signed.clone().expect("a list");
    group.denied().expect("CA mode").apply(list).expect("takes it");
    assert_eq!(eddy_node::peer::sweep(&reader.peers, &reader.store).expect("looks"), 20 + 16);
    let held = |file| reader.store.find(&eddy_content::Entity::id(file)).expect("works").expect("is there").held();
    assert!(held(&alone).is_empty());
    assert_eq!(held(&both), eddy_content::BlockSet::from_run(0..20), "another member vouches for it");
    assert_eq!(held(&own), eddy_content::BlockSet::from_run(16..20), "what came from the origin itself stays");
    // It comes again from whoever's word counts.
    honest.fetched_from_origin(&alone, &bytes, 0..20);
    reader.fetch(honest.node(), &alone, 0..20).await.1.expect("is believed");
    reader.assert_true(&alone, &bytes);
    assert_eq!(held(&alone).len(), 20);
}
