//! A file of lines that two files bound: the newer is begun anew at 4 MiB, and the one before it stays beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes at which a file is begun anew.
pub(crate) const FILE: u64 = 4 * 1024 * 1024;

/// The newer file. Its lines are with the system when a write returns, and on the disk when somebody has synced them.
pub(crate) struct Lines {
    path: PathBuf,
    file: Option<Arc<File>>,
    length: u64,
    is_behind: bool,
}

impl Lines {
    /// The file at a path that ends in `.log`; it is made with its first line.
    pub(crate) fn at(path: PathBuf) -> Self {
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        Self { path, file: None, length, is_behind: false }
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
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                if self.length > 0 {
                    // A line that broke off ends here.
                    file.write_all(b"\n")?;
                }
                Arc::new(file)
            }
        };
        (&*file).write_all(text)?;
        self.length += text.len() as u64;
        self.is_behind = true;
        self.file = Some(file);
        Ok(())
    }

    /// Has what was written on the disk when it returns.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.behind().map_or(Ok(()), |file| file.sync_data())
    }

    /// The file if something was written that nobody has synced: whoever takes it syncs it, and may do so while others write.
    pub(crate) fn behind(&mut self) -> Option<Arc<File>> {
        if std::mem::take(&mut self.is_behind) { self.file.clone() } else { None }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // What cannot be made durable is lost with the machine only.
        let _ = self.sync();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_behind_until_somebody_takes_it_to_sync_it() {
        let home = tempfile::tempdir().expect("a directory");
        let mut lines = Lines::at(home.path().join("a.log"));
        assert!(lines.behind().is_none());
        lines.write(b"a\n").expect("writes");
        lines.write(b"b\n").expect("writes");
        assert!(lines.behind().is_some());
        assert!(lines.behind().is_none(), "somebody has it in hand");
        lines.write(b"c\n").expect("writes");
        lines.sync().expect("syncs");
        assert!(lines.behind().is_none());
    }
}
