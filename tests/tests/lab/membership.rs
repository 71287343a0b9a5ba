//! A group with a root, as an office would run it: machines come by a code, one is removed, all others know within moments.

use std::time::{Duration, Instant};

use eddy_node::group::{Group, Overwrite};
use eddy_node::identity::Identity;
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, hash_of, write_sample};
use eddy_wire::api::{PeerState, PeersView};
use eddy_wire::membership::Role;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);

fn talkative(node: &Eddy<'_>) -> Running {
    let mut command = node.command(["daemon"]);
    command.env("EDDY_LOG", "trace");
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    daemon
}

fn done(node: &Eddy<'_>, arguments: &[&str]) -> String {
    let ended = node.ended(arguments).unwrap();
    assert_eq!(ended.status, Some(0), "eddy {arguments:?}: {ended:?}");
    ended.out.trim().to_owned()
}

fn refused(node: &Eddy<'_>, arguments: &[&str], code: &str) {
    let ended = node.ended(arguments).unwrap();
    assert_eq!(ended.code(), Some(code), "eddy {arguments:?}: {ended:?}");
}

/// Waits until what a node shows of its group is as wanted.
fn shows(node: &Eddy<'_>, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown: Value = node.ask(&["group", "show"]).unwrap();
        if wanted(&shown) {
            return;
        }
        assert!(Instant::now() < deadline, "{shown}");
    }
}

fn is_connected(view: &PeersView, node: &str) -> bool {
    view.peers.iter().any(|peer| peer.node.as_deref() == Some(node) && peer.state == PeerState::Connected)
}

#[test]
fn machines_join_by_a_code_and_a_removed_one_is_shut_out_by_all() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 3, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let length = 8 * MIB;
    let [root, two, three] = [0, 1, 2].map(|n| Eddy::on(lab.host(n)).unwrap());
    done(&root, &["group", "init", "--ca"]);
    let mut daemons = vec![talkative(&root)];
    let code = done(&root, &["group", "invite", "--uses", "2", "--for", "10min"]);

    // A machine that waits for no address in the code finds the issuer by multicast; the daemon hears of the code in a moment.
    for node in [&two, &three] {
        let deadline = Instant::now() + PATIENCE;
        while node.ended(&["group", "join", &code]).unwrap().status != Some(0) {
            assert!(Instant::now() < deadline, "{:?}", node.ended(&["group", "join", &code]));
        }
        daemons.push(talkative(node));
    }
    for node in [&root, &two, &three] {
        node.wait_peers(2, PATIENCE).unwrap();
    }
    // The code is used up, and a machine that is in the group keeps what it has.
    let stranger = Eddy::on(lab.host(2)).unwrap();
    refused(&stranger, &["group", "join", &code], "join-refused");
    refused(&stranger, &["group", "show"], "group-missing");
    refused(&two, &["group", "invite"], "not-an-issuer");
    assert!(!stranger.home().join("node.key").exists(), "nothing is kept of a refused join");

    // A neighbour that is too busy to answer in time leaves the asker to the origin, so several files have their chance.
    let is_shared = (0..8).any(|n| {
        let name = format!("{n}.img");
        let hash = write_sample(&origin.files().join(&name), n, length).unwrap();
        for node in [&two, &three] {
            node.get(&origin.url(&name), &node.home().join(&name)).unwrap();
            assert_eq!(hash_of(&node.home().join(&name)).unwrap(), hash);
        }
        three.report().unwrap().totals.received.peers >= length
    });
    assert!(is_shared, "the third takes nothing from the second: {:#?}", three.report().unwrap());

    let listed: Value = root.ask(&["group", "ls"]).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let [removed, kept] = [&two, &three].map(|node| node.status().unwrap().node);
    let began = Instant::now();
    let said: Value = root.ask(&["group", "revoke", &removed]).unwrap();
    assert_eq!((said["removed"].as_str(), said["epoch"].as_u64()), (Some(removed.as_str()), Some(1)));
    for node in [&root, &three] {
        node.wait_peers_view(PATIENCE, |view| !is_connected(view, &removed)).unwrap();
    }
    two.wait_peers_view(PATIENCE, |view| view.reason.as_deref().is_some_and(|why| why.contains("was removed")))
        .unwrap();
    println!("removed everywhere after {:.2} s", began.elapsed().as_secs_f64());
    // A moment later it is on their disks as well.
    for (node, standing) in [(&three, "member"), (&two, "removed")] {
        shows(node, |shown| shown["epoch"] == 1 && shown["standing"] == standing);
    }
    assert!(is_connected(&root.wait_peers(1, PATIENCE).unwrap(), &kept));

    // It goes on as one that downloads from origins only, and is not let in again by a new start or a new code.
    drop(daemons.remove(1));
    daemons.push(talkative(&two));
    write_sample(&origin.files().join("b.img"), 7, MIB).unwrap();
    two.get(&origin.url("b.img"), &two.home().join("b")).unwrap();
    let code_again = done(&root, &["group", "invite"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ended = two.ended(&["group", "join", &code_again]).unwrap();
        assert_ne!(ended.status, Some(0), "{ended:?}");
        if ended.code() == Some("join-refused") {
            break;
        }
        assert!(Instant::now() < deadline, "{ended:?}");
    }
    assert!(!is_connected(&three.wait_peers(1, PATIENCE).unwrap(), &removed));
    // One that was off when it was removed hears of it when it comes back.
    drop(daemons.remove(1));
    root.ended(&["group", "revoke", &kept]).unwrap();
    daemons.push(talkative(&three));
    three
        .wait_peers_view(PATIENCE, |view| view.reason.as_deref().is_some_and(|why| why.contains("was removed")))
        .unwrap();
    // None of it is in any log: neither codes nor keys nor the lookup secret.
    let mut secrets: Vec<String> = [code, code_again].iter().map(|code| code[13..40].to_owned()).collect();
    let key = |path: &std::path::Path| std::fs::read_to_string(path).unwrap().trim()[15..].to_owned();
    secrets.extend([root.home().join("group.root"), root.home().join("node.key")].map(|path| key(&path)));
    for log in &daemons {
        for secret in &secrets {
            assert!(!log.log().contains(&secret[..16]), "a secret is in the log");
        }
    }
}

