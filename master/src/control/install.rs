//! Snapshots: when this master takes one, and how one of a peer comes in.
//!
//! A state names pages of results by their digests. A peer's snapshot is therefore handed to Raft
//! only when all of those are durable here: so whatever state a master has applied, it has the
//! pages too, and its word that it has the snapshot counts for them.

use std::collections::BTreeSet;

use weir_proto::{
    digest::Digest,
    id::{JobId, Namespace},
    malformed::Malformed,
};
use weir_scheduler::{snapshot, state::ClusterState};

use super::{Action, Control};
use crate::{
    log::LogSnapshot,
    node::{NotForUs, PeerMessage},
};

/// A snapshot is taken after this many log entries, or this many bytes of them.
const SNAPSHOT_ENTRIES: u64 = 20_000;
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// Of the entries between two snapshots so many, one in this, stay for peers a little behind.
const KEPT_SHARE: u64 = 4;

/// What of a peer cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PeerProblem {
    /// A message is not for this master.
    #[error(transparent)]
    NotForUs(#[from] NotForUs),
    /// The state that it sent cannot be read.
    #[error("a peer's snapshot is not readable")]
    Snapshot(#[from] Malformed),
}

/// When to take the next snapshot, and what is known of the one under way.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// So many entries call for one.
    every: u64,
    under_way: bool,
    /// The one that is being written.
    writing: Option<LogSnapshot>,
    /// A peer needs a newer one.
    wanted: bool,
    entries: u64,
    bytes: u64,
    arriving: Option<Arriving>,
}

/// A peer's snapshot on its way in.
#[derive(Debug)]
struct Arriving {
    index: u64,
    state: ClusterState,
    /// Its pages are here, and Raft was asked whether it takes it.
    offered: bool,
}

impl Snapshots {
    pub(super) fn new() -> Snapshots {
        Snapshots {
            every: SNAPSHOT_ENTRIES,
            under_way: false,
            writing: None,
            wanted: false,
            entries: 0,
            bytes: 0,
            arriving: None,
        }
    }

    pub(super) fn applied(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn failed(&mut self) {
        self.under_way = false;
    }
}

impl Control {
    /// Takes a snapshot after so many log entries, where the default is too rare to be seen: in a
    /// simulation.
    pub fn snapshot_after(&mut self, entries: u64) {
        self.snapshots.every = entries;
    }

    /// The newest snapshot that a peer would be sent.
    pub fn snapshot_index(&self) -> u64 {
        self.node.snapshot_index()
    }

    pub(super) fn tick_snapshots(&mut self) {
        self.snapshots.wanted = self.node.wants_snapshot();
    }

    pub(super) fn snapshot_if_due(&mut self, actions: &mut Vec<Action>) {
        let snapshots = &self.snapshots;
        let due = snapshots.entries >= snapshots.every || snapshots.bytes >= SNAPSHOT_BYTES;
        let newer = self.state.applied > self.node.snapshot_index();
        if !(due || snapshots.wanted) || snapshots.under_way || !newer {
            return;
        }
        let Some(metadata) = self.node.snapshot_metadata(self.state.applied) else { return };
        let snapshots = &mut self.snapshots;
        (snapshots.under_way, snapshots.wanted) = (true, false);
        (snapshots.entries, snapshots.bytes) = (0, 0);
        actions.push(Action::EncodeSnapshot { state: Box::new(self.state.clone()), metadata });
    }

    /// A snapshot of ours is encoded; a peer's may have overtaken it.
    pub(super) fn snapshot_encoded(&mut self, snapshot: LogSnapshot, actions: &mut Vec<Action>) {
        if snapshot.index <= self.node.snapshot_index() {
            self.snapshots.under_way = false;
            return;
        }
        self.snapshots.writing = Some(snapshot.clone());
        actions.push(Action::PersistSnapshot(snapshot));
    }

    /// A snapshot of ours is durable.
    pub(super) fn snapshot_persisted(&mut self) {
        if let Some(snapshot) = self.snapshots.writing.take() {
            self.node.compact(&snapshot, self.snapshots.every / KEPT_SHARE);
        }
        self.snapshots.under_way = false;
    }

    pub(super) fn peer_said(&mut self, message: PeerMessage, actions: &mut Vec<Action>) {
        let taken = match self.node.brings_snapshot(&message) {
            Ok(Some(index)) => self.snapshot_arrives(index, message, actions),
            Ok(None) => self.node.receive(&message).map_err(PeerProblem::from),
            Err(why) => Err(why.into()),
        };
        if let Err(why) = taken {
            actions.push(Action::Strange(why));
        }
    }

    /// Fetches what a peer's snapshot needs. One at a time: the peer sends it again.
    fn snapshot_arrives(
        &mut self,
        index: u64,
        message: PeerMessage,
        actions: &mut Vec<Action>,
    ) -> Result<(), PeerProblem> {
        if self.snapshots.arriving.is_some() {
            return Ok(());
        }
        let state = snapshot::decode(&message.state)?;
        let pages = pages_of(&state);
        self.snapshots.arriving = Some(Arriving { index, state, offered: false });
        actions.push(Action::FetchPages { message, pages });
        Ok(())
    }

    /// All pages that a peer's snapshot names are durable here.
    pub(super) fn pages_fetched(&mut self, message: &PeerMessage, actions: &mut Vec<Action>) {
        if let Some(arriving) = &mut self.snapshots.arriving {
            arriving.offered = true;
        }
        if let Err(why) = self.node.receive(message) {
            actions.push(Action::Strange(why.into()));
        }
    }

    /// They cannot be had now.
    pub(super) fn pages_missing(&mut self) {
        self.snapshots.arriving = None;
    }

    /// Raft took a peer's snapshot: the state is that one's now.
    pub(super) fn installed(&mut self, index: u64, actions: &mut Vec<Action>) {
        let arrived = self.snapshots.arriving.take().filter(|arriving| arriving.index == index);
        let arrived = arrived.expect("Raft takes a snapshot only when it is handed one");
        let before = std::mem::replace(&mut self.state, arrived.state);
        let jobs: BTreeSet<JobId> =
            before.jobs.keys().chain(self.state.jobs.keys()).copied().collect();
        actions.extend(jobs.into_iter().map(Action::JobChanged));
        (self.snapshots.entries, self.snapshots.bytes) = (0, 0);
    }

    /// Raft had its chance to take the snapshot that it was handed.
    pub(super) fn forget_offered_snapshot(&mut self) {
        self.snapshots.arriving.take_if(|arriving| arriving.offered);
    }
}

/// The pages that a state names, each once.
pub(crate) fn pages_of(state: &ClusterState) -> Vec<(Namespace, Digest)> {
    let mut pages = BTreeSet::new();
    for job in state.jobs.values() {
        let of_job = job.stages.iter().flat_map(|stage| stage.pages.iter());
        pages.extend(of_job.map(|page| (job.spec.namespace.clone(), page.digest)));
    }
    pages.into_iter().collect()
}
