//! Which tools there are.

use clap::ValueEnum;

/// A tool that can fetch through the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// Debian's packages; falls back to the origin by itself
    Apt,
    /// Python's packages
    Pip,
    /// Node's packages
    Npm,
    /// Rust's packages
    Cargo,
}

impl Tool {
    pub(super) const ALL: [Self; 4] = [Self::Apt, Self::Pip, Self::Npm, Self::Cargo];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Pip => "pip",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
        }
    }
}
