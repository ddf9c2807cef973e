//! Bytes into the store and out of it: stop 2 of a task's way, and its end. The work is done in
//! `weir-store`; the next stop is [`crate::submit`].

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use weir_proto::{digest::Digest, job::InputSource};
pub use weir_store::{
    blobs::Stat,
    tree::{Node, Tree, TreeEntry},
};
use weir_store::{
    directory::{self, MaterializeError, PlanError, PutPathError},
    remote::{RemoteError, RemoteRead, RemoteStore},
    tree::TreeError,
};

use crate::{
    Client,
    rpc::{self, RpcError},
};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The namespace has no such blob.
    #[error(
        "{digest} is not in the store of the cluster at {address}; `weir put` puts it there again"
    )]
    NotThere {
        /// Which blob.
        digest: Digest,
        /// Which cluster.
        address: String,
    },
    /// What is there is no tree.
    #[error("{digest} is not a tree")]
    NotATree {
        /// Which blob.
        digest: Digest,
        /// What is wrong with its bytes.
        source: TreeError,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Anything else: a full disk on either side, damaged bytes, a file that cannot be read.
    #[error(transparent)]
    Store(RemoteError),
}

/// Why something on this machine was not put.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It cannot be put at all: not there, not readable, a socket; nothing was sent.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file changed while it was put.
    #[error("{} changed while it was being put; try again when nobody writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read any more.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why something in the store was not written to this machine.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The store did not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written here: something is there already, the disk is full, it is no tree.
    #[error(transparent)]
    Write(MaterializeError<RemoteError>),
}

/// A blob on its way here, in chunks.
#[derive(Debug)]
pub struct Blob {
    client: Client,
    digest: Digest,
    chunks: RemoteRead,
}

