//! `eddy gateway`: lets a tool fetch through this machine's node, and takes that back bit by bit.
//!
//! | module | idea |
//! |---|---|
//! | `change` | what is written for a tool, shown first, and what stood there before |
//! | `files` | files read, and put in place whole or not at all |
//! | `undo` | how it is taken back: bit by bit, or by eddy's own lines where others have written since |
//! | `hunks`, `said` | eddy's lines taken out of a text (pure), and whether the rest says what it said |
//! | `tool` | which tools there are |
//! | `apt`, `pip`, `npm`, `cargo`, `docker`, `containerd`, `dnf`, `nix`, `conda`, `huggingface` | where each keeps its origins, and what leads it here |
//! | `ini` | settings as Python reads them, and how one of them is changed |
//! | `ask` | the few questions that are asked while a change is made |
//! | `reach` | whether a daemon reads what is written, and serves it |

mod apt;
mod ask;
mod cargo;
mod change;
mod conda;
mod containerd;
mod dnf;
mod docker;
mod files;
mod huggingface;
mod hunks;
mod ini;
mod nix;
mod npm;
mod pip;
mod reach;
mod said;
mod tool;
mod undo;

use crate::config::whole;
use crate::failure::Failure;
use crate::setting::{Format, Setting, write};
use change::{Change, Done, FileChange};
use clap::{Args, Subcommand};
use eddy_node::config::gateway::DEFAULT_LISTEN;
use eddy_node::control::Client;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tool::Tool;
use undo::{IfChanged, Undoing};

/// What to do with the gateway.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Let a tool fetch through this node
    Enable(EnableArgs),
    /// Take that back: every file as it was, but for what others have written there since
    Disable(DisableArgs),
    /// Show which tools fetch through this node
    Ls,
    /// See whether the gateway answers for a tool
    Test(ToolArgs),
}

/// A tool.
#[derive(Debug, Args)]
pub struct ToolArgs {
    /// The tool
    #[arg(value_enum)]
    tool: Tool,
}

/// `eddy gateway disable`.
#[derive(Debug, Args)]
pub struct DisableArgs {
    /// The tool
    #[arg(value_enum)]
    tool: Tool,
    /// Where eddy's own lines have changed since, put the whole file back as it was before enable, and save a copy beside it
    #[arg(long)]
    force: bool,
}

/// `eddy gateway enable`.
#[derive(Debug, Args)]
pub struct EnableArgs {
    /// The tool
    #[arg(value_enum)]
    tool: Tool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The origin, instead of the one in the tool's present configuration
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Change the files of a system that lies under this folder: an image that is being made, say. For docker, containerd, dnf, nix, conda, huggingface
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// A tool in a listing.
#[derive(Debug, Serialize)]
struct Row {
    tool: &'static str,
    enabled: bool,
    mounts: Vec<String>,
}

/// What `enable` does or would do.
#[derive(Debug, Serialize)]
struct Enabled {
    tool: &'static str,
    written: bool,
    mounts: Vec<String>,
    files: Vec<FileChange>,
}

/// A mount that answers.
#[derive(Debug, Serialize)]
struct Tested<'a> {
    path: &'a str,
    origin: &'a str,
    status: u16,
}

pub(crate) async fn run(command: GatewayCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        GatewayCommand::Enable(args) => enable(&args, setting).await,
        GatewayCommand::Disable(args) => disable(&args, setting),
        GatewayCommand::Ls => list(setting),
        GatewayCommand::Test(args) => test(args.tool, setting).await,
    }
}

