//! Ranges on demand (F-57): what is asked for is fetched and nothing else, until all is there.

use super::{HOUR, MIB, rig};
use crate::rig::world::{Manner, Neighbour, Origin};
use crate::rig::{Rig, job};
use eddy_content::http::RangeSupport;
use eddy_content::{BLOCK_SIZE, BlockSet};
use eddy_engine::engine::{Amendment, CommandError};
use eddy_engine::{ByteRange, Demand, JobId, JobSpec, JobState, Portion};

fn on_demand(names: &[&str]) -> JobSpec {
    let mut spec = job(names);
    spec.files[0].portion = Portion::OnDemand(Demand::default());
    spec
}

fn origin() -> Origin {
    Origin { rate: 200_000, ..Origin::new(9 * MIB + 5) }
}

fn ask(rig: &mut Rig, id: JobId, ranges: &[(u64, Option<u64>)], position: Option<u64>) -> Result<(), CommandError> {
    let files = rig.engine.job(id).expect("known").spec().files.clone();
    let mut demand = files[0].portion.demand().cloned().unwrap_or_default();
    let ranges: Vec<_> = ranges.iter().map(|&(offset, length)| ByteRange { offset, length }).collect();
    demand.add(&ranges).expect("legal");
    position.into_iter().for_each(|at| demand.begin_at(at));
    let amendment = Amendment { demands: vec![(0, demand)], ..Amendment::default() };
    rig.act(|engine, now| engine.amend(now, id, amendment))
}

fn held(rig: &Rig) -> BlockSet {
    rig.store.entities.values().next().map(|stored| stored.held.clone()).unwrap_or_default()
}

#[test]
fn nothing_is_fetched_before_it_is_asked_for_and_the_job_rests_when_it_is_there() {
    let mut rig = rig(origin());
    let id = rig.start(on_demand(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.origin("a").sent), (JobState::Suspended, 0));
    assert_eq!(rig.engine.job(id).and_then(|job| job.length()), Some(9 * MIB + 5));

    ask(&mut rig, id, &[(MIB + 5, Some(10)), (MIB, Some(100)), (0, Some(1))], None).expect("takes it");
    rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.origin("a").sent), (JobState::Suspended, 2 * BLOCK_SIZE));
    assert_eq!(held(&rig), [0..1, 16..17].into_iter().collect());
    let job = rig.engine.job(id).expect("known");
    assert!(job.has_ranges());
    assert_eq!(job.done(), 2 * BLOCK_SIZE);
    assert_eq!(rig.delivered(id, 0), None);

    // All that is left: the file is whole, and delivered as others are.
    ask(&mut rig, id, &[(0, None)], None).expect("takes it");
    rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert_eq!(rig.origin("a").sent, 9 * MIB + 5, "no byte twice");
}

#[test]
fn more_is_asked_for_while_it_runs_and_the_position_moves() {
    let mut rig = rig(origin());
    let id = rig.create(on_demand(&["a"]));
    ask(&mut rig, id, &[(0, Some(8 * MIB))], None).expect("takes it");
    rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
    rig.run_until(|rig| !held(rig).is_empty());
    let aborts = rig.count("abort");
    ask(&mut rig, id, &[(8 * MIB, None)], Some(9 * MIB)).expect("takes it");
    assert_eq!(rig.count("abort"), aborts, "nothing that is under way ends");
    rig.run_until(|rig| held(rig).contains_run(144..145));
    assert!(held(&rig).len() < 145, "the position comes before what was asked for earlier");
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert_eq!(rig.origin("a").sent, 9 * MIB + 5);
}

#[test]
fn what_was_asked_for_survives_a_restart_at_any_moment() {
    for steps in 0..40 {
        let mut rig = rig(origin());
        let id = rig.create(on_demand(&["a"]));
        ask(&mut rig, id, &[(MIB, Some(3 * MIB))], None).expect("takes it");
        rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
        let until = rig.now + HOUR;
        for _ in 0..steps {
            rig.step(until);
        }
        rig.crash();
        rig.run_for(HOUR);
        assert_eq!(rig.state(id), JobState::Suspended, "after {steps} steps");
        assert_eq!(held(&rig), BlockSet::from_run(16..64), "after {steps} steps");
    }
}

#[test]
fn a_file_on_demand_waits_for_nobody_and_others_of_its_job_go_on() {
    let mut rig = rig(origin());
    rig.set_origin("b", Origin::new(MIB));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..145));
    let id = rig.start(on_demand(&["a", "b"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Suspended);
    ask(&mut rig, id, &[(5 * MIB, Some(1))], None).expect("takes it");
    rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Suspended);
    assert_eq!(rig.origin("a").sent, 0, "the peer has it");
    rig.act(|engine, now| engine.complete(now, id)).expect("delivers what is whole");
    rig.run_for(HOUR);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (None, Some(1)));
}

#[test]
fn only_a_file_on_demand_takes_ranges() {
    let mut rig = rig(origin());
    let id = rig.create(job(&["a"]));
    assert_eq!(ask(&mut rig, id, &[(0, Some(1))], None), Err(CommandError::NotOnDemand));
}

#[test]
fn a_server_without_ranges_gives_what_is_asked_for_all_the_same() {
    let mut rig = rig(Origin { ranges: RangeSupport::No, ..origin() });
    let id = rig.create(on_demand(&["a"]));
    ask(&mut rig, id, &[(MIB, Some(1))], None).expect("takes it");
    rig.act(|engine, now| engine.resume(now, id)).expect("goes on");
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Suspended);
    assert!(held(&rig).contains(16));
}
