//! Words that nobody said, and too many of one: what a header may bring, and who is accused by what is kept.

use super::judge::Judge;
use super::*;
use crate::group::Overwrite;
use crate::identity::Identity;
use crate::peer::badge::Badge;
use crate::peer::conduct::MissBounds;
use crate::peer::config::Limits;
use ed25519_dalek::SigningKey;
use eddy_cache::{Account, EntityHandle, NewEntity, Privacy, Quota, Reserve, Source, Store, StoreConfig};
use eddy_content::{BLOCK_SIZE, Entity, LookupKey, ResourceUrl, Validator, tree};
use eddy_engine::trust::Policy;
use eddy_wire::statement::{Statement, Transport};
use tempfile::TempDir;

const BLOCKS: u32 = 8;
const LENGTH: u64 = BLOCKS as u64 * BLOCK_SIZE;

/// A node with a store, and whom it judges.
struct Scene {
    group: Arc<Group>,
    conduct: Arc<Mutex<Conduct>>,
    judge: Judge,
    believer: Arc<Believer>,
    store: Store,
    _home: TempDir,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let group = Arc::new(Group::init(home.path(), Overwrite::Refuse).expect("a group"));
        let conduct = Arc::new(Mutex::new(Conduct::new(MissBounds::of(&Limits::default()))));
        let believer = Arc::new(Believer::new(Arc::clone(&group), Arc::clone(&conduct)));
        let badge = Arc::new(Badge::new(&group, identity(99)).expect("a badge"));
        let both = (Arc::clone(&believer), Arc::clone(&conduct));
        let judge = Judge::new((Arc::clone(&group), badge), both, None, Policy::default());
        let mut config = StoreConfig::new(home.path().join("cache"));
        (config.quota, config.reserve) = (Quota::Bytes(1 << 30), Reserve::Bytes(0));
        let store = Store::open(config).expect("a store");
        Self { group, conduct, judge, believer, store, _home: home }
    }

    fn key(&self) -> LookupKey {
        entity().lookup_key(&self.group.lookup_secret())
    }

    fn statement(&self, run: Range<u32>, hashes: &[BlockHash], time: i64) -> Statement {
        Statement {
            group: self.group.id(),
            key: self.key(),
            length: LENGTH,
            first_block: run.start,
            count: run.end - run.start,
            run: tree::run_hash(run.start, hashes),
            time,
            transport: Transport::Https,
            validator: 1,
            signer: NodeId([0; 32]),
        }
    }

    /// What a member signs about a run of content.
    fn word(&self, signer: &Identity, run: Range<u32>, seed: u8, time: i64) -> EndorsedStatement {
        let hashes = hashes(seed);
        let statement = self.statement(run.clone(), &hashes[run.start as usize..run.end as usize], time);
        self.endorsed(signer, statement)
    }

    fn endorsed(&self, signer: &Identity, statement: Statement) -> EndorsedStatement {
        let certificate = self.group.certify(signer).expect("certifies").certificate.to_vec();
        EndorsedStatement { signed: statement.sign(signer.signing_key()), certificate }
    }

    /// What a package brings: blocks, and words about them.
    fn imported(&self, blocks: Range<u32>, seed: u8, words: &[EndorsedStatement]) -> EntityHandle {
        let new = NewEntity {
            entity: entity(),
            requested_url: entity().url,
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        };
        let handle = self.store.begin(new).expect("room");
        let account = Account { job: [0; 16], file: 0 };
        let expected = hashes(seed)[blocks.start as usize..blocks.end as usize].to_vec();
        let mut writer = handle.writer(blocks.start, Source::Package, account).expect(expected);
        writer
            .push(
                &content(seed)[(blocks.start as u64 * BLOCK_SIZE) as usize..(blocks.end as u64 * BLOCK_SIZE) as usize],
            )
            .expect("writes");
        writer.finish().expect("finishes");
        let stored = |word: &EndorsedStatement| {
            let run = word.signed.statement.blocks();
            StoredStatement { first_block: run.start, count: run.end - run.start, bytes: word.encode() }
        };
        handle.put_statements(&words.iter().map(stored).collect::<Vec<_>>());
        handle.commit().expect("commits");
        handle
    }

    /// The origin was asked about the first block and gave what is right. Who is accused?
    fn refuted(&self, handle: &EntityHandle) -> Vec<NodeId> {
        self.judge.refute(handle, 0, &hashes(RIGHT)[..1]).0.iter().map(|verdict| verdict.liar).collect()
    }

    fn is_discredited(&self, identity: &Identity) -> bool {
        self.conduct.lock().expect("no panic").is_discredited(identity.node_id(), Instant::now())
    }
}

const RIGHT: u8 = 1;
const WRONG: u8 = 2;

fn identity(seed: u8) -> Identity {
    Identity::from_key(SigningKey::from_bytes(&[seed; 32]))
}

fn entity() -> Entity {
    let url = ResourceUrl::parse("https://origin.example/file").expect("parses");
    Entity { url, validator: Validator::StrongEtag("\"v1\"".into()), length: LENGTH }
}

fn content(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH as usize];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn hashes(seed: u8) -> Vec<BlockHash> {
    let (geometry, content) = (eddy_content::Geometry::new(LENGTH).expect("fits"), content(seed));
    let blocks = content.chunks(BLOCK_SIZE as usize).zip(0..);
    blocks.map(|(bytes, block)| tree::hash_block(&geometry, block, bytes)).collect()
}

