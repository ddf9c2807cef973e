//! The lease table: which tasks the leader has lent to whom. Soft state, never in the log.
//!
//! Every open task of an active stage is in exactly one of three places: *waiting* for a lease,
//! *leased*, or *uncertain*: an earlier leader may have leased it, and its agent has not told yet; or
//! it runs at most once, and it is not committed yet that nobody has it.
//! [`crate::place`] reads the table and decides; the master records here what was decided.

mod entries;
mod look;
mod once;
mod pause;
mod shares;

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{
    agent::AgentDescription,
    id::{AgentId, LeaseId, Namespace, StageId},
    lease::{Lease, LeaseMarks},
    range::{RangeSet, TaskRange},
};

use self::shares::NamespaceQueue;
pub use self::{
    entries::{AttachedAgent, HeldLease, StageQueue},
    once::Unheld,
    pause::LeaseTasks,
};
use crate::{place::EXTEND_AT_MOST, state::ClusterState};

/// How long a new leader waits for agents that its predecessor knew, before it leases their tasks
/// to others.
pub const REATTACH_WINDOW_MS: u64 = 5_000;
/// How long an agent that gave tasks of a stage back gets no more of that stage.
pub const COOL_DOWN_MS: u64 = 5_000;
/// How long a silent agent keeps its leases.
pub const AGENT_SILENCE_MS: u64 = 6_000;
/// Weight of an old mean of task times against a new one, in eighths.
const MEAN_MEMORY: u64 = 6;

/// What the leader has lent.
#[derive(Debug, Clone, Default)]
pub struct LeaseTable {
    term: u64,
    last_seq: u64,
    agents: BTreeMap<AgentId, AttachedAgent>,
    stages: BTreeMap<StageId, StageQueue>,
    leases: BTreeMap<LeaseId, HeldLease>,
    /// Namespaces of those stages, each with its stages' order.
    namespaces: BTreeMap<Namespace, NamespaceQueue>,
    /// Until when what they use is counted.
    used_until_ms: u64,
    /// Counts grants, to tell whose turn was longest ago.
    grants: u64,
    /// Stages whose `leased_through` is below their count.
    partly_leasable: BTreeSet<StageId>,
    /// Live agents that have not attached to this leader yet, and until when it waits for them.
    awaited: BTreeSet<AgentId>,
    awaited_until_ms: u64,
    /// Those that did not come in time, and are not given up yet.
    overdue: BTreeSet<AgentId>,
    /// Leases that ended, and that nobody took notice of yet.
    over: Vec<LeaseId>,
    /// Stages whose tasks run at most once.
    once: BTreeSet<StageId>,
    /// Their tasks that are to be proposed as free for others.
    unheld: Unheld,
}

/// What comes of an agent's attaching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Leases of the agent whose tasks nobody wants any more.
    pub revoke: Vec<LeaseId>,
}

impl LeaseTable {
    /// The table of a leader that has just been elected.
    pub fn lead(state: &ClusterState, term: u64, now_ms: u64) -> LeaseTable {
        let mut table = LeaseTable {
            term,
            awaited: state.live_agents().map(|agent| agent.description.id).collect(),
            awaited_until_ms: now_ms + REATTACH_WINDOW_MS,
            used_until_ms: now_ms,
            ..LeaseTable::default()
        };
        for id in state.active_stages() {
            let (Some(job), Some((stage, spec))) = (state.jobs.get(&id.job), state.stage(id))
            else {
                continue;
            };
            let waiting = stage.open(spec.count);
            let mut uncertain = RangeSet::new();
            if spec.once {
                stage.granted.values().for_each(|granted| uncertain.insert_all(&granted.tasks));
            } else if stage.leased_through > 0 {
                uncertain = waiting.within(TaskRange::new(0, stage.leased_through));
            }
            let mut queue = StageQueue::new(job, stage, spec, waiting);
            queue.waiting.remove_all(&uncertain);
            queue.uncertain = uncertain;
            table.insert_stage(state, id, queue);
        }
        table.settle(now_ms);
        table
    }

