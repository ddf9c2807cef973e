//! Looks at a master's data directory that nobody uses, and changes nothing: what a start would
//! recover, what is damaged, and what to do about it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, HardState, SnapshotMetadata};
use weir_proto::{
    command::{Change, Command},
    digest::Digest,
    feature::FEATURE_LEVEL,
    malformed::Malformed,
};
use weir_scheduler::{apply::apply, snapshot, state::ClusterState};
pub use weir_store::doctor::ExamineError;
use weir_store::doctor::{DatabaseCopy, StoreFindings, examine};

use crate::log::{LogEntry, LogError, Recovered, read_copy};

/// What was found.
#[derive(Debug)]
pub struct Examination {
    /// What there is, in words: what it is about, and what is to say of it.
    pub facts: Vec<(&'static str, String)>,
    /// What is wrong; empty where nothing is.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub what: String,
    /// What to do next.
    pub next: &'static str,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// It is not what a master keeps.
    #[error(
        "{} is no master's data directory: there is no raft/log.redb in it, nor in master/",
        path.display()
    )]
    NotAMaster {
        /// What was named.
        path: PathBuf,
    },
    /// It is in use, or cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ExamineError),
}

const RESTORE: &str = "make a new directory of a backup with `weir cluster restore`, or use a copy \
                       of this one made before; as it is the master does not start";
const NEWER: &str = "use the binary that wrote it, or a newer one";
const PUT_AGAIN: &str = "put the blob again (`weir put FILE`), or copy the file from a backup; jobs \
                         that read it fail until then";
const LOST_RESULTS: &str = "results of these tasks cannot be read any more; run the job again, or \
                            copy the blob from a backup";

/// What is known so far.
#[derive(Default)]
struct Looking {
    facts: Vec<(&'static str, String)>,
    problems: Vec<Problem>,
}

/// Looks at the data directory of a master, or of `weir dev`; with `verify` every byte of every blob
/// is read.
///
/// # Errors
/// `NotAMaster`; `Unreadable` when it is in use or the disk fails us. What is damaged is a problem
/// that is found, and no error.
pub fn examine_master(dir: &Path, verify: bool) -> Result<Examination, DoctorError> {
    let dirs = [dir.to_owned(), dir.join("master")];
    let Some(dir) = dirs.into_iter().find(|dir| dir.join("raft/log.redb").is_file()) else {
        return Err(DoctorError::NotAMaster { path: dir.to_owned() });
    };
    let mut looking = Looking::default();
    looking.tell("directory", dir.display().to_string());
    let recovered = looking.log(&dir.join("raft/log.redb"))?;
    let state = recovered.and_then(|recovered| looking.state(&recovered));
    let store = looking.store(&dir.join("store"), verify)?;
    if let (Some((state, in_log)), Some(store)) = (state, store) {
        looking.pages(&state, &in_log, &store);
    }
    Ok(Examination { facts: looking.facts, problems: looking.problems })
}

impl Looking {
    fn tell(&mut self, about: &'static str, what: impl Into<String>) {
        self.facts.push((about, what.into()));
    }

    fn problem(&mut self, what: impl Into<String>, next: &'static str) {
        self.problems.push(Problem { what: what.into(), next });
    }

