//! What a client sees of a job.

use weir_proto::{
    id::{JobId, StageId},
    wire,
};
use weir_scheduler::{
    explain::explain,
    lease::LeaseTable,
    state::{ClusterState, Job, JobLife},
};

/// A job as state has it.
pub(super) fn view(job: &Job) -> wire::JobView {
    let succeeded = job.stages.iter().map(|stage| stage.succeeded).sum();
    let failed = job.stages.iter().map(|stage| stage.failed()).sum();
    let (status, ended_ms) = match job.life {
        JobLife::Active => (wire::JobStatus::Active, None),
        JobLife::Ended { at_ms, cancelled: true } => (wire::JobStatus::Cancelled, Some(at_ms)),
        JobLife::Ended { at_ms, cancelled: false } => {
            let status =
                if failed == 0 { wire::JobStatus::Succeeded } else { wire::JobStatus::Failed };
            (status, Some(at_ms))
        }
    };
    wire::JobView {
        job: job.id.0,
        spec: Some((*job.spec).clone().into()),
        status: status.into(),
        submitted_ms: job.submitted_ms,
        ended_ms,
        tasks: job.tasks(),
        succeeded,
        failed,
        running: 0,
        fuel: job.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.fuel)),
        peak_memory_bytes: job.stages.iter().map(|s| s.peak_memory_bytes).max().unwrap_or(0),
        waiting: Vec::new(),
    }
}

/// What only the leader's soft state knows: running tasks, and why others wait.
pub(super) fn advice(
    state: &ClusterState,
    table: Option<&LeaseTable>,
    id: JobId,
) -> (u32, Vec<String>) {
    let (Some(table), Some(job)) = (table, state.jobs.get(&id)) else { return (0, Vec::new()) };
    let stages = (0..job.stages.len() as u32).map(|stage| StageId { job: id, stage });
    let mut running = 0;
    let mut waiting = Vec::new();
    for stage in stages {
        running += table.slots(stage);
        waiting.extend(explain(state, table, stage).map(|reason| reason.to_string()));
    }
    (running, waiting)
}
