//! How the executor reaches data: blobs and trees by digest, and what guests make of them.
//!
//! The agent's session connects this to the store; tests use `MemoryData`. Nothing here retries:
//! who implements it does, within its own limits. The next stop is the `executor`.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource, page::OutTree};
use weir_store::{
    directory::Produced,
    image::{Image, ImageDirectory, ImageFile},
    view::BlobView,
};

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

    /// Brings a blob, or a tree with everything beneath, to this machine, verified; returns what it
    /// is. Then `open` opens each file.
    fn hold<'a>(&'a self, namespace: &'a Namespace, source: InputSource) -> DataFuture<'a, Image>;

    /// A view of a blob that is held. Blocks for a read of this machine's disk.
    ///
    /// # Errors
    /// What became of it since.
    fn open(&self, namespace: &Namespace, digest: Digest) -> Result<BlobView, DataError>;

    /// Keeps bytes as a blob; done when they are as durable as the store promises.
    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest>;

    /// Keeps a directory that a guest made as a tree; done like `put`.
    fn put_tree<'a>(
        &'a self,
        namespace: &'a Namespace,
        directory: BTreeMap<String, Produced>,
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
    is_full: AtomicBool,
}

impl MemoryData {
    /// Without anything.
    pub fn new() -> MemoryData {
        MemoryData::default()
    }

    /// Keeps nothing more that tasks leave.
    pub fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
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

    fn image(&self, digest: Digest) -> Result<Image, DataError> {
        let size_bytes = self.blob(digest).ok_or(DataError::NotFound(digest))?.len() as u64;
        Ok(Image::File(ImageFile { digest, size_bytes, executable: false }))
    }

    fn tree_image(&self, digest: Digest) -> Result<Image, DataError> {
        let files = self.tree(digest).ok_or(DataError::NotFound(digest))?.into_iter();
        let entries = files.map(|(name, blob)| Ok((name.into(), self.image(blob)?)));
        let entries = entries.collect::<Result<_, DataError>>()?;
        Ok(Image::Directory(Arc::new(ImageDirectory::new(entries))))
    }
}

/// All bytes of a file that a guest made, by its path in `directory`.
fn flatten(
    directory: BTreeMap<String, Produced>,
    path: &str,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (name, produced) in directory {
        let path = format!("{path}{name}");
        match produced {
            Produced::Directory(inner) => files.extend(flatten(inner, &format!("{path}/"))?),
            Produced::File { bytes, .. } => {
                let mut all = vec![0; bytes.len() as usize];
                let read = bytes.read_at(0, &mut all)?;
                all.truncate(read);
                files.push((path, all));
            }
            Produced::Blob(_) => unreachable!("guests make no blobs"),
        }
    }
    Ok(files)
}

impl TaskData for MemoryData {
    fn get<'a>(&'a self, _: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes> {
        Box::pin(async move { self.blob(digest).ok_or(DataError::NotFound(digest)) })
    }

    fn hold<'a>(&'a self, _: &'a Namespace, source: InputSource) -> DataFuture<'a, Image> {
        Box::pin(async move {
            match source {
                InputSource::Blob(digest) => self.image(digest),
                InputSource::Tree(digest) => self.tree_image(digest),
            }
        })
    }

    fn open(&self, _: &Namespace, digest: Digest) -> Result<BlobView, DataError> {
        self.blob(digest).map(BlobView::from).ok_or(DataError::NotFound(digest))
    }

    fn put<'a>(&'a self, _: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        Box::pin(async move {
            match self.is_full.load(Ordering::Relaxed) {
                true => Err(DataError::Unavailable { reason: "it is full".to_owned() }),
                false => Ok(self.insert(bytes)),
            }
        })
    }

    fn put_tree<'a>(
        &'a self,
        _: &'a Namespace,
        directory: BTreeMap<String, Produced>,
    ) -> DataFuture<'a, OutTree> {
        Box::pin(async move {
            let files = flatten(directory, "");
            let files = files.map_err(|source| DataError::disk(Path::new("/out"), source))?;
            let size_bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
            let borrowed: Vec<(&str, &[u8])> =
                files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
            Ok(OutTree { digest: self.insert_tree(&borrowed), size_bytes })
        })
    }
}
