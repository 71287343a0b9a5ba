//! `eddy job create`, `add`, `auth`, `relocate`, `purge`: jobs made and changed from what is typed or read.

use super::{act_on_all, all, brief, set};
use crate::failure::Failure;
use crate::get::{PriorityArg, place};
use crate::link::Link;
use crate::setting::Setting;
use clap::Args;
use eddy_wire::api::check::{parse_ranges, read_ranges};
use eddy_wire::api::{
    Authorization, FileSpec, Finish, Forget, JobAction, JobChange, JobSpec, MoreFiles, PeerUse, Problem, RangeOrder,
    Relocation, Terms,
};
use eddy_wire::catalogue::ErrorCode;
use std::io::Read;
use std::path::PathBuf;

/// Bytes of the longest list of files that is read.
const MAX_LIST: u64 = 4 * 1024 * 1024;

/// `eddy job create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name
    pub name: String,
    /// What it fetches; more can be added later
    #[command(flatten)]
    pub files: Files,
    /// Whose turn it is when not everything fits: foreground, high, normal or low
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = PriorityArg::Normal)]
    pub priority: PriorityArg,
    /// Properties, as `eddy job set` takes them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Let it run at once
    #[arg(long)]
    pub start: bool,
    /// Put the files in place as soon as all are here, instead of waiting for `eddy job finish`
    #[arg(long)]
    pub auto: bool,
    /// Let the job wait while you are not logged on
    #[arg(long)]
    pub while_logged_on: bool,
}

/// `eddy job add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The job's id
    pub id: String,
    /// What is added.
    #[command(flatten)]
    pub files: Files,
}

/// Files as they are typed.
#[derive(Debug, Args)]
pub struct Files {
    /// A URL and the file to make of it
    #[arg(long = "file", num_args = 2, value_names = ["URL", "PATH"])]
    pub pairs: Vec<String>,
    /// A list: one URL and one path in each line, separated by a space, a tab or a comma; `-` for standard input
    #[arg(long, value_name = "LIST")]
    pub from: Option<PathBuf>,
    /// The digest that the file must have: sha256:HEX, also blake3, sha512, sha1, md5
    #[arg(long, value_name = "ALGORITHM:HEX")]
    pub digest: Option<String>,
    /// Fetch these ranges of the file only, one behind the other: 0-1023,4096- (first and last byte, counted from 0)
    #[arg(long, value_name = "RANGES")]
    pub range: Option<String>,
    /// Fetch nothing of the files but what `eddy job range` asks for, until they are whole
    #[arg(long, conflicts_with = "range")]
    pub on_demand: bool,
    /// Replace files that already stand at their destinations
    #[arg(long)]
    pub overwrite: bool,
}

/// `eddy job range`.
#[derive(Debug, Args)]
pub struct RangeArgs {
    /// The job's id
    pub id: String,
    /// The file, by its number in `eddy job files`
    pub file: u32,
    /// What is wanted: 0-1023,4096- (first and last byte, counted from 0); it may overlap with what was asked for before
    #[arg(value_name = "RANGES", required_unless_present = "position")]
    pub ranges: Option<String>,
    /// The byte that is wanted first, then what lies behind it
    #[arg(long, value_name = "BYTE")]
    pub position: Option<u64>,
    /// Leave the job at rest if it is
    #[arg(long)]
    pub no_start: bool,
}

/// `eddy job auth`.
#[derive(Debug, Args)]
pub struct AuthArgs {
    /// The job's id
    pub id: String,
    /// The user name; the password is read from standard input
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bearer", "forget"])]
    pub user: Option<String>,
    /// Never send the password itself, only hashes for which the origin has to ask (HTTP's scheme Digest)
    #[arg(long, requires = "user")]
    pub digest: bool,
    /// Read a token from standard input
    #[arg(long, conflicts_with = "forget")]
    pub bearer: bool,
    /// Forget what the job has
    #[arg(long)]
    pub forget: bool,
    /// For the proxy that the job names, instead of its origins
    #[arg(long, conflicts_with_all = ["bearer", "digest"])]
    pub proxy: bool,
}

