//! Master and agent inside this process: for `weir dev`, `weir master`, `weir agent`, and for a
//! `weir run` that finds no cluster. The only file that starts either.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::sync::oneshot;
use weir_agent::{
    Agent, AgentConfig,
    compiler::{CompilerConfig, limits::CompileLimits},
    floor::floor_tasks_per_s,
    session::Recalibration,
};
use weir_master::{Group, Master, MasterConfig};
use weir_sdk::{
    Client,
    proto::{countable::Countables, limits::Limits},
};

use crate::{compile_module, confine::Confine, machine};

/// Longest wait for the agent of an embedded cluster to be there.
const AGENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the wait looks.
const AGENT_POLL: Duration = Duration::from_millis(5);

/// What an embedded agent offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// Name of the agent.
    pub(crate) name: String,
    /// Worker threads.
    pub(crate) cores: usize,
    /// Memory for tasks.
    pub(crate) memory_bytes: u64,
    /// What else there is for them.
    pub(crate) countables: Countables,
    /// What compiling one module may take.
    pub(crate) compile: CompileLimits,
    /// Most bytes of compiled modules; what is usual, where nothing is said.
    pub(crate) module_cache_bytes: Option<u64>,
    /// Whether what compiles modules gives up everything else.
    pub(crate) confine: Confine,
}

impl Offer {
    /// What is not given is taken from this machine.
    pub(crate) fn new(
        name: Option<String>,
        cores: Option<usize>,
        memory_bytes: Option<u64>,
    ) -> Offer {
        Offer {
            name: name.unwrap_or_else(machine::name),
            cores: cores.unwrap_or_else(machine::cores),
            memory_bytes: memory_bytes.unwrap_or_else(machine::task_memory_bytes),
            countables: Countables::new(),
            compile: CompileLimits {
                memory_bytes: machine::compile_memory_bytes(),
                ..CompileLimits::default()
            },
            module_cache_bytes: None,
            confine: Confine::default(),
        }
    }
}

/// A cluster of one master and one agent.
pub(crate) struct Cluster {
    master: Master,
    agent: Agent,
}

impl Cluster {
    /// Starts master and agent on one data directory, which is made if need be.
    ///
    /// # Errors
    /// When either does not start: the address is taken, or the data is in use.
    pub(crate) async fn start(
        data_dir: &Path,
        listen: SocketAddr,
        offer: Offer,
    ) -> Result<Cluster> {
        let master = start_master(data_dir.join("master"), listen, false, None, Group::Own).await?;
        let url = format!("http://{}", reachable(master.address()));
        match start_agent(data_dir.join("agent"), url, offer).await {
            Ok(agent) => Ok(Cluster { master, agent }),
            Err(error) => {
                // The agent's error is the one to tell.
                let _ = master.stop().await;
                Err(error)
            }
        }
    }

    /// Where the master listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.master.address()
    }

    /// Returns when the master has failed, with the reason.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        failure(&mut self.master).await
    }

    /// Stops both, the agent first so that it can say goodbye. Not to be called once the master has
    /// failed: there is nothing left to stop.
    ///
    /// # Errors
    /// When the master had failed.
    pub(crate) async fn stop(self) -> Result<()> {
        self.agent.stop().await;
        self.master.stop().await.context("the master failed")
    }
}

/// A cluster that is gone with the command that started it.
pub(crate) struct Ephemeral {
    cluster: Cluster,
    data: TempDir,
}

impl Ephemeral {
    /// Starts a cluster in a directory of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(
        data: TempDir,
        listen: SocketAddr,
        offer: Offer,
    ) -> Result<Ephemeral> {
        let cluster = Cluster::start(data.path(), listen, offer).await?;
        Ok(Ephemeral { cluster, data })
    }

    /// Its parts: the directory is removed when it is dropped.
    pub(crate) fn into_parts(self) -> (Cluster, TempDir) {
        (self.cluster, self.data)
    }

    /// Where its master listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.cluster.address()
    }

    /// Where its data is.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Stops the cluster and removes its data; how that goes changes nothing for the command.
    pub(crate) async fn stop(self) {
        if let Err(error) = self.cluster.stop().await {
            tracing::warn!(error = format!("{error:#}"), "the embedded cluster had failed");
        }
        // A file that resists is the operating system's to clean up.
        let _ = self.data.close();
    }
}

/// A directory for a cluster that is gone with its command.
///
/// # Errors
/// When there is no place for temporary files.
pub(crate) fn temporary() -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix("weir-").tempdir();
    made.context("cannot make a temporary directory; set TMPDIR to one that can be written")
}

/// Starts a master.
///
/// # Errors
/// When the address is taken or not loopback, or the data cannot be used.
pub(crate) async fn start_master(
    data_dir: PathBuf,
    listen: SocketAddr,
    insecure: bool,
    advertise: Option<String>,
    group: Group,
) -> Result<Master> {
    let about = format!("cannot start a master on {listen} with data in {}", data_dir.display());
    let config = MasterConfig { data_dir, listen, insecure, advertise, group };
    Master::start(config).await.context(about)
}

/// Returns when a master has failed, with the reason.
pub(crate) async fn failure(master: &mut Master) -> anyhow::Error {
    let about = "the master failed";
    match master.failed().await {
        Ok(()) => anyhow::Error::msg("its loop ended").context(about),
        Err(failure) => anyhow::Error::new(failure).context(about),
    }
}

/// Starts an agent of a master.
///
/// # Errors
/// When the data cannot be used.
pub(crate) async fn start_agent(data_dir: PathBuf, master: String, offer: Offer) -> Result<Agent> {
    let about = format!("cannot start an agent with data in {}", data_dir.display());
    let Offer { name, cores, memory_bytes, countables, compile, module_cache_bytes, confine } =
        offer;
    let place = compile_module::in_a_child(confine).context(about.clone())?;
    let compiler = CompilerConfig { place, limits: compile, cores };
    let config = AgentConfig {
        data_dir,
        master,
        name,
        cores,
        memory_bytes,
        countables,
        compiler,
        module_cache_bytes,
        recalibration: Recalibration::default(),
    };
    Agent::start(config).await.context(about)
}

/// Waits until a cluster has an agent, so that a job is not refused or delayed for want of one.
///
/// # Errors
/// When none appears in `AGENT_TIMEOUT`.
pub(crate) async fn wait_for_agent(client: &Client) -> Result<()> {
    let deadline = Instant::now() + AGENT_TIMEOUT;
    while !client.status().await?.agents.iter().any(|agent| agent.life.is_live()) {
        if Instant::now() > deadline {
            bail!("no agent joined the cluster in {} s", AGENT_TIMEOUT.as_secs());
        }
        tokio::time::sleep(AGENT_POLL).await;
    }
    Ok(())
}

/// An address that can be connected to, of one that may mean every interface.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(loopback);
    }
    address
}

/// How many tasks a second bare sandboxes of this machine run, on all its cores.
///
/// # Errors
/// When the sandbox does not start or the module does not run in it.
pub(crate) async fn floor(module: Vec<u8>, limits: Limits, count: u64) -> Result<f64> {
    let (tell, told) = oneshot::channel();
    // A thread that is none of the runtime's: the sandboxes bring runtimes of their own.
    std::thread::spawn(move || {
        let workers = machine::cores();
        // Nobody listens when the command was interrupted.
        let _ = tell.send(floor_tasks_per_s(&module, &limits, workers, count));
    });
    told.await
        .context("the thread that measures the floor died")?
        .context("cannot measure the floor")
}
