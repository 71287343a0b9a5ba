//! What can go wrong in the store: one enum per operation, each naming the object, the fault and whether to try again.

use crate::ledger::Source;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a disk error means for whoever has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No room, or a disk quota is used up: passes when somebody makes room.
    Full,
    /// The process or the system has too many files open: passes.
    TooManyFiles,
    /// The file system is mounted read-only: an operator must act.
    ReadOnly,
    /// The directory or a file may not be used by this user: an operator must act.
    Denied,
    /// The medium failed (EIO and its kin): the data there is not to be believed.
    Medium,
    /// Anything else.
    Other,
}

/// A file operation that failed: what was attempted, on what, and the system's own error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskFault {
    /// What was attempted, as a verb.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: Arc<io::Error>,
}

impl DiskFault {
    pub(crate) fn new(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { operation, path: path.to_owned(), source: Arc::new(source.into()) }
    }

    /// What the error means.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        FaultKind::of(&self.source)
    }

    /// Whether the condition may pass without anybody repairing anything, so that a retry is worth it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), FaultKind::Full | FaultKind::TooManyFiles)
    }
}

impl FaultKind {
    /// The meaning of an I/O error.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            // A file size limit (RLIMIT_FSIZE) is a kind of quota, too.
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full,
            Some(Errno::MFILE | Errno::NFILE) => Self::TooManyFiles,
            Some(Errno::ROFS) => Self::ReadOnly,
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied,
            Some(Errno::IO | Errno::NXIO | Errno::NODEV) => Self::Medium,
            _ => Self::Other,
        }
    }
}

/// The index could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the cache index cannot {operation}: {source}")]
pub struct IndexFault {
    /// What was attempted, as a verb.
    pub operation: &'static str,
    /// What redb said.
    pub source: Arc<redb::Error>,
}

impl IndexFault {
    pub(crate) fn new(operation: &'static str, source: impl Into<redb::Error>) -> Self {
        Self { operation, source: Arc::new(source.into()) }
    }

    /// The same as a fault of the file that the index is.
    pub(crate) fn of_file(&self, path: &Path) -> DiskFault {
        let source = match &*self.source {
            // An I/O error cannot be copied; its number says what it means.
            redb::Error::Io(error) => error.raw_os_error().map(io::Error::from_raw_os_error),
            redb::Error::Corrupted(_) => Some(rustix::io::Errno::IO.into()),
            _ => None,
        };
        DiskFault::new("read", path, source.unwrap_or_else(|| io::Error::other(self.clone())))
    }

    /// What the error means for whoever has to act.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match &*self.source {
            redb::Error::Io(error) => FaultKind::of(error),
            redb::Error::Corrupted(_) => FaultKind::Medium,
            _ => FaultKind::Other,
        }
    }

    /// Whether a retry is worth it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), FaultKind::Full | FaultKind::TooManyFiles)
    }
}

/// Why a store did not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory (C-12). Stop it, or talk to it.
    #[error("the cache {} is in use by another process{}", directory.display(), holder.map_or(String::new(), |pid| format!(" (pid {pid})")))]
    InUse {
        /// The store's directory.
        directory: PathBuf,
        /// The process that holds it, when it said so.
        holder: Option<u32>,
    },
    /// The index was written by a later version (C-24): refused, not damaged. Upgrade, or choose another directory.
    #[error(
        "the cache has format {found}, this program understands up to {supported}: upgrade it or choose another cache directory"
    )]
    TooNew {
        /// The format found.
        found: u32,
        /// The newest format understood here.
        supported: u32,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexFault),
}

/// Why a question or an order to the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row is larger than the index takes; the caller's fault.
    #[error("a row of {bytes} bytes is too large: at most {limit}")]
    RowTooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The store is closing.
    #[error("the cache is closing")]
    Closing,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexFault),
}

impl StoreError {
    /// Whether a retry is worth it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Disk(fault) => fault.is_transient(),
            Self::Index(fault) => fault.is_transient(),
            Self::RowTooLarge { .. } | Self::Closing => false,
        }
    }
}

/// Why an entity was not let in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdmitError {
    /// It could not fit if the cache were empty: raise the quota, or fetch it without the cache.
    #[error("{need} bytes do not fit into a cache of {quota} bytes: raise the quota")]
    TooLarge {
        /// Bytes that the entity needs.
        need: u64,
        /// Bytes that the store may use.
        quota: u64,
    },
    /// Nothing more may go: what is there is in use. Passes when transfers end or the disk gets room.
    #[error(
        "no room for {need} bytes: {available} are free under the quota and reserve, {evictable} could go, the rest is in use"
    )]
    NoRoom {
        /// Bytes that the entity needs.
        need: u64,
        /// Bytes free now under quota and reserve.
        available: u64,
        /// Bytes of entities that nobody uses.
        evictable: u64,
    },
    /// A length beyond the protocol's largest.
    #[error("{length} bytes are more than an entity may have")]
    BeyondProtocol {
        /// The length asked for.
        length: u64,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdmitError {
    /// Whether the same request may succeed later without anybody changing a setting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoRoom { .. } => true,
            Self::TooLarge { .. } | Self::BeyondProtocol { .. } => false,
            Self::Disk(fault) => fault.is_transient(),
            Self::Store(error) => error.is_transient(),
        }
    }
}

/// Why pushed bytes were not written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The bytes of a block are not what was promised (T-01): nothing of the block was written. The source's fault.
    #[error("block {block} from {from} is not what was promised")]
    WrongBlock {
        /// The block.
        block: u32,
        /// Who sent it.
        from: Source,
    },
    /// Bytes from a peer without hashes to hold them against (T-01). The caller's fault.
    #[error("block {block} from a peer has no expected hash: refused")]
    Unverified {
        /// The block.
        block: u32,
    },
    /// Bytes beyond the entity's end. The source's fault.
    #[error("more bytes than the entity has: it ends at {length}")]
    PastEnd {
        /// The entity's length.
        length: u64,
    },
    /// The writer failed before and takes nothing more.
    #[error("the writer failed before")]
    Spent,
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}

/// Why received blocks were not acknowledged. They are dropped and must be fetched again (C-08).
#[derive(Debug, Clone, thiserror::Error)]
#[error("{blocks} blocks could not be made durable and must be fetched again: {source}")]
pub struct CommitError {
    /// How many blocks were dropped.
    pub blocks: u32,
    /// Why.
    pub source: StoreError,
}

/// Why blocks could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The block is not held (any more).
    #[error("block {block} is not held")]
    NotHeld {
        /// The block.
        block: u32,
    },
    /// The block on disk is not what was written (bit rot): dropped from the held set, to be fetched again.
    #[error("block {block} is corrupt on disk: dropped, fetch it again")]
    Corrupt {
        /// The block.
        block: u32,
    },
    /// The block is held, and is not the one that was asked for by its hash: it was fetched again since.
    #[error("block {block} was fetched anew, and is another one now")]
    Replaced {
        /// The block.
        block: u32,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskFault),
}
