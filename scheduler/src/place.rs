//! Placement: which waiting tasks are lent to which agent. The same state, table and time give the
//! same leases. Their next stop is the session with the agent in `weir-master`.
//!
//! The namespace with the smallest claim gets first (`lease/shares.rs`); of its stages those of the
//! highest priority, of these the one that has least, of equals the one that waited longest. Agents
//! with most room give first. A running lease is topped up before it runs dry, unless a stage that
//! goes first waits for the same agent. What waits at one agent while another has nothing to do is
//! recalled, see `place/recall.rs`.

mod recall;

use std::cmp::Reverse;

use weir_proto::{
    agent::AgentDescription,
    id::{AgentId, LeaseId, StageId},
    lease::Lease,
    limits::Resources,
    range::{RangeSet, TaskRange},
    weight::Weight,
};

use crate::{
    lease::{HeldLease, LeaseTable, LeaseTasks},
    stage::Stage,
    state::ClusterState,
};

/// How much work a lease should hold for each of its slots.
const LEASE_TARGET_US: u64 = 200_000;
/// Tasks for each slot of a stage whose task length is not known yet.
const FIRST_TASKS_PER_SLOT: u64 = 4;
/// Most tasks for each slot of a lease whose tasks run at most once.
const ONCE_TASKS_PER_SLOT: u64 = 16;
/// Most tasks added to a lease at once.
const MAX_TASKS_ADDED: u32 = 8_192;
/// Most leases decided at once; the rest follows at the next call.
pub const MAX_GRANTS: usize = 1_024;
/// `leased_through` is extended when fewer tasks than this can be leased, and at most by the cap.
const EXTEND_BELOW: u32 = 16_384;
pub(crate) const EXTEND_AT_MOST: u32 = 131_072;

/// What the leader should do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Tasks that stand still from now on, of leases of which others go on.
    pub resumed: Vec<LeaseTasks>,
    /// Tasks to be given back, as far as they have not begun.
    pub recalled: Vec<LeaseTasks>,
    /// Leases to grant, or to add tasks to.
    pub grants: Vec<(AgentId, Lease)>,
    /// Marks to extend before more tasks can be leased.
    pub extensions: Vec<(StageId, u32)>,
}

/// Decides leases for the tasks that wait, and records them in the table.
///
/// Never leases more of an agent than it has, and only tasks below their stage's committed
/// `leased_through`.
pub fn place(state: &ClusterState, table: &mut LeaseTable, now_ms: u64) -> Placement {
    let extensions = extensions(table);
    for (stage, _) in &extensions {
        table.extending(*stage);
    }
    let resumed = table.resume();
    let mut grants = Vec::new();
    while grants.len() < MAX_GRANTS {
        let next = top_up(state, table, now_ms).or_else(|| new_lease(state, table, now_ms));
        let Some((agent, lease)) = next else { break };
        table.grant(agent, &lease, now_ms);
        grants.push((agent, lease));
    }
    let recalled = recall::recall(state, table, now_ms);
    Placement { resumed, recalled, grants, extensions }
}

/// More tasks for a lease that is half empty.
fn top_up(state: &ClusterState, table: &LeaseTable, now_ms: u64) -> Option<(AgentId, Lease)> {
    table.leases().iter().find_map(|(id, held)| {
        let queue = table.stages().get(&held.stage)?;
        let waiting = queue.leasable();
        let first = *waiting.ranges().first()?;
        let (stage, _) = state.stage(held.stage)?;
        let agents = table.agents().values().filter(|agent| agent.connected).count();
        let tasks = lease_tasks(held.task_us_known(queue), held.slots, &waiting, agents);
        if queue.once
            || stage.losses.contains_key(&first.start)
            || held.open.iter().any(|index| stage.losses.contains_key(&index))
            || held.open.len() > tasks / 2
            || !takes_more(state, table, held.agent)
            || !fits_more(table, held, tasks)
            || queue.is_cooling(held.agent, now_ms)
            || somebody_goes_first(state, table, held)
        {
            return None;
        }
        let range = lease_range(stage, first, tasks);
        Some((held.agent, lease(state, table, held.stage, held.agent, *id, range, held.slots)?))
    })
}

/// Whether an agent is to get more tasks: it stays, and has cores for those that it has.
fn takes_more(state: &ClusterState, table: &LeaseTable, agent: AgentId) -> bool {
    let stops = table.agents().get(&agent).is_some_and(|agent| agent.stops);
    !stops && !state.is_draining(agent) && !table.waits_to_resume(agent)
}

/// Whether a lease may take more tasks without taking more of its agent than there is. A lease of
/// few tasks got few slots: that one runs out, and a wider one follows.
fn fits_more(table: &LeaseTable, held: &HeldLease, tasks: u32) -> bool {
    let Some(agent) = table.agents().get(&held.agent) else { return false };
    let has = &agent.description.resources;
    let narrow = held.slots < has.slots(&held.each).min(tasks);
    let more = held.each.times(held.slots).without(&held.used());
    agent.connected && !narrow && has.without(&table.used(held.agent)).covers(&more)
}

/// Whether a stage that goes before this lease's could use its agent, were it free.
fn somebody_goes_first(state: &ClusterState, table: &LeaseTable, held: &HeldLease) -> bool {
    let Some(agent) = table.agents().get(&held.agent) else { return false };
    let fits = |other: StageId| {
        let spec = state.stage(other).map(|(_, spec)| spec);
        spec.is_some_and(|spec| agent.description.slots(spec) > 0)
    };
    table.order().any(|other| table.goes_before(other, held.stage) && fits(other))
}

