//! `eddy config`: what the configuration file says, what holds where it says nothing, and how to change it.
//!
//! The file is read and written with the rights of whoever types; a node reads it when it starts.

use crate::failure::Failure;
use crate::setting::Setting;
use crate::text::table::{Column, facts, table};
use crate::text::{near, safe};
use clap::{Args, Subcommand};
use eddy_node::config::edit::{Draft, Edit, EditError};
use eddy_node::config::keys::{Key, Set, key_of, keys, set};
use eddy_node::config::{ConfigError, Settings, file_of, load};
use eddy_node::control::Client;
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `eddy config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// The verbs of `eddy config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every key with its value, and who set it; of one key also what it is for
    Show {
        /// The key, like cache.quota, or a table of keys, like cache
        key: Option<String>,
    },
    /// Say whether the file can be used, and what is wrong with it
    Check,
    /// Change keys in the file; comments and order stay
    Set(SetArgs),
}

/// `eddy config set`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:  eddy config set cache.quota='50 GiB' peers.mdns=false\n           \
                        eddy config set gateway.allow='[\"10.0.0.0/8\"]'\n           \
                        eddy config set cache.quota=default\n\
                        All keys:  eddy config show")]
pub struct SetArgs {
    /// A key and its value; `default` takes the key out of the file
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub changes: Vec<String>,
    /// Show the file as it would be, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A key as programs get it.
#[derive(Debug, Serialize)]
struct KeyView {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    set_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    text: String,
}

pub(crate) async fn run(command: ConfigCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show { key } => show(key.as_deref(), setting),
        ConfigCommand::Check => check(setting),
        ConfigCommand::Set(args) => change(&args, setting).await,
    }
}

fn show(wanted: Option<&str>, setting: &Setting) -> Result<(), Failure> {
    let file = file(setting).display().to_string();
    let mut views = views(&set(&setting.home, setting.config.as_deref()).map_err(|error| failure(&error))?, &file);
    if let Some(wanted) = wanted {
        let table = format!("{wanted}.");
        views.retain(|view| view.key == wanted || view.key.starts_with(&table));
        if views.is_empty() {
            return Err(unknown(wanted, &keys()));
        }
    }
    match (views.as_slice(), wanted) {
        ([one], Some(wanted)) if one.key == wanted => setting.answer(one, || {
            facts(&[
                ("key", one.key.clone()),
                ("value", one.value.clone().unwrap_or_else(|| "not set".to_owned())),
                ("set by", one.set_by.clone()),
                ("default", one.default.clone().unwrap_or_default()),
                ("what", one.text.clone()),
            ])
        }),
        _ => setting.answer(&views, || {
            let columns = [Column::Text("KEY"), Column::Text("VALUE"), Column::Text("SET BY")];
            let rows = views.iter().map(|view| {
                let by = if view.set_by == "default" { "default".to_owned() } else { "file".to_owned() };
                vec![view.key.clone(), view.value.clone().unwrap_or_else(|| "-".to_owned()), by]
            });
            format!(
                "{}\nThe file: {}\nWhat a key is for: eddy config show KEY\n",
                table(&columns, rows),
                safe::line(&file)
            )
        }),
    }
}

/// Every key that is set, and every other that could be, unless it belongs to something that the administrator names.
fn views(set: &[Set], file: &str) -> Vec<KeyView> {
    let keys = keys();
    let there = |name: &str| set.iter().any(|set| set.name == name);
    let is_plain = |key: &&Key| !key.name.contains("NAME") && !key.name.contains("[]") && !there(&key.name);
    let unset = keys.iter().filter(is_plain).map(|key| KeyView {
        key: key.name.clone(),
        value: key.default.clone(),
        set_by: "default".to_owned(),
        default: key.default.clone(),
        text: key.text.clone(),
    });
    let set = set.iter().map(|set| {
        let key = key_of(&keys, &without_numbers(&set.name));
        KeyView {
            key: set.name.clone(),
            value: Some(set.value.clone()),
            set_by: file.to_owned(),
            default: key.as_ref().and_then(|key| key.default.clone()),
            text: key.map(|key| key.text).unwrap_or_default(),
        }
    });
    let mut views: Vec<KeyView> = unset.chain(set).collect();
    views.sort_by(|a, b| a.key.cmp(&b.key));
    views
}

/// `gateway.mount[3].path` as it stands among the keys: `gateway.mount[].path`.
fn without_numbers(name: &str) -> String {
    match (name.split_once('['), name.split_once(']')) {
        (Some((table, _)), Some((_, key))) => format!("{table}[]{key}"),
        _ => name.to_owned(),
    }
}

