//! The data plane of Weir: what runs on every machine that lends its cores to a cluster.
//!
//! A lease comes in over [`session`], which asks [`admission`] whether it fits, goes to the
//! [`executor`], and its tasks run in the [`sandbox`]; results go back the same way. The next stop is
//! the client in `weir-sdk`.

pub mod session;

pub mod admission;

mod link;

mod kept;

pub mod executor;

pub mod data;

mod remote_data;

mod filesystem;

mod lines;

mod precompile;

pub mod modules;

pub mod compiler;

pub mod sandbox;

pub mod pool;

pub mod machine;

pub mod confine;

pub mod profile;

pub mod calibrate;

pub mod floor;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Endpoint;
use weir_proto::{
    agent::AgentDescription,
    countable::Countables,
    id::{AgentId, Incarnation},
    limits::Resources,
};
use weir_store::{
    blobs::{BlobStore, OpenError},
    cache::CachedStore,
    masters,
    remote::RemoteStore,
};

use crate::{
    calibrate::{CalibrateError, Calibrator, Recalibrator},
    compiler::CompilerConfig,
    executor::{Executor, ExecutorConfig, ExecutorError},
    kept::KeptPages,
    link::Link,
    machine::Machine,
    modules::{ModuleCache, ModuleError},
    pool::{LayoutError, Pools},
    precompile::Precompiler,
    remote_data::RemoteData,
    sandbox::{Sandbox, SandboxError},
    session::{Recalibration, Session},
};

/// Signs of life on an idle connection, and how long their answer may take: so a master that
/// vanished is noticed within some seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How an agent runs.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Where its id, its cache of blobs, its compiled modules and its scratch space are.
    pub data_dir: PathBuf,
    /// The master's address: `http://127.0.0.1:7400`.
    pub master: String,
    /// Its name for people.
    pub name: String,
    /// Cores it lends, and workers it starts; at least 1.
    pub cores: usize,
    /// Memory it lends, in bytes.
    pub memory_bytes: u64,
    /// What else it lends.
    pub countables: Countables,
    /// How it compiles modules.
    pub compiler: CompilerConfig,
    /// Most bytes of compiled modules that it keeps; a tenth of their disk, and at most 4 GiB, where
    /// nothing is said.
    pub module_cache_bytes: Option<u64>,
    /// How often it measures its machine again.
    pub recalibration: Recalibration,
}

