//! What masters agree on: one command is one entry of the Raft log.
//!
//! `weir-scheduler` applies them. A command carries the time at which its leader proposed it,
//! because whoever applies it has no clock.

use prost::Message;

use crate::{
    agent::{AgentDescription, tasks_from_wire, tasks_to_wire},
    feature::FEATURE_LEVEL,
    id::{
        AgentId, ClusterId, Incarnation, JobId, LeaseId, Namespace, NodeId, RequestId, StageId,
        TaskId,
    },
    job::JobSpec,
    malformed::{Malformed, required},
    name::SetName,
    range::{RangeSet, TaskRange},
    weight::{Weight, weight_from_wire, weight_to_wire},
    wire,
};

/// The newest version of commands this binary writes and reads. A command has the lowest version
/// that knows it, so that a master which is not upgraded yet reads what it can.
pub const COMMAND_VERSION: u32 = 2;

/// A change of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Unix time in milliseconds, stamped by the leader.
    pub now_ms: u64,
    /// What changes.
    pub change: Change,
}

/// What a command changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Names the cluster; the first command of a log.
    CreateCluster(ClusterId),
    /// Accepts a job.
    SubmitJob {
        /// The same request makes one job.
        request: RequestId,
        /// The job.
        spec: JobSpec,
    },
    /// Ends a job; its unfinished tasks are cancelled.
    CancelJob(JobId),
    /// Admits an agent, or a new incarnation of one.
    RegisterAgent(AgentDescription),
    /// An agent is gone.
    AgentLost {
        /// Which.
        agent: AgentId,
        /// Tasks that had started there.
        suspects: Vec<TaskId>,
    },
    /// An agent said that nothing runs there any more.
    AgentLeft {
        /// Which.
        agent: AgentId,
        /// Tasks that run at most once and have begun there; whatever else it has is free.
        abandoned: Vec<(LeaseId, RangeSet)>,
    },
    /// Lets an agent get no more tasks, and leave when those it has have ended; or go on.
    DrainAgent {
        /// Which.
        agent: AgentId,
        /// Whether it is to leave.
        draining: bool,
    },
    /// What one core of an agent burns in a second, measured again.
    CalibrateAgent {
        /// Which.
        agent: AgentId,
        /// The fuel.
        fuel_per_second: u64,
    },
    /// Lets tasks of an active job stand still, or go on.
    PauseTasks {
        /// The job.
        job: JobId,
        /// Which of its tasks; none means all.
        tasks: RangeSet,
        /// Whether they stand still.
        paused: bool,
    },
    /// Results.
    CommitPages {
        /// Who ran the tasks.
        agent: AgentId,
        /// Encoded pages.
        pages: Vec<Vec<u8>>,
    },
    /// Tasks below this mark may be out on leases.
    ExtendLeases {
        /// Of this stage.
        stage: StageId,
        /// The new mark.
        leased_through: u32,
    },
    /// Lends tasks that run at most once. It is refused when the agent is no longer in this life, or
    /// somebody has one of the tasks.
    GrantOnce {
        /// The lease they come with.
        lease: LeaseId,
        /// Their stage.
        stage: StageId,
        /// The tasks.
        range: TaskRange,
        /// Who gets them.
        agent: AgentId,
        /// In which life.
        incarnation: Incarnation,
        /// On which connection of that life: what an earlier one tells says nothing of this lease.
        connection: u64,
    },
    /// Tasks that run at most once and have not begun are free for others.
    ReturnOnce {
        /// The lease they came with.
        lease: LeaseId,
        /// Their stage.
        stage: StageId,
        /// The tasks.
        tasks: RangeSet,
    },
    /// Accepts a job that runs again what did not succeed in an ended one.
    RetryJob {
        /// The same request makes one job.
        request: RequestId,
        /// The ended job.
        job: JobId,
    },
    /// Forgets an ended job.
    RemoveJob(JobId),
    /// Points a name at something, or removes it.
    SetName(SetName),
    /// Gives a namespace another share of the cluster.
    SetWeight {
        /// Which.
        namespace: Namespace,
        /// Its weight from now on.
        weight: Weight,
    },
    /// Tells where a master is reached from now on, and which data it has.
    SetAddress {
        /// Which.
        node: NodeId,
        /// `host:port`.
        address: String,
        /// Drawn when its data directory was made; 0 before it was told.
        data: u64,
    },
    /// Lets the masters rely on what this feature level says, at most `FEATURE_LEVEL`.
    RaiseFeatureLevel(u32),
}

