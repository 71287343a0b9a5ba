//! Hugging Face: its clients have no file for the place of the hub, only a variable of the environment, which drop-ins set for sessions that
//! begin after it: of the person through systemd, of a system also in login shells.

use super::change::{Change, Edit, Methods};
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use eddy_node::config::gateway::Indexes;
use std::path::{Path, PathBuf};

/// Where the hub is unless somebody says otherwise.
const HUB: &str = "https://huggingface.co";
/// The variable that says so.
const VARIABLE: &str = "HF_ENDPOINT";
/// Where the hub is mounted.
const PATH: &str = "/huggingface";

pub(super) fn plan(base: &str, origin: Option<&str>, root: Option<&Path>) -> Result<Change, Failure> {
    let ours = format!("{base}{PATH}");
    // A gateway is no hub, whatever port it had when the session began.
    let is_gateway = |url: &str| url.trim_end_matches('/').ends_with(PATH);
    let is_theirs = |url: &String| root.is_none() && url.starts_with("http") && !is_gateway(url);
    let present = std::env::var(VARIABLE).ok().filter(is_theirs);
    let origin = origin.map(str::to_owned).or(present).unwrap_or_else(|| HUB.to_owned());
    let origin = origin.trim_end_matches('/').to_owned();
    let setting = format!("{VARIABLE}={ours}\n");
    let files = match root {
        Some(root) => vec![
            file(root.join("etc/environment.d/90-eddy-huggingface.conf"), &setting)?,
            file(root.join("etc/profile.d/eddy-huggingface.sh"), &format!("export {setting}"))?,
        ],
        None => vec![file(folder()?.join("90-eddy-huggingface.conf"), &setting)?],
    };
    // Its clients ask for lists of files with POST. Everybody publishes there: what one's page says of another's file is nothing.
    let mount = Mount { methods: Methods::Forwarded, indexes: Indexes::Ignored, ..Mount::plain(PATH, origin) };
    let mounts = vec![mount];
    Ok(Change { tool: Tool::Huggingface, mounts, files })
}

/// What a session that runs already has to be told.
pub(super) fn hint(base: &str) -> String {
    format!("sessions that begin from now on have it; in this shell: export {VARIABLE}={base}{PATH}")
}

/// A file of this tool's own.
fn file(path: PathBuf, text: &str) -> Result<Edit, Failure> {
    let name = path.display().to_string();
    Edit::of(path, |before| match before {
        "" => Ok(text.to_owned()),
        _ => Err(refused(format!("{name} is there already; eddy leaves that alone"))),
    })
}

/// The person's drop-ins for their sessions.
fn folder() -> Result<PathBuf, Failure> {
    use etcetera::BaseStrategy;
    let base = etcetera::choose_base_strategy()
        .map_err(|error| refused(format!("this user has no home directory ({error})")))?;
    Ok(base.config_dir().join("environment.d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_gets_it_in_sessions_and_in_login_shells() {
        let root = tempfile::tempdir().unwrap();
        let change = plan("http://127.0.0.1:7718", Some("https://hub.example/"), Some(root.path())).unwrap();
        let texts: Vec<_> = change.files.iter().map(|file| file.after.as_str()).collect();
        let line = "HF_ENDPOINT=http://127.0.0.1:7718/huggingface\n";
        assert_eq!(texts, [line.to_owned(), format!("export {line}")]);
        assert_eq!(change.mounts[0].origin, "https://hub.example");
        assert_eq!(change.mounts[0].indexes, Indexes::Ignored, "a file there may speak of nobody else's");
        let theirs = root.path().join("etc/profile.d/eddy-huggingface.sh");
        std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        std::fs::write(theirs, "mine\n").unwrap();
        assert!(plan("http://127.0.0.1:7718", None, Some(root.path())).is_err());
    }
}
