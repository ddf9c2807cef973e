//! The durable log behind a small trait, so that a simulation can lose what was not synced.
//!
//! The disk implementation is `RedbLog`; the Raft node above it ([`crate::node`]) never touches it.

mod redb;

use std::{io, path::PathBuf};

use bytes::Bytes;

pub use redb::RedbLog;
pub(crate) use redb::read_copy;

/// One durable step. Entries replace whatever stood at their index and after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogWrite {
    /// Entries to append, ascending without gaps.
    pub entries: Vec<LogEntry>,
    /// Raft's hard state (term, vote, commit), encoded; absent when unchanged.
    pub hard_state: Option<Vec<u8>>,
    /// A snapshot that replaces the entries up to its index.
    pub snapshot: Option<LogSnapshot>,
    /// Whether the snapshot is a peer's: then it replaces every entry written before, for those
    /// after its index may be of leaders that were deposed.
    pub replaces_all: bool,
}

impl LogWrite {
    /// Adds a later write to this one, so that both become durable in one step.
    pub fn merge(&mut self, later: LogWrite) {
        if later.replaces_all {
            self.entries.clear();
            self.replaces_all = true;
        }
        if let Some(first) = later.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
        }
        self.entries.extend(later.entries);
        self.hard_state = later.hard_state.or(self.hard_state.take());
        self.snapshot = later.snapshot.or(self.snapshot.take());
        // A snapshot may overtake entries that wait for the same step: it stands for them.
        if let Some(snapshot) = &self.snapshot {
            self.entries.retain(|entry| entry.index > snapshot.index);
        }
    }
}

/// An entry, opaque but for its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the log, from 1.
    pub index: u64,
    /// The encoded Raft entry.
    pub bytes: Vec<u8>,
}

/// The state after an entry, in place of the entries up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSnapshot {
    /// The entry's index.
    pub index: u64,
    /// The encoded Raft snapshot metadata: index, term and members.
    pub metadata: Vec<u8>,
    /// The encoded cluster state.
    pub state: Bytes,
}

/// What a log holds when it is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Raft's hard state, if any was written.
    pub hard_state: Option<Vec<u8>>,
    /// The newest snapshot.
    pub snapshot: Option<LogSnapshot>,
    /// Entries after the snapshot, ascending without gaps.
    pub entries: Vec<LogEntry>,
}

/// A durable log.
pub trait Log: Send {
    /// Everything that was written.
    ///
    /// # Errors
    /// When it cannot be read.
    fn recover(&mut self) -> Result<Recovered, LogError>;

    /// Writes durably: when it returns, a crash loses nothing of it.
    ///
    /// # Errors
    /// When it cannot; then nothing was written, or all of it.
    fn write(&mut self, write: &LogWrite) -> Result<(), LogError>;
}

/// Why the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it open.
    #[error("{path} is in use by another process; stop that one, or choose another data directory")]
    InUse {
        /// The log's file.
        path: PathBuf,
    },
    /// Its directory cannot be made.
    #[error("cannot create the directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Written by a version of Weir that this one does not know.
    #[error("{path} has format {found}; this binary knows format {known}")]
    Format {
        /// The log's file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format known here.
        known: u64,
    },
    /// Its bytes are not what was written.
    #[error(
        "{path} is damaged: {why}; `weir doctor`, with the data directory, tells what is whole and \
         what to do"
    )]
    Damaged {
        /// The log's file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The disk is full.
    #[error("no space is left for the log; free some and start the master again")]
    Full,
    /// The database failed.
    #[error("cannot {action} the log")]
    Database {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<::redb::Error>,
    },
}
