//! The replicated state: a tree of shared nodes, copied on write.
//!
//! Cloning it copies roots, so readers and snapshots keep an old state while new commands go on.
//! What is known of a stage is in [`crate::stage`]. It changes only in [`crate::apply`]; the next
//! stop is there.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use weir_proto::{
    agent::AgentDescription,
    event::{ClusterEvent, Happened, Position},
    id::{AgentId, ClusterId, JobId, Namespace, NodeId, RequestId, StageId},
    job::{InputSource, JobSpec, StageSpec},
    name::Name,
    weight::Weight,
};

use crate::{members::Member, stage::Stage};

/// Most jobs of a namespace that have not ended; more are refused.
pub const MAX_ACTIVE_JOBS: u32 = 10_000;
/// Most tasks without a result in a namespace; more are refused.
pub const MAX_OPEN_TASKS: u64 = 100_000_000;
/// Most jobs that are kept after their end, over all namespaces; the oldest are forgotten.
pub const MAX_ENDED_JOBS: usize = 20_000;
/// Most agents the cluster knows, lost ones included.
pub const MAX_AGENTS: usize = 10_000;
/// Most names, over all namespaces.
pub const MAX_NAMES: usize = 100_000;
/// Most namespaces with a weight of their own.
pub const MAX_WEIGHTS: usize = 10_000;
/// How many of the newest events are kept.
pub const MAX_EVENTS: usize = 4_096;
/// A task that loses this many agents is not tried again.
pub const MAX_AGENT_LOSSES: u32 = 3;
/// Tasks that may be leased right after a job was accepted, before a further commit.
pub const FIRST_LEASED_THROUGH: u32 = 1024;

/// Everything the masters agree on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterState {
    /// The index of the last applied log entry.
    pub applied: u64,
    /// The cluster's name; absent before its first command.
    pub cluster: Option<ClusterId>,
    /// The masters.
    pub members: OrdMap<NodeId, Member>,
    /// The highest number that a master ever had: none is given twice.
    pub last_node: u64,
    /// What all masters can do, at most [`weir_proto::feature::FEATURE_LEVEL`].
    pub feature_level: u32,
    /// Time of the newest command, Unix milliseconds; never goes back.
    pub now_ms: u64,
    /// The number of jobs ever accepted.
    pub last_job: u64,
    /// Agents that registered.
    pub agents: OrdMap<AgentId, AgentRecord>,
    /// Jobs, the ended ones until they are forgotten.
    pub jobs: OrdMap<JobId, Arc<Job>>,
    /// What names point at.
    pub names: OrdMap<(Namespace, Name), NameRecord>,
    /// Shares of namespaces, where they are not 1.
    pub weights: OrdMap<Namespace, Weight>,
    /// What happened last, oldest first; at most `MAX_EVENTS`.
    pub events: Vector<ClusterEvent>,
    /// Derived: jobs that have not ended.
    pub active: OrdSet<JobId>,
    /// Derived: which job a request made.
    pub requests: OrdMap<RequestId, JobId>,
    /// Derived: what each namespace has open; absent when nothing.
    pub backlog: OrdMap<Namespace, Backlog>,
}

/// What a namespace has open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Jobs that have not ended.
    pub jobs: u32,
    /// Tasks without a result.
    pub tasks: u64,
}

/// What a name points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRecord {
    /// A blob or tree; it was in the store when the name was pointed at it.
    pub target: InputSource,
    /// When the name was last pointed somewhere, Unix milliseconds.
    pub set_ms: u64,
}

/// An agent that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// What it said of itself.
    pub description: AgentDescription,
    /// What became of it.
    pub life: AgentLife,
    /// Whether it gets no more tasks, and leaves when those it has have ended.
    pub draining: bool,
}

/// What became of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentLife {
    /// It registered, and neither left nor was lost since.
    Live {
        /// When it registered, Unix milliseconds.
        since_ms: u64,
    },
    /// The leader gave it up.
    Lost {
        /// When, Unix milliseconds.
        since_ms: u64,
    },
    /// It stopped, and said so.
    Left {
        /// When, Unix milliseconds.
        since_ms: u64,
    },
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// The request that made it.
    pub request: RequestId,
    /// When it was accepted, Unix milliseconds.
    pub submitted_ms: u64,
    /// Whether it goes on.
    pub life: JobLife,
    /// One for each stage of the spec.
    pub stages: Vec<Arc<Stage>>,
    /// The job whose successful results it began with.
    pub retry_of: Option<JobId>,
}

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobLife {
    /// Some task has no result.
    Active,
    /// Every task has a result.
    Ended {
        /// When, Unix milliseconds.
        at_ms: u64,
        /// Whether somebody cancelled it.
        cancelled: bool,
    },
}

