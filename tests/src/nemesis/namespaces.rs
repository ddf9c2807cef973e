//! Machines as namespaces: each has a network and a disk of its own. Wires are virtual and meet in a
//! bridge in the network that the calling thread gets, so that nothing of the real machine is touched.
//!
//! A namespace is held by a process that reads its stdin and ends with it. When the test dies, however
//! it dies, the pipe closes, and the kernel removes networks, wires and disks.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::machines::Machine;
use crate::cluster::Weir;

/// Room on each machine's disk.
const DISK: &str = "512m";
/// A card that nobody has: what is sent to it is lost without a word.
const NOBODY: &str = "02:00:00:00:00:00";
/// How often filling a disk is tried: its process may write between a look and the deed.
const TRIES: u32 = 20;

/// Machines with networks and disks of their own.
#[derive(Debug)]
pub(super) struct Namespaces {
    machines: Vec<Holder>,
}

/// What keeps a machine's namespaces.
#[derive(Debug)]
struct Holder {
    process: Child,
}

impl Namespaces {
    /// So many machines, each with its disk mounted on this directory. The calling thread, and those
    /// that it starts from then on, are on a machine of their own among them.
    ///
    /// # Errors
    /// When this user may not do that here.
    pub(super) fn new(disks: &[&Path]) -> io::Result<Namespaces> {
        // SAFETY: it takes a number and moves this thread alone to a new network.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let bridge = format!(
            "ip link set lo up; ip link add bridge type bridge; ip link set bridge up; \
             ip addr add {}/24 dev bridge",
            host(Machine::Ours)
        );
        shell(Command::new("sh"), &bridge)?;
        let machines = disks.iter().enumerate().map(|(at, disk)| Holder::new(at, disk));
        Ok(Namespaces { machines: machines.collect::<io::Result<_>>()? })
    }

    /// Where what listens on a machine is reached.
    pub(super) fn address(machine: usize) -> String {
        format!("{}:7400", host(Machine::Of(machine)))
    }

    /// A command on a machine.
    pub(super) fn on(&self, machine: usize, weir: Weir) -> Weir {
        let process = self.machines[machine].process.id();
        let open = |kind| File::open(format!("/proc/{process}/ns/{kind}")).expect("a namespace");
        weir.within(vec![open("net"), open("mnt")])
    }

    /// From now on, nothing that one machine sends comes to the others.
    pub(super) fn cut(&self, from: Machine, to: &[Machine]) {
        let cut = |to: &Machine| {
            let (to, wire) = (host(*to), from.wire());
            format!("ip neigh replace {to} lladdr {NOBODY} nud permanent dev {wire}")
        };
        let lines: Vec<String> = to.iter().map(cut).collect();
        self.run(from, &lines.join("\n")).expect("a wire can be cut");
    }

    /// From now on, whatever a machine sends comes to whom it is for.
    pub(super) fn mend(&self, machine: Machine) {
        let mend = format!("ip neigh flush all nud permanent dev {}", machine.wire());
        self.run(machine, &mend).expect("a wire can be mended");
    }

    fn run(&self, machine: Machine, script: &str) -> io::Result<()> {
        match machine {
            Machine::Ours => shell(Command::new("sh"), script),
            Machine::Of(at) => self.machines[at].run(script),
        }
    }

    /// Leaves no room on a machine's disk.
    pub(super) fn fill(&self, machine: usize, disk: &Path) {
        let path = disk.display();
        let fill = format!(
            "used=$(df --output=used --block-size=1024 '{path}' | tail -n 1); \
             mount -o remount,size=$((used))k '{path}'"
        );
        let filled = (0..TRIES).any(|_| self.machines[machine].run(&fill).is_ok());
        assert!(filled, "the disk of machine {machine} cannot be filled");
    }

    /// Gives a machine's disk its room back.
    pub(super) fn empty(&self, machine: usize, disk: &Path) {
        let empty = format!("mount -o remount,size={DISK} '{}'", disk.display());
        self.machines[machine].run(&empty).expect("a disk can grow");
    }
}

impl Holder {
    fn new(at: usize, disk: &Path) -> io::Result<Holder> {
        let mut process = Command::new("unshare")
            .args(["--net", "--mount", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().expect("stdout is piped");
        let holder = Holder { process };
        let mut line = String::new();
        if BufReader::new(stdout).read_line(&mut line)? == 0 {
            return Err(io::Error::other("unshare ended"));
        }
        let wire = format!(
            "ip link add wire{at} type veth peer name eth0 netns {}; \
             ip link set wire{at} master bridge; ip link set wire{at} up",
            holder.process.id()
        );
        shell(Command::new("sh"), &wire)?;
        let (host, disk) = (host(Machine::Of(at)), disk.display());
        holder.run(&format!(
            "ip link set lo up; ip addr add {host}/24 dev eth0; ip link set eth0 up; \
             mount -t tmpfs -o size={DISK} weir-test '{disk}'"
        ))?;
        Ok(holder)
    }

    fn run(&self, script: &str) -> io::Result<()> {
        let id = self.process.id();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{id}/ns/net")).arg(format!("--mount=/proc/{id}/ns/mnt"));
        command.arg("sh");
        shell(command, script)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

impl Machine {
    /// What its end of its wire is called.
    fn wire(self) -> &'static str {
        match self {
            Machine::Ours => "bridge",
            Machine::Of(_) => "eth0",
        }
    }
}

fn host(machine: Machine) -> String {
    match machine {
        Machine::Ours => "10.77.0.254".to_owned(),
        Machine::Of(at) => format!("10.77.0.{}", at + 1),
    }
}

/// Lets a shell, or what begins one, run a script up to its first failure.
fn shell(mut command: Command, script: &str) -> io::Result<()> {
    let ran = command.args(["-euc", script]).stdin(Stdio::null()).output()?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&ran.stderr).into_owned())),
    }
}
