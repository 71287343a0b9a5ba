//! `eddy group`: the group of machines that share.
//!
//! The secret goes from machine to machine by whatever way the user trusts; it is never an argument, where every user of
//! the machine could read it in the list of processes. A join code may be one: it lets in one machine, for an hour.
//!
//! | module | commands |
//! |---|---|
//! | this one | `init`, `join`, `show`, `leave` |
//! | [`invites`] | `invite`, `invites`, and `join` with a code |
//! | [`members`] | `ls`, `revoke` |

mod invites;
mod members;

use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::facts;
use crate::text::units;
use clap::Subcommand;
use console::Term;
use eddy_node::config;
use eddy_node::group::{Group, GroupError, GroupSecret, Overwrite, Standing};
use eddy_node::identity::{Identity, IdentityError};
use eddy_wire::NodeId;
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Bytes that are read where a secret should stand; one has about a hundred.
const MAX_SECRET: u64 = 4096;

/// `eddy group ...`.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make a new group: of one secret, which is printed, or with a root key that stays here (--ca)
    Init {
        /// Keep a root key here, let machines in by invitation, be able to remove them
        #[arg(long)]
        ca: bool,
        /// Leave the group that this node is in
        #[arg(long)]
        force: bool,
    },
    /// Make an invitation and print its join code (groups made with --ca)
    Invite(invites::InviteArgs),
    /// See and take back invitations
    Invites {
        /// What to do.
        #[command(subcommand)]
        command: invites::InvitesCommand,
    },
    /// Join a group by its secret, or by a join code
    Join {
        /// A join code; or a file with a code or a secret, or - for standard input
        #[arg(value_name = "CODE|FILE")]
        what: PathBuf,
        /// Where to ask with a join code, as host:port, instead of where the code says
        address: Option<String>,
        /// Leave the group that this node is in
        #[arg(long)]
        force: bool,
    },
    /// Show the group, and how this node stands in it
    Show {
        /// Print the secret, too: whoever has it is in the group
        #[arg(long)]
        secret: bool,
    },
    /// List the members that this node certified
    Ls,
    /// Remove a member from the group (where the root key is)
    Revoke {
        /// Its node id, or the end of it, as `eddy group ls` and `eddy peers ls` show it
        node: String,
    },
    /// Leave the group
    Leave {
        /// Even if the group's root key is here and would be lost
        #[arg(long)]
        force: bool,
    },
}

/// The group as programs see it.
#[derive(Debug, Default, Serialize)]
struct GroupView {
    /// Its id; nothing when the node is in none.
    group: Option<String>,
    /// How membership comes about: `secret`, `ca` or `files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    /// Its secret, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// What this node is.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// Whether the root key is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<bool>,
    /// How it stands: `member`, `expired`, `removed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'static str>,
    /// Until when its certificate holds, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_unix_ms: Option<u64>,
    /// Until when it can certify others, unless it has the root key.
    #[serde(skip_serializing_if = "Option::is_none")]
    issues_until_unix_ms: Option<u64>,
    /// The epoch of the deny-list.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// The removed members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
}

