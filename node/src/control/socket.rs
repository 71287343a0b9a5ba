//! The control socket: made so that only those reach it whom the node serves, and never taken from a node that lives.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use eddy_wire::api::{PROBLEM_MEDIA_TYPE, Problem};
use eddy_wire::catalogue::ErrorCode;
use rustix::fs::FlockOperation;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Most connections at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 256;
/// Most of another user than the node's own and root; more are told so, and closed. A person watches a few jobs at a time, a script asks one
/// question after the other.
const MAX_OF_A_USER: usize = 32;
/// Most of all those users together, so that whoever administers the node always gets in.
const MAX_OF_USERS: usize = MAX_CONNECTIONS - MAX_OF_A_USER;

/// Callers that are told at a time that there is no place for them; others hear nothing.
const MAX_REFUSED: usize = 16;
/// How long that may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes of the longest path that a Unix socket may have, without the final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// The pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the node with this home listens: the same for everybody, whatever their session looks like.
#[must_use]
pub fn socket_of(home: &Path) -> PathBuf {
    home.join("run").join("control.sock")
}

/// Why the control socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another node answers there.
    #[error("another node serves {0}")]
    InUse(PathBuf),
    /// Longer than the kernel takes.
    #[error("the path of the socket is longer than {MAX_SOCKET_PATH} bytes: {0}")]
    TooLong(PathBuf),
    /// Something that is no socket stands there; it is not ours to remove.
    #[error("something that is no socket stands at {0}")]
    NotASocket(PathBuf),
    /// Others than its owner may write to the directory, or it belongs to somebody else.
    #[error("the directory {0} is not for its owner alone")]
    OpenDirectory(PathBuf),
    /// The system refused.
    #[error("cannot {action} {path}")]
    System {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<&BindError> for Problem {
    fn from(error: &BindError) -> Self {
        let code = if matches!(error, BindError::InUse(_)) { ErrorCode::StoreInUse } else { ErrorCode::SocketUnusable };
        let cause = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
        Self::new(code, format!("{error}{cause}"))
    }
}

/// Who can open the socket; what they may do then is another question (T-44).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The node's own user: mode 0600 in a directory of mode 0700.
    Closed,
    /// Everybody on this machine: mode 0666 in a directory of mode 0755, where only the node's user may put something.
    Open,
}

impl Door {
    fn socket(self) -> u32 {
        if self == Self::Open { 0o666 } else { 0o600 }
    }

    fn directory(self) -> u32 {
        if self == Self::Open { 0o755 } else { 0o700 }
    }
}

/// A listening control socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlListener {
    listener: UnixListener,
    path: PathBuf,
    connections: Arc<Semaphore>,
    places: Places,
    /// Those that are being told that there is no place for them.
    refused: JoinSet<()>,
    /// How many there have been.
    calls: Arc<AtomicU64>,
    /// Locked for as long as this lives: whoever holds it may judge and remove what stands at `path`. A socket that was given is
    /// its maker's, and stays.
    lock: Option<File>,
}

