//! Whole jobs among members who signed what is not true: real nodes, a real origin, and every policy of whom to believe.

use crate::kit::{Member, SOON};
use crate::whole_job::{fetch, start_with};
use eddy_content::{BLOCK_SIZE, Entity, ResourceUrl, Validator};
use eddy_node::config::trust::{PlainHttpSetting, WitnessSetting};
use eddy_node::config::{GroupSettings, Settings};
use eddy_node::control::Client;
use eddy_node::group::{Group, Overwrite};
use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_wire::api::{Identity, JobState, JobView, ReportView, Rung};
use std::sync::Arc;
use tempfile::TempDir;

/// Forty blocks and a bit.
const LENGTH: u64 = 40 * 65536 + 777;
const ALL: std::ops::Range<u32> = 0..41;

/// What members hold, and say that the origin gave them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    True,
    False,
}

/// A node, its group, an origin and members whose words are as given.
struct Scene {
    home: TempDir,
    origin: HostileOrigin,
    url: String,
    content: Arc<Vec<u8>>,
    members: Vec<Member>,
}

struct Outcome {
    job: JobView,
    report: ReportView,
    /// Bytes of bodies that the origin sent.
    delivered: Vec<u8>,
    details: Vec<eddy_wire::api::PeerDetail>,
}

impl Scene {
    async fn new(words: &[Word]) -> Self {
        Self::with(words, None).await
    }

    /// The same with an origin that sends so many bytes a second on each connection.
    async fn with(words: &[Word], rate: Option<u64>) -> Self {
        let origin = HostileOrigin::start().await.expect("an origin");
        let version = Version::new(7, LENGTH);
        let content = Arc::new(version.whole());
        origin.publish("/file", Resource::new(version, Behaviour { rate, ..Behaviour::default() }));
        let url = origin.url("/file");
        let head = reqwest::get(&url).await.expect("answers");
        let validator = Validator::StrongEtag(head.headers()["etag"].to_str().expect("text").to_owned());
        drop(head);
        let entity = Entity { url: ResourceUrl::parse(&url).expect("parses"), validator, length: LENGTH };
        let home = tempfile::tempdir().expect("a folder");
        let group = Group::init(home.path(), Overwrite::Refuse).expect("a group");
        let mut members = Vec::new();
        for (seed, word) in words.iter().enumerate() {
            let member = Member::start(&group).await;
            let lies = crate::kit::content(LENGTH as usize, 100 + seed as u32);
            member.fetched_from_origin(&entity, if *word == Word::True { &content } else { &lies }, ALL);
            members.push(member);
        }
        Self { home, origin, url, content, members }
    }

    /// Runs one job under a policy.
    async fn run(&self, policy: GroupSettings) -> Outcome {
        let mut settings = Settings { group: policy, ..Settings::default() };
        settings.peers.known = self.members.iter().map(|member| member.address().to_string()).collect();
        let node = start_with(self.home.path(), settings).await;
        let client = Client::new(node.socket()).expect("a client");
        let connected = async {
            while client.peers().await.expect("peers").peers.len() < self.members.len() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, connected).await.expect("members are met");
        let folder = tempfile::tempdir().expect("a folder");
        let destination = folder.path().join("file");
        let job = tokio::time::timeout(SOON, fetch(&client, &self.url, &destination)).await.expect("ends in time");
        assert_eq!(job.state, JobState::Acknowledged, "{:?}", job.error);
        let report = client.report(&Default::default()).await.expect("reports");
        assert_eq!(report.totals.identity(), Identity::Closes, "{:?}", report.totals);
        let mut details = Vec::new();
        for member in &self.members {
            details.push(client.peer(&member.node().to_string()).await.expect("shows it"));
        }
        let delivered = std::fs::read(&destination).expect("delivered");
        node.shutdown().await;
        assert!(delivered == **self.content, "a wrong byte was delivered");
        Outcome { job, report, delivered, details }
    }
}

