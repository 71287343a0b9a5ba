//! How a command ends: the numbers are for ever, and scripts may compare them.

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done.
    Done,
    /// An error in eddy.
    Internal,
    /// The command line or what it names is wrong.
    Usage,
    /// The origin refuses, or answers what cannot be used.
    Origin,
    /// The origin cannot be reached.
    Network,
    /// The origin cannot prove who it is.
    Tls,
    /// The bytes are not what they should be.
    Integrity,
    /// The destination cannot be written.
    Destination,
    /// The store cannot be used.
    Store,
    /// The group or its secret.
    Group,
    /// The node of this machine cannot be asked.
    Daemon,
    /// What is named does not exist.
    NotFound,
    /// What is named cannot do that now.
    State,
    /// The configuration.
    Config,
    /// The job stands paused or is cancelled: somebody else decided so.
    Unfinished,
    /// Ctrl-C; what was fetched is kept.
    Interrupted,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 16] = [
        Self::Done,
        Self::Internal,
        Self::Usage,
        Self::Origin,
        Self::Network,
        Self::Tls,
        Self::Integrity,
        Self::Destination,
        Self::Store,
        Self::Group,
        Self::Daemon,
        Self::NotFound,
        Self::State,
        Self::Config,
        Self::Unfinished,
        Self::Interrupted,
    ];

    /// The exit status of the process.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Origin => 3,
            Self::Network => 4,
            Self::Tls => 5,
            Self::Integrity => 6,
            Self::Destination => 7,
            Self::Store => 8,
            Self::Group => 9,
            Self::Daemon => 10,
            Self::NotFound => 11,
            Self::State => 12,
            Self::Config => 13,
            Self::Unfinished => 14,
            // 128 + SIGINT, as shells do.
            Self::Interrupted => 130,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Origin => "origin",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Integrity => "integrity",
            Self::Destination => "destination",
            Self::Store => "store",
            Self::Group => "group",
            Self::Daemon => "daemon",
            Self::NotFound => "not-found",
            Self::State => "state",
            Self::Config => "config",
            Self::Unfinished => "unfinished",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for the manual.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "everything was done",
            Self::Internal => "an error in eddy",
            Self::Usage => "the command line or what it names is wrong",
            Self::Origin => "the origin refuses, or answers what cannot be used",
            Self::Network => "the origin cannot be reached",
            Self::Tls => "the origin cannot prove who it is",
            Self::Integrity => "the bytes are not what they should be",
            Self::Destination => "the destination cannot be written",
            Self::Store => "the store cannot be used",
            Self::Group => "no group, a wrong secret or code, or not let in",
            Self::Daemon => "the node of this machine cannot be asked",
            Self::NotFound => "no such job or entity",
            Self::State => "the job cannot do that in its state",
            Self::Config => "the configuration is wrong",
            Self::Unfinished => "the job was paused or cancelled by somebody else",
            Self::Interrupted => "interrupted; what was fetched is kept",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;
    use std::collections::HashSet;

    #[test]
    fn numbers_and_names_are_unique() {
        let numbers: HashSet<_> = Exit::ALL.iter().map(|exit| exit.number()).collect();
        let names: HashSet<_> = Exit::ALL.iter().map(|exit| exit.name()).collect();
        assert_eq!((numbers.len(), names.len()), (Exit::ALL.len(), Exit::ALL.len()));
    }
}
