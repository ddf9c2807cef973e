//! Host directories into trees and back, over any store.
//!
//! A walk follows symlinks only within the directory it was given; a tree is written only beneath
//! the path it was given. Both hold to bounds, because either side may be hostile.

mod walk;

mod trees;

mod write;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace, job::InputSource};

pub(crate) use self::trees::{Trees, TreesError, read_trees};
pub use self::{
    walk::{Plan, PlanError, PlannedFile, plan},
    write::{MaterializeError, materialize},
};
use crate::{
    access::BlobSink,
    blobs::SMALL_BLOB_BYTES,
    blocking::blocking,
    bounds::{MAX_DIGESTS, batches},
    view::hash_file,
};

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
    let refused = |source| PutPathError::Sink { path: path.to_owned(), source };

    send_files(sink, namespace, &plan.files, path).await?;
    // Trees go last: whoever finds one finds what it names.
    let missing = missing(sink, namespace, plan.trees.keys()).await.map_err(refused)?;
    let trees = missing.iter().map(|digest| plan.trees[digest].clone());
    for batch in batches(trees, |tree| tree.len() as u64) {
        sink.put_batch(namespace, batch).await.map_err(refused)?;
    }
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
                    files.entry(digest).or_insert(PlannedFile { path, size_bytes });
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

/// Sends those of the files that the namespace lacks, many small ones at once.
async fn send_files<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    files: &BTreeMap<Digest, PlannedFile>,
    path: &Path,
) -> Result<(), PutPathError<S::Error>> {
    let missing = missing(sink, namespace, files.keys()).await;
    let missing = missing.map_err(|source| PutPathError::Sink { path: path.to_owned(), source })?;
    let (small, large): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .map(|digest| (digest, &files[&digest]))
        .partition(|(_, file)| file.size_bytes <= SMALL_BLOB_BYTES);
    for batch in batches(small, |(_, file)| file.size_bytes) {
        put_small(sink, namespace, batch).await?;
    }
    for (digest, file) in large {
        sink.put_file(namespace, &file.path, digest)
            .await
            .map_err(|source| PutPathError::Sink { path: file.path.clone(), source })?;
    }
    Ok(())
}

async fn missing<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    digests: impl Iterator<Item = &Digest>,
) -> Result<Vec<Digest>, S::Error> {
    let digests: Vec<Digest> = digests.copied().collect();
    let mut missing = Vec::new();
    for some in digests.chunks(MAX_DIGESTS) {
        missing.extend(sink.find_missing(namespace, some).await?);
    }
    // A remote store is not to be trusted with what we index by.
    missing.sort();
    missing.dedup();
    missing.retain(|digest| digests.binary_search(digest).is_ok());
    Ok(missing)
}

async fn put_small<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    batch: Vec<(Digest, &PlannedFile)>,
) -> Result<(), PutPathError<S::Error>> {
    let first = batch[0].1.path.clone();
    let files: Vec<(Digest, PlannedFile)> =
        batch.into_iter().map(|(digest, file)| (digest, file.clone())).collect();
    let blobs = blocking(move || files.iter().map(read_again).collect::<Result<_, _>>()).await;
    let blobs: Vec<Bytes> = blobs.map_err(|failure| match failure {
        ReadAgain::Changed(path) => PutPathError::Changed { path },
        ReadAgain::Failed(path, source) => PutPathError::Read { path, source },
    })?;
    let put = sink.put_batch(namespace, blobs).await;
    put.map_err(|source| PutPathError::Sink { path: first, source })?;
    Ok(())
}

enum ReadAgain {
    Changed(PathBuf),
    Failed(PathBuf, io::Error),
}

/// Reads a planned file's bytes, no more than were planned.
fn read_again((digest, file): &(Digest, PlannedFile)) -> Result<Bytes, ReadAgain> {
    use std::io::Read as _;
    let mut bytes = Vec::with_capacity(file.size_bytes as usize);
    std::fs::File::open(&file.path)
        .and_then(|open| open.take(file.size_bytes + 1).read_to_end(&mut bytes))
        .map_err(|source| ReadAgain::Failed(file.path.clone(), source))?;
    if Digest::of(&bytes) != *digest {
        return Err(ReadAgain::Changed(file.path.clone()));
    }
    Ok(bytes.into())
}
