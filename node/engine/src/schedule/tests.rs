//! The choice, and the whole engine's turns in virtual time with jobs that only hold their places.

use super::*;
use crate::engine::EngineConfig;
use crate::job::terms::{Owner, Terms};
use crate::port::{Effect, Failure, FileRef, Input, Now};
use crate::{Asking, Engine, FileSpec, Finish, JobSpec, JobState, Patience, PeerUse, Portion};
use eddy_content::ResourceUrl;

/// An engine whose jobs hold the places that they get until they are told otherwise.
struct Turns {
    engine: Engine,
    now: Duration,
    begun: Vec<u8>,
}

impl Turns {
    fn new(places: Places) -> Self {
        let engine = Engine::new(EngineConfig { places, ..EngineConfig::ordinary(1) });
        Self { engine, now: Duration::from_secs(1), begun: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: 0 }
    }

    fn start(&mut self, number: u8, priority: Priority, owner: u32, host: &str) {
        let (id, now) = (JobId([number; 16]), self.now());
        self.engine.create(now, id, Owner(owner), spec(priority, host));
        self.engine.resume(now, id).unwrap();
        self.drain();
    }

    /// One that only holds what somebody reads.
    fn hold(&mut self, number: u8, host: &str) {
        let (id, now) = (JobId([number; 16]), self.now());
        let mut spec = spec(Priority::Foreground, host);
        spec.files[0].destination.clear();
        self.engine.create(now, id, Owner(0), spec);
        self.engine.resume(now, id).unwrap();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Prepare { file } = effect {
                self.begun.push(file.job.0[0]);
            }
        }
    }

    /// The jobs that began since this was asked last.
    fn begun(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }

    fn running(&self) -> Vec<u8> {
        self.engine.jobs().filter(|job| job.state().is_active()).map(|job| job.id().0[0]).collect()
    }

    /// Lets time pass, with every timer on the way.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.engine.poll_timeout(self.now()).filter(|at| *at <= until) {
            self.now = at;
            self.engine.handle_timeout(self.now());
            self.drain();
        }
        self.now = until;
        self.engine.handle_timeout(self.now());
        self.drain();
    }

    fn fail(&mut self, number: u8, failure: Failure) {
        let file = FileRef { job: JobId([number; 16]), file: 0 };
        self.engine.handle(self.now(), Input::Prepared { file, result: Err(failure) });
        self.drain();
    }
}

fn spec(priority: Priority, host: &str) -> JobSpec {
    let url = ResourceUrl::parse(&format!("https://{host}/file")).unwrap();
    let file = FileSpec {
        url,
        destination: "/file".to_owned(),
        digests: Vec::new(),
        overwrite: false,
        credentials: None,
        portion: Portion::Whole,
    };
    JobSpec {
        name: String::new(),
        priority,
        files: vec![file],
        finish: Finish::Auto,
        patience: Patience::Background,
        peers: PeerUse::FULL,
        asking: Asking::Always,
        terms: Terms::default(),
    }
}

fn places(background: usize) -> Places {
    Places { foreground: 2, background, per_owner: background, per_host: background, held: 3, held_per_host: 2 }
}

fn unreachable(retry_after: Option<Duration>) -> Failure {
    let class = crate::FailureClass::Unreachable;
    Failure { class, retry_after, ..Failure::transient("host-unreachable", "no route") }
}

#[test]
fn the_most_urgent_and_then_the_oldest_get_the_places() {
    let mut turns = Turns::new(places(1));
    turns.start(1, Priority::Normal, 0, "a");
    for (number, priority) in [(2, Priority::Low), (3, Priority::High), (4, Priority::Low), (5, Priority::Normal)] {
        turns.start(number, priority, 0, "a");
    }
    assert_eq!(turns.begun(), [1, 3], "the urgent one takes the place at once");
    for number in [3, 1, 5, 2, 4] {
        assert_eq!(turns.running(), [number]);
        turns.fail(number, Failure::fatal("bad", "x"));
    }
    assert_eq!(turns.begun(), [1, 5, 2, 4], "the one that gave way goes on before its equals");
}