impl Command {
    /// The command as a log entry's bytes.
    pub fn encode(self) -> Vec<u8> {
        use wire::command::Body;
        let body = match self.change {
            Change::CreateCluster(cluster) => {
                Body::CreateCluster(wire::CreateCluster { cluster: cluster.0 })
            }
            Change::SubmitJob { request, spec } => Body::SubmitJob(wire::SubmitJob {
                request: request.0.to_vec(),
                spec: Some(spec.into()),
            }),
            Change::CancelJob(job) => Body::CancelJob(wire::CancelJob { job: job.0 }),
            Change::RegisterAgent(agent) => {
                Body::RegisterAgent(wire::RegisterAgent { agent: Some(agent.into()) })
            }
            Change::AgentLost { agent, suspects } => {
                let suspects = suspects.into_iter().map(|task| wire::TaskIndex {
                    job: task.stage.job.0,
                    stage: task.stage.stage,
                    index: task.index,
                });
                Body::AgentLost(wire::AgentLost { agent: agent.0, suspects: suspects.collect() })
            }
            Change::AgentLeft { agent, abandoned } => {
                let abandoned = tasks_to_wire(abandoned);
                Body::AgentLeft(wire::AgentLeft { agent: agent.0, abandoned })
            }
            Change::DrainAgent { agent, draining } => {
                Body::DrainAgent(wire::DrainAgent { agent: agent.0, draining })
            }
            Change::CalibrateAgent { agent, fuel_per_second } => {
                Body::CalibrateAgent(wire::CalibrateAgent { agent: agent.0, fuel_per_second })
            }
            Change::PauseTasks { job, tasks, paused } => {
                Body::PauseTasks(wire::PauseTasks { job: job.0, tasks: tasks.to_wire(), paused })
            }
            Change::CommitPages { agent, pages } => {
                Body::CommitPages(wire::CommitPages { agent: agent.0, pages })
            }
            Change::ExtendLeases { stage, leased_through } => {
                Body::ExtendLeases(wire::ExtendLeases {
                    job: stage.job.0,
                    stage: stage.stage,
                    leased_through,
                })
            }
            Change::GrantOnce { lease, stage, range, agent, incarnation, connection } => {
                Body::GrantOnce(wire::GrantOnce {
                    lease: Some(lease.into()),
                    job: stage.job.0,
                    stage: stage.stage,
                    range: Some(range.into()),
                    agent: agent.0,
                    incarnation: incarnation.0,
                    connection,
                })
            }
            Change::ReturnOnce { lease, stage, tasks } => Body::ReturnOnce(wire::ReturnOnce {
                lease: Some(lease.into()),
                job: stage.job.0,
                stage: stage.stage,
                tasks: tasks.to_wire(),
            }),
            Change::RetryJob { request, job } => {
                Body::RetryJob(wire::RetryJob { request: request.0.to_vec(), job: job.0 })
            }
            Change::RemoveJob(job) => Body::RemoveJob(wire::RemoveJob { job: job.0 }),
            Change::SetName(set) => Body::SetName(set.into()),
            Change::SetWeight { namespace, weight } => {
                Body::SetWeight(weight_to_wire(&namespace, weight))
            }
            Change::SetAddress { node, address, data } => {
                Body::SetAddress(wire::SetAddress { node: node.0, address, data })
            }
            Change::RaiseFeatureLevel(level) => {
                Body::RaiseFeatureLevel(wire::RaiseFeatureLevel { level })
            }
        };
        let version = if matches!(body, Body::RaiseFeatureLevel(_)) { 2 } else { 1 };
        wire::Command { version, now_ms: self.now_ms, body: Some(body) }.encode_to_vec()
    }

