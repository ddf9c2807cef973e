//! Who runs next, by fuel: a tree of groups with weights, whose leaves are the slots of leases. Pure.
//!
//! Each node's *virtual runtime* is the fuel that it has used, divided by its weight. From the root
//! down, the child with the least of it goes first. So siblings that always have work use fuel in
//! proportion to their weights, and what one does not use is shared by the others. Who was away, or is
//! new, begins where the others are by now: it neither starves them nor hoards what it did not use. Who
//! leaves and comes back begins no earlier than where it was.
//! Workers and wakers are in `queue`.

use std::collections::{BTreeSet, HashMap};

/// Most groups, and most slots, of a group that are remembered after they have left.
const MAX_LEFT: usize = 256;

/// Virtual runtime of one fuel at weight 1: weights up to this do not round it to nothing.
const UNIT: u128 = 1 << 20;

/// A group or slot; never used again once it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(u64);

/// A group on the way from the root to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Its name among its siblings.
    pub(super) name: String,
    /// Its share beside theirs; above 0.
    pub(super) weight: u32,
}

/// Work of slots, and who is to do some next.
pub(super) struct FairTree<W> {
    nodes: HashMap<NodeId, Node<W>>,
    root: NodeId,
    next_id: u64,
    next_arrival: u64,
}

struct Node<W> {
    parent: Option<NodeId>,
    weight: u32,
    virtual_runtime: u128,
    /// Its key among the ready ones of its parent, while it is one of them.
    ready_as: Option<ReadyKey>,
    kind: Kind<W>,
}

/// What those had used who have left a group, as far as it is above its floor: who comes in their place
/// begins there, or leaving and coming back would pay.
#[derive(Default)]
struct Left {
    groups: HashMap<String, u128>,
    slots: Vec<u128>,
}

/// The least goes first; of equals who has waited longest.
type ReadyKey = (u128, u64, NodeId);

enum Kind<W> {
    Group {
        /// By name; those that are in use.
        groups: HashMap<String, NodeId>,
        /// Its name in its parent.
        name: String,
        /// How many groups and slots are in it.
        members: usize,
        /// Those that have work.
        ready: BTreeSet<ReadyKey>,
        /// What was least when one last went: who comes begins here. It never goes back.
        floor: u128,
        left: Left,
    },
    Slot {
        work: Option<W>,
        /// Whether its work waits until it is released.
        held: bool,
    },
}

impl<W> FairTree<W> {
    /// No groups and no slots.
    pub(super) fn new() -> FairTree<W> {
        let root = NodeId(0);
        let node = Node::group(None, String::new(), 1, 0);
        FairTree { nodes: HashMap::from([(root, node)]), root, next_id: 1, next_arrival: 0 }
    }

    /// A new slot at the end of a path of groups, which are made where they are not yet; a weight that
    /// differs from the one known is the one from now on.
    pub(super) fn enter(&mut self, path: &[Group]) -> NodeId {
        let parent = path.iter().fold(self.root, |parent, group| self.group(parent, group));
        let begins = self.begins(parent, None);
        self.add(parent, Node::slot(parent, begins))
    }

    /// Takes a slot away, with its work if it has some, and groups that nobody is in any more.
    pub(super) fn leave(&mut self, slot: NodeId) -> Option<W> {
        if !self.nodes.contains_key(&slot) {
            return None;
        }
        self.unready(slot);
        let node = self.nodes.remove(&slot)?;
        if let Some(parent) = node.parent {
            self.remember(parent, None, node.virtual_runtime);
            self.lose_member(parent);
        }
        match node.kind {
            Kind::Slot { work, .. } => work,
            Kind::Group { .. } => None,
        }
    }

    /// Gives a slot work to do. That of a slot which has left comes back.
    pub(super) fn push(&mut self, slot: NodeId, work: W) -> Result<(), W> {
        match self.nodes.get_mut(&slot).map(|node| &mut node.kind) {
            Some(Kind::Slot { work: place, held }) => {
                *place = Some(work);
                if !*held {
                    self.ready(slot);
                }
                Ok(())
            }
            Some(Kind::Group { .. }) | None => Err(work),
        }
    }

