//! A store on another machine, reached by rpc; nothing it sends is believed before it is hashed.
//!
//! Calls are not retried here: a failed put or get may simply be made again. `cache` keeps what comes
//! from here on this machine's disk.

mod error;

mod read;

#[cfg(test)]
mod tests;

use std::{future::Future, path::Path, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, transport::Channel};
use weir_proto::{
    digest::Digest,
    id::Namespace,
    wire::{self, store_client::StoreClient},
};

pub use self::{error::RemoteError, read::RemoteRead};
use crate::{
    access::{BlobSink, BlobSource, read_chunk},
    blobs::MAX_WHOLE_BYTES,
    blobs::Stat,
    blocking::blocking,
    bounds::{MAX_BATCH_BYTES, MAX_DIGESTS, MAX_MESSAGE_BYTES, batches},
    view::{BlobView, HostFile, ReadAt, hash},
};

/// Longest wait for an answer, or for the next chunk of one: the store may have a slow disk to sync.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Chunks read ahead of the network, 1 MiB each.
const CHUNKS_AHEAD: usize = 2;

/// A client of a store; a clone shares its connection.
#[derive(Debug, Clone)]
pub struct RemoteStore {
    client: StoreClient<Channel>,
}

impl RemoteStore {
    /// A client over this channel, which may connect later and again.
    ///
    /// HTTP/2's windows of 64 KiB throttle large blobs: give the channel, and the server, stream and
    /// connection windows of some MiB.
    pub fn new(channel: Channel) -> RemoteStore {
        let client = StoreClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        RemoteStore { client }
    }