    /// Reads a log entry's bytes.
    ///
    /// # Errors
    /// `TooNew` or `FeatureLevel` when a newer Weir wrote it, otherwise what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Command, Malformed> {
        use wire::command::Body;
        let wire = wire::Command::decode(bytes)
            .map_err(|source| Malformed::Undecodable { what: "command", source })?;
        if wire.version > COMMAND_VERSION {
            let (found, known) = (wire.version, COMMAND_VERSION);
            return Err(Malformed::TooNew { what: "command", found, known });
        }
        let change = match required(wire.body, "a command's body")? {
            Body::CreateCluster(wire::CreateCluster { cluster }) => {
                Change::CreateCluster(ClusterId(cluster))
            }
            Body::SubmitJob(wire::SubmitJob { request, spec }) => Change::SubmitJob {
                request: RequestId::try_from(&request[..])?,
                spec: required(spec, "a job's spec")?.try_into().map_err(
                    |problems: crate::job::SpecProblems| {
                        Malformed::invalid("a job's spec", problems.to_string())
                    },
                )?,
            },
            Body::CancelJob(wire::CancelJob { job }) => Change::CancelJob(JobId(job)),
            Body::RegisterAgent(wire::RegisterAgent { agent }) => {
                Change::RegisterAgent(required(agent, "an agent's description")?.try_into()?)
            }
            Body::AgentLost(wire::AgentLost { agent, suspects }) => Change::AgentLost {
                agent: AgentId(agent),
                suspects: suspects
                    .into_iter()
                    .map(|task| {
                        StageId { job: JobId(task.job), stage: task.stage }.task(task.index)
                    })
                    .collect(),
            },
            Body::AgentLeft(wire::AgentLeft { agent, abandoned }) => {
                Change::AgentLeft { agent: AgentId(agent), abandoned: tasks_from_wire(abandoned)? }
            }
            Body::DrainAgent(wire::DrainAgent { agent, draining }) => {
                Change::DrainAgent { agent: AgentId(agent), draining }
            }
            Body::CalibrateAgent(wire::CalibrateAgent { agent, fuel_per_second }) => {
                Change::CalibrateAgent { agent: AgentId(agent), fuel_per_second }
            }
            Body::PauseTasks(wire::PauseTasks { job, tasks, paused }) => {
                let tasks = RangeSet::from_wire(&tasks)?;
                Change::PauseTasks { job: JobId(job), tasks, paused }
            }
            Body::CommitPages(wire::CommitPages { agent, pages }) => {
                Change::CommitPages { agent: AgentId(agent), pages }
            }
            Body::ExtendLeases(wire::ExtendLeases { job, stage, leased_through }) => {
                let stage = StageId { job: JobId(job), stage };
                Change::ExtendLeases { stage, leased_through }
            }
            Body::GrantOnce(grant) => Change::GrantOnce {
                lease: required(grant.lease, "a lease's id")?.into(),
                stage: StageId { job: JobId(grant.job), stage: grant.stage },
                range: TaskRange::try_from(required(grant.range, "a lease's range")?)?,
                agent: AgentId(grant.agent),
                incarnation: Incarnation(grant.incarnation),
                connection: grant.connection,
            },
            Body::ReturnOnce(wire::ReturnOnce { lease, job, stage, tasks }) => Change::ReturnOnce {
                lease: required(lease, "a lease's id")?.into(),
                stage: StageId { job: JobId(job), stage },
                tasks: RangeSet::from_wire(&tasks)?,
            },
            Body::RetryJob(wire::RetryJob { request, job }) => {
                Change::RetryJob { request: RequestId::try_from(&request[..])?, job: JobId(job) }
            }
            Body::RemoveJob(wire::RemoveJob { job }) => Change::RemoveJob(JobId(job)),
            Body::SetName(set) => Change::SetName(set.try_into()?),
            Body::SetWeight(set) => {
                let (namespace, weight) = weight_from_wire(set)?;
                Change::SetWeight { namespace, weight }
            }
            Body::SetAddress(wire::SetAddress { node, address, data }) => {
                Change::SetAddress { node: NodeId(node), address, data }
            }
            Body::RaiseFeatureLevel(wire::RaiseFeatureLevel { level }) => {
                if level > FEATURE_LEVEL {
                    return Err(Malformed::FeatureLevel { found: level, known: FEATURE_LEVEL });
                }
                Change::RaiseFeatureLevel(level)
            }
        };
        Ok(Command { now_ms: wire.now_ms, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_back_as_it_was_written() {
        let stage = StageId { job: JobId(4), stage: 0 };
        for change in [
            Change::CreateCluster(ClusterId(9)),
            Change::CancelJob(JobId(2)),
            Change::AgentLost { agent: AgentId(1), suspects: vec![stage.task(3)] },
            Change::AgentLeft {
                agent: AgentId(1),
                abandoned: vec![(LeaseId { term: 2, seq: 9 }, RangeSet::below(3))],
            },
            Change::PauseTasks { job: JobId(2), tasks: RangeSet::below(3), paused: true },
            Change::DrainAgent { agent: AgentId(1), draining: true },
            Change::CalibrateAgent { agent: AgentId(1), fuel_per_second: 7 },
            Change::CommitPages { agent: AgentId(1), pages: vec![vec![1, 2, 3]] },
            Change::ExtendLeases { stage, leased_through: 77 },
            Change::GrantOnce {
                lease: LeaseId { term: 2, seq: 9 },
                stage,
                range: TaskRange::new(3, 5),
                agent: AgentId(1),
                incarnation: Incarnation(7),
                connection: 3,
            },
            Change::ReturnOnce {
                lease: LeaseId { term: 2, seq: 9 },
                stage,
                tasks: RangeSet::below(3),
            },
            Change::RetryJob { request: RequestId([3; 16]), job: JobId(2) },
            Change::RemoveJob(JobId(2)),
            Change::SetWeight {
                namespace: Namespace::default_namespace(),
                weight: Weight::default(),
            },
            Change::SetAddress { node: NodeId(2), address: "10.0.0.2:7400".to_owned(), data: 7 },
            Change::RaiseFeatureLevel(FEATURE_LEVEL),
        ] {
            let command = Command { now_ms: 5, change };
            assert_eq!(Command::decode(&command.clone().encode()), Ok(command));
        }
    }

    #[test]
    fn a_command_of_a_newer_weir_is_refused() {
        let wire = wire::Command { version: COMMAND_VERSION + 1, now_ms: 0, body: None };
        let refused = Command::decode(&wire.encode_to_vec());
        assert!(matches!(refused, Err(Malformed::TooNew { .. })));
        let change = Change::RaiseFeatureLevel(FEATURE_LEVEL + 1);
        let refused = Command::decode(&Command { now_ms: 0, change }.encode());
        assert!(matches!(refused, Err(Malformed::FeatureLevel { .. })));
    }
}