    /// Reads a copy of the log.
    fn log(&mut self, path: &Path) -> Result<Option<Recovered>, ExamineError> {
        let copy = match DatabaseCopy::of(path) {
            Ok(copy) => copy,
            Err(damaged @ ExamineError::Damaged { .. }) => {
                self.problem(damaged.to_string(), RESTORE);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let closed = match copy.was_killed {
            true => "its process did not get to closing it, which the next start mends",
            false => "closed",
        };
        match read_copy(&copy.database, path) {
            Ok((format, recovered)) => {
                self.tell("log", format!("format {format}, {closed}"));
                Ok(Some(recovered))
            }
            Err(error @ LogError::Format { .. }) => {
                self.problem(error.to_string(), NEWER);
                Ok(None)
            }
            Err(error) => {
                self.problem(format!("{}: {error}", path.display()), RESTORE);
                Ok(None)
            }
        }
    }

    /// Does what a start does; what comes of it, and the pages that are in the log.
    fn state(&mut self, recovered: &Recovered) -> Option<(ClusterState, HashSet<Digest>)> {
        let hard_state = recovered.hard_state.as_deref().unwrap_or_default();
        let hard_state = match HardState::parse_from_bytes(hard_state) {
            Ok(hard_state) => hard_state,
            Err(error) => {
                self.problem(format!("term and vote do not decode: {error}"), RESTORE);
                return None;
            }
        };
        let mut state = ClusterState::default();
        if let Some(taken) = &recovered.snapshot {
            match snapshot::decode(&taken.state) {
                Ok(decoded) => state = decoded,
                Err(malformed) => {
                    let what = format!("the snapshot after entry {}: {malformed}", taken.index);
                    self.problem(what, next_for(&malformed));
                    return None;
                }
            }
            if let Err(error) = SnapshotMetadata::parse_from_bytes(&taken.metadata) {
                self.problem(format!("the snapshot's members do not decode: {error}"), RESTORE);
                return None;
            }
            self.tell("snapshot", format!("after entry {}", taken.index));
        }
        let in_log = self.replay(&mut state, &recovered.entries)?;
        let cluster = state.cluster.map_or("no name yet".to_owned(), |cluster| cluster.to_string());
        self.tell("cluster", cluster);
        let level = format!("{}; this binary knows up to {FEATURE_LEVEL}", state.feature_level);
        self.tell("features", format!("level {level}"));
        self.tell(
            "a start has",
            format!(
                "entry {} of term {}, {} jobs ({} active), {} agents, {} names",
                state.applied,
                hard_state.term,
                state.jobs.len(),
                state.active.len(),
                state.agents.len(),
                state.names.len()
            ),
        );
        Some((state, in_log))
    }

    /// Applies entries; the digests of their pages.
    fn replay(
        &mut self,
        state: &mut ClusterState,
        entries: &[LogEntry],
    ) -> Option<HashSet<Digest>> {
        let mut in_log = HashSet::new();
        for (expected, LogEntry { index, bytes }) in (state.applied + 1..).zip(entries) {
            if *index != expected {
                let what = format!("after entry {} comes entry {index}", expected - 1);
                self.problem(what, RESTORE);
                return None;
            }
            let entry = match Entry::parse_from_bytes(bytes) {
                Ok(entry) if entry.index == *index => entry,
                Ok(entry) => {
                    let what = format!("entry {index} says that it is entry {}", entry.index);
                    self.problem(what, RESTORE);
                    return None;
                }
                Err(error) => {
                    self.problem(format!("entry {index} does not decode: {error}"), RESTORE);
                    return None;
                }
            };
            state.applied = *index;
            if entry.data.is_empty() || entry.get_entry_type() != EntryType::EntryNormal {
                continue;
            }
            match Command::decode(&entry.data) {
                Ok(command) => {
                    if let Change::CommitPages { pages, .. } = &command.change {
                        in_log.extend(pages.iter().map(|page| Digest::of(page)));
                    }
                    // A start does not mind what was refused either.
                    let _refused = apply(state, command, *index);
                }
                Err(malformed) => {
                    self.problem(format!("entry {index}: {malformed}"), next_for(&malformed));
                    return None;
                }
            }
        }
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            self.tell("entries", format!("{} to {}, all whole", first.index, last.index));
        }
        Some(in_log)
    }

    fn store(&mut self, dir: &Path, verify: bool) -> Result<Option<StoreFindings>, ExamineError> {
        let findings = match examine(dir, verify) {
            Ok(findings) => findings,
            Err(error @ ExamineError::Damaged { .. }) => {
                self.problem(error.to_string(), RESTORE);
                return Ok(None);
            }
            Err(error @ ExamineError::Format { .. }) => {
                self.problem(error.to_string(), NEWER);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let checked = if verify { "every byte read" } else { "files not read; --verify does" };
        self.tell(
            "store",
            format!(
                "{} blobs of {} namespaces, {} bytes; {checked}",
                findings.members.len(),
                findings.namespaces.len(),
                findings.bytes
            ),
        );
        if findings.unfinished > 0 {
            let what = format!("{} unfinished, which the next start removes", findings.unfinished);
            self.tell("uploads", what);
        }
        for damage in &findings.damage {
            self.problem(damage.to_string(), PUT_AGAIN);
        }
        Ok(Some(findings))
    }

    /// Pages that the state names are in the store, or in the log since the last snapshot.
    fn pages(&mut self, state: &ClusterState, in_log: &HashSet<Digest>, store: &StoreFindings) {
        let mut named = 0;
        for job in state.jobs.values() {
            let namespace = job.spec.namespace.as_str();
            for page in job.stages.iter().flat_map(|stage| &stage.pages) {
                named += 1;
                let stored = || store.members.contains(&(namespace.to_owned(), page.digest));
                if !in_log.contains(&page.digest) && !stored() {
                    let what = format!("{}: results of tasks {} are gone", job.id, page.range);
                    self.problem(format!("{what}, {}", page.digest), LOST_RESULTS);
                }
            }
        }
        self.tell("results", format!("in {named} pages"));
    }
}

fn next_for(malformed: &Malformed) -> &'static str {
    match malformed {
        Malformed::TooNew { .. } | Malformed::FeatureLevel { .. } => NEWER,
        _ => RESTORE,
    }
}

#[cfg(test)]
mod tests;
