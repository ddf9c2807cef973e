//! What several tests of this crate share: bytes, stores in temporary directories, a loopback server.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};
use weir_proto::{
    id::Namespace,
    wire::{
        self,
        store_server::{Store, StoreServer},
    },
};

use crate::{
    blobs::BlobStore, bounds::MAX_MESSAGE_BYTES, remote::RemoteStore, service::StoreService,
};

/// Bytes without a pattern that anything could compress or mistake, the same for a seed.
pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

pub(crate) fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

pub(crate) async fn new_store() -> (TempDir, BlobStore) {
    let dir = TempDir::new().unwrap();
    let store = BlobStore::open(dir.path()).await.unwrap();
    (dir, store)
}

/// Serves on a free port of the loopback until the test's runtime ends.
pub(crate) async fn serve(service: impl Store) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = StoreServer::new(service)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let served =
        Server::builder().add_service(server).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(served);
    Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy()
}

pub(crate) async fn new_remote() -> (TempDir, BlobStore, RemoteStore) {
    let (dir, store) = new_store().await;
    let channel = serve(StoreService::new(store.clone())).await;
    (dir, store, RemoteStore::new(channel))
}

/// A store service that counts what is asked of it, may hold answers back, and may lie.
pub(crate) struct Double {
    inner: StoreService,
    /// Calls of `Get` and `GetBatch` that began.
    pub(crate) gets: AtomicUsize,
    /// Calls of `PutBatch` and `Put` that began.
    pub(crate) puts: AtomicUsize,
    /// `Get` takes a permit for ever before it goes on.
    pub(crate) gate: Semaphore,
    /// Whether answers to `Get` and `GetBatch` have their first byte changed.
    pub(crate) lies: AtomicBool,
}

impl Double {
    /// An honest double without a gate.
    pub(crate) fn new(store: BlobStore) -> Arc<Double> {
        Arc::new(Double {
            inner: StoreService::new(store),
            gets: AtomicUsize::new(0),
            puts: AtomicUsize::new(0),
            gate: Semaphore::new(1000),
            lies: AtomicBool::new(false),
        })
    }

    fn falsify(&self, bytes: &mut [u8]) {
        if self.lies.load(Relaxed)
            && let Some(first) = bytes.first_mut()
        {
            *first ^= 1;
        }
    }
}

/// What tonic mounts: a handle, so that the test keeps another.
pub(crate) struct Doubled(pub(crate) Arc<Double>);

#[tonic::async_trait]
impl Store for Doubled {
    type GetStream = <StoreService as Store>::GetStream;

    async fn find_missing(
        &self,
        request: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        self.0.inner.find_missing(request).await
    }

    async fn put(
        &self,
        request: Request<Streaming<wire::PutRequest>>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        self.0.puts.fetch_add(1, Relaxed);
        self.0.inner.put(request).await
    }

    async fn put_batch(
        &self,
        request: Request<wire::PutBatchRequest>,
    ) -> Result<Response<wire::PutBatchResponse>, Status> {
        self.0.puts.fetch_add(1, Relaxed);
        self.0.inner.put_batch(request).await
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        self.0.gets.fetch_add(1, Relaxed);
        self.0.gate.acquire().await.unwrap().forget();
        let double = Arc::clone(&self.0);
        let honest = self.0.inner.get(request).await?.into_inner();
        let told = honest.map(move |chunk| {
            let mut chunk = chunk?;
            double.falsify(&mut chunk.data);
            Ok(chunk)
        });
        Ok(Response::new(Box::pin(told)))
    }

    async fn get_batch(
        &self,
        request: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        self.0.gets.fetch_add(1, Relaxed);
        let mut answer = self.0.inner.get_batch(request).await?;
        answer.get_mut().blobs.iter_mut().for_each(|blob| self.0.falsify(blob));
        Ok(answer)
    }

    async fn list(
        &self,
        request: Request<wire::ListBlobsRequest>,
    ) -> Result<Response<wire::ListBlobsResponse>, Status> {
        self.0.inner.list(request).await
    }

    async fn stat(
        &self,
        request: Request<wire::StatStoreRequest>,
    ) -> Result<Response<wire::StatStoreResponse>, Status> {
        self.0.inner.stat(request).await
    }
}
