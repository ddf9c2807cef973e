//! The Raft node as a step without I/O: raft-rs, its memory of the log, and its Ready contract.
//!
//! The caller writes what [`Output::persist`] says, in order, and reports it with
//! [`Node::persisted`]; only then does an entry count towards commitment, and only then do the
//! messages that vouch for it leave. [`crate::control`] applies what was committed.

mod memory;

use protobuf::Message as _;
use raft::{
    Config, RawNode, StateRole,
    eraftpb::{ConfState, Entry, EntryType, HardState, Message, SnapshotMetadata},
};
use weir_proto::id::NodeId;

use crate::log::{LogEntry, LogSnapshot, LogWrite, Recovered};
use memory::MemoryLog;

/// Ticks without a leader before a node stands for election.
const ELECTION_TICKS: usize = 10;
/// Ticks between a leader's heartbeats.
const HEARTBEAT_TICKS: usize = 3;
/// Most bytes of entries in one message to a peer.
const MAX_MESSAGE_BYTES: u64 = 4 << 20;
/// Most messages to a peer that it has not answered.
const MAX_INFLIGHT_MESSAGES: usize = 64;
/// Most bytes of committed entries handed out at once.
const MAX_COMMITTED_BYTES: u64 = 16 << 20;

/// A participant of the Raft group.
pub struct Node {
    raw: RawNode<MemoryLog>,
    id: NodeId,
    seed: u64,
    /// A hard state of which only the commit index is new. It need not be durable, for a restarted
    /// node learns it again: it rides with the next write that must be.
    commit_to_write: Option<Vec<u8>>,
    /// The newest write that was ordered, and the newest that is durable.
    ordered: u64,
    durable: u64,
}

/// What has to happen outside, in this order.
#[derive(Debug, Default)]
pub struct Output {
    /// A write, and the number to report when it is durable.
    pub persist: Option<(u64, LogWrite)>,
    /// Messages for peers that may leave now.
    pub send: Vec<(NodeId, Vec<u8>)>,
    /// Messages for peers that may leave once the write is durable.
    pub send_persisted: Vec<(NodeId, Vec<u8>)>,
    /// Entries to apply, ascending.
    pub committed: Vec<Committed>,
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
    /// The command; empty for a new leader's first entry.
    pub data: Vec<u8>,
}

/// What a log holds is not what a Raft node can start from.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Bytes in the log are not what they should be.
    #[error("the log's {what} does not decode")]
    Undecodable {
        /// Which bytes.
        what: &'static str,
        /// What protobuf says.
        source: protobuf::ProtobufError,
    },
    /// raft-rs refuses.
    #[error("the raft node does not start")]
    Raft(#[from] raft::Error),
}

/// This node is not the leader, or has too much to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this master is not the leader")]
pub struct NotLeader;