impl Client {
    /// Puts bytes; they are durable when this returns.
    ///
    /// # Errors
    /// `Rpc`, or `Store` when the store is full.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, StoreError> {
        let store = self.store();
        let put = retry(|| store.put(self.namespace(), bytes.clone()));
        put.await.map_err(|error| self.put_failed(error))
    }

    /// Puts a file as a blob, unless it is there already.
    ///
    /// # Errors
    /// `Store` when the file cannot be read or the store is full, `Rpc`.
    pub async fn put_file(&self, path: &Path) -> Result<Digest, StoreError> {
        let store = self.store();
        let put = retry(|| store.put_file(self.namespace(), path));
        put.await.map(|(digest, _)| digest).map_err(|error| self.put_failed(error))
    }

    /// Puts a file as a blob or a directory as a tree, sending only what is not there already.
    ///
    /// # Errors
    /// `Plan` before anything is sent; `Changed`, `Read` and `Store` while sending.
    pub async fn put_path(&self, path: &Path) -> Result<InputSource, PutError> {
        let put = directory::put_path(&self.store(), self.namespace(), path).await;
        put.map(|put| put.root).map_err(|error| self.put_path_failed(error))
    }

    /// Puts files as blobs, each content once and only if it is not there already. Their digests come
    /// in the order of the paths.
    ///
    /// # Errors
    /// `Read` before anything is sent; `Changed`, `Read` and `Store` while sending.
    pub async fn put_files(&self, paths: Vec<PathBuf>) -> Result<Vec<Digest>, PutError> {
        let put = directory::put_files(&self.store(), self.namespace(), paths).await;
        put.map_err(|error| self.put_path_failed(error))
    }

    /// Puts many bytes, in as few calls as their sizes allow. Their digests come in the same order.
    ///
    /// # Errors
    /// As `put`; some of them may be stored then.
    pub async fn put_batch(&self, blobs: Vec<Bytes>) -> Result<Vec<Digest>, StoreError> {
        let store = self.store();
        let put = retry(|| store.put_batch(self.namespace(), blobs.clone()));
        put.await.map_err(|error| self.put_failed(error))
    }

    /// A whole blob, verified; for large ones, which this refuses, there is `open`.
    ///
    /// # Errors
    /// `NotThere`, `Rpc`, or `Store` when its bytes are damaged or too many.
    pub async fn get(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let store = self.store();
        let got = retry(|| store.get(self.namespace(), digest));
        got.await.map_err(|error| self.get_failed(digest, error))
    }

    /// A blob of any size, in chunks.
    ///
    /// # Errors
    /// As `get`.
    pub async fn open(&self, digest: Digest) -> Result<Blob, StoreError> {
        let store = self.store();
        let opened = retry(|| store.read(self.namespace(), digest, u64::MAX));
        let chunks = opened.await.map_err(|error| self.get_failed(digest, error))?;
        Ok(Blob { client: self.clone(), digest, chunks })
    }

    /// Writes a blob to a new file, or a tree into a directory, which is made if it is not there.
    /// Nothing that is there is overwritten.
    ///
    /// # Errors
    /// `Store` when it is not in the store or damaged, `Write` when it cannot be written here; a
    /// tree may be written in part then.
    pub async fn download(&self, source: InputSource, to: &Path) -> Result<(), DownloadError> {
        let store = self.store();
        let written = directory::materialize(&store, self.namespace(), source, to, u64::MAX);
        written.await.map(|_| ()).map_err(|error| match error {
            MaterializeError::Source { source: error, .. } => {
                DownloadError::Store(self.get_failed(source.digest(), error))
            }
            error => DownloadError::Write(error),
        })
    }

    /// Blobs of the client's namespace with their sizes in bytes, ascending by digest: at most
    /// 10,000 of those after `after`; none when there are no more.
    ///
    /// # Errors
    /// `Rpc`.
    pub async fn blobs(
        &self,
        after: Option<Digest>,
        limit: u32,
    ) -> Result<Vec<(Digest, u64)>, StoreError> {
        let store = self.store();
        let listed = retry(|| store.list(self.namespace(), after, limit));
        listed.await.map_err(|error| self.put_failed(error))
    }

    /// How full the store is, for the client's namespace.
    ///
    /// # Errors
    /// `Rpc`.
    pub async fn store_stat(&self) -> Result<Stat, StoreError> {
        let store = self.store();
        let stat = retry(|| store.stat(self.namespace()));
        stat.await.map_err(|error| self.put_failed(error))
    }

    /// The entries of a tree.
    ///
    /// # Errors
    /// `NotThere`, `Rpc`, or `Store` when it is no tree.
    pub async fn tree(&self, digest: Digest) -> Result<Tree, StoreError> {
        let bytes = self.get(digest).await?;
        Tree::decode(&bytes).map_err(|source| StoreError::NotATree { digest, source })
    }

    fn store(&self) -> RemoteStore {
        RemoteStore::new(self.channel.clone())
    }

    fn get_failed(&self, digest: Digest, error: RemoteError) -> StoreError {
        match error {
            RemoteError::NotFound { .. } => {
                StoreError::NotThere { digest, address: self.address().to_owned() }
            }
            error => self.put_failed(error),
        }
    }

    fn put_path_failed(&self, error: PutPathError<RemoteError>) -> PutError {
        match error {
            PutPathError::Plan(error) => PutError::Plan(error),
            PutPathError::Changed { path } => PutError::Changed { path },
            PutPathError::Read { path, source } => PutError::Read { path, source },
            PutPathError::Sink { source, .. } => PutError::Store(self.put_failed(source)),
        }
    }

    /// Tells a failure of gRPC as every other call does.
    fn put_failed(&self, error: RemoteError) -> StoreError {
        match error {
            RemoteError::Unreachable { source } | RemoteError::Refused { source } => {
                StoreError::Rpc(self.failed(&source))
            }
            error => StoreError::Store(error),
        }
    }
}

impl Blob {
    /// The next bytes; none after the last, once they all proved to be the blob's.
    ///
    /// # Errors
    /// As `Client::get`.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let next = self.chunks.next_chunk().await;
        next.map_err(|error| self.client.get_failed(self.digest, error))
    }
}

/// Puts and gets may be made again: what is put twice is there once.
async fn retry<T, F>(mut call: impl FnMut() -> F) -> Result<T, RemoteError>
where
    F: Future<Output = Result<T, RemoteError>>,
{
    let mut failures = 0;
    loop {
        let called = call().await;
        failures += 1;
        let may_pass = matches!(called, Err(RemoteError::Unreachable { .. }));
        if !may_pass || failures >= rpc::CALL_ATTEMPTS {
            return called;
        }
        tokio::time::sleep(rpc::pause_after(failures)).await;
    }
}
