//! Tasks that run at most once: who has them is replicated, so that no leader lends them twice.

use weir_proto::{
    id::{AgentId, Incarnation, LeaseId, StageId},
    outcome::Outcome,
    range::RangeSet,
};

use super::{Effect, Rejection, give_verdict, jobs::end_if_done, stage_mut};
use crate::{
    stage::{Granted, Stage},
    state::{AgentLife, ClusterState},
};

pub(super) fn grant(
    state: &mut ClusterState,
    lease: LeaseId,
    id: StageId,
    granted: Granted,
    incarnation: Incarnation,
) -> Result<Vec<Effect>, Rejection> {
    let refused = Rejection::NotGranted { lease, stage: id };
    let is_there = state.agents.get(&granted.agent).is_some_and(|record| {
        matches!(record.life, AgentLife::Live { .. })
            && record.description.incarnation == incarnation
    });
    let Some((stage, spec)) = state.stage(id) else { return Err(refused) };
    let mut free = stage.open(spec.count);
    for others in stage.granted.values() {
        free.remove_all(&others.tasks);
    }
    let is_free = free.intersection(&granted.tasks) == granted.tasks;
    if !spec.once || !is_there || !is_free || stage.granted.contains_key(&lease) {
        return Err(refused);
    }
    let Some(stage) = stage_mut(state, id) else { return Err(refused) };
    stage.granted.insert(lease, granted);
    Ok(Vec::new())
}

pub(super) fn give_back(
    state: &mut ClusterState,
    lease: LeaseId,
    id: StageId,
    tasks: &RangeSet,
) -> Result<Vec<Effect>, Rejection> {
    let refused = Rejection::NotGranted { lease, stage: id };
    let Some(stage) = stage_mut(state, id) else { return Err(refused) };
    let Some(granted) = stage.granted.get_mut(&lease) else { return Err(refused) };
    let tasks = granted.tasks.intersection(tasks);
    granted.tasks.remove_all(&tasks);
    if granted.tasks.is_empty() {
        stage.granted.remove(&lease);
    }
    Ok(vec![Effect::OnceReturned { stage: id, tasks }])
}

/// An agent has told what had begun there: the rest of what is granted to it is free.
pub(super) fn free_unbegun(
    state: &mut ClusterState,
    agent: AgentId,
    begun: &[(LeaseId, RangeSet)],
) -> Vec<Effect> {
    let mut effects = Vec::new();
    let stages: Vec<StageId> = state.active_stages().collect();
    for id in stages {
        let has = |stage: &Stage| stage.granted.values().any(|granted| granted.agent == agent);
        if !state.stage(id).is_some_and(|(stage, _)| has(stage)) {
            continue;
        }
        let Some(stage) = stage_mut(state, id) else { continue };
        let mut free = RangeSet::new();
        for (lease, granted) in stage.granted.iter_mut().filter(|(_, of)| of.agent == agent) {
            let mut unbegun = granted.tasks.clone();
            for (_, begun) in begun.iter().filter(|(of, _)| of == lease) {
                unbegun.remove_all(begun);
            }
            granted.tasks.remove_all(&unbegun);
            free.insert_all(&unbegun);
        }
        stage.granted.retain(|_, granted| !granted.tasks.is_empty());
        effects.push(Effect::OnceReturned { stage: id, tasks: free });
    }
    effects
}

/// A life of an agent is over. Whether its tasks had begun there nobody can tell any more: they end
/// without a result of their own.
pub(super) fn end_life(state: &mut ClusterState, agent: AgentId, effects: &mut Vec<Effect>) {
    let stages: Vec<StageId> = state.active_stages().collect();
    for id in stages {
        let Some((stage, _)) = state.stage(id) else { continue };
        let mut ended = RangeSet::new();
        for granted in stage.granted.values().filter(|granted| granted.agent == agent) {
            ended.insert_all(&granted.tasks);
        }
        for range in ended.ranges() {
            let outcome = Outcome::AgentLostTooOften { losses: 1 };
            give_verdict(state, id, *range, outcome, effects);
        }
        if !ended.is_empty() {
            end_if_done(state, id.job, false, effects);
        }
    }
}
