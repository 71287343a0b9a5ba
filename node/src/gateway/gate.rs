//! The gateway as its settings want it: it begins with the first mount, and follows what is mounted while it runs.
//!
//! Who changes the settings, by hand or by `eddy gateway enable`, has nothing to tell a running node: it looks at the files once a
//! second. Where the gateway listens, and for whom, is read when it begins.
//!
//! A gateway that cannot be ends nothing else of the node: jobs and peers go on, its trouble is told wherever somebody looks, and it is
//! tried again with each look.

use super::{Parts, RunningGateway, start};
use crate::config::gateway::GatewayPlan;
use crate::config::{self, ConfigError};
use eddy_wire::api::{GatewayView, MountView};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The gateway, if there is one yet.
#[derive(Debug, Clone, Default)]
pub struct Current {
    running: Arc<Mutex<Option<RunningGateway>>>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Current {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.running().as_ref().map(RunningGateway::address)
    }

    /// What it has done, by mount.
    #[must_use]
    pub fn view(&self) -> GatewayView {
        let none = || GatewayView { listens: None, mounts: Vec::new(), trouble: None };
        let view = self.running().as_ref().map_or_else(none, |gateway| gateway.mounts.view());
        GatewayView { trouble: self.trouble(), ..view }
    }

    /// Why what is wanted of it is not done, if it is not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether somebody wants one, there or not.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.running().is_some() || self.trouble().is_some()
    }

    /// What it has done in all; `None` where there is none.
    #[must_use]
    pub fn total(&self) -> Option<MountView> {
        self.running().as_ref().map(|gateway| gateway.mounts.total())
    }

    fn running(&self) -> MutexGuard<'_, Option<RunningGateway>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what came of the last try, and logs what is new of it.
    fn note(&self, outcome: Result<(), String>) {
        let trouble = outcome.err();
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match &trouble {
            Some(trouble) if *known != Some(trouble.clone()) => tracing::error!("{trouble}"),
            None if known.is_some() => tracing::info!("what is mounted is served"),
            _ => {}
        }
        *known = trouble;
    }
}

/// The files that say what is mounted.
#[derive(Debug, Clone)]
pub struct Files {
    /// The node's home.
    pub home: PathBuf,
    /// Its settings.
    pub config: PathBuf,
}

/// When each of them was changed last, and its length.
type Look = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

impl Files {
    fn look(&self) -> Look {
        let known = |path: PathBuf| {
            let found = std::fs::metadata(&path).ok().and_then(|found| Some((found.modified().ok()?, found.len())));
            (path, found)
        };
        let folder = config::mounts_of(&self.home);
        // Of a folder that may not be read nothing is listed; that it is there is seen, and reading the settings tells the rest.
        let listed = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
        paths.sort();
        paths.extend([folder, self.config.clone()]);
        paths.into_iter().map(known).collect()
    }

    fn plan(&self) -> Result<Option<GatewayPlan>, ConfigError> {
        // A file that nobody has named need not be there.
        let named = (self.config != config::file_of(&self.home, None)).then_some(self.config.as_path());
        Ok(config::load(&self.home, named)?.gateway.plan()?)
    }
}

/// The gateway, and who follows its settings.
#[derive(Debug)]
pub struct Gate {
    current: Current,
    following: JoinHandle<()>,
}

impl Gate {
    /// Starts what is wanted now, if that can be, and goes on with what is wanted later, until `stop`.
    pub async fn open(plan: Option<GatewayPlan>, (parts, files): (Parts, Files), stop: CancellationToken) -> Self {
        let current = Current::default();
        current.note(adapt(&current, plan, (&parts, &stop)).await);
        let following = tokio::spawn(follow(current.clone(), (parts, files), stop));
        Self { current, following }
    }

    /// The gateway of any moment.
    #[must_use]
    pub fn current(&self) -> &Current {
        &self.current
    }

    /// Waits for its end, which comes with the stop.
    pub async fn close(self) {
        let _ = self.following.await;
        let gateway = self.current.running().take();
        if let Some(gateway) = gateway {
            gateway.close().await;
        }
    }
}

async fn follow(current: Current, (parts, files): (Parts, Files), stop: CancellationToken) {
    // Compared with nothing: what changed since the node read its settings is found at the first look.
    let mut seen = Look::new();
    loop {
        let (files, before) = (files.clone(), seen);
        let looked = tokio::task::spawn_blocking(move || {
            let look = files.look();
            let plan = (before != look).then(|| files.plan());
            (look, plan)
        });
        let Ok((look, plan)) = looked.await else { return };
        let outcome = match plan {
            Some(Ok(plan)) => Some(adapt(&current, plan, (&parts, &stop)).await),
            Some(Err(error)) => {
                Some(Err(format!("what is mounted stays as it is: the settings are no good: {}", whole(&error))))
            }
            None => None,
        };
        seen = look;
        if let Some(outcome) = outcome {
            if outcome.is_err() {
                // A port may become free, and rights may come back, without a change of the files.
                seen.clear();
            }
            current.note(outcome);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Brings the gateway to a plan; otherwise what is wrong, in words.
async fn adapt(
    current: &Current,
    plan: Option<GatewayPlan>,
    (parts, stop): (&Parts, &CancellationToken),
) -> Result<(), String> {
    let running = current.running().as_ref().map(|gateway| (gateway.mounts.clone(), gateway.shelf.clone()));
    match (running, plan) {
        (Some((mounts, shelf)), plan) => {
            if mounts.change(plan.as_ref().map_or(&[], |plan| plan.mounts.as_slice())) {
                // What was kept by the rules of other mounts, with their links, and from where only they led.
                shelf.clear();
                tracing::info!(mounts = mounts.list().len(), "other mounts are served");
            }
        }
        (None, Some(plan)) => {
            let started = start(plan, parts.clone(), stop.clone()).await;
            let gateway = started.map_err(|error| format!("what is mounted cannot be served: {}", whole(&error)))?;
            *current.running() = Some(gateway);
        }
        (None, None) => {}
    }
    Ok(())
}

/// An error with those of its causes that it does not name itself.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_comes_is_seen_whatever_may_be_read_of_it() {
        let home = tempfile::tempdir().unwrap();
        let files = Files { home: home.path().to_path_buf(), config: home.path().join("eddy.toml") };
        let before = files.look();
        assert_eq!(before, files.look());
        std::fs::create_dir(config::mounts_of(home.path())).unwrap();
        assert_ne!(before, files.look());
    }

    #[test]
    fn a_trouble_is_kept_until_it_is_over_and_counts_as_a_wish() {
        let current = Current::default();
        assert!(!current.is_wanted());
        current.note(Err("no".into()));
        assert_eq!((current.view().trouble.as_deref(), current.is_wanted()), (Some("no"), true));
        current.note(Ok(()));
        assert_eq!((current.view().trouble, current.is_wanted()), (None, false));
    }
}
