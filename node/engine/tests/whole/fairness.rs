//! 32 jobs of 4 users on 4 hosts, of which one is dead and one is slow: everybody gets a fair share, and nobody waits for the
//! dead one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::rig::world::{Origin, unreachable};
use crate::rig::{Rig, background};
use eddy_content::ResourceUrl;
use eddy_engine::schedule::Places;
use eddy_engine::{FileSpec, JobId, JobSpec, Owner, Priority};
use std::collections::BTreeMap;
use std::time::Duration;

const USERS: u32 = 4;
const HOSTS: [&str; 4] = ["fast", "ordinary", "slow", "dead"];
const TIME: Duration = Duration::from_secs(12 * 60);
/// Longer than all of them together could fetch.
const LENGTH: u64 = 16 << 30;

/// A crowd, and which user each job belongs to.
fn crowd(seed: u64) -> (Rig, BTreeMap<JobId, (u32, String)>) {
    let mut rig = Rig::new(seed);
    let mut jobs = BTreeMap::new();
    for number in 0..2 {
        for user in 0..USERS {
            for host in HOSTS {
                let url = format!("https://{host}.example/{user}-{number}");
                let mut origin = Origin::new(LENGTH);
                origin.rate = if host == "slow" { 16 << 10 } else { 256 << 10 };
                if host == "dead" {
                    // As behind a firewall that says nothing.
                    origin.latency = Duration::from_secs(20);
                    origin.failing = Some((u32::MAX, unreachable()));
                }
                rig.origins.insert(url.clone(), origin);
                let file = FileSpec { url: ResourceUrl::parse(&url).unwrap(), ..background(&["x"]).files[0].clone() };
                let spec = JobSpec { files: vec![file], priority: Priority::Normal, ..background(&["x"]) };
                let id = rig.create_for(Owner(user), spec);
                rig.act(|engine, now| engine.resume(now, id).unwrap());
                jobs.insert(id, (user, host.to_owned()));
            }
        }
    }
    (rig, jobs)
}

/// Bytes of each user, and of each host.
fn account(rig: &Rig, jobs: &BTreeMap<JobId, (u32, String)>) -> (BTreeMap<u32, u64>, BTreeMap<String, u64>) {
    let (mut users, mut hosts) = (BTreeMap::new(), BTreeMap::new());
    for (id, (user, host)) in jobs {
        let sent = rig.origins[rig.engine.job(*id).unwrap().spec().files[0].url.as_str()].sent;
        *users.entry(*user).or_default() += sent;
        *hosts.entry(host.clone()).or_default() += sent;
    }
    (users, hosts)
}

#[test]
fn shares_are_fair_within_ten_percent_and_nobody_waits_for_a_dead_host() {
    let (mut rig, jobs) = crowd(1);
    assert_eq!(jobs.len(), 32);
    let until = rig.now + TIME;
    let (mut most_at_the_dead, mut fewest_elsewhere) = (0, usize::MAX);
    while rig.step(until) {
        if rig.now > Duration::from_secs(120) {
            let active = rig.engine.jobs().filter(|job| job.state().is_active());
            let (dead, others): (Vec<_>, Vec<_>) = active.partition(|job| jobs[&job.id()].1 == "dead");
            most_at_the_dead = most_at_the_dead.max(dead.len());
            fewest_elsewhere = fewest_elsewhere.min(others.len());
        }
    }
    assert_eq!(
        (most_at_the_dead, fewest_elsewhere),
        (1, Places::default().background - 1),
        "one tries it, the others run"
    );
    let (users, hosts) = account(&rig, &jobs);
    let mean = users.values().sum::<u64>() / u64::from(USERS);
    let off = |bytes: &u64| bytes.abs_diff(mean) as f64 * 100.0 / mean as f64;
    let worst = users.values().map(off).fold(0.0, f64::max);
    println!("shares are off by at most {worst:.1} %: {users:?}, {hosts:?}");
    assert!(worst <= 10.0, "off by {worst:.1} %: {users:?}, {hosts:?}");
    assert!(hosts["fast"].abs_diff(hosts["ordinary"]) * 10 <= hosts["fast"], "equal hosts: {hosts:?}");
    assert!(hosts["slow"] > 0, "the slow one is not left out: {hosts:?}");
}
