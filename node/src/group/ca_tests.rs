//! CA mode: who may certify whom, for how long, and what a removal does.

use super::*;
use certificate::Signs;
use ed25519_dalek::Signer;
use eddy_wire::membership::{MembershipRefusal, enrolment_proof};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A node with a home of its own.
struct Machine {
    home: TempDir,
    node: Identity,
    group: Group,
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn administrator() -> Machine {
    let home = home();
    let node = Identity::load_or_create(home.path()).expect("a key");
    let group = Group::init_ca(home.path(), &node, Overwrite::Refuse).expect("a group");
    Machine { home, node, group }
}

impl Machine {
    fn code(&self, role: Role) -> JoinCode {
        self.group.invite(role, 8, Duration::from_secs(60), &[]).expect("invites").0
    }

    /// Another machine, let in by this one as `role`, with dates as of `now`.
    fn lets_in_at(&self, role: Role, now: i64) -> Self {
        let (home, code) = (home(), self.code(Role::Member));
        let node = Identity::load_or_create(home.path()).expect("a key");
        let admission = self.group.admit_at(&self.node, node.node_id(), role, now).expect("admits");
        let group = Group::join_enrolled(home.path(), &node, &code, admission, Overwrite::Refuse).expect("joins");
        Self { home, node, group }
    }

    fn lets_in(&self, role: Role) -> Self {
        self.lets_in_at(role, self.group.now())
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let shown = self.group.certify(&self.node).expect("is a member");
        std::iter::once(shown.certificate).chain(shown.above).collect()
    }

