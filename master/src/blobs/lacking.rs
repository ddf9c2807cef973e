//! Which masters may lack blobs, in both directions, until that is seen to.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use weir_proto::id::NodeId;

/// Shared by those who notice, and the one who sees to it.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    nodes: Mutex<Nodes>,
}

#[derive(Debug, Default)]
struct Nodes {
    /// They may lack what this master has.
    they: BTreeSet<NodeId>,
    /// They may have what this master lacks.
    we: BTreeSet<NodeId>,
}

impl Lacking {
    /// Those masters may lack what this one has: they did not take it.
    pub(super) fn they(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.nodes().they.extend(nodes);
    }

    /// Whether a master may lack something, and was not told yet.
    pub(super) fn may_lack(&self, node: NodeId) -> bool {
        self.nodes().they.contains(&node)
    }

    /// Those masters may have what this one lacks.
    pub(super) fn we(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.nodes().we.extend(nodes);
    }

    /// Takes whom to tell. From now on they are sent blobs again: what does not come through, and
    /// that they cannot be told, is noticed anew.
    pub(super) fn take_to_tell(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.nodes().they)
    }

    /// Takes whom to ask what they have.
    pub(super) fn take_to_ask(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.nodes().we)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().expect("nobody panics while holding it")
    }
}
