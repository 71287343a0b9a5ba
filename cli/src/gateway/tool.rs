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
    /// Images of the docker engine; falls back to the registry by itself
    Docker,
    /// Images of containerd; falls back to the registry by itself
    Containerd,
    /// Fedora's packages; falls back to the origin by itself
    Dnf,
    /// Nix's packages; falls back to the origin by itself
    Nix,
    /// Conda's packages
    Conda,
    /// Models and data sets of Hugging Face's hub, in sessions that begin after it
    Huggingface,
}

impl Tool {
    pub(super) const ALL: [Self; 10] = [
        Self::Apt,
        Self::Pip,
        Self::Npm,
        Self::Cargo,
        Self::Docker,
        Self::Containerd,
        Self::Dnf,
        Self::Nix,
        Self::Conda,
        Self::Huggingface,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Pip => "pip",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Dnf => "dnf",
            Self::Nix => "nix",
            Self::Conda => "conda",
            Self::Huggingface => "huggingface",
        }
    }
}
