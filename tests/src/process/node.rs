//! What a test asks a node: to start, to join, to fetch, and how things stand.
//!
//! Questions go through the command line with `--json`, so that every test of the whole also tests what people and scripts
//! see; only what must be seen while it happens is asked at the control socket.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use eddy_node::control::{Client, socket_of};
use eddy_wire::api::{Account, EntityView, Identity, JobView, PageQuery, PeerState, PeersView, ReportView, StatusView};
use serde::de::DeserializeOwned;

use super::{Eddy, Running};

/// How often a question to the control socket is repeated.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How long a node may take to start or to stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// All of its standard output.
    pub out: String,
    /// All of its standard error.
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    /// The code of the error that it wrote, as in `error[code]: ...`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.err.lines().find_map(|line| line.strip_prefix("error[")?.split_once(']')).map(|(code, _)| code)
    }
}

impl Eddy<'_> {
    /// Runs `eddy` to its end and keeps everything that it said.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn ended(&self, arguments: &[&str]) -> Result<Ended> {
        self.run(arguments).map(Ended::from)
    }

    /// Runs `eddy --json` and reads its answer.
    ///
    /// # Errors
    /// When it fails, or answers something else.
    pub fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let ended = self.ended(&[arguments, &["--json"]].concat())?;
        ensure!(ended.status == Some(0), "eddy {arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).with_context(|| format!("eddy {arguments:?}: {}", ended.out))
    }

    /// Starts a daemon and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn daemon(&self) -> Result<Running> {
        let daemon = self.spawn(["daemon"])?;
        daemon.wait_line("the node runs; it listens", PATIENCE)?;
        Ok(daemon)
    }

    /// Makes a group and returns its secret.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn found_group(&self) -> Result<String> {
        let made = self.ended(&["group", "init"])?;
        ensure!(made.status == Some(0), "eddy group init: {made:?}");
        // The secret is the line without a space on standard output: what a script would pass on.
        let secret = made.out.lines().map(str::trim).find(|line| !line.is_empty() && !line.contains(' '));
        Ok(secret.with_context(|| format!("no secret in {made:?}"))?.to_owned())
    }

    /// Joins a group by its secret, on standard input.
    ///
    /// # Errors
    /// When the secret is refused.
    pub fn join_group(&self, secret: &str) -> Result<()> {
        let joined = self.tell(&["group", "join", "-"], secret)?;
        ensure!(joined.status == Some(0), "eddy group join: {joined:?}");
        Ok(())
    }

    /// Runs `eddy` with a text on standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn tell(&self, arguments: &[&str], text: &str) -> Result<Ended> {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("eddy")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(format!("{text}\n").as_bytes())?;
        }
        Ok(child.wait_with_output()?.into())
    }

    /// Fetches to the end.
    ///
    /// # Errors
    /// When the command fails; with all that it said.
    pub fn get(&self, url: &str, destination: &Path) -> Result<JobView> {
        let path = destination.to_str().context("a path in UTF-8")?;
        self.ask(&["get", url, "-o", path])
    }

    /// Hands a fetch to the daemon and returns the job's id.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn get_in_background(&self, url: &str, destination: &Path) -> Result<String> {
        let path = destination.to_str().context("a path in UTF-8")?;
        let job: JobView = self.ask(&["get", url, "-o", path, "--background"])?;
        Ok(job.id)
    }

    /// The account of bytes; its identities are checked.
    ///
    /// # Errors
    /// When the account does not close: a byte is missing or counted twice.
    pub fn report(&self) -> Result<ReportView> {
        let report: ReportView = self.ask(&["report"])?;
        let sum = report.rows.iter().fold(Account::default(), |sum, row| sum.plus(row.account));
        ensure!(sum == report.totals, "the totals are not the sum of the rows: {report:#?}");
        for row in &report.rows {
            ensure!(row.account.identity() != Identity::Broken, "a row does not close: {row:#?}");
        }
        Ok(report)
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// When none runs.
    pub fn status(&self) -> Result<StatusView> {
        self.ask(&["status"])
    }

    /// A figure that the daemon counts; none that it does not have.
    ///
    /// # Errors
    /// When none runs.
    pub fn metric(&self, name: &str) -> Result<Option<u64>> {
        let ask = async |client: &Client| client.metrics().await.ok();
        let text = self.wait_for(PATIENCE, ask, |_| true)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().with_context(|| text.clone())).transpose()
    }

    /// What the store holds.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn cached(&self) -> Result<Vec<EntityView>> {
        self.ask(&["cache", "ls"])
    }

    /// Has the store of a node that does not run checked, as `eddy doctor --strict` does it.
    ///
    /// # Errors
    /// When something is worse than untidy, with what it is.
    pub fn check_cache(&self) -> Result<()> {
        let report = eddy_cache::check(&self.home().join("cache"), eddy_cache::Depth::Strict, eddy_cache::Repair::No)?;
        ensure!(report.is_sound(), "the cache is not sound: {report}");
        Ok(())
    }

    /// Waits until the daemon is connected with `count` peers.
    ///
    /// # Errors
    /// When it is not within `patience`; with the peers as they are.
    pub fn wait_peers(&self, count: usize, patience: Duration) -> Result<PeersView> {
        let connected = |view: &PeersView| view.peers.iter().filter(|peer| peer.state == PeerState::Connected).count();
        self.wait_peers_view(patience, |view| connected(view) >= count)
    }

    /// Waits until what the daemon says about its peers is as wanted.
    ///
    /// # Errors
    /// When it is not within `patience`; with the peers as they are.
    pub fn wait_peers_view(&self, patience: Duration, wanted: impl Fn(&PeersView) -> bool) -> Result<PeersView> {
        self.wait_for(patience, async |client| client.peers().await.ok(), wanted)
    }

    /// Waits until a job of the daemon is as wanted; a job that has ended is gone, and waited for in vain.
    ///
    /// # Errors
    /// When it is not within `patience`; with the job as it is.
    pub fn wait_job(&self, id: &str, patience: Duration, wanted: impl Fn(&JobView) -> bool) -> Result<JobView> {
        self.wait_for(patience, async |client| client.job(id).await.ok(), wanted)
    }

    /// Waits until any job of the node, daemon or not, is as wanted.
    ///
    /// # Errors
    /// When none is within `patience`; with the jobs as they are.
    pub fn wait_any_job(&self, patience: Duration, wanted: impl Fn(&JobView) -> bool) -> Result<()> {
        let first = PageQuery::default();
        let ask = async |client: &Client| client.jobs(&first).await.ok().map(|page| page.items);
        self.wait_for(patience, ask, |jobs: &Vec<JobView>| jobs.iter().any(&wanted)).map(drop)
    }

    /// Waits until a job of the daemon has put `destination` in place and has ended, so that its account is written too.
    ///
    /// # Errors
    /// When it has not within `patience`; with the jobs as they are.
    pub fn wait_delivered(&self, destination: &Path, patience: Duration) -> Result<()> {
        let path = destination.to_str().context("a path in UTF-8")?;
        let first = PageQuery::default();
        let ask = async |client: &Client| client.jobs(&first).await.ok().map(|page| page.items);
        let is_over = |job: &JobView| job.state.is_final() || job.files.iter().all(|file| file.destination != path);
        self.wait_for(patience, ask, |jobs: &Vec<JobView>| destination.exists() && jobs.iter().all(is_over)).map(drop)
    }

    fn wait_for<T: std::fmt::Debug>(
        &self,
        patience: Duration,
        ask: impl AsyncFn(&Client) -> Option<T>,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T> {
        let client = Client::new(&socket_of(self.home())).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        block_on(async {
            let deadline = Instant::now() + patience;
            let mut last = None;
            loop {
                // A node that is just starting does not answer yet.
                match ask(&client).await {
                    Some(answer) if wanted(&answer) => return Ok(answer),
                    Some(answer) => last = Some(answer),
                    None => {}
                }
                if Instant::now() >= deadline {
                    bail!("not as wanted within {patience:?}; last: {last:#?}");
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        })
    }
}

/// Runs a future to its end, also in a test that is asynchronous itself.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(current) => tokio::task::block_in_place(|| current.block_on(future)),
        Err(_) => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future),
    }
}
