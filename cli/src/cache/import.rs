//! `eddy cache import`: takes in a package.

use super::plan::entries;
use super::short;
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::progress::Progress;
use crate::text::safe;
use crate::text::table::{Column, table};
use crate::text::units;
use clap::Args;
use eddy_node::control::Bytes;
use eddy_wire::api::{ImportQuery, ImportView, PackedView};
use eddy_wire::catalogue::ErrorCode;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// Pieces that wait for the node.
const PIECES: usize = 8;

/// `eddy cache import`.
#[derive(Debug, Args)]
#[command(
    after_help = "What a member of this node's group signed is taken in; it is used when the origin names the same \
                        version, as what comes from a peer is."
)]
pub struct ImportArgs {
    /// The package, or - for standard input
    pub file: PathBuf,
    /// Only show what it has
    #[arg(long)]
    pub dry_run: bool,
    /// Trust the package if this node signed it, instead of any member of the group
    #[arg(long, value_name = "NODE")]
    pub signer: Option<String>,
}

pub(super) async fn run(args: ImportArgs, setting: &Setting) -> Result<(), Failure> {
    let (source, length) = open(&args.file)?;
    let query = ImportQuery { dry_run: args.dry_run, signer: args.signer };
    let progress = Arc::new(Progress::new(setting, "taking in", length));
    let view = Link::ask(setting, async |client| {
        let (sender, pieces) = mpsc::channel(PIECES);
        let shown = Arc::clone(&progress);
        let reading = tokio::task::spawn_blocking(move || read(source, &sender, &shown));
        let view = client.import(&query, pieces).await;
        progress.end();
        // What could not be read here is the reason why the node found the package to be too short.
        match reading.await {
            Ok(Some(error)) => Err(unreadable(&args.file, &error)),
            _ => view.map_err(Failure::from),
        }
    })
    .await?;
    for left in &view.left_out {
        setting.note(&format!("left out {}: {}", short(&left.id), left.reason));
    }
    setting.answer(&view, || people(&view, args.dry_run, setting))
}

fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(Failure::new(ErrorCode::BadUsage, "a package does not come from a terminal"));
        }
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(unreadable(path, &io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(file), Some(metadata.len())))
}

/// Reads to the end, or until nobody listens; gives the error that ended it early.
fn read(
    mut source: Box<dyn Read + Send>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
    progress: &Progress,
) -> Option<io::Error> {
    let mut done = 0;
    loop {
        let mut piece = vec![0; PIECE];
        match source.read(&mut piece) {
            Ok(0) => return None,
            Ok(length) => {
                piece.truncate(length);
                done += length as u64;
                progress.at(done);
                if pieces.blocking_send(Ok(piece.into())).is_err() {
                    return None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                let _ = pieces.blocking_send(Err(told));
                return Some(error);
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorCode::PackageUnreadable, format!("{}: {error}", path.display()))
}

fn people(view: &ImportView, dry_run: bool, setting: &Setting) -> String {
    let size = |bytes| setting.sizes.size(bytes);
    let columns = [Column::Text("ID"), Column::Number("LENGTH"), Column::Number("HAS"), Column::Text("URL")];
    let line = |entity: &PackedView| {
        let has = format!("{} %", units::percent(entity.packed, entity.length));
        vec![short(&entity.id), size(entity.length), has, entity.url.clone()]
    };
    let list = if view.entities.is_empty() { String::new() } else { table(&columns, view.entities.iter().map(line)) };
    let (count, signer) = (entries(view.entities.len() as u64), safe::line(&view.signer));
    if dry_run {
        format!("{list}{count}, signed by {signer}; nothing was taken in\n")
    } else {
        format!("{list}took in {} of {count}, signed by {signer}\n", size(view.bytes))
    }
}
