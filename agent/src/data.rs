//! How the executor reaches data: blobs by digest, directories out of trees and back.
//!
//! The agent's session connects this to the store; tests use `MemoryData`. Nothing here retries:
//! who implements it does, within its own limits. The next stop is the `executor`.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Mutex,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource, page::OutTree};

/// What a `TaskData` method returns; boxed so that the trait can be an object.
pub type DataFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, DataError>> + Send + 'a>>;

/// Why data could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The store answered, and does not have it: the task's fault, not ours.
    #[error("{0} is not in the store")]
    NotFound(Digest),
    /// The store did not answer, or refused.
    #[error("the store cannot be used: {reason}")]
    Unavailable {
        /// What went wrong there.
        reason: String,
    },
    /// What is there, or was left there, cannot be used by anybody: the job's fault, not ours.
    #[error("{reason}")]
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
    /// This machine's disk failed us.
    #[error("cannot use {path}", path = path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DataError {
    fn disk(path: &Path, source: io::Error) -> DataError {
        DataError::Disk { path: path.to_owned(), source }
    }
}

/// Data as tasks need it. All methods may be called from any number of attempts at once.
pub trait TaskData: Send + Sync + 'static {
    /// The bytes of a blob, verified.
    fn get<'a>(&'a self, namespace: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes>;

    /// Makes a blob or tree a file or directory at `path`, which does not exist yet and whose
    /// parent does.
    fn materialize<'a>(
        &'a self,
        namespace: &'a Namespace,
        source: InputSource,
        path: &'a Path,
    ) -> DataFuture<'a, ()>;

    /// Keeps bytes as a blob; done when they are as durable as the store promises.
    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest>;

    /// Keeps a directory and all beneath it as a tree; done like `put`.
    fn put_directory<'a>(
        &'a self,
        namespace: &'a Namespace,
        path: &'a Path,
    ) -> DataFuture<'a, OutTree>;
}

/// An error with all its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Data in memory, for tests and benches: namespaces see each other's blobs, and a tree is one
/// level of files.
#[derive(Debug, Default)]
pub struct MemoryData {
    blobs: Mutex<HashMap<Digest, Bytes>>,
    trees: Mutex<HashMap<Digest, BTreeMap<String, Digest>>>,
}

impl MemoryData {
    /// Without anything.
    pub fn new() -> MemoryData {
        MemoryData::default()
    }

    /// Keeps bytes, at once.
    pub fn insert(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.blobs.lock().expect("no holder panics").insert(digest, bytes);
        digest
    }

    /// Keeps a tree of files, at once.
    pub fn insert_tree(&self, files: &[(&str, &[u8])]) -> Digest {
        let files: BTreeMap<String, Digest> = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), self.insert(bytes.to_vec())))
            .collect();
        let digest = Digest::of(format!("{files:?}").as_bytes());
        self.trees.lock().expect("no holder panics").insert(digest, files);
        digest
    }

    /// The bytes of a blob, at once.
    pub fn blob(&self, digest: Digest) -> Option<Bytes> {
        self.blobs.lock().expect("no holder panics").get(&digest).cloned()
    }

    /// The files of a tree, at once.
    pub fn tree(&self, digest: Digest) -> Option<BTreeMap<String, Digest>> {
        self.trees.lock().expect("no holder panics").get(&digest).cloned()
    }

    fn write(&self, digest: Digest, path: &Path) -> Result<(), DataError> {
        let bytes = self.blob(digest).ok_or(DataError::NotFound(digest))?;
        fs::write(path, bytes).map_err(|source| DataError::disk(path, source))
    }

    fn write_tree(&self, digest: Digest, path: &Path) -> Result<(), DataError> {
        let files = self.tree(digest).ok_or(DataError::NotFound(digest))?;
        fs::create_dir(path).map_err(|source| DataError::disk(path, source))?;
        files.into_iter().try_for_each(|(name, blob)| self.write(blob, &path.join(name)))
    }

    fn read_tree(&self, path: &Path) -> io::Result<OutTree> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
        }
        let size_bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let borrowed: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        Ok(OutTree { digest: self.insert_tree(&borrowed), size_bytes })
    }
}

impl TaskData for MemoryData {
    fn get<'a>(&'a self, _: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes> {
        Box::pin(async move { self.blob(digest).ok_or(DataError::NotFound(digest)) })
    }

    fn materialize<'a>(
        &'a self,
        _: &'a Namespace,
        source: InputSource,
        path: &'a Path,
    ) -> DataFuture<'a, ()> {
        Box::pin(async move {
            match source {
                InputSource::Blob(digest) => self.write(digest, path),
                InputSource::Tree(digest) => self.write_tree(digest, path),
            }
        })
    }

    fn put<'a>(&'a self, _: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        Box::pin(async move { Ok(self.insert(bytes)) })
    }

    fn put_directory<'a>(&'a self, _: &'a Namespace, path: &'a Path) -> DataFuture<'a, OutTree> {
        Box::pin(
            async move { self.read_tree(path).map_err(|source| DataError::disk(path, source)) },
        )
    }
}
