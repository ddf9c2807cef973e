//! That no call on the network buys the agent's time cheaply: nanoseconds of processor time per fuel
//! of each, beside those of plain code, as `agent/src/sandbox/tests/prices.rs` has it for the others.
//!
//! The whole process is counted, for what a guest asks of the network is done by threads beside its
//! own; time that passes while it waits is nobody's. Who it speaks to is a thread of the test, in
//! another process.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use weir_tests::{cluster::Server, guests::guest};

use crate::{
    components::component_of,
    network::{http_server, listener, serve, tcp_echo, udp_echo},
};

/// How many times as long for its fuel as plain code a call may take. One that takes less is dear,
/// and harms nobody but who calls it.
const SPREAD: f64 = 5.0;

/// How often a case is measured again that is not as it should be.
const TRIES: usize = 5;

/// What a process has used is told in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What `examples-wasm/network` does over and over, how often, and who listens.
type Case = (&'static str, u32, fn() -> SocketAddr);

const CASES: [Case; 23] = [
    ("sleep", 500, nobody),
    ("create", 10_000, nobody),
    ("connect", 2_000, closer),
    ("options", 20_000, nobody),
    ("listen", 5_000, nobody),
    ("send", 10_000, reader),
    ("send-much", 2_000, reader),
    ("receive", 20_000, writer),
    ("receive-much", 2_000, writer),
    ("receive-nothing", 20_000, holder),
    ("echo", 3_000, tcp_echo),
    ("poll", 1_000, holder),
    ("udp-bind", 5_000, nobody),
    ("udp-send", 10_000, udp_holder),
    ("udp-send-many", 2_000, udp_holder),
    ("udp-receive-nothing", 20_000, udp_holder),
    ("udp-echo", 3_000, udp_echo),
    ("udp-echo-many", 1_000, udp_echo),
    ("lookup", 2_000, nobody),
    ("fields", 5_000, nobody),
    ("fields-copied", 2_000, nobody),
    ("get", 500, http_server),
    ("post", 200, http_server),
];

fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}

/// A server that does this with every connection, each in a thread of its own.
fn server(with: fn(TcpStream)) -> SocketAddr {
    let (listener, address) = listener();
    serve(listener, move |stream| drop(thread::spawn(move || with(stream))));
    address
}

fn closer() -> SocketAddr {
    server(drop)
}

fn reader() -> SocketAddr {
    server(|mut stream| while stream.read(&mut vec![0; 1 << 20]).is_ok_and(|len| len > 0) {})
}

fn writer() -> SocketAddr {
    server(|mut stream| while stream.write_all(&[7; 1 << 16]).is_ok() {})
}

/// Says nothing until the other side is gone.
fn holder() -> SocketAddr {
    server(|mut stream| drop(stream.read(&mut [0])))
}

fn udp_holder() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || while socket.recv(&mut [0; 16]).is_ok() {});
    address
}

/// Processor time that a process has used, in seconds: all its threads, those that ended included.
fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, after_name) = stat.rsplit_once(')').expect("a name in parentheses");
    let user_and_system = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = user_and_system.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    ticks as f64 * TICK.as_secs_f64()
}

/// What a run used, or a part of it.
#[derive(Clone, Copy)]
struct Used {
    cpu_s: f64,
    fuel: f64,
}

impl Used {
    fn ns_per_fuel(self) -> f64 {
        self.cpu_s * 1e9 / self.fuel
    }
}

fn run(server: &Server, module: &Path, args: &[&str]) -> Used {
    let before = cpu_seconds(server.id());
    let weir = server.weir(["run", "--json", "--timeout", "60s", "--allow", "net:*:*"]);
    let ran = weir.arg(module).arg("--").args(args).run().exited_with(0);
    let cpu_s = cpu_seconds(server.id()) - before;
    let fuel = ran.json_lines()[0]["fuel"].as_f64().expect("fuel is a number");
    Used { cpu_s, fuel }
}

/// What a round of a case uses: what a run uses that does none is not its own.
fn round(server: &Server, module: &Path, (what, count, to): (&str, u32, SocketAddr)) -> Used {
    let of =
        |count: u32| run(server, module, &["rounds", what, &count.to_string(), &to.to_string()]);
    let (none, all, rounds) = (of(0), of(count), f64::from(count));
    Used { cpu_s: (all.cpu_s - none.cpu_s) / rounds, fuel: (all.fuel - none.fuel) / rounds }
}

/// Computes, with memory and branches, as the loop that measures an agent does.
const PLAIN: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (local $n i32) (local $x i32) (local $at i32)
        (local.set $n (i32.const 100000000))
        (loop $again
            (local.set $x (i32.add (i32.const 1013904223)
                (i32.mul (local.get $x) (i32.const 1664525))))
            (local.set $at (i32.and (i32.const 0xfffc)
                (i32.shr_u (local.get $x) (i32.const 8))))
            (if (i32.and (local.get $x) (i32.const 0x40000000)) (then
                (i32.store (local.get $at) (i32.add (local.get $x) (i32.load (local.get $at))))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;

#[test]
fn no_call_on_the_network_buys_processor_time_more_cheaply_than_plain_code() {
    let (server, dir) = (Server::fresh(), tempfile::tempdir().expect("a directory"));
    let (calls, plain) = (component_of(&dir, &guest("network")), dir.path().join("plain.wasm"));
    fs::write(&plain, wat::parse_str(PLAIN).expect("text that parses")).expect("a file");
    let plain = run(&server, &plain, &[]).ns_per_fuel();
    println!("{:20} {plain:6.3} ns for each fuel", "plain code");
    // The first run has the component compiled.
    round(&server, &calls, ("create", 1, nobody()));
    let mut wrong = Vec::new();
    for (what, count, listens) in CASES {
        let to = listens();
        let mut ratio = 0.0;
        for _ in 0..TRIES {
            let used = round(&server, &calls, (what, count, to));
            ratio = used.ns_per_fuel() / plain;
            let (us, fuel) = (used.cpu_s * 1e6, used.fuel);
            println!("{what:20} {ratio:6.2} times as long: {us:7.2} us for {fuel:8.0} fuel");
            if ratio <= SPREAD {
                break;
            }
        }
        if ratio > SPREAD {
            wrong.push(format!("{what}: {ratio:.2}"));
        }
    }
    assert!(wrong.is_empty(), "priced too low: {}", wrong.join(", "));
}