async fn enable(args: &EnableArgs, setting: &Setting) -> Result<(), Failure> {
    let (folder, tool) = (change::folder(setting), args.tool.name());
    let absolute = |root: &PathBuf| std::path::absolute(root).map_err(|error| refused(format!("--root: {error}")));
    let root = args.root.as_ref().map(absolute).transpose()?;
    let root = root.as_deref();
    if let Some(done) = Done::read(&folder, args.tool)? {
        done.is_of(root)?;
        done.leads_to(&base(setting)?)?;
        if !done.stands()? {
            return Err(refused(format!("what was written for {tool} has changed since; disable it first")));
        }
        setting.note(&format!("{tool} fetches through this node already"));
        let view = Enabled { tool, written: false, mounts: named(&done.mounts), files: Vec::new() };
        return setting.answer(&view, String::new);
    }
    let base = base(setting)?;
    let change = args.tool.plan(&base, (args.origin.as_deref(), root), setting).await?.anchored()?;
    // What the settings do not take would end every later command, and the daemon.
    change.check(&folder, &whole(setting)?, &base)?;
    let view = Enabled { tool, written: !args.dry_run, mounts: named(&change.mounts), files: change.files(&folder) };
    let people = || view.files.iter().map(FileChange::shown).collect();
    if args.dry_run {
        setting.answer(&view, people)?;
        setting.note("nothing was changed");
        return Ok(());
    }
    // An image that is being made has its own daemon, later.
    let daemon = if args.root.is_none() { reach::daemon(setting).await? } else { None };
    if setting.format == Format::People {
        setting.answer(&view, people)?;
    }
    change.make((&base, root), &folder, &setting.hand())?;
    match &daemon {
        Some(client) => is_served(client, args.tool, setting).await?,
        None if args.root.is_some() => setting.note("done"),
        None => {
            let start = setting.start_command();
            setting.note(&format!("done; no daemon runs here that could serve it, start one: {start}"));
        }
    }
    match args.tool {
        Tool::Huggingface => setting.note(&huggingface::hint(&base)),
        Tool::Npm => setting.note(npm::hint()),
        _ => {}
    }
    // For programs it is an answer only when it is true.
    if setting.format == Format::Json { setting.answer(&view, String::new) } else { Ok(()) }
}

/// Waits until what was written is served; what is not is taken back, for most tools would find nobody.
async fn is_served(client: &Client, tool: Tool, setting: &Setting) -> Result<(), Failure> {
    let folder = change::folder(setting);
    let Some(done) = Done::read(&folder, tool)? else { return Ok(()) };
    let Err(why) = reach::served(client, &done.mounts).await else {
        setting.note("done; the daemon serves it");
        return Ok(());
    };
    done.undo(&folder)?;
    let tool = tool.name();
    Err(refused(format!("the daemon does not serve it ({why}), so every file of {tool} is as it was")))
}

/// Mounts for people.
fn named(mounts: &[Mount]) -> Vec<String> {
    mounts.iter().map(|mount| format!("{} -> {}", mount.path, mount.origin)).collect()
}

fn disable(args: &DisableArgs, setting: &Setting) -> Result<(), Failure> {
    let (folder, tool) = (change::folder(setting), args.tool.name());
    let Some(done) = Done::read(&folder, args.tool)? else {
        setting.note(&format!("{tool} does not fetch through this node"));
        return Ok(());
    };
    let undoing = Undoing::of(done, if args.force { IfChanged::Overwrite } else { IfChanged::Refuse })?;
    for file in undoing.overwritten() {
        setting.note(&format!("overwrites {}", file.shown().trim_end()));
    }
    let said = undoing.carry_out(&folder)?;
    said.iter().for_each(|line| setting.note(line));
    if said.is_empty() {
        setting.note(&format!("every file of {tool} is as it was"));
    } else {
        setting.note(&format!("{tool} no longer fetches through this node"));
    }
    Ok(())
}

fn list(setting: &Setting) -> Result<(), Failure> {
    let folder = change::folder(setting);
    let mut rows = Vec::new();
    for tool in Tool::ALL {
        let done = Done::read(&folder, tool)?;
        let mounts = done.as_ref().map(|done| named(&done.mounts)).unwrap_or_default();
        rows.push(Row { tool: tool.name(), enabled: done.is_some(), mounts });
    }
    setting.answer(&rows, || {
        let line = |row: &Row| {
            let word = if row.enabled { "yes" } else { "no" };
            let mounts: String = row.mounts.iter().map(|mount| format!("        {mount}\n")).collect();
            format!("{:<12}{word}\n{mounts}", row.tool)
        };
        rows.iter().map(line).collect()
    })
}

