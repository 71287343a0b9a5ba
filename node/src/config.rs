//! What the administrator set: defaults < file < environment < flags.
//!
//! The file is `eddy.toml` in the node's home; unknown keys are errors with a suggestion. Every key has its unit in its value
//! ("64 GiB", "30 %"), so that nobody has to guess.

pub mod edit;
pub mod gateway;
pub mod hooks;
pub mod keys;
mod mounts;
pub mod service;
pub mod trust;

use crate::driver::EngineLimits;
use crate::group::PkiFiles;
use crate::origin::{ClientCertificate, OriginConfig, Proxies};
use eddy_cache::{Limits, Quota, Reserve, StoreConfig};
use eddy_engine::engine::{INACTIVE, Swarms};
use eddy_engine::schedule::Places;
use eddy_engine::upload::UploadLimits;
use eddy_wire::api::amount::{Amount, BadAmount, parse_age, parse_amount, parse_rate, parse_size};
use gateway::{BadGateway, GatewaySettings};
use hooks::{BadHook, HookSettings};
pub use mounts::mounts_of;
use serde::{Deserialize, Serialize};
use service::ServiceSettings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Most jobs that have not ended, if nobody says otherwise.
const MOST_JOBS: usize = 100_000;

/// Bytes of the largest configuration file that is read.
const MAX_FILE: u64 = 1024 * 1024;
/// Bytes a second of the lowest limit on uploads.
const LEAST_UPLOAD: u64 = 64 * 1024;

/// Whether the node talks to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Origins and peers.
    Full,
    /// Nobody: to look at the store and the jobs while no daemon runs.
    Off,
}

/// What kind of process the node runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunsAs {
    /// `eddy daemon`.
    Daemon,
    /// Inside a command, for as long as that runs.
    Inside,
}

/// Everything that a node is told.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The folder of keys, jobs and cache; belongs to the node alone.
    pub home: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Whether the node talks to anybody.
    pub network: Network,
    /// What kind of process it runs in.
    pub runs_as: RunsAs,
    /// The configuration file, whether it is there or not.
    pub config: PathBuf,
    /// What the administrator set.
    pub settings: Settings,
    /// A socket that a service manager has made for the node, in place of its own.
    pub given: Option<Arc<UnixListener>>,
}

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The cache.
    pub cache: CacheSettings,
    /// The peers.
    pub peers: PeerSettings,
    /// The way to origins.
    pub origin: OriginSettings,
    /// The jobs.
    pub jobs: JobSettings,
    /// The group: whose word is enough, and where its certificates are when they come from files.
    pub group: GroupSettings,
    /// The gateway for tools that speak HTTP.
    pub gateway: GatewaySettings,
    /// The daemon as a service of the machine.
    pub service: ServiceSettings,
    /// What may be told of the end of a job, by name.
    pub hooks: BTreeMap<String, HookSettings>,
}

/// `[group]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GroupSettings {
    /// Certificates of one's own PKI instead of a group of eddy's.
    pub pki: Option<PkiSettings>,
    /// How many different members must have fetched a block from its origin before it is believed without a digest: 1, 2, 3, or
    /// "digest-only" for never. Default: 1.
    #[schema(value_type = Option<String>)]
    pub witnesses: Option<trust::WitnessSetting>,
    /// Node ids of members whose statement is enough by itself. Default: none.
    pub anchors: Vec<String>,
    /// Whether peers give content of plain `http://` origins: "off", "one", or "two" for two witnesses at least. Default: "one".
    pub plain_http: trust::PlainHttpSetting,
    /// How much of what one statement carries is fetched from the origin a second time, at least one block of each file: "1 %",
    /// or "off". Default: "1 %".
    pub audit: Option<String>,
}

