//! Applies committed commands: every master, the same commands, the same order, the same state.

use std::sync::Arc;

use weir_proto::{
    agent::AgentDescription,
    command::{Change, Command},
    digest::Digest,
    id::{AgentId, ClusterId, JobId, Namespace, RequestId, StageId, TaskId},
    job::JobSpec,
    outcome::Outcome,
    page::Page,
    range::{RangeSet, TaskRange},
};

use crate::state::{
    AgentLife, AgentRecord, ClusterState, FIRST_LEASED_THROUGH, Job, JobLife, MAX_ACTIVE_JOBS,
    MAX_AGENT_LOSSES, MAX_AGENTS, MAX_ENDED_JOBS, MAX_OPEN_TASKS, PageRef, Stage, Verdict,
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
    /// Every task of a job has a result.
    JobEnded(JobId),
    /// A job is no longer known.
    JobForgotten(JobId),
    /// An agent may get leases.
    AgentRegistered(AgentId),
    /// An agent has no leases any more.
    AgentLost(AgentId),
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
    /// The cluster knows as many agents as it can.
    #[error("the cluster knows {MAX_AGENTS} agents, which is as many as it can")]
    TooManyAgents,
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
        Change::SubmitJob { request, spec } => submit(state, request, spec),
        Change::CancelJob(job) => cancel(state, job),
        Change::RegisterAgent(description) => register(state, description),
        Change::AgentLost { agent, suspects } => lose(state, agent, &suspects),
        Change::CommitPages { pages, .. } => Ok(commit_pages(state, pages)),
        Change::ExtendLeases { stage, leased_through } => extend(state, stage, leased_through),
    }
}

fn create_cluster(state: &mut ClusterState, cluster: ClusterId) -> Result<Vec<Effect>, Rejection> {
    match state.cluster {
        Some(existing) => Err(Rejection::ClusterExists(existing)),
        None => {
            state.cluster = Some(cluster);
            Ok(Vec::new())
        }
    }
}

fn submit(
    state: &mut ClusterState,
    request: RequestId,
    spec: JobSpec,
) -> Result<Vec<Effect>, Rejection> {
    if let Some(job) = state.requests.get(&request) {
        return Ok(vec![Effect::Submitted { request, job: *job }]);
    }
    let namespace = spec.namespace.clone();
    let more: u64 = spec.stages.iter().map(|stage| u64::from(stage.count)).sum();
    let backlog = state.backlog.get(&namespace).copied().unwrap_or_default();
    if backlog.jobs >= MAX_ACTIVE_JOBS {
        return Err(Rejection::TooManyJobs { namespace, jobs: backlog.jobs });
    }
    if backlog.tasks.saturating_add(more) > MAX_OPEN_TASKS {
        return Err(Rejection::TooManyTasks { namespace, open: backlog.tasks, more });
    }
    state.last_job += 1;
    let id = JobId(state.last_job);
    let stages = spec.stages.iter().map(|stage| {
        let leased_through = stage.count.min(FIRST_LEASED_THROUGH);
        Arc::new(Stage { leased_through, ..Stage::default() })
    });
    let job = Job {
        id,
        stages: stages.collect(),
        spec: Arc::new(spec),
        request,
        submitted_ms: state.now_ms,
        life: JobLife::Active,
    };
    state.requests.insert(request, id);
    state.jobs.insert(id, Arc::new(job));
    state.active.insert(id);
    let backlog = state.backlog.entry(namespace).or_default();
    backlog.jobs += 1;
    backlog.tasks += more;
    Ok(vec![Effect::Submitted { request, job: id }, Effect::JobStarted(id)])
}