    /// Keeps a slot's work, that which it has and that which comes, until it is released.
    pub(super) fn hold(&mut self, slot: NodeId) {
        if let Some(Kind::Slot { held, .. }) = self.nodes.get_mut(&slot).map(|node| &mut node.kind)
        {
            *held = true;
            self.unready(slot);
        }
    }

    /// Lets a held slot go on: it begins where the others are by now.
    pub(super) fn release(&mut self, slot: NodeId) {
        if let Some(Kind::Slot { held, work }) = self.nodes.get_mut(&slot).map(|n| &mut n.kind) {
            *held = false;
            if work.is_some() {
                self.ready(slot);
            }
        }
    }

    /// Takes the work of the slot that is to go first.
    pub(super) fn pop(&mut self) -> Option<(NodeId, W)> {
        let mut node = self.root;
        loop {
            let next = match &mut self.nodes.get_mut(&node)?.kind {
                Kind::Slot { work, .. } => {
                    let work = work.take();
                    self.unready(node);
                    return work.map(|work| (node, work));
                }
                Kind::Group { ready, floor, .. } => {
                    let (runtime, _, child) = *ready.first()?;
                    *floor = runtime.max(*floor);
                    child
                }
            };
            node = next;
        }
    }

    /// Notes that a slot has used fuel.
    pub(super) fn charge(&mut self, slot: NodeId, fuel: u64) {
        let mut next = self.nodes.contains_key(&slot).then_some(slot);
        while let Some(id) = next {
            let node = self.node_mut(id);
            node.virtual_runtime += u128::from(fuel) * UNIT / u128::from(node.weight);
            let (runtime, ready_as) = (node.virtual_runtime, node.ready_as);
            next = node.parent;
            if let (Some(key), Some(parent)) = (ready_as, next) {
                let moved = (runtime, key.1, id);
                self.node_mut(id).ready_as = Some(moved);
                let ready = self.ready_of(parent);
                ready.remove(&key);
                ready.insert(moved);
            }
        }
    }

    fn group(&mut self, parent: NodeId, group: &Group) -> NodeId {
        let Kind::Group { groups, .. } = &self.nodes[&parent].kind else {
            unreachable!("paths are made of groups alone");
        };
        if let Some(known) = groups.get(&group.name).copied() {
            self.node_mut(known).weight = group.weight.max(1);
            return known;
        }
        let begins = self.begins(parent, Some(&group.name));
        let node = Node::group(Some(parent), group.name.clone(), group.weight.max(1), begins);
        let id = self.add(parent, node);
        if let Kind::Group { groups, .. } = &mut self.node_mut(parent).kind {
            groups.insert(group.name.clone(), id);
        }
        id
    }

    fn add(&mut self, parent: NodeId, node: Node<W>) -> NodeId {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        self.nodes.insert(id, node);
        if let Kind::Group { members, .. } = &mut self.node_mut(parent).kind {
            *members += 1;
        }
        id
    }

    /// One member less; a group that has none leaves too.
    fn lose_member(&mut self, group: NodeId) {
        let Kind::Group { members, name, .. } = &mut self.node_mut(group).kind else {
            unreachable!("only groups have members");
        };
        *members -= 1;
        let (empty, name) = (*members == 0, name.clone());
        let Some(parent) = self.nodes[&group].parent.filter(|_| empty) else { return };
        self.unready(group);
        let runtime = self.nodes.remove(&group).map_or(0, |node| node.virtual_runtime);
        if let Kind::Group { groups, .. } = &mut self.node_mut(parent).kind {
            groups.remove(&name);
        }
        self.remember(parent, Some(name), runtime);
        self.lose_member(parent);
    }