pub(crate) async fn run(command: GroupCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        GroupCommand::Init { ca: false, force } => {
            make_home(setting)?;
            let group = Group::init(&setting.home, overwrite(force)).map_err(refused)?;
            setting.note(&format!("made group {}; on the other machines: eddy group join -", group.name()));
            tell_running(setting).await?;
            let view = GroupView { secret: secret_of(&group), ..view(&group, None) };
            setting.answer(&view, || view.secret.clone().unwrap_or_default() + "\n")
        }
        GroupCommand::Init { ca: true, force } => {
            make_home(setting)?;
            let node = Identity::load_or_create(&setting.home).map_err(unusable)?;
            let group = Group::init_ca(&setting.home, &node, overwrite(force)).map_err(refused)?;
            tell_running(setting).await?;
            setting.answer(&view(&group, Some(&node.node_id())), || {
                let name = group.name();
                format!(
                    "made group {name}; its root key is on this machine only. Next: eddy daemon, eddy group invite\n"
                )
            })
        }
        GroupCommand::Invite(args) => invites::invite(args, setting).await,
        GroupCommand::Invites { command } => invites::run(command, setting),
        GroupCommand::Join { what, address, force } => {
            make_home(setting)?;
            let text = read_secret(&what)?;
            let group = if invites::is_code(&text) {
                invites::join(&text, address.as_deref(), overwrite(force), setting).await?
            } else if address.is_some() {
                return Err(Failure::new(ErrorCode::BadUsage, "an address goes with a join code only"));
            } else {
                Group::join(&setting.home, &text, overwrite(force)).map_err(refused)?
            };
            tell_running(setting).await?;
            setting.answer(&view(&group, None), || format!("this node is in group {}\n", group.name()))
        }
        GroupCommand::Show { secret } => show(secret, setting),
        GroupCommand::Ls => members::list(setting),
        GroupCommand::Revoke { node } => members::revoke(&node, setting),
        GroupCommand::Leave { force } => {
            if !force && Group::load(&setting.home).is_ok_and(|group| group.is_some_and(|group| group.has_root())) {
                return Err(ErrorCode::RootWouldBeLost.into());
            }
            if !Group::leave(&setting.home).map_err(refused)? {
                return Err(ErrorCode::GroupMissing.into());
            }
            tell_running(setting).await?;
            setting.answer(&GroupView::default(), || String::from("this node is in no group any more\n"))
        }
    }
}

fn show(with_secret: bool, setting: &Setting) -> Result<(), Failure> {
    let (group, node) = the_group(setting)?;
    let secret = if with_secret { secret_of(&group) } else { None };
    let shown = GroupView { secret, ..view(&group, node.as_ref().map(Identity::node_id).as_ref()) };
    setting.answer(&shown, || {
        let is_root = shown.root == Some(true);
        let time = |at: Option<u64>| at.map(units::time).unwrap_or_default();
        facts(&[
            ("group", shown.group.clone().unwrap_or_default()),
            ("secret", shown.secret.clone().unwrap_or_default()),
            ("role", shown.role.clone().unwrap_or_default() + if is_root { ", with the root key" } else { "" }),
            ("standing", shown.standing.unwrap_or_default().to_owned()),
            ("certificate until", time(shown.until_unix_ms)),
            ("issues until", time(shown.issues_until_unix_ms)),
            ("deny-list epoch", shown.epoch.map(|epoch| epoch.to_string()).unwrap_or_default()),
            ("removed", shown.removed.join(" ")),
        ])
    })
}

/// The group that this node is in, and who the node is where that matters.
fn the_group(setting: &Setting) -> Result<(Group, Option<Identity>), Failure> {
    let settings = config::load(&setting.home, setting.config.as_deref());
    let settings = settings.map_err(|error| Failure::new(ErrorCode::BadConfig, error.to_string()))?;
    if let Some(files) = settings.pki() {
        return Ok((Group::from_files(&files).map_err(refused)?, None));
    }
    let group = Group::load(&setting.home).map_err(refused)?.ok_or(ErrorCode::GroupMissing)?;
    let node = if group.is_ca() { Some(Identity::load_or_create(&setting.home).map_err(unusable)?) } else { None };
    Ok((group, node))
}

fn secret_of(group: &Group) -> Option<String> {
    group.secret().map(|secret| secret.text().to_string())
}