/// `[group.pki]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PkiSettings {
    /// PEM: this node's certificate, then those between it and an authority.
    #[schema(value_type = String)]
    pub cert: PathBuf,
    /// PEM: the certificate's key, PKCS #8, Ed25519; mode 0600.
    #[schema(value_type = String)]
    pub key: PathBuf,
    /// PEM: the authorities. Whoever they certify is a member.
    #[schema(value_type = String)]
    pub ca: PathBuf,
    /// At least 32 random bytes that all members have; mode 0600.
    #[schema(value_type = String)]
    pub lookup: PathBuf,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CacheSettings {
    /// Most that the cache may take: "50 GiB" or "20 %" of the file system. Default: 20 %.
    pub quota: Option<String>,
    /// What is always left free on the file system: "2 GiB" or "5 %". Default: the larger of 2 GiB and 5 %.
    pub reserve: Option<String>,
    /// How long what nobody uses is kept: "30 d". Default: "none", until room is needed.
    pub max_age: Option<String>,
    /// Whether the origin is asked before a file that is held whole is delivered: "ask" for always, "lifetime" for not within
    /// the lifetime that the origin itself gave it. Default: "ask".
    pub freshness: FreshnessPolicy,
}

/// When the origin is asked about a version that is held whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum FreshnessPolicy {
    /// Always, before it is delivered.
    #[default]
    Ask,
    /// Not within the lifetime that the origin gave it (RFC 9111).
    Lifetime,
}

/// `[peers]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PeerSettings {
    /// Where peers are served, over UDP: "0.0.0.0:7717". Port 0 takes any free one. Default: every IPv4 address, any port.
    #[schema(value_type = Option<String>)]
    pub listen: Option<SocketAddr>,
    /// Whether neighbours are found by multicast on the local network. Default: true.
    pub mdns: Option<bool>,
    /// Peers by address or name and port, besides those that are found: ["10.0.0.2:7717"].
    pub known: Vec<String>,
    /// Whether bytes may come from peers. Default: true.
    pub fetch: Option<bool>,
    /// Whether peers are given what is held here. Default: true.
    pub serve: Option<bool>,
    /// Whether machines that want the same at the same time share one read of the origin; only those that fetch and serve. Default: true.
    pub swarm: Option<bool>,
    /// Most that leaves to all peers together: "20 MB/s", at least 64 KiB/s. Default: as fast as it goes.
    pub upload: Option<String>,
    /// Most that leaves to each peer: "5 MB/s", at least 64 KiB/s. Default: as fast as it goes.
    pub upload_per_peer: Option<String>,
}

/// `[jobs]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct JobSettings {
    /// Jobs in the foreground that run side by side. Default: 16.
    pub foreground: Option<usize>,
    /// Jobs in the background that run side by side. Default: 8.
    pub background: Option<usize>,
    /// Of those, most at one host. Default: 3.
    pub per_host: Option<usize>,
    /// Of those, most of one user. Default: as many as run.
    pub per_user: Option<usize>,
    /// Most jobs that have not ended. Default: 100000.
    pub most: Option<usize>,
    /// Of those, most of one user. Default: 100000.
    pub most_per_user: Option<usize>,
    /// Most files of one job. Default: 10000, and not more.
    pub most_files: Option<usize>,
    /// Most ranges of one file. Default: 500, and not more.
    pub most_ranges: Option<usize>,
    /// How long a job that does nothing by itself is kept: "90 d", or "none" for ever. Default: "90 d".
    pub inactive: Option<String>,
}

/// `[origin]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct OriginSettings {
    /// A PEM file with certificates that are trusted besides the platform's.
    #[schema(value_type = Option<String>)]
    pub extra_roots: Option<PathBuf>,
    /// Certificates that jobs may have shown to origins which want one, by name.
    pub certificates: BTreeMap<String, ClientCertificate>,
}

/// Why the configuration will not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no valid configuration; the message names line, column and key.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the known keys.
        message: String,
    },
    /// The policy of whom to believe will not do.
    #[error("{key}: {source}")]
    Policy {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        source: trust::BadPolicy,
    },
    /// The gateway cannot be as it is wanted.
    #[error("gateway: {0}")]
    Gateway(#[from] BadGateway),
    /// A hook cannot be as it is wanted.
    #[error("hooks.{name}: {source}")]
    Hook {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: BadHook,
    },
    /// A value does not fit its key.
    #[error("{key}: {source}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        source: BadAmount,
    },
}

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// Nobody.
    Default,
    /// The configuration file.
    File,
}

/// The configuration file: the one that was named, or `eddy.toml` in the home.
#[must_use]
pub fn file_of(home: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| home.join("eddy.toml"), Path::to_path_buf)
}

