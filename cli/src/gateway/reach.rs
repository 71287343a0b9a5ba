//! Whether a daemon reads what is written here, and serves it: most tools that are led to a gateway that is not there have nothing.

use super::tool::Tool;
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
use url::{Host, Url};

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

/// Refuses an origin that is the gateway: a tool's files may lead there still when the home that knew of it is gone, or is another one.
pub(super) fn refuse_itself(tool: Tool, origin: &str, base: &str, names: &[String]) -> Result<(), Failure> {
    if !is_gateway(origin, base, names) {
        return Ok(());
    }
    let tool = tool.name();
    Err(refused(format!(
        "the files of {tool} lead to this gateway already, and this home does not know what stood there before, so its origin would be \
         the gateway itself ({origin}); name the true one with --origin"
    )))
}

/// Whether a URL leads to the gateway, by one of the names that it is called by.
fn is_gateway(url: &str, base: &str, names: &[String]) -> bool {
    let (Ok(url), Ok(base)) = (Url::parse(url), Url::parse(base)) else { return false };
    let (Some(host), Some(own)) = (url.host(), base.host()) else { return false };
    let is_local = match own {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(_) => false,
    };
    let is_name =
        |name: &str| names.iter().any(|own| own.eq_ignore_ascii_case(name)) || is_local && name == "localhost";
    let is_own = host == own || matches!(host, Host::Domain(name) if is_name(name));
    is_own && url.port_or_known_default() == base.port_or_known_default()
}

/// One spelling of a folder.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_known_by_each_of_its_names() {
        let names = ["cache.example".to_owned()];
        let own = |url: &str| is_gateway(url, "http://127.0.0.1:7718", &names);
        for url in ["http://127.0.0.1:7718", "http://localhost:7718/conda", "http://CACHE.example:7718/v2"] {
            assert!(own(url), "{url}");
        }
        for url in ["http://127.0.0.1:7719", "http://127.0.0.2:7718", "https://h/x", "http://h:7718/", "none"] {
            assert!(!own(url), "{url}");
        }
        assert!(!is_gateway("http://localhost:80", "http://10.0.0.1", &[]));
        assert!(is_gateway("http://[::1]:7718/x", "http://[::1]:7718", &[]));
    }
}