/// A running agent.
pub struct Agent {
    description: AgentDescription,
    stop: oneshot::Sender<()>,
    link: JoinHandle<()>,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The master's address is none.
    #[error("{address:?} is not an address like http://127.0.0.1:7400")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use {path}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The data directory holds an id that is none.
    #[error("{path} does not hold an agent's id; remove it to get a new one")]
    Id {
        /// The file.
        path: PathBuf,
    },
    /// The cache of blobs cannot be opened.
    #[error("cannot open the agent's store")]
    Store(#[from] OpenError),
    /// This machine has no room for what is offered.
    #[error("this machine has no room for what the agent offers")]
    Layout(#[from] LayoutError),
    /// This machine cannot run sandboxes.
    #[error("cannot set up the sandbox")]
    Sandbox(#[from] SandboxError),
    /// The cache of compiled modules cannot be opened.
    #[error("cannot open the cache of compiled modules")]
    Modules(#[from] ModuleError),
    /// This machine's speed cannot be measured.
    #[error("cannot measure this machine's speed")]
    Calibrate(#[from] CalibrateError),
    /// The workers cannot be started.
    #[error("cannot start the executor")]
    Executor(#[from] ExecutorError),
}

impl Agent {
    /// Starts an agent on the current tokio runtime. It looks for its master until it is stopped.
    ///
    /// # Errors
    /// See [`StartError`]; nothing keeps running.
    pub async fn start(config: AgentConfig) -> Result<Agent, StartError> {
        let plain = |address: &str| address.trim().trim_start_matches("http://").to_owned();
        let masters: Vec<String> = config.master.split(',').map(plain).collect();
        let endpoint = Endpoint::from_shared(format!("http://{}", masters[0]))
            .map_err(|source| StartError::Address { address: config.master.clone(), source })?
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let path = &config.data_dir;
        fs::create_dir_all(path)
            .map_err(|source| StartError::Directory { path: path.clone(), source })?;
        // The store first: it is what tells that another process uses the directory.
        let local = BlobStore::open(path.join("store")).await?;
        let remote = RemoteStore::new(masters::connect_lazy(&endpoint, masters.clone()));
        let id = agent_id(&path.join("agent-id"))?;
        let cores = config.cores.clamp(1, 4096) as u32;
        let resources = Resources {
            cpu_millis: cores * 1000,
            memory_bytes: config.memory_bytes,
            countables: config.countables,
        };
        machine::raise_files();
        let pools = Pools::new(&resources, &Machine::this())?;
        let sandbox = Arc::new(Sandbox::laid_out(pools)?);
        let modules = Arc::new(ModuleCache::open_bounded(
            path.join("modules"),
            config.module_cache_bytes,
            sandbox.clone(),
            config.compiler,
        )?);
        let calibrator = Calibrator::new(sandbox.clone())?;
        let description = AgentDescription {
            id,
            incarnation: Incarnation(random(path)?),
            name: config.name,
            architecture: std::env::consts::ARCH.to_owned(),
            profile: profile::PROFILE.to_owned(),
            epoch_profile: pools.epoch.map(|_| profile::EPOCH_PROFILE.to_owned()),
            resources,
            fuel_per_second: calibrator.fuel_per_second()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let data = Arc::new(RemoteData::new(CachedStore::new(local, remote)));
        let precompiler = Precompiler::new(modules.clone(), data.clone());
        let executor = Executor::start(
            ExecutorConfig { workers: cores as usize, scratch_dir: path.join("scratch") },
            sandbox,
            modules,
            data,
            tokio::runtime::Handle::current(),
        )?;
        let kept = path.join("kept");
        let (kept, earlier) = KeptPages::open(kept.clone())
            .map_err(|source| StartError::Directory { path: kept, source })?;
        let session = Session::new(description.clone(), config.recalibration, earlier);
        let channel = masters::connect_lazy(&endpoint, masters);
        let link = Link::new(
            session,
            executor,
            precompiler,
            Recalibrator::new(calibrator),
            kept,
            channel,
            config.master,
        );
        let (stop, stopped) = oneshot::channel();
        Ok(Agent { description, stop, link: tokio::spawn(link.run(stopped)) })
    }

    /// What it told, or will tell, its master.
    pub fn description(&self) -> &AgentDescription {
        &self.description
    }

    /// Returns when it has left: the leader had it finish what it had, and leave.
    pub async fn left(&mut self) {
        // A panic of its loop has been reported already.
        let _ended = (&mut self.link).await;
    }

    /// Stops it: what has not ended goes back to the master, which leases it again. Takes as long as
    /// the master needs to store its last results, at most some seconds. Not to be called once it has
    /// left.
    pub async fn stop(self) {
        // Its loop ends on nothing else, and a panic of it has been reported already.
        let _running = self.stop.send(());
        let _ended = self.link.await;
    }
}

/// The id in a file, which is made with a random one if there is none.
fn agent_id(path: &Path) -> Result<AgentId, StartError> {
    let directory = |source| StartError::Directory { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16)
            .map(AgentId)
            .map_err(|_| StartError::Id { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = random(path)?;
            // A crash in between leaves no file, or a whole one: rename replaces in one step.
            let new = path.with_extension("new");
            fs::write(&new, format!("{id:016x}\n")).map_err(directory)?;
            fs::rename(&new, path).map_err(directory)?;
            Ok(AgentId(id))
        }
        Err(error) => Err(directory(error)),
    }
}

fn random(path: &Path) -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(io::Error::from)
        .map_err(|source| StartError::Directory { path: path.to_owned(), source })?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_that_an_earlier_binary_wrote_is_read_and_a_new_one_is_written_the_same_way() {
        let golden = Path::new("tests/golden/agent-id");
        assert_eq!(agent_id(golden).expect("an id"), AgentId(0x0123_4567_89ab_cdef));
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("agent-id");
        let AgentId(drawn) = agent_id(&path).expect("an id");
        assert_eq!(fs::read_to_string(&path).expect("readable"), format!("{drawn:016x}\n"));
        fs::write(&path, "agent 7").expect("written");
        assert!(matches!(agent_id(&path), Err(StartError::Id { .. })));
    }
}