#[test]
fn a_foreground_job_never_waits_for_background_jobs() {
    let mut turns = Turns::new(places(1));
    turns.start(1, Priority::High, 0, "a");
    turns.start(2, Priority::Foreground, 0, "a");
    turns.start(3, Priority::Foreground, 0, "a");
    assert_eq!(turns.running(), [1, 2, 3], "all of them run beside one background job");
}

#[test]
fn who_reads_what_comes_waits_for_no_job_and_for_no_other_host() {
    let mut turns = Turns::new(places(1));
    for number in 1..=3 {
        turns.start(number, Priority::Foreground, 0, "a");
    }
    for number in 4..=6 {
        turns.hold(number, "slow");
    }
    turns.hold(7, "fast");
    turns.start(8, Priority::Low, 0, "slow");
    assert_eq!(turns.begun(), [1, 2, 4, 5, 7, 8], "places of their own, and not all of them at one host");
    turns.fail(1, Failure::fatal("bad", "x"));
    assert_eq!(turns.begun(), [3], "nor do they take those of others");
    turns.fail(7, Failure::fatal("bad", "x"));
    assert_eq!(turns.begun(), [], "the host has as many as it may");
    turns.fail(4, Failure::fatal("bad", "x"));
    assert_eq!(turns.begun(), [6]);
}

#[test]
fn those_that_hold_take_turns_where_places_are_scarce() {
    let mut turns = Turns::new(places(1));
    for number in 1..=3 {
        turns.hold(number, "slow");
    }
    assert_eq!(turns.begun(), [1, 2]);
    turns.pass(SLICE + Duration::from_secs(1));
    assert_eq!(turns.begun()[0], 3, "at one host");
    let mut turns = Turns::new(places(1));
    for (number, host) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        turns.hold(number, host);
    }
    assert_eq!(turns.begun(), [1, 2, 3]);
    turns.pass(SLICE + Duration::from_secs(1));
    assert_eq!(turns.begun()[0], 4, "among all");
}

#[test]
fn equals_take_turns_of_one_slice_each() {
    let mut turns = Turns::new(places(1));
    for number in 1..=3 {
        turns.start(number, Priority::Normal, 0, "a");
    }
    turns.pass(SLICE * 6 - Duration::from_secs(1));
    assert_eq!(turns.begun(), [1, 2, 3, 1, 2, 3]);
    turns.fail(3, Failure::fatal("bad", "x"));
    turns.fail(1, Failure::fatal("bad", "x"));
    turns.begun();
    turns.pass(SLICE * 10);
    assert_eq!((turns.begun(), turns.running()), (vec![], vec![2]), "whoever is alone is not interrupted");
}

#[test]
fn a_slice_goes_round_at_one_host_though_other_places_are_free() {
    let mut turns = Turns::new(Places { per_host: 1, ..places(8) });
    turns.start(1, Priority::Normal, 0, "a");
    turns.start(2, Priority::Normal, 0, "a");
    turns.start(3, Priority::Normal, 0, "b");
    assert_eq!(turns.running(), [1, 3]);
    turns.pass(SLICE + Duration::from_secs(1));
    assert_eq!(turns.running(), [2, 3]);
}

#[test]
fn owners_share_the_places_though_one_has_many_more_jobs() {
    let mut turns = Turns::new(places(2));
    for number in 1..=20 {
        turns.start(number, Priority::Normal, 1, "a");
    }
    turns.pass(SLICE * 3);
    turns.start(100, Priority::Normal, 2, "a");
    turns.pass(SLICE + Duration::from_secs(1));
    assert!(turns.running().contains(&100), "waits for no more than one slice");
    turns.begun();
    turns.pass(SLICE * 20);
    let own = turns.begun().into_iter().filter(|number| *number == 100).count();
    assert!(own <= 1, "one of two owners keeps one of two places: {own}");
    assert!(turns.running().contains(&100));
}