/// Reads the settings: those of `file`, or of `eddy.toml` in the home if it is there, or the defaults.
pub fn load(home: &Path, file: Option<&Path>) -> Result<Settings, ConfigError> {
    let path = file_of(home, file);
    let mut settings = match read(&path)? {
        Some(text) => parse(&path, &text)?,
        None if file.is_none() => Settings::default(),
        None => return Err(ConfigError::Read { path, source: std::io::ErrorKind::NotFound.into() }),
    };
    mounts::add(home, &mut settings)?;
    Ok(settings)
}

/// The text of a configuration file; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_path_buf(), source };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => {
            Err(ConfigError::Parse { path: path.to_path_buf(), message: "the file is larger than 1 MiB".to_owned() })
        }
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The settings that a text gives; `path` is for messages.
fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let wrong = |error: toml::de::Error| ConfigError::Parse { path: path.to_path_buf(), message: error.to_string() };
    let settings: Settings = toml::from_str(text).map_err(wrong)?;
    settings.check()?;
    Ok(settings)
}

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        self.quota()?;
        self.reserve()?;
        self.max_age()?;
        self.peers.uploads()?;
        self.jobs()?;
        self.group.policy()?;
        self.gateway.plan()?;
        self.service.idle_exit()?;
        for (name, hook) in &self.hooks {
            hook.check().map_err(|source| ConfigError::Hook { name: name.clone(), source })?;
        }
        Ok(())
    }

    /// The files of one's own PKI, when the group is one of those.
    #[must_use]
    pub fn pki(&self) -> Option<PkiFiles> {
        let PkiSettings { cert, key, ca, lookup } = self.group.pki.clone()?;
        Some(PkiFiles { cert, key, ca, lookup })
    }

    /// The cache's quota.
    pub fn quota(&self) -> Result<Quota, ConfigError> {
        let Some(text) = &self.cache.quota else { return Ok(Quota::Percent(20)) };
        match parse_amount(text).map_err(|source| ConfigError::Value { key: "cache.quota", source })? {
            Amount::Bytes(bytes) => Ok(Quota::Bytes(bytes)),
            Amount::Percent(percent) => Ok(Quota::Percent(percent)),
        }
    }

    /// What the cache leaves free.
    pub fn reserve(&self) -> Result<Reserve, ConfigError> {
        let Some(text) = &self.cache.reserve else { return Ok(Reserve::default()) };
        let bytes = parse_size(text).map_err(|source| ConfigError::Value { key: "cache.reserve", source })?;
        Ok(Reserve::Bytes(bytes))
    }

    /// How long the cache keeps what nobody uses; `None` for as long as there is room.
    pub fn max_age(&self) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.cache.max_age.as_deref().filter(|text| *text != "none") else { return Ok(None) };
        parse_age(text).map(Some).map_err(|source| ConfigError::Value { key: "cache.max-age", source })
    }

    /// What is said about jobs that run. Nobody can be locked out: at least one place of each kind there is.
    pub fn jobs(&self) -> Result<EngineLimits, ConfigError> {
        let usual = Places::default();
        let background = self.jobs.background.unwrap_or(usual.background).max(1);
        let inactive = match self.jobs.inactive.as_deref() {
            None => Some(INACTIVE),
            Some("none") => None,
            Some(text) => Some(parse_age(text).map_err(|source| ConfigError::Value { key: "jobs.inactive", source })?),
        };
        Ok(EngineLimits {
            places: Places {
                foreground: self.jobs.foreground.unwrap_or(usual.foreground).max(1),
                background,
                per_owner: self.jobs.per_user.unwrap_or(background).max(1),
                per_host: self.jobs.per_host.unwrap_or(usual.per_host).max(1),
                ..usual
            },
            inactive,
            jobs: self.jobs.most.unwrap_or(MOST_JOBS),
            jobs_per_user: self.jobs.most_per_user.unwrap_or(MOST_JOBS),
        })
    }

    /// The cache's limits.
    pub fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits { quota: self.quota()?, reserve: self.reserve()?, max_age: self.max_age()? })
    }

    /// The quota as it was written, and by whom.
    #[must_use]
    pub fn quota_text(&self) -> (String, LimitSource) {
        written(self.cache.quota.as_ref(), "20 %")
    }

    /// The reserve as it was written, and by whom.
    #[must_use]
    pub fn reserve_text(&self) -> (String, LimitSource) {
        written(self.cache.reserve.as_ref(), "5 %, at least 2 GiB")
    }

    /// The age as it was written, and by whom.
    #[must_use]
    pub fn max_age_text(&self) -> (String, LimitSource) {
        written(self.cache.max_age.as_ref(), "none")
    }

    /// The store's configuration for a node that lives in `home`.
    pub fn store(&self, home: &Path) -> Result<StoreConfig, ConfigError> {
        let mut config = StoreConfig::new(home.join("cache"));
        config.quota = self.quota()?;
        config.reserve = self.reserve()?;
        Ok(config)
    }

    /// The origin room's configuration.
    #[must_use]
    pub fn origin(&self) -> OriginConfig {
        OriginConfig {
            extra_roots: self.origin.extra_roots.clone(),
            certificates: self.origin.certificates.clone(),
            proxies: Proxies::Environment,
            ..OriginConfig::default()
        }
    }
}