async fn test(tool: Tool, setting: &Setting) -> Result<(), Failure> {
    let folder = change::folder(setting);
    let Some(done) = Done::read(&folder, tool)? else {
        let tool = tool.name();
        let remedy = format!("Let it do so: eddy gateway enable {tool}");
        return Err(with_remedy(format!("{tool} does not fetch through this node"), remedy));
    };
    if !done.stands()? {
        return Err(refused(format!(
            "what was written for {} has changed since; disable it, then enable it again",
            tool.name()
        )));
    }
    let base = base(setting)?;
    // The tool asks where its files lead, which is what has to answer.
    done.leads_to(&base)?;
    let mut rows = Vec::new();
    for mount in &done.mounts {
        let url = format!("{base}{}/", mount.path);
        let status = ask::status(&url).await.map_err(|error| {
            let remedy = format!("Start a daemon, if none runs: {}", setting.start_command());
            with_remedy(format!("the gateway does not answer at {base} ({error})"), remedy)
        })?;
        // What an origin answers for its root is its own business; that nothing is mounted, or nobody is there, is ours.
        if matches!(status, 404 | 502 | 504) && !ask::is_from_origin(&url).await {
            return Err(refused(format!(
                "the gateway answers {status} for {}: what the daemon logs says why",
                mount.path
            )));
        }
        let row = Tested { path: &mount.path, origin: &mount.origin, status };
        if setting.format == Format::People {
            write(&format!("{} -> {}: answered {status}\n", row.path, row.origin))?;
        }
        rows.push(row);
    }
    if setting.format == Format::Json { setting.answer(&rows, String::new) } else { Ok(()) }
}

/// The gateway's own URL.
fn base(setting: &Setting) -> Result<String, Failure> {
    let listen = whole(setting)?.gateway.listen.unwrap_or(DEFAULT_LISTEN);
    if listen.port() == 0 {
        return Err(refused("gateway.listen has port 0: tools need a port that stays".to_owned()));
    }
    Ok(format!("http://{}", reached(listen)))
}

/// Where tools of this machine reach who listens there: an address that means every one of this machine's is none to connect to.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn refused(why: String) -> Failure {
    Failure::new(ErrorCode::BadConfig, why)
}

/// The same with what to do about it.
fn with_remedy(why: String, remedy: String) -> Failure {
    Problem { remedy, ..Problem::new(ErrorCode::BadConfig, why) }.into()
}

pub(crate) use change::Mount;

impl Tool {
    async fn plan(
        self,
        base: &str,
        (origin, root): (Option<&str>, Option<&Path>),
        setting: &Setting,
    ) -> Result<Change, Failure> {
        let system = root.unwrap_or(Path::new("/"));
        match self {
            Self::Apt | Self::Pip | Self::Npm | Self::Cargo if root.is_some() => {
                Err(refused(format!("{} is asked where its files are; --root means nothing to it", self.name())))
            }
            Self::Docker => docker::plan(base, origin, system),
            Self::Containerd => containerd::plan(base, origin, system),
            Self::Dnf => dnf::plan(base, origin, system),
            Self::Nix => nix::plan(base, origin, root),
            Self::Conda => conda::plan(base, origin, root),
            Self::Huggingface => huggingface::plan(base, origin, root),
            Self::Apt => apt::plan(base, origin, setting),
            Self::Pip => pip::plan(base, origin).await,
            Self::Npm => npm::plan(base, origin),
            Self::Cargo => cargo::plan(base, origin).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_node::config::Settings;
    use eddy_node::owner::Hand;

    #[test]
    fn a_tool_that_is_led_here_by_a_home_that_was_wiped_is_not_mounted_on_the_gateway_itself() {
        let (root, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (folder, base, settings) = (home.path().join("gateway"), "http://127.0.0.1:7718", Settings::default());
        let of = |tool: Tool, origin: Option<&str>| match tool {
            Tool::Docker => docker::plan(base, origin, root.path()),
            Tool::Nix => nix::plan(base, origin, Some(root.path())),
            _ => conda::plan(base, origin, Some(root.path())),
        };
        for tool in [Tool::Docker, Tool::Nix, Tool::Conda] {
            let first = of(tool, None).unwrap();
            first.check(&folder, &settings, base).unwrap();
            first.make((base, Some(root.path())), &folder, &Hand::Own).unwrap();
            std::fs::remove_dir_all(&folder).unwrap();
            let again = of(tool, None).unwrap().check(&folder, &settings, base);
            assert!(again.is_err_and(|why| format!("{why:?}").contains("--origin")), "{}", tool.name());
            of(tool, Some("https://h")).unwrap().check(&folder, &settings, base).unwrap();
        }
    }

    #[test]
    fn tools_are_told_an_address_that_they_can_connect_to() {
        for (listen, reached_at) in [
            ("0.0.0.0:7718", "127.0.0.1:7718"),
            ("[::]:7718", "[::1]:7718"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("127.0.0.2:7718", "127.0.0.2:7718"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()).to_string(), reached_at);
        }
    }
}