#[test]
fn who_comes_back_has_saved_nothing_up() {
    let mut turns = Turns::new(places(1));
    turns.start(1, Priority::Normal, 1, "a");
    turns.pass(SLICE * 100);
    for (number, owner) in [(2, 2), (3, 2), (4, 1)] {
        turns.start(number, Priority::Normal, owner, "a");
    }
    turns.begun();
    turns.pass(SLICE * 8);
    let begun = turns.begun();
    let of_the_first = begun.iter().filter(|number| [1, 4].contains(*number)).count();
    assert!(of_the_first >= 3, "the second owner does not get 100 slices in a row: {begun:?}");
}

#[test]
fn nobody_waits_for_ever_below_more_urgent_jobs() {
    let mut turns = Turns::new(places(1));
    turns.start(1, Priority::High, 0, "a");
    turns.start(2, Priority::High, 0, "a");
    turns.start(9, Priority::Low, 0, "a");
    turns.pass(STARVED - Duration::from_secs(1));
    assert!(!turns.begun().contains(&9), "the urgent ones have the place");
    turns.pass(SLICE * 4);
    assert!(turns.begun().contains(&9), "and it gets one slice now and then");
}

#[test]
fn one_owner_and_one_host_have_so_many_places() {
    let mut turns = Turns::new(Places { per_owner: 2, ..places(8) });
    for number in 1..=4 {
        turns.start(number, Priority::Normal, 1, &format!("h{number}"));
    }
    turns.start(5, Priority::Normal, 2, "h5");
    assert_eq!(turns.running(), [1, 2, 5]);

    let mut turns = Turns::new(Places { per_host: 2, ..places(8) });
    for number in 1..=4 {
        turns.start(number, Priority::Low, 1, "a");
    }
    turns.start(5, Priority::High, 2, "a");
    turns.start(6, Priority::Foreground, 2, "a");
    assert_eq!(turns.running(), [1, 5, 6], "the urgent one takes a place of its host, the foreground has its own");
}

#[test]
fn a_host_that_does_not_answer_is_tried_by_one_job_and_holds_nobody_else_up() {
    let mut turns = Turns::new(Places { per_host: 2, ..places(3) });
    for number in 1..=3 {
        turns.start(number, Priority::Normal, 0, "dead");
    }
    turns.start(4, Priority::Normal, 0, "good");
    turns.start(5, Priority::Normal, 0, "good");
    assert_eq!(turns.running(), [1, 2, 4]);
    turns.fail(1, unreachable(None));
    turns.fail(2, unreachable(None));
    assert_eq!(turns.running(), [4, 5], "the third does not ask the dead host");
    turns.pass(Duration::from_secs(6));
    assert_eq!(turns.running(), [3, 4, 5], "after a pause one tries");
    turns.fail(3, unreachable(None));
    turns.pass(Duration::from_secs(4));
    assert_eq!(turns.running(), [4, 5], "and the pause grows");
}

#[test]
fn a_pause_that_the_host_asks_for_holds_for_all_its_jobs() {
    let mut turns = Turns::new(places(4));
    turns.start(1, Priority::Normal, 0, "a");
    turns.start(2, Priority::Normal, 0, "b");
    turns.fail(1, unreachable(Some(Duration::from_secs(300))));
    turns.start(3, Priority::Normal, 0, "a");
    turns.pass(Duration::from_secs(298));
    assert_eq!(turns.running(), [2]);
    turns.pass(Duration::from_secs(3));
    assert_eq!(turns.running().len(), 2, "one of the two tries");
    // Its owner may say that it will go better now.
    turns.start(4, Priority::Foreground, 0, "a");
    assert!(turns.running().contains(&4), "and whoever watches is not held up");
}

#[test]
fn after_a_pause_one_job_tries_the_host_though_somebody_reads_from_it_in_the_foreground() {
    let mut turns = Turns::new(places(4));
    turns.start(1, Priority::Foreground, 0, "a");
    turns.start(2, Priority::Normal, 0, "a");
    turns.start(3, Priority::Normal, 0, "a");
    turns.hold(4, "a");
    turns.fail(2, unreachable(Some(Duration::from_secs(60))));
    turns.fail(3, unreachable(Some(Duration::from_secs(60))));
    assert_eq!(turns.running(), [1, 4]);
    turns.pass(Duration::from_secs(200));
    let tried = turns.running().into_iter().filter(|number| [2, 3].contains(number)).count();
    assert_eq!((turns.running().len(), tried), (3, 1), "one of the two, beside those that it does not hold up");
}

