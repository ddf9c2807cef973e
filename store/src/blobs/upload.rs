//! A blob that arrives in chunks.

use std::io::Write as _;

use bytes::Bytes;
use tempfile::NamedTempFile;
use weir_proto::{digest::Digest, id::Namespace};

use super::{BlobStore, MAX_BLOB_BYTES, SMALL_BLOB_BYTES, error::PutError, index::Entry};
use crate::blocking::blocking;

/// A blob on its way in. Dropping it leaves nothing behind.
///
/// Each step takes the upload and gives it back, so that none goes on after an error or after a
/// step that was cancelled half way.
#[derive(Debug)]
#[must_use = "nothing is stored before `finish`"]
pub struct Upload {
    store: BlobStore,
    namespace: Namespace,
    expected: Option<Digest>,
    size_bytes: u64,
    /// Boxed: it has 2 KB, and the upload moves with every chunk.
    hasher: Box<blake3::Hasher>,
    /// Bytes not yet hashed or written, at most `SMALL_BLOB_BYTES`: a small blob needs no file, and
    /// small chunks of a large one share a write.
    pending: Vec<u8>,
    file: Option<NamedTempFile>,
}

impl Upload {
    pub(super) fn new(store: BlobStore, namespace: Namespace, expected: Option<Digest>) -> Upload {
        Upload {
            store,
            namespace,
            expected,
            size_bytes: 0,
            hasher: Box::default(),
            pending: Vec::new(),
            file: None,
        }
    }

    /// Adds the next bytes, as many as the caller has.
    ///
    /// # Errors
    /// `TooLarge` beyond `MAX_BLOB_BYTES`; `DiskFull` and `Io` from writing.
    pub async fn write(mut self, chunk: Bytes) -> Result<Upload, PutError> {
        self.size_bytes = self.size_bytes.saturating_add(chunk.len() as u64);
        if self.size_bytes > MAX_BLOB_BYTES {
            return Err(PutError::TooLarge { max_bytes: MAX_BLOB_BYTES });
        }
        if self.pending.len() + chunk.len() <= SMALL_BLOB_BYTES as usize {
            self.pending.extend_from_slice(&chunk);
            return Ok(self);
        }
        blocking(move || {
            self.spill(&chunk)?;
            Ok(self)
        })
        .await
    }

    /// Stores the blob; durable on return. Returns its digest and its size in bytes.
    ///
    /// # Errors
    /// `WrongDigest` when another was announced; `DiskFull`, `Io`, `Index`, `Stopped`.
    pub async fn finish(self) -> Result<(Digest, u64), PutError> {
        let store = self.store.clone();
        let entry = match &self.file {
            None => self.finish_small()?,
            Some(_) => blocking(move || self.finish_large()).await?,
        };
        let done = (entry.digest, entry.size_bytes);
        store.inner.writer.write(vec![entry]).await?;
        Ok(done)
    }

    /// Hashes and writes what is pending and then `chunk`.
    fn spill(&mut self, chunk: &[u8]) -> Result<(), PutError> {
        let files = &self.store.inner.files;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(files.begin()?),
        };
        for bytes in [&self.pending[..], chunk] {
            self.hasher.update(bytes);
            file.write_all(bytes).map_err(|source| PutError::io(&files.incoming(), source))?;
        }
        self.pending.clear();
        Ok(())
    }

    fn finish_small(self) -> Result<Entry, PutError> {
        let digest = Digest::of(&self.pending);
        self.check(digest)?;
        let inline = Some(Bytes::from(self.pending));
        Ok(Entry { namespace: self.namespace, digest, size_bytes: self.size_bytes, inline })
    }

    fn finish_large(mut self) -> Result<Entry, PutError> {
        self.spill(&[])?;
        let digest = Digest(*self.hasher.finalize().as_bytes());
        self.check(digest)?;
        if let Some(file) = self.file.take() {
            self.store.inner.files.keep(file, digest)?;
        }
        Ok(Entry { namespace: self.namespace, digest, size_bytes: self.size_bytes, inline: None })
    }

    fn check(&self, actual: Digest) -> Result<(), PutError> {
        match self.expected {
            Some(expected) if expected != actual => Err(PutError::WrongDigest { expected, actual }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, new_store};

    #[tokio::test]
    async fn a_blob_above_the_bound_is_refused_before_it_is_whole() {
        let (_dir, store) = new_store().await;
        let mut upload = store.begin_put(&namespace("a"), None);
        upload.size_bytes = MAX_BLOB_BYTES;
        let refused = upload.write(Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(PutError::TooLarge { max_bytes: MAX_BLOB_BYTES })));
    }
}