    /// A stage of a job that was just accepted; nobody can have leased its tasks before.
    pub fn add_stage(&mut self, state: &ClusterState, id: StageId) {
        let (Some(job), Some((stage, spec))) = (state.jobs.get(&id.job), state.stage(id)) else {
            return;
        };
        let waiting = stage.open(spec.count);
        self.insert_stage(state, id, StageQueue::new(job, stage, spec, waiting));
    }

    fn insert_stage(&mut self, state: &ClusterState, id: StageId, queue: StageQueue) {
        if queue.leased_through < queue.count {
            self.partly_leasable.insert(id);
        }
        if queue.once {
            self.once.insert(id);
        }
        self.join(state, &queue.namespace);
        self.stages.insert(id, queue);
        self.rank(id);
    }

    /// Stops waiting for agents of an earlier leader, once all have come or the window has passed.
    pub fn settle(&mut self, now_ms: u64) {
        if !self.awaited.is_empty() && now_ms < self.awaited_until_ms {
            return;
        }
        self.overdue.extend(std::mem::take(&mut self.awaited));
        let mut settled = Vec::new();
        let uncertain = |queue: &StageQueue| !queue.once && !queue.uncertain.is_empty();
        for (id, queue) in self.stages.iter_mut().filter(|(_, queue)| uncertain(queue)) {
            let uncertain = std::mem::take(&mut queue.uncertain);
            queue.waiting.insert_all(&uncertain);
            settled.push(*id);
        }
        for id in settled {
            self.rank(id);
        }
    }

    /// Whether no agent of an earlier leader is waited for.
    pub fn is_settled(&self) -> bool {
        self.awaited.is_empty()
    }

    /// An agent opened a session and told which leases it holds.
    ///
    /// Tasks that the table thought were there and are not go back to waiting; tasks of an earlier
    /// leader's leases are taken over.
    pub fn attach(
        &mut self,
        state: &ClusterState,
        description: AgentDescription,
        connection: u64,
        held: Vec<LeaseMarks>,
        now_ms: u64,
    ) -> Attached {
        let id = description.id;
        self.awaited.remove(&id);
        self.overdue.remove(&id);
        let known = self.agents.remove(&id).map(|agent| agent.leases).unwrap_or_default();
        let agent = AttachedAgent {
            description,
            heard_ms: now_ms,
            connected: true,
            connection,
            stops: false,
            leases: known.clone(),
        };
        self.agents.insert(id, agent);
        let mut revoke = Vec::new();
        let mut told = BTreeSet::new();
        for marks in held {
            told.insert(marks.id);
            if !self.adopt(state, id, marks.clone(), now_ms) {
                revoke.push(marks.id);
            }
        }
        for lease in known.difference(&told) {
            // One that was not sent yet will be.
            if self.leases.get(lease).is_some_and(|held| !held.proposed) {
                self.release(*lease);
            }
        }
        self.note_unheld(state, id, connection);
        self.settle(now_ms);
        Attached { revoke }
    }

