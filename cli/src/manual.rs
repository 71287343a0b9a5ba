//! `eddy completions` and `eddy man`: made from what may be typed.

use crate::args::Cli;
use crate::failure::Failure;
use crate::setting::write;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use eddy_wire::catalogue::ErrorCode;
use std::path::PathBuf;

/// `eddy completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `eddy man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write one page for each command; without it, the main page goes to standard output
    pub directory: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "eddy", &mut text);
    write(&String::from_utf8_lossy(&text))
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(directory) = &args.directory {
        return clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
            Failure::new(ErrorCode::DestinationNotWritable, format!("{}: {error}", directory.display()))
        });
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Failure::internal)?;
    write(&String::from_utf8_lossy(&text))
}
