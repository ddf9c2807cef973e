//! A cluster of this command's own, of processes on loopback: masters and agents that can be killed and
//! started again. All of it is gone with the command.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::timeout,
};
use weir_sdk::{
    Client,
    view::{ClusterStatus, MemberRole},
};

use crate::embed;

/// Longest wait for processes to start and find each other.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Longest wait for a master's metrics.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// A master that lacks no more entries than these keeps up.
const LAG: u64 = 200;

/// Masters and agents.
pub(super) struct Own {
    pub(super) masters: Vec<Master>,
    pub(super) agents: Vec<Node>,
    /// Removed once the processes have ended: fields are dropped in their order.
    _data: TempDir,
}

/// A master, and where it is.
pub(super) struct Master {
    pub(super) address: String,
    pub(super) node: Node,
}

/// A process that can be started again.
pub(super) struct Node {
    args: Vec<OsString>,
    log: PathBuf,
    child: Option<Child>,
}

impl Own {
    /// So many masters and agents, all of which have found each other.
    pub(super) async fn start(masters: usize, agents: usize) -> Result<Own> {
        let data = embed::temporary()?;
        let addresses = free_addresses(masters).await?;
        let numbered = (1..).zip(&addresses).map(|(node, address)| format!("{node}={address}"));
        let list = numbered.collect::<Vec<_>>().join(",");
        let mut own = Own { masters: Vec::new(), agents: Vec::new(), _data: data };
        for (number, address) in (1..).zip(addresses) {
            let id = number.to_string();
            let args = ["master", "--listen", &address, "--node-id", &id, "--members", &list];
            let node = own.node(&format!("master-{number}"), &args);
            own.masters.push(Master { address, node });
        }
        for number in 1..=agents {
            let (name, masters) = (format!("agent-{number}"), own.addresses());
            let args = ["agent", "--name", &name, "--master", &masters];
            let node = own.node(&name, &args);
            own.agents.push(node);
        }
        let masters = own.masters.iter_mut().map(|master| &mut master.node);
        masters.chain(&mut own.agents).try_for_each(Node::start)?;
        own.wait_until_whole().await?;
        Ok(own)
    }

    fn node(&self, name: &str, args: &[&str]) -> Node {
        let data = self._data.path().join(name);
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        args.extend(["--data-dir".into(), data.clone().into_os_string()]);
        Node { args, log: data.with_extension("log"), child: None }
    }

    /// Where the masters are, for a client.
    pub(super) fn addresses(&self) -> String {
        let addresses = self.masters.iter().map(|master| master.address.as_str());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// A client of whichever master answers.
    pub(super) async fn client(&self) -> Result<Client> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match Client::connect(&self.addresses()).await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Waits until all masters keep up with the leader and all agents are live; which master leads.
    pub(super) async fn wait_until_whole(&self) -> Result<usize> {
        let client = self.client().await?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let told = client.status().await;
            if let Ok(status) = &told
                && let Some(leader) = self.leader_of_whole(status)
            {
                return Ok(leader);
            }
            if Instant::now() > deadline {
                let why =
                    told.map_or_else(|error| error.to_string(), |status| format!("{status:?}"));
                bail!("the masters and agents do not find each other: {why}{}", self.last_words());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn leader_of_whole(&self, status: &ClusterStatus) -> Option<usize> {
        let live = status.agents.iter().filter(|agent| agent.life.is_live()).count();
        let least = status.applied_index.saturating_sub(LAG);
        let follow = |member: &&weir_sdk::view::MemberView| {
            matches!(member.role, MemberRole::Leader | MemberRole::Follower)
                && member.applied_index >= least
        };
        let following = status.members.iter().filter(follow).count();
        if live < self.agents.len() || following < self.masters.len() {
            return None;
        }
        let leader = status.members.iter().find(|member| member.role == MemberRole::Leader)?;
        self.masters.iter().position(|master| master.address == leader.address)
    }

    /// What each process said last, of those that said something.
    fn last_words(&self) -> String {
        let nodes = self.masters.iter().map(|master| &master.node).chain(&self.agents);
        let logs = nodes.filter_map(|node| std::fs::read_to_string(&node.log).ok());
        logs.filter_map(|log| log.lines().last().map(|line| format!("\n  {line}"))).collect()
    }
}

impl Node {
    /// Starts it, again if it has ended.
    pub(super) fn start(&mut self) -> Result<()> {
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let log = std::fs::File::create(&self.log).context("cannot write to a temporary file")?;
        let child = Command::new(binary)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.context("cannot start a process of this binary")?);
        Ok(())
    }

    /// Sends `SIGKILL` and does not wait, so that several die at one instant.
    pub(super) fn kill(&mut self) -> Result<()> {
        let child = self.child.as_mut().context("it does not run")?;
        child.start_kill().context("cannot kill a process of this command's own")
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.wait().await.context("cannot wait for a process")?;
        }
        Ok(())
    }
}

impl Master {
    /// A number of its metrics; none while it does not answer.
    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let text = timeout(LOOK_TIMEOUT, self.get("/metrics")).await.ok()??;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// Whether it can answer clients.
    pub(super) async fn is_ready(&self) -> bool {
        let answer = timeout(LOOK_TIMEOUT, self.get("/readyz")).await;
        answer.is_ok_and(|text| text.is_some_and(|text| text.starts_with("HTTP/1.1 200")))
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        let host = &self.address;
        let ask = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    }
}

/// Ports that were free a moment ago.
async fn free_addresses(count: usize) -> Result<Vec<String>> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.context("no port is free")?);
    }
    let address = |listener: &TcpListener| Ok(listener.local_addr()?.to_string());
    listeners.iter().map(address).collect()
}
