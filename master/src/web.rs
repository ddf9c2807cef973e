//! What a browser, a load balancer and Prometheus see of a master: the status page, its live
//! stream, health and metrics.
//!
//! Pages are complete without JavaScript; a script of ours swaps in newer ones. Nothing here
//! changes anything, so there is nothing for a foreign page to trigger. What is shown is gathered
//! by `board`.

mod assets;
pub(crate) mod board;
mod facts;
mod format;
mod job_page;
mod parts;
mod ready;
mod status_page;
mod store_stat;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{
        Html, IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;
use weir_proto::id::JobId;

use self::board::{Board, MAX_VIEWERS};

/// How often a quiet live stream shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a browser may do with our pages: show them with our own style and script, and nothing else.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
             img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
/// What OpenMetrics text is called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes of pages, health and metrics.
pub(crate) fn routes(board: Board) -> Router {
    Router::new()
        .route("/", get(status))
        .route("/job/{job}", get(job))
        .route("/live", get(live))
        .route("/assets/{name}", get(asset))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .layer(middleware::map_response(async |response| with_headers(response)))
        .with_state(board)
}

/// Whatever else is asked for: an unknown gRPC service, or a path that is not there.
pub(crate) async fn not_found(request: Request) -> Response {
    let content = request.headers().get(header::CONTENT_TYPE);
    if content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
        return Status::unimplemented("this master has no such service").into_http();
    }
    let text = "there is nothing at this path; there is:\n\
                  /          the status page\n\
                  /job/ID    a job\n\
                  /healthz   whether the process serves\n\
                  /readyz    whether it leads and answers\n\
                  /metrics   counts and times for Prometheus\n\
                and gRPC on the same port: `weir --help`\n";
    with_headers((StatusCode::NOT_FOUND, text).into_response())
}

async fn status(State(board): State<Board>) -> Response {
    match board.facts().await {
        Ok(facts) => Html(status_page::page(&facts)).into_response(),
        Err(unready) => unready.into_response(),
    }
}

async fn job(State(board): State<Board>, Path(job): Path<String>) -> Response {
    let Ok(id) = job.parse::<JobId>() else {
        let text = "a job's page is at /job/7; the status page at / lists jobs\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    match board.job(id).await {
        Ok(Some(facts)) => Html(job_page::page(&facts)).into_response(),
        Ok(None) => {
            let text = format!(
                "{id} is not known: it never existed, or ended so long ago that it was forgotten; \
                 the status page at / lists jobs\n"
            );
            (StatusCode::NOT_FOUND, text).into_response()
        }
        Err(unready) => unready.into_response(),
    }
}

async fn live(State(board): State<Board>) -> Response {
    let Some(pages) = board.watch() else {
        let text = format!(
            "{MAX_VIEWERS} browsers look at the live page already; close one, or reload this page \
             by hand\n"
        );
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let event = |page: std::sync::Arc<str>| Ok::<_, Infallible>(Event::default().data(page));
    let events = ReceiverStream::new(pages).map(event);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = assets::find(&name) else {
        let text = "no such asset; reload the page, it may be of an older version\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    // Its name changes with its content.
    let cache = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    ([(header::CONTENT_TYPE, asset.content_type), cache], asset.content).into_response()
}

async fn readyz(State(board): State<Board>) -> Response {
    match board.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(unready) => unready.into_response(),
    }
}

async fn metrics(State(board): State<Board>) -> Response {
    match board.metrics().await {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(unready) => unready.into_response(),
    }
}

impl IntoResponse for ready::Unready {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}

fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Counts gRPC calls; in front of all services.
pub(crate) async fn count_calls(
    State(metrics): State<crate::metrics::Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let content = request.headers().get(header::CONTENT_TYPE);
    if !content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
        return next.run(request).await;
    }
    let started = std::time::Instant::now();
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let response = next.run(request).await;
    // A call that succeeds, and a stream that breaks later, have their code after the body.
    let code = Status::from_header_map(response.headers()).map_or(tonic::Code::Ok, |s| s.code());
    // Only names that exist become labels: a stranger could call any number of others.
    let method = match code {
        tonic::Code::Unimplemented => "unknown",
        _ => &path,
    };
    metrics.called(method, code, started.elapsed());
    response
}
