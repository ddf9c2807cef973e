//! The Raft node as a step without I/O: raft-rs, its memory of the log, and its Ready contract.
//!
//! The caller writes what [`Output::persist`] says, in order, and reports it with
//! [`Node::persisted`]; only then does an entry count towards commitment, and only then do the
//! messages that vouch for it leave. [`crate::control`] applies what was committed.

mod memory;

mod message;

mod shape;

mod start;

use protobuf::Message as _;
use raft::{
    RawNode, SnapshotStatus, StateRole,
    eraftpb::{Entry, Message, MessageType, SnapshotMetadata},
};
use weir_proto::id::NodeId;
use weir_scheduler::members::{Identity, MemberChange};

use crate::log::{LogEntry, LogSnapshot, LogWrite};
use memory::MemoryLog;

pub use message::{NotForUs, PeerMessage, Promise};
pub(crate) use start::check_levels;
pub use start::{NodeError, begin, begin_from};

/// A participant of the Raft group.
pub struct Node {
    raw: RawNode<MemoryLog>,
    identity: Identity,
    seed: u64,
    /// A hard state of which only the commit index is new. It need not be durable, for a restarted
    /// node learns it again: it rides with the next write that must be. So whoever has an entry
    /// durable also knows all that its leader knew to be committed then; a change of members
    /// counts on that.
    commit_to_write: Option<Vec<u8>>,
    /// The newest write that was ordered, and the newest that is durable.
    ordered: u64,
    durable: u64,
    /// The write that made the newest term and vote durable.
    term_write: u64,
    /// A peer's snapshot that is not durable yet: its write, and its index.
    installing: Option<(u64, u64)>,
}

/// What has to happen outside, in this order.
#[derive(Debug, Default)]
pub struct Output {
    /// A write, and the number to report when it is durable.
    pub persist: Option<(u64, LogWrite)>,
    /// Messages for peers that may leave now.
    pub send: Vec<PeerMessage>,
    /// Messages for peers that may leave once the write is durable.
    pub send_persisted: Vec<PeerMessage>,
    /// The state is now that of the peer's snapshot after this index.
    pub installed: Option<u64>,
    /// Entries to apply, ascending.
    pub committed: Vec<Committed>,
    /// Reads that see all they must once this index is applied, by their contexts.
    pub reads: Vec<(Vec<u8>, u64)>,
}

/// A committed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
    /// What its proposer gave along, to know it again.
    pub context: Vec<u8>,
    /// What it says.
    pub payload: Payload,
}

/// What a committed entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A new leader's first entry.
    Nothing,
    /// A command.
    Command(Vec<u8>),
    /// A change of members; [`Node::change`] takes it.
    Members(MemberChange),
}

/// What a node is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// It answers writes.
    Leader,
    /// It votes.
    Follower,
    /// It stands for election.
    Candidate,
    /// It gets the log, and does not vote.
    Learner,
}

/// How far a peer is, as the leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub node: NodeId,
    /// The last entry it is known to have.
    pub matched: u64,
    /// Whether it was heard of lately.
    pub active: bool,
    /// Whether it is being sent a snapshot.
    pub in_snapshot: bool,
}

/// This node is not the leader, or has too much to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this master is not the leader")]
pub struct NotLeader;

impl Node {
    /// Time passes. While a peer's snapshot is not durable, it stands still: what comes before
    /// the snapshot is gone and what it brings does not count, so there is nothing to stand for
    /// election with.
    pub fn tick(&mut self) {
        if self.installing.is_none() {
            self.raw.tick();
            self.pin_election_timeout();
        }
    }

    /// Proposes a command.
    ///
    /// # Errors
    /// [`NotLeader`].
    pub fn propose(&mut self, context: Vec<u8>, data: Vec<u8>) -> Result<(), NotLeader> {
        if !self.is_leader() {
            return Err(NotLeader);
        }
        self.raw.propose(context, data).map_err(|_| NotLeader)
    }

