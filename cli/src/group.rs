//! `eddy group`: the group of machines that share.

use crate::failure::Failure;
use crate::setting::Setting;
use clap::Subcommand;
use eddy_wire::catalogue::ErrorCode;
use std::path::PathBuf;

/// `eddy group ...`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a new group and print its secret
    Init,
    /// Join a group by its secret
    Join {
        /// A file with the secret, or - for standard input; a secret on the command line would show in the process list
        file: PathBuf,
    },
    /// Show the group
    Show {
        /// Print the secret, too: whoever has it is in the group
        #[arg(long)]
        secret: bool,
    },
    /// Leave the group
    Leave,
}

pub(crate) async fn run(_command: GroupCommand, _setting: &Setting) -> Result<(), Failure> {
    Err(ErrorCode::GroupMissing.into())
}
