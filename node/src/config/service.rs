//! `[service]`: the daemon as a service of the machine.

use crate::control::{Door, Users};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the service of the whole machine listens when nobody says otherwise; clients look there.
pub const SYSTEM_SOCKET: &str = "/run/eddy/control.sock";

/// `[service]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ServiceSettings {
    /// Whom the daemon serves: "own" for its own user and root, "all" for every user of this machine, each with jobs and files of their
    /// own. Default: "own".
    pub users: Serves,
    /// A group of the system whose members administrate the daemon, besides its own user and root. Default: none.
    pub administrators: Option<String>,
    /// Where the daemon listens. Default: in its home; with users = "all", /run/eddy/control.sock.
    pub socket: Option<PathBuf>,
}

/// Whom the daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Serves {
    /// Its own user, and root.
    #[default]
    Own,
    /// Every user of this machine.
    All,
}

impl ServiceSettings {
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
