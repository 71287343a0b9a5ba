//! `[service]`: the daemon as a service of the machine.

use super::ConfigError;
use crate::control::{Door, Users};
use eddy_wire::api::amount::parse_age;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use utoipa::ToSchema;

/// Where the service of the whole machine listens when nobody says otherwise; clients look there.
pub const SYSTEM_SOCKET: &str = "/run/eddy/control.sock";

/// `[service]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServiceSettings {
    /// Whom the daemon serves: "own" for its own user and root, "all" for every user of this machine, each with jobs and files of their
    /// own. Default: "own".
    pub users: Serves,
    /// A group of the system whose members administrate the daemon, besides its own user and root. Default: none.
    pub administrators: Option<String>,
    /// Where the daemon listens. Default: in its home; with users = "all", /run/eddy/control.sock.
    #[schema(value_type = Option<String>)]
    pub socket: Option<PathBuf>,
    /// After how long a daemon ends that nobody has called and that has nothing to do: "10 min"; "none" for never. One in a group, or with
    /// a gateway, is there for others and never ends by itself. Default: "none".
    pub idle_exit: Option<String>,
}

/// Whom the daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Serves {
    /// Its own user, and root.
    #[default]
    Own,
    /// Every user of this machine.
    All,
}

impl ServiceSettings {
    /// After how much idleness the daemon ends.
    pub fn idle_exit(&self) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.idle_exit.as_deref().filter(|text| *text != "none") else { return Ok(None) };
        parse_age(text).map(Some).map_err(|source| ConfigError::Value { key: "service.idle-exit", source })
    }

    /// Whom the daemon serves, and who administrates it.
    #[must_use]
    pub fn users(&self) -> Users {
        match self.users {
            Serves::Own => Users::Own,
            Serves::All => Users::Several { administrators: self.administrators.clone() },
        }
    }

    /// Who can open its socket.
    #[must_use]
    pub fn door(&self) -> Door {
        match self.users {
            Serves::Own => Door::Closed,
            Serves::All => Door::Open,
        }
    }

    /// Where it listens, if not in its home.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match (&self.socket, self.users) {
            (Some(path), _) => Some(path),
            (None, Serves::All) => Some(Path::new(SYSTEM_SOCKET)),
            (None, Serves::Own) => None,
        }
    }
}
