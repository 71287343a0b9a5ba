//! `eddy cache export`: entries in a signed package, to carry them to another machine.

use super::choice::{Filters, NAMES};
use super::plan::entries;
use super::{short, walk};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::progress::Progress;
use clap::Args;
use eddy_node::control::Client;
use eddy_node::control::client::ExportFailure;
use eddy_wire::api::{EntityView, ExportOrder, ExportView, MAX_PACKED};
use eddy_wire::catalogue::ErrorCode;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// `eddy cache export`.
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub struct ExportArgs {
    /// Where to put the package, or - for standard output
    pub file: PathBuf,
    /// Names of entries
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// All entries
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Pack private entries, too: who has the package then has them
    #[arg(long)]
    pub also_private: bool,
    /// Replace a file that already stands there
    #[arg(long)]
    pub overwrite: bool,
    /// Or which.
    #[command(flatten)]
    pub filters: Filters,
}

pub(super) async fn run(args: ExportArgs, setting: &Setting) -> Result<(), Failure> {
    let ways = [!args.names.is_empty(), args.all, !args.filters.is_empty()];
    if ways.iter().filter(|way| **way).count() != 1 {
        let detail = "name entries, or say which with conditions, or say --all";
        return Err(Failure::new(ErrorCode::BadUsage, detail));
    }
    let query = args.filters.query()?;
    let target = Target::open(&args)?;
    let outcome = Link::ask(setting, async |client| {
        let entities = match args.names.is_empty() {
            true => walk::all(&client, query).await?,
            false => walk::named(&client, &args.names).await?,
        };
        export(&client, order(&entities, args.also_private)?, &entities, &target, setting).await
    })
    .await;
    let view = match outcome {
        Ok(view) => view,
        Err(failure) => {
            target.discard();
            return Err(failure);
        }
    };
    target.keep()?;
    let size = setting.sizes.size(view.bytes);
    let text = format!("packed {}, {size}, signed by {}", entries(view.entities), view.signer);
    for left in &view.left_out {
        setting.note(&format!("left out {}: {}", short(&left.id), left.reason));
    }
    if target.is_stream() {
        setting.note(&text);
        return Ok(());
    }
    setting.answer(&view, || text + "\n")
}

fn order(entities: &[EntityView], also_private: bool) -> Result<ExportOrder, Failure> {
    if entities.is_empty() {
        return Err(Failure::new(ErrorCode::EntityNotFound, "nothing in the cache is like that"));
    }
    if entities.len() > MAX_PACKED {
        let detail = format!("a package has at most {MAX_PACKED} entries, these are {}", entities.len());
        return Err(Failure::new(ErrorCode::TooLong, detail));
    }
    Ok(ExportOrder { ids: entities.iter().map(|entity| entity.id.clone()).collect(), also_private })
}

async fn export(
    client: &Client,
    order: ExportOrder,
    entities: &[EntityView],
    target: &Target,
    setting: &Setting,
) -> Result<ExportView, Failure> {
    let progress = Progress::new(setting, "packing", Some(entities.iter().map(|entity| entity.held).sum()));
    let mut writer = target.writer().map_err(|error| target.failure(&error))?;
    let view = client.export(&order, &mut *writer, &mut |bytes| progress.at(bytes)).await;
    progress.end();
    let view = view.map_err(|failure| match failure {
        ExportFailure::Problem(problem) => problem.into(),
        ExportFailure::Output(error) => target.failure(&error),
    })?;
    writer.flush().map_err(|error| target.failure(&error))?;
    Ok(view)
}

/// Where a package goes: it gets its name when it is whole.
enum Target {
    Stream,
    File { temporary: PathBuf, path: PathBuf, file: File },
}

impl Target {
    fn open(args: &ExportArgs) -> Result<Self, Failure> {
        if args.file == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::new(ErrorCode::BadUsage, "a package is not for a terminal"));
            }
            return Ok(Self::Stream);
        }
        let shown = || args.file.display().to_string();
        if !args.overwrite && args.file.symlink_metadata().is_ok() {
            return Err(Failure::new(ErrorCode::DestinationExists, shown()));
        }
        if args.file.is_dir() {
            return Err(Failure::new(ErrorCode::DestinationIsDirectory, shown()));
        }
        let mut temporary = args.file.clone().into_os_string();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if args.also_private {
            // What one person fetched is not everybody's on this machine.
            options.mode(0o600);
        }
        let file = options.open(&temporary).map_err(|error| {
            let code = match error.kind() {
                ErrorKind::NotFound => ErrorCode::DestinationNoParent,
                _ => ErrorCode::DestinationNotWritable,
            };
            Failure::new(code, format!("{}: {error}", args.file.display()))
        })?;
        Ok(Self::File { temporary, path: args.file.clone(), file })
    }

    fn is_stream(&self) -> bool {
        matches!(self, Self::Stream)
    }

    fn writer(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stream => Box::new(io::stdout()),
            Self::File { file, .. } => Box::new(file.try_clone()?),
        })
    }

    /// Gives the file its name, durably.
    fn keep(&self) -> Result<(), Failure> {
        let Self::File { temporary, path, file } = self else { return Ok(()) };
        let kept = file.sync_all().and_then(|()| std::fs::rename(temporary, path));
        kept.map_err(|error| {
            self.discard();
            self.failure(&error)
        })
    }

    /// Leaves nothing behind.
    fn discard(&self) {
        if let Self::File { temporary, .. } = self {
            // Whatever is left has a name that says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        match self {
            Self::Stream => Failure::output(error),
            Self::File { path, .. } => {
                let code = match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
                    _ => ErrorCode::DestinationNotWritable,
                };
                Failure::new(code, format!("{}: {error}", path.display()))
            }
        }
    }
}
