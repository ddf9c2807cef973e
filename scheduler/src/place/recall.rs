//! Tasks that wait at one agent while another has nothing to do: they are recalled, and leased anew.
//!
//! A lease is made before it is known how long its tasks take, and how fast its agent is. So one may
//! hold hours of work while everybody else is done. Only tasks that have not begun come back.

use weir_proto::id::{AgentId, LeaseId};

use super::takes_more;
use crate::{
    lease::{HeldLease, LeaseTable, LeaseTasks},
    state::ClusterState,
};

/// Tasks that would begin sooner than this where they are stay there: it is some round trips.
const WORTH_US: u64 = 50_000;
/// How long an agent has for giving tasks of a lease back, before more are recalled from it.
const ANSWER_MS: u64 = 1_000;

/// Tasks for agents with room for which nothing waits.
pub(super) fn recall(state: &ClusterState, table: &mut LeaseTable, now_ms: u64) -> Vec<LeaseTasks> {
    let idle = table.agents().iter().filter(|(id, agent)| {
        let room = agent.description.resources.without(&table.used(**id));
        agent.connected && room.cpu_millis > 0 && takes_more(state, table, **id)
    });
    let idle: Vec<AgentId> = idle.map(|(id, _)| *id).collect();
    let mut recalled = Vec::new();
    for agent in idle {
        let Some((id, most)) = longest_queue_for(state, table, agent, now_ms) else { continue };
        if let Some(held) = table.recalling(id, now_ms) {
            recalled.push((held.agent, id, held.queued(most)));
        }
    }
    recalled
}

/// The lease with the longest queue that an agent could take tasks of, and how many.
fn longest_queue_for(
    state: &ClusterState,
    table: &LeaseTable,
    agent: AgentId,
    now_ms: u64,
) -> Option<(LeaseId, u32)> {
    let description = &table.agents().get(&agent)?.description;
    let room = description.resources.without(&table.used(agent));
    let could_give = |held: &HeldLease| {
        held.agent != agent
            && !held.proposed
            && held.queue_len() > 0
            && held.recalled_ms.is_none_or(|asked_ms| now_ms >= asked_ms + ANSWER_MS)
    };
    let wait_us = |held: &HeldLease| {
        let queue = table.stages().get(&held.stage)?;
        let (_, spec) = state.stage(held.stage)?;
        // What waits with the leader goes first.
        let takes = description.slots_in(&room, spec) > 0
            && queue.leasable().is_empty()
            && !queue.is_cooling(agent, now_ms);
        let queue_us = u64::from(held.queue_len()).saturating_mul(held.task_us(queue, now_ms));
        takes.then_some(queue_us / u64::from(held.slots.max(1)))
    };
    let queues = table.leases().iter().filter(|(_, held)| could_give(held));
    let longest = queues.filter_map(|(id, held)| Some((wait_us(held)?, *id, held)));
    let (_, id, held) = longest
        .filter(|(wait_us, ..)| *wait_us >= WORTH_US)
        .max_by_key(|(wait_us, id, _)| (*wait_us, *id))?;
    Some((id, held.queue_len().div_ceil(2)))
}
