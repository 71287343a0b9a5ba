//! Members' words against each other: witnesses that agree, words that differ, and who is convicted once the origin was asked.

use crate::kit::{BLOCK, Member, SOON, content, entity, group};
use crate::liar::attempts;
use crate::wire::{Puppet, Then, Truth, identity};
use eddy_content::{BlockHash, BlockSet, Entity, tree};
use eddy_engine::Peer;
use eddy_engine::port::Proof;
use eddy_node::peer::Vouching;
use eddy_node::peer::{Membership, hear};
use eddy_wire::frame::{Vouched, encode_frame};
use eddy_wire::statement::{Claim, EndorsedStatement};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;

const LENGTH: usize = 40 * BLOCK + 321;
const ALL: Range<u32> = 0..41;

fn proof(needed: u8, ask: &[&Member]) -> Proof {
    Proof { needed, ask: ask.iter().map(|member| Peer(member.node().0)).collect() }
}

async fn vouch(member: &Member, entity: &Entity, needed: u8, ask: &[&Member]) -> Vouching {
    let proof = proof(needed, ask);
    let vouched = member.peers.vouch(entity, ALL, &proof);
    tokio::time::timeout(SOON, vouched).await.expect("in time")
}

fn hashes(entity: &Entity, content: &[u8]) -> Vec<BlockHash> {
    let geometry = eddy_content::Geometry::new(entity.length).expect("fits");
    let hash = |block| {
        let bytes = geometry.block_bytes(block);
        tree::hash_block(&geometry, block, &content[bytes.start as usize..bytes.end as usize])
    };
    ALL.map(hash).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_who_say_the_same_are_two_witnesses_and_one_twice_is_one() {
    let group = group();
    let (mut asker, mut first, mut second) =
        (Member::start(&group).await, Member::start(&group).await, Member::start(&group).await);
    let (entity, content) = (entity("file", LENGTH), content(LENGTH, 1));
    first.fetched_from_origin(&entity, &content, ALL);
    second.fetched_from_origin(&entity, &content, 0..16);
    asker.meet(&mut first).await;
    asker.meet(&mut second).await;
    let both = vouch(&asker, &entity, 2, &[&first, &second]).await;
    assert_eq!(both.met, BlockSet::from_run(0..16), "the second has fetched the first segment only");
    assert!(both.disputed.is_empty());
    assert_eq!(both.hashes.len(), 16);
    assert!(hashes(&entity, &content)[..16].iter().zip(both.hashes.values()).all(|(a, b)| a == b));
    let alone = vouch(&asker, &entity, 2, &[&first, &first]).await;
    assert!(alone.met.is_empty());
    assert_eq!(vouch(&asker, &entity, 1, &[&first]).await.met, BlockSet::from_run(ALL));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_passes_on_who_signed_and_is_no_witness_itself() {
    let group = group();
    let (mut asker, mut origin_side, mut relay) =
        (Member::start(&group).await, Member::start(&group).await, Member::start(&group).await);
    let (entity, content) = (entity("file", LENGTH), content(LENGTH, 1));
    origin_side.fetched_from_origin(&entity, &content, ALL);
    relay.meet(&mut origin_side).await;
    relay.fetch(origin_side.node(), &entity, ALL).await.1.expect("is read");
    asker.meet(&mut relay).await;
    let heard = vouch(&asker, &entity, 1, &[&relay]).await;
    assert_eq!(heard.met, BlockSet::from_run(ALL));
    assert!(heard.claims.iter().all(|claim| claim.signer() == origin_side.node()));
    assert!(vouch(&asker, &entity, 2, &[&relay]).await.met.is_empty());
}

/// A member signs for another file's bytes, as if its origin had sent them.
fn poisons(member: &Member, entity: &Entity, seed: u32) -> Vec<u8> {
    let lies = content(entity.length as usize, seed);
    member.fetched_from_origin(entity, &lies, ALL);
    lies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_conflicting_members_the_truthful_one_wins_after_one_own_fetch_and_the_evidence_holds() {
    let group = group();
    let (mut asker, mut honest, mut liar) =
        (Member::start(&group).await, Member::start(&group).await, Member::start(&group).await);
    let (entity, truth) = (entity("file", LENGTH), content(LENGTH, 1));
    honest.fetched_from_origin(&entity, &truth, ALL);
    poisons(&liar, &entity, 2);
    asker.meet(&mut honest).await;
    asker.meet(&mut liar).await;
    let heard = vouch(&asker, &entity, 2, &[&honest, &liar]).await;
    assert_eq!((heard.met.len(), heard.disputed.clone()), (0, BlockSet::from_run(ALL)));
    asker.peers.await_origin(&entity, heard.claims);

    // One own fetch of one block.
    let handle = asker.fetched_from_origin(&entity, &truth, 7..8);
    asker.peers.settle(&handle).await;
    assert!(asker.peers.standing_of(honest.node()).is_none(), "who told the truth is not accused");
    let standing = asker.peers.standing_of(liar.node()).expect("the liar is named");
    assert_eq!((standing.proofs, standing.blocked_for), (1, None));
    assert!(standing.discredited_for.is_some());
    assert_eq!(vouch(&asker, &entity, 1, &[&honest, &liar]).await.met, BlockSet::from_run(ALL), "the honest one wins");

    // Whoever has the file, on a machine that has never met any of them.
    let kept = asker.peers.archive().expect("keeps evidence").list();
    assert_eq!(kept.len(), 1);
    let text = serde_json::to_string(&kept[0]).expect("is JSON");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let secret = group.secret().expect("is in secret mode").text();
    eddy_node::group::Group::join(elsewhere.path(), &secret, eddy_node::group::Overwrite::Refuse).expect("joins");
    let view = serde_json::from_str(&text).expect("is read");
    let hearing = hear(&view, elsewhere.path(), &eddy_node::config::Settings::default()).expect("holds");
    assert_eq!(hearing.contradiction.said[0].0, liar.node());
    assert_eq!(hearing.contradiction.said[1].0, asker.node());
    assert!(hearing.signers.iter().all(|(_, membership)| *membership == Membership::Member), "{hearing:?}");
    assert!(hearing.contradiction.said.iter().any(|(node, _)| *node == honest.node()) || view.against.len() > 1);

    // Changed by one digit it does not.
    let hash = view.accused.hashes[0].clone();
    let mut bent = hash.clone();
    bent.replace_range(0..1, if hash.starts_with('0') { "1" } else { "0" });
    let bent = serde_json::from_str(&text.replace(&hash, &bent)).expect("is read");
    assert!(hear(&bent, elsewhere.path(), &eddy_node::config::Settings::default()).is_err());

    // A second version that it lied about parts the two for a day.
    let second = crate::kit::entity("other", LENGTH);
    poisons(&liar, &second, 3);
    let claims = honest_claims(&liar, &asker, &second).await;
    asker.peers.await_origin(&second, claims);
    let handle = asker.fetched_from_origin(&second, &content(LENGTH, 4), ALL);
    asker.peers.settle(&handle).await;
    assert!(asker.peers.standing_of(liar.node()).expect("is named").blocked_for.is_some());
}

/// What a member signs, asked by somebody to whom its word still counts.
async fn honest_claims(member: &Member, asker: &Member, entity: &Entity) -> Vec<eddy_wire::statement::Claim> {
    let vouched = vouch(asker, entity, 1, &[member]).await;
    // The asker does not count its word any more, so it has to be asked by another.
    assert!(vouched.claims.is_empty());
    let mut other = Member::start(&group_of(asker)).await;
    let node = other.peers.connect(member.address(), Some(member.node())).await.expect("connects");
    assert_eq!(node, member.node());
    let _ = other.event().await;
    vouch(&other, entity, 1, &[member]).await.claims
}

fn group_of(member: &Member) -> eddy_node::group::Group {
    member.group.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_fetch_that_differs_names_the_signer_and_not_who_passed_it_on() {
    let group = group();
    let (mut asker, mut liar, mut relay) =
        (Member::start(&group).await, Member::start(&group).await, Member::start(&group).await);
    let (entity, truth) = (entity("file", LENGTH), content(LENGTH, 1));
    poisons(&liar, &entity, 2);
    relay.meet(&mut liar).await;
    relay.fetch(liar.node(), &entity, ALL).await.1.expect("believed by one word");
    asker.meet(&mut relay).await;
    asker.fetch(relay.node(), &entity, ALL).await.1.expect("believed by one word");
    let handle = asker.begin(&entity);
    assert_eq!(handle.held(), BlockSet::from_run(ALL));

    let seen = hashes(&entity, &truth)[12..13].to_vec();
    let doubted = asker.peers.refute(&handle, 12, seen).await;
    assert_eq!(doubted, BlockSet::from_run(ALL), "all of it stands on the same word");
    assert!(asker.peers.standing_of(relay.node()).is_none());
    assert!(asker.peers.standing_of(liar.node()).is_some_and(|standing| standing.discredited_for.is_some()));
    handle.set_aside(&doubted);
    assert!(handle.held().is_empty());
    assert_eq!(asker.peers.archive().expect("keeps").list().len(), 1);
    // Nor does the relay's next offer of the same bytes pass.
    assert!(asker.fetch(relay.node(), &entity, ALL).await.1.is_err());
    assert!(handle.held().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signed_a_wrong_block_is_proved_a_liar_before_its_run_is_all_here() {
    let group = group();
    let (mut asker, mut liar, mut honest) =
        (Member::start(&group).await, Member::start(&group).await, Member::start(&group).await);
    let (entity, truth) = (entity("file", LENGTH), content(LENGTH, 1));
    poisons(&liar, &entity, 2);
    honest.fetched_from_origin(&entity, &truth, ALL);
    // A relay passes on the statement that it got, which speaks of more than is asked of it.
    for (signer, some) in [(&mut liar, 2..5), (&mut honest, 8..11)] {
        let mut relay = Member::start(&group).await;
        relay.meet(signer).await;
        relay.fetch(signer.node(), &entity, ALL).await.1.expect("believed by one word");
        asker.meet(&mut relay).await;
        asker.fetch(relay.node(), &entity, some).await.1.expect("believed by one word");
    }
    let handle = asker.begin(&entity);
    assert_eq!(handle.held().len(), 6);

    let seen = hashes(&entity, &truth)[3..4].to_vec();
    assert!(asker.peers.refute(&handle, 3, seen).await.contains(3));
    let standing = asker.peers.standing_of(liar.node()).expect("the liar is named");
    assert_eq!(standing.proofs, 1);
    assert!(asker.peers.standing_of(honest.node()).is_none(), "what it signed for that block is true");
    let kept = asker.peers.archive().expect("keeps").list();
    assert_eq!(kept.len(), 1);
    let shown = kept[0].evidence().expect("is read").check().expect("holds");
    assert_eq!((shown.block, shown.said[0].0), (3, liar.node()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_origin_confirms_accuses_nobody() {
    let group = group();
    let (mut asker, mut honest) = (Member::start(&group).await, Member::start(&group).await);
    let (entity, truth) = (entity("file", LENGTH), content(LENGTH, 1));
    honest.fetched_from_origin(&entity, &truth, ALL);
    asker.meet(&mut honest).await;
    asker.fetch(honest.node(), &entity, ALL).await.1.expect("is read");
    let handle = asker.begin(&entity);
    assert!(asker.peers.refute(&handle, 0, hashes(&entity, &truth)).await.is_empty());
    assert_eq!((asker.peers.suspects().len(), handle.held()), (0, BlockSet::from_run(ALL)));
    assert!(asker.peers.archive().expect("keeps").list().is_empty());
}

/// Ways to make others believe a false root.
#[derive(Debug, Clone, Copy)]
enum Root {
    /// Consistent and signed: of other bytes.
    False,
    /// The same in one block only.
    OneBlock,
    /// True, but for another version, another file.
    Stale,
    Swapped,
    /// False, in the name of the honest member.
    Forged,
    /// False, by a member of another group.
    Foreign,
    /// True, and said twice by the liar itself.
    Twice,
}

const ROOTS: [Root; 7] =
    [Root::False, Root::OneBlock, Root::Stale, Root::Swapped, Root::Forged, Root::Foreign, Root::Twice];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_two_witnesses_no_false_root_is_ever_met() {
    let seed = std::env::var("EDDY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0xedd2);
    let count = attempts() / 40;
    println!("seed {seed}, {count} false roots");
    let mut random = StdRng::seed_from_u64(seed);
    let (group, other_group) = (group(), crate::kit::group());
    let (mut asker, mut honest) = (Member::start(&group).await, Member::start(&group).await);
    let (read, truth, lies) = (entity("file", LENGTH), content(LENGTH, 1), content(LENGTH, 2));
    let swapped = entity("other", LENGTH);
    let stale = Entity { validator: eddy_content::Validator::StrongEtag("\"v0\"".into()), ..read.clone() };
    honest.fetched_from_origin(&read, &truth, ALL);
    asker.meet(&mut honest).await;
    let mut puppet = liar(&group, &asker).await;
    let mut named = 0;
    let accomplice = identity();
    let right = hashes(&read, &truth);
    for attempt in 0..count {
        let signer = &puppet.identity;
        let root = ROOTS[attempt % ROOTS.len()];
        let start = random.random_range(ALL);
        let run = start..random.random_range(start + 1..=ALL.end);
        let mut one_wrong = truth.clone();
        one_wrong[run.start as usize * BLOCK + random.random_range(0..321)] ^= 1 << random.random_range(0..8);
        let about = |entity, content| Truth { group: group.id(), key: asker.peers.lookup_key(entity), entity, content };
        let claim = |of: &Truth<'_>, group: &eddy_node::group::Group, run: Range<u32>| {
            let endorsed: EndorsedStatement = of.endorsed(group, signer, run.clone());
            Claim { endorsed, hashes: of.hashes(run) }
        };
        let claims = match root {
            Root::False => vec![claim(&about(&read, &lies), &group, run.clone())],
            Root::OneBlock => vec![claim(&about(&read, &one_wrong), &group, run.clone())],
            Root::Stale => vec![claim(&about(&stale, &lies), &group, run.clone())],
            Root::Swapped => vec![claim(&about(&swapped, &lies), &group, run.clone())],
            Root::Forged => {
                let mut forged = claim(&about(&read, &lies), &group, run.clone());
                forged.endorsed.signed.statement.signer = accomplice.node_id();
                forged.endorsed.certificate = group.certify(&accomplice).expect("certifies").certificate.to_vec();
                vec![forged]
            }
            Root::Foreign => vec![claim(&about(&read, &lies), &other_group, run.clone())],
            Root::Twice => vec![claim(&about(&read, &lies), &group, run.clone()); 2],
        };
        // Vouched puts no two claims of one run together that differ; these are the same.
        let said = encode_frame(&Vouched::of(claims)).expect("fits");
        puppet.will_say(said, Then::Finish).await;
        let proof = Proof { needed: 2, ask: vec![Peer(puppet.node().0), Peer(honest.node().0)] };
        let heard = asker.peers.vouch(&read, run.clone(), &proof).await;
        for (block, hash) in &heard.hashes {
            assert_eq!(*hash, right[*block as usize], "seed {seed}, attempt {attempt}: {root:?} of {run:?}");
        }
        // Where the liar tells the truth about the other blocks, it is a witness to them.
        let most = if matches!(root, Root::OneBlock) { run.len() as u32 - 1 } else { 0 };
        assert!(heard.met.len() <= most, "seed {seed}, attempt {attempt}: {root:?} of {run:?}: {:?}", heard.met);
        // Two proofs part the two for a day: the next lie is another member's.
        if asker.peers.standing_of(puppet.node()).is_some_and(|standing| standing.blocked_for.is_some()) {
            named += 1;
            // While nobody reads of comings and goings, nobody comes.
            while asker.events.try_recv().is_ok() {}
            puppet = liar(&group, &asker).await;
        }
    }
    println!("{named} members were named and blocked");
    assert!(named > 0);
}

/// Another member that says what it is told to.
async fn liar(group: &eddy_node::group::Group, asker: &Member) -> Puppet {
    let puppet = Puppet::start(group);
    asker.peers.connect(puppet.address, Some(puppet.node())).await.expect("connects");
    puppet
}
