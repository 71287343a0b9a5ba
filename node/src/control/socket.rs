//! The control socket: made so that only those reach it whom the node serves, and never taken from a node that lives.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 256;

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
            lock: Some(lock),
        })
    }

    /// Takes a socket that a service manager has made; must be called in a tokio runtime.
    pub fn adopt(given: std::os::unix::net::UnixListener) -> Result<Self, BindError> {
        let path = given.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_path_buf));
        let path = path.unwrap_or_default();
        let listener = UnixListener::from_std(given).map_err(system("use", &path))?;
        Ok(Self { listener, path, connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)), lock: None })
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
                Ok((stream, address)) => return (Connection { stream, _permit: permit }, address),
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
