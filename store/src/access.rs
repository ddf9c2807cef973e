//! What `directory` needs of a store, be it this machine's, a remote one, or a cached one.

use std::{
    error::Error,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace};

use crate::{
    blobs::{BlobStore, ExportError, GetError, MAX_WHOLE_BYTES, PutError},
    blocking::blocking,
    bounds::{MAX_BATCH_BYTES, MAX_CHUNK_BYTES},
    view::ReadAt,
};

/// Somewhere to put blobs; each call is durable there when it returns.
pub trait BlobSink: Sync {
    /// Why a call failed.
    type Error: Error + Send + Sync + 'static;

    /// Which of these blobs the namespace lacks.
    fn find_missing(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> impl Future<Output = Result<Vec<Digest>, Self::Error>> + Send;

    /// Puts blobs of any size that are in memory; fewer than `MAX_DIGESTS` and `MAX_BATCH_BYTES`
    /// are one step.
    fn put_batch(
        &self,
        namespace: &Namespace,
        blobs: Vec<Bytes>,
    ) -> impl Future<Output = Result<Vec<Digest>, Self::Error>> + Send;

    /// Puts a blob of any size in chunks; refused if its bytes do not hash to `expected`. `path` is
    /// what errors call it.
    fn put_stream(
        &self,
        namespace: &Namespace,
        bytes: Arc<dyn ReadAt>,
        path: &Path,
        expected: Digest,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Somewhere to get blobs from; every blob that comes is verified.
pub trait BlobSource: Sync {
    /// Why a call failed.
    type Error: Error + Send + Sync + 'static;

    /// A whole blob of at most `MAX_WHOLE_BYTES`.
    fn get(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;

    /// Whole blobs, at most `MAX_DIGESTS` and `MAX_BATCH_BYTES` in all; refused if they are more.
    fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> impl Future<Output = Result<Vec<Bytes>, Self::Error>> + Send;

    /// Writes a blob to a new host file, which appears only once verified; refused above
    /// `max_bytes`. Returns its bytes.
    fn export(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;
}

/// Why this machine's store did not take, or did not give, what a directory needs.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A blob was not stored.
    #[error(transparent)]
    Put(#[from] PutError),
    /// A blob cannot be read.
    #[error(transparent)]
    Get(#[from] GetError),
    /// A blob was not copied to a host file.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A host file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BlobSink for BlobStore {
    type Error = LocalError;

    async fn find_missing(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, LocalError> {
        Ok(BlobStore::find_missing(self, namespace, digests).await?)
    }

    async fn put_batch(
        &self,
        namespace: &Namespace,
        blobs: Vec<Bytes>,
    ) -> Result<Vec<Digest>, LocalError> {
        Ok(BlobStore::put_batch(self, namespace, blobs).await?)
    }

    async fn put_stream(
        &self,
        namespace: &Namespace,
        bytes: Arc<dyn ReadAt>,
        path: &Path,
        expected: Digest,
    ) -> Result<(), LocalError> {
        let mut upload = self.begin_put(namespace, Some(expected));
        let mut offset = 0;
        loop {
            let chunk = read_chunk(&bytes, offset).await;
            let chunk =
                chunk.map_err(|source| LocalError::Read { path: path.to_owned(), source })?;
            if chunk.is_empty() {
                upload.finish().await?;
                return Ok(());
            }
            offset += chunk.len() as u64;
            upload = upload.write(chunk.into()).await?;
        }
    }
}

impl BlobSource for BlobStore {
    type Error = LocalError;

    async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, LocalError> {
        Ok(BlobStore::get(self, namespace, digest).await?)
    }

    async fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Bytes>, LocalError> {
        const { assert!(MAX_BATCH_BYTES <= MAX_WHOLE_BYTES) };
        Ok(BlobStore::get_batch(self, namespace, digests, MAX_BATCH_BYTES).await?)
    }

    async fn export(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> Result<u64, LocalError> {
        Ok(BlobStore::export(self, namespace, digest, path, max_bytes).await?)
    }
}

/// The next `MAX_CHUNK_BYTES` bytes, fewer only at the end, none after it.
pub(crate) async fn read_chunk(bytes: &Arc<dyn ReadAt>, offset: u64) -> io::Result<Vec<u8>> {
    let bytes = Arc::clone(bytes);
    blocking(move || {
        let mut chunk = vec![0; MAX_CHUNK_BYTES];
        let read = bytes.read_at(offset, &mut chunk)?;
        chunk.truncate(read);
        Ok(chunk)
    })
    .await
}
