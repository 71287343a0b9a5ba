//! File systems of a test's own, in a mount namespace of their own: small ones that fill up, some that become read-only.
//!
//! A process that sleeps holds the namespace; programs join it with `nsenter`, and the test looks in through `/proc`. Nothing
//! of it can be seen outside, and all of it goes with its last process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Running;

/// How long the namespace may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mount namespace.
#[derive(Debug)]
pub struct Mounts {
    holder: Running,
}

impl Mounts {
    /// A namespace that begins as a copy of the machine's.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", "echo ready; exec sleep 3600"]);
        let holder = Running::start(command)?;
        holder.wait_line("ready", PATIENCE)?;
        Ok(Self { holder })
    }

    /// Whether this machine lets the test mount. Prints when it does not; in CI nothing is skipped.
    ///
    /// # Panics
    /// When it does not and `CI` is set.
    #[must_use]
    pub fn ready() -> bool {
        let tried = || -> Result<()> {
            let place = tempfile::tempdir()?;
            Self::new()?.tmpfs(place.path(), 1 << 20)
        };
        match tried() {
            Ok(()) => true,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "small file systems must be mountable in CI: {error:#}");
                eprintln!("skipped: no right to mount a small file system ({error:#})");
                false
            }
        }
    }

    /// Mounts an empty file system of so many bytes in memory at a directory, which is made; anybody may write there.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn tmpfs(&self, at: &Path, bytes: u64) -> Result<()> {
        std::fs::create_dir_all(at)?;
        let options = format!("size={bytes},mode=0777");
        self.run(
            "mount",
            [OsStr::new("-t"), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "none".as_ref(), at.as_ref()],
        )
    }

    /// Mounts the file system at `at` anew with these options: `ro`, `rw`, `size=...`.
    ///
    /// # Errors
    /// When the kernel refuses, for example while something is open for writing there.
    pub fn remount(&self, at: &Path, options: &str) -> Result<()> {
        self.run("mount", [OsStr::new("-o"), format!("remount,{options}").as_ref(), at.as_ref()])
    }

    /// Mounts a file system at a directory that never answers, as a server that is gone; it answers with errors when the process is dropped
    /// that was to serve it.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn hang(&self, at: &Path) -> Result<Running> {
        let mut command = self.command("sh");
        // The kernel waits for the first word of whoever serves it, which never comes.
        let script = "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none \"$1\" \
            && echo ready && exec sleep 3600";
        command.args(["-c", script, "sh"]).arg(at);
        let holder = Running::start(command)?;
        holder.wait_line("ready", PATIENCE)?;
        Ok(holder)
    }

    /// A path in the namespace, as the test sees it from outside.
    #[must_use]
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A command that will run in the namespace. The child's process id is that of `program` itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id())).arg("--").arg(program);
        command
    }

    /// Fills the file system of a directory with a file; deleting it makes room again.
    ///
    /// # Errors
    /// When something else fails than the want of room.
    pub fn fill(&self, directory: &Path) -> Result<PathBuf> {
        use std::io::Write as _;
        let path = self.seen(&directory.join("filler"));
        let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        let mut size = 1 << 20;
        let junk = vec![1; size];
        while size >= 512 {
            match file.write(&junk[..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(path)
    }

    fn run<'a>(&self, program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
        let output = self.command(program).args(arguments).output()?;
        ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}
