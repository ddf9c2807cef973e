//! The control plane: a Raft node, leases, sessions with agents, and the services in front.
//!
//! [`control`] decides and does no I/O; everything else here is the shell around it. Tasks go on
//! in `weir-agent`.

pub mod log;

pub mod node;

pub mod control;

pub mod doctor;

pub mod blobs;

pub mod backup;

mod disk;

mod driver;

mod peers;

mod forward;

mod group;

mod pages;

mod watchers;

mod metrics;

mod rpc;

mod web;

mod server;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use axum::serve::ListenerExt as _;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinError, JoinHandle},
};
use tonic_health::server::HealthReporter;
use weir_scheduler::{apply::apply, members::Identity};
use weir_store::blobs::{BlobStore, OpenError};

pub use driver::Failure;
pub use group::{Group, GroupError};

use crate::{
    blobs::Blobs,
    control::{Control, Introduction},
    disk::Disk,
    log::{Log as _, LogError, RedbLog},
    pages::Pages,
    peers::Ourselves,
    server::HostNames,
    web::board::Board,
};

/// How long another process may have the log before that is an error: one that was killed a moment
/// ago holds it until the system has taken its memory back.
const HANDOVER: Duration = Duration::from_secs(3);
/// How often it is looked whether the log is free.
const HANDOVER_POLL: Duration = Duration::from_millis(50);

/// How a master runs.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// Where its log and its blobs are.
    pub data_dir: PathBuf,
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether it may listen where other machines reach it, without encryption.
    pub insecure: bool,
    /// Where other masters and clients reach it, `host:port`; where it listens, unless told.
    pub advertise: Option<String>,
    /// The masters that it is one of.
    pub group: Group,
}

/// A running master.
pub struct Master {
    address: SocketAddr,
    stop_driver: Option<oneshot::Sender<()>>,
    /// Absent once it has ended by itself, and that was told.
    driver: Option<JoinHandle<Result<(), Failure>>>,
    server: JoinHandle<()>,
    /// They end after the driver.
    board: JoinHandle<()>,
    catching_up: JoinHandle<()>,
}

