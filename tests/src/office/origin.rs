//! What an origin says of an office: by its log, or by its counters where it is one that misbehaves.

use std::ops::Range;

use anyhow::Result;

use super::{BLOCK, Fleet, Office, PATIENCE};
use crate::hostile::{COUNTERS_PATH, Counters, PathCounters};
use crate::lab::Lab;
use crate::process::{Access, MIB, Nginx, Running, body_bytes};

/// A server that misbehaves, in the place of the origin.
#[derive(Debug)]
pub struct Hostile<'lab> {
    lab: &'lab Lab,
    at: String,
    _running: Running,
}

impl<'lab> Hostile<'lab> {
    /// Starts the program.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn on(lab: &'lab Lab, program: &str) -> Result<Self> {
        let at = format!("{}:80", lab.origin().address());
        let running = lab.origin().spawn(program, [&at])?;
        running.wait_line(&at, PATIENCE)?;
        Ok(Self { lab, at, _running: running })
    }

    /// A file of it: by a named behaviour, or none, and with more of its query.
    #[must_use]
    pub fn url(&self, behaviour: &str, seed: u64, length: u64) -> String {
        format!("http://{}/big.img?seed={seed}&length={length}&behaviour={behaviour}", self.at)
    }

    /// What it was asked for and sent.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn counters(&self) -> Result<PathCounters> {
        let counters = format!("http://{}{COUNTERS_PATH}", self.at);
        let counters = self.lab.origin().command("curl").args(["-sS", &counters]).output()?;
        Ok(serde_json::from_slice::<Counters>(&counters.stdout)?.path("/big.img"))
    }
}

/// What the origin sent, without what was looked at twice. It sent all of the file at least.
///
/// # Errors
/// When it did not, or a machine does not answer.
pub fn sent(origin: &Nginx, office: &Office<'_>, fleet: &Fleet) -> Result<u64> {
    let log = origin.wait_access(PATIENCE, |log| body_bytes(log) >= fleet.length)?;
    Ok(body_bytes(&log).saturating_sub(office.audited()?))
}

/// Whether a range of one block was asked for.
#[must_use]
pub fn is_of_one_block(access: &Access) -> bool {
    asked(access).is_some_and(|asked| asked.end - asked.start <= BLOCK)
}

/// Whether a part of a segment of 1 MiB at most was asked for that is not the beginning: of an origin without ranges, a second look.
pub fn is_of_later_part(access: &Access) -> bool {
    asked(access).is_some_and(|asked| asked.start > 0 && asked.end - asked.start <= MIB)
}

/// Says which answers were cut, and which brought what another one had brought, second looks apart.
pub fn tell_again(log: &[Access]) {
    let reads = log.iter().filter(|access| !is_of_one_block(access) && access.body_bytes > 0);
    let reads: Vec<_> = reads.filter_map(|access| Some((asked(access)?, access.body_bytes))).collect();
    let in_mib = |bytes: u64| bytes as f64 / MIB as f64;
    for (n, (asked, sent)) in reads.iter().enumerate() {
        let came = asked.start..asked.start + sent;
        let twice = |of: &Range<u64>| of.end.min(came.end).saturating_sub(of.start.max(came.start));
        let before: u64 = reads[..n].iter().map(|(of, sent)| twice(&(of.start..of.start + sent))).sum();
        if came.end < asked.end || before > 0 {
            let (at, asked, sent) = (in_mib(asked.start), in_mib(asked.end - asked.start), in_mib(*sent));
            println!("  answer {n}: at {at:.2} MiB, {asked:.2} asked for, {sent:.2} sent, {:.2} again", in_mib(before));
        }
    }
}

/// The bytes that were asked for.
fn asked(access: &Access) -> Option<Range<u64>> {
    let (first, last) = access.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?)
}
