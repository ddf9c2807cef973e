//! The store as an agent sees it: a remote store, and a copy on this machine's disk of what it gave.
//!
//! A namespace gets only what the remote store gave to that namespace: a blob that another one
//! brought here is fetched again, which asks for permission. Nothing is evicted yet: the copy grows
//! until the disk is full. The next stop on a task's way is the agent, in `weir-agent`.

mod hold;

mod verified;

mod flights;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource};

pub use self::hold::HoldError;
use self::{flights::Flights, verified::Verified};
use crate::{
    access::BlobSource,
    blobs::{BlobStore, ExportError, GetError, MAX_BLOB_BYTES, MAX_WHOLE_BYTES, PutError},
    bounds::MAX_BATCH_BYTES,
    directory::{
        MaterializeError, Produced, PutPathError, PutTreeError, materialize, put_path, put_tree,
    },
    remote::{RemoteError, RemoteStore},
};

/// A remote store with a local copy; a clone is another handle of the same cache.
#[derive(Debug, Clone)]
pub struct CachedStore {
    local: BlobStore,
    remote: RemoteStore,
    flights: Arc<Flights<FetchKey, Result<u64, FetchError>>>,
    /// Copies on this machine that are being verified.
    checks: Arc<Flights<FetchKey, Result<u64, FetchError>>>,
    verified: Arc<Verified>,
}

/// What makes two fetches the same: with another bound, one may fail and the other not.
type FetchKey = (Namespace, Digest, u64);

/// Why a blob is not here and cannot be brought here; shared by all who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The remote store did not give it.
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// It came, but this machine's disk did not take it.
    #[error("cannot keep blob {digest} on this machine")]
    Keep {
        /// The blob.
        digest: Digest,
        /// Why.
        source: Arc<PutError>,
    },
    /// It is here, but cannot be read.
    #[error(transparent)]
    Local(Arc<GetError>),
    /// It is here, but was not copied to a host file.
    #[error(transparent)]
    Export(Arc<ExportError>),
}

impl From<RemoteError> for FetchError {
    fn from(error: RemoteError) -> FetchError {
        FetchError::Remote(Arc::new(error))
    }
}

impl From<GetError> for FetchError {
    fn from(error: GetError) -> FetchError {
        FetchError::Local(Arc::new(error))
    }
}

/// Why a host directory was not put.
#[derive(Debug, thiserror::Error)]
pub enum PutDirectoryError {
    /// It, or something in it, cannot be put.
    #[error(transparent)]
    Put(#[from] PutPathError<RemoteError>),
    /// It is a file.
    #[error("{} is a file, not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
}

impl CachedStore {
    /// A cache of `remote` in `local`, which holds nothing that the remote store lacks.
    pub fn new(local: BlobStore, remote: RemoteStore) -> CachedStore {
        CachedStore {
            local,
            remote,
            flights: Arc::default(),
            checks: Arc::default(),
            verified: Arc::default(),
        }
    }

    /// The copy on this machine.
    pub fn local(&self) -> &BlobStore {
        &self.local
    }

    /// Brings a blob to this machine if it is not here, verified; returns its size in bytes.
    ///
    /// Many who fetch one blob at once download it once.
    ///
    /// # Errors
    /// `Remote` when the remote store fails or lacks it; `Keep` when this disk does; `Local`.
    pub async fn fetch(&self, namespace: &Namespace, digest: Digest) -> Result<u64, FetchError> {
        self.fetch_bounded(namespace, digest, MAX_BLOB_BYTES).await
    }

