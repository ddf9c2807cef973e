//! Any master answers: what only the leader can do is handed on to it, streams and all. What is
//! immutable, the store's blobs, any master takes and gives.
//!
//! While nobody leads, a call waits a little: an election takes a second or two. A master that
//! calls another means just that one, and says so by its name as a user agent.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Version, header},
    middleware::Next,
    response::Response,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Status, client::GrpcService, transport::Channel};
use weir_proto::reads;

use crate::{control::Leader, driver::Handle, peers};

/// What masters call themselves when they call each other.
pub(crate) const USER_AGENT: &str = "weir-master";
/// Calls that are about the master that gets them, or that any master can answer as well.
const OURS: [&str; 7] = [
    "/weir.v1.Peers/Send",
    "/weir.v1.Peers/Look",
    "/weir.v1.Store/FindMissing",
    "/weir.v1.Store/Get",
    "/weir.v1.Store/Put",
    "/grpc.health.",
    "/grpc.reflection.",
];
/// How long a call waits for somebody to lead, or for another to lead than one who is gone.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is answered while nobody leads.
const NOBODY_LEADS: &str = "no master leads now: an election is under way, or this one does not reach a \
                            majority of the masters; try again";

/// Who leads, as a master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leadership {
    /// It does.
    Ours,
    /// Another does.
    Of(Leader),
    /// Nobody that it knows.
    Nobody,
}

/// What hands calls on.
#[derive(Clone)]
pub(crate) struct Forward {
    leadership: watch::Receiver<Leadership>,
    /// A connection for each master that led.
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Forward {
    pub(crate) fn new(master: &Handle) -> Forward {
        Forward { leadership: master.leadership(), channels: Arc::default() }
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock().expect("nobody panics while holding them");
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = peers::endpoint(address)?.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Waits until the leader is another than this, or for so long as it is worth.
    async fn other_than(&self, last: &Leadership) {
        let mut leadership = self.leadership.clone();
        let other = |now: &Leadership| now != last && *now != Leadership::Nobody;
        // Whoever asked asks again, whether somebody leads by then or not.
        let _late = timeout(PATIENCE, leadership.wait_for(other)).await;
    }
}

/// What a master can answer from what it has applied, where that may be old.
const READS: [&str; 8] = [
    "/weir.v1.Jobs/Get",
    "/weir.v1.Jobs/List",
    "/weir.v1.Names/Get",
    "/weir.v1.Names/List",
    "/weir.v1.Cluster/Status",
    "/weir.v1.Cluster/Namespaces",
    "/weir.v1.Store/List",
    "/weir.v1.Store/Stat",
];

/// Answers a request, or lets the leader answer it.
pub(crate) async fn forward(
    State(forward): State<Forward>,
    request: Request,
    next: Next,
) -> Response {
    if !is_for_leader(request.uri().path(), request.headers()) {
        return next.run(request).await;
    }
    if *forward.leadership.borrow() == Leadership::Nobody {
        forward.other_than(&Leadership::Nobody).await;
    }
    let leadership = forward.leadership.borrow().clone();
    let answered = match &leadership {
        Leadership::Ours => return next.run(request).await,
        Leadership::Nobody => Err(Status::unavailable(NOBODY_LEADS)),
        Leadership::Of(leader) => hand_on(&forward, leader, request).await,
    };
    match answered {
        Ok(response) => response,
        Err(status) => {
            if leadership != Leadership::Nobody {
                forward.other_than(&leadership).await;
            }
            status.into_http()
        }
    }
}

async fn hand_on(
    forward: &Forward,
    leader: &Leader,
    mut request: Request,
) -> Result<Response, Status> {
    let mut channel = forward.channel(&leader.address)?;
    *request.version_mut() = Version::HTTP_2;
    let gone = |error| {
        let Leader { node, address } = leader;
        Status::unavailable(format!("{node} at {address} leads and does not answer: {error}"))
    };
    poll_fn(|context| GrpcService::poll_ready(&mut channel, context)).await.map_err(gone)?;
    let request = request.map(tonic::body::Body::new);
    let response = GrpcService::call(&mut channel, request).await.map_err(gone)?;
    Ok(response.map(Body::new))
}

fn is_for_leader(path: &str, headers: &HeaderMap) -> bool {
    let begins = |name: HeaderName, with: &str| {
        headers.get(name).is_some_and(|value| value.as_bytes().starts_with(with.as_bytes()))
    };
    let stale = begins(HeaderName::from_static(reads::HEADER), reads::STALE);
    let is_ours =
        OURS.iter().any(|ours| path.starts_with(ours)) || (stale && READS.contains(&path));
    begins(header::CONTENT_TYPE, "application/grpc")
        && !begins(header::USER_AGENT, USER_AGENT)
        && !is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(user_agent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/grpc".parse().expect("a header"));
        headers.insert(header::USER_AGENT, user_agent.parse().expect("a header"));
        headers
    }

    #[test]
    fn what_a_client_asks_goes_to_the_leader_and_what_a_master_asks_does_not() {
        assert!(is_for_leader("/weir.v1.Jobs/Submit", &headers("tonic/0.14")));
        assert!(is_for_leader("/weir.v1.Peers/Join", &headers("tonic/0.14")));
        assert!(!is_for_leader("/weir.v1.Jobs/Submit", &headers("weir-master tonic/0.14")));
        assert!(!is_for_leader("/weir.v1.Peers/Send", &headers("tonic/0.14")));
        for any in ["Put", "PutBatch", "Get", "GetBatch", "FindMissing"] {
            let path = format!("/weir.v1.Store/{any}");
            assert!(!is_for_leader(&path, &headers("tonic/0.14")), "{any}");
        }
        assert!(is_for_leader("/weir.v1.Store/List", &headers("tonic/0.14")));
        let mut stale = headers("tonic/0.14");
        stale.insert(reads::HEADER, reads::STALE.parse().expect("a header"));
        assert!(!is_for_leader("/weir.v1.Store/List", &stale));
        assert!(is_for_leader("/weir.v1.Jobs/Submit", &stale));
        assert!(!is_for_leader("/grpc.health.v1.Health/Check", &headers("grpcurl")));
        assert!(!is_for_leader("/", &HeaderMap::new()));
    }
}