/// A word in somebody's name with a signature that is not his.
fn forged(mut word: EndorsedStatement) -> EndorsedStatement {
    word.signed.signature[7] ^= 1;
    word
}

#[test]
fn a_signer_speaks_once_of_each_block_that_follows() {
    let (scene, one, two) = (Scene::new(), identity(1), identity(2));
    let expected = Expected { group: scene.group.id(), key: scene.key(), length: LENGTH };
    let now = scene.group.now();
    let check = |send: Range<u32>, statements: Vec<EndorsedStatement>| {
        let header = RunHeader { hashes_from: 0, hashes: hashes(RIGHT), send, statements };
        scene.believer.check(&header, &(0..BLOCKS), &expected, now).map(|believed| believed.statements.len())
    };
    let word = |signer: &Identity, run: Range<u32>, time: i64| scene.word(signer, run, RIGHT, now - time);
    assert_eq!(check(0..4, vec![word(&one, 0..4, 0)]), Ok(1));
    assert_eq!(check(0..4, vec![word(&one, 0..4, 0), word(&two, 0..4, 0)]), Ok(2), "two members are two words");
    assert_eq!(check(0..4, vec![word(&one, 0..2, 0), word(&one, 2..8, 0)]), Ok(2), "one after the other");
    // The same word at another time is another statement, and says nothing more.
    let surplus = |block| Err(Lie::Surplus { block });
    assert_eq!(check(0..4, vec![word(&one, 0..4, 0), word(&one, 0..4, 1)]), surplus(0));
    assert_eq!(check(0..4, vec![word(&one, 0..4, 0), word(&one, 3..5, 0)]), surplus(3));
    assert_eq!(check(0..4, vec![word(&one, 0..4, 0), word(&two, 5..8, 0)]), surplus(5));
}

#[test]
fn who_is_named_by_a_word_that_is_not_its_own_is_not_convicted() {
    let (scene, framed) = (Scene::new(), identity(1));
    let now = scene.group.now();
    let handle = scene.imported(0..4, WRONG, &[forged(scene.word(&framed, 0..4, WRONG, now))]);
    assert_eq!(scene.refuted(&handle), []);
    assert!(!scene.is_discredited(&framed));
    // The same, truly signed, convicts.
    let handle = scene.imported(4..5, WRONG, &[scene.word(&framed, 0..4, WRONG, now)]);
    assert_eq!(scene.refuted(&handle), [framed.node_id()]);
    assert!(scene.is_discredited(&framed));
}

#[test]
fn nor_does_it_lose_its_word_where_the_run_is_not_all_here() {
    let (scene, framed, liar) = (Scene::new(), identity(1), identity(2));
    let now = scene.group.now();
    let other_version = Statement { key: LookupKey([7; 32]), ..scene.statement(0..4, &hashes(WRONG)[..4], now) };
    let words = [forged(scene.word(&framed, 0..4, WRONG, now)), scene.endorsed(&framed, other_version)];
    let handle = scene.imported(0..1, WRONG, &words);
    assert_eq!(scene.refuted(&handle), []);
    assert!(!scene.is_discredited(&framed));
    // Who truly signed for it alone does, whatever is said in others' names beside it.
    let handle = scene.imported(1..2, WRONG, &[scene.word(&liar, 0..4, WRONG, now)]);
    assert_eq!(scene.refuted(&handle), []);
    assert!(scene.is_discredited(&liar) && !scene.is_discredited(&framed));
}

#[test]
fn a_word_that_is_not_its_signers_makes_nobody_a_witness() {
    let (scene, one, two) = (Scene::new(), identity(1), identity(2));
    let now = scene.group.now();
    let other_version = Statement { key: LookupKey([7; 32]), ..scene.statement(0..4, &hashes(RIGHT)[..4], now) };
    let words = [forged(scene.word(&one, 0..4, RIGHT, now)), scene.endorsed(&two, other_version)];
    let handle = scene.imported(0..1, RIGHT, &words);
    assert_eq!(scene.judge.ground(&handle).witnesses(), Some(0));
    let handle = scene.imported(1..2, RIGHT, &[scene.word(&one, 0..4, RIGHT, now)]);
    assert_eq!(scene.judge.ground(&handle).witnesses(), Some(1));
    assert_eq!(scene.judge.weak(&handle, 2), BlockSet::from_run(0..2));
}

#[test]
fn the_origins_word_is_awaited_of_versions_about_which_somebody_is_in_doubt_and_no_others() {
    let scene = Scene::new();
    assert!(!scene.judge.is_awaited(&entity()));
    let endorsed = scene.word(&identity(1), 0..4, WRONG, scene.group.now());
    scene.judge.await_origin(&entity(), vec![Claim { endorsed, hashes: hashes(WRONG)[..4].to_vec() }]);
    assert!(scene.judge.is_awaited(&entity()));
    assert!(!scene.judge.is_awaited(&Entity { length: LENGTH + 1, ..entity() }));
    // As long as the origin has not given one of the blocks.
    let handle = scene.imported(0..1, RIGHT, &[]);
    assert_eq!(scene.judge.settle(&handle), []);
    assert!(scene.judge.is_awaited(&entity()));
    let mut writer = handle.writer(1, Source::Origin { https: true }, Account { job: [0; 16], file: 0 });
    writer.push(&content(RIGHT)[BLOCK_SIZE as usize..2 * BLOCK_SIZE as usize]).expect("writes");
    writer.finish().expect("finishes");
    handle.commit().expect("commits");
    assert_eq!(scene.judge.settle(&handle).len(), 1);
    assert!(!scene.judge.is_awaited(&entity()));
}
