//! The status page, its live stream, health and metrics of a real master, over plain sockets.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use weir_tests::{
    cluster::{PATIENCE, Server, poll},
    guests::guest,
};

/// Everything that a browser or a scraper asks for.
const PATHS: [&str; 6] = ["/", "/job/1", "/live", "/healthz", "/readyz", "/metrics"];

/// What a server answered.
struct Answer {
    code: u16,
    head: String,
    body: String,
}

/// Sends a request with these headers; the answer is still to be read.
fn ask(address: &str, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    stream
}

fn get_as(address: &str, path: &str, headers: &str) -> Answer {
    let mut text = String::new();
    ask(address, path, headers).read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(server: &Server, path: &str) -> Answer {
    get_as(server.address(), path, &format!("Host: {}\r\n", server.address()))
}

/// Reads until the text contains this, or fails in `PATIENCE`.
fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let started = Instant::now();
    let mut bytes = [0; 64 << 10];
    while !seen.contains(text) {
        assert!(started.elapsed() < PATIENCE, "no {text:?} in {seen}");
        let read = stream.read(&mut bytes).expect("more of the stream");
        assert!(read > 0, "the stream ended without {text:?}: {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

/// The value of a series.
fn metric(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().expect("a number")
}

#[test]
fn the_page_shows_a_job_and_the_live_stream_tells_of_it() {
    let server = Server::fresh();
    let empty = get(&server, "/");
    let mut live = ask(server.address(), "/live", &format!("Host: {}\r\n", server.address()));
    let mut seen = String::new();
    read_until(&mut live, &mut seen, "No job yet");

    let run = server.weir(["run", "--array", "8", "--name", "eight"]);
    run.arg(guest("echo")).run().exited_with(0);
    read_until(&mut live, &mut seen, "8 of 8");

    assert_eq!(empty.code, 200);
    assert!(empty.body.contains("weir run hello.wasm"), "{}", empty.body);
    assert!(seen.contains("text/event-stream") && seen.contains("eight"), "{seen}");
    let shown = poll(PATIENCE, || get(&server, "/").body.contains("8 of 8"));
    assert!(shown, "the page does not show the job");
    let page = get(&server, "/job/1");
    assert_eq!(page.code, 200);
    assert!(page.body.contains("8 of 8") && page.body.contains("eight"), "{}", page.body);
    assert_eq!(get(&server, "/job/job-1").code, 200);
    assert_eq!(get(&server, "/job/99").code, 404);
    // A master that stops ends the stream, instead of leaving the viewer to wait.
    server.stop().exited_with(0);
    assert!(live.read_to_string(&mut seen).is_ok(), "the stream ends");
}

#[test]
fn pages_may_load_and_do_nothing_but_our_own() {
    let server = Server::fresh();
    let page = get(&server, "/");

    for header in [
        "content-security-policy: default-src 'none';",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(page.head.contains(header), "no {header:?} in {}", page.head);
    }
    assert!(!page.body.contains("style=\""), "inline style is forbidden by our own policy");
    let assets = page.body.split('"').filter(|text| text.starts_with("/assets/"));
    for path in assets {
        let asset = get(&server, path);
        assert_eq!(asset.code, 200, "{path}");
        assert!(asset.head.contains("immutable"), "{}", asset.head);
    }
    let missing = get(&server, "/favicon.ico");
    assert_eq!(missing.code, 404);
    assert!(missing.body.contains("/metrics") && missing.head.contains("text/plain"));
}

#[test]
fn what_happens_is_counted() {
    let server = Server::fresh();
    let before = get(&server, "/metrics");
    assert!(before.head.contains("openmetrics-text"), "{}", before.head);
    let succeeded = "weir_tasks_total{outcome=\"succeeded\"}";
    assert_eq!(metric(&before.body, succeeded), 0.0);

    server.weir(["run", "--array", "20"]).arg(guest("echo")).run().exited_with(0);
    server.weir(["run"]).arg(guest("exit-code")).args(["--", "3"]).run().exited_with(3);

    let text = get(&server, "/metrics").body;
    assert_eq!(metric(&text, succeeded), 20.0);
    assert_eq!(metric(&text, "weir_tasks_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(metric(&text, "weir_jobs_submitted_total"), 2.0);
    assert_eq!(metric(&text, "weir_jobs_ended_total{status=\"failed\"}"), 1.0);
    assert_eq!(metric(&text, "weir_task_run_seconds_count"), 21.0);
    assert_eq!(metric(&text, "weir_job_wait_seconds_count"), 2.0);
    assert_eq!(metric(&text, "weir_job_duration_seconds_count"), 2.0);
    let submit = "weir_rpc_requests_total{method=\"weir.v1.Jobs/Submit\",code=\"ok\"}";
    assert_eq!(metric(&text, submit), 2.0);
    assert_eq!(metric(&text, "weir_is_leader"), 1.0);
    for way in ["commit_duration", "page_commit_duration", "rpc_duration"] {
        let count = format!("weir_{way}_seconds_count");
        let counted = text.lines().any(|line| line.starts_with(&count) && !line.ends_with(" 0"));
        assert!(counted, "no {count} in {text}");
    }
    // Leases end with their last result, which may be committed a moment after the job's; and what
    // is so now is read once a second.
    let settled = poll(PATIENCE, || {
        let text = get(&server, "/metrics").body;
        let granted = metric(&text, "weir_leases_granted_total");
        granted >= 2.0
            && metric(&text, "weir_lease_hold_seconds_count") == granted
            && metric(&text, "weir_agents{state=\"live\"}") == 1.0
    });
    assert!(settled, "{}", get(&server, "/metrics").body);
}

#[test]
fn health_is_told_in_three_ways() {
    let server = Server::fresh();
    assert_eq!(get(&server, "/healthz").body, "ok\n");
    assert_eq!(get(&server, "/readyz").code, 200);
    let version = concat!("\r\nweir-version: ", env!("CARGO_PKG_VERSION"), "\r\n");
    assert!(get(&server, "/healthz").head.contains(version));

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let statuses = runtime.block_on(async {
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{}", server.address()));
        let channel = endpoint.expect("an address").connect().await.expect("a connection");
        let mut client = HealthClient::new(channel);
        let mut statuses = Vec::new();
        for service in ["", "weir.v1.Jobs", "weir.v1.Agents", "weir.v1.Store"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let answer = client.check(request).await.expect("an answer").into_inner();
            statuses.push(answer.status());
        }
        let unknown = HealthCheckRequest { service: "weir.v1.Nothing".to_owned() };
        let unknown = client.check(unknown).await.expect_err("an unknown service");
        assert_eq!(unknown.code(), tonic::Code::NotFound);
        statuses
    });
    assert_eq!(statuses, [ServingStatus::Serving; 4]);
}

#[test]
fn no_foreign_page_sees_any_of_it() {
    let server = Server::fresh();
    let own = format!("Host: {}\r\n", server.address());
    for path in PATHS {
        let rebound = get_as(server.address(), path, "Host: evil.example\r\n");
        let foreign = format!("{own}Origin: https://evil.example\r\n");
        let foreign = get_as(server.address(), path, &foreign);
        assert_eq!((rebound.code, foreign.code), (403, 403), "{path}");
        assert!(!rebound.body.contains("cluster-"), "{}", rebound.body);
    }
}

#[test]
fn only_so_many_look_live_and_a_place_that_is_left_is_free_again() {
    let server = Server::fresh();
    let host = format!("Host: {}\r\n", server.address());
    let mut seen = String::new();
    let mut viewers: Vec<TcpStream> = Vec::new();
    for _ in 0..64 {
        let mut viewer = ask(server.address(), "/live", &host);
        seen.clear();
        read_until(&mut viewer, &mut seen, "200 OK");
        viewers.push(viewer);
    }

    let refused = get(&server, "/live");

    assert_eq!(refused.code, 503);
    assert!(refused.body.contains("64 browsers"), "{}", refused.body);
    viewers.clear();
    let free = poll(PATIENCE, || {
        let mut viewer = ask(server.address(), "/live", &host);
        let mut first = [0; 15];
        viewer.read_exact(&mut first).is_ok() && first == *b"HTTP/1.1 200 OK"
    });
    assert!(free, "a place is free again");
}
