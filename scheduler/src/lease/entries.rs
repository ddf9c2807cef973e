//! What a lease table holds of an agent, of a stage and of a lease.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use weir_proto::{
    agent::AgentDescription,
    id::{AgentId, LeaseId, Namespace, StageId},
    job::StageSpec,
    lease::PrepareStep,
    limits::Resources,
    range::{RangeSet, TaskRange},
};

use super::shares::Rank;
use crate::{
    stage::Stage,
    state::{FIRST_LEASED_THROUGH, Job},
};

/// An agent with a session, or one whose session broke a moment ago.
#[derive(Debug, Clone)]
pub struct AttachedAgent {
    /// What it said of itself.
    pub description: AgentDescription,
    /// When it was last heard of.
    pub heard_ms: u64,
    /// Whether it has a session now.
    pub connected: bool,
    /// Which of its life's connections it attached on.
    pub connection: u64,
    /// Whether it takes no more tasks, because it is about to leave.
    pub(crate) stops: bool,
    pub(super) leases: BTreeSet<LeaseId>,
}

/// The tasks of an active stage, as the leader sees them.
#[derive(Debug, Clone)]
pub struct StageQueue {
    /// Whose it is.
    pub namespace: Namespace,
    /// Its job's priority.
    pub priority: i32,
    /// How many tasks it has.
    pub count: u32,
    /// The committed mark: only tasks below it may be leased.
    pub leased_through: u32,
    /// Tasks that nobody runs.
    pub waiting: RangeSet,
    /// Tasks that are to stand still, whether they wait or run.
    pub(super) paused: RangeSet,
    /// Mean wall time of a task in microseconds; 0 before the first result.
    pub mean_task_us: u64,
    /// A mark that was proposed and is not applied yet.
    pub extending: bool,
    /// By how much it is extended next: twice as much each time, so that one leader after the other
    /// lends beyond the mark and does not move it to the stage's end.
    pub(crate) extend_by: u32,
    /// Whether its tasks run at most once.
    pub(crate) once: bool,
    pub(super) uncertain: RangeSet,
    pub(super) leases: BTreeSet<LeaseId>,
    pub(super) cool: BTreeMap<AgentId, u64>,
    /// When it last got a lease, by the count of grants.
    pub(super) served: u64,
    /// Slots that are out, as its namespace has counted them.
    pub(super) slots: u32,
    /// Its place in its namespace's order, if it has one.
    pub(super) rank: Option<Rank>,
}

/// A lease that is out.
#[derive(Debug, Clone)]
pub struct HeldLease {
    /// Who holds it.
    pub agent: AgentId,
    /// Whose tasks they are.
    pub stage: StageId,
    /// How many may run at once.
    pub slots: u32,
    /// What each of them takes.
    pub each: Resources,
    /// Its tasks without a result.
    pub open: RangeSet,
    /// Whether it is not committed yet, as it must be before it is sent: its tasks run at most once.
    pub(crate) proposed: bool,
    /// Those that ran when the agent last told.
    pub started: Vec<u32>,
    /// Those that stand still there, or have not begun and are on their way back. A task that is to go
    /// on is among them until its agent has a core for it.
    pub(super) paused: RangeSet,
    /// What the agent then had to do before any can run, and since when.
    pub preparing: Option<(PrepareStep, u64)>,
    /// When it last got tasks.
    pub(super) granted_ms: u64,
    /// When tasks were last recalled from it.
    pub(crate) recalled_ms: Option<u64>,
    /// Mean wall time of its tasks there, in microseconds; 0 before one has ended.
    pub(super) mean_task_us: u64,
    /// Those whose results its agent has sent, and that are not committed yet.
    pub(super) sent: RangeSet,
    /// Tasks that its agent may run although their results came from elsewhere.
    pub(super) surplus: RangeSet,
}

impl HeldLease {
    /// What it takes of its agent: never more slots than tasks. Who stands still keeps its memory, but
    /// no core.
    pub fn used(&self) -> Resources {
        let tasks = self.open.len().saturating_add(self.surplus.len());
        let cpu_millis = self.each.times(self.moving(tasks)).cpu_millis;
        Resources { cpu_millis, ..self.each.times(self.slots.min(tasks)) }
    }

    /// How many of its slots are out, but for those whose tasks stand still.
    pub(super) fn slots_out(&self) -> u32 {
        self.moving(self.open.len())
    }

    /// The same, at most, of so many tasks.
    fn moving(&self, tasks: u32) -> u32 {
        self.slots.min(tasks.saturating_sub(self.paused.len()))
    }

