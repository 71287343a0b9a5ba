//! What a file makes of its swarm's word.

use super::{HOUR, MIB};
use crate::rig::world::{Manner, Neighbour, Origin};
use crate::rig::{Rig, job};
use eddy_engine::{FileRef, Input, JobState};

/// A job of one file that takes part in a swarm.
fn taking() -> (Rig, FileRef) {
    let mut rig = Rig::new(7).in_swarms();
    rig.set_origin("a", Origin::new(8 * MIB));
    rig.connect(1, Neighbour::new(Manner::IsSilent, 0..0));
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.count("join swarm") == 1);
    (rig, FileRef { job: id, file: 0 })
}

#[test]
fn a_version_that_is_said_to_have_changed_is_asked_about_and_taken_by_the_swarm_again_where_it_stands() {
    let (mut rig, file) = taking();
    let asked = rig.count("contact");
    rig.input(Input::SwarmChanged { file });
    rig.run_until(|rig| rig.count("join swarm") == 2);
    assert_eq!((rig.count("contact"), rig.count("fetch origin")), (asked + 1, 0));
    assert_eq!(rig.count("outdated"), 0, "what it had is of use");
    // Whoever goes on saying so costs one question.
    rig.input(Input::SwarmChanged { file });
    rig.run_for(HOUR);
    assert_eq!(rig.state(file.job), JobState::Acknowledged);
    assert_eq!((rig.count("contact"), rig.count("join swarm"), rig.count("leave swarm")), (asked + 1, 2, 1));
}

#[test]
fn a_version_that_has_changed_is_put_away_and_the_swarm_of_the_new_one_is_joined() {
    let (mut rig, file) = taking();
    rig.origin("a").change();
    rig.input(Input::SwarmChanged { file });
    rig.run_until(|rig| rig.count("join swarm") == 2);
    rig.input(Input::SwarmOver { file });
    rig.run_for(HOUR);
    assert_eq!((rig.state(file.job), rig.delivered(file.job, 0)), (JobState::Acknowledged, Some(2)));
}
