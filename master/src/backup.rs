//! A backup: one file that holds all of a cluster, and can be checked without one.
//!
//! It is a header and sections, each with a checksum that also covers where it stands: what the
//! backup is of, the replicated state, the pages that the state names, blobs, and an end. So a file
//! that was cut off, damaged or put together of others is recognised, and the place is told. It is
//! written by `crate::rpc`'s stream, read by [`check`], and made a data directory by [`restore`].

mod encode;

mod read;

mod check;

mod restore;

use std::{io, path::PathBuf};

use weir_proto::{digest::Digest, id::Namespace, malformed::Malformed};

pub use check::{Contents, check};
pub(crate) use encode::{Encoder, entry_head};
pub use restore::{RestoreError, Restored, restore};

/// The newest format of backups that this binary writes and reads.
pub const FORMAT: u32 = 1;

/// Begins every backup of whatever format; the format's number and a checksum of both follow.
const MAGIC: &[u8; 12] = b"weir-backup\n";
const HEADER_BYTES: usize = MAGIC.len() + 4 + blake3::OUT_LEN;
/// A section's tag and the length of what it holds.
const SECTION_HEAD_BYTES: usize = 1 + 8;

/// What a section holds; the number is the byte in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// Of which cluster the backup is, and when it was taken; the first.
    About = b'A',
    /// The replicated state, as snapshots have it; the second.
    State = b'S',
    /// A page of results that the state names.
    Page = b'P',
    /// Another blob of the store.
    Blob = b'B',
    /// How many there were, and a checksum of all checksums; the last.
    End = b'E',
}

/// A page or a blob, as its section begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Whether it is a page of results.
    pub(crate) is_page: bool,
    /// Whose it is.
    pub(crate) namespace: Namespace,
    /// Its name.
    pub(crate) digest: Digest,
    /// How many bytes follow.
    pub(crate) size_bytes: u64,
}

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no backup: it does not begin as one", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// A newer Weir wrote it.
    #[error(
        "{} has format {found}; this binary knows format {FORMAT}: use the one that wrote it, or a \
         newer one", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error(
        "{} is cut off, or damaged at byte {from}: {what} that begins there needs {needs} more \
         bytes than the file has", path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// What is not whole.
        what: String,
        /// Where that begins.
        from: u64,
        /// How many bytes are missing.
        needs: u64,
    },
    /// Its bytes are not those that were written.
    #[error("{} is damaged at bytes {from} to {to}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Where the damage begins at the earliest.
        from: u64,
        /// Where it ends at the latest.
        to: u64,
    },
    /// It is whole, and this binary cannot read what is in it.
    #[error("the state in {} is not readable", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Malformed,
    },
}

#[cfg(test)]
mod tests;