fn witnesses(count: i64) -> GroupSettings {
    GroupSettings { witnesses: Some(WitnessSetting::Count(count)), ..GroupSettings::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_default_who_signs_a_whole_false_file_is_caught_before_it_is_delivered() {
    let scene = Scene::new(&[Word::False]).await;
    let outcome = scene.run(GroupSettings::default()).await;
    assert!(
        outcome.report.totals.audited > 0 && outcome.report.totals.wasted.corrupt > 0,
        "{:?}",
        outcome.report.totals
    );
    let liar = &outcome.details[0];
    assert_eq!((liar.proofs, liar.evidence.len()), (1, 1), "{liar:?}");
    assert!(liar.discredited_seconds.is_some());
    assert!(liar.evidence[0].evidence().expect("is read").check().is_ok());
    assert_eq!(outcome.delivered.len() as u64, LENGTH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_true_word_costs_a_block_of_the_origin_and_that_is_counted_apart() {
    let scene = Scene::new(&[Word::True]).await;
    // The smallest share: no whole segment is drawn beside the one block that every file owes.
    let outcome = scene.run(GroupSettings { audit: Some("0.0001 %".into()), ..GroupSettings::default() }).await;
    let (totals, file) = (outcome.report.totals, &outcome.job.files[0]);
    assert_eq!((totals.used.peers, totals.received.origin, totals.wasted.total()), (LENGTH, 0, 0), "{totals:?}");
    assert!([BLOCK_SIZE, LENGTH % BLOCK_SIZE].contains(&totals.audited), "{totals:?}");
    assert_eq!((file.audited, file.witnesses, file.rung), (totals.audited, Some(1), Some(Rung::PlainHttp)));
    assert!(outcome.details[0].evidence.is_empty());
    // Off is off.
    std::fs::remove_dir_all(scene.home.path().join("cache")).expect("the cache goes");
    let off = scene.run(GroupSettings { audit: Some("off".into()), ..GroupSettings::default() }).await;
    assert_eq!((off.job.files[0].audited, off.job.files[0].sources.peers), (0, LENGTH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_who_agree_spare_the_origin_under_two_witnesses() {
    let scene = Scene::new(&[Word::True, Word::True]).await;
    let outcome = scene.run(witnesses(2)).await;
    let file = &outcome.job.files[0];
    assert_eq!((file.sources.peers, file.sources.origin, file.audited), (LENGTH, 0, 0));
    assert_eq!(file.witnesses, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_is_not_enough_under_two_witnesses_and_the_origin_is_the_second() {
    let scene = Scene::new(&[Word::True]).await;
    let outcome = scene.run(witnesses(2)).await;
    let file = &outcome.job.files[0];
    assert_eq!((file.sources.origin, file.sources.peers), (LENGTH, 0));
    assert!(outcome.details[0].evidence.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_whose_words_differ_leave_it_to_the_origin_and_the_liar_is_named() {
    for words in [[Word::True, Word::False], [Word::False, Word::True]] {
        let scene = Scene::new(&words).await;
        let outcome = scene.run(witnesses(2)).await;
        for (word, detail) in words.iter().zip(&outcome.details) {
            assert_eq!(detail.evidence.len(), usize::from(*word == Word::False), "{detail:?}");
        }
        // What was stored is what the origin gave, so that is what is served and forwarded.
        assert_eq!(outcome.job.files[0].sources.origin, LENGTH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anchor_is_enough_and_a_digest_policy_and_a_plain_http_policy_want_no_peers() {
    let scene = Scene::new(&[Word::True]).await;
    let anchors = vec![scene.members[0].node().to_string()];
    let outcome = scene.run(GroupSettings { anchors, ..witnesses(3) }).await;
    assert_eq!(outcome.job.files[0].sources.peers, LENGTH);
    assert!(outcome.details[0].anchor);
    let digest_only = WitnessSetting::Word("digest-only".into());
    for policy in [
        GroupSettings { witnesses: Some(digest_only), ..GroupSettings::default() },
        GroupSettings { plain_http: PlainHttpSetting::Off, ..GroupSettings::default() },
    ] {
        // What came by a member's word before the policy was so strict is put aside as well.
        let outcome = scene.run(policy).await;
        assert_eq!(outcome.job.files[0].sources.origin, LENGTH);
        std::fs::remove_dir_all(scene.home.path().join("cache")).expect("the cache goes");
    }
    let _ = &scene.origin;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_third_of_the_members_malicious_a_job_is_byte_exact_and_says_how_long_it_took() {
    let (mut scene, rate) = (Scene::with(&[Word::True, Word::False, Word::True], Some(1 << 20)).await, 1 << 20);
    let members = std::mem::take(&mut scene.members);
    let timed = async |scene: &Scene, policy: GroupSettings| {
        let _ = std::fs::remove_dir_all(scene.home.path().join("cache"));
        let began = std::time::Instant::now();
        scene.run(policy).await;
        began.elapsed().as_secs_f64()
    };
    let alone = timed(&scene, GroupSettings::default()).await;
    scene.members = members;
    for (name, policy) in [("one witness", GroupSettings::default()), ("two witnesses", witnesses(2))] {
        let among = timed(&scene, policy).await;
        println!(
            "an origin of {rate} bytes a second: alone {alone:.2} s, among three members of whom one lies, under {name}: \
             {among:.2} s ({:.2} times)",
            among / alone
        );
    }
}
