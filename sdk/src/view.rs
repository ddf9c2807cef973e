//! What a master tells about its jobs and its cluster, in our own types.

use std::time::Duration;

use weir_proto::{
    agent::AgentDescription,
    countable::Countables,
    id::{ClusterId, JobId, Namespace, NodeId},
    job::JobSpec,
    lease::Preparing,
    limits::Resources,
    malformed::Malformed,
    outcome::Cause,
    range::RangeSet,
    wire,
};

/// A job in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// Its id.
    pub id: JobId,
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub namespace: Namespace,
    /// How far it is.
    pub status: JobStatus,
    /// When it was accepted, in Unix milliseconds.
    pub submitted_ms: u64,
    /// When it ended, in Unix milliseconds.
    pub ended_ms: Option<u64>,
    /// All its tasks.
    pub tasks: u32,
    /// Those that succeeded.
    pub succeeded: u32,
    /// Those with any other outcome, cancelled ones left out.
    pub failed: u32,
    /// Those that were cancelled.
    pub cancelled: u32,
    /// Those that run; advisory.
    pub running: u32,
    /// Those without a result that are to stand still.
    pub paused: u32,
    /// Fuel that its results used.
    pub fuel: u64,
    /// Peak memory of its largest task, in bytes.
    pub peak_memory_bytes: u64,
    /// Within its namespace, higher goes first.
    pub priority: i32,
    /// The job of which it runs again what did not succeed.
    pub retry_of: Option<JobId>,
}

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job in a line.
    pub summary: JobSummary,
    /// What was asked for.
    pub spec: JobSpec,
    /// How far each stage is, as in the spec.
    pub stages: Vec<StageView>,
    /// Why tasks wait, if some do.
    pub waiting: Vec<String>,
    /// Tasks that agents have and cannot run yet; the first of very many, advisory.
    pub preparing: Vec<PreparingView>,
}

/// Tasks that an agent has and cannot run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparingView {
    /// The agent's name.
    pub agent: String,
    /// Which stage of the job, from 0.
    pub stage: u32,
    /// How many could run there at once.
    pub tasks: u32,
    /// What has to be done first.
    pub preparing: Preparing,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageView {
    /// Tasks that succeeded.
    pub succeeded: u32,
    /// Tasks with any other outcome, cancelled ones left out.
    pub failed: u32,
    /// Tasks that were cancelled.
    pub cancelled: u32,
    /// Tasks that run; advisory.
    pub running: u32,
    /// Attempts that failed and were repeated.
    pub retried: u32,
    /// Fuel of all results.
    pub fuel: u64,
    /// Peak memory of the largest task, in bytes.
    pub peak_memory_bytes: u64,
    /// Wall time of all results together.
    pub wall: Duration,
    /// Median wall time of a task, at most a quarter too long.
    pub wall_p50: Duration,
    /// 99th percentile of the same.
    pub wall_p99: Duration,
    /// Why tasks did not succeed, the most frequent cause first.
    pub causes: Vec<CauseView>,
    /// Tasks that did not succeed; only the first of very many ranges.
    pub failed_tasks: RangeSet,
}

/// Why tasks did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseView {
    /// The cause.
    pub cause: Cause,
    /// How many tasks.
    pub tasks: u32,
    /// The lowest of them.
    pub first: u32,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Some task has no result.
    Active,
    /// Every task succeeded.
    Succeeded,
    /// Every task has a result, and one did not succeed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl JobStatus {
    /// A stable word for programs and people: `active`.
    pub fn word(self) -> &'static str {
        match self {
            JobStatus::Active => "active",
            JobStatus::Succeeded => "succeeded",
            JobStatus::Failed => "failed",
            JobStatus::Cancelled => "cancelled",
        }
    }

    /// Whether nothing about the job changes any more.
    pub fn ended(self) -> bool {
        self != JobStatus::Active
    }
}

impl JobSummary {
    /// Tasks with a result.
    pub fn done(&self) -> u32 {
        self.succeeded.saturating_add(self.failed).saturating_add(self.cancelled)
    }

    /// Tasks without a result.
    pub fn open(&self) -> u32 {
        self.tasks.saturating_sub(self.done())
    }

    /// Whether every task without a result is to stand still.
    pub fn is_paused(&self) -> bool {
        !self.status.ended() && self.paused >= self.open()
    }

    /// A word for people: that of its status, or `paused`.
    pub fn state_word(&self) -> &'static str {
        if self.is_paused() { "paused" } else { self.status.word() }
    }

    /// From acceptance to the end, or none while it is active.
    pub fn wall_time(&self) -> Option<Duration> {
        let ended = self.ended_ms?;
        Some(Duration::from_millis(ended.saturating_sub(self.submitted_ms)))
    }
}

