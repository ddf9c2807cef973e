//! The masters themselves, as the replicated state knows them.
//!
//! Who votes is Raft's to say: a change of that comes through [`change`] when its own kind of log
//! entry is applied, beside the commands of [`crate::apply`]. What is kept here is where a master
//! is reached, and which numbers were given.

use weir_proto::{
    feature::FEATURE_LEVEL,
    id::{ClusterId, NodeId},
};

use crate::state::ClusterState;

/// Most masters of a cluster, learners included: each one more makes every commit dearer.
pub const MAX_MEMBERS: usize = 9;
/// Longest address of a master, in bytes: a host's name has at most 253.
pub const MAX_ADDRESS_BYTES: usize = 260;
/// The log entry that a cluster begins after, as if it had been applied and forgotten: whoever
/// joins finds that entries are missing, and asks for a snapshot with all that was before.
pub const GENESIS_INDEX: u64 = 1;

/// A master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where the others and clients reach it, `host:port`; empty before it was told.
    pub address: String,
    /// Whether it counts.
    pub role: Role,
    /// Drawn when its data directory was made; 0 before it was told. Other data under its number
    /// forgot what it promised.
    pub data: u64,
}

/// Whether a master counts for a majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    Voter,
    /// It gets the log until it has caught up.
    Learner,
}

/// A change of who is a master; one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Adds a learner.
    Add {
        /// Its number, given to nobody before.
        node: NodeId,
        /// Where it is reached.
        address: String,
    },
    /// Lets a learner vote.
    Promote(NodeId),
    /// Removes a master for good.
    Remove(NodeId),
}

/// Which cluster a master is of, and which master it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The master.
    pub node: NodeId,
}

/// The state that a cluster of these masters begins with. Nobody has less than this binary there.
pub fn genesis(members: impl IntoIterator<Item = (NodeId, String)>) -> ClusterState {
    let voter = |(node, address)| (node, Member { address, role: Role::Voter, data: 0 });
    let mut state = ClusterState {
        applied: GENESIS_INDEX,
        feature_level: FEATURE_LEVEL,
        members: members.into_iter().map(voter).collect(),
        ..ClusterState::default()
    };
    state.last_node = state.members.keys().map(|node| node.0).max().unwrap_or(0);
    state
}

/// Applies a change that Raft has accepted.
pub fn change(state: &mut ClusterState, change: MemberChange, index: u64) {
    state.applied = index;
    match change {
        MemberChange::Add { node, address } => {
            state.last_node = state.last_node.max(node.0);
            state.members.insert(node, Member { address, role: Role::Learner, data: 0 });
        }
        MemberChange::Promote(node) => {
            if let Some(member) = state.members.get_mut(&node) {
                member.role = Role::Voter;
            }
        }
        MemberChange::Remove(node) => {
            state.members.remove(&node);
        }
    }
}

/// A master is reached elsewhere, or told which data it has; one that was removed meanwhile is not.
/// Which data it has never changes once it was told.
pub(crate) fn introduce(state: &mut ClusterState, node: NodeId, address: String, data: u64) {
    if let Some(member) = state.members.get_mut(&node) {
        member.address = address;
        if member.data == 0 {
            member.data = data;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot;

    #[test]
    fn a_number_is_not_given_twice() {
        let mut state = genesis([(NodeId(1), "a:1".to_owned()), (NodeId(3), "c:1".to_owned())]);
        assert_eq!(state.last_node, 3);
        let (node, address) = (NodeId(4), "d:1".to_owned());
        change(&mut state, MemberChange::Add { node, address }, 2);
        change(&mut state, MemberChange::Remove(node), 3);
        assert_eq!((state.last_node, state.members.len(), state.applied), (4, 2, 3));
    }

    #[test]
    fn members_are_in_snapshots() {
        let mut state = genesis([(NodeId(1), "a:1".to_owned())]);
        let (node, address) = (NodeId(2), "b:1".to_owned());
        change(&mut state, MemberChange::Add { node, address }, 2);
        let read = snapshot::decode(&snapshot::encode(&state)).expect("a snapshot");
        assert_eq!(read, state);
        change(&mut state, MemberChange::Promote(node), 3);
        assert_eq!(state.members[&node].role, Role::Voter);
        introduce(&mut state, NodeId(1), "a:2".to_owned(), 7);
        introduce(&mut state, NodeId(1), "a:3".to_owned(), 8);
        let first = &state.members[&NodeId(1)];
        assert_eq!((first.address.as_str(), first.data), ("a:3", 7));
        let read = snapshot::decode(&snapshot::encode(&state)).expect("a snapshot");
        assert_eq!(read, state);
    }
}