    /// Puts a node that has work among the ready ones of its parent, and so on to the root.
    fn ready(&mut self, mut id: NodeId) {
        loop {
            let node = &self.nodes[&id];
            let Some(parent) = node.parent else { return };
            if node.ready_as.is_some() {
                return;
            }
            let runtime = node.virtual_runtime.max(self.floor(parent));
            let key = (runtime, self.next_arrival, id);
            self.next_arrival += 1;
            let node = self.node_mut(id);
            (node.virtual_runtime, node.ready_as) = (runtime, Some(key));
            self.ready_of(parent).insert(key);
            id = parent;
        }
    }

    /// Takes a node out of the ready ones, and its groups that have no others.
    fn unready(&mut self, mut id: NodeId) {
        loop {
            let node = self.node_mut(id);
            let Some((key, parent)) = node.ready_as.take().zip(node.parent) else { return };
            let ready = self.ready_of(parent);
            ready.remove(&key);
            if !ready.is_empty() {
                return;
            }
            id = parent;
        }
    }

    /// Where a new member of a group begins; a group that was there before, by its name.
    fn begins(&mut self, group: NodeId, name: Option<&str>) -> u128 {
        let Kind::Group { floor, left, .. } = &mut self.node_mut(group).kind else {
            unreachable!("nobody is in a slot");
        };
        let was = match name {
            Some(name) => left.groups.remove(name),
            None => left.take_least_slot(),
        };
        was.unwrap_or(0).max(*floor)
    }

    /// Remembers where somebody was who leaves a group.
    fn remember(&mut self, group: NodeId, name: Option<String>, runtime: u128) {
        if let Kind::Group { floor, left, .. } = &mut self.node_mut(group).kind {
            left.remember(name, runtime, *floor);
        }
    }

    fn floor(&self, group: NodeId) -> u128 {
        match &self.nodes[&group].kind {
            Kind::Group { floor, .. } => *floor,
            Kind::Slot { .. } => unreachable!("nobody is in a slot"),
        }
    }

    fn ready_of(&mut self, group: NodeId) -> &mut BTreeSet<ReadyKey> {
        match &mut self.node_mut(group).kind {
            Kind::Group { ready, .. } => ready,
            Kind::Slot { .. } => unreachable!("nobody is in a slot"),
        }
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<W> {
        self.nodes.get_mut(&id).expect("a node is there as long as somebody is in it")
    }
}

impl Left {
    /// Forgets who would begin at the floor anyway; beyond `MAX_LEFT`, whoever comes next to it.
    fn remember(&mut self, name: Option<String>, runtime: u128, floor: u128) {
        self.groups.retain(|_, runtime| *runtime > floor);
        self.slots.retain(|runtime| *runtime > floor);
        match name {
            Some(name) if runtime > floor && self.groups.len() < MAX_LEFT => {
                self.groups.insert(name, runtime);
            }
            None if runtime > floor && self.slots.len() < MAX_LEFT => self.slots.push(runtime),
            Some(_) | None => {}
        }
    }

    fn take_least_slot(&mut self) -> Option<u128> {
        let (at, _) = self.slots.iter().enumerate().min_by_key(|(_, runtime)| **runtime)?;
        Some(self.slots.swap_remove(at))
    }
}

impl<W> Node<W> {
    fn group(parent: Option<NodeId>, name: String, weight: u32, virtual_runtime: u128) -> Node<W> {
        let (groups, ready) = (HashMap::new(), BTreeSet::new());
        let left = Left::default();
        let kind = Kind::Group { groups, name, members: 0, ready, floor: 0, left };
        Node { parent, weight, virtual_runtime, ready_as: None, kind }
    }

    fn slot(parent: NodeId, virtual_runtime: u128) -> Node<W> {
        let (parent, kind) = (Some(parent), Kind::Slot { work: None, held: false });
        Node { parent, weight: 1, virtual_runtime, ready_as: None, kind }
    }
}

#[cfg(test)]
mod tests;