    /// Takes over a lease an agent says it holds; false if nobody wants its tasks.
    fn adopt(
        &mut self,
        state: &ClusterState,
        agent: AgentId,
        marks: LeaseMarks,
        now_ms: u64,
    ) -> bool {
        let Some((stage, spec)) = state.stage(marks.stage) else { return false };
        let Some(queue) = self.stages.get_mut(&marks.stage) else { return false };
        let mut open = marks.open.clone();
        open.remove_all(&stage.done);
        let mine = self.leases.get(&marks.id).filter(|held| held.agent == agent);
        let before = mine.map(|held| held.open.clone()).unwrap_or_default();
        // What another agent has been lent meanwhile stays lent there: the first result wins.
        let mut free = queue.uncertain.clone();
        if !queue.once {
            free.insert_all(&queue.waiting);
        }
        free.insert_all(&before);
        open = open.intersection(&free);
        if open.is_empty() && mine.is_none() {
            return false;
        }
        queue.waiting.remove_all(&open);
        queue.uncertain.remove_all(&open);
        let mut gone = before;
        gone.remove_all(&open);
        gone.remove_all(&stage.done);
        queue.take_back(&gone, false);
        let mut surplus = marks.open.within(TaskRange::new(0, spec.count));
        surplus.remove_all(&stage.done);
        surplus.remove_all(&open);
        for index in marks.started.iter().filter(|index| stage.done.contains(**index)) {
            surplus.insert(TaskRange::single(*index));
        }
        let wanted = !open.is_empty();
        let has = self.agents.get(&agent).map(|agent| &agent.description.resources);
        let most = has.map_or(1, |has| has.slots(&spec.resources).max(1));
        let mut paused = marks.paused;
        paused.insert_all(&queue.paused);
        let held = HeldLease {
            agent,
            stage: marks.stage,
            paused: paused.intersection(&open),
            granted_ms: now_ms,
            recalled_ms: None,
            mean_task_us: marks.mean_task_us,
            slots: marks.slots.clamp(1, most),
            each: spec.resources.clone(),
            open,
            proposed: false,
            started: marks.started,
            preparing: None,
            sent: RangeSet::new(),
            surplus,
        };
        self.insert_lease(marks.id, held);
        wanted
    }

    /// Puts a lease in, unless it has no task left.
    fn insert_lease(&mut self, id: LeaseId, held: HeldLease) {
        if held.open.is_empty() {
            self.remove_lease(id);
            return;
        }
        if let Some(queue) = self.stages.get_mut(&held.stage) {
            queue.leases.insert(id);
        }
        if let Some(agent) = self.agents.get_mut(&held.agent) {
            agent.leases.insert(id);
        }
        let stage = held.stage;
        self.leases.insert(id, held);
        self.rank(stage);
    }

    fn remove_lease(&mut self, id: LeaseId) -> Option<HeldLease> {
        let held = self.take_lease(id)?;
        self.over.push(id);
        Some(held)
    }

    /// Takes a lease out, to change it and put it in again.
    fn take_lease(&mut self, id: LeaseId) -> Option<HeldLease> {
        let held = self.leases.remove(&id)?;
        if let Some(queue) = self.stages.get_mut(&held.stage) {
            queue.leases.remove(&id);
        }
        if let Some(agent) = self.agents.get_mut(&held.agent) {
            agent.leases.remove(&id);
        }
        self.rank(held.stage);
        Some(held)
    }

    /// Ends a lease; its open tasks wait again.
    fn release(&mut self, id: LeaseId) {
        let Some(held) = self.remove_lease(id) else { return };
        if let Some(queue) = self.stages.get_mut(&held.stage) {
            queue.take_back(&held.open, held.proposed);
        }
        self.rank(held.stage);
    }