    async fn fetch_bounded(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<u64, FetchError> {
        match self.local.size(namespace, digest).await {
            Err(GetError::NotFound { .. }) => self.bring(namespace, digest, max_bytes).await,
            found => Ok(found?),
        }
    }

    /// Downloads a blob, or waits for who does. Repairs a corrupt copy.
    async fn bring(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<u64, FetchError> {
        let key = (namespace.clone(), digest, max_bytes);
        self.flights.share(key, || self.download(namespace, digest, max_bytes)).await
    }

    async fn download(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<u64, FetchError> {
        let keep = |source| FetchError::Keep { digest, source: Arc::new(source) };
        let mut chunks = self.remote.read(namespace, digest, max_bytes).await?;
        let mut upload = self.local.begin_put(namespace, Some(digest));
        while let Some(chunk) = chunks.next_chunk().await? {
            upload = upload.write(chunk).await.map_err(keep)?;
        }
        let (_, size_bytes) = upload.finish().await.map_err(keep)?;
        self.verified.add(digest);
        Ok(size_bytes)
    }

    /// A whole blob of at most `MAX_WHOLE_BYTES`, from here or fetched, verified.
    ///
    /// # Errors
    /// As `fetch`; `Local` or `Remote` with `TooLarge` above the bound.
    pub async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, FetchError> {
        match self.local.get(namespace, digest).await {
            Err(GetError::NotFound { .. } | GetError::Corrupt { .. }) => {
                self.bring(namespace, digest, MAX_WHOLE_BYTES).await?;
                Ok(self.local.get(namespace, digest).await?)
            }
            got => Ok(got?),
        }
    }

    /// Writes a blob to the new host file `to`, or a tree into the directory `to`, fetching what is
    /// not here; returns the bytes of all files.
    ///
    /// # Errors
    /// See `directory::materialize`.
    pub async fn materialize(
        &self,
        namespace: &Namespace,
        root: InputSource,
        to: &Path,
        max_bytes: u64,
    ) -> Result<u64, MaterializeError<FetchError>> {
        materialize(self, namespace, root, to, max_bytes).await
    }

    /// Puts a blob; durable at the remote store on return. It stays here too if there is room.
    ///
    /// # Errors
    /// See `RemoteStore::put`.
    pub async fn put(&self, namespace: &Namespace, blob: Bytes) -> Result<Digest, RemoteError> {
        let digest = self.remote.put(namespace, blob.clone()).await?;
        // The copy only spares a download: the put stands without it.
        if let Err(error) = self.local.put(namespace, blob).await {
            tracing::warn!(%digest, error = &error as &dyn std::error::Error, "no local copy");
        }
        Ok(digest)
    }

    /// Puts a host directory; durable at the remote store on return. Returns its tree's digest and
    /// the bytes of all files. No copy is kept here.
    ///
    /// # Errors
    /// `NotADirectory`; `Put`, see `directory::put_path`.
    pub async fn put_directory(
        &self,
        namespace: &Namespace,
        path: &Path,
    ) -> Result<(Digest, u64), PutDirectoryError> {
        let put = put_path(&self.remote, namespace, path).await?;
        match put.root {
            InputSource::Tree(digest) => Ok((digest, put.size_bytes)),
            InputSource::Blob(_) => Err(PutDirectoryError::NotADirectory { path: path.to_owned() }),
        }
    }

    /// Puts a directory that is on no disk; durable at the remote store on return. Returns its
    /// tree's digest and the bytes of all files. No copy is kept here.
    ///
    /// # Errors
    /// See `directory::put_tree`.
    pub async fn put_tree(
        &self,
        namespace: &Namespace,
        root: BTreeMap<String, Produced>,
    ) -> Result<(Digest, u64), PutTreeError<RemoteError>> {
        put_tree(&self.remote, namespace, root).await
    }
}

impl BlobSource for CachedStore {
    type Error = FetchError;

    async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, FetchError> {
        CachedStore::get(self, namespace, digest).await
    }

    /// Fetches what is missing here in one call, and keeps it in one step. Two callers who lack the
    /// same small blob at once may both fetch it.
    async fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Bytes>, FetchError> {
        let mut missing = self.local.find_missing(namespace, digests).await?;
        missing.sort();
        missing.dedup();
        if !missing.is_empty() {
            let blobs = self.remote.get_batch(namespace, &missing).await?;
            let kept = self.local.put_batch(namespace, blobs).await;
            let digest = missing[0];
            kept.map_err(|source| FetchError::Keep { digest, source: Arc::new(source) })?;
        }
        match self.local.get_batch(namespace, digests, MAX_BATCH_BYTES).await {
            Err(GetError::Corrupt { expected, .. }) => {
                self.bring(namespace, expected, MAX_BATCH_BYTES).await?;
                Ok(self.local.get_batch(namespace, digests, MAX_BATCH_BYTES).await?)
            }
            got => Ok(got?),
        }
    }

    async fn export(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> Result<u64, FetchError> {
        self.fetch_bounded(namespace, digest, max_bytes).await?;
        let failed = |error| FetchError::Export(Arc::new(error));
        match self.local.export(namespace, digest, path, max_bytes).await {
            Err(ExportError::Get(GetError::Corrupt { .. })) => {
                self.bring(namespace, digest, max_bytes).await?;
                self.local.export(namespace, digest, path, max_bytes).await.map_err(failed)
            }
            done => done.map_err(failed),
        }
    }
}
