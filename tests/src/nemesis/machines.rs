//! Machines for a cluster's processes: three masters, some agents, and the test itself, all joined by
//! a network that can be cut anywhere, each with a disk that can be filled.
//!
//! They are namespaces where that may be had, which takes root, and processes on loopback elsewhere.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    loopback::Loopback,
    namespaces::Namespaces,
    plan::{Fault, Harm, Target},
};
use crate::{
    cluster::{PATIENCE, Process, Weir, poll},
    processes::processor_ticks_of,
};

/// Masters are the machines before agents.
pub const MASTERS: usize = 3;
/// Longest wait for a master's metrics.
const LOOK_TIMEOUT: Duration = Duration::from_millis(400);
/// How long a process is watched for whether it is busy: some of the ticks in which Linux counts.
const BUSY_FOR: Duration = Duration::from_millis(60);

/// One of the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// That of the test.
    Ours,
    /// One with a process of the cluster.
    Of(usize),
}

/// What machines are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineKind {
    /// Namespaces, each with a network and a disk of its own.
    OwnNetworks,
    /// Processes on loopback with proxies between them.
    Processes,
}

/// A cluster's machines; what runs on them ends with them.
#[derive(Debug)]
pub struct Machines {
    processes: Vec<Option<Process>>,
    disks: Vec<PathBuf>,
    network: Network,
    /// Removed last: fields are dropped in their order.
    _data: TempDir,
}

#[derive(Debug)]
enum Network {
    Namespaces(Namespaces),
    Loopback(Loopback),
}

/// What a master tells about itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether it leads.
    pub leads: bool,
    term: u64,
    /// Tasks without a result.
    pub open_tasks: u64,
}

impl Machines {
    /// Three masters and so many agents, all of which have started. The calling thread and those that it
    /// starts from then on can reach them.
    ///
    /// # Errors
    /// When this user may not make networks here.
    ///
    /// # Panics
    /// When a master does not start.
    pub fn new(kind: MachineKind, agents: usize) -> io::Result<Machines> {
        let data = tempfile::tempdir().expect("a directory");
        let disk = |at: usize| {
            let disk = data.path().join(at.to_string());
            fs::create_dir(&disk).expect("a directory");
            disk
        };
        let disks: Vec<PathBuf> = (0..MASTERS + agents).map(disk).collect();
        let network = match kind {
            MachineKind::Processes => Network::Loopback(Loopback::new(MASTERS).expect("ports")),
            MachineKind::OwnNetworks => {
                let paths: Vec<_> = disks.iter().map(PathBuf::as_path).collect();
                Network::Namespaces(Namespaces::new(&paths)?)
            }
        };
        let processes = disks.iter().map(|_| None).collect();
        let mut machines = Machines { processes, disks, network, _data: data };
        (0..MASTERS + agents).for_each(|machine| machines.start(machine));
        Ok(machines)
    }

    /// Where the masters are, for a client.
    pub fn masters(&self) -> String {
        let addresses: Vec<String> = (0..MASTERS).map(|at| self.address(at)).collect();
        addresses.join(",")
    }

    /// Where one master is.
    pub fn address(&self, master: usize) -> String {
        match &self.network {
            Network::Namespaces(_) => Namespaces::address(master),
            Network::Loopback(loopback) => loopback.address(master),
        }
    }

    /// A command on the machine of the test, for a cluster of these masters.
    pub fn weir(&self, args: &[&str]) -> Weir {
        Weir::new(args).env("WEIR_MASTER", self.masters())
    }

    /// Waits until a master leads; which, and what it tells.
    ///
    /// # Panics
    /// When none does in `PATIENCE`.
    pub fn wait_for_leader(&self) -> (usize, Look) {
        let mut leader = None;
        poll(PATIENCE, || {
            leader = self.leader();
            leader.is_some()
        });
        leader.expect("a master leads")
    }

    /// The master that leads, as far as it is seen: of two that think so, the one of the later term.
    pub fn leader(&self) -> Option<(usize, Look)> {
        let looks = (0..MASTERS).filter_map(|at| Some((at, self.look(at)?)));
        looks.filter(|(_, look)| look.leads).max_by_key(|(_, look)| look.term)
    }

