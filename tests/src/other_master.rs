//! A master of another version, as a client sees it: it greets, says its version, and knows nothing of
//! what it is asked for.

use std::{net::SocketAddr, thread};

use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use weir_proto::{
    version,
    wire::{
        self,
        store_server::{Store, StoreServer},
    },
};

/// The version that it says it is.
pub const VERSION: &str = "9.9.9";

/// Starts one on a free port of this machine; it ends with this process.
///
/// # Panics
/// When there is no port.
pub fn start() -> SocketAddr {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let incoming = runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        TcpIncoming::bind(any).expect("a port")
    });
    let address = incoming.local_addr().expect("an address");
    let routes = Routes::new(StoreServer::new(OtherMaster)).into_axum_router();
    let routes = routes.fallback(async || unknown().into_http::<Body>());
    let server = Server::builder().add_routes(routes.into()).serve_with_incoming(incoming);
    thread::spawn(move || runtime.block_on(server));
    address
}

struct OtherMaster;

fn unknown() -> Status {
    let mut status = Status::unimplemented("");
    status.metadata_mut().insert(version::HEADER, VERSION.parse().expect("a version is a header"));
    status
}

#[tonic::async_trait]
impl Store for OtherMaster {
    type GetStream = tonic::codegen::BoxStream<wire::GetResponse>;

    async fn find_missing(
        &self,
        request: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        let missing = request.into_inner().digests;
        Ok(Response::new(wire::FindMissingResponse { missing }))
    }

    async fn put(
        &self,
        _: Request<Streaming<wire::PutRequest>>,
    ) -> Result<Response<wire::PutResponse>, Status> {
        Err(unknown())
    }

    async fn put_batch(
        &self,
        _: Request<wire::PutBatchRequest>,
    ) -> Result<Response<wire::PutBatchResponse>, Status> {
        Err(unknown())
    }

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        Err(unknown())
    }

    async fn get_batch(
        &self,
        _: Request<wire::GetBatchRequest>,
    ) -> Result<Response<wire::GetBatchResponse>, Status> {
        Err(unknown())
    }

    async fn list(
        &self,
        _: Request<wire::ListBlobsRequest>,
    ) -> Result<Response<wire::ListBlobsResponse>, Status> {
        Err(unknown())
    }

    async fn stat(
        &self,
        _: Request<wire::StatStoreRequest>,
    ) -> Result<Response<wire::StatStoreResponse>, Status> {
        Err(unknown())
    }
}
