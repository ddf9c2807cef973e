//! A connection to a cluster, and the questions that one call answers.
//!
//! Bytes are put in [`crate::data`], jobs submitted in [`crate::submit`] and watched in
//! [`crate::watch`].

use std::time::Duration;

use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use weir_proto::{
    id::{AgentId, JobId, Namespace},
    range::RangeSet,
    reads,
    wire::{
        self, cluster_client::ClusterClient, jobs_client::JobsClient, store_client::StoreClient,
    },
};
use weir_store::masters;

use crate::{
    query::{JobList, JobQuery},
    rpc::{self, RpcError},
    submit,
    view::{ClusterStatus, JobSummary, JobView},
};

/// Longest wait for a connection to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of one answer that the client takes: a list of jobs with large specs.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How often a connection on which somebody waits is probed, and how long the answer may take: so soon
/// is a master noticed that vanished or stands still, and another asked.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A client of one cluster; cheap to clone, each clone shares the connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) channel: Channel,
    address: String,
    namespace: Namespace,
    reads: Reads,
}

/// The way to the master for whatever it may be asked.
pub(crate) type Calls = InterceptedService<Channel, Reads>;

/// How new what is read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// As new as what was acknowledged before.
    Linearizable,
    /// As new as the master that is asked happens to be.
    Stale,
}

impl Interceptor for Reads {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if *self == Reads::Stale {
            request.metadata_mut().insert(reads::HEADER, MetadataValue::from_static(reads::STALE));
        }
        Ok(request)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be one.
    #[error("{address:?} is not a master's address: {why}; write it like `127.0.0.1:7400`")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// No process listens there, or the way to it is closed.
    #[error(
        "nobody listens at {address} ({why}); start a cluster with `weir dev`, or say where its \
         master is"
    )]
    NobodyListens {
        /// Where it was tried.
        address: String,
        /// What the operating system says.
        why: String,
    },
    /// Something else listens there.
    #[error(
        "what listens at {address} is not a Weir master ({why}); say where the cluster's master is"
    )]
    NotWeir {
        /// Where it was tried.
        address: String,
        /// How that showed.
        why: String,
    },
    /// A master that cannot even be greeted.
    #[error(transparent)]
    OtherVersion(RpcError),
}

