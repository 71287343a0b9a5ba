//! One request, read from the socket.

use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// GET, HEAD, ...
    pub method: String,
    /// The path, with its query.
    pub target: String,
    /// Header fields, names in lower case; repeated ones joined with a comma.
    pub headers: BTreeMap<String, String>,
    /// How many requests for this path came before, this one included: the first is 1.
    pub number: u64,
    /// How many of them, this one included, wanted the body.
    pub gets: u64,
}

/// The bytes that a Range field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AskedRange {
    /// `first-`.
    From(u64),
    /// `first-last`, both inclusive.
    Within(u64, u64),
    /// `-count`.
    Last(u64),
}

impl Ask {
    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A value of the query.
    #[must_use]
    pub fn query(&self, key: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The one byte range that it asks for.
    #[must_use]
    pub fn range(&self) -> Option<AskedRange> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        match (first.parse().ok(), last.parse().ok()) {
            (Some(first), Some(last)) => Some(AskedRange::Within(first, last)),
            (Some(first), None) if last.is_empty() => Some(AskedRange::From(first)),
            (None, Some(count)) if first.is_empty() => Some(AskedRange::Last(count)),
            _ => None,
        }
    }

    /// Reads one request; `None` when the client has closed.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut text = Vec::with_capacity(1024);
        while !text.ends_with(b"\r\n\r\n") {
            match from.read_u8().await {
                Ok(byte) if text.len() < MAX_REQUEST => text.push(byte),
                Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let joined = headers.entry(name.to_ascii_lowercase()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(value.trim());
        }
        // A proxy is asked with the whole URL.
        let target = match target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
            None => target,
        };
        Some(Self { method, target, headers, number: 0, gets: 0 })
    }
}

/// Bytes of the largest request that is read.
const MAX_REQUEST: usize = 64 * 1024;