impl Job {
    /// Tasks of all stages.
    pub fn tasks(&self) -> u32 {
        self.spec.stages.iter().fold(0, |sum: u32, stage| sum.saturating_add(stage.count))
    }

    /// Whether it goes on.
    pub fn is_active(&self) -> bool {
        matches!(self.life, JobLife::Active)
    }
}

impl ClusterState {
    /// A stage and its spec, if its job is known.
    pub fn stage(&self, id: StageId) -> Option<(&Stage, &StageSpec)> {
        let job = self.jobs.get(&id.job)?;
        Some((job.stages.get(id.stage as usize)?, job.spec.stages.get(id.stage as usize)?))
    }

    /// A namespace's share of the cluster.
    pub fn weight(&self, namespace: &Namespace) -> Weight {
        self.weights.get(namespace).copied().unwrap_or_default()
    }

    /// Stages of jobs that have not ended.
    pub fn active_stages(&self) -> impl Iterator<Item = StageId> + '_ {
        self.active.iter().flat_map(|job| {
            let stages = self.jobs[job].stages.len() as u32;
            (0..stages).map(|stage| StageId { job: *job, stage })
        })
    }

    /// Remembers what happened, and forgets what happened long ago.
    pub(crate) fn record(&mut self, happened: Happened) {
        let index = self.applied;
        let last = self.events.last().map(|event| event.position);
        let sub = last.filter(|last| last.index == index).map_or(0, |last| last.sub + 1);
        let position = Position { index, sub };
        self.events.push_back(ClusterEvent { position, at_ms: self.now_ms, happened });
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }

    /// Whether an agent that is known gets no more tasks.
    pub fn is_draining(&self, agent: AgentId) -> bool {
        self.agents.get(&agent).is_some_and(|agent| agent.draining)
    }

    /// Agents that registered, and have neither left nor been lost since.
    pub fn live_agents(&self) -> impl Iterator<Item = &AgentRecord> {
        self.agents.values().filter(|agent| matches!(agent.life, AgentLife::Live { .. }))
    }

    /// What must hold between any two commands; for tests.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check_invariants(&self) {
        let mut backlog: OrdMap<Namespace, Backlog> = OrdMap::new();
        for (id, job) in &self.jobs {
            assert_eq!(*id, job.id);
            assert_eq!(job.stages.len(), job.spec.stages.len());
            assert_eq!(self.requests.get(&job.request), Some(id), "{id} lost its request");
            assert_eq!(self.active.contains(id), job.is_active(), "{id} is active or it is not");
            let mut open = 0;
            for (stage, spec) in job.stages.iter().zip(&job.spec.stages) {
                stage.check_invariants(spec.count);
                for granted in stage.granted.values() {
                    assert!(spec.once && job.is_active(), "{id} has tasks that may run again");
                    let live = self.live_agents().any(|a| a.description.id == granted.agent);
                    assert!(live, "{} is gone and has tasks of {id}", granted.agent);
                }
                open += u64::from(spec.count - stage.done.len());
            }
            assert_eq!(open > 0, job.is_active(), "{id} ends with its last task");
            if job.is_active() {
                let backlog = backlog.entry(job.spec.namespace.clone()).or_default();
                backlog.jobs += 1;
                backlog.tasks += open;
            }
        }
        assert_eq!(self.requests.len(), self.jobs.len());
        assert_eq!(self.backlog, backlog);
        assert!(self.jobs.len() - self.active.len() <= MAX_ENDED_JOBS);
        assert!(self.weights.values().all(|weight| *weight != Weight::default()));
        assert!(self.weights.len() <= MAX_WEIGHTS);
        assert!(self.names.len() <= MAX_NAMES && self.events.len() <= MAX_EVENTS);
        let positions = self.events.iter().map(|event| event.position);
        assert!(positions.is_sorted_by(|a, b| a < b), "events are in the order of the log");
    }
}
