//! The machines of an office, with their daemons.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use eddy_engine::Peer;
use eddy_engine::swarm::rank::rank;
use eddy_engine::swarm::{OriginKey, Weight};
use eddy_node::control::{Client, socket_of};
use eddy_wire::NodeId;
use eddy_wire::api::{Identity, JobState};

use super::PATIENCE;
use crate::lab::Lab;
use crate::process::{Eddy, Running, hash_of};

/// Of every machine: all homes lie on one disk, whose other contents are nobody's business here.
pub const SETTINGS: &str = "[cache]\nreserve = \"1 MiB\"\nquota = \"1 GiB\"\n[peers]\n";

/// Machines of one group in a lab.
#[derive(Debug)]
pub struct Office<'lab> {
    /// The machines.
    pub nodes: Vec<Eddy<'lab>>,
    /// Their daemons; `None` once it was ended.
    pub daemons: Vec<Option<Running>>,
}

impl<'lab> Office<'lab> {
    /// Machines that all know each other, by multicast.
    ///
    /// # Errors
    /// When one does not start, or does not find the others in time.
    pub fn open(lab: &'lab Lab, machines: usize) -> Result<Self> {
        let office = Self::found(lab, machines, |_, _| SETTINGS.to_owned())?;
        for node in &office.nodes {
            node.wait_peers(machines - 1, PATIENCE)?;
        }
        Ok(office)
    }

    /// Starts machines, each with settings of its own.
    ///
    /// # Errors
    /// When one does not start.
    pub fn found(lab: &'lab Lab, machines: usize, settings: impl Fn(&Lab, usize) -> String) -> Result<Self> {
        let nodes: Vec<_> = (0..machines).map(|n| Eddy::on(lab.host(n))).collect::<Result<_>>()?;
        let secret = nodes.first().context("an office of nobody")?.found_group()?;
        for node in &nodes[1..] {
            node.join_group(&secret)?;
        }
        for (n, node) in nodes.iter().enumerate() {
            std::fs::write(node.home().join("eddy.toml"), settings(lab, n))?;
        }
        let daemons = nodes.iter().map(|node| node.daemon().map(Some)).collect::<Result<_>>()?;
        Ok(Self { nodes, daemons })
    }

    /// These machines fetch the file at the same time; how long the last one took.
    ///
    /// # Errors
    /// When one fails, or has other bytes than the origin.
    pub fn fetch_together(&self, who: impl Iterator<Item = usize>, url: &str, hash: blake3::Hash) -> Result<Duration> {
        let ends = self.fetch_each(who, url, hash).into_iter().collect::<Result<Vec<_>>>()?;
        Ok(ends.into_iter().max().unwrap_or_default())
    }

    /// These machines fetch the file at the same time; how long each one took, or why it has not what the origin has.
    pub fn fetch_each(&self, who: impl Iterator<Item = usize>, url: &str, hash: blake3::Hash) -> Vec<Result<Duration>> {
        let destination = |n: usize| self.nodes[n].home().join("fetched.img");
        let asked: Vec<(usize, PathBuf)> = who.map(|n| (n, destination(n))).collect();
        let ends = self.fetch_by_socket(&asked, url);
        let checked = ends.into_iter().zip(&asked).map(|(end, (n, to))| {
            let took = end.with_context(|| format!("machine {n}"))?;
            ensure!(hash_of(to)? == hash, "machine {n} has other bytes than the origin");
            Ok(took)
        });
        checked.collect()
    }

    /// Hands fetches of one file to the daemons of these machines, all at the same time, by their sockets: no program has to start, of which
    /// two cores start a hundred in a second. How long each took.
    pub fn fetch_by_socket(&self, asked: &[(usize, PathBuf)], url: &str) -> Vec<Result<Duration>> {
        let began = Instant::now();
        let fetch = async |(n, to): &(usize, PathBuf)| -> Result<Duration> {
            let client = Client::new(&socket_of(self.nodes[*n].home()))?;
            let file = serde_json::json!({ "url": url, "destination": to, "overwrite": true });
            let spec = serde_json::from_value(serde_json::json!({ "files": [file] }))?;
            let mut job = client.create_job(&spec).await?;
            let mut watch = client.watch(&job.id).await?;
            while let Some(view) = watch.next().await? {
                job = view;
            }
            ensure!(job.state == JobState::Acknowledged, "{job:#?}");
            Ok(began.elapsed())
        };
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(futures::future::join_all(asked.iter().map(fetch))),
            Err(error) => vec![Err(error.into())],
        }
    }

    /// Bytes that the living have fetched a second time to catch liars.
    ///
    /// # Errors
    /// When a machine does not answer, or its account does not close.
    pub fn audited(&self) -> Result<u64> {
        let mut audited = 0;
        for (node, _) in self.nodes.iter().zip(&self.daemons).filter(|(_, daemon)| daemon.is_some()) {
            let totals = node.report()?.totals;
            ensure!(totals.identity() == Identity::Closes, "{totals:#?}");
            audited += totals.audited;
        }
        Ok(audited)
    }

    /// Whom all that know each other take for the home of an origin.
    ///
    /// # Errors
    /// When a machine does not say who it is.
    pub fn home_of(&self, host: &str) -> Result<usize> {
        let origin = OriginKey::of("http", host, 80);
        let mut ranks = Vec::new();
        for node in &self.nodes {
            let node: NodeId = node.status()?.node.parse()?;
            ranks.push(rank(origin, &Peer(node.0), Weight::STEADY));
        }
        (0..ranks.len()).max_by(|a, b| ranks[*a].total_cmp(&ranks[*b])).context("an office of nobody")
    }
}