    fn sees(&self, other: &Self) -> Result<Member, NotAMember> {
        self.group.verify_chain(&other.chain(), self.group.now())
    }
}

fn member(machine: &Machine, role: Role, issuer: Option<&Machine>) -> Result<Member, NotAMember> {
    Ok(Member { node: machine.node.node_id(), role, issuer: issuer.map(|issuer| issuer.node.node_id()) })
}

fn certificate(signs: Signs<'_>, machine: &Machine, role: Role) -> CertificateDer<'static> {
    let now = machine.group.now();
    certificate::enrolled(signs, machine.node.node_id(), role, now - 60..now + 600).expect("signs")
}

#[test]
fn members_that_root_and_issuer_let_in_know_each_other() {
    let root = administrator();
    let issuer = root.lets_in(Role::Issuer);
    let (one, two) = (root.lets_in(Role::Member), issuer.lets_in(Role::Member));
    let anchor = root.lets_in(Role::Anchor);
    for seer in [&root, &issuer, &one, &two, &anchor] {
        assert_eq!(seer.sees(&root), member(&root, Role::Issuer, None));
        assert_eq!(seer.sees(&issuer), member(&issuer, Role::Issuer, None));
        assert_eq!(seer.sees(&one), member(&one, Role::Member, None));
        assert_eq!(seer.sees(&two), member(&two, Role::Member, Some(&issuer)));
        assert_eq!(seer.sees(&anchor), member(&anchor, Role::Anchor, None));
        assert_eq!((seer.group.id(), seer.group.lookup_secret()), (root.group.id(), root.group.lookup_secret()));
    }
    // Another group's members are strangers, however alike they look.
    let other = administrator();
    assert_eq!(root.sees(&other), Err(NotAMember::OtherGroup));
    assert_eq!(root.sees(&other.lets_in(Role::Issuer).lets_in(Role::Member)), Err(NotAMember::OtherGroup));
}

#[test]
fn a_stolen_member_key_cannot_make_members() {
    let root = administrator();
    let (thief, friend) = (root.lets_in(Role::Member), root.lets_in(Role::Member));
    let stolen = thief.node.signing_key();
    // The key signs as the root, or as an issuer that it is not; with and without the certificate that it has.
    for signs in [Signs::Root(stolen), Signs::Issuer(stolen)] {
        let made = certificate(signs, &friend, Role::Member);
        for chain in [vec![made.clone()], vec![made.clone(), thief.chain()[0].clone()]] {
            let refused = root.group.verify_chain(&chain, root.group.now());
            assert!(matches!(refused, Err(NotAMember::OtherGroup | NotAMember::Malformed(_))), "{refused:?}");
        }
        // Nor does a certificate of an issuer help that it makes itself.
        let now = root.group.now();
        let issuing = certificate::issuing(stolen, thief.node.node_id(), now - 60..now + 600).expect("signs");
        let refused = root.group.verify_chain(&[made, issuing], now);
        assert_eq!(refused, Err(NotAMember::OtherGroup));
    }
    // Its own node refuses as well.
    assert!(matches!(
        thief.group.invite(Role::Member, 1, Duration::from_secs(60), &[]),
        Err(GroupError::NotAnIssuer { .. })
    ));
    let admitted = thief.group.admit(&thief.node, friend.node.node_id(), Role::Member);
    assert!(matches!(admitted, Err(AdmitError::Refused(MembershipRefusal::NotIssued))));
}

#[test]
fn an_issuer_makes_members_and_nothing_more() {
    let root = administrator();
    let (issuer, friend) = (root.lets_in(Role::Issuer), root.lets_in(Role::Member));
    let key = issuer.node.signing_key();
    let issuing = {
        let (_, life) = issuer.group.lives().expect("CA mode");
        assert!(life.is_some());
        issuer.lets_in(Role::Member).chain()[1].clone()
    };
    let now = root.group.now();
    let see = |chain: &[CertificateDer<'static>]| root.group.verify_chain(chain, now);
    let made = |role| vec![certificate(Signs::Issuer(key), &friend, role), issuing.clone()];
    assert_eq!(see(&made(Role::Member)), member(&friend, Role::Member, Some(&issuer)));
    // Webpki itself refuses an anchor of it: the name constraints of its certificate.
    assert_eq!(see(&made(Role::Anchor)), Err(NotAMember::Role));
    assert!(matches!(
        issuer.group.admit(&issuer.node, friend.node.node_id(), Role::Anchor),
        Err(AdmitError::Refused(MembershipRefusal::NotIssued))
    ));
    assert!(matches!(
        issuer.group.invite(Role::Issuer, 1, Duration::from_secs(60), &[]),
        Err(GroupError::NotAnIssuer { .. })
    ));
    // An issuer below it: the chain is too long, and a path of length 0 ends before.
    let below = certificate::issuing(key, friend.node.node_id(), now - 60..now + 600).expect("signs");
    let leaf = certificate(Signs::Issuer(friend.node.signing_key()), &friend, Role::Member);
    assert_eq!(see(&[leaf.clone(), below.clone(), issuing.clone()]), Err(NotAMember::Chain { count: 3 }));
    assert!(see(&[leaf, below]).is_err());
    // Its certificate as an issuer is none of a member.
    assert_eq!(see(std::slice::from_ref(&issuing)), Err(NotAMember::Purpose));
    // What is not needed to reach the root is not carried along.
    let surplus = [friend.chain()[0].clone(), issuing];
    assert_eq!(see(&surplus), Err(NotAMember::Chain { count: 2 }));
}

#[test]
fn a_stolen_issuer_makes_no_issuers_that_outlive_it() {
    let root = administrator();
    let yesterday = root.group.now() - 86_400;
    let (stolen, friend) = (root.lets_in_at(Role::Issuer, yesterday), root.lets_in(Role::Member));
    let issuing = stolen.lets_in(Role::Member).chain()[1].clone();
    let now = root.group.now();
    let renew = |asked: &Machine, chain: &[CertificateDer<'static>]| {
        let member = root.group.verify_chain(chain, now).expect("a chain to the root");
        asked.group.renew(&asked.node, &member).map(|admission| (admission.role, admission.issuing.is_some()))
    };
    // A key of the thief's own, made an issuer with the stolen one, asks the root, or another issuer, for more.
    let made = [certificate(Signs::Issuer(stolen.node.signing_key()), &friend, Role::Issuer), issuing];
    let other = root.lets_in(Role::Issuer);
    for asked in [&root, &other] {
        let refused = renew(asked, &made);
        assert!(matches!(refused, Err(AdmitError::Refused(MembershipRefusal::NotIssued))), "{refused:?}");
    }
    // An issuer of the root's stays one: by the root's certificate, by its own, and by that of another when its own has ended.
    assert_eq!(renew(&root, &stolen.chain()).expect("is renewed"), (Role::Issuer, true));
    assert!(stolen.group.renew_alone(&stolen.node).expect("renews"));
    assert_eq!(renew(&root, &stolen.chain()).expect("is renewed"), (Role::Issuer, true));
    assert_eq!(renew(&other, &stolen.chain()).expect("is renewed"), (Role::Issuer, false));
    let by_other = other.lets_in(Role::Member).chain()[1].clone();
    let given = [certificate(Signs::Issuer(other.node.signing_key()), &stolen, Role::Issuer), by_other];
    assert_eq!(renew(&root, &given).expect("is renewed"), (Role::Issuer, true));
}

#[test]
fn a_certificate_names_a_key_a_role_and_dates_and_nothing_else() {
    let root = administrator();
    let issuer = root.lets_in(Role::Issuer);
    let chain = issuer.lets_in(Role::Member).chain();
    let length: usize = chain.iter().map(|certificate| certificate.len()).sum();
    assert!(length < 1200, "{length} bytes (T-07)");
    let is_date = |word: &str| word.len() >= 13 && word[..12].bytes().all(|byte| byte.is_ascii_digit());
    for certificate in &chain {
        let words = certificate
            .split(|byte| !byte.is_ascii_graphic() && *byte != b' ')
            .filter(|word| word.len() >= 8)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        for word in words {
            let known = ["eddy group0", "eddy issuer0", "eddy node0", "member.eddy.invalid", "issuer.eddy.invalid"];
            // Keys, hashes and signatures are random and may hold eight letters in a row once in ages.
            assert!(known.iter().any(|known| word.contains(known)) || is_date(&word) || word.len() < 11, "{word}");
        }
    }
}

#[test]
fn a_certificate_holds_for_seven_days_and_five_minutes_more() {
    let root = administrator();
    let one = root.lets_in(Role::Member);
    let (life, issuing) = one.group.lives().expect("CA mode");
    assert_eq!((life.end - life.start, issuing), (7 * 86_400 + 300, None));
    let see = |now| root.group.verify_chain(&one.chain(), now).map(|member| member.node);
    assert_eq!(see(life.start - 301), Err(NotAMember::NotYetValid));
    assert_eq!(see(life.start - 300), Ok(one.node.node_id()));
    assert_eq!(see(life.end + 300), Ok(one.node.node_id()));
    assert_eq!(see(life.end + 302), Err(NotAMember::Expired));
    // What an issuer gives ends no later than what it has itself.
    let long_ago = root.group.now() - 26 * 86_400;
    let issuer = root.lets_in_at(Role::Issuer, long_ago);
    let (_, issuing) = issuer.group.lives().expect("CA mode");
    let late = issuer.lets_in(Role::Member);
    assert_eq!(late.group.lives().expect("CA mode").0.end, issuing.expect("an issuer's").end);
}

#[test]
fn an_expired_member_knows_it() {
    let root = administrator();
    let now = root.group.now();
    let one = root.lets_in_at(Role::Member, now - 8 * 86_400);
    let me = one.node.node_id();
    assert_eq!(one.group.standing(&me), Standing::Expired(now - 86_400));
    assert_eq!(root.sees(&one), Err(NotAMember::Expired));
    // It is not let in again by what it has, and is by a new invitation.
    let again = root.group.admit(&root.node, me, Role::Member).expect("admits");
    let code = root.code(Role::Member);
    let group = Group::join_enrolled(one.home.path(), &one.node, &code, again, Overwrite::Refuse).expect("joins again");
    assert!(matches!(group.standing(&me), Standing::Until(until) if until > now));
}

#[test]
fn an_expired_issuer_lets_nobody_in() {
    let root = administrator();
    let issuer = root.lets_in_at(Role::Issuer, root.group.now() - 31 * 86_400);
    assert!(!issuer.group.may_issue());
    assert!(issuer.group.invite(Role::Member, 1, Duration::from_secs(60), &[]).is_err());
    let friend = root.lets_in(Role::Member);
    assert!(issuer.group.admit(&issuer.node, friend.node.node_id(), Role::Member).is_err());
    // What it signs all the same, with dates of this day, leads to an issuer that is none any more.
    let issuing = root.lets_in_at(Role::Issuer, root.group.now() - 31 * 86_400);
    let made = certificate(Signs::Issuer(issuing.node.signing_key()), &friend, Role::Member);
    let old = certificate::issuing(
        &read_root(&root),
        issuing.node.node_id(),
        root.group.now() - 31 * 86_400..root.group.now() - 86_400,
    );
    assert_eq!(root.group.verify_chain(&[made, old.expect("signs")], root.group.now()), Err(NotAMember::Expired));
}

fn read_root(machine: &Machine) -> SigningKey {
    let text = std::fs::read_to_string(machine.home.path().join(enrolled::ROOT_FILE)).expect("is there");
    let kind = crate::secret_text::SecretKind { name: "eddy-root", version: 1 };
    SigningKey::from_bytes(&kind.parse(&text).expect("a key"))
}

#[test]
fn a_removed_member_is_none_and_neither_is_whom_it_certified() {
    let root = administrator();
    let (issuer, one, two) = (root.lets_in(Role::Issuer), root.lets_in(Role::Member), root.lets_in(Role::Member));
    let by_issuer = issuer.lets_in(Role::Member);
    assert_eq!(root.group.revoke(one.node.node_id()).expect("revokes"), 1);
    assert_eq!(root.group.revoke(issuer.node.node_id()).expect("revokes"), 2);
    let list = root.group.denied().expect("CA mode").known().signed.clone().expect("a list");
    two.group.denied().expect("CA mode").apply(list.clone()).expect("is the root's");
    for seer in [&root, &two] {
        assert_eq!(seer.sees(&one), Err(NotAMember::Removed { node: one.node.node_id() }));
        assert_eq!(seer.sees(&issuer), Err(NotAMember::Removed { node: issuer.node.node_id() }));
        assert_eq!(seer.sees(&by_issuer), Err(NotAMember::Removed { node: issuer.node.node_id() }));
        assert!(seer.sees(&two).is_ok() && seer.sees(&root).is_ok());
    }
    // It is not certified again, by whatever way.
    let refused = root.group.admit(&root.node, one.node.node_id(), Role::Member);
    assert!(matches!(refused, Err(AdmitError::Refused(MembershipRefusal::Removed))));
    one.group.denied().expect("CA mode").apply(list).expect("is the root's");
    assert_eq!(one.group.standing(&one.node.node_id()), Standing::Removed);
    // Only the root removes.
    assert!(matches!(two.group.revoke(root.node.node_id()), Err(GroupError::NoRoot)));
    // A new member learns of it with its enrolment.
    let late = root.lets_in(Role::Member);
    assert!(late.sees(&one).is_err());
}

#[test]
fn an_invitation_lets_in_whoever_proves_its_token_on_his_own_channel() {
    let root = administrator();
    let (code, _) = root.group.invite(Role::Member, 1, Duration::from_secs(60), &[]).expect("invites");
    let (one, two) =
        (Identity::from_key(SigningKey::from_bytes(&[1; 32])), Identity::from_key(SigningKey::from_bytes(&[2; 32])));
    let token = code.key().verifying_key().to_bytes();
    let ask = |node: &Identity, channel: [u8; 32], proof: [u8; 64]| {
        let message = enrolment_proof(root.group.id(), node.node_id(), &channel);
        root.group.enrol(&root.node, node.node_id(), &token, &message, &proof)
    };
    let proof = |node: &Identity, channel: [u8; 32]| {
        code.key().sign(&enrolment_proof(root.group.id(), node.node_id(), &channel)).to_bytes()
    };
    // Heard on one channel, played on another; heard from one, played by another.
    let refused = |outcome: Result<Admission, AdmitError>| match outcome {
        Err(AdmitError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(&one, [8; 32], proof(&one, [7; 32]))), MembershipRefusal::Unknown);
    assert_eq!(refused(ask(&two, [7; 32], proof(&one, [7; 32]))), MembershipRefusal::Unknown);
    let admission = ask(&one, [7; 32], proof(&one, [7; 32])).expect("is let in");
    assert_eq!(refused(ask(&two, [7; 32], proof(&two, [7; 32]))), MembershipRefusal::UsedUp);

    // What was given is taken only by whom it is for, with the code that it was asked with.
    let there = home();
    let other = administrator().code(Role::Member);
    let join = |node: &Identity, code: &JoinCode| {
        Group::join_enrolled(there.path(), node, code, admission.clone(), Overwrite::Refuse)
    };
    assert!(matches!(join(&one, &other), Err(GroupError::OtherGroup)));
    assert!(matches!(join(&two, &code), Err(GroupError::NotForThisNode)));
    assert!(Group::load(there.path()).expect("no fault").is_none(), "nothing is kept");
    assert_eq!(join(&one, &code).expect("joins").role(), Role::Member);
    let listed: Vec<_> =
        root.group.register().expect("CA mode").roster().expect("reads").iter().map(|row| row.node()).collect();
    assert_eq!(listed, [one.node_id()]);
}

#[test]
fn a_membership_is_its_owners_alone_and_there_after_a_restart() {
    let root = administrator();
    let one = root.lets_in(Role::Member);
    for file in [enrolled::MEMBER_FILE, enrolled::ROOT_FILE] {
        let path = root.home.path().join(file);
        assert_eq!(std::fs::metadata(path).expect("is there").permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert!(!one.home.path().join(enrolled::ROOT_FILE).exists());
    for machine in [&root, &one] {
        let again = Group::load(machine.home.path()).expect("reads").expect("is there");
        assert_eq!(
            (again.id(), again.role(), again.has_root()),
            (root.group.id(), machine.group.role(), machine.group.has_root())
        );
        let (before, after) = (machine.chain(), again.certify(&machine.node).expect("is a member"));
        assert_eq!(before[0], after.certificate);
        assert!(Group::leave(machine.home.path()).expect("leaves"));
        assert!(Group::load(machine.home.path()).expect("no fault").is_none());
    }
}

#[test]
fn a_group_is_not_lost_by_joining_another_by_mistake() {
    let (root, other) = (administrator(), administrator());
    let refused = Group::init(root.home.path(), Overwrite::Refuse);
    assert!(matches!(refused, Err(GroupError::InAnother { ref name }) if *name == root.group.name()));
    let refused = Group::init_ca(root.home.path(), &root.node, Overwrite::Refuse);
    assert!(matches!(refused, Err(GroupError::InAnother { .. })));
    let admission = other.group.admit(&other.node, root.node.node_id(), Role::Member).expect("admits");
    let join = |overwrite| {
        let code = other.code(Role::Member);
        Group::join_enrolled(root.home.path(), &root.node, &code, admission.clone(), overwrite)
    };
    assert!(matches!(join(Overwrite::Refuse), Err(GroupError::InAnother { .. })));
    assert_eq!(join(Overwrite::Replace).expect("changes").id(), other.group.id());
    assert!(!Group::load(root.home.path()).expect("reads").expect("is there").has_root());
    // And from there into a group of secret mode.
    let secret = Group::init(root.home.path(), Overwrite::Replace).expect("changes");
    assert_eq!(Group::load(root.home.path()).expect("reads").expect("is there").id(), secret.id());
}

#[test]
fn a_renewal_moves_the_end_and_nothing_else() {
    let root = administrator();
    let now = root.group.now();
    let one = root.lets_in_at(Role::Member, now - 4 * 86_400);
    let mut told = one.group.renewals().expect("CA mode");
    let renewed = root.group.admit_at(&root.node, one.node.node_id(), Role::Member, now).expect("certifies");
    one.group.take_renewal(&one.node, renewed).expect("takes it");
    assert!(told.has_changed().expect("lives"));
    told.mark_unchanged();
    assert_eq!(one.group.lives().expect("CA mode").0.end, now + 7 * 86_400);
    assert_eq!(root.sees(&one), member(&one, Role::Member, None));
    // An older one, somebody else's, or another group's changes nothing.
    let older = root.group.admit_at(&root.node, one.node.node_id(), Role::Member, now - 86_400).expect("certifies");
    assert!(matches!(one.group.take_renewal(&one.node, older), Err(GroupError::NoLonger)));
    let others = root.group.admit(&root.node, root.node.node_id(), Role::Member).expect("certifies");
    assert!(matches!(one.group.take_renewal(&one.node, others), Err(GroupError::NotForThisNode)));
    let stranger = administrator();
    let strange = stranger.group.admit(&stranger.node, one.node.node_id(), Role::Member).expect("certifies");
    assert!(matches!(one.group.take_renewal(&one.node, strange), Err(GroupError::Certified(NotAMember::OtherGroup))));
    assert!(!told.has_changed().expect("lives"));
}

#[test]
fn root_and_issuer_renew_themselves_and_a_member_cannot() {
    let root = administrator();
    let past = root.group.now() - 5 * 86_400;
    let (issuer, one) = (root.lets_in_at(Role::Issuer, past), root.lets_in_at(Role::Member, past));
    assert!(root.group.renew_alone(&root.node).expect("no fault"));
    assert!(issuer.group.renew_alone(&issuer.node).expect("no fault"));
    assert!(!one.group.renew_alone(&one.node).expect("no fault"));
    assert_eq!(root.sees(&issuer), member(&issuer, Role::Issuer, Some(&issuer)));
    let (life, issuing) = issuer.group.lives().expect("CA mode");
    assert!(life.end > root.group.now() + 6 * 86_400 && issuing.is_some_and(|issuing| issuing.start == past - 300));
}

#[test]
fn what_is_kept_and_spoiled_is_reported() {
    let root = administrator();
    let path = root.home.path().join(enrolled::MEMBER_FILE);
    let whole = std::fs::read(&path).expect("is there");
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("writes");
    assert!(matches!(Group::load(root.home.path()), Err(GroupError::Membership { .. })));
    std::fs::write(&path, &whole).expect("writes");
    std::fs::write(root.home.path().join("group.denied"), "nonsense").expect("writes");
    std::fs::set_permissions(root.home.path().join("group.denied"), std::fs::Permissions::from_mode(0o600))
        .expect("changes");
    assert!(matches!(Group::load(root.home.path()), Err(GroupError::Denied(_))));
}

#[test]
fn no_flipped_bit_of_a_chain_lets_anybody_in() {
    let root = administrator();
    let chain = root.lets_in(Role::Issuer).lets_in(Role::Member).chain();
    let whole = chain::join(&chain);
    for bit in 0..whole.len() * 8 {
        let mut forged = whole.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let admitted = chain::split(&forged).map(|chain| root.group.verify_chain(&chain, root.group.now()));
        assert!(!matches!(admitted, Some(Ok(_))), "bit {bit}");
    }
}

#[test]
fn nothing_secret_is_in_any_debug_text() {
    let root = administrator();
    let (code, invite) = root.group.invite(Role::Member, 1, Duration::from_secs(60), &[]).expect("invites");
    let admission = root.group.admit(&root.node, root.node.node_id(), Role::Member).expect("certifies");
    let text = format!("{:?} {code:?} {invite:?} {admission:?} {:?}", root.group, root.node);
    let key = read_root(&root);
    let lookup = format!("{:?}", admission.lookup);
    for secret in
        [format!("{:?}", key.as_bytes()), lookup, code.text()[13..].to_owned(), format!("{:?}", code.key().as_bytes())]
    {
        assert!(!text.contains(secret.trim_matches(['[', ']'])), "{text}");
    }
}
