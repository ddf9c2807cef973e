//! Makes a new master's data directory of a backup.
//!
//! It is made beside its place and takes it in one step, so there is a whole one or none. The master
//! is the first of a new cluster: masters and agents of the old one, should they still run, are told
//! apart by the cluster's name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use weir_proto::{
    digest::Digest,
    id::{ClusterId, Namespace, NodeId},
};
use weir_scheduler::{apply::restored, members::Identity};
use weir_store::blobs::{BlobStore, OpenError, PutError, SMALL_BLOB_BYTES};

use super::{
    BackupError, Contents, Entry,
    check::{check_digest, contents},
    read::Reader,
};
use crate::{
    log::{LogError, RedbLog},
    node,
};

/// Small blobs that are stored in one durable step, and their bytes together.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;

/// A data directory that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub contents: Contents,
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its master.
    pub node: NodeId,
    /// Tasks that run at most once and ended with the old cluster.
    pub lost_once: u64,
}

/// Why there is no data directory.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Something is there.
    #[error("{} is not empty; name a directory that is, or that is not there yet", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory or file cannot be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write the new master's log")]
    Log(#[from] LogError),
    /// The store cannot be made.
    #[error("cannot make the new master's store")]
    Store(#[from] OpenError),
    /// A blob cannot be stored.
    #[error("cannot store what is in the backup")]
    Put(#[from] PutError),
}

/// Makes `dir` the data directory of a master that goes on from a backup, in a cluster of its own.
///
/// # Errors
/// See [`RestoreError`]; then `dir` is as it was.
pub async fn restore(file: &Path, dir: &Path) -> Result<Restored, RestoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Make { path, source }
    };
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(RestoreError::NotEmpty { path: dir.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(dir)(source)),
    }
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let unfinished = tempfile::Builder::new().prefix(".restoring-").tempdir_in(parent);
    let unfinished = unfinished.map_err(failed(parent))?;
    let restored = fill(file, unfinished.path()).await?;
    let sync = |dir: &Path| File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir));
    // Store and log sync what is in their files; that they are there at all is the directories' to say.
    for made in ["raft", "store", ""] {
        sync(&unfinished.path().join(made))?;
    }
    // It takes the place of an empty directory too.
    fs::rename(unfinished.path(), dir).map_err(failed(dir))?;
    // There is nothing left to remove.
    let _moved = unfinished.keep();
    sync(parent)?;
    Ok(restored)
}

async fn fill(file: &Path, dir: &Path) -> Result<Restored, RestoreError> {
    let (mut reader, about, mut state) = Reader::open(file)?;
    let store = BlobStore::open(dir.join("store")).await?;
    let mut small = Small::new(&store);
    while let Some(entry) = reader.next()? {
        if entry.size_bytes > SMALL_BLOB_BYTES {
            put_large(&store, &mut reader, &entry).await?;
        } else {
            small.put(&mut reader, entry).await?;
        }
    }
    small.flush().await?;
    let contents = contents(&reader, about.clone(), &state);
    let random = crate::random_bytes()
        .map_err(|source| RestoreError::Make { path: dir.to_owned(), source })?;
    let cluster = ClusterId(u64::from_le_bytes(random) | 1);
    let identity = Identity { cluster, node: NodeId(1) };
    let lost_once = restored(&mut state, identity);
    let log = RedbLog::open(&dir.join("raft"))?;
    // Leases are named by the terms of their leaders: none of the old cluster is given again.
    log.identify(identity, &node::begin_from(&state, about.term + 1))?;
    Ok(Restored { contents, cluster, node: identity.node, lost_once })
}

async fn put_large(
    store: &BlobStore,
    reader: &mut Reader,
    entry: &Entry,
) -> Result<(), RestoreError> {
    let mut upload = store.begin_put(&entry.namespace, Some(entry.digest));
    while let Some(chunk) = reader.chunk()? {
        upload = upload.write(chunk).await?;
    }
    match upload.finish().await {
        Ok(_) => Ok(()),
        Err(PutError::WrongDigest { actual, .. }) => Ok(check_digest(reader, entry, actual)?),
        Err(error) => Err(error.into()),
    }
}

/// Small blobs that wait for the rest of their batch.
struct Small<'a> {
    store: &'a BlobStore,
    namespace: Option<Namespace>,
    blobs: Vec<Bytes>,
    bytes: usize,
}

impl Small<'_> {
    fn new(store: &BlobStore) -> Small<'_> {
        Small { store, namespace: None, blobs: Vec::new(), bytes: 0 }
    }

    async fn put(&mut self, reader: &mut Reader, entry: Entry) -> Result<(), RestoreError> {
        let blob = reader.chunk()?.unwrap_or_default();
        if !blob.is_empty() {
            // One chunk is all of it; what is left is its checksum.
            reader.chunk()?;
        }
        check_digest(reader, &entry, Digest::of(&blob))?;
        let full = self.blobs.len() >= BATCH || self.bytes >= BATCH_BYTES;
        if full || self.namespace.as_ref().is_some_and(|namespace| *namespace != entry.namespace) {
            self.flush().await?;
        }
        self.bytes += blob.len();
        self.namespace = Some(entry.namespace);
        self.blobs.push(blob);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), RestoreError> {
        self.bytes = 0;
        if let Some(namespace) = self.namespace.take() {
            self.store.put_batch(&namespace, std::mem::take(&mut self.blobs)).await?;
        }
        Ok(())
    }
}
