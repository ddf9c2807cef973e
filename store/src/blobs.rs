//! Blobs on this machine's disk: put atomically and durably, verified whenever they are read.
//!
//! Knowing a digest is not permission: a blob is there only for namespaces that put it, though its
//! bytes are kept once. Nothing is ever removed yet; eviction and sweeping come later. Trees of
//! blobs are in `tree`, and the rpc service over this store is in `service`.

mod error;

mod upload;

mod read;

mod view;

mod files;

mod index;

mod writer;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use weir_proto::{digest::Digest, id::Namespace};

pub(crate) use self::{
    error::is_disk_full,
    files::{FORMAT_WORD, blob_path},
    index::{MEMBERS, SMALL},
    read::new_host_file,
};
pub use self::{
    error::{ExportError, GetError, OpenError, PutError},
    read::BlobStream,
    upload::Upload,
};
use self::{
    files::Files,
    index::{Entry, Found, Index},
    read::{BlobFile, Source, check},
    writer::GroupWriter,
};
use crate::blocking::blocking;

/// Entries of the index that are read in one transaction when all are counted.
const STAT_PAGE: usize = 10_000;
/// The newest format of a store's directory that this binary writes and reads. It changes with
/// `SMALL_BLOB_BYTES` too.
pub const FORMAT: u32 = 1;
/// Largest blob, in bytes.
pub const MAX_BLOB_BYTES: u64 = 16 << 30;
/// Most bytes that are ever read into memory at once; larger blobs are streamed.
pub const MAX_WHOLE_BYTES: u64 = 256 << 20;
/// Blobs of at most this many bytes are kept in the index, where many share one fsync; larger ones
/// are files.
pub const SMALL_BLOB_BYTES: u64 = 64 << 10;

/// Up to this many bytes, hashing costs less than handing the work to another thread.
const HASH_INLINE_BYTES: u64 = 256 << 10;

/// A store of blobs in one directory; a clone is another handle of the same store.
///
/// The directory is free for others once the last clone, stream and upload are gone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

/// The writer comes first: its thread must end before the index can close.
#[derive(Debug)]
struct Inner {
    writer: GroupWriter,
    index: Arc<Index>,
    files: Files,
}

