//! A hub that redirects each time to another signed place promises what lies there, and its file is known by the hub's own name.

use eddy_tests::hostile::{Ask, Behaviour, BodyFault, HostileOrigin, Mark, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, mount};
use eddy_wire::api::EntityView;
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const SMALL: u64 = 10_000;
const LARGE: u64 = 20 << 20;

fn saying(lines: &[&str]) -> Behaviour {
    Behaviour { extra_headers: lines.iter().map(|line| (*line).to_owned()).collect(), ..Behaviour::default() }
}

fn publish(origin: &HostileOrigin, path: &str, length: u64, behaviour: Behaviour) -> Vec<u8> {
    let version = Version::new(7, length);
    let whole = version.whole();
    origin.publish(path, Resource::new(version, behaviour));
    whole
}

fn gateway(origin: &HostileOrigin, more: &str) -> Gateway<'static> {
    Gateway::start(Eddy::here().unwrap(), &mount("/m", &origin.url(""), more)).unwrap()
}

/// A redirect to a place, by which a hub promises these bytes.
fn leading(place: &str, bytes: &[u8]) -> Behaviour {
    let promised = data_encoding::HEXLOWER.encode(&Sha256::digest(bytes));
    Behaviour::redirect(place).with_header(format!("X-Linked-Etag: \"{promised}\""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_not_taken_for_what_the_hub_names_later() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    let path = "/org/model/resolve/main/a.bin";
    for seed in [1, 2] {
        // The place keeps one entity tag, whatever it holds.
        let version = Version { tag: "one".to_owned(), ..Version::new(seed, SMALL) };
        let whole = version.whole();
        store.publish(path, Resource::new(version, saying(&["Cache-Control: max-age=0"])));
        hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), &whole)));
        let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        assert!(got.status == 200 && got.whole() == whole, "{seed}: {:?}", got.fields);
    }
    let before = store.counters().path(path).body_bytes;
    let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
    assert!(got.status == 200 && store.counters().path(path).body_bytes == before, "the same promise, the same bytes");
    // The place has not followed.
    hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), b"a third one")));
    assert_eq!(gateway.get(&format!("/m{path}"), &[]).await.unwrap().status, 502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_promises_needs_no_version_of_the_place_it_leads_to() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    for (path, is_right) in [("/resolve/main/right.bin", true), ("/resolve/main/wrong.bin", false)] {
        let whole = publish(&store, path, LARGE, Behaviour::mark(Mark::None));
        let promised = if is_right { whole.as_slice() } else { b"something else" };
        hub.publish(path, Resource::new(Version::new(1, 0), leading(&store.url(path), promised)));
        let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
        let is_whole = got.content.as_ref() == Some(&whole);
        assert!(is_whole == is_right && (is_right || got.content.is_none()), "{path}: {:?}", got.fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_redirects_to_a_file_promises_its_digest_and_says_its_version() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    for (name, length) in [("small.json", SMALL), ("large.safetensors", LARGE)] {
        for is_right in [true, false] {
            let path = format!("/org/model/resolve/main/{is_right}-{name}");
            let liar = saying(&["Cache-Control: max-age=3600", "X-Repo-Commit: of-the-store"]);
            let whole = publish(&store, &path, length, liar);
            let promised = Sha256::digest(if is_right { whole.as_slice() } else { b"something else" });
            let promised = format!("\"{}\"", data_encoding::HEXLOWER.encode(&promised));
            let (place, tag) = (store.url(&path), promised.clone());
            // Signed anew each time.
            let leads = move |ask: &eddy_tests::hostile::Ask| {
                let leads = Behaviour::redirect(format!("{place}?signature={}", ask.number))
                    .with_header(format!("X-Linked-Etag: {tag}"))
                    .with_header(format!("X-Linked-Size: {length}"))
                    .with_header("X-Repo-Commit: 0123abcd");
                (leads, None)
            };
            hub.publish(&path, Resource::scripted(Version::new(1, 0), leads));
            let path = format!("/m{path}");
            for turn in 0..2 {
                // As its client does: HEAD first, which must say all of it.
                let head = gateway.ask(Method::HEAD, &path, &[]).await.unwrap();
                for (field, value) in [("x-linked-etag", promised.as_str()), ("x-repo-commit", "0123abcd")] {
                    assert_eq!((head.status, head.field(field)), (200, value), "{path} {:?}", head.fields);
                }
                assert_eq!(head.field("x-linked-size"), length.to_string());
                let got = gateway.get(&path, &[]).await.unwrap();
                if is_right {
                    assert!(got.status == 200 && got.whole() == whole, "{path}: {:?}", got.fields);
                    assert_eq!((got.field("x-repo-commit"), got.is_hit()), ("0123abcd", turn == 1), "{:?}", got.fields);
                } else {
                    assert!(got.status == 502 || got.content.is_none(), "{path}: {} {:?}", got.status, got.fields);
                }
            }
        }
    }
    let path = "/org/model/resolve/main/true-large.safetensors";
    let before = store.counters().path(path).body_bytes;
    assert_eq!(before, LARGE, "one copy");
    // Who is led back to the hub is at another file, which the first word is not said of.
    let other = publish(&hub, "/other.bin", SMALL, saying(&["X-Linked-Etag: \"of-the-other\""]));
    let back = hub.url("/other.bin");
    store.publish("/back", Resource::new(Version::new(2, 0), Behaviour::redirect(back)));
    let first = format!("\"{}\"", data_encoding::HEXLOWER.encode(&Sha256::digest(b"the first word")));
    let there = Behaviour::redirect(store.url("/back")).with_header(format!("X-Linked-Etag: {first}"));
    hub.publish("/there", Resource::new(Version::new(3, 0), there));
    let got = gateway.get("/m/there", &[]).await.unwrap();
    assert!(got.status == 502 && got.content.as_deref() != Some(other.as_slice()), "{} {:?}", got.status, got.fields);
    let Gateway { eddy, mut daemon, .. } = gateway;
    let asking = tokio::task::spawn_blocking(move || (eddy.ask::<Vec<EntityView>>(&["cache", "ls"]).unwrap(), eddy));
    let (listed, eddy) = asking.await.unwrap();
    let kept = listed.iter().find(|entity| entity.url.ends_with("/true-large.safetensors")).unwrap();
    assert!(kept.shareable, "its place is signed, and yet it is named by a digest: {kept:?}");
    let eddy = tokio::task::spawn_blocking(move || {
        daemon.stop(Duration::from_secs(30)).unwrap();
        eddy
    });
    let gateway = Gateway::restart(eddy.await.unwrap()).unwrap();
    assert_eq!(gateway.get(&format!("/m{path}"), &[]).await.unwrap().whole().len() as u64, LARGE);
    assert_eq!(store.counters().path(path).body_bytes, before, "it is known again under the hub's own name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hubs_file_whose_turn_is_interrupted_is_filled_to_its_end_from_where_the_hub_leads_then() {
    let (hub, store) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let gateway = gateway(&hub, "");
    let path = "/org/model/resolve/main/large.safetensors";
    let version = Version::new(22, LARGE);
    let whole = version.whole();
    // What was signed for the first answer is good for that alone, and the second turn begins with the question for the head.
    let script = |ask: &Ask| {
        let lives = saying(&["Cache-Control: max-age=3600"]);
        let is_first = ask.query("signature") == Some("1");
        match (ask.number, is_first) {
            (1, _) => (Behaviour { body: Some(BodyFault::ResetAfter(LARGE / 2)), ..lives }, None),
            (2, _) => (Behaviour::status(503).with_header("Retry-After: 1"), None),
            (_, true) => (Behaviour::status(403), None),
            (_, false) => (lives, None),
        }
    };
    store.publish(path, Resource::scripted(version, script));
    let (place, tag) = (store.url(path), data_encoding::HEXLOWER.encode(&Sha256::digest(&whole)));
    let leads = move |ask: &Ask| {
        let leads = Behaviour::redirect(format!("{place}?signature={}", ask.number));
        (leads.with_header(format!("X-Linked-Etag: \"{tag}\"")), None)
    };
    hub.publish(path, Resource::scripted(Version::new(1, 0), leads));
    let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
    assert!(got.status == 200 && got.whole() == whole, "{:?}", got.fields);
    let log = gateway.daemon.log();
    assert!(!log.contains("filled no further"), "{log}");
    let before = store.counters().path(path).body_bytes;
    let got = gateway.get(&format!("/m{path}"), &[]).await.unwrap();
    assert!(got.is_hit() && got.whole() == whole, "{:?}", got.fields);
    assert_eq!(store.counters().path(path).body_bytes, before, "all of it is held");
    let held = gateway.eddy.cached().unwrap();
    assert!(held.len() == 1 && held[0].shareable && held[0].url == hub.url(path), "{held:?}");
}
