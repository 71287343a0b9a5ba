//! What a registry gives for a token alone is fetched once for all who show that they may have it, and for nobody else.

use eddy_tests::hostile::{Ask, Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, mount};
use sha2::{Digest as _, Sha256};

const SMALL: u64 = 10_000;
const LARGE: u64 = 20 << 20;
const GOOD: [&str; 2] = ["Bearer one", "Bearer two"];

fn gateway(origin: &HostileOrigin) -> Gateway<'static> {
    Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), "")).unwrap()
}

/// The path of a blob with these bytes.
fn blob(bytes: &[u8]) -> String {
    format!("/v2/library/x/blobs/sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// A file that a registry gives for a good token.
fn guarded(version: Version, behaviour: Behaviour) -> Resource {
    Resource::scripted(version, move |ask: &Ask| {
        let is_good = ask.header("authorization").is_some_and(|proof| GOOD.contains(&proof));
        let wants =
            || Behaviour::status(401).with_header("WWW-Authenticate: Bearer realm=\"https://auth.example/token\"");
        (if is_good { behaviour.clone() } else { wants() }, None)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t34_a_blob_comes_once_for_all_who_have_the_origins_leave_and_to_nobody_else() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    for length in [SMALL, 1 << 20, LARGE] {
        let version = Version::new(length, length);
        let whole = version.whole();
        let path = blob(&whole);
        origin.publish(&path, guarded(version, Behaviour::default()));
        let asked = format!("/m{path}?ns=docker.io");
        let [one, two] = GOOD.map(|token| [("authorization", token)]);
        let (first, second) = tokio::join!(gateway.get(&asked, &one), gateway.get(&asked, &two));
        assert!([first, second].into_iter().all(|got| got.unwrap().whole() == whole), "{length}");
        let count = origin.counters().path(&path);
        assert_eq!((count.body_bytes, count.heads), (length, 2), "one copy, and each has asked whether it may have it");
        let third = gateway.get(&asked, &two).await.unwrap();
        assert!(third.is_hit() && third.whole() == whole, "{length}: {:?}", third.fields);
        for fields in [&[("authorization", "Bearer three")][..], &[]] {
            let refused = gateway.get(&asked, fields).await.unwrap();
            assert_eq!(refused.status, 401, "{length}");
            assert!(refused.field("www-authenticate").starts_with("Bearer realm"), "{:?}", refused.fields);
        }
        assert_eq!(origin.counters().path(&path).body_bytes, length, "{length}: still one");
    }
    let held = gateway.eddy.cached().unwrap();
    assert!(!held.is_empty() && held.iter().all(|entity| !entity.shareable), "{held:?}");
    let log = gateway.daemon.log();
    assert!(!log.contains("Bearer"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_is_not_what_its_digest_says_is_kept_for_nobody_who_has_leave() {
    let origin = HostileOrigin::start().await.unwrap();
    let gateway = gateway(&origin);
    for length in [SMALL, LARGE] {
        let version = Version::new(length, length);
        let path = blob(&version.whole()[1..]);
        origin.publish(&path, guarded(version, Behaviour::default()));
        for token in GOOD {
            let got = gateway.get(&format!("/m{path}"), &[("authorization", token)]).await.unwrap();
            let is_refused = got.status == 502 || got.content.is_none();
            assert!(is_refused && !got.is_hit(), "{length}: {} {:?}", got.status, got.fields);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t36_a_token_goes_to_the_registry_and_not_where_its_blobs_lie() {
    let (registry, place) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&registry);
    for length in [SMALL, LARGE] {
        let version = Version::new(length, length);
        let whole = version.whole();
        let path = blob(&whole);
        place.publish(&path, Resource::new(version, Behaviour::default()));
        registry.publish(&path, guarded(Version::new(1, 0), Behaviour::redirect(place.url(&path))));
        for (token, is_hit) in GOOD.into_iter().zip([false, true]) {
            let got = gateway.get(&format!("/m{path}"), &[("authorization", token)]).await.unwrap();
            assert!(got.whole() == whole && got.is_hit() == is_hit, "{length}: {:?}", got.fields);
        }
        let count = place.counters().path(&path);
        assert_eq!(count.body_bytes, length, "one copy");
        assert!(!count.last_headers.contains_key("authorization"), "{:?}", count.last_headers);
        assert!(registry.counters().path(&path).statuses.keys().eq([&302]), "each question has shown a good token");
    }
}