impl BlobStore {
    /// Opens the store in `dir`, or makes one there; removes what unfinished uploads left.
    ///
    /// # Errors
    /// `InUse` when it is open elsewhere, `TooNew` when a newer Weir wrote it, `NotAStore` when its
    /// `format` file is something else; `Io` and `Index` when the disk or its content fails us.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<BlobStore, OpenError> {
        let dir = dir.into();
        blocking(move || BlobStore::open_blocking(&dir)).await
    }

    fn open_blocking(dir: &Path) -> Result<BlobStore, OpenError> {
        let files = Files::open(dir)?;
        let path = files.index();
        let index = match Index::open(&path) {
            Ok(index) => Arc::new(index),
            Err(redb::Error::DatabaseAlreadyOpen) => {
                return Err(OpenError::InUse { dir: files.dir().to_owned() });
            }
            Err(source) => return Err(OpenError::Index { path, source: Box::new(source) }),
        };
        files.remove_leftovers()?;
        let writer = GroupWriter::start(Arc::clone(&index))
            .map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
        Ok(BlobStore { inner: Arc::new(Inner { writer, index, files }) })
    }

    /// Stores a blob; durable on return. Storing it again changes nothing.
    ///
    /// # Errors
    /// `TooLarge` above `MAX_BLOB_BYTES`; `DiskFull`, `Io`, `Index`, `Stopped`.
    pub async fn put(&self, namespace: &Namespace, blob: Bytes) -> Result<Digest, PutError> {
        let digests = self.put_batch(namespace, vec![blob]).await?;
        Ok(digests[0])
    }

    /// Stores blobs in one durable step, all or none; their digests come in the same order.
    ///
    /// # Errors
    /// As `put`.
    pub async fn put_batch(
        &self,
        namespace: &Namespace,
        blobs: Vec<Bytes>,
    ) -> Result<Vec<Digest>, PutError> {
        let total: u64 = blobs.iter().map(|blob| blob.len() as u64).sum();
        let files_too = blobs.iter().any(|blob| blob.len() as u64 > SMALL_BLOB_BYTES);
        let entries = if files_too || total > HASH_INLINE_BYTES {
            let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
            blocking(move || inner.prepare(&namespace, blobs)).await?
        } else {
            self.inner.prepare(namespace, blobs)?
        };
        let digests = entries.iter().map(|entry| entry.digest).collect();
        if !entries.is_empty() {
            self.inner.writer.write(entries).await?;
        }
        Ok(digests)
    }

    /// Begins a blob that comes in chunks. With a digest announced, other bytes are refused at the
    /// end.
    pub fn begin_put(&self, namespace: &Namespace, expected: Option<Digest>) -> Upload {
        Upload::new(self.clone(), namespace.clone(), expected)
    }

    /// A whole blob, verified.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`; `TooLarge` above `MAX_WHOLE_BYTES`: use `read`; `Io`, `Index`.
    pub async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, GetError> {
        let mut blobs = self.get_batch(namespace, &[digest], MAX_WHOLE_BYTES).await?;
        Ok(blobs.pop().expect("as many blobs come as digests went"))
    }

    /// Whole blobs of at most `max_bytes` in all, verified, in the order asked for.
    ///
    /// # Errors
    /// As `get`, for the first blob that fails; `TooLarge` before anything is read.
    pub async fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
        max_bytes: u64,
    ) -> Result<Vec<Bytes>, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        let digests = digests.to_owned();
        blocking(move || {
            let sizes = inner.sizes(&namespace, &digests)?;
            let size_bytes = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
            if size_bytes > max_bytes {
                return Err(GetError::TooLarge { size_bytes, max_bytes });
            }
            let whole = |digest: &Digest| match inner.source(&namespace, *digest)? {
                Source::Whole(bytes) => Ok(bytes),
                Source::File(file) => file.read_whole(),
            };
            digests.iter().map(whole).collect()
        })
        .await
    }

    /// A blob as a stream of chunks, verified before the last one comes.
    ///
    /// # Errors
    /// `NotFound`, `Io`, `Index`; the stream itself ends with `Corrupt` or `Io`. A small corrupt
    /// blob is `Corrupt` at once.
    pub async fn read(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<BlobStream, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        match blocking(move || inner.source(&namespace, digest)).await? {
            Source::Whole(bytes) => Ok(BlobStream::whole(bytes)),
            Source::File(file) => Ok(BlobStream::file(file)),
        }
    }

    /// Copies a blob to a new host file, which appears only once verified; returns its bytes.
    ///
    /// It is a copy, never a link: whoever writes to the file must not change the store's blob. The
    /// file is not durable.
    ///
    /// # Errors
    /// `Get` as `get`, and `TooLarge` above `max_bytes`; `Exists` when something is at `path`;
    /// `DiskFull`, `Write`.
    pub async fn export(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> Result<u64, ExportError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        let path = path.to_owned();
        blocking(move || {
            let size_bytes = inner.sizes(&namespace, &[digest])?[0];
            if size_bytes > max_bytes {
                return Err(GetError::TooLarge { size_bytes, max_bytes }.into());
            }
            inner.source(&namespace, digest)?.export(&path)?;
            Ok(size_bytes)
        })
        .await
    }

    /// Bytes of a blob, without reading it.
    ///
    /// # Errors
    /// `NotFound`, `Index`.
    pub async fn size(&self, namespace: &Namespace, digest: Digest) -> Result<u64, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        blocking(move || Ok(inner.sizes(&namespace, &[digest])?[0])).await
    }

    /// Which of these blobs the namespace lacks, in the order asked for.
    ///
    /// # Errors
    /// `Index`.
    pub async fn find_missing(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, GetError> {
        let sizes = self.sizes(namespace, digests).await?;
        let lacked = digests.iter().zip(sizes).filter(|(_, size)| size.is_none());
        Ok(lacked.map(|(digest, _)| *digest).collect())
    }

    /// Bytes of blobs in the order asked for; `None` for those that the namespace lacks.
    ///
    /// # Errors
    /// `Index`.
    pub async fn sizes(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Option<u64>>, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        let digests = digests.to_owned();
        blocking(move || {
            inner.index.sizes(&namespace, &digests).map_err(|source| inner.failed(source))
        })
        .await
    }
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Blobs of the namespace.
    pub blobs: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// What is free and what there is on the store's disk, in bytes; absent where the system does
    /// not tell.
    pub disk: Option<(u64, u64)>,
}

