//! Sockets, connections and the table of resources.

use super::answer::Answer;
use super::send::{Account, After, send};
use super::tls::{TlsPlan, acceptor};
use super::{Ask, Behaviour, BodyFault, Counters, RangeAnswer, Version};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A running hostile origin; dropping it closes everything.
#[derive(Debug)]
pub struct HostileOrigin {
    state: Arc<State>,
    address: SocketAddr,
    root: Option<String>,
    accepting: JoinHandle<()>,
}

/// What is served under one path.
pub struct Resource {
    version: Version,
    script: Script,
}

/// Says how one ask is served.
type Script = Arc<dyn Fn(&Ask) -> Scripted + Send + Sync>;

/// A behaviour, and the version that the file has become by now, if it changes with this ask.
pub type Scripted = (Behaviour, Option<Version>);

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resource").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Resource {
    /// A file that is always served in this way.
    #[must_use]
    pub fn new(version: Version, behaviour: Behaviour) -> Self {
        Self::scripted(version, move |_| (behaviour.clone(), None))
    }

    /// A file that is served as `script` says, which sees each ask and its number. A version that it returns is the
    /// file's from this ask on.
    #[must_use]
    pub fn scripted(version: Version, script: impl Fn(&Ask) -> Scripted + Send + Sync + 'static) -> Self {
        Self { version, script: Arc::new(script) }
    }

    /// A file that is another one from the `number`-th ask on.
    #[must_use]
    pub fn changing_at(number: u64, before: Version, after: Version, behaviour: Behaviour) -> Self {
        Self::scripted(before, move |ask| (behaviour.clone(), (ask.number >= number).then(|| after.clone())))
    }
}

impl HostileOrigin {
    /// Starts on a free port of the loopback address.
    pub async fn start() -> anyhow::Result<Self> {
        Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None).await
    }

    /// The same, with TLS.
    pub async fn start_tls(plan: TlsPlan) -> anyhow::Result<Self> {
        Self::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Some(plan)).await
    }

    /// Starts on an address, with TLS if a plan is given.
    pub async fn bind(address: SocketAddr, tls: Option<TlsPlan>) -> anyhow::Result<Self> {
        let (tls, root) = tls.map(acceptor).transpose()?.unzip();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Ok(Self { state, address, root, accepting })
    }

    /// Serves `resource` under `path` from now on; bodies that are under way go on as they were.
    pub fn publish(&self, path: &str, resource: Resource) {
        self.state.resources().insert(path.to_owned(), resource);
    }

    /// Serves every path that has no resource of its own by its query: `?seed=1&length=1000&behaviour=no-ranges`.
    pub fn publish_by_query(&self) {
        *self.state.by_query.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.root.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// The authority's certificate as PEM, when it speaks TLS.
    #[must_use]
    pub fn root_pem(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// What was asked and sent so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state.counters().clone()
    }
}

impl Drop for HostileOrigin {
    fn drop(&mut self) {
        self.accepting.abort(); // its connections live in it
    }
}

/// What all connections share.
#[derive(Debug, Default)]
pub(super) struct State {
    resources: Mutex<HashMap<String, Resource>>,
    counters: Mutex<Counters>,
    by_query: Mutex<bool>,
}

impl State {
    pub(super) fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resources(&self) -> MutexGuard<'_, HashMap<String, Resource>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this ask is served, and which version the file has.
    fn plan(&self, ask: &Ask) -> (Behaviour, Version) {
        let mut resources = self.resources();
        if let Some(resource) = resources.get_mut(ask.path()) {
            let (behaviour, changed) = (Arc::clone(&resource.script))(ask);
            if let Some(version) = changed {
                resource.version = version;
            }
            return (behaviour, resource.version.clone());
        }
        let may_ask = *self.by_query.lock().unwrap_or_else(PoisonError::into_inner);
        by_query(ask).filter(|_| may_ask).unwrap_or_else(|| (Behaviour::status(404), Version::new(0, 0)))
    }
}

