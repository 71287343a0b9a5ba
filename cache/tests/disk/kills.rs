//! `kill -9` at every single operation of a scripted life on this machine's disk, and inside the recovery from it.
//!
//! The test runs itself again as a child that lives the script on a disk that kills it, and says what it has done.

use crate::deadly::DeadlyDisk;
use crate::entities::TIGHT;
use crate::meter::{CHANGES, Event, Order};
use crate::script::{afterwards, script};
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sweep::{Case, for_each, from_environment, stride};
use crate::truth::Truth;
use crate::world::{World, config};
use eddy_cache::disk::RealDisk;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the child's store is; a child has this, the test does not.
const CHILD: &str = "EDDY_DISK_CHILD";
/// At which change it dies.
const AT: &str = "EDDY_DISK_CHILD_AT";
/// Set: it only opens the store.
const ONLY_OPENS: &str = "EDDY_DISK_CHILD_ONLY_OPENS";

/// What the script had made true: before each step with that step on its way, and after it.
fn truths() -> Vec<Truth> {
    let mut world = World::new(SimDisk::new(1).share(), config(Path::new(DIRECTORY), TIGHT), Truth::default());
    let mut truths = vec![Truth::default()];
    for step in script() {
        world.announce(&step);
        truths.push(world.truth.clone());
        world.carry_out(&step).expect("a sound disk refuses nothing");
        truths.push(world.truth.clone());
    }
    truths
}

/// How a child ended, and how many truths it had reached.
struct Child {
    was_killed: bool,
    reached: usize,
}

impl Child {
    fn run(directory: &Path, at: u64, only_opens: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["kills::child_lives_until_it_kills_itself", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(CHILD, directory).env(AT, at.to_string()).stdout(Stdio::null()).stderr(Stdio::piped());
        if only_opens {
            command.env(ONLY_OPENS, "1");
        }
        let mut child = command.spawn().expect("a child");
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("what it says");
        let status = child.wait().expect("gone");
        assert!(status.success() || status.code().is_none(), "the child failed: {said}");
        let reached = said.lines().filter(|line| *line == "so far").count();
        Self { was_killed: status.code().is_none(), reached }
    }
}

#[test]
fn child_lives_until_it_kills_itself() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let at = from_environment(AT).expect("the parent says it");
    let disk = DeadlyDisk::share(Order::once(CHANGES, at, Event::Kill));
    let mut world = World::new(disk, config(Path::new(&directory), TIGHT), Truth::default());
    if std::env::var_os(ONLY_OPENS).is_some() {
        world.open().expect("the store opens");
        return world.close();
    }
    for step in script() {
        eprintln!("so far");
        world.take(&step).expect("a sound disk refuses nothing");
        eprintln!("so far");
    }
}

/// Directories in memory, where there are any: what a killed process wrote is there all the same, and syncs cost nothing.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

#[test]
fn a_kill_at_any_change_and_inside_recovery_loses_nothing() {
    let truths = truths();
    let stride = stride(7);
    let (kills, nested, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    // Each processor goes on until the script ends before its kill.
    for_each(2, |part| {
        for n in (0..).step_by(stride as usize * 2).map(|n| n + part * stride) {
            let _case = Case(format!("kill at change {n}"));
            let directory = directory();
            let store = directory.path().join("cache");
            let child = Child::run(&store, n, false);
            if !child.was_killed {
                ended.fetch_add(1, Ordering::Relaxed);
                break;
            }
            kills.fetch_add(1, Ordering::Relaxed);
            // Up to three more in the recoveries that follow.
            for k in 0..n % 4 {
                let again = Child::run(&store, (n * 5 + k * 11) % 24, true);
                nested.fetch_add(u64::from(again.was_killed), Ordering::Relaxed);
            }
            let truth = truths[child.reached].clone();
            let mut world = World::new(Arc::new(RealDisk), config(&store, TIGHT), truth);
            world.open_and_hold();
            for step in afterwards() {
                world.take(&step).expect("nothing is refused afterwards");
            }
            world.close_and_check();
        }
    });
    assert_eq!(ended.into_inner(), 2, "the script is lived to its end at last");
    println!("{} kills, {} more in recoveries", kills.into_inner(), nested.into_inner());
}