    /// An agent's session broke; it keeps its leases for a while.
    pub fn detach(&mut self, agent: AgentId) {
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.connected = false;
        }
    }

    /// An agent says that it takes no more tasks, as long as this session lasts.
    pub fn stops(&mut self, agent: AgentId) {
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.stops = true;
        }
    }

    /// An agent gave signs of life.
    pub fn heard(&mut self, agent: AgentId, marks: &[LeaseMarks], now_ms: u64) {
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.heard_ms = now_ms;
        }
        for marks in marks {
            if let Some(held) = self.leases.get_mut(&marks.id)
                && held.agent == agent
            {
                held.started.clone_from(&marks.started);
                held.mean_task_us = marks.mean_task_us;
                held.preparing = marks.preparing.map(|told| told.since(now_ms));
            }
        }
    }

    /// The clock jumped from one time to another: nobody was silent or waited meanwhile.
    pub fn clock_jumped(&mut self, from_ms: u64, to_ms: u64) {
        let shift = |time_ms: &mut u64| {
            *time_ms = time_ms.saturating_add(to_ms).saturating_sub(from_ms);
        };
        shift(&mut self.awaited_until_ms);
        shift(&mut self.used_until_ms);
        for agent in self.agents.values_mut() {
            shift(&mut agent.heard_ms);
        }
        for until_ms in self.stages.values_mut().flat_map(|queue| queue.cool.values_mut()) {
            shift(until_ms);
        }
        for held in self.leases.values_mut() {
            shift(&mut held.granted_ms);
            held.recalled_ms.iter_mut().for_each(shift);
        }
    }

    /// An agent is faster or slower than was known.
    pub fn calibrated(&mut self, agent: AgentId, fuel_per_second: u64) {
        if let Some(agent) = self.agents.get_mut(&agent) {
            agent.description.fuel_per_second = fuel_per_second;
        }
    }

    /// An agent is lost: its tasks wait again.
    pub fn lose(&mut self, agent: AgentId) {
        self.awaited.remove(&agent);
        self.overdue.remove(&agent);
        let Some(lost) = self.agents.remove(&agent) else { return };
        for lease in lost.leases {
            self.release(lease);
        }
    }

    /// An agent sent results of a lease: it no longer runs these tasks.
    pub fn sent(&mut self, agent: AgentId, lease: LeaseId, range: TaskRange) {
        if let Some(held) = self.leases.get_mut(&lease).filter(|held| held.agent == agent) {
            held.surplus.remove(range);
            held.sent.insert_all(&held.open.within(range));
        }
    }

    /// Tasks have a result, from whomever; returns the leases to revoke, with their agents: those
    /// that are over while their agents may still run tasks of them.
    pub fn done(&mut self, stage: StageId, tasks: &RangeSet) -> Vec<(AgentId, LeaseId)> {
        let Some(queue) = self.stages.get_mut(&stage) else { return Vec::new() };
        queue.waiting.remove_all(tasks);
        queue.uncertain.remove_all(tasks);
        queue.paused.remove_all(tasks);
        let mut revoke = Vec::new();
        for id in queue.leases.clone() {
            let Some(held) = self.leases.get_mut(&id) else { continue };
            held.close(tasks);
            let (agent, surplus) = (held.agent, !held.surplus.is_empty());
            if held.open.is_empty() {
                self.remove_lease(id);
                if surplus {
                    revoke.push((agent, id));
                }
            }
        }
        self.rank(stage);
        revoke
    }

    /// Tasks failed and are run again: they wait, wherever they were leased.
    pub fn retry(&mut self, stage: StageId, tasks: &RangeSet) {
        let Some(queue) = self.stages.get_mut(&stage) else { return };
        queue.waiting.insert_all(tasks);
        queue.uncertain.remove_all(tasks);
        for id in queue.leases.clone() {
            let Some(held) = self.leases.get_mut(&id) else { continue };
            held.open.remove_all(tasks);
            held.sent.remove_all(tasks);
            held.paused.remove_all(tasks);
            if held.open.is_empty() {
                self.remove_lease(id);
            }
        }
        self.rank(stage);
    }

    /// Learns from a page how long tasks of a stage take.
    pub fn measured(&mut self, stage: StageId, mean_us: u64) {
        let Some(queue) = self.stages.get_mut(&stage) else { return };
        let mean_us = mean_us.max(1);
        queue.mean_task_us = match queue.mean_task_us {
            0 => mean_us,
            old => (old
                .saturating_mul(MEAN_MEMORY)
                .saturating_add(mean_us.saturating_mul(8 - MEAN_MEMORY))
                / 8)
            .max(1),
        };
    }

    /// An agent gave tasks back; returns whether to revoke the lease, which is over while its
    /// agent may still run tasks of it. Until `cool_until_ms`, where that is given, the agent gets no
    /// more tasks of their stage.
    pub fn give_back(
        &mut self,
        agent: AgentId,
        lease: LeaseId,
        range: TaskRange,
        cool_until_ms: Option<u64>,
    ) -> bool {
        let Some(held) = self.leases.get_mut(&lease).filter(|held| held.agent == agent) else {
            return false;
        };
        let back = held.open.within(range);
        held.open.remove_all(&back);
        held.paused.remove_all(&back);
        held.surplus.remove(range);
        let (stage, proposed) = (held.stage, held.proposed);
        let (empty, surplus) = (held.open.is_empty(), !held.surplus.is_empty());
        if let Some(queue) = self.stages.get_mut(&stage) {
            queue.take_back(&back, proposed);
            if queue.once && !proposed {
                self.unheld.entry((stage, lease)).or_default().insert_all(&back);
            }
            if let Some(until_ms) = cool_until_ms {
                queue.cool.insert(agent, until_ms);
            }
        }
        if empty {
            self.remove_lease(lease);
        }
        self.rank(stage);
        empty && surplus
    }

    /// A stage's job has ended; returns the leases to revoke, with their agents.
    pub fn remove_stage(&mut self, stage: StageId) -> Vec<(AgentId, LeaseId)> {
        let Some(queue) = self.stages.remove(&stage) else { return Vec::new() };
        self.partly_leasable.remove(&stage);
        self.once.remove(&stage);
        self.part(&queue.namespace, stage, queue.rank, queue.slots);
        let mut revoke = Vec::new();
        for id in queue.leases {
            if let Some(held) = self.remove_lease(id) {
                revoke.push((held.agent, id));
            }
        }
        revoke
    }

    /// A higher `leased_through` of a stage was proposed.
    pub fn extending(&mut self, stage: StageId) {
        if let Some(queue) = self.stages.get_mut(&stage) {
            queue.extending = true;
        }
    }

    /// It could not be proposed; the next placement asks for it again.
    pub fn not_extending(&mut self, stage: StageId) {
        if let Some(queue) = self.stages.get_mut(&stage) {
            queue.extending = false;
        }
    }

    /// `leased_through` of a stage was extended.
    pub fn extended(&mut self, stage: StageId, leased_through: u32) {
        let Some(queue) = self.stages.get_mut(&stage) else { return };
        queue.extending = false;
        queue.extend_by = queue.extend_by.saturating_mul(2).min(EXTEND_AT_MOST);
        queue.leased_through = leased_through;
        if queue.leased_through >= queue.count {
            self.partly_leasable.remove(&stage);
        }
    }

    /// Tasks of a lease are recalled now.
    pub(crate) fn recalling(&mut self, lease: LeaseId, now_ms: u64) -> Option<&HeldLease> {
        let held = self.leases.get_mut(&lease)?;
        held.recalled_ms = Some(now_ms);
        Some(held)
    }

    /// Agents of an earlier leader that did not come in time, and are not given up yet.
    pub fn overdue(&self) -> impl Iterator<Item = AgentId> + '_ {
        self.overdue.iter().copied()
    }

    /// Leases that ended since this was last asked, for whoever measures.
    pub fn take_over(&mut self) -> Vec<LeaseId> {
        std::mem::take(&mut self.over)
    }

    /// The id that the next new lease will have.
    pub fn next_lease_id(&self) -> LeaseId {
        LeaseId { term: self.term, seq: self.last_seq + 1 }
    }

    /// Records a lease that was decided.
    pub fn grant(&mut self, agent: AgentId, lease: &Lease, now_ms: u64) {
        self.grants += 1;
        if let Some(queue) = self.stages.get_mut(&lease.stage) {
            queue.waiting.remove(lease.range);
            queue.served = self.grants;
        }
        if lease.id.term == self.term {
            self.last_seq = self.last_seq.max(lease.id.seq);
        }
        let mut held = self.take_lease(lease.id).unwrap_or_else(|| HeldLease {
            agent,
            stage: lease.stage,
            slots: lease.slots,
            each: lease.spec.resources.clone(),
            open: RangeSet::new(),
            proposed: lease.spec.once,
            started: Vec::new(),
            paused: RangeSet::new(),
            granted_ms: now_ms,
            recalled_ms: None,
            mean_task_us: 0,
            preparing: None,
            sent: RangeSet::new(),
            surplus: RangeSet::new(),
        });
        held.open.insert(lease.range);
        held.granted_ms = now_ms;
        self.insert_lease(lease.id, held);
    }
}
