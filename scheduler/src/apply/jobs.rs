//! Jobs: accepted, paused, cancelled, run again, ended, forgotten.

use std::sync::Arc;

use weir_proto::{
    event::Happened,
    id::{JobId, Namespace, RequestId, StageId},
    job::JobSpec,
    outcome::Outcome,
    range::RangeSet,
};

use super::{Effect, Rejection, give_verdict};
use crate::{
    stage::Stage,
    state::{
        ClusterState, FIRST_LEASED_THROUGH, Job, JobLife, MAX_ACTIVE_JOBS, MAX_ENDED_JOBS,
        MAX_OPEN_TASKS,
    },
};

pub(super) fn submit(
    state: &mut ClusterState,
    request: RequestId,
    spec: JobSpec,
) -> Result<Vec<Effect>, Rejection> {
    let stages = spec.stages.iter().map(|_| Stage::default()).collect();
    begin(state, request, Arc::new(spec), stages, None)
}

/// A job of an ended one: what succeeded there stands, the other tasks run.
pub(super) fn retry(
    state: &mut ClusterState,
    request: RequestId,
    id: JobId,
) -> Result<Vec<Effect>, Rejection> {
    if let Some(job) = state.requests.get(&request) {
        return Ok(vec![Effect::Submitted { request, job: *job }]);
    }
    let Some(earlier) = state.jobs.get(&id) else { return Err(Rejection::UnknownJob(id)) };
    if earlier.is_active() {
        return Err(Rejection::StillActive(id));
    }
    if earlier.stages.iter().all(|stage| stage.failed.is_empty()) {
        return Err(Rejection::NothingToRetry(id));
    }
    let stages = earlier.stages.iter().map(|stage| stage.retry()).collect();
    begin(state, request, earlier.spec.clone(), stages, Some(id))
}

fn begin(
    state: &mut ClusterState,
    request: RequestId,
    spec: Arc<JobSpec>,
    mut stages: Vec<Stage>,
    retry_of: Option<JobId>,
) -> Result<Vec<Effect>, Rejection> {
    if let Some(job) = state.requests.get(&request) {
        return Ok(vec![Effect::Submitted { request, job: *job }]);
    }
    let open = |(stage, count): (&Stage, u32)| u64::from(count - stage.done.len());
    let counts = spec.stages.iter().map(|stage| stage.count);
    let more: u64 = stages.iter().zip(counts).map(open).sum();
    admit(state, &spec.namespace, more)?;
    state.last_job += 1;
    let id = JobId(state.last_job);
    for (stage, spec) in stages.iter_mut().zip(&spec.stages) {
        stage.leased_through = spec.count.min(FIRST_LEASED_THROUGH);
    }
    let backlog = state.backlog.entry(spec.namespace.clone()).or_default();
    backlog.jobs += 1;
    backlog.tasks += more;
    let job = Job {
        id,
        stages: stages.into_iter().map(Arc::new).collect(),
        spec,
        request,
        submitted_ms: state.now_ms,
        life: JobLife::Active,
        retry_of,
    };
    state.record(Happened::JobSubmitted {
        job: id,
        name: job.spec.name.clone(),
        namespace: job.spec.namespace.clone(),
        tasks: job.tasks(),
        retry_of,
    });
    state.requests.insert(request, id);
    state.jobs.insert(id, Arc::new(job));
    state.active.insert(id);
    Ok(vec![Effect::Submitted { request, job: id }, Effect::JobStarted(id)])
}

/// Whether a namespace may have another job of so many tasks.
fn admit(state: &ClusterState, namespace: &Namespace, more: u64) -> Result<(), Rejection> {
    let backlog = state.backlog.get(namespace).copied().unwrap_or_default();
    let namespace = namespace.clone();
    if backlog.jobs >= MAX_ACTIVE_JOBS {
        return Err(Rejection::TooManyJobs { namespace, jobs: backlog.jobs });
    }
    if backlog.tasks.saturating_add(more) > MAX_OPEN_TASKS {
        return Err(Rejection::TooManyTasks { namespace, open: backlog.tasks, more });
    }
    Ok(())
}

