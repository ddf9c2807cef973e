//! The cluster, its masters, its agents and what happens to it, as `--json` prints them.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use weir_sdk::{
    event::{ClusterEvent, Happened},
    proto::weight::NamespaceView,
    view::{AgentView, ClusterStatus, MemberRole, MemberView},
};

use super::counts;

/// How the cluster is, as `cluster status` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// Its name.
    cluster: String,
    /// Where the master is that answered: `host:port`.
    master: String,
    /// Version of that master's binary.
    version: String,
    /// Raft term.
    term: u64,
    /// Log entries applied.
    applied_index: u64,
    /// A hash of the replicated state: the same on all masters at the same index.
    state_hash: String,
    /// Log writes since the master started.
    commits: u64,
    /// Median time from propose to apply, of the last 4,096.
    commit_p50_us: u64,
    /// 99th percentile of the same.
    commit_p99_us: u64,
    /// Jobs that have not ended.
    active_jobs: u32,
    /// Tasks of those without a result.
    open_tasks: u64,
    /// What all its masters can do: `cluster upgrade` raises it.
    feature_level: u32,
    /// Its masters.
    members: Vec<Member>,
    /// Its agents.
    agents: Vec<Agent>,
}

/// A master, as `cluster members` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Member {
    /// Its node in the Raft group, such as `node-1`.
    node: String,
    /// Where it listens.
    address: String,
    /// What it is: `leader`, `follower`, `candidate`, `learner` or `away`.
    role: &'static str,
    /// Whether it leads.
    leads: bool,
    /// Its Raft term.
    term: u64,
    /// The last log entry it knows to be committed.
    committed_index: u64,
    /// The last log entry it has applied.
    applied_index: u64,
    /// Log entries that are committed and that it has not applied; null while it is away.
    lag: Option<u64>,
    /// Version of its binary.
    version: String,
    /// Its clock less that of the master that was asked, in milliseconds.
    clock_ahead_ms: i64,
    /// The highest feature level that its binary knows; 0 while it is away.
    feature_level: u32,
}

/// What `cluster upgrade` did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Upgraded {
    /// The feature level before.
    pub(crate) from_level: u32,
    /// The feature level now: the same where there was nothing to do.
    pub(crate) level: u32,
}

/// An agent, as `cluster agents` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Agent {
    /// Its id.
    agent: String,
    /// What it is called.
    name: String,
    /// Whether it is there: its state is `live` or `draining`.
    live: bool,
    /// `live`, `draining` (it leaves when its tasks have ended), `left` or `lost`.
    state: &'static str,
    /// The architecture of its machine.
    architecture: String,
    /// The profile under which fuel and results of tasks that are metered by fuel are defined.
    profile: String,
    /// That of tasks which are metered by epochs; null where it runs none.
    epoch_profile: Option<String>,
    /// Version of its binary.
    version: String,
    /// Thousandths of a core that it offers.
    cpu_millis: u32,
    /// Bytes of memory that it offers.
    memory_bytes: u64,
    /// Thousandths of a core in use.
    used_cpu_millis: u32,
    /// Bytes of memory in use.
    used_memory_bytes: u64,
    /// What it offers by name: so many of each.
    countables: BTreeMap<String, u32>,
    /// How many of those are in use; a name of which none is, is absent.
    used_countables: BTreeMap<String, u32>,
    /// Leases it holds.
    leases: u32,
    /// Fuel that one of its cores uses in a second.
    fuel_per_second: u64,
}

/// Something that happened, a line of `events`; what does not belong to it is absent.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Event {
    /// Index of the log entry that brought it.
    index: u64,
    /// Its place among the events of that entry.
    sub: u32,
    /// When, in Unix milliseconds.
    at_ms: u64,
    /// A stable word: `cluster_created`, `job_submitted`, `job_ended`, `job_paused`, `job_resumed`,
    /// `job_removed`, `agent_joined`, `agent_lost`, `agent_left`, `agent_draining`,
    /// `agent_drain_cancelled`, `weight_changed` or `name_changed`.
    event: &'static str,
    /// The same as a sentence.
    message: String,
    /// The cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// What the job or the agent is called, or the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whose job or name it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The namespace's weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    /// How many tasks the job has.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u32>,
    /// The job that is run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    /// How the job ended: `succeeded`, `failed` or `cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Its tasks that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded: Option<u32>,
    /// Its tasks that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsuccessful: Option<u32>,
    /// Where the name points now; absent once it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// A namespace: an entry of `namespace ls`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NamespaceLine {
    /// Its name.
    namespace: String,
    /// Its share beside the others, 1 to 1000.
    weight: u32,
    /// Jobs that have not ended.
    active_jobs: u32,
    /// Their tasks without a result.
    open_tasks: u64,
    /// How many tasks may run for it now.
    slots: u32,
}

impl From<&NamespaceView> for NamespaceLine {
    fn from(view: &NamespaceView) -> NamespaceLine {
        NamespaceLine {
            namespace: view.namespace.to_string(),
            weight: view.weight.get(),
            active_jobs: view.active_jobs,
            open_tasks: view.open_tasks,
            slots: view.slots,
        }
    }
}

