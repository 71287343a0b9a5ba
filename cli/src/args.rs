//! What may be typed: the one source of help, completions and manual pages. No side effects.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// eddy fetches files and shares them with the machines around you, every byte verified.
#[derive(Debug, Parser)]
#[command(name = "eddy", version, max_term_width = 100, arg_required_else_help = true, subcommand_required = true)]
#[command(
    after_help = "The main thing:  eddy get https://example.org/file.iso\nWhat an error means:  eddy explain CODE\n\
                  Coming from BITS:     eddy help bits"
)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What applies to every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory of the node: its store, key, group and socket
    #[arg(long, global = true, env = "EDDY_HOME", value_name = "DIR", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Control socket of the node [default: in the home; else that of the machine's service]
    #[arg(long, global = true, env = "EDDY_SOCKET", value_name = "PATH", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Configuration file [default: eddy.toml in the home]
    #[arg(long, global = true, env = "EDDY_CONFIG", value_name = "FILE", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Write JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Write sizes as exact bytes
    #[arg(long, global = true)]
    pub bytes: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log to standard error; again for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch files
    Get(crate::get::GetArgs),
    /// See and steer jobs
    Job(JobArgs),
    /// Show what happened to jobs, and what happens
    Events(crate::events::EventsArgs),
    /// Say what a job waits for, and what would change it
    Why(crate::why::WhyArgs),
    /// See and clear what is stored here
    Cache(CacheArgs),
    /// See the machines that this one shares with
    Peers(PeersArgs),
    /// Make, join or leave the group of machines that share
    Group(GroupArgs),
    /// Let package managers fetch through this node
    Gateway(GatewayArgs),
    /// Show where the bytes came from, to the byte
    Report(crate::report::ReportArgs),
    /// Show whether a node runs, and what it does
    Status,
    /// See and change what the configuration file says
    Config(crate::config::ConfigArgs),
    /// Start and stop the daemon
    Service(crate::service::ServiceArgs),
    /// Run a node until it is stopped
    Daemon(crate::daemon::DaemonArgs),
    /// Look for what is wrong, and mend it
    Doctor(crate::doctor::DoctorArgs),
    /// Explain an error code
    Explain(crate::explain::ExplainArgs),
    /// Show what does here what a verb of BITS does there; typed as `eddy help bits`
    #[command(hide = true)]
    Bits,
    /// Print completions for a shell
    Completions(crate::manual::CompletionsArgs),
    /// Write the manual pages
    Man(crate::manual::ManArgs),
}

/// `eddy job`.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: crate::job::JobCommand,
}

/// `eddy cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: crate::cache::CacheCommand,
}

/// `eddy peers`.
#[derive(Debug, Args)]
pub struct PeersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: crate::peers::PeersCommand,
}

/// `eddy group`.
#[derive(Debug, Args)]
pub struct GroupArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: crate::group::GroupCommand,
}

/// `eddy gateway`.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: crate::gateway::GatewayCommand,
}
