//! Machines where there are no namespaces to be had: processes on loopback, and a proxy of the test in
//! front of each master that holds back what shall not come through.
//!
//! Everybody reaches a master by its proxy. The operating system tells which process is at the other end
//! of a connection, so that a proxy knows whose bytes it holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::machines::Machine;

/// How often bytes that are held back look whether they may go on.
const POLL: Duration = Duration::from_millis(5);

/// Processes on loopback.
#[derive(Debug)]
pub(super) struct Loopback {
    switch: Arc<Switch>,
    /// In front of what listens.
    proxies: Vec<Proxy>,
}

/// What proxies look at before they hand bytes on.
#[derive(Debug, Default)]
struct Switch {
    /// From whom nothing comes to whom.
    cuts: Mutex<BTreeSet<(Machine, Machine)>>,
    /// Machines by the processes on them.
    processes: Mutex<BTreeMap<u32, Machine>>,
    ended: AtomicBool,
}

/// Listens in front of a machine.
#[derive(Debug)]
struct Proxy {
    /// Where others reach the machine, and where its process listens.
    outside: SocketAddr,
    inside: SocketAddr,
}

impl Loopback {
    /// A proxy in front of each of so many machines.
    pub(super) fn new(listening: usize) -> io::Result<Loopback> {
        let switch = Arc::<Switch>::default();
        let proxy = |at| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let inside = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let outside = listener.local_addr()?;
            let switch = switch.clone();
            // Ends when the last of `Loopback` calls it up.
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if switch.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let switch = switch.clone();
                    thread::spawn(move || switch.connect(&stream, Machine::Of(at), inside));
                }
            });
            Ok(Proxy { outside, inside })
        };
        let proxies = (0..listening).map(proxy).collect::<io::Result<_>>()?;
        Ok(Loopback { switch, proxies })
    }

    /// Where what listens on a machine is reached.
    pub(super) fn address(&self, machine: usize) -> String {
        self.proxies[machine].outside.to_string()
    }

    /// Where it shall listen.
    pub(super) fn inside(&self, machine: usize) -> String {
        self.proxies[machine].inside.to_string()
    }

    /// A process runs on a machine now.
    pub(super) fn started(&self, machine: usize, process: u32) {
        let mut processes = self.switch.processes.lock().expect("nobody panics here");
        processes.insert(process, Machine::Of(machine));
    }

    /// From now on, nothing that one machine sends comes to the others.
    pub(super) fn cut(&self, from: Machine, to: &[Machine]) {
        let mut cuts = self.switch.cuts.lock().expect("nobody panics here");
        cuts.extend(to.iter().map(|to| (from, *to)));
    }

    /// From now on, whatever a machine sends comes to whom it is for.
    pub(super) fn mend(&self, machine: Machine) {
        let mut cuts = self.switch.cuts.lock().expect("nobody panics here");
        cuts.retain(|(from, _)| *from != machine);
    }

    /// From now on, a process can write to no file: the system ends it when it tries.
    pub(super) fn fill(&self, process: u32) {
        let process = process.to_string();
        let limited = Command::new("prlimit").args(["--fsize=0", "--pid", &process]).status();
        assert!(limited.is_ok_and(|status| status.success()), "{process} cannot be limited");
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.switch.ended.store(true, Ordering::Relaxed);
        for proxy in &self.proxies {
            // Whoever listens looks up, and ends.
            let _woken = TcpStream::connect(proxy.outside);
        }
    }
}

impl Switch {
    /// Joins whoever called with the machine that it called, for as long as both talk.
    fn connect(self: &Arc<Switch>, caller: &TcpStream, to: Machine, inside: SocketAddr) {
        let from = self.caller(caller);
        let joined = TcpStream::connect(inside).and_then(|called| {
            caller.set_nodelay(true)?;
            called.set_nodelay(true)?;
            Ok((caller.try_clone()?, called.try_clone()?, called))
        });
        // Nobody listens: the caller hears that its connection is closed.
        let Ok((caller_again, called_again, called)) = joined else { return };
        let switch = self.clone();
        let back = thread::spawn(move || switch.carry(called_again, caller_again, (to, from)));
        if let Ok(caller) = caller.try_clone() {
            self.carry(caller, called, (from, to));
        }
        // It prints why, if it panicked.
        let _ended = back.join();
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, way: (Machine, Machine)) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            while self.cuts.lock().expect("nobody panics here").contains(&way) {
                if self.ended.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(POLL);
            }
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        // Whoever has closed already needs no telling.
        let _closed = to.shutdown(Shutdown::Both);
        let _closed = from.shutdown(Shutdown::Both);
    }

    /// Who is at the other end of a connection: the test itself, where it is no process of ours.
    fn caller(&self, stream: &TcpStream) -> Machine {
        let Ok(SocketAddr::V4(peer)) = stream.peer_addr() else { return Machine::Ours };
        let socket = socket_of(peer.port());
        let processes = self.processes.lock().expect("nobody panics here").clone();
        let owner = processes
            .into_iter()
            .find(|(process, _)| socket.as_deref().is_some_and(|socket| has(*process, socket)));
        owner.map_or(Machine::Ours, |(_, machine)| machine)
    }
}

/// How a process's files name the socket that is bound to a port of 127.0.0.1.
fn socket_of(port: u16) -> Option<String> {
    let local = format!("0100007F:{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&local))?;
    Some(format!("socket:[{}]", line.split_whitespace().nth(9)?))
}

/// Whether a process has a socket open.
fn has(process: u32, socket: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == socket)
}
