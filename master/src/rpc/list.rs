//! Which jobs a list has, and in which order.

use std::cmp::Reverse;

use weir_proto::wire;
use weir_scheduler::state::{ClusterState, Job, JobLife};

use super::view::{status, summary};

/// Most jobs in one answer.
const MAX_LISTED: usize = 1_000;

/// The jobs that are asked for, in the order that is asked for, and how many match in all.
pub(crate) fn jobs(
    state: &ClusterState,
    asked: &wire::ListJobsRequest,
) -> (Vec<wire::JobSummary>, u32) {
    // Newest first; a stable sort keeps that among equals.
    let jobs = state.jobs.values().rev().filter(|job| matches(job, asked));
    let mut jobs: Vec<&Job> = jobs.map(|job| &**job).collect();
    let matched = jobs.len() as u32;
    sort(&mut jobs, asked.order(), state.now_ms);
    if asked.reverse {
        jobs.reverse();
    }
    let limit = match asked.limit as usize {
        0 => MAX_LISTED,
        limit => limit.min(MAX_LISTED),
    };
    (jobs.into_iter().take(limit).map(summary).collect(), matched)
}

fn matches(job: &Job, asked: &wire::ListJobsRequest) -> bool {
    (asked.namespace.is_empty() || job.spec.namespace.as_str() == asked.namespace)
        && job.submitted_ms >= asked.since_ms
        && job.spec.name.contains(&asked.name_contains)
        && (asked.statuses.is_empty() || asked.statuses.contains(&status(job).into()))
}

fn sort(jobs: &mut [&Job], order: wire::JobOrder, now_ms: u64) {
    match order {
        wire::JobOrder::Newest => {}
        wire::JobOrder::Name => jobs.sort_by(|a, b| a.spec.name.cmp(&b.spec.name)),
        wire::JobOrder::Status => jobs.sort_by_key(|job| status(job)),
        wire::JobOrder::Tasks => jobs.sort_by_key(|job| Reverse(job.tasks())),
        wire::JobOrder::Failed => jobs.sort_by_key(|job| {
            Reverse(job.stages.iter().map(|stage| stage.failed.len()).sum::<u32>())
        }),
        wire::JobOrder::Fuel => jobs.sort_by_key(|job| {
            Reverse(job.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.fuel)))
        }),
        wire::JobOrder::Time => jobs.sort_by_key(|job| {
            let ended_ms = match job.life {
                JobLife::Active => now_ms,
                JobLife::Ended { at_ms, .. } => at_ms,
            };
            Reverse(ended_ms.saturating_sub(job.submitted_ms))
        }),
    }
}
