//! A tree, or a blob, written to the host's disk.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource};

use super::{
    MAX_DEPTH, MAX_ENTRIES,
    trees::{Trees, TreesError, read_trees},
};
use crate::{
    access::BlobSource,
    blobs::{SMALL_BLOB_BYTES, is_disk_full},
    blocking::blocking,
    bounds::batches,
    tree::{Node, TreeError},
};

/// Why a tree or blob was not written, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum MaterializeError<E: std::error::Error + 'static> {
    /// The store has it not, or not whole.
    #[error("cannot fetch what belongs at {}", path.display())]
    Source {
        /// Where it would have been written.
        path: PathBuf,
        /// Why.
        source: E,
    },
    /// A blob that should be a tree is none.
    #[error("{digest}, which belongs at {}, is not a tree", path.display())]
    NotATree {
        /// Where it would have been written.
        path: PathBuf,
        /// The blob.
        digest: Digest,
        /// Why.
        source: TreeError,
    },
    /// A tree claims another size than its entry or blob has.
    #[error("what belongs at {} has {actual} bytes; its tree claims {claimed}", path.display())]
    WrongSize {
        /// Where it would have been written.
        path: PathBuf,
        /// As the tree says.
        claimed: u64,
        /// As it is.
        actual: u64,
    },
    /// More bytes than the caller allows.
    #[error("the tree has more than the {max_bytes} bytes allowed")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
    /// More files and directories than the bound.
    #[error("the tree has more than {MAX_ENTRIES} files and directories")]
    TooManyEntries,
    /// Deeper than the bound.
    #[error("the tree is more than {MAX_DEPTH} directories deep")]
    TooDeep,
    /// Something is there already; nothing is ever overwritten.
    #[error("{} exists already; remove it or choose another directory", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// No space is left.
    #[error("the disk is full at {}; free some space and try again", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The host's disk failed us.
    #[error("cannot write {}", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl<E: std::error::Error + 'static> From<TreesError<E>> for MaterializeError<E> {
    fn from(error: TreesError<E>) -> MaterializeError<E> {
        match error {
            TreesError::Source { path, source } => MaterializeError::Source { path, source },
            TreesError::NotATree { path, digest, source } => {
                MaterializeError::NotATree { path, digest, source }
            }
            TreesError::WrongSize { path, claimed, actual } => {
                MaterializeError::WrongSize { path, claimed, actual }
            }
            TreesError::TooLarge { max_bytes } => MaterializeError::TooLarge { max_bytes },
            TreesError::TooManyEntries => MaterializeError::TooManyEntries,
            TreesError::TooDeep => MaterializeError::TooDeep,
        }
    }
}

/// Writes a blob to the new file `to`, or a tree into the directory `to`, which is made if absent;
/// returns the bytes of all files.
///
/// All trees are read and checked before anything is written. Whatever is written is made anew, so
/// nothing that was there, symlinks included, is overwritten or followed. Files are 0644, executable
/// ones 0755, less the umask; none is durable.
///
/// # Errors
/// `NotATree`, `WrongSize` of a tree, `TooLarge`, `TooManyEntries` and `TooDeep` before anything is
/// written; `Source`, `WrongSize` of a blob, `Exists`, `DiskFull` and `Write` also half way: then
/// remove `to`.
pub async fn materialize<S: BlobSource>(
    source: &S,
    namespace: &Namespace,
    root: InputSource,
    to: &Path,
    max_bytes: u64,
) -> Result<u64, MaterializeError<S::Error>> {
    let fetched = |path: &Path| {
        let path = path.to_owned();
        move |source| MaterializeError::Source { path, source }
    };
    let root = match root {
        InputSource::Tree(root) => root,
        InputSource::Blob(blob) => {
            return source.export(namespace, blob, to, max_bytes).await.map_err(fetched(to));
        }
    };
    let trees = read_trees(source, namespace, root, to, max_bytes).await?;
    let layout = lay_out(&trees, to);
    make_directories(layout.directories).await?;
    let (small, large): (Vec<File>, Vec<File>) =
        layout.files.into_iter().partition(|file| file.size_bytes <= SMALL_BLOB_BYTES);
    for batch in batches(small, |file| file.size_bytes) {
        let digests: Vec<Digest> = batch.iter().map(|file| file.digest).collect();
        let blobs = source.get_batch(namespace, &digests).await.map_err(fetched(&batch[0].path))?;
        write_files(batch, blobs).await?;
    }
    for file in large {
        let (path, claimed) = (&file.path, file.size_bytes);
        let exported = source.export(namespace, file.digest, path, claimed).await;
        let actual = exported.map_err(fetched(path))?;
        if actual != claimed {
            return Err(MaterializeError::WrongSize { path: file.path, claimed, actual });
        }
        if file.executable {
            make_executable(&file.path).await?;
        }
    }
    Ok(trees.size_bytes())
}

