//! What a client sees of a job: all of it, or a line.

use std::fmt;

use weir_proto::{
    id::{JobId, StageId},
    lease::Preparing,
    wire,
};
use weir_scheduler::{
    explain::explain,
    lease::LeaseTable,
    snapshot::encode_cause,
    stage::Stage,
    state::{ClusterState, Job, JobLife},
};

/// Most ranges of failed tasks that are told of a stage.
const MAX_FAILED_RANGES: usize = 1_000;

/// Most agents that are told to prepare tasks of a job.
const MAX_PREPARING: usize = 20;

/// A job in a line, as state has it.
pub(crate) fn summary(job: &Job) -> wire::JobSummary {
    let sum = |of: fn(&Stage) -> u32| job.stages.iter().map(|stage| of(stage)).sum();
    wire::JobSummary {
        job: job.id.0,
        name: job.spec.name.clone(),
        namespace: job.spec.namespace.as_str().to_owned(),
        status: status(job).into(),
        submitted_ms: job.submitted_ms,
        ended_ms: match job.life {
            JobLife::Active => None,
            JobLife::Ended { at_ms, .. } => Some(at_ms),
        },
        tasks: job.tasks(),
        succeeded: sum(Stage::succeeded),
        failed: sum(|stage| stage.failed.len() - stage.cancelled),
        cancelled: sum(|stage| stage.cancelled),
        running: 0,
        paused: sum(|stage| stage.paused.len()),
        fuel: job.stages.iter().fold(0, |sum: u64, stage| sum.saturating_add(stage.fuel)),
        peak_memory_bytes: job.stages.iter().map(|s| s.peak_memory_bytes).max().unwrap_or(0),
        priority: job.spec.priority,
        retry_of: job.retry_of.map(|job| job.0),
    }
}

/// How far a job is.
pub(crate) fn status(job: &Job) -> wire::JobStatus {
    match job.life {
        JobLife::Active => wire::JobStatus::Active,
        JobLife::Ended { cancelled: true, .. } => wire::JobStatus::Cancelled,
        JobLife::Ended { cancelled: false, .. } => {
            let failed = job.stages.iter().any(|stage| !stage.failed.is_empty());
            if failed { wire::JobStatus::Failed } else { wire::JobStatus::Succeeded }
        }
    }
}

/// All of a job as state has it.
pub(super) fn view(job: &Job) -> wire::JobView {
    wire::JobView {
        summary: Some(summary(job)),
        spec: Some((*job.spec).clone().into()),
        stages: job.stages.iter().map(|stage| stage_view(stage)).collect(),
        waiting: Vec::new(),
        preparing: Vec::new(),
    }
}

fn stage_view(stage: &Stage) -> wire::StageView {
    let mut causes: Vec<wire::Cause> = stage.causes.iter().map(encode_cause).collect();
    causes.sort_by_key(|cause| (std::cmp::Reverse(cause.tasks), cause.first));
    let failed = stage.failed.ranges().iter().take(MAX_FAILED_RANGES);
    wire::StageView {
        succeeded: stage.succeeded(),
        failed: stage.failed.len() - stage.cancelled,
        cancelled: stage.cancelled,
        running: 0,
        retried: stage.retried,
        fuel: stage.fuel,
        peak_memory_bytes: stage.peak_memory_bytes,
        wall_us: stage.times.sum_us,
        wall_p50_us: stage.times.quantile_us(0.5),
        wall_p99_us: stage.times.quantile_us(0.99),
        causes,
        failed_tasks: failed.map(|range| (*range).into()).collect(),
    }
}

/// What only the leader's soft state knows of a job.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    /// Running tasks of each stage.
    pub(crate) running: Vec<u32>,
    /// Why others wait.
    pub(crate) waiting: Vec<String>,
    /// What agents have to do before tasks that they have can run.
    pub(crate) preparing: Vec<PreparingTasks>,
}

/// Tasks that an agent has and cannot run yet.
#[derive(Debug)]
pub(crate) struct PreparingTasks {
    /// The agent's name.
    pub(crate) agent: String,
    pub(crate) stage: u32,
    /// That could run there at once.
    pub(crate) tasks: u32,
    pub(crate) preparing: Preparing,
}

/// What the leader knows of a job; nothing where it does not lead.
pub(crate) fn advice(
    state: &ClusterState,
    table: Option<&LeaseTable>,
    id: JobId,
    now_ms: u64,
) -> Advice {
    let (Some(table), Some(job)) = (table, state.jobs.get(&id)) else { return Advice::default() };
    let stages = (0..job.stages.len() as u32).map(|stage| StageId { job: id, stage });
    let mut advice = Advice::default();
    for stage in stages {
        advice.running.push(table.running(stage));
        let waiting = explain(state, table, stage).map(|reason| reason.to_string());
        advice.waiting.extend(waiting);
        let preparing = table.preparing(stage).filter_map(|held| {
            let (step, since_ms) = held.preparing?;
            Some(PreparingTasks {
                agent: table.agents().get(&held.agent)?.description.name.clone(),
                stage: stage.stage,
                tasks: held.slots.min(held.open.len()),
                preparing: Preparing { step, for_ms: now_ms.saturating_sub(since_ms) },
            })
        });
        advice.preparing.extend(preparing.take(MAX_PREPARING - advice.preparing.len()));
    }
    advice
}

impl fmt::Display for PreparingTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "agent {} {}", self.agent, self.preparing)
    }
}

impl Advice {
    /// Running tasks of all stages.
    pub(crate) fn all_running(&self) -> u32 {
        self.running.iter().sum()
    }

    /// Adds what is known to a view.
    pub(super) fn add_to(self, mut view: wire::JobView) -> wire::JobView {
        if let Some(summary) = &mut view.summary {
            summary.running = self.all_running();
        }
        for (stage, running) in view.stages.iter_mut().zip(&self.running) {
            stage.running = *running;
        }
        let preparing = self.preparing.into_iter().map(|told| wire::PreparingTasks {
            agent: told.agent,
            stage: told.stage,
            tasks: told.tasks,
            preparing: Some(told.preparing.into()),
        });
        wire::JobView { waiting: self.waiting, preparing: preparing.collect(), ..view }
    }
}
