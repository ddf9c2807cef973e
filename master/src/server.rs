//! One port for everything: gRPC beside plain HTTP, behind a check of who is asked for.
//!
//! Any web page can make a browser send requests to a local port. A request must therefore name
//! this machine (or an address) as its host, and one that a page sent must come from that host.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tonic::service::Routes;
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use weir_proto::{version, wire};
use weir_scheduler::members::Identity;
use weir_store::service::StoreService;

use crate::{
    blobs::Blobs,
    driver::Handle,
    forward::{Forward, forward},
    rpc::{AgentsService, ClusterService, JobsService, NamesService, PeersService},
    web::{self, board::Board},
};

/// Most bytes of a request's message: pages and specs are smaller, by their own bounds.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Most bytes of a peer's message: some entries, each at most as large as a client's message.
const MAX_PEER_MESSAGE_BYTES: usize = 64 << 20;

/// The services whose health is told.
pub(crate) const SERVICES: &[&str] = &[
    wire::jobs_server::SERVICE_NAME,
    wire::agents_server::SERVICE_NAME,
    wire::cluster_server::SERVICE_NAME,
    wire::names_server::SERVICE_NAME,
    wire::store_server::SERVICE_NAME,
    wire::peers_server::SERVICE_NAME,
];

/// Names besides addresses and `localhost` by which this machine may be asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostNames(Vec<String>);

impl HostNames {
    /// The machine's own name, if it can be read, and those by which masters are reached.
    pub(crate) fn of_this_machine(masters: &[String]) -> HostNames {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim().to_ascii_lowercase();
        let masters = masters.iter().map(|address| without_port(address).to_ascii_lowercase());
        HostNames(masters.chain([name]).filter(|name| !name.is_empty()).collect())
    }

    fn allows(&self, host: &str) -> bool {
        let bare = without_port(host).to_ascii_lowercase();
        let address = bare.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || address.parse::<IpAddr>().is_ok() || self.0.contains(&bare)
    }
}

/// All routes of a master.
pub(crate) fn routes(
    master: Handle,
    blobs: Blobs,
    board: Board,
    health: HealthReporter,
    identity: Identity,
    names: HostNames,
) -> Router {
    let metrics = master.metrics.clone();
    let handing_on = Forward::new(&master);
    let peers = PeersService::new(master.clone(), blobs.clone(), identity);
    let peers = wire::peers_server::PeersServer::new(peers)
        .max_decoding_message_size(MAX_PEER_MESSAGE_BYTES);
    let jobs = wire::jobs_server::JobsServer::new(JobsService::new(master.clone(), blobs.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let agents = wire::agents_server::AgentsServer::new(AgentsService::new(master.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let named =
        wire::names_server::NamesServer::new(NamesService::new(master.clone(), blobs.clone()));
    let cluster =
        wire::cluster_server::ClusterServer::new(ClusterService::new(master, blobs.clone()));
    let store = StoreService::of_group(blobs.here().clone(), Arc::new(blobs));
    let store =
        wire::store_server::StoreServer::new(store).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut routes = Routes::new(jobs)
        .add_service(agents)
        .add_service(cluster)
        .add_service(named)
        .add_service(store)
        .add_service(peers);
    // A descriptor set that prost has just written always decodes.
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors of our own wire files decode");
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    routes = routes.add_service(reflection).add_service(health);
    routes
        .prepare()
        .into_axum_router()
        .merge(web::routes(board))
        .fallback(web::not_found)
        .layer(middleware::from_fn_with_state(handing_on, forward))
        .layer(middleware::from_fn_with_state(metrics, web::count_calls))
        .layer(middleware::from_fn_with_state(names, check_host))
        .layer(middleware::map_response(async |response| with_version(response)))
}

fn with_version(mut response: Response) -> Response {
    let version = HeaderValue::from_static(version::OURS);
    response.headers_mut().insert(version::HEADER, version);
    response
}

async fn check_host(State(names): State<HostNames>, request: Request, next: Next) -> Response {
    match refuse(&names, request.uri(), request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request is refused.
fn refuse(names: &HostNames, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 carries the host in the URI.
    let host = uri.authority().map(|authority| authority.as_str()).or(text(header::HOST));
    let host = host.unwrap_or_default();
    if !names.allows(host) {
        return Some(format!(
            "the request asks for host {host:?}, which is not this machine; use its address\n"
        ));
    }
    let origin = text(header::ORIGIN)?;
    let from = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    (from != host).then(|| format!("requests from pages of {origin:?} are not allowed\n"))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether only this machine can reach an address.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        }
        let names = HostNames(vec!["build-7".to_owned()]);
        refuse(&names, &Uri::from_static("/"), &headers).is_some()
    }

    #[test]
    fn a_name_that_is_not_this_machine_is_refused() {
        for host in ["127.0.0.1:7400", "localhost:7400", "[::1]:7400", "10.1.2.3", "Build-7:1"] {
            assert!(!refused(host, None), "{host}");
        }
        for host in ["evil.example:7400", "", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(refused(host, None), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        assert!(!refused("localhost:7400", Some("http://localhost:7400")));
        assert!(refused("localhost:7400", Some("http://localhost:8000")));
        assert!(refused("localhost:7400", Some("https://evil.example")));
        assert!(refused("localhost:7400", Some("null")));
    }
}