impl JobView {
    /// Why tasks do not run, each reason a sentence: first what agents prepare.
    pub fn waits(&self) -> Vec<String> {
        let prepare = |told: &PreparingView| format!("agent {} {}", told.agent, told.preparing);
        let preparing = self.preparing.iter().map(prepare);
        preparing.chain(self.waiting.iter().cloned()).collect()
    }
}

impl TryFrom<wire::JobSummary> for JobSummary {
    type Error = Malformed;

    fn try_from(wire: wire::JobSummary) -> Result<JobSummary, Malformed> {
        let status = match wire.status() {
            wire::JobStatus::Active => JobStatus::Active,
            wire::JobStatus::Succeeded => JobStatus::Succeeded,
            wire::JobStatus::Failed => JobStatus::Failed,
            wire::JobStatus::Cancelled => JobStatus::Cancelled,
            wire::JobStatus::Unspecified => {
                return Err(Malformed::Missing { what: "a job's status" });
            }
        };
        Ok(JobSummary {
            id: JobId(wire.job),
            name: wire.name,
            namespace: wire.namespace.parse()?,
            status,
            submitted_ms: wire.submitted_ms,
            ended_ms: wire.ended_ms,
            tasks: wire.tasks,
            succeeded: wire.succeeded,
            failed: wire.failed,
            cancelled: wire.cancelled,
            running: wire.running,
            paused: wire.paused,
            fuel: wire.fuel,
            peak_memory_bytes: wire.peak_memory_bytes,
            priority: wire.priority,
            retry_of: wire.retry_of.map(JobId),
        })
    }
}

impl TryFrom<wire::JobView> for JobView {
    type Error = Malformed;

    fn try_from(wire: wire::JobView) -> Result<JobView, Malformed> {
        let summary = wire.summary.ok_or(Malformed::Missing { what: "a job's summary" })?;
        let spec = wire.spec.ok_or(Malformed::Missing { what: "a job's spec" })?;
        let spec = JobSpec::try_from(spec).map_err(|problems| Malformed::Invalid {
            what: "a job's spec",
            why: problems.to_string(),
        })?;
        let stages: Vec<StageView> =
            wire.stages.into_iter().map(StageView::try_from).collect::<Result<_, _>>()?;
        if stages.len() != spec.stages.len() {
            let why = format!("{} of {} stages", stages.len(), spec.stages.len());
            return Err(Malformed::Invalid { what: "a job's stages", why });
        }
        let preparing = wire.preparing.into_iter().map(PreparingView::try_from);
        Ok(JobView {
            summary: summary.try_into()?,
            spec,
            stages,
            waiting: wire.waiting,
            preparing: preparing.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<wire::PreparingTasks> for PreparingView {
    type Error = Malformed;

    fn try_from(wire: wire::PreparingTasks) -> Result<PreparingView, Malformed> {
        let preparing = wire.preparing.ok_or(Malformed::Missing { what: "a step to prepare" })?;
        Ok(PreparingView {
            agent: wire.agent,
            stage: wire.stage,
            tasks: wire.tasks,
            preparing: preparing.try_into()?,
        })
    }
}

impl TryFrom<wire::StageView> for StageView {
    type Error = Malformed;

    fn try_from(wire: wire::StageView) -> Result<StageView, Malformed> {
        let causes = wire.causes.into_iter().map(|wire| CauseView {
            cause: Cause { kind: u8::try_from(wire.kind).unwrap_or(u8::MAX), detail: wire.detail },
            tasks: wire.tasks,
            first: wire.first,
        });
        Ok(StageView {
            succeeded: wire.succeeded,
            failed: wire.failed,
            cancelled: wire.cancelled,
            running: wire.running,
            retried: wire.retried,
            fuel: wire.fuel,
            peak_memory_bytes: wire.peak_memory_bytes,
            wall: Duration::from_micros(wire.wall_us),
            wall_p50: Duration::from_micros(wire.wall_p50_us),
            wall_p99: Duration::from_micros(wire.wall_p99_us),
            causes: causes.collect(),
            failed_tasks: RangeSet::from_wire(&wire.failed_tasks)?,
        })
    }
}

/// How a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: ClusterId,
    /// Version of the master's binary.
    pub version: String,
    /// Raft term.
    pub term: u64,
    /// Log entries applied.
    pub applied_index: u64,
    /// A hash of the replicated state: the same on all masters at the same index.
    pub state_hash: String,
    /// Its agents.
    pub agents: Vec<AgentView>,
    /// Log writes since the master started.
    pub commits: u64,
    /// Median time from propose to apply, of the last 4,096.
    pub commit_p50: Duration,
    /// 99th percentile of the same.
    pub commit_p99: Duration,
    /// Its masters.
    pub members: Vec<MemberView>,
    /// Jobs that have not ended.
    pub active_jobs: u32,
    /// Tasks of those without a result.
    pub open_tasks: u64,
    /// What all its masters can do.
    pub feature_level: u32,
}

/// A master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Its node in the Raft group.
    pub node: NodeId,
    /// Where it listens.
    pub address: String,
    /// What it is in the group.
    pub role: MemberRole,
    /// Its Raft term.
    pub term: u64,
    /// The last log entry it knows to be committed.
    pub committed_index: u64,
    /// The last log entry it has applied.
    pub applied_index: u64,
    /// Version of its binary.
    pub version: String,
    /// Its clock less that of the master that was asked, in milliseconds; 0 where that is not known.
    pub clock_ahead_ms: i64,
    /// The highest feature level that its binary knows; 0 while it is away.
    pub feature_level: u32,
}

/// What a master is in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    /// It answers writes, and leases tasks.
    Leader,
    /// It votes, and has what the leader has.
    Follower,
    /// It stands for election: it knows no leader.
    Candidate,
    /// It gets the log until it has caught up, and does not vote.
    Learner,
    /// It did not answer.
    Away,
}

impl MemberRole {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            MemberRole::Leader => "leader",
            MemberRole::Follower => "follower",
            MemberRole::Candidate => "candidate",
            MemberRole::Learner => "learner",
            MemberRole::Away => "away",
        }
    }
}