/// Holds the configuration to be valid, with the mounts in files of their own.
pub(crate) fn whole(setting: &Setting) -> Result<Settings, Failure> {
    load(&setting.home, setting.config.as_deref()).map_err(|error| failure(&error))
}

fn check(setting: &Setting) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Checked {
        file: String,
        exists: bool,
        keys: usize,
    }
    let set = set(&setting.home, setting.config.as_deref()).map_err(|error| failure(&error))?;
    let path = file(setting);
    let checked = Checked { exists: path.exists(), file: path.display().to_string(), keys: set.len() };
    setting.answer(&checked, || match checked.exists {
        true => format!("{}: in order, {} keys set\n", safe::line(&checked.file), checked.keys),
        false => format!("{} is not there: the defaults hold\n", safe::line(&checked.file)),
    })
}

async fn change(args: &SetArgs, setting: &Setting) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Changed {
        file: String,
        written: bool,
        /// What would be written.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    }
    let keys = keys();
    let edits: Vec<Edit> = args.changes.iter().map(|change| edit(change, &keys)).collect::<Result<_, _>>()?;
    let path = file(setting);
    let draft = Draft::of(&path, &edits).map_err(|error| refused(&error))?;
    if args.dry_run {
        let text = Some(draft.text().to_owned());
        let changed = Changed { file: path.display().to_string(), written: false, text };
        return setting.answer(&changed, || draft.text().to_owned());
    }
    // Where the daemon of this home listens is what the file said when it was started.
    let elsewhere = whole(setting).ok().and_then(|settings| settings.service.socket().map(Path::to_owned));
    let written = draft.write().map_err(|error| refused(&error))?;
    let changed = Changed { file: path.display().to_string(), written, text: None };
    setting.answer(&changed, || match written {
        true => format!("written to {}\n", safe::line(&changed.file)),
        false => format!("{} says so already\n", safe::line(&changed.file)),
    })?;
    if written && is_running(setting, elsewhere.as_deref()).await {
        setting.note(&format!("the daemon reads it when it starts: {}", setting.restart_command()));
        if edits.iter().all(|edit| edit.key.starts_with("cache.") && edit.key != "cache.freshness") {
            setting.note("limits of the cache that are to hold at once are set with: eddy cache set");
        }
    }
    Ok(())
}

/// Whether a daemon answers where commands look for one, or where the configuration has it listen.
async fn is_running(setting: &Setting, elsewhere: Option<&Path>) -> bool {
    for socket in [Some(setting.socket.as_path()), elsewhere].into_iter().flatten() {
        if let Ok(client) = Client::new(socket)
            && client.status().await.is_ok()
        {
            return true;
        }
    }
    false
}

/// What `KEY=VALUE` changes.
fn edit(change: &str, keys: &[Key]) -> Result<Edit, Failure> {
    let wrong = |what: String| Failure::new(ErrorCode::BadConfig, what);
    let (name, text) = change.split_once('=').ok_or_else(|| wrong(format!("`{change}` is not KEY=VALUE")))?;
    let (name, text) = (name.trim(), text.trim());
    let key = key_of(keys, name).ok_or_else(|| unknown(name, keys))?;
    if key.name.contains("[]") {
        return Err(wrong(format!("{name} stands in a list of tables: change it in the file itself")));
    }
    Edit::typed(&key, name, text)
        .ok_or_else(|| wrong(format!("{name}: `{text}` is no number, `true`, `false` or list like [\"a\", \"b\"]")))
}

fn unknown(name: &str, keys: &[Key]) -> Failure {
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let near = near::nearest(name, &names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Failure::new(ErrorCode::BadConfig, format!("there is no key {name}{near} (all keys: eddy config show)"))
}

fn file(setting: &Setting) -> PathBuf {
    file_of(&setting.home, setting.config.as_deref())
}

fn failure(error: &ConfigError) -> Failure {
    match error {
        ConfigError::Read { source, .. } => Failure::new(ErrorCode::BadConfig, format!("{error}: {source}")),
        _ => Failure::new(ErrorCode::BadConfig, error.to_string()),
    }
}

fn refused(error: &EditError) -> Failure {
    match error {
        EditError::Config(error) => failure(error),
        EditError::Write { .. } => Failure::new(ErrorCode::ConfigNotWritable, error.to_string()),
        EditError::NoTable { .. } => Failure::new(ErrorCode::BadConfig, error.to_string()),
    }
}