/// What is free of an agent.
struct Room<'a> {
    agent: AgentId,
    description: &'a AgentDescription,
    left: Resources,
}

/// A lease for the first stage in order that fits an agent with room.
fn new_lease(state: &ClusterState, table: &LeaseTable, now_ms: u64) -> Option<(AgentId, Lease)> {
    let open = table.agents().iter();
    let open = open.filter(|(id, agent)| agent.connected && takes_more(state, table, **id));
    let rooms: Vec<Room<'_>> = open
        .map(|(id, agent)| {
            let left = agent.description.resources.without(&table.used(*id));
            Room { agent: *id, description: &agent.description, left }
        })
        .filter(|room| room.left.cpu_millis > 0)
        .collect();
    if rooms.is_empty() {
        return None;
    }
    table.order().find_map(|id| lease_for(state, table, id, &rooms, now_ms))
}

fn lease_for(
    state: &ClusterState,
    table: &LeaseTable,
    id: StageId,
    rooms: &[Room<'_>],
    now_ms: u64,
) -> Option<(AgentId, Lease)> {
    let (stage, spec) = state.stage(id)?;
    let queue = table.stages().get(&id)?;
    let fitting = rooms.iter().filter(|room| !queue.is_cooling(room.agent, now_ms));
    let fitting = fitting.map(|room| (room.description.slots_in(&room.left, spec), room.agent));
    let (room, agent) = fitting
        .filter(|(slots, _)| *slots > 0)
        .max_by_key(|(slots, agent)| (*slots, Reverse(*agent)))?;
    let waiting = queue.leasable();
    let first = *waiting.ranges().first()?;
    // A task that lost an agent is leased by itself, so that blame is exact the next time.
    let slots = room.min(first.len());
    let (slots, tasks) = match stage.losses.contains_key(&first.start) {
        true => (1, 1),
        false => {
            let tasks = lease_tasks(queue.mean_task_us, slots, &waiting, rooms.len());
            let most = if queue.once { once_tasks(queue.mean_task_us, slots) } else { u32::MAX };
            (slots, tasks.min(most))
        }
    };
    let range = lease_range(stage, first, tasks);
    let slots = slots.min(range.len());
    Some((agent, lease(state, table, id, agent, table.next_lease_id(), range, slots)?))
}

fn lease(
    state: &ClusterState,
    table: &LeaseTable,
    stage: StageId,
    agent: AgentId,
    id: LeaseId,
    range: TaskRange,
    slots: u32,
) -> Option<Lease> {
    let job = state.jobs.get(&stage.job)?;
    let weight = state.weight(&job.spec.namespace);
    let spec = job.spec.stages.get(stage.stage as usize)?;
    let profile = table.agents().get(&agent)?.description.profile_for(spec.metering)?;
    Some(Lease {
        id,
        stage,
        range,
        slots,
        namespace: job.spec.namespace.clone(),
        spec: spec.clone(),
        profile: profile.to_owned(),
        // Jobs of a namespace are equal.
        weights: if weight == Weight::default() { Vec::new() } else { vec![weight.get()] },
    })
}

/// How many tasks a lease of `slots` should hold: some time's worth, but a fair part of what is
/// left, so that agents end a stage together.
fn lease_tasks(mean_task_us: u64, slots: u32, waiting: &RangeSet, agents: usize) -> u32 {
    let per_slot = match mean_task_us {
        0 => FIRST_TASKS_PER_SLOT,
        mean => (LEASE_TARGET_US / mean).max(1),
    };
    let wanted = per_slot.saturating_mul(u64::from(slots)).min(u64::from(MAX_TASKS_ADDED)) as u32;
    let fair = waiting.len().div_ceil(2 * agents.max(1) as u32);
    wanted.min(fair.max(slots)).max(1)
}

/// How many tasks a lease may hold that run at most once. Those that have not begun end with their
/// agent all the same, so only short ones wait there.
fn once_tasks(mean_task_us: u64, slots: u32) -> u32 {
    let per_slot = LEASE_TARGET_US.checked_div(mean_task_us).unwrap_or(1);
    slots.saturating_mul(per_slot.clamp(1, ONCE_TASKS_PER_SLOT) as u32)
}

/// The first tasks of a range, ending before a task that has to be leased by itself.
fn lease_range(stage: &Stage, first: TaskRange, tasks: u32) -> TaskRange {
    let end = first.end.min(first.start.saturating_add(tasks));
    let suspect = stage.losses.range(first.start + 1..).map(|(index, _)| *index).next();
    TaskRange::new(first.start, suspect.map_or(end, |suspect| end.min(suspect)))
}

/// Marks that will soon be in the way.
fn extensions(table: &LeaseTable) -> Vec<(StageId, u32)> {
    let near = table.partly_leasable().filter(|(_, queue)| {
        let ahead = EXTEND_BELOW.min(queue.extend_by / 2 + 1);
        !queue.extending && queue.below_mark().len() < ahead
    });
    near.map(|(id, queue)| {
        (id, queue.leased_through.saturating_add(queue.extend_by).min(queue.count))
    })
    .collect()
}

/// The most of each resource that any of these agents has; `None` without agents.
pub fn most_of_each<'a>(agents: impl Iterator<Item = &'a AgentDescription>) -> Option<Resources> {
    agents.map(|agent| agent.resources.clone()).reduce(|most, has| most.most(&has))
}

#[cfg(test)]
mod tests;
