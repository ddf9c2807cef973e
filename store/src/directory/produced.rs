//! A directory that is on no disk, put as a tree: what a task left in `/out`.
//!
//! It becomes the same tree as the same directory on a disk. Each file is read twice, to hash it and
//! to send it, and written nowhere on this machine.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace};

use super::{
    MAX_DEPTH, MAX_ENTRIES,
    send::{Place, PlannedFile, SendError, missing, send_files, send_trees},
    shown,
};
use crate::{
    access::BlobSink,
    blocking::blocking,
    image::ImageFile,
    tree::{Node, Tree, TreeEntry, TreeError},
    view::{ReadAt, hash},
};

/// Something to be put.
///
/// Whoever makes it bounds its depth: to drop one goes down through all that is within.
pub enum Produced {
    /// A file.
    File {
        /// Its bytes, which stay as they are while they are put.
        bytes: Arc<dyn ReadAt>,
        /// Whether it may be run.
        executable: bool,
    },
    /// A file whose blob the namespace has already: it is named and not sent. Its size is believed.
    Blob(ImageFile),
    /// A directory.
    Directory(BTreeMap<String, Produced>),
}

/// Why a directory was not put. Paths are within it; that of the root is empty.
#[derive(Debug, thiserror::Error)]
pub enum PutTreeError<E: std::error::Error + 'static> {
    /// A file cannot be read.
    #[error("cannot read {}", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file changed while it was hashed, or between its hashing and its sending.
    #[error("{} changed while it was being put", shown(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A blob that should be there already is not.
    #[error("{} is blob {digest}, which the store lacks", shown(path))]
    Missing {
        /// One path that has it.
        path: PathBuf,
        /// The blob.
        digest: Digest,
    },
    /// More files and directories than the bound.
    #[error("it has more than {MAX_ENTRIES} files and directories")]
    TooManyEntries,
    /// Deeper than the bound.
    #[error("{} is more than {MAX_DEPTH} directories deep", shown(path))]
    TooDeep {
        /// The directory that is too deep.
        path: PathBuf,
    },
    /// A directory that cannot be a tree: a name of 300 bytes, too many entries.
    #[error("{} cannot be a tree", shown(path))]
    Tree {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: TreeError,
    },
    /// The store refused.
    #[error("cannot put {}", shown(path))]
    Sink {
        /// The root, or the file within.
        path: PathBuf,
        /// Why.
        source: E,
    },
}

impl<E: std::error::Error + 'static> From<SendError<E>> for PutTreeError<E> {
    fn from(error: SendError<E>) -> PutTreeError<E> {
        match error {
            SendError::Changed { path } => PutTreeError::Changed { path },
            SendError::Read { path, source } => PutTreeError::Read { path, source },
            SendError::Sink { path, source } => PutTreeError::Sink { path, source },
        }
    }
}

/// Puts a directory with everything beneath, sending only what the namespace lacks; durable on
/// return. Returns its tree's digest and the bytes of all files.
///
/// # Errors
/// `TooManyEntries`, `TooDeep`, `Tree` and `Missing` before anything is sent; `Read`, `Changed` and
/// `Sink` also while sending: what was sent by then stays in the store.
pub async fn put_tree<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    root: BTreeMap<String, Produced>,
) -> Result<(Digest, u64), PutTreeError<S::Error>> {
    let refused = |source| PutTreeError::Sink { path: PathBuf::new(), source };
    let mut walk = Walk::default();
    let (walk, (root, size_bytes)) = blocking(move || {
        let root = walk.directory(PathBuf::new(), root, 1)?;
        Ok::<_, PutTreeError<S::Error>>((walk, root))
    })
    .await?;

    // What is sent in any case need not be there already.
    let named = walk.named.keys().filter(|digest| !walk.files.contains_key(digest));
    let missing = missing(sink, namespace, named).await.map_err(refused)?;
    if let Some(digest) = missing.first().copied() {
        return Err(PutTreeError::Missing { path: walk.named[&digest].clone(), digest });
    }
    send_files(sink, namespace, &walk.files, Path::new("")).await?;
    // Trees go last: whoever finds one finds what it names.
    send_trees(sink, namespace, &walk.trees).await.map_err(refused)?;
    Ok((root, size_bytes))
}

/// What a walk found, by digest.
#[derive(Default)]
struct Walk {
    entries: usize,
    files: BTreeMap<Digest, PlannedFile>,
    /// Blobs that should be there already, each with one path.
    named: BTreeMap<Digest, PathBuf>,
    trees: BTreeMap<Digest, Bytes>,
}

impl Walk {
    /// A directory's tree, and the bytes of all files; blocks.
    fn directory<E: std::error::Error + 'static>(
        &mut self,
        path: PathBuf,
        found: BTreeMap<String, Produced>,
        depth: usize,
    ) -> Result<(Digest, u64), PutTreeError<E>> {
        if depth > MAX_DEPTH {
            return Err(PutTreeError::TooDeep { path });
        }
        self.entries += found.len();
        if self.entries > MAX_ENTRIES {
            return Err(PutTreeError::TooManyEntries);
        }
        let mut entries = Vec::with_capacity(found.len());
        for (name, produced) in found {
            let path = path.join(&name);
            let (node, size_bytes) = match produced {
                Produced::Directory(within) => {
                    let (digest, size_bytes) = self.directory(path, within, depth + 1)?;
                    (Node::Tree(digest), size_bytes)
                }
                Produced::Blob(ImageFile { digest, size_bytes, executable }) => {
                    self.named.entry(digest).or_insert(path);
                    (Node::Blob { digest, executable }, size_bytes)
                }
                Produced::File { bytes, executable } => {
                    let (digest, size_bytes) = self.file(path, bytes)?;
                    (Node::Blob { digest, executable }, size_bytes)
                }
            };
            entries.push(TreeEntry { name, node, size_bytes });
        }
        let tree = Tree::new(entries).map_err(|source| PutTreeError::Tree { path, source })?;
        let encoded = tree.encode();
        let digest = Digest::of(&encoded);
        self.trees.insert(digest, encoded);
        Ok((digest, tree.size_bytes()))
    }

    fn file<E: std::error::Error + 'static>(
        &mut self,
        path: PathBuf,
        bytes: Arc<dyn ReadAt>,
    ) -> Result<(Digest, u64), PutTreeError<E>> {
        let (digest, size_bytes) = match hash(&*bytes) {
            Ok(hashed) => hashed,
            Err(source) => return Err(PutTreeError::Read { path, source }),
        };
        if size_bytes != bytes.len() {
            return Err(PutTreeError::Changed { path });
        }
        let place = Place::Given(bytes);
        self.files.entry(digest).or_insert(PlannedFile { path, size_bytes, place });
        Ok((digest, size_bytes))
    }
}
