//! Looks at a backup without a cluster: that it is whole, and what is in it.

use std::path::Path;

use weir_proto::{digest::Digest, id::ClusterId, wire};
use weir_scheduler::state::ClusterState;

use super::{BackupError, Entry, read::Reader};

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The cluster it is of.
    pub cluster: ClusterId,
    /// The log entry after which its state was taken.
    pub index: u64,
    /// When, in Unix milliseconds.
    pub taken_ms: u64,
    /// Version of the master that took it.
    pub version: String,
    /// Jobs.
    pub jobs: u64,
    /// Those of them that go on.
    pub active_jobs: u64,
    /// Names.
    pub names: u64,
    /// Pages of results.
    pub pages: u64,
    /// Other blobs; none where it was taken without them.
    pub blobs: u64,
    /// Whether it was taken with blobs.
    pub with_blobs: bool,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Reads a backup to its end and checks every byte of it.
///
/// # Errors
/// See [`BackupError`]: what is wrong with it, and where.
pub fn check(path: &Path) -> Result<Contents, BackupError> {
    let (mut reader, about, state) = Reader::open(path)?;
    while let Some(entry) = reader.next()? {
        let mut hasher = blake3::Hasher::new();
        while let Some(chunk) = reader.chunk()? {
            hasher.update(&chunk);
        }
        check_digest(&reader, &entry, Digest(*hasher.finalize().as_bytes()))?;
    }
    Ok(contents(&reader, about, &state))
}

/// A blob whose section is whole may still be none of its name: then it was so when it was written.
pub(super) fn check_digest(
    reader: &Reader,
    entry: &Entry,
    actual: Digest,
) -> Result<(), BackupError> {
    match actual == entry.digest {
        true => Ok(()),
        false => Err(reader.wrong(format!("its bytes hash to {actual}"))),
    }
}

/// What a backup holds that was read to its end.
pub(super) fn contents(
    reader: &Reader,
    about: wire::BackupAbout,
    state: &ClusterState,
) -> Contents {
    let (pages, blobs, bytes) = reader.totals();
    Contents {
        cluster: ClusterId(about.cluster),
        index: state.applied,
        taken_ms: about.taken_ms,
        version: about.version,
        jobs: state.jobs.len() as u64,
        active_jobs: state.active.len() as u64,
        names: state.names.len() as u64,
        pages,
        blobs,
        with_blobs: !about.without_blobs,
        bytes,
    }
}
