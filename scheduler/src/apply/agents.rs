//! Agents: admitted, measured, drained, gone, and given up.

use weir_proto::{
    agent::AgentDescription,
    event::Happened,
    id::{AgentId, LeaseId, TaskId},
    outcome::Outcome,
    range::{RangeSet, TaskRange},
};

use super::{
    Effect, Rejection, give_verdict,
    jobs::end_if_done,
    once::{end_life, free_unbegun},
    stage_mut,
};
use crate::state::{AgentLife, AgentRecord, ClusterState, MAX_AGENT_LOSSES, MAX_AGENTS};

pub(super) fn register(
    state: &mut ClusterState,
    description: AgentDescription,
) -> Result<Vec<Effect>, Rejection> {
    let id = description.id;
    if !state.agents.contains_key(&id) && state.agents.len() >= MAX_AGENTS {
        forget_longest_gone_agent(state)?;
    }
    let life = AgentLife::Live { since_ms: state.now_ms };
    // Whoever starts an agent again wants it to work.
    let draining = state.agents.get(&id).is_some_and(|known| {
        known.draining && known.description.incarnation == description.incarnation
    });
    let mut effects = Vec::new();
    let known = state.agents.get(&id).map(|known| known.description.incarnation);
    if known.is_some_and(|known| known != description.incarnation) {
        end_life(state, id, &mut effects);
    }
    state.record(Happened::AgentJoined { agent: id, name: description.name.clone() });
    state.agents.insert(id, AgentRecord { description, life, draining });
    effects.push(Effect::AgentRegistered(id));
    Ok(effects)
}

fn forget_longest_gone_agent(state: &mut ClusterState) -> Result<(), Rejection> {
    let gone = state.agents.iter().filter_map(|(id, agent)| match agent.life {
        AgentLife::Live { .. } => None,
        AgentLife::Lost { since_ms } | AgentLife::Left { since_ms } => Some((since_ms, *id)),
    });
    let Some((_, longest)) = gone.min() else { return Err(Rejection::TooManyAgents) };
    state.agents.remove(&longest);
    Ok(())
}

/// It has stopped by itself: nobody is to blame, and what it had is run elsewhere.
pub(super) fn leave(
    state: &mut ClusterState,
    agent: AgentId,
    abandoned: &[(LeaseId, RangeSet)],
) -> Result<Vec<Effect>, Rejection> {
    let now_ms = state.now_ms;
    let Some(record) = state.agents.get_mut(&agent) else {
        return Err(Rejection::UnknownAgent(agent));
    };
    record.life = AgentLife::Left { since_ms: now_ms };
    let name = record.description.name.clone();
    state.record(Happened::AgentLeft { agent, name });
    let free = free_unbegun(state, agent, abandoned);
    let mut effects = Vec::new();
    end_life(state, agent, &mut effects);
    effects.push(Effect::AgentGone(agent));
    effects.extend(free);
    Ok(effects)
}

pub(super) fn drain(
    state: &mut ClusterState,
    agent: AgentId,
    draining: bool,
) -> Result<Vec<Effect>, Rejection> {
    let Some(record) = state.agents.get_mut(&agent) else {
        return Err(Rejection::UnknownAgent(agent));
    };
    if !matches!(record.life, AgentLife::Live { .. }) {
        return Err(Rejection::AgentGone(agent));
    }
    if record.draining == draining {
        return Ok(Vec::new());
    }
    record.draining = draining;
    let name = record.description.name.clone();
    state.record(Happened::AgentDrained { agent, name, draining });
    Ok(vec![Effect::AgentDrained { agent, draining }])
}

/// It is the same agent in the same life, only faster or slower than was known. Nobody reads of it in
/// the events: it is not for people to act on.
pub(super) fn calibrate(
    state: &mut ClusterState,
    agent: AgentId,
    fuel_per_second: u64,
) -> Result<Vec<Effect>, Rejection> {
    let Some(record) = state.agents.get_mut(&agent) else {
        return Err(Rejection::UnknownAgent(agent));
    };
    record.description.fuel_per_second = fuel_per_second;
    Ok(vec![Effect::AgentCalibrated { agent, fuel_per_second }])
}

/// Only tasks that had started are blamed: one that waited there did the agent no harm.
pub(super) fn lose(
    state: &mut ClusterState,
    agent: AgentId,
    suspects: &[TaskId],
) -> Result<Vec<Effect>, Rejection> {
    let now_ms = state.now_ms;
    let Some(record) = state.agents.get_mut(&agent) else {
        return Err(Rejection::UnknownAgent(agent));
    };
    record.life = AgentLife::Lost { since_ms: now_ms };
    let name = record.description.name.clone();
    state.record(Happened::AgentLost { agent, name });
    let mut effects = Vec::new();
    end_life(state, agent, &mut effects);
    for task in suspects {
        let Some(losses) = count_loss(state, *task) else { continue };
        if losses >= MAX_AGENT_LOSSES {
            let outcome = Outcome::AgentLostTooOften { losses };
            give_verdict(state, task.stage, TaskRange::single(task.index), outcome, &mut effects);
            end_if_done(state, task.stage.job, false, &mut effects);
        }
    }
    effects.push(Effect::AgentGone(agent));
    Ok(effects)
}

/// The task's losses with this one, or `None` if it has a result or is not known.
fn count_loss(state: &mut ClusterState, task: TaskId) -> Option<u32> {
    let (stage, spec) = state.stage(task.stage)?;
    // A task that runs at most once loses no second agent.
    if task.index >= spec.count || stage.done.contains(task.index) || spec.once {
        return None;
    }
    let losses = stage_mut(state, task.stage)?.losses.entry(task.index).or_default();
    *losses += 1;
    Some(*losses)
}
