//! What others may ask of a lease table, and what must hold of it at any time.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::{
    id::{AgentId, Incarnation, LeaseId, StageId},
    limits::Resources,
    range::RangeSet,
};

use super::{AttachedAgent, HeldLease, LeaseTable, Rank, StageQueue};
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

    /// Stages with waiting tasks, in the order in which they get leases.
    pub fn order(&self) -> impl Iterator<Item = StageId> + '_ {
        self.order.iter().map(|(_, id)| *id)
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
        let none = Resources { cpu_millis: 0, memory_bytes: 0 };
        let Some(agent) = self.agents.get(&agent) else { return none };
        let leases = agent.leases.iter().filter_map(|id| self.leases.get(id));
        leases.fold(none, |sum, held| sum.plus(held.used()))
    }

    /// Slots of a stage that are out.
    pub fn slots(&self, stage: StageId) -> u32 {
        let Some(queue) = self.stages.get(&stage) else { return 0 };
        let leases = queue.leases.iter().filter_map(|id| self.leases.get(id));
        leases.map(|held| held.slots.min(held.open.len())).sum()
    }

    /// The leases of an agent.
    pub fn leases_of(&self, agent: AgentId) -> impl Iterator<Item = (LeaseId, &HeldLease)> {
        let ids = self.agents.get(&agent).into_iter().flat_map(|agent| &agent.leases);
        ids.filter_map(|id| Some((*id, self.leases.get(id)?)))
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
            let rank = Rank { slots: self.slots(*id), served: queue.served };
            let rank = (!queue.waiting.is_empty()).then_some(rank);
            assert_eq!(queue.rank, rank, "{id} is ranked by its slots");
        }
        let ranked = self.stages.iter().filter_map(|(id, queue)| Some((queue.rank?, *id)));
        assert_eq!(self.order, ranked.collect::<BTreeSet<_>>());
        assert_eq!(
            self.stages.keys().copied().collect::<Vec<_>>(),
            state.active_stages().collect::<Vec<_>>()
        );
        for (id, agent) in &self.agents {
            let (has, used) = (agent.description.resources, self.used(*id));
            assert!(has.covers(used), "{id} has {has} and leases take {used}");
        }
        for (id, held) in &self.leases {
            assert!(!held.open.is_empty(), "{id} is over and kept");
            assert!(self.agents[&held.agent].leases.contains(id));
        }
    }
}
