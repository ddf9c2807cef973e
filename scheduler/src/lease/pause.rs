//! Tasks that stand still: at once where they run, and until their agent has a core where they go on.

use weir_proto::{
    id::{AgentId, LeaseId, StageId},
    range::RangeSet,
};

use super::{HeldLease, LeaseTable};

/// What an agent is to be told of: tasks of one of its leases.
pub type LeaseTasks = (AgentId, LeaseId, RangeSet);

impl LeaseTable {
    /// Other tasks of a stage are to stand still than before. Those that run do so at once; those that
    /// are to go on wait until `place` finds a core for them.
    pub fn pause(&mut self, stage: StageId, paused: &RangeSet) -> Vec<LeaseTasks> {
        let Some(queue) = self.stages.get_mut(&stage) else { return Vec::new() };
        queue.paused.clone_from(paused);
        let mut told = Vec::new();
        for id in &queue.leases {
            let Some(held) = self.leases.get_mut(id) else { continue };
            let before = held.paused.len();
            held.paused.insert_all(&held.open.intersection(paused));
            if held.paused.len() > before {
                told.push((held.agent, *id, held.paused.clone()));
            }
        }
        self.rank(stage);
        told
    }

    /// Lets tasks go on that are to, as far as their agents have cores.
    pub(crate) fn resume(&mut self) -> Vec<LeaseTasks> {
        let standing = self.leases.iter().filter(|(_, held)| !held.paused.is_empty());
        let standing: Vec<LeaseId> = standing.map(|(id, _)| *id).collect();
        standing.into_iter().filter_map(|id| self.resume_of(id)).collect()
    }

    fn resume_of(&mut self, id: LeaseId) -> Option<LeaseTasks> {
        let mut wanting = self.wanting(self.leases.get(&id)?);
        let mut resumed = false;
        while let Some(next) = wanting.take_first(1) {
            let held = self.leases.get(&id)?;
            let mut after = held.clone();
            after.paused.remove(next);
            let has = &self.agents.get(&held.agent)?.description.resources;
            let used = self.used(held.agent).without(&held.used()).plus(&after.used());
            if !has.covers(&used) {
                break;
            }
            resumed = true;
            self.leases.insert(id, after);
        }
        let held = self.leases.get(&id).filter(|_| resumed)?;
        let told = (held.agent, id, held.paused.clone());
        self.rank(held.stage);
        Some(told)
    }

    /// Whether a task that is to go on waits for a core of an agent.
    pub(crate) fn waits_to_resume(&self, agent: AgentId) -> bool {
        self.leases_of(agent).any(|(_, held)| !self.wanting(held).is_empty())
    }

    /// Tasks of an agent that stand still, for it to be told again.
    pub fn paused_on(&self, agent: AgentId) -> Vec<LeaseTasks> {
        let standing = self.leases_of(agent).filter(|(_, held)| !held.paused.is_empty());
        standing.map(|(id, held)| (agent, id, held.paused.clone())).collect()
    }

    /// Tasks of a lease that stand still and are not to.
    fn wanting(&self, held: &HeldLease) -> RangeSet {
        let mut wanting = held.paused.clone();
        if let Some(queue) = self.stages.get(&held.stage) {
            wanting.remove_all(&queue.paused);
        }
        wanting
    }
}
