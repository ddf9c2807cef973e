//! Applies committed commands: every master, the same commands, the same order, the same state.

mod agents;
mod jobs;
mod names;
mod once;
mod pages;
mod restored;
mod weights;

use std::{collections::BTreeMap, sync::Arc};

use weir_proto::{
    command::{Change, Command},
    digest::Digest,
    event::Happened,
    id::{AgentId, ClusterId, JobId, LeaseId, Namespace, RequestId, StageId},
    job::InputSource,
    name::Name,
    outcome::Outcome,
    range::{RangeSet, TaskRange},
};

pub use restored::restored;

use crate::{
    members,
    stage::{Granted, Stage, Verdict},
    state::{ClusterState, MAX_ACTIVE_JOBS, MAX_AGENTS, MAX_NAMES, MAX_OPEN_TASKS, MAX_WEIGHTS},
    times::Times,
};

/// What follows from a command, for whoever acts on it. It may be lost or repeated: the state is
/// what counts, and a new leader derives the same work from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The request is answered by this job, new or not.
    Submitted {
        /// What the client drew.
        request: RequestId,
        /// The job it made.
        job: JobId,
    },
    /// A job's tasks may be leased.
    JobStarted(JobId),
    /// Tasks have a result.
    Done {
        /// Their stage.
        stage: StageId,
        /// The tasks.
        tasks: RangeSet,
        /// What they used, for whoever measures.
        used: Used,
    },
    /// Tasks failed, and are to be run again.
    Retried {
        /// Their stage.
        stage: StageId,
        /// The tasks.
        tasks: RangeSet,
    },
    /// The bytes of a page that state now names must be kept.
    KeepPage {
        /// Whose result it is.
        namespace: Namespace,
        /// Its name.
        digest: Digest,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// More tasks of a stage may be leased.
    LeasesExtended(StageId),
    /// Tasks that run at most once have not begun, and nobody has them any more.
    OnceReturned {
        /// Their stage.
        stage: StageId,
        /// The tasks.
        tasks: RangeSet,
    },
    /// Tasks of a job stand still, or go on.
    Paused(JobId),
    /// A namespace has another share of the cluster.
    WeightChanged(Namespace),
    /// Every task of a job has a result.
    JobEnded(JobId),
    /// A job is no longer known.
    JobForgotten(JobId),
    /// An agent may get leases.
    AgentRegistered(AgentId),
    /// An agent has no leases any more: it was lost, or it left.
    AgentGone(AgentId),
    /// An agent is to leave, or to go on after all.
    AgentDrained {
        /// Which.
        agent: AgentId,
        /// Whether it is to leave.
        draining: bool,
    },
    /// An agent is faster or slower than was known.
    AgentCalibrated {
        /// Which.
        agent: AgentId,
        /// What one of its cores burns in a second.
        fuel_per_second: u64,
    },
}

/// What the tasks of an effect used, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// How many had which outcome, by its number on the wire.
    pub outcomes: BTreeMap<u8, u32>,
    /// Fuel.
    pub fuel: u64,
    /// Wall times of those that ran.
    pub times: Times,
}

/// Why a command was refused; state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The cluster has a name already.
    #[error("this log belongs to {0}")]
    ClusterExists(ClusterId),
    /// No such job, or it was forgotten.
    #[error("{0} is not known: it never existed, or ended so long ago that it was forgotten")]
    UnknownJob(JobId),
    /// No such stage in its job.
    #[error("{0} is not known")]
    UnknownStage(StageId),
    /// No such agent.
    #[error("{0} is not known")]
    UnknownAgent(AgentId),
    /// The namespace has as many active jobs as it may.
    #[error(
        "namespace {namespace} has {jobs} active jobs, and at most {MAX_ACTIVE_JOBS} are allowed; \
         wait for some to end or cancel them"
    )]
    TooManyJobs {
        /// The namespace.
        namespace: Namespace,
        /// Its active jobs.
        jobs: u32,
    },
    /// The namespace would have more open tasks than it may.
    #[error(
        "namespace {namespace} has {open} tasks without a result; {more} more would be above the \
         {MAX_OPEN_TASKS} allowed; wait for some to end or cancel them"
    )]
    TooManyTasks {
        /// The namespace.
        namespace: Namespace,
        /// Its open tasks.
        open: u64,
        /// What the job would add.
        more: u64,
    },
    /// The job has ended.
    #[error("{0} has ended: only tasks without a result can be paused or go on")]
    HasEnded(JobId),
    /// The job goes on.
    #[error("{0} is still active; wait for its end, or cancel it")]
    StillActive(JobId),
    /// There is nothing to run again.
    #[error("every task of {0} succeeded, so there is nothing to retry")]
    NothingToRetry(JobId),
    /// There is no such name to remove.
    #[error("there is no name {name} in namespace {namespace}")]
    UnknownName {
        /// Whose name it would be.
        namespace: Namespace,
        /// The name.
        name: Name,
    },
    /// The name does not point where it was expected to.
    #[error("name {name} {}, which is not as expected; look again", told(.points_at))]
    NameConflict {
        /// The name.
        name: Name,
        /// Where it points.
        points_at: Option<InputSource>,
    },
    /// There are as many names as there can be.
    #[error("there are {MAX_NAMES} names, which is as many as there can be; remove some")]
    TooManyNames,
    /// Somebody has one of the tasks, or the agent that was to get them is gone.
    #[error("{lease} cannot have these tasks of {stage}, which run at most once")]
    NotGranted {
        /// The lease.
        lease: LeaseId,
        /// Their stage.
        stage: StageId,
    },
    /// As many namespaces as can have one have a weight of their own.
    #[error(
        "{MAX_WEIGHTS} namespaces have a weight of their own, which is as many as can; give some \
         weight 1"
    )]
    TooManyWeights,
    /// The agent was lost, or has left.
    #[error("{0} is gone: only an agent that is there can be drained")]
    AgentGone(AgentId),
    /// The cluster knows as many agents as it can.
    #[error("the cluster knows {MAX_AGENTS} agents, which is as many as it can")]
    TooManyAgents,
}

