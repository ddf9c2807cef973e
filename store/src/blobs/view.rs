//! Blobs opened where they lie, and checked there.

use weir_proto::{digest::Digest, id::Namespace};

use super::{BlobStore, error::GetError, read::Source};
use crate::{blocking::blocking, view::BlobView};

impl BlobStore {
    /// A view of a blob; waits for the disk, so call it from a thread that may block.
    ///
    /// A small blob is verified. Of a large one only the length is checked, for it may be opened for
    /// a single byte: whoever needs more calls `CachedStore::hold` first, which verifies it once.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` for a small blob, and for a large one whose file is gone or has another
    /// length; `Io`, `Index`.
    pub fn open_view_blocking(
        &self,
        namespace: &Namespace,
        digest: Digest,
    ) -> Result<BlobView, GetError> {
        match self.inner.source(namespace, digest)? {
            Source::Whole(bytes) => Ok(bytes.into()),
            Source::File(file) => file.into_view(),
        }
    }

    /// Reads a whole blob to see whether it is what its name says; returns its bytes.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Io`, `Index`.
    pub async fn verify(&self, namespace: &Namespace, digest: Digest) -> Result<u64, GetError> {
        let (store, namespace) = (self.clone(), namespace.clone());
        blocking(move || match store.inner.source(&namespace, digest)? {
            Source::Whole(bytes) => Ok(bytes.len() as u64),
            Source::File(file) => file.verify(),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        blobs::SMALL_BLOB_BYTES,
        testing::{namespace, new_store, noise},
    };

    const SIZES: [usize; 4] = [0, 1000, SMALL_BLOB_BYTES as usize + 1, 1 << 20];

    #[tokio::test]
    async fn a_view_has_the_blobs_bytes() {
        let (_dir, store) = new_store().await;
        let a = namespace("a");
        for size in SIZES {
            let bytes = noise(size, 1);
            let digest = store.put(&a, bytes.clone()).await.unwrap();
            let view = store.open_view_blocking(&a, digest).unwrap();
            let mut read = vec![0; size + 1];
            assert_eq!(view.read_at(0, &mut read).unwrap(), size);
            assert_eq!((view.len(), &read[..size]), (size as u64, &bytes[..]));
            assert_eq!(store.verify(&a, digest).await.unwrap(), size as u64);
        }
    }

    #[tokio::test]
    async fn another_namespaces_blob_is_not_found() {
        let (_dir, store) = new_store().await;
        for size in SIZES {
            let digest = store.put(&namespace("a"), noise(size, 1)).await.unwrap();
            let refused = store.open_view_blocking(&namespace("b"), digest).unwrap_err();
            assert!(matches!(refused, GetError::NotFound { .. }));
            let refused = store.verify(&namespace("b"), digest).await.unwrap_err();
            assert!(matches!(refused, GetError::NotFound { .. }));
        }
    }

    #[tokio::test]
    async fn a_large_file_that_is_gone_or_has_another_length_is_corrupt() {
        let (_dir, store) = new_store().await;
        let a = namespace("a");
        let digest = store.put(&a, noise(1 << 20, 1)).await.unwrap();
        let path = store.inner.files.blob(digest);
        let is_corrupt = |bytes: &[u8]| {
            let failed = store.open_view_blocking(&a, digest).unwrap_err();
            assert!(
                matches!(failed, GetError::Corrupt { actual, .. } if actual == Digest::of(bytes))
            );
        };
        for bytes in [noise(1000, 1), noise((1 << 20) + 1, 1)] {
            fs::write(&path, &bytes).unwrap();
            is_corrupt(&bytes);
        }
        fs::remove_file(&path).unwrap();
        is_corrupt(b"");
    }

    #[tokio::test]
    async fn a_changed_large_file_of_the_right_length_is_found_by_verifying() {
        let (_dir, store) = new_store().await;
        let a = namespace("a");
        let digest = store.put(&a, noise(1 << 20, 1)).await.unwrap();
        fs::write(store.inner.files.blob(digest), noise(1 << 20, 2)).unwrap();
        assert!(store.open_view_blocking(&a, digest).is_ok());
        let failed = store.verify(&a, digest).await.unwrap_err();
        assert!(matches!(failed, GetError::Corrupt { .. }));
    }

    #[tokio::test]
    async fn a_view_outlives_its_file() {
        let (_dir, store) = new_store().await;
        let a = namespace("a");
        let digest = store.put(&a, noise(1 << 20, 1)).await.unwrap();
        let view = store.open_view_blocking(&a, digest).unwrap();
        fs::remove_file(store.inner.files.blob(digest)).unwrap();
        let mut last = [0; 1];
        assert_eq!(view.clone().read_at((1 << 20) - 1, &mut last).unwrap(), 1);
        assert_eq!(last[0], noise(1 << 20, 1)[(1 << 20) - 1]);
    }
}
