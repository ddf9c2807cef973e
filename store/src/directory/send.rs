//! Files and trees on their way to a store: only those that the namespace lacks, many small ones at
//! once, and trees last.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace};

use crate::{
    access::BlobSink,
    blobs::SMALL_BLOB_BYTES,
    blocking::blocking,
    bounds::{MAX_DIGESTS, batches},
    view::{HostFile, ReadAt},
};

/// A file to be sent.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// One path that had these bytes, on the host or within what is put.
    pub path: PathBuf,
    /// How many they are.
    pub size_bytes: u64,
    /// Where they are.
    pub place: Place,
}

/// Where a file's bytes are.
#[derive(Clone)]
pub enum Place {
    /// In the host file at the path; it is opened only when it is read.
    Host,
    /// Wherever this reads them.
    Given(Arc<dyn ReadAt>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Host => "Host",
            Place::Given(_) => "Given",
        })
    }
}

impl PlannedFile {
    /// The bytes; blocks.
    fn open(&self) -> io::Result<Arc<dyn ReadAt>> {
        match &self.place {
            Place::Host => Ok(Arc::new(HostFile::open(&self.path)?)),
            Place::Given(bytes) => Ok(Arc::clone(bytes)),
        }
    }
}

/// Why something was not sent. Operations that send tell it in their own errors.
pub(super) enum SendError<E> {
    Changed { path: PathBuf },
    Read { path: PathBuf, source: io::Error },
    Sink { path: PathBuf, source: E },
}

/// Sends those of the files that the namespace lacks; `path` is told when that is not known of them.
pub(super) async fn send_files<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    files: &BTreeMap<Digest, PlannedFile>,
    path: &Path,
) -> Result<(), SendError<S::Error>> {
    let missing = missing(sink, namespace, files.keys()).await;
    let missing = missing.map_err(|source| SendError::Sink { path: path.to_owned(), source })?;
    let (small, large): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .map(|digest| (digest, &files[&digest]))
        .partition(|(_, file)| file.size_bytes <= SMALL_BLOB_BYTES);
    for batch in batches(small, |(_, file)| file.size_bytes) {
        send_small(sink, namespace, batch).await?;
    }
    for (digest, file) in large {
        send_large(sink, namespace, digest, file).await?;
    }
    Ok(())
}

/// Sends those of the encoded trees that the namespace lacks.
pub(super) async fn send_trees<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    trees: &BTreeMap<Digest, Bytes>,
) -> Result<(), S::Error> {
    let missing = missing(sink, namespace, trees.keys()).await?;
    let trees = missing.iter().map(|digest| trees[digest].clone());
    for batch in batches(trees, |tree| tree.len() as u64) {
        sink.put_batch(namespace, batch).await?;
    }
    Ok(())
}

/// Which blobs the namespace lacks, ascending; `digests` ascend too.
pub(super) async fn missing<S: BlobSink>(
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

async fn send_small<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    batch: Vec<(Digest, &PlannedFile)>,
) -> Result<(), SendError<S::Error>> {
    let first = batch[0].1.path.clone();
    let files: Vec<(Digest, PlannedFile)> =
        batch.into_iter().map(|(digest, file)| (digest, file.clone())).collect();
    let blobs = blocking(move || files.iter().map(read_again).collect::<Result<_, _>>()).await?;
    let put = sink.put_batch(namespace, blobs).await;
    put.map_err(|source| SendError::Sink { path: first, source })?;
    Ok(())
}

/// Reads a planned file's bytes, no more than were planned; blocks.
fn read_again<E>((digest, file): &(Digest, PlannedFile)) -> Result<Bytes, SendError<E>> {
    // Room for one byte more shows a file that grew.
    let mut bytes = vec![0; file.size_bytes as usize + 1];
    let read = file.open().and_then(|open| open.read_at(0, &mut bytes));
    let read = read.map_err(|source| SendError::Read { path: file.path.clone(), source })?;
    bytes.truncate(read);
    if Digest::of(&bytes) != *digest {
        return Err(SendError::Changed { path: file.path.clone() });
    }
    Ok(bytes.into())
}

async fn send_large<S: BlobSink>(
    sink: &S,
    namespace: &Namespace,
    digest: Digest,
    file: &PlannedFile,
) -> Result<(), SendError<S::Error>> {
    let planned = file.clone();
    let open = blocking(move || planned.open()).await;
    let open = open.map_err(|source| SendError::Read { path: file.path.clone(), source })?;
    let sent = sink.put_stream(namespace, open, &file.path, digest).await;
    sent.map_err(|source| SendError::Sink { path: file.path.clone(), source })
}
