//! Directories into trees and back, over any store: those of the host, and those that are on no disk.
//!
//! A walk follows symlinks only within the directory it was given; a tree is written only beneath
//! the path it was given. Both hold to bounds, because either side may be hostile.

mod walk;

mod produced;

mod send;

mod trees;

mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::{Display, Path, PathBuf},
};

use weir_proto::{digest::Digest, id::Namespace, job::InputSource};

use self::send::{SendError, send_files, send_trees};
pub(crate) use self::trees::{Trees, TreesError, read_trees};
pub use self::{
    produced::{Produced, PutTreeError, put_tree},
    send::{Place, PlannedFile},
    walk::{Plan, PlanError, plan},
    write::{MaterializeError, materialize},
};
use crate::{access::BlobSink, blocking::blocking, view::hash_file};

/// Most files and directories beneath one root: what a plan of them may cost in memory is some
/// 60 MB.
pub const MAX_ENTRIES: usize = 200_000;
/// Most directories within each other, the root included.
pub const MAX_DEPTH: usize = 64;

/// Why a host path was not put.
#[derive(Debug, thiserror::Error)]
pub enum PutPathError<E: std::error::Error + 'static> {
    /// Its content cannot be put at all.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file changed between its hashing and its sending.
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
    /// The store refused.
    #[error("cannot put {}", path.display())]
    Sink {
        /// The path as given, or the file within.
        path: PathBuf,
        /// Why.
        source: E,
    },
}

impl<E: std::error::Error + 'static> From<SendError<E>> for PutPathError<E> {
    fn from(error: SendError<E>) -> PutPathError<E> {
        match error {
            SendError::Changed { path } => PutPathError::Changed { path },
            SendError::Read { path, source } => PutPathError::Read { path, source },
            SendError::Sink { path, source } => PutPathError::Sink { path, source },
        }
    }
}

/// What a host path became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutPath {
    /// A blob for a file, a tree for a directory.
    pub root: InputSource,
    /// Bytes of the file, or of all files beneath.
    pub size_bytes: u64,
}

/// Puts a host file, or a host directory with everything beneath, sending only what the namespace
/// lacks; durable on return.
///
/// Executable bits and empty directories are kept; owners, times and other modes are not. Symlinks
/// become what they point to.
///
/// # Errors
/// `Plan` before anything is sent; `Changed`, `Read` and `Sink` while sending: what was sent by then
/// stays in the store.
pub async fn put_path<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    path: &Path,
) -> Result<PutPath, PutPathError<S::Error>> {
    let root = path.to_owned();
    let plan = blocking(move || plan(&root)).await?;
    let done = PutPath { root: plan.root, size_bytes: plan.size_bytes };
    send_files(sink, namespace, &plan.files, path).await?;
    // Trees go last: whoever finds one finds what it names.
    let sent = send_trees(sink, namespace, &plan.trees).await;
    sent.map_err(|source| PutPathError::Sink { path: path.to_owned(), source })?;
    Ok(done)
}

/// Puts host files, sending each content that the namespace lacks once; durable on return. Their
/// digests come in the order of the paths.
///
/// # Errors
/// `Read` when one cannot be read, `Changed` and `Sink` while sending: what was sent by then stays in
/// the store.
pub async fn put_files<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    paths: Vec<PathBuf>,
) -> Result<Vec<Digest>, PutPathError<S::Error>> {
    let Some(first) = paths.first().cloned() else { return Ok(Vec::new()) };
    let hashed = blocking(move || {
        let mut files = BTreeMap::new();
        let mut digests = Vec::with_capacity(paths.len());
        for path in paths {
            match hash_file(&path) {
                Ok((digest, size_bytes)) => {
                    digests.push(digest);
                    let place = Place::Host;
                    files.entry(digest).or_insert(PlannedFile { path, size_bytes, place });
                }
                Err(source) => return Err((path, source)),
            }
        }
        Ok((files, digests))
    });
    let (files, digests) =
        hashed.await.map_err(|(path, source)| PutPathError::Read { path, source })?;
    send_files(sink, namespace, &files, &first).await?;
    Ok(digests)
}

/// A path within a tree, for people.
pub(crate) fn shown(path: &Path) -> Display<'_> {
    if path.as_os_str().is_empty() { Path::new(".").display() } else { path.display() }
}
