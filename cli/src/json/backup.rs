//! A backup and what was made of it, as `--json` prints them.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use weir_master::backup;

/// What a backup holds, as `cluster backup` and `cluster check-backup` print it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Backup {
    /// The file, as it was named.
    file: String,
    /// Its bytes.
    bytes: u64,
    /// The cluster it is of.
    cluster: String,
    /// The log entry after which its state was taken.
    index: u64,
    /// When, in Unix milliseconds.
    taken_ms: u64,
    /// Version of the master that took it.
    version: String,
    /// Jobs.
    jobs: u64,
    /// Those of them that had not ended.
    active_jobs: u64,
    /// Names.
    names: u64,
    /// Pages of results.
    pages: u64,
    /// Other blobs.
    blobs: u64,
    /// Whether it has blobs: not with `--without-blobs`.
    with_blobs: bool,
}

/// What `cluster restore` made of a backup.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Restored {
    /// The new master's data directory.
    data_dir: String,
    /// The new cluster.
    cluster: String,
    /// Its master.
    node: String,
    /// Tasks with `--once` that had no result in the backup, and ended as if their agent was lost.
    lost_once: u64,
    /// The backup.
    backup: Backup,
}

impl Backup {
    /// What is in a file.
    pub(crate) fn new(contents: &backup::Contents, file: &Path) -> Backup {
        Backup {
            file: file.display().to_string(),
            bytes: contents.bytes,
            cluster: contents.cluster.to_string(),
            index: contents.index,
            taken_ms: contents.taken_ms,
            version: contents.version.clone(),
            jobs: contents.jobs,
            active_jobs: contents.active_jobs,
            names: contents.names,
            pages: contents.pages,
            blobs: contents.blobs,
            with_blobs: contents.with_blobs,
        }
    }
}

impl Restored {
    /// What a directory holds now.
    pub(crate) fn new(restored: &backup::Restored, file: &Path, dir: &Path) -> Restored {
        Restored {
            data_dir: dir.display().to_string(),
            cluster: restored.cluster.to_string(),
            node: restored.node.to_string(),
            lost_once: restored.lost_once,
            backup: Backup::new(&restored.contents, file),
        }
    }
}
