//! Whether a daemon reads what is written here, and serves it: most tools that are led to a gateway that is not there have nothing.

use super::{Mount, refused};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::{Setting, quoted};
use eddy_node::control::Client;
use eddy_wire::api::{Mode, Problem};
use eddy_wire::catalogue::ErrorCode;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a daemon may take to serve what it reads about once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// The daemon that will read what is written here; nothing where none runs. One with another home never would.
pub(super) async fn daemon(setting: &Setting) -> Result<Option<Client>, Failure> {
    let client = Link::to_running(setting)?;
    let status = match client.status().await {
        Ok(status) => status,
        Err(problem) if problem.error_code() == Some(ErrorCode::DaemonUnreachable) => return Ok(None),
        Err(problem) => return Err(problem.into()),
    };
    if status.mode == Mode::Inside {
        // It ends with its command, and has no gateway.
        return Ok(None);
    }
    if real(Path::new(&status.home)) == real(&setting.home) {
        return Ok(Some(client));
    }
    let (its, own) = (status.home, setting.home.display());
    let start = format!("eddy --home {} daemon", quoted(&setting.home.to_string_lossy()));
    Err(refused(format!(
        "the daemon that answers here has its home in {its} and would never read what is written in {own}; have its administrator \
         enable the tool there, or start a daemon of your own first ({start})"
    )))
}

/// Waits until these mounts are served; otherwise why they are not.
pub(super) async fn served(client: &Client, mounts: &[Mount]) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let view = client.gateway().await.map_err(|problem: Problem| problem.to_string())?;
        let has = |mount: &Mount| {
            let path = format!("{}/", mount.path.trim_end_matches('/'));
            view.mounts.iter().any(|there| there.path == path)
        };
        if view.listens.is_some() && mounts.iter().all(has) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(view.trouble.unwrap_or_else(|| "its log says why".to_owned()));
        }
        sleep(LOOK).await;
    }
}

/// One spelling of a folder.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
