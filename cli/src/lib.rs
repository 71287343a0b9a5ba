//! The command line of eddy: parse, then meaning, then run.
//!
//! | module | does |
//! |---|---|
//! | [`args`] | what may be typed; no side effects |
//! | `setting` | what the global options mean: home, socket, how to write |
//! | `get`, `job`, `why`, `events`, `cache`, `peers`, `group`, `gateway`, `report`, `status`, `config`, `service`, `doctor`, `daemon`, `explain`, `manual` | one noun each |
//! | `link` | the way to a node: the daemon, or one inside this command |
//! | `follow` | a job on its way, for people |
//! | `text` | sizes, times, tables; what comes from outside is neutralised |
//! | `service::manager` | what a service manager hands over, and what it is told |
//! | `failure` | how a command fails, and with which exit status |
//!
//! Everything that a node knows comes through its control API, so that any other program could do the same.

pub mod args;
mod bits;
mod cache;
mod config;
mod daemon;
mod doctor;
mod events;
mod explain;
mod failure;
mod follow;
mod gateway;
mod get;
mod group;
mod inside;
mod job;
mod link;
mod manual;
mod peers;
mod report;
mod seen;
mod service;
mod setting;
mod status;
mod text;
mod why;

use args::{Cli, Command};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use failure::Failure;
use setting::Setting;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    match words.as_slice() {
        // Alone, the name of the program asks what it can do.
        [] | [_] => words = vec!["eddy".into(), "--help".into()],
        // A table that is no command's help.
        [_, help, what, ..] if help == "help" && what == "bits" => drop(words.remove(1)),
        _ => {}
    }
    let parsed = Cli::try_parse_from(&words);
    let cli = match parsed {
        Ok(cli) => cli,
        // Help and version are no errors; clap knows where each belongs. If even that cannot be written, there is no way
        // left to say so.
        Err(error) => {
            let error = with_whole_usage(error, &words);
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let setting = match Setting::of(&cli.global) {
        Ok(setting) => setting,
        Err(failure) => return failure.report(setting::Format::People),
    };
    match run(cli.command, &setting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.with_start(&setting.start_command()).report(setting.format),
    }
}

/// An error whose usage is the whole command's. clap's own repeats what was given, and takes options that the environment gives for
/// ones that have to be typed.
fn with_whole_usage(mut error: clap::Error, words: &[OsString]) -> clap::Error {
    if error.get(ContextKind::Usage).is_none() {
        return error;
    }
    let mut command = Cli::command();
    command.build();
    let understood = Cli::command().ignore_errors(true).try_get_matches_from(words);
    let mut within = understood.as_ref().ok().and_then(|matches| matches.subcommand());
    while let Some((name, matches)) = within {
        if let Some(inner) = command.find_subcommand(name).cloned() {
            command = inner;
        }
        within = matches.subcommand();
    }
    error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    error
}

fn run(command: Command, setting: &Setting) -> Result<(), Failure> {
    // What needs no node needs no runtime.
    match command {
        Command::Explain(args) => return explain::run(&args, setting),
        Command::Bits => return bits::run(setting),
        Command::Completions(args) => return manual::completions(&args),
        Command::Man(args) => return manual::man(&args),
        _ => {}
    }
    // Before there are threads.
    let manager = match command {
        Command::Daemon(_) => service::Manager::of_environment()?,
        _ => service::Manager::default(),
    };
    setting.start_log(matches!(command, Command::Daemon(_)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::internal)?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Get(args) => get::run(args, setting).await,
            Command::Events(args) => events::run(args, setting).await,
            Command::Why(args) => why::run(args, setting).await,
            Command::Daemon(args) => daemon::run(args, setting, &manager).await,
            Command::Job(args) => job::run(args.command, setting).await,
            Command::Cache(args) => cache::run(args.command, setting).await,
            Command::Peers(args) => peers::run(args.command, setting).await,
            Command::Group(args) => {
                if !matches!(args.command, group::GroupCommand::Show { .. } | group::GroupCommand::Ls) {
                    setting.own_home()?;
                }
                group::run(args.command, setting).await
            }
            Command::Gateway(args) => gateway::run(args.command, setting).await,
            Command::Report(args) => report::run(args, setting).await,
            Command::Config(args) => config::run(args.command, setting).await,
            Command::Service(args) => service::run(args.command, setting).await,
            Command::Doctor(args) => doctor::run(args, setting).await,
            Command::Status => status::run(setting).await,
            Command::Explain(_) | Command::Bits | Command::Completions(_) | Command::Man(_) => Ok(()),
        }
    });
    // A name that is being resolved cannot be interrupted; nobody waits for it.
    runtime.shutdown_background();
    outcome
}