fn cancel(state: &mut ClusterState, id: JobId) -> Result<Vec<Effect>, Rejection> {
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

fn register(
    state: &mut ClusterState,
    description: AgentDescription,
) -> Result<Vec<Effect>, Rejection> {
    let id = description.id;
    if !state.agents.contains_key(&id) && state.agents.len() >= MAX_AGENTS {
        forget_longest_lost_agent(state)?;
    }
    let life = AgentLife::Live { since_ms: state.now_ms };
    state.agents.insert(id, AgentRecord { description, life });
    Ok(vec![Effect::AgentRegistered(id)])
}

fn forget_longest_lost_agent(state: &mut ClusterState) -> Result<(), Rejection> {
    let lost = state.agents.iter().filter_map(|(id, agent)| match agent.life {
        AgentLife::Live { .. } => None,
        AgentLife::Lost { since_ms } => Some((since_ms, *id)),
    });
    let Some((_, longest)) = lost.min() else { return Err(Rejection::TooManyAgents) };
    state.agents.remove(&longest);
    Ok(())
}

/// Only tasks that had started are blamed: one that waited there did the agent no harm.
fn lose(
    state: &mut ClusterState,
    agent: AgentId,
    suspects: &[TaskId],
) -> Result<Vec<Effect>, Rejection> {
    let now_ms = state.now_ms;
    let Some(record) = state.agents.get_mut(&agent) else {
        return Err(Rejection::UnknownAgent(agent));
    };
    record.life = AgentLife::Lost { since_ms: now_ms };
    let mut effects = Vec::new();
    for task in suspects {
        let Some(losses) = count_loss(state, *task) else { continue };
        if losses >= MAX_AGENT_LOSSES {
            let outcome = Outcome::AgentLostTooOften { losses };
            give_verdict(state, task.stage, TaskRange::single(task.index), outcome, &mut effects);
            end_if_done(state, task.stage.job, false, &mut effects);
        }
    }
    effects.push(Effect::AgentLost(agent));
    Ok(effects)
}

/// The task's losses with this one, or `None` if it has a result or is not known.
fn count_loss(state: &mut ClusterState, task: TaskId) -> Option<u32> {
    let (stage, spec) = state.stage(task.stage)?;
    if task.index >= spec.count || stage.done.contains(task.index) {
        return None;
    }
    let losses = stage_mut(state, task.stage)?.losses.entry(task.index).or_default();
    *losses += 1;
    Some(*losses)
}

/// Pages that do not parse, or are of jobs no longer known, change nothing: their agents may
/// forget them all the same.
fn commit_pages(state: &mut ClusterState, pages: Vec<Vec<u8>>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for bytes in pages {
        let Ok(page) = Page::decode(&bytes) else { continue };
        commit_page(state, page, bytes, &mut effects);
    }
    effects
}

fn commit_page(state: &mut ClusterState, page: Page, bytes: Vec<u8>, effects: &mut Vec<Effect>) {
    let range = page.range();
    let Some((stage, spec)) = state.stage(page.stage) else { return };
    if range.end > spec.count {
        return;
    }
    let mut accepted: RangeSet = [range].into_iter().collect();
    accepted.remove_all(&stage.done.within(range));
    if accepted.is_empty() {
        return;
    }
    let mut entry = PageRef {
        index: state.applied,
        range,
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        accepted,
        succeeded: 0,
        fuel: 0,
        peak_memory_bytes: 0,
    };
    for result in entry.accepted.iter().filter_map(|index| page.result(index)) {
        entry.succeeded += u32::from(result.outcome.succeeded());
        entry.fuel = entry.fuel.saturating_add(result.usage.fuel);
        entry.peak_memory_bytes = entry.peak_memory_bytes.max(result.usage.peak_memory_bytes);
    }
    let namespace = state.jobs[&page.stage.job].spec.namespace.clone();
    effects.push(Effect::KeepPage { namespace, digest: entry.digest, bytes });
    effects.push(Effect::Done { stage: page.stage, tasks: entry.accepted.clone() });
    close_tasks(state, page.stage.job, entry.accepted.len());
    if let Some(stage) = stage_mut(state, page.stage) {
        stage.add_page(entry);
    }
    end_if_done(state, page.stage.job, false, effects);
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

fn give_verdict(
    state: &mut ClusterState,
    id: StageId,
    range: TaskRange,
    outcome: Outcome,
    effects: &mut Vec<Effect>,
) {
    let index = state.applied;
    let Some(stage) = stage_mut(state, id) else { return };
    stage.add_verdict(Verdict { index, range, outcome });
    close_tasks(state, id.job, range.len());
    effects.push(Effect::Done { stage: id, tasks: [range].into_iter().collect() });
}

fn close_tasks(state: &mut ClusterState, job: JobId, tasks: u32) {
    let namespace = &state.jobs[&job].spec.namespace;
    if let Some(backlog) = state.backlog.get_mut(namespace) {
        backlog.tasks -= u64::from(tasks);
    }
}

fn end_if_done(state: &mut ClusterState, id: JobId, cancelled: bool, effects: &mut Vec<Effect>) {
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
    effects.push(Effect::JobEnded(id));
    if state.jobs.len() - state.active.len() > MAX_ENDED_JOBS {
        forget_oldest_ended(state, effects);
    }
}

fn forget_oldest_ended(state: &mut ClusterState, effects: &mut Vec<Effect>) {
    let oldest = state.jobs.values().find(|job| !job.is_active());
    let Some(job) = oldest.cloned() else { return };
    state.jobs.remove(&job.id);
    state.requests.remove(&job.request);
    effects.push(Effect::JobForgotten(job.id));
}

fn stage_mut(state: &mut ClusterState, id: StageId) -> Option<&mut Stage> {
    let job = Arc::make_mut(state.jobs.get_mut(&id.job)?);
    job.stages.get_mut(id.stage as usize).map(Arc::make_mut)
}

impl Stage {
    /// Adds a page whose accepted tasks have no result yet.
    pub(crate) fn add_page(&mut self, page: PageRef) {
        self.done.insert_all(&page.accepted);
        self.succeeded += page.succeeded;
        self.fuel = self.fuel.saturating_add(page.fuel);
        self.peak_memory_bytes = self.peak_memory_bytes.max(page.peak_memory_bytes);
        for range in page.accepted.ranges() {
            self.forget_losses(*range);
        }
        self.pages.push_back(page);
    }

    /// Adds a verdict on tasks that have no result yet.
    pub(crate) fn add_verdict(&mut self, verdict: Verdict) {
        self.done.insert(verdict.range);
        self.forget_losses(verdict.range);
        self.verdicts.push(verdict);
    }

    fn forget_losses(&mut self, range: TaskRange) {
        if !self.losses.is_empty() {
            self.losses.retain(|index, _| !(range.start..range.end).contains(index));
        }
    }
}

#[cfg(test)]
mod tests;