    /// Whether a change of members is under way: then no other is accepted.
    pub fn is_changing(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    /// Proposes a change of members; none may be under way.
    ///
    /// # Errors
    /// [`NotLeader`].
    pub fn propose_change(
        &mut self,
        context: Vec<u8>,
        change: &MemberChange,
    ) -> Result<(), NotLeader> {
        if !self.is_leader() || self.is_changing() {
            return Err(NotLeader);
        }
        let change = message::conf_change(change);
        self.raw.propose_conf_change(context, change).map_err(|_| NotLeader)
    }

    /// Takes a committed change of members; false if it makes no sense, on every node alike.
    pub fn change(&mut self, change: &MemberChange) -> bool {
        match self.raw.apply_conf_change(&message::conf_change(change)) {
            Ok(members) => {
                self.raw.mut_store().set_conf_state(members);
                if *change == MemberChange::Remove(self.identity.node) && self.is_leader() {
                    // A removal that an earlier leader proposed. raft-rs would let it lead for
                    // ever, without being able to propose anything.
                    let term = self.term();
                    self.raw.raft.become_follower(term, raft::INVALID_ID);
                }
                true
            }
            Err(_) => false,
        }
    }

    /// Asks which index must be applied before a read sees all that was acknowledged before now.
    /// The answer may get lost.
    pub fn read(&mut self, context: Vec<u8>) {
        self.raw.read_index(context);
    }

    /// Lets another voter lead, if it can.
    pub fn transfer_leader(&mut self, to: NodeId) {
        self.raw.transfer_leader(to.0);
    }

    /// A message from a peer. One that Raft refuses is dropped: peers repeat what matters.
    ///
    /// # Errors
    /// [`NotForUs`].
    pub fn receive(&mut self, message: &PeerMessage) -> Result<(), NotForUs> {
        let message = message.incoming(self.identity)?;
        // It never has more than this node has acknowledged, and raft-rs panics where it has.
        let (committed, last) = (message.commit, self.raw.raft.raft_log.last_index());
        if message.get_msg_type() == MessageType::MsgHeartbeat && committed > last {
            return Err(NotForUs::Forgot { from: NodeId(message.from), committed, last });
        }
        let stand = message.get_msg_type() == MessageType::MsgTimeoutNow;
        if !(stand && self.installing.is_some()) {
            let _refused = self.raw.step(message);
            self.pin_election_timeout();
        }
        Ok(())
    }

    /// The index of the snapshot that a message brings, if it brings one that this node may need.
    ///
    /// # Errors
    /// [`NotForUs`].
    pub fn brings_snapshot(&self, message: &PeerMessage) -> Result<Option<u64>, NotForUs> {
        if message.state.is_empty() {
            return Ok(None);
        }
        let message = message.incoming(self.identity)?;
        let index = message.get_snapshot().get_metadata().index;
        let newer = message.term >= self.term() && index > self.committed();
        Ok(newer.then_some(index))
    }

    /// Messages to a peer do not arrive.
    pub fn unreachable(&mut self, peer: NodeId) {
        self.raw.report_unreachable(peer.0);
    }

    /// A snapshot did not arrive at a peer, or came to nothing there.
    pub fn snapshot_failed(&mut self, peer: NodeId) {
        self.raw.report_snapshot(peer.0, SnapshotStatus::Failure);
    }

    /// The write of this number, and all before it, is durable.
    pub fn persisted(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.raw.on_persist_ready(number);
        if let Some((_, index)) = self.installing.take_if(|(write, _)| *write <= number) {
            self.raw.advance_apply_to(index);
        }
    }

    /// Takes the next output, if there is one. The caller repeats until there is none.
    pub fn output(&mut self) -> Option<Output> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let reads = ready.take_read_states().into_iter();
        let mut output = Output {
            send: self.to_wire(ready.take_messages()),
            committed: ready.take_committed_entries().into_iter().map(committed).collect(),
            reads: reads.map(|read| (read.request_ctx, read.index)).collect(),
            ..Output::default()
        };
        if let Some(hard_state) = ready.hs() {
            let known = self.raw.store().hard_state();
            if (hard_state.term, hard_state.vote) != (known.term, known.vote) {
                self.term_write = number;
            }
            self.commit_to_write = Some(encode(hard_state));
        }
        let mut waiting = ready.take_persisted_messages();
        if self.term_write > self.durable {
            // raft-rs lets a leader's messages go at once. One that elected itself, as the only
            // voter, may still forget that it did: nobody must hear of its term before.
            output.send_persisted.append(&mut output.send);
        } else {
            // raft-rs lets all of a follower's wait. A leader whose heartbeats go unanswered for
            // an election's time steps down, and a disk may take longer.
            let free = waiting.extract_if(.., |message| vouches_for_no_entry(message)).collect();
            output.send = [output.send, self.to_wire(free)].concat();
        }
        output.send_persisted.append(&mut self.to_wire(waiting));
        let entries = ready.take_entries();
        let must_write = ready.must_sync() || !output.send_persisted.is_empty();
        let log = self.raw.mut_store();
        if must_write {
            let mut write = LogWrite {
                entries: entries.iter().map(log_entry).collect(),
                hard_state: self.commit_to_write.take(),
                ..LogWrite::default()
            };
            if !ready.snapshot().is_empty() {
                let snapshot = ready.snapshot();
                let (metadata, state) = (snapshot.get_metadata(), snapshot.data.clone());
                log.install(metadata.clone(), state.clone());
                let index = metadata.index;
                write.snapshot = Some(LogSnapshot { index, metadata: encode(metadata), state });
                write.replaces_all = true;
                output.installed = Some(index);
                self.installing = Some((number, index));
            }
            output.persist = Some((number, write));
        }
        if let Some(hard_state) = ready.hs() {
            log.set_hard_state(hard_state.clone());
        }
        log.append(entries);
        self.raw.advance_append_async(ready);
        // raft-rs takes a number for all before it. So one without a write is reported only when
        // no write is under way; otherwise that one's report, or a later one's, covers it.
        if must_write {
            self.ordered = number;
        } else if self.durable >= self.ordered {
            self.raw.on_persist_ready(number);
        }
        Some(output)
    }

