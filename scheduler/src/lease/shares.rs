//! Who gets a lease first: namespaces by what they have used for their weight, and the stages of each.
//!
//! What a namespace has used is the slots that it had out, over time, divided by its weight. With what
//! it would use in the next moments by the slots it has now, that is its *claim*: the least goes first.
//! So at one time the slots of many agents are shared by weight, and one core is over time. Who comes
//! back to work begins where the others are, unless it is ahead of them.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, btree_map::Entry},
};

use weir_proto::{
    id::{Namespace, StageId},
    weight::Weight,
};

use super::LeaseTable;
use crate::state::ClusterState;

/// A millisecond of one slot at weight 1: large weights do not round it to nothing.
const UNIT: u128 = 1 << 20;
/// How far a claim looks ahead: about a lease.
const AHEAD_MS: u128 = 200;

/// The stages of a namespace that are in the table.
#[derive(Debug, Clone, Default)]
pub(super) struct NamespaceQueue {
    /// Its share beside the others.
    pub(super) weight: Weight,
    /// How many stages.
    pub(super) stages: u32,
    /// Slots of theirs that are out.
    pub(super) slots: u32,
    /// What it has used, for its weight.
    used: u128,
    /// Stages with waiting tasks, in the order in which they get leases.
    pub(super) order: BTreeSet<(Rank, StageId)>,
}

/// Who of a namespace gets a lease first: the highest priority, then who has fewest slots out, then
/// whose turn was longest ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) slots: u32,
    pub(super) served: u64,
}

impl NamespaceQueue {
    fn spend(&mut self, slot_ms: u128) {
        self.used = self.used.saturating_add(self.for_weight(slot_ms));
    }

    fn for_weight(&self, slot_ms: u128) -> u128 {
        slot_ms * UNIT / u128::from(self.weight.get())
    }

    fn claim(&self) -> u128 {
        self.used.saturating_add(self.for_weight(u128::from(self.slots) * AHEAD_MS))
    }
}

impl LeaseTable {
    /// Time passed, in which slots were used; told before anything else of this time.
    pub fn pass_time(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.used_until_ms);
        self.used_until_ms = self.used_until_ms.max(now_ms);
        if passed_ms == 0 {
            return;
        }
        for namespace in self.namespaces.values_mut() {
            namespace.spend(u128::from(namespace.slots) * u128::from(passed_ms));
        }
        // Who left is remembered as long as it is ahead of others: coming back pays nothing.
        let least = self.least_used(None);
        self.namespaces.retain(|_, n| n.stages > 0 || least.is_some_and(|least| n.used > least));
    }

    /// The least that any but one has used of those that want more; or that use something.
    fn least_used(&self, but: Option<&Namespace>) -> Option<u128> {
        let others = || self.namespaces.iter().filter(|(name, _)| Some(*name) != but);
        let wanting = others().filter(|(_, namespace)| !namespace.order.is_empty());
        let using = others().filter(|(_, namespace)| namespace.slots > 0);
        let least = wanting.map(|(_, namespace)| namespace.used).min();
        least.or_else(|| using.map(|(_, namespace)| namespace.used).min())
    }

    /// A stage more of a namespace is in the table.
    pub(super) fn join(&mut self, state: &ClusterState, name: &Namespace) {
        let namespace = self.namespaces.entry(name.clone()).or_default();
        namespace.weight = state.weight(name);
        namespace.stages += 1;
    }

    /// A stage of a namespace is no longer in the table; so many of its slots were out.
    pub(super) fn part(&mut self, name: &Namespace, id: StageId, rank: Option<Rank>, slots: u32) {
        let Entry::Occupied(mut entry) = self.namespaces.entry(name.clone()) else { return };
        let namespace = entry.get_mut();
        namespace.stages -= 1;
        namespace.slots -= slots;
        if let Some(rank) = rank {
            namespace.order.remove(&(rank, id));
        }
    }

    /// Puts a stage where it belongs in the order; called after every change of its tasks.
    pub(super) fn rank(&mut self, id: StageId) {
        let slots = self.slots(id);
        let Some(queue) = self.stages.get_mut(&id) else { return };
        let Some(namespace) = self.namespaces.get_mut(&queue.namespace) else { return };
        namespace.slots = namespace.slots - queue.slots + slots;
        queue.slots = slots;
        let rank = queue.wanted_rank(slots);
        if queue.rank == rank {
            return;
        }
        let had_none = namespace.order.is_empty();
        if let Some(old) = std::mem::replace(&mut queue.rank, rank) {
            namespace.order.remove(&(old, id));
        }
        let Some(new) = rank else { return };
        namespace.order.insert((new, id));
        if had_none {
            let name = queue.namespace.clone();
            self.catch_up(&name);
        }
    }

    /// A namespace wants more again: it begins no earlier than where the others are.
    fn catch_up(&mut self, name: &Namespace) {
        let least = self.least_used(Some(name)).unwrap_or(0);
        if let Some(namespace) = self.namespaces.get_mut(name) {
            namespace.used = namespace.used.max(least);
        }
    }

    /// A namespace has another share; leases that are out stay as they are.
    pub fn set_weight(&mut self, namespace: &Namespace, weight: Weight) {
        if let Some(queue) = self.namespaces.get_mut(namespace) {
            queue.weight = weight;
        }
    }

    /// Stages with waiting tasks, in the order in which they get leases.
    pub fn order(&self) -> impl Iterator<Item = StageId> + '_ {
        let mut namespaces: Vec<_> = self.namespaces.values().collect();
        namespaces.sort_by_key(|namespace| namespace.claim());
        namespaces.into_iter().flat_map(|namespace| namespace.order.iter().map(|(_, id)| *id))
    }

    /// Whether a stage comes before another one for more than its turn: its namespace has a smaller
    /// claim, or it has a higher priority, or less.
    pub fn goes_before(&self, one: StageId, other: StageId) -> bool {
        let (Some(one), Some(other)) = (self.stages.get(&one), self.stages.get(&other)) else {
            return false;
        };
        if one.namespace != other.namespace {
            let claim = |name| self.namespaces.get(name).map(NamespaceQueue::claim);
            return claim(&one.namespace) < claim(&other.namespace);
        }
        (Reverse(one.priority), one.slots) < (Reverse(other.priority), other.slots)
    }
}
