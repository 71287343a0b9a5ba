//! What the administrator set: defaults < file < environment < flags.
//!
//! The file is `eddy.toml` in the node's home; unknown keys are errors with a suggestion. Every key has its unit in its value
//! ("64 GiB", "30 %"), so that nobody has to guess.

use crate::origin::{OriginConfig, Proxies};
use eddy_cache::{Quota, Reserve, StoreConfig};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Bytes of the largest configuration file that is read.
const MAX_FILE: u64 = 1024 * 1024;

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
    /// What the administrator set.
    pub settings: Settings,
}

/// The configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The cache.
    pub cache: CacheSettings,
    /// The peers.
    pub peers: PeerSettings,
    /// The way to origins.
    pub origin: OriginSettings,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CacheSettings {
    /// Most that the cache may take: "50 GiB" or "20 %" of the file system. Default: 20 %.
    pub quota: Option<String>,
    /// What is always left free on the file system: "2 GiB" or "5 %". Default: the larger of 2 GiB and 5 %.
    pub reserve: Option<String>,
}

/// `[peers]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PeerSettings {
    /// Where peers are served, over UDP: "0.0.0.0:7717". Port 0 takes any free one. Default: every address, any port.
    pub listen: Option<SocketAddr>,
    /// Whether neighbours are found by multicast on the local network. Default: true.
    pub mdns: Option<bool>,
    /// Peers by address or name and port, besides those that are found: ["10.0.0.2:7717"].
    pub known: Vec<String>,
}

/// `[origin]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct OriginSettings {
    /// A PEM file with certificates that are trusted besides the platform's.
    pub extra_roots: Option<PathBuf>,
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
    /// A value does not fit its key.
    #[error("{key}: `{value}` is not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What would be.
        expected: &'static str,
    },
}

/// Reads the settings: those of `file`, or of `eddy.toml` in the home if it is there, or the defaults.
pub fn load(home: &Path, file: Option<&Path>) -> Result<Settings, ConfigError> {
    let path = file.map_or_else(|| home.join("eddy.toml"), Path::to_path_buf);
    let read = |source| ConfigError::Read { path: path.clone(), source };
    let text = match std::fs::metadata(&path) {
        Ok(found) if found.len() > MAX_FILE => {
            return Err(ConfigError::Parse { path, message: "the file is larger than 1 MiB".to_owned() });
        }
        Ok(_) => std::fs::read_to_string(&path).map_err(read)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => String::new(),
        Err(error) => return Err(read(error)),
    };
    let settings: Settings =
        toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.clone(), message: error.to_string() })?;
    settings.check()?;
    Ok(settings)
}

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        self.quota()?;
        self.reserve()?;
        Ok(())
    }

    /// The cache's quota.
    pub fn quota(&self) -> Result<Quota, ConfigError> {
        let Some(text) = &self.cache.quota else { return Ok(Quota::Percent(20)) };
        let wrong = || ConfigError::Value {
            key: "cache.quota",
            value: text.clone(),
            expected: "a size (\"50 GiB\") or a share (\"20 %\")",
        };
        match parse_amount(text).ok_or_else(wrong)? {
            Amount::Bytes(bytes) => Ok(Quota::Bytes(bytes)),
            Amount::Percent(percent) => Ok(Quota::Percent(percent)),
        }
    }

    /// What the cache leaves free.
    pub fn reserve(&self) -> Result<Reserve, ConfigError> {
        let Some(text) = &self.cache.reserve else { return Ok(Reserve::default()) };
        let wrong = || ConfigError::Value { key: "cache.reserve", value: text.clone(), expected: "a size (\"2 GiB\")" };
        match parse_amount(text).ok_or_else(wrong)? {
            Amount::Bytes(bytes) => Ok(Reserve::Bytes(bytes)),
            Amount::Percent(_) => Err(wrong()),
        }
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
            proxies: Proxies::Environment,
            ..OriginConfig::default()
        }
    }
}

/// A size or a share.
#[derive(Debug, PartialEq, Eq)]
enum Amount {
    Bytes(u64),
    Percent(u8),
}

/// Parses "64 MiB", "1.5 GB", "4096" or "20 %".
fn parse_amount(text: &str) -> Option<Amount> {
    let text = text.trim();
    if let Some(share) = text.strip_suffix('%') {
        let percent: u8 = share.trim().parse().ok()?;
        return (1..=100).contains(&percent).then_some(Amount::Percent(percent));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)? * factor as f64;
    (bytes <= u64::MAX as f64).then_some(Amount::Bytes(bytes as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_carry_their_unit() {
        assert_eq!(parse_amount("64 MiB"), Some(Amount::Bytes(64 << 20)));
        assert_eq!(parse_amount("1.5GB"), Some(Amount::Bytes(1_500_000_000)));
        assert_eq!(parse_amount("20 %"), Some(Amount::Percent(20)));
        for wrong in ["", "x", "0 %", "101 %", "5 parsecs", "-1 GiB", "1e99 TiB"] {
            assert_eq!(parse_amount(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_the_known_ones() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("eddy.toml"), "[cache]\nqouta = \"1 GiB\"\n").unwrap();
        let message = load(home.path(), None).unwrap_err().to_string();
        assert!(message.contains("qouta") && message.contains("quota"), "{message}");
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(home.path(), None).unwrap(), Settings::default());
        assert!(load(home.path(), Some(&home.path().join("missing.toml"))).is_err());
    }
}
