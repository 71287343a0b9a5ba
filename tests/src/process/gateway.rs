//! A daemon whose gateway tools ask over plain HTTP.

use super::{Eddy, Running};
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a node may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may be silent before nothing more is waited for.
const PAUSE: Duration = Duration::from_millis(700);

/// A running daemon with a gateway.
#[derive(Debug)]
pub struct Gateway<'lab> {
    /// The installation.
    pub eddy: Eddy<'lab>,
    /// The process.
    pub daemon: Running,
    address: String,
}

/// An answer, taken whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// The status.
    pub status: u16,
    /// Fields, names in lower case; of repeated ones the last.
    pub fields: BTreeMap<String, String>,
    /// The content; `None` when it broke off.
    pub content: Option<Vec<u8>>,
}

impl Got {
    /// A field, or nothing.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The content of an answer that is whole.
    ///
    /// # Panics
    /// When it broke off.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        self.content.as_deref().unwrap_or_else(|| panic!("the content broke off: {:?}", (self.status, &self.fields)))
    }

    /// Whether it says that it came from what is held.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.field("cache-status").contains("; hit")
    }
}

/// `[[gateway.mount]]` of a path and an origin, with more lines.
#[must_use]
pub fn mount(path: &str, origin: &str, more: &str) -> String {
    format!("[[gateway.mount]]\npath = \"{path}\"\norigin = \"{origin}\"\n{more}\n")
}

/// A client that goes through no proxy and follows nothing.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn http_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.build().expect("a client")
}

impl<'lab> Gateway<'lab> {
    /// Starts a daemon with these lines behind `[gateway]`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(eddy: Eddy<'lab>, settings: &str) -> Result<Self> {
        let common = "[cache]\nquota = \"2 GiB\"\nreserve = \"1 MiB\"\n[peers]\nmdns = false\n[gateway]\nlisten = \"127.0.0.1:0\"";
        std::fs::write(eddy.home().join("eddy.toml"), format!("{common}\n{settings}\n"))?;
        Self::restart(eddy)
    }

    /// Starts a daemon with the settings that are there.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(eddy: Eddy<'lab>) -> Result<Self> {
        let daemon = eddy.daemon()?;
        let line = daemon.wait_line("the gateway listens on http://", PATIENCE)?;
        let address = line.rsplit("http://").next().context("an address")?.trim().to_owned();
        Ok(Self { eddy, daemon, address })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// GET of a path with these fields.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Result<Got> {
        self.ask(reqwest::Method::GET, path, fields).await
    }

    /// Any request without content.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, method: reqwest::Method, path: &str, fields: &[(&str, &str)]) -> Result<Got> {
        let mut request = http_client().request(method, self.url(path));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let content = answer.bytes().await.ok().map(|bytes| bytes.to_vec());
        Ok(Got { status, fields, content })
    }

    /// Sends bytes and takes what comes until the end or a pause: the status of the first answer, 0 for none, and all text.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn raw(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address()).await.expect("the gateway listens");
        // What is refused early may not be taken to its end.
        let _ = stream.write_all(bytes).await;
        let mut all = Vec::new();
        let reading = async {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                all.extend_from_slice(&piece[..count]);
            }
        };
        let _ = tokio::time::timeout(PAUSE, reading).await;
        let text = String::from_utf8_lossy(&all).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }
}
