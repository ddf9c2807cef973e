//! The store of a scripted master: it has every blob, and gives the same wrong bytes for each.

use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};
use weir_proto::wire::{self, store_server::Store};

pub(super) struct WrongStore;

const BYTES: &[u8] = b"these are not the bytes that were asked for";

fn refused() -> Status {
    Status::unimplemented("a scripted store only gives")
}

#[tonic::async_trait]
impl Store for WrongStore {
    type GetStream = BoxStream<wire::GetResponse>;

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let answer = Ok(wire::GetResponse { data: BYTES.to_vec() });
        Ok(Response::new(Box::pin(tokio_stream::once(answer))))
    }

    async fn get_batch(
        &self,
        request: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        let blobs = request.into_inner().digests.iter().map(|_| BYTES.to_vec()).collect();
        Ok(Response::new(wire::GetBatchResponse { blobs }))
    }

    async fn find_missing(
        &self,
        _: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        Err(refused())
    }

    async fn put(
        &self,
        _: Request<Streaming<wire::PutRequest>>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        Err(refused())
    }

    async fn put_batch(
        &self,
        _: Request<wire::PutBatchRequest>,
    ) -> Result<Response<wire::PutBatchResponse>, Status> {
        Err(refused())
    }

    async fn list(
        &self,
        _: Request<wire::ListBlobsRequest>,
    ) -> Result<Response<wire::ListBlobsResponse>, Status> {
        Err(refused())
    }

    async fn stat(
        &self,
        _: Request<wire::StatStoreRequest>,
    ) -> Result<Response<wire::StatStoreResponse>, Status> {
        Err(refused())
    }
}
