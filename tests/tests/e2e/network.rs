//! What of the network a task reaches: what it was granted, and nothing else. The servers are threads
//! of the test, on ports of 127.0.0.1 that nobody chose.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use tempfile::TempDir;
use weir_tests::{
    cluster::{PATIENCE, Ran, Server, poll},
    guests::guest,
};

use crate::components::component_of;

/// A cluster, and the guest that speaks to others.
struct Cluster {
    server: Server,
    guest: PathBuf,
    _dir: TempDir,
}

impl Cluster {
    fn new() -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        let guest = component_of(&dir, &guest("network"));
        Cluster { server: Server::fresh(), guest, _dir: dir }
    }

    /// Runs the guest with these grants.
    fn run(&self, grants: &[&str], words: &[&str]) -> Ran {
        self.run_within(&["--timeout", "30s"], grants, words)
    }

    fn run_within(&self, limits: &[&str], grants: &[&str], words: &[&str]) -> Ran {
        let allow = grants.iter().flat_map(|grant| ["--allow", grant]);
        let weir = self.server.weir(["run"]).args(limits).args(allow);
        weir.arg(&self.guest).arg("--").args(words).run()
    }

    fn says(&self, grants: &[&str], words: &[&str], answer: &str) {
        let ran = self.run(grants, words).exited_with(0);
        assert_eq!(ran.stdout_text().trim_end(), answer, "{ran}");
    }

    fn is_refused(&self, grants: &[&str], words: &[&str], refusal: &str) {
        self.run(grants, words).exited_with(1).says(&[refusal]);
    }
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

pub(crate) fn serve(listener: TcpListener, answer: impl Fn(TcpStream) + Send + 'static) {
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
}

/// A server that sends back what it gets.
pub(crate) fn tcp_echo() -> SocketAddr {
    let (listener, address) = listener();
    serve(listener, |stream| {
        let mut from = stream.try_clone().expect("a second handle");
        // However it ends, the guest says what it got.
        let _ = std::io::copy(&mut from, &mut &stream);
    });
    address
}

pub(crate) fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..len], from);
        }
    });
    address
}

