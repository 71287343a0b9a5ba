//! What the benches of the data path compare eddy with.

#![allow(dead_code, reason = "each bench uses a part")]
#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

pub(crate) mod bare;

use std::time::{Duration, Instant};

/// What a round took: on the wall, and of the CPU of both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Cost {
    /// Speed and CPU time for each GiB of `length` bytes.
    pub(crate) fn show(&self, length: u64) -> String {
        let gib = length as f64 / (1u64 << 30) as f64;
        let speed = gib * 1024.0 / self.wall.as_secs_f64();
        format!("{speed:5.0} MiB/s {:5.2} CPU-s/GiB", self.cpu.as_secs_f64() / gib)
    }
}

/// The medians of wall and CPU, each for itself.
pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    let wall = costs[costs.len() / 2].wall;
    costs.sort_by_key(|cost| cost.cpu);
    Cost { wall, cpu: costs[costs.len() / 2].cpu }
}

/// Speed and CPU of `this` as parts of `that`.
pub(crate) fn ratios(this: Cost, that: Cost) -> String {
    let speed = that.wall.as_secs_f64() / this.wall.as_secs_f64();
    format!("{speed:.2} of its speed, {:.2} of its CPU", this.cpu.as_secs_f64() / that.cpu.as_secs_f64())
}

/// The middle of many.
pub(crate) fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// CPU time of all threads of this process.
pub(crate) fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// Work, and what it cost this process.
pub(crate) async fn measured<T>(work: impl Future<Output = T>) -> (Cost, T) {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let outcome = work.await;
    (Cost { wall: wall.elapsed(), cpu: cpu_time() - cpu }, outcome)
}