#[test]
fn a_machine_whose_membership_has_ended_says_so_and_still_downloads() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("a.img"), 8, MIB).unwrap();
    let [root, late] = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    done(&root, &["group", "init", "--ca"]);
    // As if it had been let in eight days ago and switched off since.
    let (administrator, node) =
        (Identity::load_or_create(root.home()).unwrap(), Identity::load_or_create(late.home()).unwrap());
    let group = Group::load(root.home()).unwrap().unwrap();
    let (code, _) = group.invite(Role::Member, 1, Duration::from_secs(60), &[]).unwrap();
    let long_ago = group.now() - 8 * 86_400;
    let admission = group.admit_at(&administrator, node.node_id(), Role::Member, long_ago).unwrap();
    Group::join_enrolled(late.home(), &node, &code, admission, Overwrite::Refuse).unwrap();
    let daemons = [&root, &late].map(talkative);
    let view = late
        .wait_peers_view(PATIENCE, |view| view.reason.as_deref().is_some_and(|why| why.contains("has expired")))
        .unwrap();
    assert!(view.reason.unwrap().contains("eddy group join CODE"), "the remedy is told");
    daemons[1].wait_line("membership has expired", PATIENCE).unwrap();
    let destination = late.home().join("a");
    late.get(&origin.url("a.img"), &destination).unwrap();
    assert_eq!(hash_of(&destination).unwrap(), hash);
    shows(&late, |shown| shown["standing"].as_str().is_some_and(|standing| standing.starts_with("expired")));
    // A new code makes it a member again, at its next start.
    // Where the code says nobody is, so the machine looks for one by multicast.
    let code = done(&root, &["group", "invite", "--address", "127.0.0.1:9"]);
    let deadline = Instant::now() + PATIENCE;
    while late.ended(&["group", "join", &code]).unwrap().status != Some(0) {
        assert!(Instant::now() < deadline, "{:?}", late.ended(&["group", "join", &code]));
    }
    let [_admin, old] = daemons;
    drop(old);
    let _new = talkative(&late);
    late.wait_peers(1, PATIENCE).unwrap();
}
