//! A fleet and its lines, the best that is possible on them, and what came of it.

use std::time::Duration;

use anyhow::Result;

use crate::lab::{Lab, LabSpec, Mbit};
use crate::process::MIB;

/// Of a line's rate, what TCP leaves for bodies: 1448 of the 1514 bytes of a full frame.
const GOODPUT: f64 = 0.955;

/// Machines, the lines between them and to their origin, and what they want.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// How many.
    pub machines: usize,
    /// The line to the origin, which all share.
    pub wan: Mbit,
    /// The line of each machine.
    pub lan: Mbit,
    /// Bytes of the file.
    pub length: u64,
}

impl Fleet {
    /// The lab for it.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn lab(&self) -> Result<Lab> {
        Lab::new(LabSpec { hosts: self.machines, lan_rate: Some(self.lan), wan_rate: Some(self.wan) })
    }

    /// The best that is possible: the file over the slower of the two lines.
    #[must_use]
    pub fn bound(&self) -> Duration {
        Duration::from_secs_f64(self.length as f64 * 8.0 / (f64::from(self.wan.0.min(self.lan.0)) * 1e6 * GOODPUT))
    }

    /// What a run came to, in which the origin sent so many bytes, second looks apart.
    #[must_use]
    pub fn outcome(&self, sent: u64, took: Duration) -> Outcome {
        Outcome {
            fleet: *self,
            copies: sent as f64 / self.length as f64,
            took,
            to_bound: took.as_secs_f64() / self.bound().as_secs_f64(),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Who ran.
    pub fleet: Fleet,
    /// What the origin sent, in lengths of the file; what was looked at twice to catch liars is not in it.
    pub copies: f64,
    /// Until the last machine had it.
    pub took: Duration,
    /// The same, over the best that is possible.
    pub to_bound: f64,
}

impl Outcome {
    /// Says it, in a line.
    pub fn tell(self, what: &str) -> Self {
        let Self { fleet, copies, took, to_bound } = self;
        println!(
            "{what}: {} machines, WAN {} Mbit/s, LAN {} Mbit/s, {:.2} MiB: {copies:.4} copies; the last machine after {:.2} s, \
             {to_bound:.3} times the bound",
            fleet.machines,
            fleet.wan.0,
            fleet.lan.0,
            fleet.length as f64 / MIB as f64,
            took.as_secs_f64(),
        );
        self
    }
}