impl PeerSettings {
    /// Whether bytes may come from peers (P-1).
    #[must_use]
    pub fn may_fetch(&self) -> bool {
        self.fetch.unwrap_or(true)
    }

    /// Whether peers are given what is held here (P-1).
    #[must_use]
    pub fn may_serve(&self) -> bool {
        self.serve.unwrap_or(true)
    }

    /// Whether this node takes part in swarms, whose members both take and give.
    #[must_use]
    pub fn swarms(&self) -> Swarms {
        let is_on = self.swarm.unwrap_or(true) && self.may_fetch() && self.may_serve();
        if is_on { Swarms::On } else { Swarms::Off }
    }

    /// What may leave to peers.
    pub fn uploads(&self) -> Result<UploadLimits, ConfigError> {
        Ok(UploadLimits {
            all: upload("peers.upload", self.upload.as_deref())?,
            each: upload("peers.upload-per-peer", self.upload_per_peer.as_deref())?,
        })
    }
}

fn upload(key: &'static str, text: Option<&str>) -> Result<Option<u64>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |source| ConfigError::Value { key, source };
    match parse_rate(text).map_err(wrong)? {
        // With less, a peer would take the wait for a stall and go elsewhere.
        ..LEAST_UPLOAD => Err(wrong(BadAmount::TooLow(text.to_owned(), "64 KiB/s"))),
        rate => Ok(Some(rate)),
    }
}

fn written(text: Option<&String>, default: &str) -> (String, LimitSource) {
    text.map_or_else(|| (default.to_owned(), LimitSource::Default), |text| (text.clone(), LimitSource::File))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_the_known_ones() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("eddy.toml"), "[cache]\nqouta = \"1 GiB\"\n").unwrap();
        let message = load(home.path(), None).unwrap_err().to_string();
        assert!(message.contains("qouta") && message.contains("quota"), "{message}");
    }

    #[test]
    fn uploads_are_limited_by_rates_that_no_peer_takes_for_a_stall() {
        let home = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            std::fs::write(home.path().join("eddy.toml"), format!("[peers]\n{text}\n")).unwrap();
            load(home.path(), None)
        };
        let uploads = load("upload = \"20 MB/s\"\nupload-per-peer = \"64KiB/s\"").unwrap().peers.uploads().unwrap();
        assert_eq!(uploads, UploadLimits { all: Some(20_000_000), each: Some(64 * 1024) });
        for wrong in ["upload = \"20 MB\"", "upload-per-peer = \"63 KiB/s\"", "upload = \"0 B/s\""] {
            let message = load(wrong).unwrap_err().to_string();
            assert!(message.contains("peers.upload") && message.contains("/s"), "{message}");
        }
    }

    #[test]
    fn who_fetches_and_serves_takes_part_in_swarms_unless_told_not_to() {
        let plain = PeerSettings::default();
        assert_eq!(plain.swarms(), Swarms::On);
        for refused in [
            PeerSettings { swarm: Some(false), ..plain.clone() },
            PeerSettings { fetch: Some(false), swarm: Some(true), ..plain.clone() },
            PeerSettings { serve: Some(false), ..plain },
        ] {
            assert_eq!(refused.swarms(), Swarms::Off, "{refused:?}");
        }
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path(), None).unwrap(), Settings::default());
        assert!(load(home.path(), Some(&home.path().join("missing.toml"))).is_err());
    }
}
