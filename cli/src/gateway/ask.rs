//! The few questions that are asked while a change is made: to a tool, and to an origin.

use super::refused;
use crate::failure::Failure;
use std::process::Command;
use std::time::Duration;

/// Bytes of the longest answer that is looked at.
const MOST: usize = 8 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a tool writes to standard output; `None` when it fails or is not there.
pub(super) fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The text at a URL.
pub(super) async fn text(url: &str) -> Result<String, Failure> {
    let failed = |error: reqwest::Error| refused(format!("{url} cannot be asked: {}", error.without_url()));
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(failed)?;
    let mut answer = client
        .get(url)
        .header("accept", "*/*")
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(failed)?;
    let mut all = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(failed)? {
        all.extend_from_slice(&bytes);
        if all.len() > MOST {
            return Err(refused(format!("{url} answers with more than an index has")));
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// The status of a HEAD, without any proxy.
pub(super) async fn status(url: &str) -> Result<u16, reqwest::Error> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    Ok(client.head(url).send().await?.status().as_u16())
}

/// Whether the answer at a URL of the gateway came from an origin.
pub(super) async fn is_from_origin(url: &str) -> bool {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else { return false };
    client.head(url).send().await.is_ok_and(|answer| answer.headers().contains_key("cache-status"))
}

/// `https://host/` of each absolute link in a text, each once.
pub(super) fn hosts_of(text: &str) -> Vec<String> {
    let mut hosts = Vec::new();
    for (at, _) in text.match_indices("http") {
        let rest = &text[at..];
        let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| rest.starts_with(scheme)) else {
            continue;
        };
        let host: String =
            rest[scheme.len()..].chars().take_while(|c| c.is_ascii_alphanumeric() || ".-:".contains(*c)).collect();
        let root = format!("{scheme}{host}/");
        if rest[scheme.len() + host.len()..].starts_with('/') && !host.is_empty() && !hosts.contains(&root) {
            hosts.push(root);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_once() {
        let text = "<a href=\"https://f.h/x#sha256=1\">x</a> \"http://g.h:80/\" https://f.h/y https://nothing";
        assert_eq!(hosts_of(text), ["https://f.h/", "http://g.h:80/"]);
    }
}
