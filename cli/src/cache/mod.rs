//! `eddy cache`: what is stored here.
//!
//! | module | does |
//! |---|---|
//! | `choice` | which entries a command means: names, conditions |
//! | `walk` | reads lists of any length page by page |
//! | `info`, `ls`, `show` | look |
//! | `set` | the limits |
//! | `verify` | hashes what is held |
//! | `export`, `import` | packages |
//! | `pin` | what is never evicted |
//! | `plan` | a plan for people |
//! | `removal` | `rm` and `clear`: the plan first, then its execution |

mod choice;
mod export;
mod import;
mod info;
mod ls;
mod pin;
mod plan;
mod removal;
mod set;
mod show;
pub(crate) mod verify;
pub(crate) mod walk;

use crate::failure::Failure;
use crate::setting::Setting;
use clap::Subcommand;

/// Characters of an id that a list shows; a beginning of an id is enough to name an entry.
const SHORT_ID: usize = 12;

/// `eddy cache ...`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Show how large it is and may be
    Info,
    /// List what it holds
    Ls(ls::LsArgs),
    /// Show entries in full
    Show(show::ShowArgs),
    /// Set how much it may hold, and for how long
    Set(set::SetArgs),
    /// Keep entries, whatever room is needed
    Pin(pin::PinArgs),
    /// Let entries go that were pinned
    Unpin(pin::PinArgs),
    /// Hash what is held, and set aside what is not what was written
    Verify(verify::VerifyArgs),
    /// Put entries into a signed package, to carry them to another machine
    Export(export::ExportArgs),
    /// Take in a package
    Import(import::ImportArgs),
    /// Remove entries
    Rm(removal::RmArgs),
    /// Remove everything that nothing uses and nobody pinned
    Clear(removal::ClearArgs),
}

pub(crate) async fn run(command: CacheCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        CacheCommand::Info => info::run(setting).await,
        CacheCommand::Ls(args) => ls::run(args, setting).await,
        CacheCommand::Show(args) => show::run(args, setting).await,
        CacheCommand::Set(args) => set::run(args, setting).await,
        CacheCommand::Pin(args) => pin::run(args, pin::Act::Pin, setting).await,
        CacheCommand::Unpin(args) => pin::run(args, pin::Act::Unpin, setting).await,
        CacheCommand::Verify(args) => verify::run(args, setting).await,
        CacheCommand::Export(args) => export::run(args, setting).await,
        CacheCommand::Import(args) => import::run(args, setting).await,
        CacheCommand::Rm(args) => removal::rm(args, setting).await,
        CacheCommand::Clear(args) => removal::clear(args, setting).await,
    }
}

/// The digits of an id that a list shows.
fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}
