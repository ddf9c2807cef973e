//! Sees every command that is applied, over all lives of all masters, and remembers what became of
//! each task and each index. `Apply` is a plain function, so the memory is the thread's.

use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map::Entry},
};

use weir_master::control::Apply;
use weir_proto::{
    command::{Change, Command},
    digest::Digest,
    id::{StageId, TaskId},
    outcome::{Outcome, Usage},
    page::{Page, TaskResult},
};
use weir_scheduler::{
    apply::{Effect, Rejection},
    snapshot,
    stage::Stage,
    state::ClusterState,
};

/// Every so many commands the state is encoded, decoded and compared.
const ROUND_TRIP_EVERY: u64 = 8;

/// The one result of a task: which log entry brought it, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CommittedResult {
    index: u64,
    digest: Digest,
}

/// What was ever applied.
#[derive(Default)]
struct Observer {
    hashes: BTreeMap<u64, Digest>,
    results: BTreeMap<TaskId, CommittedResult>,
    /// Pages that brought no new result.
    late_pages: u64,
    lost_too_often: u64,
    lost_once: u64,
    returned_once: u64,
}

thread_local! {
    static OBSERVER: RefCell<Observer> = RefCell::default();
}

/// Forgets everything: another simulation begins on this thread.
pub(super) fn reset() {
    OBSERVER.take();
}

/// Pages that came for tasks which all had a result.
pub(super) fn late_pages() -> u64 {
    OBSERVER.with_borrow(|observer| observer.late_pages)
}

/// Tasks that ended because they had lost too many agents.
pub(super) fn lost_too_often() -> u64 {
    OBSERVER.with_borrow(|observer| observer.lost_too_often)
}

/// Tasks that run at most once: how many ended with their agent, and how many went back.
pub(super) fn once() -> (u64, u64) {
    OBSERVER.with_borrow(|observer| (observer.lost_once, observer.returned_once))
}

/// Whether a page brought results that stand.
pub(super) fn has_accepted(state: &ClusterState, page: &[u8]) -> bool {
    let digest = Digest::of(page);
    stages(state).any(|(_, stage)| stage.pages.iter().any(|page| page.digest == digest))
}

/// Applies a command and looks at what it did.
pub(super) fn observe(
    apply: Apply,
    state: &mut ClusterState,
    command: Command,
    index: u64,
) -> Result<Vec<Effect>, Rejection> {
    let pages: BTreeMap<Digest, Page> = match &command.change {
        Change::CommitPages { pages, .. } => {
            let decoded = pages.iter().map(|bytes| (Digest::of(bytes), Page::decode(bytes)));
            decoded.map(|(digest, page)| (digest, page.expect("agents send pages"))).collect()
        }
        _ => BTreeMap::new(),
    };
    let applied = apply(state, command, index);
    OBSERVER.with_borrow_mut(|observer| {
        observer.applied(state, index, &pages);
        for effect in applied.iter().flatten() {
            if let Effect::OnceReturned { tasks, .. } = effect {
                observer.returned_once += u64::from(tasks.len());
            }
        }
    });
    applied
}

/// What a result says, as one digest.
pub(super) fn digest_of(stage: StageId, index: u32, result: TaskResult) -> Digest {
    Digest::of(&Page { stage, first: index, results: vec![result] }.encode())
}

/// A verdict as the result it stands for.
pub(super) fn verdict_result(outcome: &Outcome) -> TaskResult {
    TaskResult::without_output(outcome.clone(), Usage::default())
}

/// Nothing that was ever applied up to this state is missing from it, or different in it.
pub(super) fn check_nothing_lost(state: &ClusterState) {
    OBSERVER.with_borrow(|observer| {
        let mut found = 0;
        for (id, stage) in stages(state) {
            for (index, log_index) in indexes(stage) {
                let task = id.task(index);
                let committed = observer.results.get(&task);
                let same = committed.is_some_and(|result| result.index == log_index);
                assert!(same, "{task} has a result of entry {log_index}, not {committed:?}");
                found += 1;
            }
        }
        let applied = |result: &&CommittedResult| result.index <= state.applied;
        let expected = observer.results.values().filter(applied).count();
        assert_eq!(found, expected, "a committed result is gone");
    });
}