impl Status {
    /// What the master at an address says of its cluster.
    pub(crate) fn new(status: &ClusterStatus, address: &str) -> Status {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Status {
            cluster: status.cluster.to_string(),
            master: address.to_owned(),
            version: status.version.clone(),
            term: status.term,
            applied_index: status.applied_index,
            state_hash: status.state_hash.clone(),
            commits: status.commits,
            commit_p50_us: us(status.commit_p50),
            commit_p99_us: us(status.commit_p99),
            active_jobs: status.active_jobs,
            open_tasks: status.open_tasks,
            feature_level: status.feature_level,
            members: Member::all(&status.members),
            agents: status.agents.iter().map(Agent::from).collect(),
        }
    }
}

impl Member {
    /// All masters.
    pub(crate) fn all(members: &[MemberView]) -> Vec<Member> {
        members.iter().zip(lags(members)).map(|(view, lag)| Member::new(view, lag)).collect()
    }

    fn new(view: &MemberView, lag: Option<u64>) -> Member {
        Member {
            node: view.node.to_string(),
            address: view.address.clone(),
            role: view.role.word(),
            leads: view.role == MemberRole::Leader,
            term: view.term,
            committed_index: view.committed_index,
            applied_index: view.applied_index,
            lag,
            version: view.version.clone(),
            clock_ahead_ms: view.clock_ahead_ms,
            feature_level: view.feature_level,
        }
    }
}

/// How far each is behind what is known to be committed; of one that is away nobody knows.
pub(crate) fn lags(members: &[MemberView]) -> Vec<Option<u64>> {
    let committed = members.iter().map(|member| member.committed_index).max().unwrap_or(0);
    let lag = |member: &MemberView| {
        let known = member.role != MemberRole::Away;
        known.then(|| committed.saturating_sub(member.applied_index))
    };
    members.iter().map(lag).collect()
}

impl From<&AgentView> for Agent {
    fn from(view: &AgentView) -> Agent {
        Agent {
            agent: view.agent.id.to_string(),
            name: view.agent.name.clone(),
            live: view.life.is_live(),
            state: view.life.word(),
            architecture: view.agent.architecture.clone(),
            profile: view.agent.profile.clone(),
            epoch_profile: view.agent.epoch_profile.clone(),
            version: view.agent.version.clone(),
            cpu_millis: view.agent.resources.cpu_millis,
            memory_bytes: view.agent.resources.memory_bytes,
            used_cpu_millis: view.used.cpu_millis,
            used_memory_bytes: view.used.memory_bytes,
            countables: counts(&view.agent.resources.countables),
            used_countables: counts(&view.used.countables),
            leases: view.leases,
            fuel_per_second: view.agent.fuel_per_second,
        }
    }
}

impl From<&ClusterEvent> for Event {
    fn from(event: &ClusterEvent) -> Event {
        let known = Event {
            index: event.position.index,
            sub: event.position.sub,
            at_ms: event.at_ms,
            event: event.happened.word(),
            message: event.happened.to_string(),
            ..Event::default()
        };
        match &event.happened {
            Happened::ClusterCreated(cluster) => {
                Event { cluster: Some(cluster.to_string()), ..known }
            }
            Happened::JobSubmitted { job, name, namespace, tasks, retry_of } => Event {
                job: Some(job.to_string()),
                name: Some(name.clone()),
                namespace: Some(namespace.to_string()),
                tasks: Some(*tasks),
                retry_of: retry_of.map(|job| job.to_string()),
                ..known
            },
            Happened::JobEnded { job, name, namespace, succeeded, unsuccessful, cancelled } => {
                let status = match (cancelled, unsuccessful) {
                    (true, _) => "cancelled",
                    (false, 0) => "succeeded",
                    (false, _) => "failed",
                };
                Event {
                    job: Some(job.to_string()),
                    name: Some(name.clone()),
                    namespace: Some(namespace.to_string()),
                    status: Some(status),
                    succeeded: Some(*succeeded),
                    unsuccessful: Some(*unsuccessful),
                    ..known
                }
            }
            Happened::JobPaused { job, name, namespace, tasks, .. } => Event {
                job: Some(job.to_string()),
                name: Some(name.clone()),
                namespace: Some(namespace.to_string()),
                tasks: Some(*tasks),
                ..known
            },
            Happened::WeightChanged { namespace, weight } => Event {
                namespace: Some(namespace.to_string()),
                weight: Some(weight.get()),
                ..known
            },
            Happened::JobRemoved(job) => Event { job: Some(job.to_string()), ..known },
            Happened::AgentJoined { agent, name }
            | Happened::AgentLost { agent, name }
            | Happened::AgentLeft { agent, name }
            | Happened::AgentDrained { agent, name, .. } => {
                Event { agent: Some(agent.to_string()), name: Some(name.clone()), ..known }
            }
            Happened::NameChanged { namespace, name, target } => Event {
                name: Some(name.to_string()),
                namespace: Some(namespace.to_string()),
                target: target.map(|target| target.to_string()),
                ..known
            },
        }
    }
}
