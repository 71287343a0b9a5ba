//! `eddy group`: the group of machines that share.
//!
//! The secret goes from machine to machine by whatever way the user trusts; it is never an argument, where every user of
//! the machine could read it in the list of processes.

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::facts;
use clap::Subcommand;
use eddy_node::group::{Group, GroupError, Overwrite};
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Bytes that are read where a secret should stand; one has about a hundred.
const MAX_SECRET: u64 = 4096;

/// `eddy group ...`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a new group and print its secret
    Init {
        /// Leave the group that this node is in
        #[arg(long)]
        force: bool,
    },
    /// Join a group by its secret
    Join {
        /// A file with the secret, or - for standard input
        file: PathBuf,
        /// Leave the group that this node is in
        #[arg(long)]
        force: bool,
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

/// The group as programs see it.
#[derive(Debug, Serialize)]
struct GroupView {
    /// Its id; nothing when the node is in none.
    group: Option<String>,
    /// Its secret, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

pub(crate) async fn run(command: GroupCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        GroupCommand::Init { force } => {
            make_home(setting)?;
            let group = Group::init(&setting.home, overwrite(force)).map_err(refused)?;
            setting.note(&format!("made group {}; on the other machines: eddy group join -", group.name()));
            tell_running(setting).await?;
            let secret = group.secret().text();
            setting.answer(&view(Some(&group), true), || format!("{}\n", secret.as_str()))
        }
        GroupCommand::Join { file, force } => {
            make_home(setting)?;
            let text = read_secret(&file)?;
            let group = Group::join(&setting.home, &text, overwrite(force)).map_err(refused)?;
            tell_running(setting).await?;
            setting.answer(&view(Some(&group), false), || format!("this node is in group {}\n", group.name()))
        }
        GroupCommand::Show { secret } => {
            let group = Group::load(&setting.home).map_err(refused)?.ok_or(ErrorCode::GroupMissing)?;
            let shown = view(Some(&group), secret);
            setting.answer(&shown, || {
                facts(&[
                    ("group", shown.group.clone().unwrap_or_default()),
                    ("secret", shown.secret.clone().unwrap_or_default()),
                ])
            })
        }
        GroupCommand::Leave => {
            if !Group::leave(&setting.home).map_err(refused)? {
                return Err(ErrorCode::GroupMissing.into());
            }
            tell_running(setting).await?;
            setting.answer(&view(None, false), || String::from("this node is in no group any more\n"))
        }
    }
}

fn view(group: Option<&Group>, with_secret: bool) -> GroupView {
    GroupView {
        group: group.map(|group| group.name()),
        secret: group.filter(|_| with_secret).map(|group| group.secret().text().to_string()),
    }
}

/// Reads the text of a secret from a file or from standard input.
fn read_secret(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_SECRET).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(MAX_SECRET).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(ErrorCode::GroupSecretInvalid, format!("{}: {error}", file.display()))),
    }
}

fn overwrite(force: bool) -> Overwrite {
    if force { Overwrite::Replace } else { Overwrite::Refuse }
}

/// Makes the home, for its owner alone (T-48).
fn make_home(setting: &Setting) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&setting.home);
    made.map_err(|error| Failure::new(ErrorCode::GroupUnusable, format!("{}: {error}", setting.home.display())))
}

/// A node reads its group when it starts.
async fn tell_running(setting: &Setting) -> Result<(), Failure> {
    if Link::to_running(setting)?.status().await.is_ok() {
        setting.note("the node that runs here hears of it when it is started again");
    }
    Ok(())
}

fn refused(error: GroupError) -> Failure {
    let code = match &error {
        GroupError::InAnother { .. } => ErrorCode::GroupExists,
        GroupError::Secret(_) => ErrorCode::GroupSecretInvalid,
        GroupError::File(_) | GroupError::Content { .. } => ErrorCode::GroupUnusable,
        GroupError::Random(_) | GroupError::Certificate(_) => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string())
}