fn by_query(ask: &Ask) -> Option<(Behaviour, Version)> {
    let number = |key: &str| ask.query(key).and_then(|value| value.parse().ok());
    let mut version = Version::new(number("seed").unwrap_or(1), number("length")?);
    version.modified = 1_600_000_000; // the same whenever it is asked
    let mut behaviour = match ask.query("behaviour").unwrap_or("honest") {
        "cuts" => cut_every_other(ask),
        "no-ranges-cut" => cut_first(ask, version.length),
        name => Behaviour::named(name)?,
    };
    behaviour.rate = number("rate").or(behaviour.rate);
    if let Some(delay) = number("delay-ms") {
        behaviour = behaviour.far_away(std::time::Duration::from_millis(delay));
    }
    Some((behaviour, version))
}

/// Every other answer with a body ends within its first MiB, each at another byte.
fn cut_every_other(ask: &Ask) -> Behaviour {
    if ask.method == "HEAD" || ask.number.is_multiple_of(2) {
        return Behaviour::default();
    }
    let drawn = ask.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    Behaviour::body(BodyFault::CloseAfter(drawn))
}

/// A server without ranges whose first body ends in its middle.
fn cut_first(ask: &Ask, length: u64) -> Behaviour {
    let body = (ask.method == "GET" && ask.gets == 1).then_some(BodyFault::CloseAfter(length / 2));
    Behaviour { body, ..Behaviour::ranges(RangeAnswer::Ignored) }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                state.counters().connections += 1;
                let (tls, state) = (tls.clone(), Arc::clone(&state));
                // A client that goes away in the middle is what many tests are about, so errors end the connection silently.
                connections.spawn(async move {
                    let _ = socket.set_nodelay(true);
                    let _: io::Result<()> = match tls {
                        None => converse(socket, &state).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => swallow(stream).await,
                            Ok(stream) => converse(stream, &state).await,
                            Err(e) => Err(e),
                        },
                    };
                });
            }
        }
    }
}

/// Takes everything and answers nothing.
async fn swallow(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    let mut nowhere = vec![0; 16 * 1024];
    while stream.read(&mut nowhere).await? > 0 {}
    Ok(())
}

/// Asks and answers on one connection, until one side ends it.
async fn converse<L: Line>(line: L, state: &State) -> io::Result<()> {
    let mut line = BufReader::new(line);
    while let Some(mut ask) = Ask::read(&mut line).await? {
        state.counters().on_ask(&mut ask);
        let under_way = UnderWay(state);
        let after = answer(&mut line, &ask, state).await;
        drop(under_way);
        match after? {
            After::KeepOpen => {}
            After::Close => {
                line.shutdown().await?;
                return drain(line).await;
            }
            After::Reset => return line.into_inner().reset(),
        }
    }
    Ok(())
}

/// Waits for the client to close as well: closing with unread bytes would reset the connection and hide the orderly end.
async fn drain<L: Line>(mut line: BufReader<L>) -> io::Result<()> {
    let mut nowhere = [0; 1024];
    while line.read(&mut nowhere).await? > 0 {}
    Ok(())
}

async fn answer<L: Line>(line: &mut BufReader<L>, ask: &Ask, state: &State) -> io::Result<After> {
    if ask.path() == COUNTERS_PATH {
        let text = serde_json::to_string(&*state.counters())?;
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        line.write_all(head.as_bytes()).await?;
        line.write_all(text.as_bytes()).await?;
        line.flush().await?;
        return Ok(After::KeepOpen);
    }
    let (behaviour, version) = state.plan(ask);
    let answer = Answer::to(ask, &behaviour, &version);
    state.counters().on_status(ask.path(), answer.status);
    send(line, answer, &behaviour, &version, Account { state, ask }).await
}

/// Where the counters can be read as JSON.
pub const COUNTERS_PATH: &str = "/__counters";

/// Counts a request as under way until it is dropped, however its connection ends.
struct UnderWay<'a>(&'a State);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.counters().under_way -= 1;
    }
}

/// A connection that can also be broken.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {
    /// Ends the connection with a TCP reset.
    fn reset(self) -> io::Result<()>;
}

impl Line for TcpStream {
    fn reset(self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Line for TlsStream<TcpStream> {
    fn reset(self) -> io::Result<()> {
        self.into_inner().0.set_zero_linger()
    }
}

impl<L: Line> Line for BufReader<L> {
    fn reset(self) -> io::Result<()> {
        self.into_inner().reset()
    }
}