/// A server of HTTP that answers with the first line it got, the host, and how long the body was.
pub(crate) fn http_server() -> SocketAddr {
    let (listener, address) = listener();
    serve(listener, |stream| {
        let mut from = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut lines = Vec::new();
        let mut line = String::new();
        while from.read_line(&mut line).is_ok_and(|len| len > 2) {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        let Some(first) = lines.first() else { return };
        let host = lines.iter().find(|line| line.starts_with("host: ")).cloned();
        let chunked = lines.iter().any(|line| line == "transfer-encoding: chunked");
        let body = if chunked { chunks(&mut from) } else { 0 };
        let text = format!("{first} / {} / {body}", host.unwrap_or_default());
        let len = text.len();
        let _ = write!(&stream, "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n{text}");
    });
    address
}

/// Reads a body in chunks; returns how long it is.
fn chunks(from: &mut impl BufRead) -> usize {
    let mut total = 0;
    loop {
        let mut size = String::new();
        from.read_line(&mut size).expect("a size");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        from.read_exact(&mut vec![0; size + 2]).expect("a chunk and its end");
        if size == 0 {
            return total;
        }
        total += size;
    }
}

#[test]
fn over_tcp_a_task_reaches_the_port_that_is_granted_and_no_other() {
    let cluster = Cluster::new();
    let (granted, other) = (tcp_echo(), tcp_echo());
    let grant = format!("net:{granted}");
    let to = |address: SocketAddr| address.to_string();

    cluster.says(&[&grant], &["tcp", &to(granted), "hello"], "hello");
    let mapped = format!("[::ffff:127.0.0.1]:{}", other.port());
    let denied = "connect: access-denied";
    cluster.is_refused(&[&grant], &["tcp", &to(other), "hello"], denied);
    cluster.is_refused(&[&grant], &["tcp", &mapped, "hello"], "connect: invalid-argument");
    cluster.is_refused(&["net:127.0.0.2:*"], &["tcp", &to(granted), "hello"], denied);
    cluster.is_refused(&[], &["tcp", &to(granted), "hello"], "create: access-denied");
    cluster.is_refused(&["clock"], &["tcp", &to(granted), "hello"], "create: access-denied");
}

#[test]
fn over_udp_a_task_reaches_the_port_that_is_granted_and_no_other() {
    let cluster = Cluster::new();
    let (granted, other) = (udp_echo(), udp_echo());
    let grant = format!("net:{granted}");

    cluster.says(&[&grant], &["udp", &granted.to_string(), "hello"], "hello");
    let (to_other, denied) = (other.to_string(), "send: access-denied");
    cluster.is_refused(&[&grant], &["udp", &to_other, "hello"], denied);
    cluster.is_refused(&[], &["udp", &to_other, "hello"], "create: access-denied");
}

#[test]
fn a_granted_name_is_looked_up_and_opens_its_addresses_and_nothing_else_is() {
    let cluster = Cluster::new();
    let server = tcp_echo();
    let (port, to) = (server.port().to_string(), server.to_string());
    let grant = format!("net:localhost:{port}");

    cluster.says(&[&grant], &["by-name", "LocalHost", &port, "hello"], "hello");
    cluster.is_refused(&[&grant], &["tcp", &to, "hello"], "connect: access-denied");
    let other = format!("net:localhost:{}", if server.port() == 1 { 2 } else { 1 });
    cluster.is_refused(&[&other], &["by-name", "localhost", &port, "hello"], "access-denied");
    let looked_up = cluster.run(&[&grant], &["lookup", "localhost"]).exited_with(0);
    assert!(looked_up.stdout_text().split_whitespace().any(|ip| ip == "127.0.0.1"), "{looked_up}");

    let refusal = "lookup: permanent-resolver-failure";
    cluster.is_refused(&[&grant], &["lookup", "127.0.0.1"], refusal);
    cluster.is_refused(&[&grant], &["lookup", "other.example"], refusal);
    cluster.is_refused(&[], &["lookup", "localhost"], refusal);
    cluster.is_refused(&["net:*:*"], &["lookup", "127.1"], "lookup: invalid-argument");
    cluster.says(&["net:127.0.0.1:1"], &["lookup", "127.0.0.1"], "127.0.0.1");
}

#[test]
fn nobody_listens_whatever_is_granted() {
    Cluster::new().is_refused(&["net:*:*"], &["listen"], "listen: access-denied");
}

#[test]
fn a_request_of_http_is_sent_to_what_is_granted_and_to_nothing_else() {
    let cluster = Cluster::new();
    let (granted, other) = (http_server(), http_server());
    let (grant, by_name) = (format!("net:{granted}"), format!("net:localhost:{}", granted.port()));
    let url = |address: SocketAddr| format!("http://{address}/some?thing");

    let line = "200 GET /some?thing HTTP/1.1";
    let answer = format!("{line} / host: {granted} / 0");
    cluster.says(&[&grant], &["get", &url(granted)], &answer);
    let named = format!("http://localhost:{}/some?thing", granted.port());
    let answer = format!("{line} / host: localhost:{} / 0", granted.port());
    cluster.says(&[&by_name], &["get", &named], &answer);
    let text = "some text ".repeat(5000);
    let answer = format!("200 POST /some?thing HTTP/1.1 / host: {granted} / {}", text.len());
    cluster.says(&[&grant], &["post", &url(granted), &text], &answer);

    let denied = "HttpRequestDenied";
    cluster.is_refused(&[&grant], &["get", &url(other)], denied);
    cluster.is_refused(&[&grant], &["get", &named], denied);
    cluster.is_refused(&[&by_name], &["get", &url(granted)], denied);
    cluster.is_refused(&[], &["get", &url(granted)], denied);
    let hidden = format!("http://{granted}@{other}/");
    cluster.is_refused(&[&grant], &["get", &hidden], "HttpRequestUriInvalid");
    // Whatever answers, it has no certificate for this.
    cluster.is_refused(&[&grant], &["get", &format!("https://{granted}/")], "Tls");
}

#[test]
fn a_task_that_waits_for_ever_is_timed_out_and_its_socket_is_closed() {
    let cluster = Cluster::new();
    let (listener, address) = listener();
    let (ended, end) = mpsc::channel();
    serve(listener, move |mut stream| {
        let read = stream.read(&mut [0; 16]).unwrap_or(0);
        let _ = ended.send(read);
    });

    let words = ["silent", &address.to_string()];
    let grant = format!("net:{address}");
    let ran = cluster.run_within(&["--timeout", "500ms"], &[&grant], &words);

    ran.exited_with(124).says(&["connected", "timed out: ran"]);
    assert_eq!(end.recv_timeout(PATIENCE), Ok(0), "the other side sees the end");
}

#[test]
fn sockets_of_a_task_are_few_paid_for_and_all_come_back() {
    let cluster = Cluster::new();
    let open =
        || fs::read_dir(format!("/proc/{}/fd", cluster.server.id())).map_or(0, Iterator::count);
    let grant = ["net:127.0.0.1:1"];
    cluster.says(&grant, &["in-turn", "1"], "1 in turn");
    let before = open();

    cluster.says(&grant, &["at-once", "64"], "64 at once");
    cluster.is_refused(&grant, &["at-once", "10000"], "new-socket-limit after 64 sockets");
    cluster.says(&grant, &["in-turn", "10000"], "10000 in turn");
    let ran = cluster.run_within(&["--fuel", "200M"], &grant, &["in-turn", "10000"]);
    ran.exited_with(152).says(&["out of fuel"]);

    assert!(poll(PATIENCE, || open() <= before + 8), "{} open, {before} before", open());
}
