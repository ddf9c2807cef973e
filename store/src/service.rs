//! The store as an rpc service: every message is bounded and parsed here before the disk is touched.
//!
//! Who may use which namespace is not decided here but by what stands before it. Where several stores
//! keep the same blobs, a put is acknowledged once enough of them have it, and what this one lacks is
//! fetched from the others. The client of this service is in `remote`.

use std::{
    collections::HashSet, error::Error, fmt::Write as _, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use weir_proto::{
    digest::Digest,
    id::Namespace,
    malformed::Malformed,
    wire::{
        self,
        store_server::{Store, StoreServer},
    },
};

use crate::{
    blobs::{BlobStore, GetError, PutError},
    bounds::{MAX_BATCH_BYTES, MAX_CHUNK_BYTES, MAX_DIGESTS, MAX_MESSAGE_BYTES},
    group::{Caller, Group},
};

/// Most uploads and downloads at once: each holds an open file and up to 2 MiB.
const MAX_STREAMS: usize = 256;
/// Longest wait for one of `MAX_STREAMS` to end, before the client is told to come again.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a client in the middle of an upload.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one store.
#[derive(Debug)]
pub struct StoreService {
    store: BlobStore,
    group: Option<Arc<dyn Group>>,
    streams: Arc<Semaphore>,
}

impl StoreService {
    /// A service over this store alone.
    pub fn new(store: BlobStore) -> StoreService {
        StoreService { store, group: None, streams: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// A service over one of several stores that keep the same blobs.
    pub fn of_group(store: BlobStore, group: Arc<dyn Group>) -> StoreService {
        StoreService { group: Some(group), ..StoreService::new(store) }
    }

    /// The other stores, if the caller means them too.
    fn group(&self, metadata: &MetadataMap) -> Result<Option<&dyn Group>, Status> {
        let Some(group) = &self.group else { return Ok(None) };
        Ok((group.caller(metadata)? == Caller::Client).then_some(&**group))
    }

    /// The service as tonic mounts it, with its bounds on messages.
    pub fn into_server(self) -> StoreServer<StoreService> {
        StoreServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn admit(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = timeout(ADMISSION_TIMEOUT, Arc::clone(&self.streams).acquire_owned()).await;
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => unreachable!("the semaphore is never closed"),
            Err(_) => Err(Status::unavailable(format!(
                "the store serves {MAX_STREAMS} streams already; try again later"
            ))),
        }
    }
}

#[tonic::async_trait]
impl Store for StoreService {
    type GetStream = Pin<Box<dyn Stream<Item = Result<wire::GetResponse, Status>> + Send>>;

    async fn find_missing(
        &self,
        request: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        let group = self.group(request.metadata())?;
        let request = request.get_ref();
        let namespace = parse_namespace(&request.namespace)?;
        let digests = parse_digests(&request.digests)?;
        let missing = self.store.find_missing(&namespace, &digests).await.map_err(get_status)?;
        if let Some(group) = group {
            // Whoever hears that a blob is there does not put it.
            let lacked: HashSet<&Digest> = missing.iter().collect();
            let there = digests.iter().filter(|digest| !lacked.contains(digest));
            group.spread(&namespace, &there.copied().collect::<Vec<_>>()).await?;
        }
        let missing = missing.into_iter().map(Digest::to_wire).collect();
        Ok(Response::new(wire::FindMissingResponse { missing }))
    }

    async fn put(
        &self,
        request: Request<Streaming<wire::PutRequest>>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        let _admitted = self.admit().await?;
        let group = self.group(request.metadata())?;
        let mut messages = request.into_inner();
        let Some(first) = next_message(&mut messages).await? else {
            return Err(Status::invalid_argument("a put begins with a message, not with its end"));
        };
        let namespace = parse_namespace(&first.namespace)?;
        let expected = match &first.digest[..] {
            [] => None,
            digest => Some(Digest::try_from(digest).map_err(invalid)?),
        };
        let mut upload = self.store.begin_put(&namespace, expected);
        let mut chunk = check_chunk(first.data)?;
        loop {
            upload = upload.write(chunk).await.map_err(put_status)?;
            let Some(next) = next_message(&mut messages).await? else { break };
            if !next.namespace.is_empty() || !next.digest.is_empty() {
                return Err(Status::invalid_argument(
                    "only the first message of a put names a namespace and a digest",
                ));
            }
            chunk = check_chunk(next.data)?;
        }
        let (digest, size_bytes) = upload.finish().await.map_err(put_status)?;
        if let Some(group) = group {
            group.spread(&namespace, &[digest]).await?;
        }
        Ok(Response::new(wire::PutResponse { digest: digest.to_wire(), size_bytes }))
    }

    async fn put_batch(
        &self,
        request: Request<wire::PutBatchRequest>,
    ) -> Result<Response<wire::PutBatchResponse>, Status> {
        let group = self.group(request.metadata())?;
        let request = request.into_inner();
        let namespace = parse_namespace(&request.namespace)?;
        check_count(request.blobs.len())?;
        let bytes: u64 = request.blobs.iter().map(|blob| blob.len() as u64).sum();
        if bytes > MAX_BATCH_BYTES {
            return Err(Status::invalid_argument(format!(
                "the batch has {bytes} bytes; at most {MAX_BATCH_BYTES} are allowed"
            )));
        }
        let blobs = request.blobs.into_iter().map(Bytes::from).collect();
        let digests = self.store.put_batch(&namespace, blobs).await.map_err(put_status)?;
        if let Some(group) = group {
            group.spread(&namespace, &digests).await?;
        }
        let digests = digests.into_iter().map(Digest::to_wire).collect();
        Ok(Response::new(wire::PutBatchResponse { digests }))
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let group = self.group(request.metadata())?;
        let request = request.get_ref();
        let namespace = parse_namespace(&request.namespace)?;
        let digest = Digest::try_from(&request.digest[..]).map_err(invalid)?;
        let admitted = self.admit().await?;
        let chunks = match (self.store.read(&namespace, digest).await, group) {
            (Err(error), Some(group)) if error.is_curable() => {
                group.fetch(&namespace, &[digest]).await;
                self.store.read(&namespace, digest).await
            }
            (chunks, _) => chunks,
        };
        let chunks = chunks.map_err(get_status)?;
        let healing = group.and(self.group.clone());
        let messages = chunks.map(move |chunk| {
            let _held_until_the_stream_ends = &admitted;
            if let (Err(GetError::Corrupt { .. }), Some(group)) = (&chunk, healing.clone()) {
                // Too late for this reader; the next one finds it whole.
                let namespace = namespace.clone();
                tokio::spawn(async move { group.fetch(&namespace, &[digest]).await });
            }
            chunk.map(|data| wire::GetResponse { data: data.into() }).map_err(get_status)
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn get_batch(
        &self,
        request: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        let group = self.group(request.metadata())?;
        let request = request.get_ref();
        let namespace = parse_namespace(&request.namespace)?;
        let digests = parse_digests(&request.digests)?;
        let blobs = self.store.get_batch(&namespace, &digests, MAX_BATCH_BYTES).await;
        let blobs = match (blobs, group) {
            (Err(error), Some(group)) if error.is_curable() => {
                group.fetch(&namespace, &digests).await;
                self.store.get_batch(&namespace, &digests, MAX_BATCH_BYTES).await
            }
            (blobs, _) => blobs,
        };
        let blobs = blobs.map_err(get_status)?.into_iter().map(Vec::from).collect();
        Ok(Response::new(wire::GetBatchResponse { blobs }))
    }

    async fn list(
        &self,
        request: Request<wire::ListBlobsRequest>,
    ) -> Result<Response<wire::ListBlobsResponse>, Status> {
        let wire::ListBlobsRequest { namespace, after, limit } = request.into_inner();
        let namespace = parse_namespace(&namespace)?;
        let after = match &after[..] {
            [] => None,
            after => Some(Digest::try_from(after).map_err(invalid)?),
        };
        let limit = match limit as usize {
            0 => MAX_DIGESTS,
            limit => limit.min(MAX_DIGESTS),
        };
        let blobs = self.store.list(&namespace, after, limit).await.map_err(get_status)?;
        let blobs = blobs
            .into_iter()
            .map(|(digest, size_bytes)| wire::BlobInfo { digest: digest.to_wire(), size_bytes });
        Ok(Response::new(wire::ListBlobsResponse { blobs: blobs.collect() }))
    }

    async fn stat(
        &self,
        request: Request<wire::StatStoreRequest>,
    ) -> Result<Response<wire::StatStoreResponse>, Status> {
        let namespace = parse_namespace(&request.into_inner().namespace)?;
        let stat = self.store.stat(&namespace).await.map_err(get_status)?;
        let (disk_free_bytes, disk_total_bytes) = stat.disk.unwrap_or_default();
        Ok(Response::new(wire::StatStoreResponse {
            blobs: stat.blobs,
            bytes: stat.bytes,
            disk_free_bytes,
            disk_total_bytes,
        }))
    }
}

async fn next_message(
    messages: &mut Streaming<wire::PutRequest>,
) -> Result<Option<wire::PutRequest>, Status> {
    timeout(CHUNK_TIMEOUT, messages.message()).await.unwrap_or_else(|_| {
        let seconds = CHUNK_TIMEOUT.as_secs();
        Err(Status::deadline_exceeded(format!("no chunk came for {seconds} s")))
    })
}

fn invalid(malformed: Malformed) -> Status {
    Status::invalid_argument(malformed.to_string())
}

fn parse_namespace(name: &str) -> Result<Namespace, Status> {
    name.parse().map_err(invalid)
}

fn parse_digests(digests: &[Vec<u8>]) -> Result<Vec<Digest>, Status> {
    check_count(digests.len())?;
    digests.iter().map(|digest| Digest::try_from(&digest[..]).map_err(invalid)).collect()
}

fn check_count(count: usize) -> Result<(), Status> {
    if count > MAX_DIGESTS {
        return Err(Status::invalid_argument(format!(
            "the message has {count} blobs; at most {MAX_DIGESTS} are allowed"
        )));
    }
    Ok(())
}

fn check_chunk(data: Vec<u8>) -> Result<Bytes, Status> {
    if data.len() > MAX_CHUNK_BYTES {
        return Err(Status::invalid_argument(format!(
            "the chunk has {} bytes; at most {MAX_CHUNK_BYTES} are allowed",
            data.len()
        )));
    }
    Ok(data.into())
}

fn put_status(error: PutError) -> Status {
    let message = chain(&error);
    match error {
        PutError::WrongDigest { .. } => Status::data_loss(message),
        PutError::TooLarge { .. } => Status::resource_exhausted(message),
        PutError::DiskFull { .. } => {
            tracing::error!(message, "a put failed");
            Status::resource_exhausted(message)
        }
        PutError::Io { .. } | PutError::Index { .. } | PutError::Stopped => {
            tracing::error!(message, "a put failed");
            Status::internal(message)
        }
    }
}

fn get_status(error: GetError) -> Status {
    let message = chain(&error);
    match error {
        GetError::NotFound { .. } => Status::not_found(message),
        GetError::Corrupt { .. } => Status::data_loss(message),
        GetError::TooLarge { .. } => Status::invalid_argument(message),
        GetError::Io { .. } | GetError::Index { .. } => {
            tracing::error!(message, "a get failed");
            Status::internal(message)
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(message, ": {error}").expect("a string takes any text");
        source = error.source();
    }
    message
}