#[test]
fn nobody_gives_a_place_up_to_those_who_wait_for_the_end_of_its_hosts_pause() {
    let mut turns = Turns::new(Places { per_host: 2, ..places(4) });
    turns.start(1, Priority::Normal, 0, "a");
    turns.start(2, Priority::Normal, 0, "a");
    turns.fail(2, unreachable(Some(Duration::from_secs(600))));
    turns.start(3, Priority::Normal, 1, "a");
    for _ in 0..5 {
        turns.pass(SLICE);
        assert_eq!(turns.running(), [1], "it goes on, and nobody else could");
    }
}

#[test]
fn a_network_that_comes_up_wakes_every_sleeper_whatever_it_sleeps_for() {
    let mut turns = Turns::new(places(8));
    for number in 1..=6 {
        turns.start(number, Priority::Normal, 0, &format!("h{number}"));
        turns.fail(number, unreachable(Some(Duration::from_secs(3600))));
    }
    assert_eq!(turns.running(), []);
    turns.engine.handle(turns.now(), Input::NetworkUp);
    turns.pass(Duration::from_secs(3));
    assert_eq!(turns.running(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_time_of_transfer_is_bounded_and_counted_only_while_it_has_the_turn() {
    let mut turns = Turns::new(places(1));
    let mut wish = spec(Priority::Normal, "a");
    wish.terms.max_transfer_time = Some(Duration::from_secs(100));
    let id = JobId([1; 16]);
    turns.engine.create(turns.now(), id, Owner(0), wish);
    turns.engine.resume(turns.now(), id).unwrap();
    turns.start(2, Priority::Normal, 0, "a");
    turns.pass(Duration::from_secs(110));
    let state = |turns: &Turns| turns.engine.job(id).unwrap().state();
    assert_ne!(state(&turns), JobState::Error, "half of the time was the other's");
    turns.pass(Duration::from_secs(100));
    assert_eq!(state(&turns), JobState::Error);
    let failure = turns.engine.job(id).unwrap().failure().unwrap();
    assert_eq!(failure.code, crate::retry::TIME_OVER);
    turns.engine.resume(turns.now(), id).unwrap();
    turns.pass(Duration::from_secs(50));
    assert_ne!(state(&turns), JobState::Error, "a new start has the whole time again");
}

#[test]
fn what_nobody_wants_for_90_days_is_cancelled_and_a_change_begins_the_time_anew() {
    let mut turns = Turns::new(places(1));
    let id = JobId([1; 16]);
    turns.engine.create(turns.now(), id, Owner(0), spec(Priority::Normal, "a"));
    let day = Duration::from_secs(86_400);
    turns.pass(day * 89);
    let amendment = crate::engine::Amendment { name: Some("new".to_owned()), ..Default::default() };
    turns.engine.amend(turns.now(), id, amendment).unwrap();
    turns.pass(day * 89);
    assert_eq!(turns.engine.job(id).unwrap().state(), JobState::Suspended);
    turns.pass(day * 2);
    assert_eq!(turns.engine.job(id).unwrap().state(), JobState::Cancelled);
}

#[test]
fn a_change_of_priority_is_felt_at_once() {
    let mut turns = Turns::new(places(1));
    turns.start(1, Priority::Normal, 0, "a");
    turns.start(2, Priority::Normal, 0, "a");
    let now = turns.now();
    let to = |priority| crate::engine::Amendment { priority: Some(priority), ..Default::default() };
    turns.engine.amend(now, JobId([2; 16]), to(Priority::High)).unwrap();
    assert_eq!(turns.running(), [2]);
    turns.engine.amend(now, JobId([2; 16]), to(Priority::Low)).unwrap();
    assert_eq!(turns.running(), [1]);
    turns.engine.amend(now, JobId([2; 16]), to(Priority::Foreground)).unwrap();
    assert_eq!(turns.running(), [1, 2]);
}