/// Why a master does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would listen where other machines reach it.
    #[error(
        "{0} can be reached from other machines, and connections are not encrypted yet; listen on \
         127.0.0.1, or say --insecure if the network is trusted"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}; is another master running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("cannot open the log in {path}")]
    Log {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: LogError,
    },
    /// The store cannot be opened.
    #[error("cannot open the store in {path}")]
    Store {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// The log's content is corrupt or of a newer Weir.
    #[error(
        "cannot go on from the log in {path}; `weir doctor {path}` tells what is whole and what to do"
    )]
    State {
        /// The data directory.
        path: PathBuf,
        /// Why not.
        source: control::StartError,
    },
    /// A master was here, and what it had promised is gone.
    #[error(
        "{path} has a master's blobs and no log: put the log back, from a backup or where it was \
         moved; for a master that begins anew, take an empty directory"
    )]
    NoLog {
        /// The data directory.
        path: PathBuf,
    },
    /// It is not one of the masters that it should be.
    #[error("cannot be one of the cluster's masters")]
    Group(#[from] GroupError),
    /// The system gives no thread or no random numbers.
    #[error("cannot start the master's threads")]
    System(#[from] io::Error),
}

impl Master {
    /// Starts a master on the current tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; nothing keeps running.
    pub async fn start(config: MasterConfig) -> Result<Master, StartError> {
        if !config.insecure && !server::is_loopback(config.listen) {
            return Err(StartError::NotLoopback(config.listen));
        }
        let path = config.data_dir;
        check_log(&path)?;
        // The log first: it is what tells that another process uses the directory.
        let mut log = open_free_log(&path).await?;
        let store = BlobStore::open(path.join("store"))
            .await
            .map_err(|source| StartError::Store { path: path.clone(), source })?;
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Listen { address, source })?;
        let address = listener.local_addr()?;
        let advertised = config.advertise.unwrap_or_else(|| address.to_string());
        let identity = group::identify(&log, &path, &config.group, &advertised).await?;
        let mut control = recover(&mut log, &path, identity)?;
        let drawn = || random_bytes().map(|bytes| u64::from_le_bytes(bytes) | 1);
        let data = log.data(drawn()?);
        let data = data.map_err(|source| StartError::Log { path: path.clone(), source })?;
        control.introduce(Introduction { address: advertised.clone(), data });
        let ourselves = Ourselves { address: advertised.clone(), data, boot: drawn()? };
        let alone = control.state().members.len() == 1;
        let masters = control.state().members.values().map(|member| member.address.clone());
        let masters: Vec<String> = masters.chain([advertised]).collect();
        let (disk, reports) = Disk::start(Box::new(log))?;
        let (stop_driver, driver_stopped) = oneshot::channel();
        let pages = Pages::new(store.clone());
        let (handle, driver) =
            driver::start(control, disk, reports, pages, ourselves, driver_stopped);
        if alone {
            // Whoever connects meanwhile waits, instead of hearing that its job is not known.
            handle.wait_until_leading().await;
        }
        let board = Board::new(handle.clone(), store.clone(), url(address));
        let health = HealthReporter::new();
        let names = HostNames::of_this_machine(&masters);
        let blobs = Blobs::new(store, handle.clone(), identity);
        let catching_up = tokio::spawn(blobs.clone().run());
        let routes = server::routes(handle, blobs, board.clone(), health.clone(), identity, names);
        let board = tokio::spawn(board.run(health, server::SERVICES));
        // Small messages go back and forth: Nagle's algorithm would hold them for milliseconds.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
        });
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the server ended");
            }
        });
        let (stop_driver, driver) = (Some(stop_driver), Some(driver));
        Ok(Master { address, stop_driver, driver, server, board, catching_up })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it ends by itself, and says why. A master that is stopped never gets here.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn failed(&mut self) -> Result<(), Failure> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let result = driver.await;
        self.driver = None;
        ended(result)
    }

    /// Stops it: no new request, then no loop. What was acknowledged is durable anyway.
    ///
    /// # Errors
    /// See [`Failure`]: it had ended by itself before, and [`Master::failed`] was not asked.
    pub async fn stop(mut self) -> Result<(), Failure> {
        self.server.abort();
        if let Some(stop) = self.stop_driver.take() {
            // It may have ended by itself.
            let _ended = stop.send(());
        }
        let result = match self.driver {
            Some(driver) => ended(driver.await),
            None => Ok(()),
        };
        if let Err(error) = self.board.await {
            tracing::error!(%error, "the status page ended before its master");
        }
        if let Err(error) = self.catching_up.await {
            tracing::error!(%error, "catching up with others' blobs ended before its master");
        }
        result
    }
}

/// Where this machine's agents find a master; others replace the address.
fn url(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("http://HOST:{}", address.port()),
        false => format!("http://{address}"),
    }
}

/// Refuses a directory that has lost its log: a new one would be made in its place, of a cluster
/// without jobs. The log is made before the store.
fn check_log(path: &Path) -> Result<(), StartError> {
    let written = fs::metadata(path.join("raft/log.redb")).is_ok_and(|log| log.len() > 0);
    match written || !path.join("store/format").exists() {
        true => Ok(()),
        false => Err(StartError::NoLog { path: path.to_owned() }),
    }
}

/// Opens the log; where another process has it, once that has let go of it.
///
/// # Errors
/// What `RedbLog::open` says; that it is in use only when it stays so for `HANDOVER`.
async fn open_free_log(path: &Path) -> Result<RedbLog, StartError> {
    let deadline = Instant::now() + HANDOVER;
    loop {
        match RedbLog::open(&path.join("raft")) {
            Err(LogError::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(HANDOVER_POLL).await;
            }
            opened => {
                let path = path.to_owned();
                return opened.map_err(|source| StartError::Log { path, source });
            }
        }
    }
}

fn recover(log: &mut RedbLog, path: &Path, identity: Identity) -> Result<Control, StartError> {
    let recovered = log.recover();
    let recovered =
        recovered.map_err(|source| StartError::Log { path: path.to_owned(), source })?;
    let boot = u64::from_le_bytes(random_bytes()?);
    Control::new(identity, &recovered, boot, apply)
        .map_err(|source| StartError::State { path: path.to_owned(), source })
}

fn random_bytes() -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn ended(result: Result<Result<(), Failure>, JoinError>) -> Result<(), Failure> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => Ok(()),
    }
}
