//! A file of lines that two files bound: the newer is begun anew at 4 MiB, and the one before it stays beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bytes at which a file is begun anew.
pub(crate) const FILE: u64 = 4 * 1024 * 1024;
/// Longest time until lines are on the disk.
const SYNC: Duration = Duration::from_secs(1);

/// The newer file. Its lines are with the system when a write returns, and on the disk a second later.
pub(crate) struct Lines {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    synced: Instant,
}

impl Lines {
    /// The file at a path that ends in `.log`; it is made with its first line.
    pub(crate) fn at(path: PathBuf) -> Self {
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        Self { path, file: None, length, synced: Instant::now() }
    }

    /// Adds whole lines. After an error the file is opened anew for the next ones.
    pub(crate) fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.length >= FILE {
            if let Some(file) = self.file.take() {
                file.sync_data()?;
            }
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
            self.length = 0;
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                if self.length > 0 {
                    // A line that broke off ends here.
                    file.write_all(b"\n")?;
                }
                file
            }
        };
        file.write_all(text)?;
        self.length += text.len() as u64;
        if self.synced.elapsed() >= SYNC {
            file.sync_data()?;
            self.synced = Instant::now();
        }
        self.file = Some(file);
        Ok(())
    }

    /// Has what was written on the disk when it returns.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // What cannot be made durable is lost with the machine only.
        let _ = self.sync();
    }
}
