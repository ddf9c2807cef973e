//! What a master tells about its jobs and its cluster, in our own types.

use std::time::Duration;

use weir_proto::{
    agent::AgentDescription,
    id::{ClusterId, JobId},
    job::JobSpec,
    limits::Resources,
    malformed::Malformed,
    wire,
};

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its name.
    pub id: JobId,
    /// What was asked for.
    pub spec: JobSpec,
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
    /// Those with any other outcome.
    pub failed: u32,
    /// Those that run; advisory.
    pub running: u32,
    /// Fuel that its results used.
    pub fuel: u64,
    /// Peak memory of its largest task, in bytes.
    pub peak_memory_bytes: u64,
    /// Why tasks wait, if some do.
    pub waiting: Vec<String>,
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

impl JobView {
    /// Tasks without a result.
    pub fn open(&self) -> u32 {
        self.tasks.saturating_sub(self.succeeded).saturating_sub(self.failed)
    }

    /// From acceptance to the end, or none while it is active.
    pub fn wall_time(&self) -> Option<Duration> {
        let ended = self.ended_ms?;
        Some(Duration::from_millis(ended.saturating_sub(self.submitted_ms)))
    }
}

impl TryFrom<wire::JobView> for JobView {
    type Error = Malformed;

    fn try_from(wire: wire::JobView) -> Result<JobView, Malformed> {
        let status = match wire.status() {
            wire::JobStatus::Active => JobStatus::Active,
            wire::JobStatus::Succeeded => JobStatus::Succeeded,
            wire::JobStatus::Failed => JobStatus::Failed,
            wire::JobStatus::Cancelled => JobStatus::Cancelled,
            wire::JobStatus::Unspecified => {
                return Err(Malformed::Missing { what: "a job's status" });
            }
        };
        let spec = wire.spec.ok_or(Malformed::Missing { what: "a job's spec" })?;
        let spec = JobSpec::try_from(spec).map_err(|problems| Malformed::Invalid {
            what: "a job's spec",
            why: problems.to_string(),
        })?;
        Ok(JobView {
            id: JobId(wire.job),
            spec,
            status,
            submitted_ms: wire.submitted_ms,
            ended_ms: wire.ended_ms,
            tasks: wire.tasks,
            succeeded: wire.succeeded,
            failed: wire.failed,
            running: wire.running,
            fuel: wire.fuel,
            peak_memory_bytes: wire.peak_memory_bytes,
            waiting: wire.waiting,
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
}

/// What the master knows of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// What the agent says of itself.
    pub agent: AgentDescription,
    /// Whether it has a session.
    pub live: bool,
    /// Leases it holds.
    pub leases: u32,
    /// What those are counted with.
    pub used: Resources,
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
        })
    }
}

impl TryFrom<wire::AgentView> for AgentView {
    type Error = Malformed;

    fn try_from(wire: wire::AgentView) -> Result<AgentView, Malformed> {
        let agent = wire.agent.ok_or(Malformed::Missing { what: "an agent's description" })?;
        Ok(AgentView {
            agent: AgentDescription::try_from(agent)?,
            live: wire.live,
            leases: wire.leases,
            used: Resources {
                cpu_millis: wire.used_cpu_millis,
                memory_bytes: wire.used_memory_bytes,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_status_is_refused() {
        let error = JobView::try_from(wire::JobView::default()).expect_err("no status");
        assert_eq!(error, Malformed::Missing { what: "a job's status" });
    }
}