fn view(group: &Group, node: Option<&NodeId>) -> GroupView {
    let mode = match (group.secret().is_some(), group.is_ca()) {
        (true, _) => "secret",
        (_, true) => "ca",
        (false, false) => "files",
    };
    let plain = GroupView { group: Some(group.name()), mode: Some(mode), ..GroupView::default() };
    let Some((member, issuing)) = group.lives() else { return plain };
    let known = group.denied().map(|denied| denied.known());
    let standing = node.map(|node| match group.standing(node) {
        Standing::Unlimited | Standing::Until(_) => "member",
        Standing::Expired(_) => "expired: join again with a new code",
        Standing::Removed => "removed",
    });
    GroupView {
        role: Some(group.role().to_string()),
        root: Some(group.has_root()),
        standing,
        until_unix_ms: Some(ms(member.end)),
        issues_until_unix_ms: issuing.map(|life| ms(life.end)),
        epoch: known.as_ref().map(|known| known.epoch),
        removed: known
            .and_then(|known| known.list().map(|list| list.removed.iter().map(|one| one.node.to_string()).collect()))
            .unwrap_or_default(),
        ..plain
    }
}

fn ms(unix: i64) -> u64 {
    u64::try_from(unix).unwrap_or(0).saturating_mul(1000)
}

/// Reads the text of a secret from a file or from standard input.
///
/// A secret that was given as the argument is refused, and not repeated: it would stand in a terminal or a log as well.
fn read_secret(file: &Path) -> Result<String, Failure> {
    if let Some(argument) = file.to_str() {
        if invites::is_code(argument) {
            return Ok(argument.to_owned());
        }
        if GroupSecret::is_like(argument) && !file.exists() {
            return Err(ErrorCode::GroupSecretExposed.into());
        }
    }
    let read = if file.as_os_str() == "-" {
        ask_for_secret().unwrap_or_else(|| text_of(io::stdin().lock()))
    } else {
        File::open(file).and_then(text_of)
    };
    match read {
        Ok(text) => Ok(text),
        Err(error) => {
            let is_no_text = error.kind() == ErrorKind::InvalidData;
            let code = if is_no_text { ErrorCode::GroupSecretInvalid } else { ErrorCode::GroupSecretUnreadable };
            Err(Failure::new(code, format!("{}: {error}", file.display())))
        }
    }
}

fn text_of(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

/// Asks for a line that the terminal does not show; `None` where nobody sits before one.
fn ask_for_secret() -> Option<io::Result<String>> {
    let screen = Term::stderr();
    let is_asked = io::stdin().is_terminal() && screen.is_term();
    is_asked.then(|| {
        screen.write_str("the group's secret, or a code to join it (not shown as you type): ")?;
        screen.read_secure_line()
    })
}

fn overwrite(force: bool) -> Overwrite {
    if force { Overwrite::Replace } else { Overwrite::Refuse }
}

/// Makes the home, for its owner alone (T-48).
fn make_home(setting: &Setting) -> Result<(), Failure> {
    setting
        .make_home()
        .map_err(|error| Failure::new(ErrorCode::GroupUnusable, format!("{}: {error}", setting.home.display())))
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
        GroupError::Code(_) => ErrorCode::JoinCodeInvalid,
        GroupError::NotAnIssuer { .. } | GroupError::NoRoot => ErrorCode::NotAnIssuer,
        GroupError::OutdatedDenyList { .. } => ErrorCode::DenyListOutdated,
        GroupError::NoAuthority => ErrorCode::GroupWithoutAuthority,
        GroupError::OtherGroup | GroupError::NotForThisNode | GroupError::Certified(_) | GroupError::NoLonger => {
            ErrorCode::JoinRefused
        }
        GroupError::File(_)
        | GroupError::Content { .. }
        | GroupError::Membership { .. }
        | GroupError::Denied(_)
        | GroupError::Pki(_)
        | GroupError::ManyRemoved
        | GroupError::Register(_) => ErrorCode::GroupUnusable,
        GroupError::Unkept(_) | GroupError::Random(_) | GroupError::Certificate(_) => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string())
}

fn unusable(error: IdentityError) -> Failure {
    Failure::new(ErrorCode::GroupUnusable, error.to_string())
}
