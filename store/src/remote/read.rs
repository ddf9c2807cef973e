//! A blob on its way from a remote store.

use std::{io, path::Path};

use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tonic::Streaming;
use weir_proto::{digest::Digest, wire};

use super::{ANSWER_TIMEOUT, error::RemoteError};
use crate::{
    blobs::{is_disk_full, new_host_file},
    blocking::blocking,
};

/// A blob in chunks. Its bytes are the blob's only once `next_chunk` said that there are no more.
#[derive(Debug)]
pub struct RemoteRead {
    chunks: Streaming<wire::GetResponse>,
    expected: Digest,
    max_bytes: u64,
    size_bytes: u64,
    hasher: blake3::Hasher,
}

impl RemoteRead {
    pub(super) fn new(
        chunks: Streaming<wire::GetResponse>,
        expected: Digest,
        max_bytes: u64,
    ) -> RemoteRead {
        RemoteRead { chunks, expected, max_bytes, size_bytes: 0, hasher: blake3::Hasher::new() }
    }

    /// The next bytes; `None` after the last, once they all proved to be the blob's.
    ///
    /// # Errors
    /// `Corrupt` and `Damaged`; `TooLarge` above the reader's bound; `Silent`, `Unreachable`,
    /// `Refused`.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        let next = timeout(ANSWER_TIMEOUT, self.chunks.message()).await;
        let next = next.map_err(|_| RemoteError::silent(ANSWER_TIMEOUT))?;
        let Some(message) = next.map_err(RemoteError::from_status)? else {
            let (expected, actual) = (self.expected, Digest(*self.hasher.finalize().as_bytes()));
            if expected != actual {
                return Err(RemoteError::Corrupt { expected, actual });
            }
            return Ok(None);
        };
        self.size_bytes = self.size_bytes.saturating_add(message.data.len() as u64);
        if self.size_bytes > self.max_bytes {
            return Err(RemoteError::TooLarge { digest: self.expected, max_bytes: self.max_bytes });
        }
        self.hasher.update(&message.data);
        Ok(Some(message.data.into()))
    }

    /// Writes all of it to a new host file.
    pub(super) async fn write_to(mut self, path: &Path) -> Result<u64, RemoteError> {
        let failed = |source| write_error(path, source);
        let owned = path.to_owned();
        let open = blocking(move || {
            let file = new_host_file(&owned)?;
            let writer = file.as_file().try_clone()?;
            Ok((file, writer))
        });
        let (file, writer): (NamedTempFile, _) = open.await.map_err(failed)?;
        let mut writer = tokio::fs::File::from_std(writer);
        while let Some(chunk) = self.next_chunk().await? {
            writer.write_all(&chunk).await.map_err(failed)?;
        }
        // Only a flush tells whether the last write went well.
        writer.flush().await.map_err(failed)?;
        let owned = path.to_owned();
        let kept = blocking(move || file.persist_noclobber(owned).map(drop)).await;
        kept.map_err(|kept| failed(kept.error))?;
        Ok(self.size_bytes)
    }
}

fn write_error(path: &Path, source: io::Error) -> RemoteError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::AlreadyExists => RemoteError::Exists { path },
        _ if is_disk_full(&source) => RemoteError::DiskFull { path },
        _ => RemoteError::Write { path, source },
    }
}
