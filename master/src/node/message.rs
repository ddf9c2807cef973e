//! What nodes say to each other, and Raft's own forms of what is in it.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType};
use weir_proto::id::{ClusterId, NodeId};
use weir_scheduler::members::{Identity, MemberChange};

use super::shape::{is_shallow, is_shallow_message};

/// A message from node to node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMessage {
    /// The cluster of whoever sent it.
    pub cluster: ClusterId,
    /// Who sent it.
    pub from: NodeId,
    /// Who gets it.
    pub to: NodeId,
    /// The encoded Raft message.
    pub raft: Vec<u8>,
    /// The encoded state, if the message brings a snapshot: apart, because it is large.
    pub state: Bytes,
}

/// What a node may never forget once a message of it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// It was in this term.
    pub term: u64,
    /// It voted for this node then.
    pub vote: Option<NodeId>,
}

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotForUs {
    /// Somebody mixed up addresses.
    #[error("{from} of {theirs} takes this master of {ours} for a peer; look at its addresses")]
    OtherCluster {
        /// Who sent it.
        from: NodeId,
        /// Its cluster.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
    /// Two masters have one number, or an address leads to the wrong one.
    #[error("{from} takes this master, {us}, for {to}; look at its addresses")]
    OtherNode {
        /// Who sent it.
        from: NodeId,
        /// Whom it wanted.
        to: NodeId,
        /// Who got it.
        us: NodeId,
    },
    /// It has this master's number.
    #[error("another master says that it is {0} too; each needs a number of its own")]
    Twin(NodeId),
    /// This master had it, and has not.
    #[error(
        "{from} says that entry {committed} is committed here, and the log ends with entry {last}: \
         this master has lost what it acknowledged"
    )]
    Forgot {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        committed: u64,
        /// What is here.
        last: u64,
    },
    /// It is none.
    #[error("{from} sent what is no message")]
    Undecodable {
        /// Who sent it.
        from: NodeId,
    },
}

impl PeerMessage {
    /// Raft's message for another node of the same cluster.
    pub(super) fn outgoing(identity: Identity, mut message: Message) -> PeerMessage {
        let state = match message.has_snapshot() {
            true => message.mut_snapshot().take_data(),
            false => Bytes::new(),
        };
        PeerMessage {
            cluster: identity.cluster,
            from: identity.node,
            to: NodeId(message.to),
            raft: message.write_to_bytes().expect("a message whose fields are all set encodes"),
            state,
        }
    }

    /// What its sender promises with it; a question whether it might be elected promises nothing.
    pub fn promise(&self) -> Option<Promise> {
        let message = Message::parse_from_bytes(&self.raft).ok()?;
        let vote = match message.get_msg_type() {
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => return None,
            MessageType::MsgRequestVoteResponse if !message.reject => Some(NodeId(message.to)),
            MessageType::MsgRequestVote => Some(NodeId(message.from)),
            _ => None,
        };
        Some(Promise { term: message.term, vote })
    }

    /// Raft's message, if this node is meant.
    pub(super) fn incoming(&self, us: Identity) -> Result<Message, NotForUs> {
        let from = self.from;
        if self.cluster != us.cluster {
            let (theirs, ours) = (self.cluster, us.cluster);
            return Err(NotForUs::OtherCluster { from, theirs, ours });
        }
        if self.to != us.node {
            return Err(NotForUs::OtherNode { from, to: self.to, us: us.node });
        }
        if from == us.node {
            return Err(NotForUs::Twin(from));
        }
        let shallow = is_shallow_message(&self.raft);
        let message = shallow.then(|| Message::parse_from_bytes(&self.raft).ok()).flatten();
        // Its `from` may be another's: a follower hands questions on to the leader.
        let message = message.filter(|message| message.to == us.node.0);
        let mut message = message.ok_or(NotForUs::Undecodable { from })?;
        if message.has_snapshot() {
            message.mut_snapshot().set_data(self.state.clone());
        }
        Ok(message)
    }
}

/// A change of members in Raft's words.
pub(super) fn conf_change(change: &MemberChange) -> ConfChange {
    let mut raft = ConfChange::default();
    match change {
        MemberChange::Add { node, address } => {
            raft.set_change_type(ConfChangeType::AddLearnerNode);
            raft.node_id = node.0;
            raft.context = Bytes::copy_from_slice(address.as_bytes());
        }
        MemberChange::Promote(node) => {
            raft.set_change_type(ConfChangeType::AddNode);
            raft.node_id = node.0;
        }
        MemberChange::Remove(node) => {
            raft.set_change_type(ConfChangeType::RemoveNode);
            raft.node_id = node.0;
        }
    }
    raft
}

/// The change of members that an entry is, if it is one.
pub(super) fn member_change(entry: &Entry) -> Option<MemberChange> {
    if entry.get_entry_type() != EntryType::EntryConfChange {
        return None;
    }
    if !is_shallow(&entry.data) {
        return None;
    }
    let change = ConfChange::parse_from_bytes(&entry.data).ok()?;
    let node = NodeId(change.node_id);
    Some(match change.get_change_type() {
        ConfChangeType::AddLearnerNode => {
            let address = String::from_utf8_lossy(&change.context).into_owned();
            MemberChange::Add { node, address }
        }
        ConfChangeType::AddNode => MemberChange::Promote(node),
        ConfChangeType::RemoveNode => MemberChange::Remove(node),
    })
}
