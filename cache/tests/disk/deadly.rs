//! This machine's disk, which kills the process at an operation (`kill -9`, as the kernel does it).

use crate::meter::{Event, Kind, Meter, Order};
use crate::sim::STANDING_TIME;
use eddy_cache::disk::{Disk, DiskFile, Lock, OpenFile, RealDisk, Volume};
use rustix::process::{Signal, getpid, kill_process};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A real disk with an order.
#[derive(Clone)]
pub(crate) struct DeadlyDisk {
    meter: Arc<Mutex<Meter>>,
}

impl DeadlyDisk {
    /// The process dies at the operation of the order.
    pub(crate) fn share(order: Order) -> Arc<dyn Disk> {
        let mut meter = Meter::default();
        meter.order(Some(order));
        Arc::new(Self { meter: Arc::new(Mutex::new(meter)) })
    }

    /// Counts an operation, unless it is the last.
    fn step(&self, kind: Kind) {
        let event = self.meter.lock().unwrap_or_else(PoisonError::into_inner).step(kind);
        if event == Some(Event::Kill) {
            let _ = kill_process(getpid(), Signal::KILL);
            // Nothing comes after a kill.
            std::process::abort();
        }
    }

    fn file(&self, file: io::Result<OpenFile>) -> io::Result<OpenFile> {
        Ok(Arc::new(DeadlyFile { disk: self.clone(), file: file? }))
    }
}

impl std::fmt::Debug for DeadlyDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeadlyDisk")
    }
}

impl Disk for DeadlyDisk {
    fn clock(&self) -> i64 {
        STANDING_TIME
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::MakeDirectory);
        RealDisk.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::SyncDirectory);
        RealDisk.sync_directory(path)
    }

    fn create(&self, path: &Path) -> io::Result<OpenFile> {
        self.step(Kind::Create);
        self.file(RealDisk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<OpenFile> {
        self.step(Kind::Open);
        self.file(RealDisk.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Kind::Rename);
        RealDisk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.step(Kind::Unlink);
        RealDisk.unlink(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.step(Kind::List);
        RealDisk.list(directory)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.step(Kind::Measure);
        RealDisk.length(path)
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        self.step(Kind::Volume);
        RealDisk.volume(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.step(Kind::Lock);
        RealDisk.lock(path)
    }
}

/// A file of such a disk.
#[derive(Debug)]
struct DeadlyFile {
    disk: DeadlyDisk,
    file: OpenFile,
}

impl DiskFile for DeadlyFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.step(Kind::Read);
        self.file.read_at(into, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.step(Kind::Write);
        self.file.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.step(Kind::Measure);
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.step(Kind::SetLength);
        self.file.set_length(length)
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.disk.step(Kind::Preallocate);
        self.file.preallocate(length)
    }

    fn sync_bytes(&self) -> io::Result<()> {
        self.disk.step(Kind::Sync);
        self.file.sync_bytes()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.step(Kind::Sync);
        self.file.sync_all()
    }
}