    fn look(&self, master: usize) -> Option<Look> {
        let address = self.address(master);
        let mut stream =
            TcpStream::connect_timeout(&address.parse().expect("an address"), LOOK_TIMEOUT).ok()?;
        stream.set_read_timeout(Some(LOOK_TIMEOUT)).expect("a time");
        let ask = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<u64>().ok())
        };
        Some(Look {
            leads: number("weir_is_leader")? == 1,
            term: number("weir_raft_term")?,
            open_tasks: number("weir_tasks_open")?,
        })
    }

    /// Whether what runs on a machine uses the processor now.
    pub fn is_busy(&self, machine: usize) -> bool {
        let Some(process) = &self.processes[machine] else { return false };
        let before = processor_ticks_of(process.id());
        thread::sleep(BUSY_FOR);
        processor_ticks_of(process.id()) > before
    }

    /// Which machines a fault means.
    pub fn meant(&self, target: Target, leader: usize) -> Vec<usize> {
        match target {
            Target::Leader => vec![leader],
            Target::Follower(which) => vec![(leader + 1 + which) % MASTERS],
            Target::Agent(agent) => vec![MASTERS + agent],
            Target::LeaderAndAgent(agent) => vec![leader, MASTERS + agent],
        }
    }

    /// Does what a fault does to these machines.
    pub fn harm(&mut self, fault: &Fault, machines: &[usize]) {
        for machine in machines.iter().copied() {
            match fault.harm {
                Harm::Kill => self.kill(machine),
                Harm::Freeze => self.freeze(machine, true),
                Harm::Part => {
                    self.mute(machine);
                    self.deafen(machine);
                }
                Harm::Mute => self.mute(machine),
                Harm::Deafen => self.deafen(machine),
                Harm::FillDisk => self.fill(machine),
            }
        }
    }

    /// Mends what a fault did to these machines: everybody runs again, and reaches everybody. How many
    /// processes had ended, and were started again.
    pub fn mend(&mut self, fault: &Fault, machines: &[usize]) -> usize {
        for machine in machines.iter().copied() {
            match fault.harm {
                Harm::Kill => {}
                Harm::Freeze => self.freeze(machine, false),
                Harm::Part | Harm::Mute | Harm::Deafen => self.mend_wires(),
                Harm::FillDisk => self.empty(machine),
            }
        }
        self.start_ended()
    }

    /// Starts whatever has ended; how many had.
    pub fn start_ended(&mut self) -> usize {
        let runs =
            |process: &mut Option<Process>| process.as_mut().is_some_and(Process::is_running);
        let ended = (0..self.processes.len()).filter(|at| !runs(&mut self.processes[*at]));
        let ended = ended.collect::<Vec<_>>();
        ended.iter().for_each(|machine| self.start(*machine));
        ended.len()
    }

    /// Ends what runs on a machine, as a power cut would.
    pub fn kill(&mut self, machine: usize) {
        self.processes[machine] = None;
    }

    /// Lets what runs on a machine stand still, or go on.
    pub fn freeze(&self, machine: usize, frozen: bool) {
        let process = self.processes[machine].as_ref();
        process.expect("a process").freeze(frozen);
    }

    fn others(&self, machine: usize) -> Vec<Machine> {
        let others = (0..self.processes.len()).filter(|other| *other != machine);
        others.map(Machine::Of).chain([Machine::Ours]).collect()
    }

    fn mute(&self, machine: usize) {
        self.cut(Machine::Of(machine), &self.others(machine));
    }

    fn deafen(&self, machine: usize) {
        for other in self.others(machine) {
            self.cut(other, &[Machine::Of(machine)]);
        }
    }

    fn cut(&self, from: Machine, to: &[Machine]) {
        match &self.network {
            Network::Namespaces(namespaces) => namespaces.cut(from, to),
            Network::Loopback(loopback) => loopback.cut(from, to),
        }
    }

    fn mend_wires(&self) {
        let all = (0..self.processes.len()).map(Machine::Of).chain([Machine::Ours]);
        all.for_each(|machine| match &self.network {
            Network::Namespaces(namespaces) => namespaces.mend(machine),
            Network::Loopback(loopback) => loopback.mend(machine),
        });
    }

    fn fill(&self, machine: usize) {
        let process = self.processes[machine].as_ref().expect("a process");
        match &self.network {
            Network::Namespaces(namespaces) => namespaces.fill(machine, &self.disks[machine]),
            Network::Loopback(loopback) => loopback.fill(process.id()),
        }
    }

    /// On loopback the limit is the process's, and a new one has none.
    fn empty(&mut self, machine: usize) {
        match &self.network {
            Network::Namespaces(namespaces) => namespaces.empty(machine, &self.disks[machine]),
            Network::Loopback(_) => self.kill(machine),
        }
    }

    fn start(&mut self, machine: usize) {
        let weir = if machine < MASTERS { self.master(machine) } else { self.agent(machine) };
        let weir = weir.arg("--data-dir").arg(self.disks[machine].join("data"));
        let weir = match &self.network {
            Network::Namespaces(namespaces) => namespaces.on(machine, weir),
            Network::Loopback(_) => weir,
        };
        let process = weir.start();
        if let Network::Loopback(loopback) = &self.network {
            loopback.started(machine, process.id());
        }
        if machine < MASTERS {
            process.wait_for_stdout(" listens on http://");
        }
        self.processes[machine] = Some(process);
    }

    fn master(&self, machine: usize) -> Weir {
        let members = (0..MASTERS).map(|at| format!("{}={}", at + 1, self.address(at)));
        let members = members.collect::<Vec<_>>().join(",");
        let node = (machine + 1).to_string();
        let master = Weir::new(["master", "--node-id", &node, "--members", &members]);
        match &self.network {
            Network::Namespaces(_) => {
                master.args(["--listen", &Namespaces::address(machine), "--insecure"])
            }
            Network::Loopback(loopback) => master
                .args(["--listen", &loopback.inside(machine)])
                .args(["--advertise", &loopback.address(machine)]),
        }
    }

    fn agent(&self, machine: usize) -> Weir {
        let name = format!("agent-{}", machine - MASTERS);
        self.weir(&["agent", "--name", &name, "--cores", "1", "--memory", "1GiB"])
    }
}
