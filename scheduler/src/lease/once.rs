//! Tasks that run at most once. A lease of them is *proposed* until it is committed, and only then
//! sent. What its agent turns out not to have is free again once that is committed too.

use std::collections::BTreeMap;

use weir_proto::{
    id::{AgentId, LeaseId, StageId},
    range::RangeSet,
};

use super::LeaseTable;
use crate::state::ClusterState;

/// Tasks that run at most once, by the committed lease they came with, which nobody has.
pub type Unheld = BTreeMap<(StageId, LeaseId), RangeSet>;

impl LeaseTable {
    /// A lease of tasks that run at most once is committed; returns whether it is still wanted, and
    /// so to be sent.
    pub fn committed_once(&mut self, stage: StageId, lease: LeaseId, tasks: &RangeSet) -> bool {
        if let Some(held) = self.leases.get_mut(&lease) {
            held.proposed = false;
            return true;
        }
        self.unheld.entry((stage, lease)).or_default().insert_all(tasks);
        if let Some(queue) = self.stages.get_mut(&stage) {
            let waiting = queue.waiting.intersection(tasks);
            queue.waiting.remove_all(&waiting);
            queue.uncertain.insert_all(&waiting);
            self.rank(stage);
        }
        false
    }

    /// It is committed that nobody has these tasks: they wait.
    pub fn returned_once(&mut self, stage: StageId, tasks: &RangeSet) {
        let Some(queue) = self.stages.get_mut(&stage) else { return };
        let returned = queue.uncertain.intersection(tasks);
        queue.uncertain.remove_all(&returned);
        queue.waiting.insert_all(&returned);
        self.rank(stage);
    }

    /// An agent has told all that it has: notes what was granted to it before this connection and is
    /// not there. A hello that was long on its way knows nothing of what came later.
    pub(super) fn note_unheld(&mut self, state: &ClusterState, agent: AgentId, connection: u64) {
        for id in self.once.iter().copied() {
            let Some((stage, _)) = state.stage(id) else { continue };
            for (lease, granted) in stage.granted.iter() {
                if granted.agent != agent || granted.connection >= connection {
                    continue;
                }
                let mut missing = granted.tasks.clone();
                if let Some(held) = self.leases.get(lease) {
                    missing.remove_all(&held.open);
                }
                if !missing.is_empty() {
                    self.unheld.entry((id, *lease)).or_default().insert_all(&missing);
                }
            }
        }
    }

    /// Takes what is to be proposed as free for others.
    pub fn take_unheld(&mut self) -> Unheld {
        std::mem::take(&mut self.unheld)
    }

    /// Puts back what could not be proposed.
    pub fn still_unheld(&mut self, unheld: Unheld) {
        for (of, tasks) in unheld {
            self.unheld.entry(of).or_default().insert_all(&tasks);
        }
    }
}