    /// Everything up to `index` was applied.
    pub fn applied(&mut self, index: u64) {
        self.raw.advance_apply_to(index);
    }

    /// Metadata for a snapshot of the state after `index`, which must be the last applied.
    pub fn snapshot_metadata(&self, index: u64) -> Option<Vec<u8>> {
        let term = self.raw.raft.raft_log.term(index).ok()?;
        let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(self.raw.store().conf_state().clone());
        Some(encode(&metadata))
    }

    /// Whether a peer needs a snapshot that there is not.
    pub fn wants_snapshot(&self) -> bool {
        self.raw.store().wants_snapshot()
    }

    /// The index of the newest snapshot.
    pub fn snapshot_index(&self) -> u64 {
        self.raw.store().snapshot_index()
    }

    /// A snapshot is durable: the entries up to it may go, but for the last `keep`, for peers that
    /// are a little behind.
    pub fn compact(&mut self, snapshot: &LogSnapshot, keep: u64) {
        let metadata = SnapshotMetadata::parse_from_bytes(&snapshot.metadata);
        let metadata = metadata.expect("a snapshot's metadata is what this node encoded");
        self.raw.mut_store().compact(metadata, snapshot.state.clone(), keep);
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        Some(self.raw.raft.leader_id).filter(|node| *node != 0).map(NodeId)
    }

    /// What it is.
    pub fn role(&self) -> NodeRole {
        match self.raw.raft.state {
            StateRole::Leader => NodeRole::Leader,
            StateRole::Candidate | StateRole::PreCandidate => NodeRole::Candidate,
            StateRole::Follower if self.raw.raft.promotable() => NodeRole::Follower,
            StateRole::Follower => NodeRole::Learner,
        }
    }

    /// How far the others are, in the order of their numbers; only a leader knows.
    pub fn progress(&self) -> Vec<Progress> {
        if !self.is_leader() {
            return Vec::new();
        }
        let mut progress: Vec<Progress> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(node, _)| **node != self.identity.node.0)
            .map(|(node, progress)| Progress {
                node: NodeId(*node),
                matched: progress.matched,
                active: progress.recent_active,
                in_snapshot: progress.state == raft::ProgressState::Snapshot,
            })
            .collect();
        progress.sort_unstable_by_key(|progress| progress.node);
        progress
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Its term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Which node of which cluster it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    fn to_wire(&self, messages: Vec<Message>) -> Vec<PeerMessage> {
        let outgoing = |message| PeerMessage::outgoing(self.identity, message);
        messages.into_iter().map(outgoing).collect()
    }
}

fn encode(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().expect("a message whose fields are all set encodes")
}

/// Whether a message says nothing of its sender's log that must be durable, but for its term.
fn vouches_for_no_entry(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgHeartbeatResponse
            | MessageType::MsgReadIndex
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
    )
}

fn log_entry(entry: &Entry) -> LogEntry {
    LogEntry { index: entry.index, bytes: encode(entry) }
}

fn committed(entry: Entry) -> Committed {
    let payload = match message::member_change(&entry) {
        Some(change) => Payload::Members(change),
        None if entry.data.is_empty() => Payload::Nothing,
        None => Payload::Command(entry.data.to_vec()),
    };
    let context = entry.context.to_vec();
    Committed { index: entry.index, term: entry.term, context, payload }
}

#[cfg(test)]
mod tests;