impl ControlListener {
    /// Makes the socket of a node of one user: see [`Self::bind_for`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Self::bind_for(path, Door::Closed)
    }

    /// Makes the socket; must be called in a tokio runtime.
    ///
    /// A directory that is missing is made. What a dead node left behind is removed, under a lock and only if nobody answers there.
    pub fn bind_for(path: &Path, door: Door) -> Result<Self, BindError> {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(BindError::TooLong(path.to_owned()));
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        keep_directory(directory, door)?;
        let lock = take_lock(path)?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(system("make", path))?;
        std::fs::set_permissions(path, Permissions::from_mode(door.socket()))
            .map_err(system("set the mode of", path))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            places: Places::default(),
            refused: JoinSet::new(),
            calls: Arc::default(),
            lock: Some(lock),
        })
    }

    /// Takes a socket that a service manager has made; must be called in a tokio runtime.
    pub fn adopt(given: std::os::unix::net::UnixListener) -> Result<Self, BindError> {
        let path = given.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_path_buf));
        let path = path.unwrap_or_default();
        let listener = UnixListener::from_std(given).map_err(system("use", &path))?;
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (places, refused, calls) = (Places::default(), JoinSet::new(), Arc::default());
        Ok(Self { listener, path, connections, places, refused, calls, lock: None })
    }

    /// How many connections there have been, as it goes on.
    #[must_use]
    pub fn calls(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.calls)
    }

    /// One permit for each connection that there could be more.
    #[must_use]
    pub fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.connections)
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ControlListener {
    /// Tells the caller that there is no place. Not more than a few at a time, nor for long: nobody is waited for who takes too much already.
    fn refuse(&mut self, stream: UnixStream) {
        while self.refused.try_join_next().is_some() {}
        if self.refused.len() < MAX_REFUSED {
            self.refused.spawn(async move {
                let _ = tokio::time::timeout(FAREWELL, bid_farewell(stream)).await;
            });
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Still under the lock, so this is our own socket. A failure leaves a stale one, which the next bind removes.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::System { action, path, source }
}

/// Makes the directory, or makes sure that nobody else can put something into it.
fn keep_directory(directory: &Path, door: Door) -> Result<(), BindError> {
    if !directory.exists() {
        let made = DirBuilder::new().recursive(true).mode(door.directory()).create(directory);
        made.map_err(system("make", directory))?;
    }
    let metadata = std::fs::metadata(directory).map_err(system("look at", directory))?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !ours || metadata.mode() & 0o022 != 0 {
        return Err(BindError::OpenDirectory(directory.to_owned()));
    }
    Ok(())
}

/// Takes the lock beside the socket. Its file stays: removing it would let two nodes lock two files of one name.
fn take_lock(path: &Path) -> Result<File, BindError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let lock = lock.map_err(system("make", &name))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BindError::InUse(path.to_owned())),
        Err(errno) => Err(system("lock", &name)(errno.into())),
    }
}

/// Removes the socket that a dead node left behind; one that answers, or anything else, stays.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", path)(error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(system("remove", path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // It answers, or is too busy to: somebody lives there.
        _ => Err(BindError::InUse(path.to_owned())),
    }
}

impl Listener for ControlListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The semaphore is never closed; if it were, accepting without a bound would be wrong, so nothing is accepted.
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    self.calls.fetch_add(1, Ordering::Relaxed);
                    let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                    match self.places.take(uid) {
                        Some(place) => return (Connection { stream, _permit: permit, _place: place }, address),
                        None => self.refuse(stream),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One accepted connection, which counts against [`MAX_CONNECTIONS`] for as long as it lives.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

/// The connections of each user, so that none takes them all.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<BTreeMap<u32, usize>>>);

/// A connection of a user, counted as long as it lives.
#[derive(Debug)]
struct Place {
    /// Missing for whom there is no bound but that of all.
    user: Option<(Places, u32)>,
}

impl Places {
    /// A place for one more connection of a user. Whom the kernel does not name gets none.
    fn take(&self, uid: Option<u32>) -> Option<Place> {
        let uid = uid?;
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Some(Place { user: None });
        }
        let mut counts = self.counts();
        let (all, own) = (counts.values().sum::<usize>(), counts.get(&uid).copied().unwrap_or(0));
        if all >= MAX_OF_USERS || own >= MAX_OF_A_USER {
            return None;
        }
        counts.insert(uid, own + 1);
        Some(Place { user: Some((self.clone(), uid)) })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, uid)) = &self.user else { return };
        let mut counts = places.counts();
        if let Some(count) = counts.get_mut(uid) {
            *count -= 1;
            if *count == 0 {
                counts.remove(uid);
            }
        }
    }
}

