//! Blobs from one store to another: what one of several masters does so that others have them too.

use std::{path::Path, sync::Arc};

use weir_proto::{digest::Digest, id::Namespace};

use crate::{
    access::BlobSink as _,
    blobs::{BlobStore, GetError, MAX_BLOB_BYTES, PutError},
    blocking::blocking,
    bounds::{MAX_BATCH_BYTES, batches},
    remote::{RemoteError, RemoteStore},
    service::chain,
};

/// Why blobs were not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// This store does not give them.
    #[error(transparent)]
    Get(#[from] GetError),
    /// This store does not take them.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The other store does not take or give them.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl CopyError {
    /// It and its sources in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Makes blobs of this store durable in another one too, those that it lacks.
///
/// # Errors
/// See [`CopyError`]; some of them may be there then.
pub async fn send(
    from: &BlobStore,
    to: &RemoteStore,
    namespace: &Namespace,
    digests: &[Digest],
) -> Result<(), CopyError> {
    let mut sized = sized(from, namespace, digests).await?;
    // One that fits a message is sent unasked: to ask would take as long.
    if sized.iter().map(|(_, size)| size).sum::<u64>() > MAX_BATCH_BYTES || sized.len() > 1 {
        let missing = to.find_missing(namespace, digests).await?;
        sized.retain(|(digest, _)| missing.contains(digest));
    }
    for batch in batches(sized, |(_, size)| *size) {
        if batch[0].1 > MAX_BATCH_BYTES {
            send_large(from, to, namespace, batch[0].0).await?;
            continue;
        }
        let digests: Vec<Digest> = batch.iter().map(|(digest, _)| *digest).collect();
        let blobs = from.get_batch(namespace, &digests, MAX_BATCH_BYTES).await?;
        to.put_batch(namespace, blobs).await?;
    }
    Ok(())
}

/// Makes blobs of another store, of which this one lacks all, durable here; returns those that it
/// does not give, for its own disk has spoilt or lost them.
///
/// # Errors
/// See [`CopyError`]; some of them may be here then.
pub async fn receive(
    to: &BlobStore,
    from: &RemoteStore,
    namespace: &Namespace,
    blobs: impl IntoIterator<Item = (Digest, u64)>,
) -> Result<Vec<Digest>, CopyError> {
    let mut spoilt = Vec::new();
    for batch in batches(blobs, |(_, size)| *size) {
        let digests: Vec<Digest> = batch.iter().map(|(digest, _)| *digest).collect();
        if batch[0].1 <= MAX_BATCH_BYTES {
            match from.get_batch(namespace, &digests).await {
                Ok(blobs) => {
                    to.put_batch(namespace, blobs).await?;
                    continue;
                }
                Err(error) if is_spoilt(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for digest in digests {
            match receive_one(to, from, namespace, digest).await {
                Err(CopyError::Remote(error)) if is_spoilt(&error) => spoilt.push(digest),
                received => received?,
            }
        }
    }
    Ok(spoilt)
}

/// Whether it is about the blob, and another one may come all the same.
fn is_spoilt(error: &RemoteError) -> bool {
    use RemoteError::{Corrupt, Damaged, NotFound};
    matches!(error, NotFound { .. } | Damaged { .. } | Corrupt { .. })
}

/// A blob of any size, in chunks.
async fn receive_one(
    to: &BlobStore,
    from: &RemoteStore,
    namespace: &Namespace,
    digest: Digest,
) -> Result<(), CopyError> {
    let mut chunks = from.read(namespace, digest, MAX_BLOB_BYTES).await?;
    let mut upload = to.begin_put(namespace, Some(digest));
    while let Some(chunk) = chunks.next_chunk().await? {
        upload = upload.write(chunk).await?;
    }
    upload.finish().await?;
    Ok(())
}

async fn send_large(
    from: &BlobStore,
    to: &RemoteStore,
    namespace: &Namespace,
    digest: Digest,
) -> Result<(), CopyError> {
    let (store, owned) = (from.clone(), namespace.clone());
    let view = blocking(move || store.open_view_blocking(&owned, digest)).await?;
    // The digest is announced, so that bytes that have rotted are refused there.
    to.put_stream(namespace, Arc::new(view), Path::new("the store"), digest).await?;
    Ok(())
}

async fn sized(
    store: &BlobStore,
    namespace: &Namespace,
    digests: &[Digest],
) -> Result<Vec<(Digest, u64)>, GetError> {
    let sizes = store.sizes(namespace, digests).await?;
    let sized = digests.iter().zip(sizes).map(|(digest, size)| match size {
        Some(size) => Ok((*digest, size)),
        None => Err(GetError::NotFound { namespace: namespace.clone(), digest: *digest }),
    });
    sized.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        blobs::SMALL_BLOB_BYTES,
        testing::{namespace, new_remote, new_store, noise},
    };

    /// In the index, a file, and more than fits one message.
    const SIZES: [usize; 4] =
        [0, 1000, SMALL_BLOB_BYTES as usize + 1, MAX_BATCH_BYTES as usize + 1];

    async fn fill(store: &BlobStore) -> Vec<Digest> {
        let blobs = SIZES.iter().map(|size| noise(*size, 7)).collect();
        store.put_batch(&namespace("a"), blobs).await.expect("stored")
    }

    #[tokio::test]
    async fn what_is_sent_is_there() {
        let ((_here, store), (_there, other, remote)) = (new_store().await, new_remote().await);
        let (a, digests) = (namespace("a"), fill(&store).await);
        for some in [&digests[..1], &digests[1..]] {
            send(&store, &remote, &a, some).await.expect("sent");
        }
        assert_eq!(other.find_missing(&a, &digests).await.expect("an answer"), []);
        for (digest, size) in digests.iter().zip(SIZES) {
            assert_eq!(other.verify(&a, *digest).await.expect("whole"), size as u64);
        }
        let none = send(&store, &remote, &a, &[Digest::of(b"nobody has it")]).await;
        assert!(matches!(none, Err(CopyError::Get(GetError::NotFound { .. }))));
    }

    #[tokio::test]
    async fn what_is_received_is_here_but_for_what_the_other_spoilt() {
        let ((_here, store), (there, other, remote)) = (new_store().await, new_remote().await);
        let (a, digests) = (namespace("a"), fill(&other).await);
        let listed = other.list_all(None, 100).await.expect("a list");
        assert_eq!(listed.len(), SIZES.len());
        let hex = digests[2].hex();
        let file = there.path().join("blobs").join(&hex[..2]).join(&hex);
        fs::write(file, noise(SIZES[2], 8)).expect("written");
        let blobs = listed.into_iter().map(|(_, digest, size)| (digest, size));
        let spoilt = receive(&store, &remote, &a, blobs).await.expect("received");
        assert_eq!(spoilt, [digests[2]]);
        assert_eq!(store.find_missing(&a, &digests).await.expect("an answer"), spoilt);
    }
}
