//! raft-rs' view of the log: entries since the last snapshot, in memory.
//!
//! Entries stand here as soon as they are handed to the disk; that they are durable is what
//! [`super::Node::persisted`] tells raft-rs. `raft::storage::MemStorage` would do, but it forgets
//! the term of the entry before the first when it is compacted.

use std::{cell::Cell, collections::VecDeque};

use bytes::Bytes;
use raft::{
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
    util::limit_size,
};

/// Entries after `compacted`, without gaps.
#[derive(Default)]
pub(super) struct MemoryLog {
    entries: VecDeque<Entry>,
    compacted_index: u64,
    compacted_term: u64,
    hard_state: HardState,
    conf_state: ConfState,
    /// The newest durable snapshot, for peers that need it.
    snapshot: Snapshot,
    /// Whether one needs another. raft-rs asks through a shared reference.
    wanted: Cell<bool>,
}

impl MemoryLog {
    /// The log of a node that has just joined.
    pub(super) fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// An empty log that goes on where a snapshot ends.
    pub(super) fn after_snapshot(metadata: SnapshotMetadata, state: Bytes) -> MemoryLog {
        let mut log = MemoryLog::new();
        log.hard_state.term = metadata.term;
        log.install(metadata, state);
        log
    }

    /// A peer's snapshot takes the place of everything.
    pub(super) fn install(&mut self, metadata: SnapshotMetadata, state: Bytes) {
        self.entries.clear();
        self.compacted_index = metadata.index;
        self.compacted_term = metadata.term;
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.conf_state = metadata.get_conf_state().clone();
        self.keep(metadata, state);
    }

    fn keep(&mut self, metadata: SnapshotMetadata, state: Bytes) {
        self.snapshot.set_metadata(metadata);
        self.snapshot.set_data(state);
        self.wanted.set(false);
    }

    /// Whether a peer asked for a snapshot that there is not.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.wanted.get()
    }

    /// The index of the newest snapshot.
    pub(super) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// Who is in the group.
    pub(super) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// The group has changed.
    pub(super) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// The newest term and vote.
    pub(super) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// The newest term, vote and commit index. The commit index never goes below a snapshot.
    pub(super) fn set_hard_state(&mut self, hard_state: HardState) {
        let commit = self.hard_state.commit.max(hard_state.commit);
        self.hard_state = hard_state;
        self.hard_state.commit = commit;
    }

    /// Adds entries; they replace whatever stood at their index and after it.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(
            self.compacted_index < first.index && first.index <= self.last() + 1,
            "entries follow each other: {} after {}",
            first.index,
            self.last()
        );
        self.entries.truncate((first.index - self.compacted_index - 1) as usize);
        self.entries.extend(entries);
    }

    /// Keeps a durable snapshot, and forgets the entries up to it but for the last `keep`. One
    /// that a peer's has overtaken is worth nothing.
    pub(super) fn compact(&mut self, metadata: SnapshotMetadata, state: Bytes, keep: u64) {
        if metadata.index <= self.snapshot_index() {
            return;
        }
        let through = metadata.index.saturating_sub(keep);
        self.keep(metadata, state);
        while self.entries.front().is_some_and(|entry| entry.index <= through) {
            if let Some(entry) = self.entries.pop_front() {
                self.compacted_index = entry.index;
                self.compacted_term = entry.term;
            }
        }
    }

    fn last(&self) -> u64 {
        self.compacted_index + self.entries.len() as u64
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.compacted_index {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let offset = |index: u64| (index - self.compacted_index - 1) as usize;
        let mut entries: Vec<Entry> =
            self.entries.range(offset(low)..offset(high)).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.compacted_index {
            return Ok(self.compacted_term);
        }
        let Some(offset) = index.checked_sub(self.compacted_index + 1) else {
            return Err(Error::Store(StorageError::Compacted));
        };
        let entry = self.entries.get(offset as usize);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.compacted_index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        let metadata = self.snapshot.get_metadata();
        let members = metadata.get_conf_state();
        // A node takes no snapshot from a time when it was no member.
        let knows = members.voters.contains(&to) || members.learners.contains(&to);
        if !knows || metadata.index < request_index {
            self.wanted.set(true);
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    fn five_entries() -> MemoryLog {
        let mut log = MemoryLog::new();
        log.append((1..=5).map(|index| entry(index, index / 2)).collect());
        log
    }

    fn snapshot_at(index: u64) -> SnapshotMetadata {
        let mut metadata = SnapshotMetadata { index, ..SnapshotMetadata::default() };
        metadata.mut_conf_state().set_voters(vec![1]);
        metadata
    }

    #[test]
    fn the_term_before_the_first_entry_outlives_compaction() {
        let mut log = five_entries();
        log.compact(snapshot_at(4), Bytes::new(), 0);
        assert_eq!(log.first_index(), Ok(5));
        assert_eq!(log.term(4), Ok(2));
        assert_eq!(log.last_index(), Ok(5));
        log.compact(snapshot_at(5), Bytes::new(), 0);
        assert_eq!(log.last_index(), Ok(5));
    }

    #[test]
    fn a_few_entries_stay_for_peers_that_are_a_little_behind() {
        let mut log = five_entries();
        log.compact(snapshot_at(5), Bytes::new(), 2);
        assert_eq!(log.first_index(), Ok(4));
        assert_eq!(log.snapshot_index(), 5);
    }

    #[test]
    fn a_snapshot_goes_only_to_members_that_it_knows() {
        let mut log = five_entries();
        log.compact(snapshot_at(4), Bytes::from_static(b"state"), 0);
        assert_eq!(log.snapshot(0, 1).expect("a snapshot").data, b"state"[..]);
        assert!(!log.wants_snapshot());
        assert!(log.snapshot(0, 2).is_err());
        assert!(log.wants_snapshot());
    }

    #[test]
    fn a_peers_snapshot_replaces_entries_on_both_sides_of_it() {
        let mut log = five_entries();
        log.install(snapshot_at(3), Bytes::new());
        assert_eq!((log.first_index(), log.last_index()), (Ok(4), Ok(3)));
    }

    #[test]
    fn appended_entries_replace_those_after_them() {
        let mut log = five_entries();
        log.append(vec![entry(3, 2)]);
        assert_eq!(log.last_index(), Ok(3));
        assert_eq!(log.term(3), Ok(2));
    }
}