/// Says that there is no place, and reads what is asked all the same: a connection that is closed over an unread question breaks before
/// its answer is read.
async fn bid_farewell(mut stream: UnixStream) -> io::Result<()> {
    let problem = Problem::new(ErrorCode::Busy, format!("a user has at most {MAX_OF_A_USER} connections at a time"));
    let body = serde_json::to_string(&problem)?;
    let head = format!(
        "HTTP/1.1 {} \r\ncontent-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem.status,
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await?;
    let mut asked = [0; 1024];
    while stream.read(&mut asked).await? > 0 {}
    Ok(())
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Who is at the other end, by the kernel's word (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user id; missing if the kernel did not say.
    pub uid: Option<u32>,
}

impl Connected<IncomingStream<'_, ControlListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, ControlListener>) -> Self {
        Self { uid: stream.io().stream.peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").mode() & 0o777
    }

    #[test]
    fn no_user_takes_the_places_of_others_and_the_administrator_always_has_one() {
        let places = Places::default();
        let own = rustix::process::geteuid().as_raw();
        let mut taken = Vec::new();
        for user in (61_001..61_100).filter(|user| *user != own) {
            let before = taken.len();
            taken.extend(std::iter::from_fn(|| places.take(Some(user))));
            let expected = MAX_OF_A_USER.min(MAX_OF_USERS - before);
            assert_eq!(taken.len() - before, expected, "each has its share while there are places");
        }
        assert_eq!(taken.len(), MAX_OF_USERS);
        assert!(places.take(Some(0)).is_some() && places.take(Some(own)).is_some());
        assert!(places.take(None).is_none());
        taken.truncate(MAX_OF_USERS - 1);
        assert!(places.take(Some(61_099)).is_some(), "what is given back is there for others");
        taken.clear();
        assert!(places.counts().is_empty());
    }

    #[tokio::test]
    async fn a_call_that_came_and_went_is_counted() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("control.sock");
        let mut listener = ControlListener::bind(&path).expect("a socket");
        let calls = listener.calls();
        for count in 1..=3 {
            let _call = UnixStream::connect(&path).await.expect("it listens");
            drop(listener.accept().await);
            assert_eq!(calls.load(Ordering::Relaxed), count);
        }
    }

    #[tokio::test]
    async fn directory_and_socket_are_for_their_owner_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("run/control.sock");
        let listener = ControlListener::bind(&path).expect("a socket");
        assert_eq!((mode(&home.path().join("run")), mode(&path)), (0o700, 0o600));
        drop(listener);
        assert!(!path.exists(), "nothing stays behind");
    }

    #[tokio::test]
    async fn a_living_node_keeps_its_socket() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("control.sock");
        let _first = ControlListener::bind(&path).expect("a socket");
        assert!(matches!(ControlListener::bind(&path), Err(BindError::InUse(_))));
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_kept_even_without_a_lock() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("control.sock");
        let _foreign = UnixListener::bind(&path).expect("a socket");
        assert!(matches!(ControlListener::bind(&path), Err(BindError::InUse(_))));
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn what_a_dead_node_left_behind_is_replaced() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("control.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists(), "the file of a closed socket stays");
        let listener = ControlListener::bind(&path).expect("a new socket");
        assert_eq!(listener.path(), path);
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("control.sock");
        std::fs::write(&path, "precious").expect("a file");
        assert!(matches!(ControlListener::bind(&path), Err(BindError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
    }

    #[tokio::test]
    async fn a_directory_where_others_may_write_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o777)).expect("a mode");
        let bound = ControlListener::bind(&home.path().join("control.sock"));
        assert!(matches!(bound, Err(BindError::OpenDirectory(_))));
    }

    #[tokio::test]
    async fn a_path_that_the_kernel_would_cut_is_refused() {
        let path = Path::new("/tmp").join("x".repeat(MAX_SOCKET_PATH));
        assert!(matches!(ControlListener::bind(&path), Err(BindError::TooLong(_))));
    }
}
