//! raft-rs' view of the log: entries since the last snapshot, in memory.
//!
//! Entries stand here as soon as they are handed to the disk; that they are durable is what
//! [`super::Node::persisted`] tells raft-rs. `raft::storage::MemStorage` would do, but it forgets
//! the term of the entry before the first when it is compacted.

use std::collections::VecDeque;

use raft::{
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata},
    util::limit_size,
};

/// Entries after `compacted`, without gaps.
pub(super) struct MemoryLog {
    entries: VecDeque<Entry>,
    compacted_index: u64,
    compacted_term: u64,
    hard_state: HardState,
    conf_state: ConfState,
}

impl MemoryLog {
    /// An empty log of a new group.
    pub(super) fn new(conf_state: ConfState) -> MemoryLog {
        MemoryLog {
            entries: VecDeque::new(),
            compacted_index: 0,
            compacted_term: 0,
            hard_state: HardState::default(),
            conf_state,
        }
    }

    /// An empty log that goes on where a snapshot ends.
    pub(super) fn after_snapshot(mut metadata: SnapshotMetadata) -> MemoryLog {
        let mut log = MemoryLog::new(metadata.take_conf_state());
        log.compacted_index = metadata.index;
        log.compacted_term = metadata.term;
        log.hard_state.commit = metadata.index;
        log.hard_state.term = metadata.term;
        log
    }

    /// The voters.
    pub(super) fn members(&self) -> &[u64] {
        &self.conf_state.voters
    }

    /// Who is in the group.
    pub(super) fn conf_state(&self) -> &ConfState {
        &self.conf_state
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

    /// Forgets the entries up to `index`.
    pub(super) fn compact(&mut self, index: u64) {
        while self.entries.front().is_some_and(|entry| entry.index <= index) {
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
        // A crash may have kept a commit index whose entries were written in the same step, never
        // one beyond them.
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.min(self.last());
        Ok(RaftState::new(hard_state, self.conf_state.clone()))
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

    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        // Only a follower that lags asks for one, and there are none yet.
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, ..Entry::default() }
    }

    #[test]
    fn the_term_before_the_first_entry_outlives_compaction() {
        let mut log = MemoryLog::new(ConfState::default());
        log.append((1..=5).map(|index| entry(index, index / 2)).collect());
        log.compact(4);
        assert_eq!(log.first_index(), Ok(5));
        assert_eq!(log.term(4), Ok(2));
        assert_eq!(log.last_index(), Ok(5));
        log.compact(5);
        assert_eq!(log.last_index(), Ok(5));
    }

    #[test]
    fn appended_entries_replace_those_after_them() {
        let mut log = MemoryLog::new(ConfState::default());
        log.append((1..=5).map(|index| entry(index, 1)).collect());
        log.append(vec![entry(3, 2)]);
        assert_eq!(log.last_index(), Ok(3));
        assert_eq!(log.term(3), Ok(2));
    }
}