/// Why a question about a job has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The cluster has no such job.
    #[error("there is no {job} in the cluster at {address}; `weir job ls` lists what there is")]
    NoSuchJob {
        /// Which.
        job: JobId,
        /// Which cluster.
        address: String,
    },
    /// The job is not in a state for that.
    #[error("{why}")]
    NotNow {
        /// What state it is in, and what to do.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// Why nothing was done about an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The agent is not in a state for that.
    #[error("{why}")]
    NotNow {
        /// What state it is in.
        why: String,
    },
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Client {
    /// Connects to the master at an address such as `127.0.0.1:7400` or `http://host:7400`, in the
    /// namespace `default`. Several masters of a cluster stand with commas between them: any one that
    /// answers is asked, and another when that one is gone.
    ///
    /// # Errors
    /// `Address` when it cannot be one, `NobodyListens` when no connection comes about in
    /// `CONNECT_TIMEOUT`, `NotWeir` when what answers is something else, `OtherVersion` when it is a
    /// master that knows none of our requests.
    pub async fn connect(address: &str) -> Result<Client, ConnectError> {
        let addresses = address.split(',').map(|address| plain_address(address.trim()));
        let mut addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let mut connected = Client::connect_to(&addresses).await;
        // One that takes connections and does not answer is passed over, if there is another.
        for _ in 1..addresses.len() {
            if !matches!(connected, Err(ConnectError::NotWeir { .. })) {
                break;
            }
            addresses.rotate_left(1);
            connected = Client::connect_to(&addresses).await;
        }
        connected
    }

    /// Connects to the first of several masters that takes a connection.
    async fn connect_to(addresses: &[String]) -> Result<Client, ConnectError> {
        let address = addresses.join(",");
        let endpoint = Endpoint::from_shared(format!("http://{}", addresses[0]))
            .map_err(|error| wrong_address(&address, &chain(&error)))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .tcp_nodelay(true);
        let channel = masters::connect(&endpoint, addresses.to_vec()).await.map_err(|error| {
            ConnectError::NobodyListens { address: address.clone(), why: innermost(&error) }
        })?;
        let (namespace, reads) = (Namespace::default_namespace(), Reads::Linearizable);
        let client = Client { channel, address, namespace, reads };
        client.greet().await?;
        Ok(client)
    }

    /// The same connection, in another namespace.
    pub fn in_namespace(&self, namespace: Namespace) -> Client {
        Client { namespace, ..self.clone() }
    }

    /// The same connection, for reads that the master which answers may answer by itself: it may be
    /// behind, and needs no majority. What asks for a change is not touched by it.
    pub fn stale(&self) -> Client {
        Client { reads: Reads::Stale, ..self.clone() }
    }

    /// The way to the master.
    pub(crate) fn calls(&self) -> Calls {
        InterceptedService::new(self.channel.clone(), self.reads)
    }

    /// Where the master is: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The namespace of what is put, fetched and submitted.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What is known of a job.
    ///
    /// # Errors
    /// `NoSuchJob`, or `Rpc` when the master does not answer.
    pub async fn job(&self, job: JobId) -> Result<JobView, JobError> {
        let asked = rpc::retry(|| {
            let mut jobs = self.jobs_rpc();
            async move { jobs.get(wire::GetJobRequest { job: job.0 }).await }
        });
        self.job_view(job, asked.await)
    }

    /// Jobs, newest first unless `asked` says otherwise.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn jobs(&self, asked: &JobQuery) -> Result<JobList, RpcError> {
        let listed = rpc::retry(|| {
            let (mut jobs, asked) = (self.jobs_rpc(), asked.to_wire());
            async move { jobs.list(asked).await }
        });
        let listed = listed.await.map_err(|status| self.failed(&status))?;
        let jobs = listed.jobs.into_iter().map(JobSummary::try_from);
        let jobs = jobs.collect::<Result<_, _>>();
        let jobs = jobs.map_err(|m| RpcError::answer(&self.address, m))?;
        Ok(JobList { jobs, matched: listed.matched })
    }

    /// Lets tasks of a job that have no result stand still, or go on; no tasks means all. Those that run
    /// keep their memory and their place, and their time limits stand still.
    ///
    /// # Errors
    /// `NoSuchJob`, `NotNow` when it has ended, or `Rpc` when the master does not answer or has no such
    /// task.
    pub async fn pause(
        &self,
        job: JobId,
        tasks: &RangeSet,
        paused: bool,
    ) -> Result<JobView, JobError> {
        let asked = rpc::retry(|| {
            let mut jobs = self.jobs_rpc();
            let request = wire::PauseRequest { job: job.0, tasks: tasks.to_wire(), paused };
            async move { jobs.pause(request).await }
        });
        self.job_view(job, asked.await)
    }

    /// Ends a job; its tasks without a result get the outcome `Cancelled`. Does nothing to a job
    /// that has ended.
    ///
    /// # Errors
    /// `NoSuchJob`, or `Rpc` when the master does not answer.
    pub async fn cancel(&self, job: JobId) -> Result<JobView, JobError> {
        let asked = rpc::retry(|| {
            let mut jobs = self.jobs_rpc();
            async move { jobs.cancel(wire::CancelRequest { job: job.0 }).await }
        });
        self.job_view(job, asked.await)
    }

    /// A new job that keeps what succeeded in an ended one, and runs its other tasks again.
    ///
    /// # Errors
    /// `NoSuchJob`, `NotNow` while it is active or when all its tasks succeeded, or `Rpc`.
    pub async fn retry(&self, job: JobId) -> Result<JobId, JobError> {
        let request = submit::new_request().0.to_vec();
        let asked = rpc::retry(|| {
            let (mut jobs, request) = (self.jobs_rpc(), request.clone());
            async move { jobs.retry(wire::RetryRequest { request, job: job.0 }).await }
        });
        let made = asked.await.map_err(|status| self.job_failed(job, &status))?;
        Ok(JobId(made.job))
    }

    /// Makes the cluster forget an ended job and its results.
    ///
    /// # Errors
    /// `NoSuchJob`, `NotNow` while it is active, or `Rpc`.
    pub async fn remove(&self, job: JobId) -> Result<(), JobError> {
        let asked = rpc::retry(|| {
            let mut jobs = self.jobs_rpc();
            async move { jobs.remove(wire::RemoveJobRequest { job: job.0 }).await }
        });
        asked.await.map(|_| ()).map_err(|status| self.job_failed(job, &status))
    }

    /// How the cluster is.
    ///
    /// # Errors
    /// When the master does not answer.
    pub async fn status(&self) -> Result<ClusterStatus, RpcError> {
        let asked = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.status(wire::StatusRequest {}).await }
        });
        let status = asked.await.map_err(|status| self.failed(&status))?;
        ClusterStatus::try_from(status).map_err(|m| RpcError::answer(&self.address, m))
    }

    /// Lets an agent finish what it runs and then leave, or go on after all. Returns once that is
    /// committed, before it has left.
    ///
    /// # Errors
    /// `NotNow` when the agent is gone or unknown, `Rpc` when the master does not answer.
    pub async fn drain(&self, agent: AgentId, draining: bool) -> Result<(), AgentError> {
        let asked = rpc::retry(|| {
            let mut cluster = self.cluster_rpc();
            async move { cluster.drain(wire::DrainRequest { agent: agent.0, draining }).await }
        });
        asked.await.map(|_| ()).map_err(|status| match status.code() {
            Code::NotFound | Code::FailedPrecondition => {
                AgentError::NotNow { why: status.message().to_owned() }
            }
            _ => AgentError::Rpc(self.failed(&status)),
        })
    }

    /// Asks the store for nothing: any Weir master answers, and nothing else does.
    async fn greet(&self) -> Result<(), ConnectError> {
        let mut store = StoreClient::new(self.channel.clone());
        let namespace = self.namespace.as_str().to_owned();
        let request = wire::FindMissingRequest { namespace, digests: Vec::new() };
        let greeting = tokio::time::timeout(CONNECT_TIMEOUT, store.find_missing(request)).await;
        let not_weir = |why| Err(ConnectError::NotWeir { address: self.address.clone(), why });
        match greeting {
            Err(_) => not_weir(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())),
            // A master of ours that is not ready yet, or does not let us: later calls will say so.
            Ok(Err(status)) if std::error::Error::source(&status).is_none() => {
                match status.code() {
                    Code::Unimplemented if rpc::version_of(&status).is_some() => {
                        Err(ConnectError::OtherVersion(self.failed(&status)))
                    }
                    Code::Unimplemented | Code::Unknown | Code::Internal => {
                        not_weir(rpc::sentence(&status))
                    }
                    _ => Ok(()),
                }
            }
            Ok(Err(status)) => not_weir(rpc::sentence(&status)),
            Ok(Ok(_)) => Ok(()),
        }
    }

    pub(crate) fn cluster_rpc(&self) -> ClusterClient<Calls> {
        ClusterClient::new(self.calls()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(crate) fn jobs_rpc(&self) -> JobsClient<Calls> {
        JobsClient::new(self.calls())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(crate) fn failed(&self, status: &Status) -> RpcError {
        RpcError::from_status(&self.address, status)
    }

    pub(crate) fn job_failed(&self, job: JobId, status: &Status) -> JobError {
        match status.code() {
            Code::NotFound => JobError::NoSuchJob { job, address: self.address.clone() },
            Code::FailedPrecondition => JobError::NotNow { why: status.message().to_owned() },
            _ => JobError::Rpc(self.failed(status)),
        }
    }

    fn job_view(
        &self,
        job: JobId,
        answer: Result<wire::JobView, Status>,
    ) -> Result<JobView, JobError> {
        let view = answer.map_err(|status| self.job_failed(job, &status))?;
        Ok(JobView::try_from(view).map_err(|m| RpcError::answer(&self.address, m))?)
    }
}

/// `host:port` of an address that may be written as a URL.
fn plain_address(address: &str) -> Result<String, ConnectError> {
    if address.starts_with("https://") {
        return Err(wrong_address(address, "TLS is not built yet"));
    }
    let plain = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let Some((host, port)) = plain.rsplit_once(':') else {
        return Err(wrong_address(address, "it has no port"));
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err(wrong_address(address, "it has no host"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(plain.to_owned()),
        _ => Err(wrong_address(address, "its port is not a number from 1 to 65535")),
    }
}

fn wrong_address(address: &str, why: &str) -> ConnectError {
    ConnectError::Address { address: address.to_owned(), why: why.to_owned() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

/// The cause at the bottom: `Connection refused (os error 111)`, without four layers above it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(cause) = bottom.source() {
        bottom = cause;
    }
    bottom.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_as_a_url() {
        for address in ["127.0.0.1:7400", "http://127.0.0.1:7400", "http://127.0.0.1:7400/"] {
            assert_eq!(plain_address(address).expect(address), "127.0.0.1:7400");
        }
        assert_eq!(plain_address("[::1]:7400").expect("v6"), "[::1]:7400");
    }

    #[test]
    fn an_address_that_cannot_be_one_is_told_with_its_reason() {
        for (address, reason) in [
            ("localhost", "no port"),
            (":7400", "no host"),
            ("localhost:x", "port"),
            ("localhost:0", "port"),
            ("https://localhost:7400", "TLS"),
        ] {
            let error = plain_address(address).expect_err(address).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn connecting_where_nobody_listens_says_where_and_what_to_do() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let error = Client::connect(&address).await.expect_err("nobody").to_string();
        assert!(error.contains(&address) && error.contains("weir dev"), "{error}");
    }
}