impl BlobStore {
    /// Blobs of a namespace and their sizes in bytes, ascending by digest: at most `limit` of those
    /// after `after`.
    ///
    /// # Errors
    /// `Index`.
    pub async fn list(
        &self,
        namespace: &Namespace,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, u64)>, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        blocking(move || {
            inner.index.list(&namespace, after, limit).map_err(|source| inner.failed(source))
        })
        .await
    }

    /// Blobs of all namespaces and their sizes in bytes, ascending by namespace and digest: at most
    /// `limit` of those after `after`.
    ///
    /// # Errors
    /// `Index`.
    pub async fn list_all(
        &self,
        after: Option<(Namespace, Digest)>,
        limit: usize,
    ) -> Result<Vec<(Namespace, Digest, u64)>, GetError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let listed = inner.index.list_all(after.as_ref(), limit);
            let listed = listed.map_err(|source| inner.failed(source))?;
            // Only namespaces are ever entered; what a rotten index calls one is nobody's.
            let parsed = listed.into_iter().filter_map(|(namespace, digest, size)| {
                Some((namespace.parse().ok()?, digest, size))
            });
            Ok(parsed.collect())
        })
        .await
    }

    /// The namespaces that have blobs here, ascending.
    ///
    /// # Errors
    /// `Index`.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, GetError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.index.namespaces().map_err(|source| inner.failed(source))).await
    }

    /// How full the store is; reads the whole index of the namespace, about a million blobs a
    /// second.
    ///
    /// # Errors
    /// `Index`.
    pub async fn stat(&self, namespace: &Namespace) -> Result<Stat, GetError> {
        let (inner, namespace) = (Arc::clone(&self.inner), namespace.clone());
        blocking(move || {
            let (mut blobs, mut bytes, mut after) = (0, 0, None);
            loop {
                let page = inner.index.list(&namespace, after, STAT_PAGE);
                let page = page.map_err(|source| inner.failed(source))?;
                blobs += page.len() as u64;
                bytes += page.iter().map(|(_, size)| size).sum::<u64>();
                after = page.last().map(|(digest, _)| *digest);
                if page.len() < STAT_PAGE {
                    break;
                }
            }
            let disk = rustix::fs::statvfs(inner.index.path()).ok();
            let disk = disk.map(|disk| {
                let block = disk.f_frsize;
                (disk.f_bavail.saturating_mul(block), disk.f_blocks.saturating_mul(block))
            });
            Ok(Stat { blobs, bytes, disk })
        })
        .await
    }
}

impl Inner {
    /// Hashes blobs and makes files of the large ones; they belong to nobody before they are
    /// entered in the index.
    fn prepare(&self, namespace: &Namespace, blobs: Vec<Bytes>) -> Result<Vec<Entry>, PutError> {
        let prepare = |blob: Bytes| {
            let size_bytes = blob.len() as u64;
            if size_bytes > MAX_BLOB_BYTES {
                return Err(PutError::TooLarge { max_bytes: MAX_BLOB_BYTES });
            }
            let digest = Digest::of(&blob);
            let inline = if size_bytes > SMALL_BLOB_BYTES {
                self.write_file(&blob, digest)?;
                None
            } else {
                Some(blob)
            };
            Ok(Entry { namespace: namespace.clone(), digest, size_bytes, inline })
        };
        blobs.into_iter().map(prepare).collect()
    }

    fn write_file(&self, blob: &[u8], digest: Digest) -> Result<(), PutError> {
        use std::io::Write as _;
        let mut file = self.files.begin()?;
        file.write_all(blob).map_err(|source| PutError::io(&self.files.incoming(), source))?;
        self.files.keep(file, digest)
    }

    fn sizes(&self, namespace: &Namespace, digests: &[Digest]) -> Result<Vec<u64>, GetError> {
        let sizes = self.index.sizes(namespace, digests).map_err(|source| self.failed(source))?;
        let found = |(size, digest): (Option<u64>, &Digest)| {
            size.ok_or_else(|| GetError::NotFound { namespace: namespace.clone(), digest: *digest })
        };
        sizes.into_iter().zip(digests).map(found).collect()
    }

    /// Finds a blob; one from the index comes verified, one in a file is verified while read.
    fn source(&self, namespace: &Namespace, digest: Digest) -> Result<Source, GetError> {
        let found = self.index.find(namespace, digest).map_err(|source| self.failed(source))?;
        match found {
            None => Err(GetError::NotFound { namespace: namespace.clone(), digest }),
            Some(Found::Small(bytes)) => {
                check(digest, Digest::of(&bytes))?;
                Ok(Source::Whole(bytes))
            }
            Some(Found::Large { size_bytes }) => {
                Ok(Source::File(BlobFile::open(self.files.blob(digest), digest, size_bytes)?))
            }
        }
    }

    fn failed(&self, source: redb::Error) -> GetError {
        GetError::Index { path: self.index.path().to_owned(), source: Box::new(source) }
    }
}
