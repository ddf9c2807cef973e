//! How a node starts: from what its log holds, and what a new cluster's log begins with.

use raft::{
    Config, RawNode,
    eraftpb::{ConfState, Entry, HardState, SnapshotMetadata},
};
use weir_proto::{command::Command, id::NodeId, malformed::Malformed};
use weir_scheduler::{
    members::{Identity, genesis},
    snapshot,
    state::ClusterState,
};

use super::{Node, encode, memory::MemoryLog};
use crate::log::{LogEntry, LogSnapshot, LogWrite, Recovered};

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
/// A command that raises the feature level has fewer bytes than this, with all that Raft adds.
const MAX_RAISE_BYTES: usize = 128;
/// The term of the entry that a cluster begins after.
const GENESIS_TERM: u64 = 1;

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
    /// An entry is missing, or another stands in its place.
    #[error("the log has entry {found} where entry {expected} should be")]
    Hole {
        /// The place.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// It ends too early.
    #[error("the log ends with entry {last}, and entry {committed} was committed")]
    Truncated {
        /// The last entry that is there.
        last: u64,
        /// One that must be.
        committed: u64,
    },
    /// Other masters may rely on what this binary does not know.
    #[error(transparent)]
    FeatureLevel(#[from] Malformed),
    /// raft-rs refuses.
    #[error("the raft node does not start")]
    Raft(#[from] raft::Error),
}

/// What the log of each of these masters begins with, the same on all: a snapshot that names them.
/// A master that joins a cluster begins with nothing, and is sent one.
pub fn begin(members: impl IntoIterator<Item = (NodeId, String)>) -> LogWrite {
    begin_from(&genesis(members), GENESIS_TERM)
}

/// What a log begins with in which a state is all that came before; its members vote.
pub fn begin_from(state: &ClusterState, term: u64) -> LogWrite {
    let mut voters = ConfState::default();
    voters.set_voters(state.members.keys().map(|node| node.0).collect());
    let index = state.applied;
    let mut metadata = SnapshotMetadata { index, term, ..SnapshotMetadata::default() };
    metadata.set_conf_state(voters);
    let hard_state = HardState { term, commit: index, ..HardState::default() };
    let (metadata, state) = (encode(&metadata), snapshot::encode(state).into());
    LogWrite {
        hard_state: Some(encode(&hard_state)),
        snapshot: Some(LogSnapshot { index, metadata, state }),
        replaces_all: true,
        ..LogWrite::default()
    }
}

impl Node {
    /// Starts a node from what its log holds: [`begin`] and what came after it, or nothing for one
    /// that has just joined.
    ///
    /// `seed` decides its election time-outs, so that a simulation replays.
    ///
    /// # Errors
    /// `Undecodable`, `Hole` and `Truncated` when the log is corrupt, `Raft` when raft-rs refuses it.
    pub fn new(identity: Identity, recovered: &Recovered, seed: u64) -> Result<Node, NodeError> {
        let applied = recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let config = Config {
            id: identity.node.0,
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
        let log = memory_log(recovered)?;
        let alone = log.conf_state().voters == [identity.node.0];
        // raft-rs reports through slog; what we need to know of it comes out in `Output`.
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut node = Node {
            raw: RawNode::new(&config, log, &logger)?,
            identity,
            seed,
            commit_to_write: None,
            ordered: 0,
            durable: 0,
            term_write: 0,
            installing: None,
        };
        if alone {
            node.raw.campaign()?;
        }
        node.pin_election_timeout();
        Ok(node)
    }

    /// raft-rs draws election time-outs from a global generator; ours come from the seed.
    pub(super) fn pin_election_timeout(&mut self) {
        let mut hasher = blake3::Hasher::new();
        for number in [self.seed, self.identity.node.0, self.raw.raft.term] {
            hasher.update(&number.to_le_bytes());
        }
        let drawn = usize::from(hasher.finalize().as_bytes()[0]) % ELECTION_TICKS;
        self.raw.raft.set_randomized_election_timeout(ELECTION_TICKS + drawn);
    }
}

/// Refuses a log in which the feature level is raised above what this binary knows: better said at
/// the start than when the entry's turn comes. An entry that is not committed may never be.
pub(crate) fn check_levels(recovered: &Recovered) -> Result<(), NodeError> {
    let Some(hard_state) = &recovered.hard_state else { return Ok(()) };
    let hard_state: HardState = decode(hard_state, "hard state")?;
    let committed = recovered.entries.iter().filter(|entry| entry.index <= hard_state.commit);
    for entry in committed.filter(|entry| entry.bytes.len() <= MAX_RAISE_BYTES) {
        let entry: Entry = decode(&entry.bytes, "entry")?;
        if let Err(error @ Malformed::FeatureLevel { .. }) = Command::decode(&entry.data) {
            return Err(error.into());
        }
    }
    Ok(())
}

fn memory_log(recovered: &Recovered) -> Result<MemoryLog, NodeError> {
    let mut log = match &recovered.snapshot {
        Some(LogSnapshot { metadata, state, .. }) => {
            MemoryLog::after_snapshot(decode(metadata, "snapshot")?, state.clone())
        }
        None => MemoryLog::new(),
    };
    if let Some(hard_state) = &recovered.hard_state {
        let hard_state: HardState = decode(hard_state, "hard state")?;
        log.set_hard_state(hard_state);
    }
    let mut last = log.snapshot_index();
    let mut entries = Vec::with_capacity(recovered.entries.len());
    for LogEntry { index, bytes } in &recovered.entries {
        let entry: Entry = decode(bytes, "entry")?;
        for found in [*index, entry.index] {
            if found != last + 1 {
                return Err(NodeError::Hole { expected: last + 1, found });
            }
        }
        last += 1;
        entries.push(entry);
    }
    log.append(entries);
    // A commit index is written with or after the entries that it counts, and a write is there as
    // a whole or not at all.
    let committed = log.hard_state().commit;
    if committed > last {
        return Err(NodeError::Truncated { last, committed });
    }
    Ok(log)
}

fn decode<M: protobuf::Message>(bytes: &[u8], what: &'static str) -> Result<M, NodeError> {
    M::parse_from_bytes(bytes).map_err(|source| NodeError::Undecodable { what, source })
}

#[cfg(test)]
mod tests {
    use weir_proto::{command::Change, feature::FEATURE_LEVEL};

    use super::*;
    use crate::log::LogEntry;

    /// A log whose second entry raises the level, committed or not.
    fn raised(level: u32, commit: u64) -> Recovered {
        let begun = begin([(NodeId(1), "a:1".to_owned())]);
        let change = Change::RaiseFeatureLevel(level);
        let data = Command { now_ms: u64::MAX, change }.encode().into();
        let entry = Entry { index: 2, term: u64::MAX, data, ..Entry::default() };
        let hard_state = HardState { term: 1, commit, ..HardState::default() };
        let bytes = encode(&entry);
        assert!(bytes.len() <= MAX_RAISE_BYTES, "{} bytes", bytes.len());
        let entries = vec![LogEntry { index: 2, bytes }];
        Recovered { hard_state: Some(encode(&hard_state)), snapshot: begun.snapshot, entries }
    }

    #[test]
    fn a_log_in_which_the_level_is_raised_too_high_is_refused_once_that_is_committed() {
        assert!(check_levels(&raised(FEATURE_LEVEL, 2)).is_ok());
        assert!(check_levels(&raised(FEATURE_LEVEL + 1, 1)).is_ok());
        let refused = check_levels(&raised(FEATURE_LEVEL + 1, 2)).expect_err("too high");
        assert!(matches!(refused, NodeError::FeatureLevel(Malformed::FeatureLevel { .. })));
    }
}