    /// How many of its tasks run, as far as its agent has told.
    pub fn running(&self) -> u32 {
        match self.preparing {
            Some(_) => 0,
            None => self.slots_out(),
        }
    }

    /// How long a task of its stage takes there, in microseconds, as far as is known; or 0.
    pub(crate) fn task_us_known(&self, queue: &StageQueue) -> u64 {
        if self.mean_task_us > 0 { self.mean_task_us } else { queue.mean_task_us }
    }

    /// The same, at least: while none ends, each takes as long as it has been there.
    pub(crate) fn task_us(&self, queue: &StageQueue, now_ms: u64) -> u64 {
        match self.task_us_known(queue) {
            0 => now_ms.saturating_sub(self.granted_ms).saturating_mul(1_000),
            known => known,
        }
    }

    /// Its last tasks, as far as they surely have not begun: an agent takes the first ones first.
    pub(crate) fn queued(&self, most: u32) -> RangeSet {
        self.open.last(self.queue_len().min(most))
    }

    /// How many tasks it has beside those that can run.
    pub(crate) fn queue_len(&self) -> u32 {
        self.open.len().saturating_sub(self.slots)
    }

    /// Tasks have a result. Its agent runs them all the same, unless the result is its own.
    pub(super) fn close(&mut self, tasks: &RangeSet) {
        for range in tasks.ranges() {
            let mut foreign = self.open.within(*range);
            foreign.remove_all(&self.sent);
            self.surplus.insert_all(&foreign);
            self.open.remove(*range);
            self.sent.remove(*range);
            self.paused.remove(*range);
        }
    }
}

impl StageQueue {
    /// The queue of a stage of which these tasks wait.
    pub(super) fn new(job: &Job, stage: &Stage, spec: &StageSpec, waiting: RangeSet) -> StageQueue {
        StageQueue {
            namespace: job.spec.namespace.clone(),
            priority: job.spec.priority,
            count: spec.count,
            once: spec.once,
            leased_through: stage.leased_through,
            waiting,
            paused: stage.paused.clone(),
            mean_task_us: 0,
            extending: false,
            extend_by: FIRST_LEASED_THROUGH,
            uncertain: RangeSet::new(),
            leases: BTreeSet::new(),
            cool: BTreeMap::new(),
            served: 0,
            slots: 0,
            rank: None,
        }
    }

    /// The place it should have in its namespace's order, with so many slots out.
    pub(super) fn wanted_rank(&self, slots: u32) -> Option<Rank> {
        let priority = Reverse(self.priority);
        let wanted = match self.paused.is_empty() {
            true => !self.waiting.is_empty(),
            false => !self.unpaused(self.waiting.clone()).is_empty(),
        };
        wanted.then_some(Rank { priority, slots, served: self.served })
    }

    /// Whether agents may have tasks of which they have not told.
    pub fn is_uncertain(&self) -> bool {
        !self.uncertain.is_empty()
    }

    /// Whether tasks wait, and all of them because they are paused.
    pub fn is_paused(&self) -> bool {
        !self.waiting.is_empty() && self.unpaused(self.waiting.clone()).is_empty()
    }

    /// Waiting tasks that the committed mark allows to lease, and that do not stand still.
    pub fn leasable(&self) -> RangeSet {
        self.unpaused(self.below_mark())
    }

    fn unpaused(&self, mut tasks: RangeSet) -> RangeSet {
        if !self.paused.is_empty() {
            tasks.remove_all(&self.paused);
        }
        tasks
    }

    /// Tasks are in no lease any more. Those that run at most once do not wait before that is
    /// committed, if their lease was.
    pub(super) fn take_back(&mut self, tasks: &RangeSet, proposed: bool) {
        match self.once && !proposed {
            true => self.uncertain.insert_all(tasks),
            false => self.waiting.insert_all(tasks),
        }
    }

    /// Waiting tasks that the committed mark allows to lease.
    pub(crate) fn below_mark(&self) -> RangeSet {
        match self.leased_through {
            0 => RangeSet::new(),
            mark => self.waiting.within(TaskRange::new(0, mark)),
        }
    }

    /// Whether an agent gave tasks of this stage back a moment ago.
    pub fn is_cooling(&self, agent: AgentId, now_ms: u64) -> bool {
        self.cool.get(&agent).is_some_and(|until| now_ms < *until)
    }

    /// The leases of this stage.
    pub fn leases(&self) -> &BTreeSet<LeaseId> {
        &self.leases
    }
}
