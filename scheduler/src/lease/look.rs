//! What others may ask of a lease table, and what must hold of it at any time.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{
    id::{AgentId, Incarnation, LeaseId, Namespace, StageId, TaskId},
    limits::Resources,
    range::RangeSet,
};

use super::{AGENT_SILENCE_MS, AttachedAgent, HeldLease, LeaseTable, StageQueue};
use crate::state::ClusterState;

impl LeaseTable {
    /// Agents with a session, or one that broke a moment ago.
    pub fn agents(&self) -> &BTreeMap<AgentId, AttachedAgent> {
        &self.agents
    }

    /// The life of an agent's process that is attached.
    pub fn incarnation(&self, agent: AgentId) -> Option<Incarnation> {
        self.agents.get(&agent).map(|agent| agent.description.incarnation)
    }

    /// Active stages.
    pub fn stages(&self) -> &BTreeMap<StageId, StageQueue> {
        &self.stages
    }

    /// Stages whose committed mark is below their count.
    pub fn partly_leasable(&self) -> impl Iterator<Item = (StageId, &StageQueue)> {
        self.partly_leasable.iter().filter_map(|id| Some((*id, self.stages.get(id)?)))
    }

    /// Leases that are out.
    pub fn leases(&self) -> &BTreeMap<LeaseId, HeldLease> {
        &self.leases
    }

    /// What an agent's leases take of it.
    pub fn used(&self, agent: AgentId) -> Resources {
        let none = Resources::default();
        let Some(agent) = self.agents.get(&agent) else { return none };
        let leases = agent.leases.iter().filter_map(|id| self.leases.get(id));
        leases.fold(none, |sum, held| sum.plus(&held.used()))
    }

    /// Slots of a namespace that are out.
    pub fn slots_of(&self, namespace: &Namespace) -> u32 {
        self.namespaces.get(namespace).map_or(0, |namespace| namespace.slots)
    }

    /// Slots of a stage that are out, but for those whose tasks stand still.
    pub fn slots(&self, stage: StageId) -> u32 {
        let Some(queue) = self.stages.get(&stage) else { return 0 };
        let leases = queue.leases.iter().filter_map(|id| self.leases.get(id));
        leases.map(HeldLease::slots_out).sum()
    }

    /// Tasks of a stage that run, as far as agents have told.
    pub fn running(&self, stage: StageId) -> u32 {
        self.leases_of_stage(stage).map(HeldLease::running).sum()
    }

    /// The leases of a stage whose tasks cannot run yet.
    pub fn preparing(&self, stage: StageId) -> impl Iterator<Item = &HeldLease> {
        self.leases_of_stage(stage).filter(|held| held.preparing.is_some())
    }

    fn leases_of_stage(&self, stage: StageId) -> impl Iterator<Item = &HeldLease> {
        let ids = self.stages.get(&stage).into_iter().flat_map(|queue| &queue.leases);
        ids.filter_map(|id| self.leases.get(id))
    }

    /// The leases of an agent.
    pub fn leases_of(&self, agent: AgentId) -> impl Iterator<Item = (LeaseId, &HeldLease)> {
        let ids = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.leases);
        ids.filter_map(|id| Some((*id, self.leases.get(id)?)))
    }

    /// Agents not heard of for too long.
    pub fn silent(&self, now_ms: u64) -> Vec<AgentId> {
        let silent = |agent: &AttachedAgent| now_ms >= agent.heard_ms + AGENT_SILENCE_MS;
        self.agents.iter().filter(|(_, agent)| silent(agent)).map(|(id, _)| *id).collect()
    }

    /// The tasks to blame should this agent be lost: those that ran when it last told. Of a lease
    /// it never told about, the first that it would have started.
    pub fn suspects(&self, agent: AgentId) -> Vec<TaskId> {
        let Some(attached) = self.agents.get(&agent) else { return Vec::new() };
        let mut suspects = Vec::new();
        for held in attached.leases.iter().filter_map(|id| self.leases.get(id)) {
            let told = held.started.iter().copied().filter(|index| held.open.contains(*index));
            let mut started: Vec<u32> = told.collect();
            if started.is_empty() {
                started = held.open.iter().take(held.slots as usize).collect();
            }
            suspects.extend(started.into_iter().map(|index| held.stage.task(index)));
        }
        suspects
    }

    /// What must hold at any time; for tests.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn check_invariants(&self, state: &ClusterState) {
        for (id, queue) in &self.stages {
            let (stage, spec) = state.stage(*id).expect("a queued stage is known");
            let mut seen = queue.waiting.clone();
            let mut add = |tasks: &RangeSet| {
                for range in tasks.ranges() {
                    assert!(seen.within(*range).is_empty(), "{id}: {range} is in two places");
                    seen.insert(*range);
                }
            };
            add(&queue.uncertain);
            for lease in &queue.leases {
                add(&self.leases[lease].open);
            }
            assert_eq!(seen, stage.open(spec.count), "{id}: open tasks are somewhere");
            assert_eq!(
                queue.leased_through, stage.leased_through,
                "{id}: the mark is the committed"
            );
            assert_eq!(queue.slots, self.slots(*id), "{id}: slots are counted");
            assert_eq!(queue.paused, stage.paused, "{id}: what stands still is the committed");
            assert_eq!(queue.rank, queue.wanted_rank(queue.slots), "{id} is ranked");
        }
        for (name, namespace) in &self.namespaces {
            let its = || self.stages.iter().filter(|(_, queue)| queue.namespace == *name);
            assert_eq!(namespace.stages as usize, its().count());
            assert_eq!(namespace.weight, state.weight(name), "{name} has its weight");
            assert_eq!(namespace.slots, its().map(|(_, queue)| queue.slots).sum::<u32>());
            let ranked = its().filter_map(|(id, queue)| Some((queue.rank?, *id)));
            assert_eq!(namespace.order, ranked.collect::<BTreeSet<_>>());
        }
        let all: u32 = self.namespaces.values().map(|namespace| namespace.stages).sum();
        assert_eq!(all as usize, self.stages.len(), "every stage is in a namespace");
        assert_eq!(
            self.stages.keys().copied().collect::<Vec<_>>(),
            state.active_stages().collect::<Vec<_>>()
        );
        for (id, agent) in &self.agents {
            let (has, used) = (&agent.description.resources, self.used(*id));
            assert!(has.covers(&used), "{id} has {has} and leases take {used}");
        }
        for (id, held) in &self.leases {
            assert!(!held.open.is_empty(), "{id} is over and kept");
            assert!(self.agents[&held.agent].leases.contains(id));
            let mut strange = held.paused.clone();
            strange.remove_all(&held.open);
            assert!(strange.is_empty(), "{id}: {strange:?} stand still and are not there");
        }
    }
}