/// What is to be written, and where.
struct Layout {
    /// Parents before children.
    directories: Vec<PathBuf>,
    files: Vec<File>,
}

#[derive(Clone)]
struct File {
    path: PathBuf,
    digest: Digest,
    size_bytes: u64,
    executable: bool,
}

/// Lays out every path that the trees make.
fn lay_out(trees: &Trees, to: &Path) -> Layout {
    let mut layout = Layout { directories: Vec::new(), files: Vec::new() };
    let mut pending = vec![(to.to_owned(), trees.root)];
    while let Some((path, tree)) = pending.pop() {
        for entry in trees.get(tree).entries() {
            let (path, size_bytes) = (path.join(&entry.name), entry.size_bytes);
            match entry.node {
                Node::Tree(tree) => pending.push((path, tree)),
                Node::Blob { digest, executable } => {
                    layout.files.push(File { path, digest, size_bytes, executable });
                }
            }
        }
        layout.directories.push(path);
    }
    layout
}

/// Makes the first directory if it is absent, and the others anew.
async fn make_directories<E: std::error::Error + 'static>(
    directories: Vec<PathBuf>,
) -> Result<(), MaterializeError<E>> {
    let made = blocking(move || {
        let mut directories = directories.iter();
        if let Some(root) = directories.next() {
            fs::create_dir_all(root).map_err(|error| (root.clone(), error))?;
        }
        for path in directories {
            fs::create_dir(path).map_err(|error| (path.clone(), error))?;
        }
        Ok(())
    });
    made.await.map_err(write_error)
}

async fn write_files<E: std::error::Error + 'static>(
    files: Vec<File>,
    blobs: Vec<Bytes>,
) -> Result<(), MaterializeError<E>> {
    for (file, blob) in files.iter().zip(&blobs) {
        let (claimed, actual) = (file.size_bytes, blob.len() as u64);
        if claimed != actual {
            let path = file.path.clone();
            return Err(MaterializeError::WrongSize { path, claimed, actual });
        }
    }
    let written = blocking(move || {
        for (file, blob) in files.iter().zip(&blobs) {
            let mode = if file.executable { 0o755 } else { 0o644 };
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&file.path)
                .and_then(|mut open| open.write_all(blob))
                .map_err(|error| (file.path.clone(), error))?;
        }
        Ok(())
    });
    written.await.map_err(write_error)
}

/// Whoever may read the file may then run it.
async fn make_executable<E: std::error::Error + 'static>(
    path: &Path,
) -> Result<(), MaterializeError<E>> {
    let path = path.to_owned();
    let made = blocking(move || {
        let set = fs::metadata(&path).and_then(|metadata| {
            let mode = metadata.permissions().mode();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
        });
        set.map_err(|error| (path, error))
    });
    made.await.map_err(write_error)
}

fn write_error<E: std::error::Error + 'static>(
    (path, source): (PathBuf, io::Error),
) -> MaterializeError<E> {
    match source.kind() {
        io::ErrorKind::AlreadyExists => MaterializeError::Exists { path },
        _ if is_disk_full(&source) => MaterializeError::DiskFull { path },
        _ => MaterializeError::Write { path, source },
    }
}
