//! What can go wrong between a blob and this machine's disk.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use weir_proto::{digest::Digest, id::Namespace};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("the store in {} is in use; stop who uses it, or choose another directory", dir.display())]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// A newer Weir wrote it.
    #[error("the store in {} has format {found}; this binary knows up to {known}", dir.display())]
    TooNew {
        /// The store's directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The file `format` says something else than a store's does.
    #[error("{} is not a store's format file; choose another directory", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The disk failed us.
    #[error("cannot open the store at {}", path.display())]
    Io {
        /// What was being made or read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index did not open.
    #[error("cannot open the index {}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
}

/// Why a blob was not stored. The store stays usable.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// No space is left for it, on the disk or within the owner's quota.
    #[error("the disk is full at {}; free some space and put it again", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The disk failed us.
    #[error("cannot write {}", path.display())]
    Io {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index failed us.
    #[error("cannot write the index {}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What redb says; shared by everyone whose put was in the same transaction.
        source: Arc<redb::Error>,
    },
    /// The bytes are not those that were announced.
    #[error("the bytes put as {expected} hash to {actual}")]
    WrongDigest {
        /// As announced.
        expected: Digest,
        /// Of the bytes that came.
        actual: Digest,
    },
    /// The blob is above the bound.
    #[error("the blob is larger than {max_bytes} bytes, the most a store takes")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
    /// The thread that writes the index died of a bug.
    #[error("the store's writer stopped; restart this process")]
    Stopped,
}

impl PutError {
    pub(crate) fn io(path: &Path, source: io::Error) -> PutError {
        let path = path.to_owned();
        if is_disk_full(&source) {
            return PutError::DiskFull { path };
        }
        PutError::Io { path, source }
    }

    pub(crate) fn index(path: &Path, source: Arc<redb::Error>) -> PutError {
        let path = path.to_owned();
        match &*source {
            redb::Error::Io(source) if is_disk_full(source) => PutError::DiskFull { path },
            _ => PutError::Index { path, source },
        }
    }
}

/// Why a blob cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The namespace has no such blob, whether or not another has.
    #[error("namespace {namespace} has no blob {digest}")]
    NotFound {
        /// Who asked.
        namespace: Namespace,
        /// For what.
        digest: Digest,
    },
    /// The bytes on disk changed or are gone; putting the blob again repairs it.
    #[error("blob {expected} is corrupt: its bytes hash to {actual}; put it again")]
    Corrupt {
        /// Its name.
        expected: Digest,
        /// What the bytes hash to now.
        actual: Digest,
    },
    /// More bytes than the caller takes.
    #[error("{size_bytes} bytes are more than the {max_bytes} that are read at once")]
    TooLarge {
        /// Of the blob, or of the whole batch.
        size_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The disk failed us.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index failed us.
    #[error("cannot read the index {}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
}

impl GetError {
    /// Whether putting the blob again would help.
    pub fn is_curable(&self) -> bool {
        matches!(self, GetError::NotFound { .. } | GetError::Corrupt { .. })
    }
}

/// Why a blob was not copied to a host file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The blob cannot be read.
    #[error(transparent)]
    Get(#[from] GetError),
    /// Something is there already; nothing is ever overwritten.
    #[error("{} exists already; remove it or choose another path", path.display())]
    Exists {
        /// The file asked for.
        path: PathBuf,
    },
    /// No space is left for the copy.
    #[error("the disk is full at {}; free some space and try again", path.display())]
    DiskFull {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file asked for.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ExportError {
    pub(crate) fn write(path: &Path, source: io::Error) -> ExportError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists { path },
            _ if is_disk_full(&source) => ExportError::DiskFull { path },
            _ => ExportError::Write { path, source },
        }
    }
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