/// What the master knows of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// What the agent says of itself.
    pub agent: AgentDescription,
    /// What became of it.
    pub life: AgentLife,
    /// Leases it holds.
    pub leases: u32,
    /// What those are counted with.
    pub used: Resources,
}

/// What became of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentLife {
    /// It is there, and gets tasks.
    Live,
    /// It is there, gets no more tasks, and leaves when those it has have ended.
    Draining,
    /// It stopped, and gave back what it had.
    Left,
    /// It was silent for too long.
    Lost,
}

impl AgentLife {
    /// A stable word for programs and people: `live`.
    pub fn word(self) -> &'static str {
        match self {
            AgentLife::Live => "live",
            AgentLife::Draining => "draining",
            AgentLife::Left => "left",
            AgentLife::Lost => "lost",
        }
    }

    /// Whether it is there.
    pub fn is_live(self) -> bool {
        matches!(self, AgentLife::Live | AgentLife::Draining)
    }
}

impl TryFrom<wire::ClusterStatus> for ClusterStatus {
    type Error = Malformed;

    fn try_from(wire: wire::ClusterStatus) -> Result<ClusterStatus, Malformed> {
        let agents = wire.agents.into_iter().map(AgentView::try_from);
        Ok(ClusterStatus {
            cluster: ClusterId(wire.cluster),
            version: wire.version,
            term: wire.term,
            applied_index: wire.applied_index,
            state_hash: wire.state_hash,
            agents: agents.collect::<Result<_, _>>()?,
            commits: wire.commits,
            commit_p50: Duration::from_micros(wire.commit_p50_us),
            commit_p99: Duration::from_micros(wire.commit_p99_us),
            members: wire.members.into_iter().map(MemberView::from).collect(),
            active_jobs: wire.active_jobs,
            open_tasks: wire.open_tasks,
            feature_level: wire.feature_level,
        })
    }
}

impl From<wire::MemberView> for MemberView {
    fn from(wire: wire::MemberView) -> MemberView {
        MemberView {
            node: NodeId(wire.node),
            role: match wire.role() {
                wire::MemberRole::Leader => MemberRole::Leader,
                wire::MemberRole::Follower => MemberRole::Follower,
                wire::MemberRole::Candidate => MemberRole::Candidate,
                wire::MemberRole::Learner => MemberRole::Learner,
                wire::MemberRole::Away | wire::MemberRole::Unspecified => MemberRole::Away,
            },
            address: wire.address,
            term: wire.term,
            committed_index: wire.committed_index,
            applied_index: wire.applied_index,
            version: wire.version,
            clock_ahead_ms: wire.clock_ahead_ms,
            feature_level: wire.feature_level,
        }
    }
}

impl TryFrom<wire::AgentView> for AgentView {
    type Error = Malformed;

    fn try_from(wire: wire::AgentView) -> Result<AgentView, Malformed> {
        let life = match wire.life() {
            wire::AgentLife::Live => AgentLife::Live,
            wire::AgentLife::Draining => AgentLife::Draining,
            wire::AgentLife::Left => AgentLife::Left,
            wire::AgentLife::Lost => AgentLife::Lost,
            wire::AgentLife::Unspecified => {
                return Err(Malformed::Missing { what: "what became of an agent" });
            }
        };
        let agent = wire.agent.ok_or(Malformed::Missing { what: "an agent's description" })?;
        Ok(AgentView {
            agent: AgentDescription::try_from(agent)?,
            life,
            leases: wire.leases,
            used: Resources {
                cpu_millis: wire.used_cpu_millis,
                memory_bytes: wire.used_memory_bytes,
                countables: Countables::try_from(wire.used_countables)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_status_is_refused() {
        let error = JobSummary::try_from(wire::JobSummary::default()).expect_err("no status");
        assert_eq!(error, Malformed::Missing { what: "a job's status" });
    }
}
