//! The replicated state: a tree of shared nodes, copied on write.
//!
//! Cloning it copies roots, so readers and snapshots keep an old state while new commands go on.
//! It changes only in [`crate::apply`]; the next stop is there.

use std::{collections::BTreeMap, sync::Arc};

use imbl::{OrdMap, OrdSet, Vector};
use weir_proto::{
    agent::AgentDescription,
    digest::Digest,
    id::{AgentId, ClusterId, JobId, Namespace, RequestId, StageId},
    job::{JobSpec, StageSpec},
    outcome::Outcome,
    range::{RangeSet, TaskRange},
};

/// Most jobs of a namespace that have not ended; more are refused.
pub const MAX_ACTIVE_JOBS: u32 = 10_000;
/// Most tasks without a result in a namespace; more are refused.
pub const MAX_OPEN_TASKS: u64 = 100_000_000;
/// Most jobs that are kept after their end, over all namespaces; the oldest are forgotten.
pub const MAX_ENDED_JOBS: usize = 20_000;
/// Most agents the cluster knows, lost ones included.
pub const MAX_AGENTS: usize = 10_000;
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
    /// Time of the newest command, Unix milliseconds; never goes back.
    pub now_ms: u64,
    /// The number of jobs ever accepted.
    pub last_job: u64,
    /// Agents that registered.
    pub agents: OrdMap<AgentId, AgentRecord>,
    /// Jobs, the ended ones until they are forgotten.
    pub jobs: OrdMap<JobId, Arc<Job>>,
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

/// An agent that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRecord {
    /// What it said of itself.
    pub description: AgentDescription,
    /// What became of it.
    pub life: AgentLife,
}

/// What became of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentLife {
    /// It registered and was not lost since.
    Live {
        /// When it registered, Unix milliseconds.
        since_ms: u64,
    },
    /// The leader gave it up.
    Lost {
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

/// How far an array of tasks is: ranges and sums, nothing for a single task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// Tasks below this mark may be out on leases that only their agents know of.
    pub leased_through: u32,
    /// Committed pages, in the order of the log.
    pub pages: Vector<PageRef>,
    /// Outcomes that no sandbox gave, in the order of the log.
    pub verdicts: Vec<Verdict>,
    /// How many agents were lost while they ran a task; only tasks that lost one.
    pub losses: BTreeMap<u32, u32>,
    /// Derived: tasks with a result.
    pub done: RangeSet,
    /// Derived: tasks that succeeded.
    pub succeeded: u32,
    /// Derived: fuel of all results.
    pub fuel: u64,
    /// Derived: largest peak of memory among the results, in bytes.
    pub peak_memory_bytes: u64,
}

/// A committed page; its bytes are in the store, or in the log since the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The log entry that brought it.
    pub index: u64,
    /// The tasks it covers.
    pub range: TaskRange,
    /// The name of its bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size_bytes: u64,
    /// The tasks of which it was the first result; never empty.
    pub accepted: RangeSet,
    /// How many of those succeeded.
    pub succeeded: u32,
    /// Fuel of those.
    pub fuel: u64,
    /// Largest peak of memory among those, in bytes.
    pub peak_memory_bytes: u64,
}

/// An outcome that the scheduler gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The log entry that brought it.
    pub index: u64,
    /// The tasks that end so.
    pub range: TaskRange,
    /// The outcome.
    pub outcome: Outcome,
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

impl Stage {
    /// The tasks of an array of `count` that have no result.
    pub fn open(&self, count: u32) -> RangeSet {
        let mut open = RangeSet::below(count);
        open.remove_all(&self.done);
        open
    }

    /// Tasks that ended without success.
    pub fn failed(&self) -> u32 {
        self.done.len() - self.succeeded
    }
}

impl ClusterState {
    /// A stage and its spec, if its job is known.
    pub fn stage(&self, id: StageId) -> Option<(&Stage, &StageSpec)> {
        let job = self.jobs.get(&id.job)?;
        Some((job.stages.get(id.stage as usize)?, job.spec.stages.get(id.stage as usize)?))
    }

    /// Stages of jobs that have not ended.
    pub fn active_stages(&self) -> impl Iterator<Item = StageId> + '_ {
        self.active.iter().flat_map(|job| {
            let stages = self.jobs[job].stages.len() as u32;
            (0..stages).map(|stage| StageId { job: *job, stage })
        })
    }

    /// Agents that registered and were not lost since.
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
    }
}

impl Stage {
    fn check_invariants(&self, count: u32) {
        let mut seen = RangeSet::new();
        let mut succeeded = 0;
        let accepted = self.pages.iter().flat_map(|page| page.accepted.ranges().iter());
        for range in accepted.chain(self.verdicts.iter().map(|verdict| &verdict.range)) {
            assert!(seen.within(*range).is_empty(), "{range} has more than one result");
            assert!(range.end <= count, "{range} is beyond {count} tasks");
            seen.insert(*range);
        }
        for page in &self.pages {
            succeeded += page.succeeded;
            assert!(!page.accepted.is_empty(), "a page without a result is kept");
        }
        assert_eq!(seen, self.done, "done is what has a result");
        assert_eq!(succeeded, self.succeeded);
        assert!(self.leased_through <= count);
    }
}