impl Node {
    /// Starts a node from what its log holds; an empty log makes a group of this node alone.
    ///
    /// `seed` decides its election time-outs, so that a simulation replays.
    ///
    /// # Errors
    /// `Undecodable` when the log is corrupt, `Raft` when raft-rs refuses it.
    pub fn new(id: NodeId, recovered: &Recovered, seed: u64) -> Result<Node, NodeError> {
        let applied = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let config = Config {
            id: id.0,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES,
            pre_vote: true,
            check_quorum: true,
            ..Config::default()
        };
        let log = memory_log(id, recovered)?;
        let alone = log.members() == [id.0];
        // raft-rs reports through slog; what we need to know of it comes out in `Output`.
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = Node {
            raw: RawNode::new(&config, log, &logger)?,
            id,
            seed,
            commit_to_write: None,
            ordered: 0,
            durable: 0,
        };
        if alone {
            node.raw.campaign()?;
        }
        node.pin_election_timeout();
        Ok(node)
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.raw.tick();
        self.pin_election_timeout();
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

    /// A message from a peer. One that does not decode, or that Raft refuses, is dropped: peers
    /// repeat what matters.
    pub fn receive(&mut self, bytes: &[u8]) {
        if let Ok(message) = Message::parse_from_bytes(bytes) {
            let _refused = self.raw.step(message);
            self.pin_election_timeout();
        }
    }

    /// The write of this number, and all before it, is durable.
    pub fn persisted(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.raw.on_persist_ready(number);
    }

    /// Takes the next output, if there is one. The caller repeats until there is none.
    pub fn output(&mut self) -> Option<Output> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let mut output = Output {
            send: to_wire(ready.take_messages()),
            send_persisted: to_wire(ready.take_persisted_messages()),
            committed: ready.take_committed_entries().into_iter().filter_map(committed).collect(),
            persist: None,
        };
        let entries = ready.take_entries();
        if let Some(hard_state) = ready.hs() {
            self.commit_to_write = Some(encode(hard_state));
        }
        let number = ready.number();
        let must_write = ready.must_sync() || !output.send_persisted.is_empty();
        if must_write {
            let hard_state = self.commit_to_write.take();
            let entries = entries.iter().map(log_entry).collect();
            output.persist = Some((number, LogWrite { entries, hard_state, snapshot: None }));
        }
        let log = self.raw.mut_store();
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

    /// Metadata for a snapshot of the state after `index`, which must have been applied.
    pub fn snapshot_metadata(&self, index: u64) -> Option<Vec<u8>> {
        let term = self.raw.raft.raft_log.term(index).ok()?;
        let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
        metadata.set_conf_state(self.raw.store().conf_state().clone());
        Some(encode(&metadata))
    }

    /// A snapshot after `index` is durable: the entries up to it may go.
    pub fn compact(&mut self, index: u64) {
        self.raw.mut_store().compact(index);
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Its term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Its name in the group.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// raft-rs draws election time-outs from a global generator; ours come from the seed.
    fn pin_election_timeout(&mut self) {
        let mut hasher = blake3::Hasher::new();
        for number in [self.seed, self.id.0, self.raw.raft.term] {
            hasher.update(&number.to_le_bytes());
        }
        let drawn = usize::from(hasher.finalize().as_bytes()[0]) % ELECTION_TICKS;
        self.raw.raft.set_randomized_election_timeout(ELECTION_TICKS + drawn);
    }
}

fn memory_log(id: NodeId, recovered: &Recovered) -> Result<MemoryLog, NodeError> {
    let mut log = match &recovered.snapshot {
        Some(LogSnapshot { metadata, .. }) => {
            MemoryLog::after_snapshot(decode(metadata, "snapshot")?)
        }
        None => {
            let mut members = ConfState::default();
            members.set_voters(vec![id.0]);
            MemoryLog::new(members)
        }
    };
    if let Some(hard_state) = &recovered.hard_state {
        let hard_state: HardState = decode(hard_state, "hard state")?;
        log.set_hard_state(hard_state);
    }
    let entries = recovered.entries.iter().map(|entry| decode::<Entry>(&entry.bytes, "entry"));
    log.append(entries.collect::<Result<_, _>>()?);
    Ok(log)
}

fn decode<M: protobuf::Message>(bytes: &[u8], what: &'static str) -> Result<M, NodeError> {
    M::parse_from_bytes(bytes).map_err(|source| NodeError::Undecodable { what, source })
}

fn encode(message: &impl protobuf::Message) -> Vec<u8> {
    message.write_to_bytes().expect("a message whose fields are all set encodes")
}

fn log_entry(entry: &Entry) -> LogEntry {
    LogEntry { index: entry.index, bytes: encode(entry) }
}

fn to_wire(messages: Vec<Message>) -> Vec<(NodeId, Vec<u8>)> {
    messages.into_iter().map(|message| (NodeId(message.to), encode(&message))).collect()
}

fn committed(entry: Entry) -> Option<Committed> {
    match entry.get_entry_type() {
        EntryType::EntryNormal => Some(Committed {
            index: entry.index,
            term: entry.term,
            context: entry.context.to_vec(),
            data: entry.data.to_vec(),
        }),
        // The members of the group do not change yet.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a node until it is quiet, with a disk that is durable at once.
    fn settle(node: &mut Node, written: &mut Vec<LogWrite>) -> Vec<Committed> {
        let mut committed = Vec::new();
        while let Some(output) = node.output() {
            committed.extend(output.committed);
            if let Some((number, write)) = output.persist {
                written.push(write);
                node.persisted(number);
            }
            if let Some(last) = committed.last() {
                node.applied(last.index);
            }
        }
        committed
    }

    fn recovered(written: &[LogWrite]) -> Recovered {
        let mut recovered = Recovered::default();
        for write in written {
            if let Some(first) = write.entries.first() {
                recovered.entries.retain(|entry| entry.index < first.index);
            }
            recovered.entries.extend(write.entries.iter().cloned());
            recovered.hard_state = write.hard_state.clone().or(recovered.hard_state);
        }
        recovered
    }

    #[test]
    fn a_node_alone_leads_and_commits_what_is_durable() {
        let mut node = Node::new(NodeId(1), &Recovered::default(), 7).expect("a node");
        let mut written = Vec::new();
        settle(&mut node, &mut written);
        assert!(node.is_leader());
        node.propose(b"c".to_vec(), b"data".to_vec()).expect("a leader");
        let committed = settle(&mut node, &mut written);
        assert_eq!(committed.last().map(|entry| &entry.data[..]), Some(&b"data"[..]));
    }

    #[test]
    fn nothing_is_committed_before_it_is_durable() {
        let mut node = Node::new(NodeId(1), &Recovered::default(), 7).expect("a node");
        settle(&mut node, &mut Vec::new());
        node.propose(Vec::new(), b"data".to_vec()).expect("a leader");
        let output = node.output().expect("entries to write");
        let (number, _) = output.persist.expect("a write");
        assert!(output.committed.is_empty());
        assert!(node.output().is_none_or(|output| output.committed.is_empty()));
        node.persisted(number);
        let output = node.output().expect("a committed entry");
        assert_eq!(output.committed.len(), 1);
    }

    #[test]
    fn an_output_without_a_write_does_not_vouch_for_one_under_way() {
        let mut node = Node::new(NodeId(1), &Recovered::default(), 7).expect("a node");
        settle(&mut node, &mut Vec::new());
        node.propose(Vec::new(), b"first".to_vec()).expect("a leader");
        let (first, _) = node.output().expect("entries").persist.expect("a write");
        node.propose(Vec::new(), b"second".to_vec()).expect("a leader");
        node.output().expect("entries").persist.expect("a write under way");
        node.persisted(first);
        let mut committed = Vec::new();
        while let Some(output) = node.output() {
            assert!(output.persist.is_none(), "a commit index is not worth a write");
            committed.extend(output.committed.into_iter().map(|entry| entry.data));
        }
        assert_eq!(committed, [b"first".to_vec()]);
    }

    #[test]
    fn a_node_finds_its_log_again_after_a_restart() {
        let mut written = Vec::new();
        let mut node = Node::new(NodeId(1), &Recovered::default(), 7).expect("a node");
        settle(&mut node, &mut written);
        node.propose(Vec::new(), b"first".to_vec()).expect("a leader");
        settle(&mut node, &mut written);
        let term = node.term();
        let mut node = Node::new(NodeId(1), &recovered(&written), 7).expect("the node again");
        let committed = settle(&mut node, &mut written);
        assert!(node.term() > term);
        assert!(committed.iter().any(|entry| entry.data == b"first"));
    }
}