/// The index of the newest command that was ever applied.
pub(super) fn newest() -> u64 {
    OBSERVER.with_borrow(|observer| observer.hashes.keys().next_back().copied().unwrap_or(0))
}

/// A state that came as a snapshot is that of whoever applied the commands one by one.
pub(super) fn check_installed(state: &ClusterState) {
    OBSERVER.with_borrow(|observer| {
        if let Some(expected) = observer.hashes.get(&state.applied) {
            let index = state.applied;
            assert_eq!(snapshot::hash(state), *expected, "the snapshot after entry {index}");
        }
    });
}

impl Observer {
    fn applied(&mut self, state: &ClusterState, index: u64, pages: &BTreeMap<Digest, Page>) {
        state.check_invariants();
        let bytes = snapshot::encode(state);
        let hash = Digest::of(&bytes);
        let before = *self.hashes.entry(index).or_insert(hash);
        assert_eq!(hash, before, "the state after entry {index} is not what it was before");
        if index.is_multiple_of(ROUND_TRIP_EVERY) {
            let decoded = snapshot::decode(&bytes).expect("a snapshot reads back");
            assert!(decoded == *state, "the snapshot after entry {index} reads back differently");
        }
        let mut accepted = 0;
        for (id, stage) in stages(state) {
            accepted += self.record_new(id, stage, index, pages);
        }
        self.late_pages += (pages.len() as u64).saturating_sub(accepted);
    }

    /// Remembers the results that this entry brought; returns how many pages did bring some.
    fn record_new(
        &mut self,
        id: StageId,
        stage: &Stage,
        index: u64,
        pages: &BTreeMap<Digest, Page>,
    ) -> u64 {
        let mut accepted = 0;
        for entry in stage.pages.iter().rev().take_while(|page| page.index == index) {
            accepted += 1;
            let page = pages.get(&entry.digest).expect("a new page came with this command");
            for task in entry.accepted.iter() {
                let result = page.result(task).expect("a page holds what was accepted of it");
                self.record(id.task(task), index, result.clone());
            }
        }
        for verdict in stage.verdicts.iter().rev().take_while(|verdict| verdict.index == index) {
            match verdict.outcome {
                Outcome::AgentLostTooOften { losses: 1 } => self.lost_once += 1,
                Outcome::AgentLostTooOften { .. } => self.lost_too_often += 1,
                _ => {}
            }
            for task in verdict.range.start..verdict.range.end {
                self.record(id.task(task), index, verdict_result(&verdict.outcome));
            }
        }
        accepted
    }

    fn record(&mut self, task: TaskId, index: u64, result: TaskResult) {
        let digest = digest_of(task.stage, task.index, result);
        let new = CommittedResult { index, digest };
        match self.results.entry(task) {
            Entry::Vacant(vacant) => {
                vacant.insert(new);
            }
            Entry::Occupied(old) => {
                assert_eq!(*old.get(), new, "{task} has a second result");
            }
        }
    }
}

fn stages(state: &ClusterState) -> impl Iterator<Item = (StageId, &Stage)> {
    state.jobs.iter().flat_map(|(job, body)| {
        let stages = (0u32..).zip(&body.stages);
        stages.map(|(stage, body)| (StageId { job: *job, stage }, &**body))
    })
}

/// Each result of a stage, with the log entry that brought it.
fn indexes(stage: &Stage) -> impl Iterator<Item = (u32, u64)> {
    let pages = stage.pages.iter();
    let pages = pages.flat_map(|page| page.accepted.iter().map(|index| (index, page.index)));
    let verdicts = stage.verdicts.iter().flat_map(|verdict| {
        (verdict.range.start..verdict.range.end).map(|index| (index, verdict.index))
    });
    pages.chain(verdicts)
}