/// `eddy job relocate`.
#[derive(Debug, Args)]
pub struct RelocateArgs {
    /// The job's id
    pub id: String,
    /// How the URLs begin
    #[arg(long, value_name = "PREFIX")]
    pub from: String,
    /// How they shall begin
    #[arg(long, value_name = "PREFIX")]
    pub to: String,
}

/// `eddy job purge`.
#[derive(Debug, Args)]
pub struct PurgeArgs {
    /// Really do it
    #[arg(long)]
    pub yes: bool,
}

pub(super) async fn create(args: CreateArgs, setting: &Setting) -> Result<(), Failure> {
    let change = set::change(&args.set)?;
    if change.name.is_some() || change.priority.is_some() || !change.urls.is_empty() || !change.forget.is_empty() {
        return Err(Failure::new(ErrorCode::BadUsage, "--set takes what has no option of its own"));
    }
    let mut terms = change.terms.unwrap_or_default();
    if args.while_logged_on {
        terms.while_logged_on = Some(true);
    }
    let spec = JobSpec {
        files: files(&args.files)?,
        name: Some(args.name),
        priority: args.priority.into(),
        peers: change.peers.unwrap_or(PeerUse { fetch: true, share: true }),
        start: args.start,
        finish: if args.auto { Finish::Auto } else { Finish::Manual },
        asking: None,
        adopt: false,
        terms,
        followed: false,
    };
    spec.check()?;
    let job = Link::to_running(setting)?.create_job(&spec).await?;
    setting.answer(&job, || format!("{}\n", crate::text::safe::line(&job.id)))
}

pub(super) async fn add(args: AddArgs, setting: &Setting) -> Result<(), Failure> {
    let more = MoreFiles { files: files(&args.files)? };
    more.check()?;
    let job = Link::to_running(setting)?.add_files(&args.id, &more).await?;
    setting.answer(&job, || brief(&job))
}

pub(super) async fn range(args: RangeArgs, setting: &Setting) -> Result<(), Failure> {
    let ranges = args.ranges.as_deref().map_or(Ok(Vec::new()), read_ranges)?;
    let order = RangeOrder { file: args.file, ranges, position: args.position, start: !args.no_start };
    order.check()?;
    let job = Link::to_running(setting)?.order_ranges(&args.id, &order).await?;
    setting.answer(&job, || brief(&job))
}

pub(super) async fn change(id: &str, change: &JobChange, setting: &Setting) -> Result<(), Failure> {
    change.check()?;
    let job = Link::to_running(setting)?.change_job(id, change).await?;
    setting.answer(&job, || brief(&job))
}

pub(super) async fn auth(args: AuthArgs, setting: &Setting) -> Result<(), Failure> {
    if args.proxy {
        return auth_at_proxy(args, setting).await;
    }
    let authorization = match (args.user, args.bearer) {
        (Some(user), _) if args.digest => Some(Authorization::Digest { user, password: secret()? }),
        (Some(user), _) => Some(Authorization::Basic { user, password: secret()? }),
        (None, true) => Some(Authorization::Bearer { token: secret()? }),
        (None, false) if args.forget => None,
        (None, false) => return Err(Failure::new(ErrorCode::BadUsage, "say --user NAME, --bearer or --forget")),
    };
    let forget = if args.forget { vec![Forget::Authorization] } else { Vec::new() };
    let terms = Some(Terms { authorization, ..Terms::default() });
    change(&args.id, &JobChange { terms, forget, ..JobChange::default() }, setting).await
}

/// Gives the job its own proxy again, with other credentials or with none.
async fn auth_at_proxy(args: AuthArgs, setting: &Setting) -> Result<(), Failure> {
    let job = Link::to_running(setting)?.job(&args.id).await?;
    let mut proxy = url::Url::parse(&job.terms.proxy)
        .map_err(|_| Failure::new(ErrorCode::BadProxy, "the job names no proxy of its own"))?;
    if let Some(user) = args.user {
        let password = secret()?;
        let is_set = proxy.set_username(&user).is_ok() && proxy.set_password(Some(&password)).is_ok();
        if !is_set {
            return Err(Failure::new(ErrorCode::BadProxy, "this proxy takes no credentials"));
        }
    } else if !args.forget {
        return Err(Failure::new(ErrorCode::BadUsage, "say --user NAME or --forget"));
    }
    let terms = Some(Terms { proxy: Some(proxy.into()), ..Terms::default() });
    change(&args.id, &JobChange { terms, ..JobChange::default() }, setting).await
}

