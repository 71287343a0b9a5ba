//! The index's file as redb sees it: a file of the disk under the store's seam.

use super::OpenFile;
use redb::StorageBackend;
use std::io;

/// Lends a file of the disk to redb. Two processes are kept apart by the store's own lock (C-12).
#[derive(Debug)]
pub(crate) struct DiskBackend(pub(crate) OpenFile);

impl StorageBackend for DiskBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.0.set_length(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_bytes()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), io::Error> {
        self.0.write_all_at(bytes, offset)
    }
}