fn told(target: &Option<InputSource>) -> String {
    match target {
        Some(target) => format!("points at {target}"),
        None => "does not exist".to_owned(),
    }
}

/// Applies one committed command; returns the work that follows, or why it was refused.
///
/// Nothing below reads a clock, draws a random number or performs I/O: time arrives inside the
/// command, stamped by the leader that proposed it. A refused command changes only `applied` and
/// `now_ms`. Nothing asserts on a command's content.
pub fn apply(
    state: &mut ClusterState,
    command: Command,
    index: u64,
) -> Result<Vec<Effect>, Rejection> {
    state.applied = index;
    state.now_ms = state.now_ms.max(command.now_ms);
    match command.change {
        Change::CreateCluster(cluster) => create_cluster(state, cluster),
        Change::SubmitJob { request, spec } => jobs::submit(state, request, spec),
        Change::CancelJob(job) => jobs::cancel(state, job),
        Change::RetryJob { request, job } => jobs::retry(state, request, job),
        Change::RemoveJob(job) => jobs::remove(state, job),
        Change::RegisterAgent(description) => agents::register(state, description),
        Change::AgentLost { agent, suspects } => agents::lose(state, agent, &suspects),
        Change::AgentLeft { agent, abandoned } => agents::leave(state, agent, &abandoned),
        Change::DrainAgent { agent, draining } => agents::drain(state, agent, draining),
        Change::CalibrateAgent { agent, fuel_per_second } => {
            agents::calibrate(state, agent, fuel_per_second)
        }
        Change::PauseTasks { job, tasks, paused } => jobs::pause(state, job, &tasks, paused),
        Change::CommitPages { pages, .. } => Ok(pages::commit(state, pages)),
        Change::ExtendLeases { stage, leased_through } => extend(state, stage, leased_through),
        Change::GrantOnce { lease, stage, range, agent, incarnation, connection } => {
            let granted = Granted { agent, connection, tasks: [range].into_iter().collect() };
            once::grant(state, lease, stage, granted, incarnation)
        }
        Change::ReturnOnce { lease, stage, tasks } => once::give_back(state, lease, stage, &tasks),
        Change::SetName(set) => names::set(state, set),
        Change::SetWeight { namespace, weight } => weights::set(state, namespace, weight),
        Change::SetAddress { node, address, data } => {
            members::introduce(state, node, address, data);
            Ok(Vec::new())
        }
        Change::RaiseFeatureLevel(level) => {
            // Two may have asked at once, and a level is never lowered.
            state.feature_level = state.feature_level.max(level);
            Ok(Vec::new())
        }
    }
}

fn create_cluster(state: &mut ClusterState, cluster: ClusterId) -> Result<Vec<Effect>, Rejection> {
    match state.cluster {
        Some(existing) => Err(Rejection::ClusterExists(existing)),
        None => {
            state.cluster = Some(cluster);
            state.record(Happened::ClusterCreated(cluster));
            Ok(Vec::new())
        }
    }
}

fn extend(
    state: &mut ClusterState,
    id: StageId,
    leased_through: u32,
) -> Result<Vec<Effect>, Rejection> {
    let Some((_, spec)) = state.stage(id) else { return Err(Rejection::UnknownStage(id)) };
    let leased_through = leased_through.min(spec.count);
    let Some(stage) = stage_mut(state, id) else { return Err(Rejection::UnknownStage(id)) };
    stage.leased_through = stage.leased_through.max(leased_through);
    Ok(vec![Effect::LeasesExtended(id)])
}

/// Gives tasks without a result an outcome that no sandbox gave.
fn give_verdict(
    state: &mut ClusterState,
    id: StageId,
    range: TaskRange,
    outcome: Outcome,
    effects: &mut Vec<Effect>,
) {
    let index = state.applied;
    let outcomes = BTreeMap::from([(outcome.wire_number(), range.len())]);
    let Some(stage) = stage_mut(state, id) else { return };
    stage.count_cause(outcome.cause(), range.len(), range.start);
    stage.add_verdict(Verdict { index, range, outcome });
    close_tasks(state, id.job, range.len());
    let used = Used { outcomes, ..Used::default() };
    effects.push(Effect::Done { stage: id, tasks: [range].into_iter().collect(), used });
}

fn close_tasks(state: &mut ClusterState, job: JobId, tasks: u32) {
    let namespace = &state.jobs[&job].spec.namespace;
    if let Some(backlog) = state.backlog.get_mut(namespace) {
        backlog.tasks -= u64::from(tasks);
    }
}

fn stage_mut(state: &mut ClusterState, id: StageId) -> Option<&mut Stage> {
    let job = Arc::make_mut(state.jobs.get_mut(&id.job)?);
    job.stages.get_mut(id.stage as usize).map(Arc::make_mut)
}

#[cfg(test)]
mod tests;