pub(super) async fn relocate(args: RelocateArgs, setting: &Setting) -> Result<(), Failure> {
    let relocate = Some(Relocation { from: args.from, to: args.to });
    change(&args.id, &JobChange { relocate, ..JobChange::default() }, setting).await
}

pub(super) async fn purge(args: &PurgeArgs, setting: &Setting) -> Result<(), Failure> {
    let jobs = all(Link::to_running(setting)?).await?;
    let living: Vec<String> = jobs.into_iter().filter(|job| !job.state.is_final()).map(|job| job.id).collect();
    if !args.yes {
        let detail = format!("jobs that would be cancelled: {}", living.len());
        let remedy = "List them with `eddy job ls`, then give the same command with --yes.".to_owned();
        return Err(Problem { remedy, ..Problem::new(ErrorCode::NotConfirmed, detail) }.into());
    }
    // One that ended since it was listed needs nothing more.
    let has_ended =
        |problem: &Problem| matches!(problem.error_code(), Some(ErrorCode::WrongState | ErrorCode::JobNotFound));
    act_on_all(living, (JobAction::Cancel, has_ended), setting).await
}

/// The first line of standard input: a secret is never an argument.
fn secret() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(Failure::internal)?;
    let secret = line.trim_end_matches(['\r', '\n']).to_owned();
    if secret.is_empty() {
        return Err(Failure::new(ErrorCode::BadCredentials, "standard input holds no secret"));
    }
    Ok(secret)
}

/// The files that are typed, and those of the list.
fn files(args: &Files) -> Result<Vec<FileSpec>, Failure> {
    let mut pairs: Vec<(String, String)> =
        args.pairs.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    if let Some(list) = &args.from {
        pairs.extend(listed(&read(list)?)?);
    }
    if args.range.is_some() && pairs.len() != 1 {
        return Err(Failure::new(ErrorCode::BadUsage, "--range is for one file"));
    }
    if args.digest.is_some() && pairs.len() != 1 {
        return Err(Failure::new(ErrorCode::BadUsage, "--digest is for one file"));
    }
    let ranges = args.range.as_deref().map_or(Ok(Vec::new()), parse_ranges)?;
    let file = |(url, path): (String, String)| {
        let destination = place(std::path::Path::new(&path))?;
        Ok(FileSpec {
            url,
            destination,
            digest: args.digest.clone(),
            overwrite: args.overwrite,
            ranges: ranges.clone(),
            on_demand: args.on_demand,
        })
    };
    pairs.into_iter().map(file).collect()
}

fn read(list: &std::path::Path) -> Result<String, Failure> {
    let bad = |error: std::io::Error| Failure::new(ErrorCode::BadUsage, format!("{}: {error}", list.display()));
    let mut text = String::new();
    if list.as_os_str() == "-" {
        std::io::stdin().take(MAX_LIST).read_to_string(&mut text).map_err(bad)?;
    } else {
        std::fs::File::open(list).and_then(|file| file.take(MAX_LIST).read_to_string(&mut text)).map_err(bad)?;
    }
    Ok(text)
}

/// The pairs of a list; empty lines and those that begin with `#` say nothing.
fn listed(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let pair = |(line, number): (&str, usize)| {
        let (url, path) = line
            .split_once([',', ' ', '\t'])
            .ok_or_else(|| Failure::new(ErrorCode::BadUsage, format!("line {number} has no URL and path")))?;
        Ok((url.trim().to_owned(), path.trim().to_owned()))
    };
    lines.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_url_and_a_path_in_each_line() {
        let text = "# what\n\nhttps://h/a /d/a b\nhttps://h/b,/d/b\r\nhttps://h/c\t/d/c\n";
        let pairs = listed(text).expect("a list");
        assert_eq!(pairs.iter().map(|pair| pair.1.as_str()).collect::<Vec<_>>(), ["/d/a b", "/d/b", "/d/c"]);
        assert!(listed("https://h/a\n").is_err());
    }
}