    /// Which of these blobs, any number of them, the namespace lacks.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`, `WrongAnswer`.
    pub async fn find_missing(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, RemoteError> {
        let mut missing = Vec::new();
        for some in digests.chunks(MAX_DIGESTS) {
            let request = wire::FindMissingRequest {
                namespace: namespace.as_str().to_owned(),
                digests: some.iter().map(|digest| digest.to_wire()).collect(),
            };
            let answer = answered(self.client.clone().find_missing(request)).await?;
            for digest in answer.missing {
                let digest = Digest::try_from(&digest[..]);
                missing.push(digest.map_err(|_| RemoteError::WrongAnswer { what: "a digest" })?);
            }
        }
        Ok(missing)
    }

    /// Blobs of a namespace and their sizes, ascending by digest: at most 10,000 of those after
    /// `after`; none when there are no more.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`, `WrongAnswer`.
    pub async fn list(
        &self,
        namespace: &Namespace,
        after: Option<Digest>,
        limit: u32,
    ) -> Result<Vec<(Digest, u64)>, RemoteError> {
        let request = wire::ListBlobsRequest {
            namespace: namespace.as_str().to_owned(),
            after: after.map(Digest::to_wire).unwrap_or_default(),
            limit,
        };
        let answer = answered(self.client.clone().list(request)).await?;
        let blobs = answer.blobs.into_iter().map(|blob| {
            let digest = Digest::try_from(&blob.digest[..]);
            let digest = digest.map_err(|_| RemoteError::WrongAnswer { what: "a digest" })?;
            Ok((digest, blob.size_bytes))
        });
        blobs.collect()
    }

    /// How full the store is.
    ///
    /// # Errors
    /// `Unreachable`, `Refused`.
    pub async fn stat(&self, namespace: &Namespace) -> Result<Stat, RemoteError> {
        let request = wire::StatStoreRequest { namespace: namespace.as_str().to_owned() };
        let answer = answered(self.client.clone().stat(request)).await?;
        let disk = (answer.disk_free_bytes, answer.disk_total_bytes);
        let disk = (disk.1 > 0).then_some(disk);
        Ok(Stat { blobs: answer.blobs, bytes: answer.bytes, disk })
    }

    /// Puts a blob; durable there on return.
    ///
    /// # Errors
    /// `Exhausted` when it is too large or the store's disk is full; `Unreachable`, `Refused`,
    /// `Damaged`, `WrongAnswer`.
    pub async fn put(&self, namespace: &Namespace, blob: Bytes) -> Result<Digest, RemoteError> {
        let digests = self.put_batch(namespace, vec![blob]).await?;
        Ok(digests[0])
    }

    /// Puts blobs of any size and number, in as few steps as their sizes allow; their digests come
    /// in the same order.
    ///
    /// # Errors
    /// As `put`; some of the blobs may be stored then.
    pub async fn put_batch(
        &self,
        namespace: &Namespace,
        blobs: Vec<Bytes>,
    ) -> Result<Vec<Digest>, RemoteError> {
        let mut digests = Vec::with_capacity(blobs.len());
        for batch in batches(blobs, |blob| blob.len() as u64) {
            let expected: Vec<Digest> = batch.iter().map(|blob| Digest::of(blob)).collect();
            if batch[0].len() as u64 > MAX_BATCH_BYTES {
                let bytes = Arc::new(BlobView::from(batch[0].clone()));
                self.put_stream(namespace, bytes, Path::new("memory"), expected[0]).await?;
            } else {
                self.put_one_batch(namespace, batch, &expected).await?;
            }
            digests.extend(expected);
        }
        Ok(digests)
    }

    async fn put_one_batch(
        &self,
        namespace: &Namespace,
        batch: Vec<Bytes>,
        expected: &[Digest],
    ) -> Result<(), RemoteError> {
        let request = wire::PutBatchRequest {
            namespace: namespace.as_str().to_owned(),
            blobs: batch.into_iter().map(Vec::from).collect(),
        };
        let answer = answered(self.client.clone().put_batch(request)).await?;
        if !answer.digests.iter().eq(expected.iter().map(|digest| &digest.0[..])) {
            return Err(RemoteError::WrongAnswer { what: "the digests of other blobs" });
        }
        Ok(())
    }

    /// Puts a host file unless it is there already; returns its digest and size in bytes.
    ///
    /// # Errors
    /// `Read` when the file cannot be read; `Damaged` when it changes meanwhile; else as `put`.
    pub async fn put_file(
        &self,
        namespace: &Namespace,
        path: &Path,
    ) -> Result<(Digest, u64), RemoteError> {
        let owned = path.to_owned();
        let hashed = blocking(move || {
            let file = HostFile::open(&owned)?;
            let (digest, size_bytes) = hash(&file)?;
            Ok((file, digest, size_bytes))
        });
        let (file, digest, size_bytes) =
            hashed.await.map_err(|source| RemoteError::Read { path: path.to_owned(), source })?;
        if !self.find_missing(namespace, &[digest]).await?.is_empty() {
            self.put_stream(namespace, Arc::new(file), path, digest).await?;
        }
        Ok((digest, size_bytes))
    }

    /// A whole blob, verified.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` and `Damaged`; `TooLarge` above `MAX_WHOLE_BYTES`: use `download`;
    /// `Unreachable`, `Refused`.
    pub async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, RemoteError> {
        let mut chunks = self.read(namespace, digest, MAX_WHOLE_BYTES).await?;
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.next_chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// Whole blobs of at most `MAX_DIGESTS` and `MAX_BATCH_BYTES` in all, verified, in the order
    /// asked for.
    ///
    /// # Errors
    /// As `get`; `Refused` above these bounds.
    pub async fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Bytes>, RemoteError> {
        let request = wire::GetBatchRequest {
            namespace: namespace.as_str().to_owned(),
            digests: digests.iter().map(|digest| digest.to_wire()).collect(),
        };
        let answer = answered(self.client.clone().get_batch(request)).await?;
        if answer.blobs.len() != digests.len() {
            return Err(RemoteError::WrongAnswer { what: "another number of blobs" });
        }
        let verified = |(blob, expected): (Vec<u8>, &Digest)| {
            let (expected, actual) = (*expected, Digest::of(&blob));
            if expected != actual {
                return Err(RemoteError::Corrupt { expected, actual });
            }
            Ok(Bytes::from(blob))
        };
        answer.blobs.into_iter().zip(digests).map(verified).collect()
    }

    /// A blob in chunks; whoever reads it stops at an error, or above `max_bytes`.
    ///
    /// # Errors
    /// As `get`.
    pub async fn read(
        &self,
        namespace: &Namespace,
        digest: Digest,
        max_bytes: u64,
    ) -> Result<RemoteRead, RemoteError> {
        let request =
            wire::GetRequest { namespace: namespace.as_str().to_owned(), digest: digest.to_wire() };
        let chunks = answered(self.client.clone().get(request)).await?;
        Ok(RemoteRead::new(chunks, digest, max_bytes))
    }

    /// Writes a blob of at most `max_bytes` to a new host file, which appears only once verified;
    /// returns its bytes.
    ///
    /// # Errors
    /// As `get`; `Exists` when something is at `path`; `DiskFull`, `Write`.
    pub async fn download(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> Result<u64, RemoteError> {
        self.read(namespace, digest, max_bytes).await?.write_to(path).await
    }
}

impl BlobSink for RemoteStore {
    type Error = RemoteError;

    async fn find_missing(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Digest>, RemoteError> {
        RemoteStore::find_missing(self, namespace, digests).await
    }

    async fn put_batch(
        &self,
        namespace: &Namespace,
        blobs: Vec<Bytes>,
    ) -> Result<Vec<Digest>, RemoteError> {
        RemoteStore::put_batch(self, namespace, blobs).await
    }

    /// A digest is always announced: bytes that cannot be read half way end the stream of chunks,
    /// and only the digest tells the store that this is not the blob's end.
    async fn put_stream(
        &self,
        namespace: &Namespace,
        bytes: Arc<dyn ReadAt>,
        path: &Path,
        expected: Digest,
    ) -> Result<(), RemoteError> {
        let (chunks, sent) = mpsc::channel(CHUNKS_AHEAD);
        let mut client = self.client.clone();
        let mut call = pin!(client.put(ReceiverStream::new(sent)));
        let mut first = wire::PutRequest {
            namespace: namespace.as_str().to_owned(),
            digest: expected.to_wire(),
            data: Vec::new(),
        };
        let send = async move {
            let mut offset = 0;
            loop {
                let data = read_chunk(&bytes, offset)
                    .await
                    .map_err(|source| RemoteError::Read { path: path.to_owned(), source })?;
                offset += data.len() as u64;
                let last = data.is_empty();
                let message = wire::PutRequest { data, ..std::mem::take(&mut first) };
                match timeout(ANSWER_TIMEOUT, chunks.send(message)).await {
                    // Nobody listens any more: the answer is there, and says why.
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) if last => return Ok(()),
                    Ok(Ok(())) => {}
                    Err(_) => return Err(RemoteError::silent(ANSWER_TIMEOUT)),
                }
            }
        };
        let answer = tokio::select! {
            biased;
            answer = &mut call => answer.map_err(RemoteError::from_status)?.into_inner(),
            done = send => {
                done?;
                answered(call).await?
            }
        };
        if answer.digest != expected.0 {
            return Err(RemoteError::WrongAnswer { what: "the digest of another blob" });
        }
        Ok(())
    }
}

impl BlobSource for RemoteStore {
    type Error = RemoteError;

    async fn get(&self, namespace: &Namespace, digest: Digest) -> Result<Bytes, RemoteError> {
        RemoteStore::get(self, namespace, digest).await
    }

    async fn get_batch(
        &self,
        namespace: &Namespace,
        digests: &[Digest],
    ) -> Result<Vec<Bytes>, RemoteError> {
        RemoteStore::get_batch(self, namespace, digests).await
    }

    async fn export(
        &self,
        namespace: &Namespace,
        digest: Digest,
        path: &Path,
        max_bytes: u64,
    ) -> Result<u64, RemoteError> {
        self.download(namespace, digest, path, max_bytes).await
    }
}

/// The answer of a call, if it comes in time.
async fn answered<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RemoteError> {
    match timeout(ANSWER_TIMEOUT, call).await {
        Ok(answer) => Ok(answer.map_err(RemoteError::from_status)?.into_inner()),
        Err(_) => Err(RemoteError::silent(ANSWER_TIMEOUT)),
    }
}