pub(super) fn cancel(state: &mut ClusterState, id: JobId) -> Result<Vec<Effect>, Rejection> {
    let Some(job) = state.jobs.get(&id) else { return Err(Rejection::UnknownJob(id)) };
    if !job.is_active() {
        return Ok(Vec::new());
    }
    let mut effects = Vec::new();
    for (stage, spec) in (0u32..).zip(job.clone().spec.stages.iter()) {
        let stage = StageId { job: id, stage };
        let open = state.stage(stage).map(|(stage, _)| stage.open(spec.count)).unwrap_or_default();
        for range in open.ranges() {
            give_verdict(state, stage, *range, Outcome::Cancelled, &mut effects);
        }
    }
    end_if_done(state, id, true, &mut effects);
    Ok(effects)
}

/// Without tasks, all are meant.
pub(super) fn pause(
    state: &mut ClusterState,
    id: JobId,
    tasks: &RangeSet,
    paused: bool,
) -> Result<Vec<Effect>, Rejection> {
    let Some(job) = state.jobs.get_mut(&id) else { return Err(Rejection::UnknownJob(id)) };
    if !job.is_active() {
        return Err(Rejection::HasEnded(id));
    }
    let job = Arc::make_mut(job);
    let mut changed = 0;
    for (stage, spec) in job.stages.iter_mut().zip(&job.spec.stages) {
        let all = RangeSet::below(spec.count);
        let tasks = if tasks.is_empty() { &all } else { tasks };
        changed += Arc::make_mut(stage).pause(tasks, paused, spec.count);
    }
    if changed == 0 {
        return Ok(Vec::new());
    }
    let (name, namespace) = (job.spec.name.clone(), job.spec.namespace.clone());
    state.record(Happened::JobPaused { job: id, name, namespace, tasks: changed, paused });
    Ok(vec![Effect::Paused(id)])
}

pub(super) fn remove(state: &mut ClusterState, id: JobId) -> Result<Vec<Effect>, Rejection> {
    let Some(job) = state.jobs.get(&id) else { return Err(Rejection::UnknownJob(id)) };
    if job.is_active() {
        return Err(Rejection::StillActive(id));
    }
    let mut effects = Vec::new();
    state.record(Happened::JobRemoved(id));
    forget(state, id, &mut effects);
    Ok(effects)
}

/// Ends a job whose last task has a result.
pub(super) fn end_if_done(
    state: &mut ClusterState,
    id: JobId,
    cancelled: bool,
    effects: &mut Vec<Effect>,
) {
    let at_ms = state.now_ms;
    let Some(job) = state.jobs.get_mut(&id) else { return };
    let mut stages = job.stages.iter().zip(&job.spec.stages);
    if !job.is_active() || stages.any(|(stage, spec)| stage.done.len() < spec.count) {
        return;
    }
    let job = Arc::make_mut(job);
    job.life = JobLife::Ended { at_ms, cancelled };
    let namespace = job.spec.namespace.clone();
    state.active.remove(&id);
    if let Some(backlog) = state.backlog.get_mut(&namespace) {
        backlog.jobs -= 1;
        if backlog.jobs == 0 {
            state.backlog.remove(&namespace);
        }
    }
    let succeeded = job.stages.iter().map(|stage| stage.succeeded()).sum();
    let unsuccessful = job.stages.iter().map(|stage| stage.failed.len()).sum();
    let name = job.spec.name.clone();
    state.record(Happened::JobEnded {
        job: id,
        name,
        namespace,
        succeeded,
        unsuccessful,
        cancelled,
    });
    effects.push(Effect::JobEnded(id));
    if state.jobs.len() - state.active.len() > MAX_ENDED_JOBS {
        forget_oldest_ended(state, effects);
    }
}

fn forget_oldest_ended(state: &mut ClusterState, effects: &mut Vec<Effect>) {
    let oldest = state.jobs.values().find(|job| !job.is_active()).map(|job| job.id);
    if let Some(oldest) = oldest {
        forget(state, oldest, effects);
    }
}

fn forget(state: &mut ClusterState, id: JobId, effects: &mut Vec<Effect>) {
    if let Some(job) = state.jobs.remove(&id) {
        state.requests.remove(&job.request);
        effects.push(Effect::JobForgotten(id));
    }
}
