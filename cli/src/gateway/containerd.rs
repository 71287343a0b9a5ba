//! containerd: a registry's `hosts.toml` names the gateway first and the registry itself as the server behind it, which is asked when no daemon
//! runs. `config_path` of containerd must name the folder, as it does by default since 2.0.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use std::path::Path;

/// The registry of images that name none, and the host that it is asked at.
const REGISTRY: (&str, &str) = ("docker.io", "https://registry-1.docker.io");

pub(super) fn plan(base: &str, origin: Option<&str>, root: &Path) -> Result<Change, Failure> {
    let (name, server) = match origin {
        None => (REGISTRY.0.to_owned(), REGISTRY.1.to_owned()),
        Some(origin) => {
            let origin = origin.trim_end_matches('/').trim_end_matches("/v2");
            let host = origin.split_once("://").map(|(_, host)| host).filter(|host| !host.contains('/'));
            let host = host.ok_or_else(|| refused("a registry is named by its scheme and host alone".to_owned()))?;
            (host.to_owned(), origin.to_owned())
        }
    };
    let path = format!("/containerd/{}", name.replace(':', "_"));
    let mounts = vec![Mount::plain(path.as_str(), format!("{server}/v2"))];
    let folder = root.join("etc/containerd/certs.d").join(&name);
    let file = Edit::of(folder.join("hosts.toml"), |before| {
        if !before.is_empty() {
            return Err(refused(format!("containerd has a hosts.toml for {name} already; eddy leaves that alone")));
        }
        Ok(format!(
            "server = \"{server}\"\n\n[host.\"{base}{path}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n"
        ))
    })?;
    Ok(Change { tool: Tool::Containerd, mounts, files: vec![file] })
}
