//! What one job goes through, as sentences.

mod bodies;
mod conditions;
mod demand;
mod endings;
mod fetching;
mod held;
mod ranges;
mod retries;
mod sharing;
mod swarms;

use crate::rig::Rig;
use crate::rig::world::{Origin, disk};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn rig(origin: Origin) -> Rig {
    let mut rig = Rig::new(7);
    rig.set_origin("a", origin);
    rig
}

/// Bytes that the origin sent beyond one copy.
fn excess(rig: &mut Rig) -> u64 {
    let origin = rig.origin("a");
    origin.sent.saturating_sub(origin.length)
}

fn coded(code: &str) -> eddy_engine::Failure {
    eddy_engine::Failure { code: code.to_owned(), ..disk() }
}
