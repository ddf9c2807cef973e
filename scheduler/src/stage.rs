//! How far an array of tasks is: ranges, sums and counts, nothing for a single task.

use std::collections::BTreeMap;

use imbl::Vector;
use weir_proto::{
    digest::Digest,
    id::{AgentId, LeaseId},
    outcome::{Cause, Outcome},
    range::{RangeSet, TaskRange},
};

use crate::times::Times;

/// Most causes that are counted one by one; further ones are counted by their outcome's kind.
pub const MAX_CAUSES: usize = 64;

/// A stage of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// Tasks below this mark may be out on leases that only their agents know of.
    pub leased_through: u32,
    /// Committed pages, in the order of the log.
    pub pages: Vector<PageRef>,
    /// Outcomes that no sandbox gave, in the order of the log.
    pub verdicts: Vec<Verdict>,
    /// How many agents were lost while they ran a task; only tasks that lost one.
    pub losses: BTreeMap<u32, u32>,
    /// How often tasks without a result have failed and are run again; only those that did.
    pub attempts: BTreeMap<u32, u32>,
    /// Attempts that failed and were repeated, of all tasks.
    pub retried: u32,
    /// Tasks without a result that are to stand still.
    pub paused: RangeSet,
    /// Who has which tasks without a result; only where tasks run at most once.
    pub granted: BTreeMap<LeaseId, Granted>,
    /// Why tasks did not succeed.
    pub causes: BTreeMap<Cause, CauseCount>,
    /// How long tasks ran.
    pub times: Times,
    /// Derived: tasks with a result.
    pub done: RangeSet,
    /// Derived: tasks with a result that is no success.
    pub failed: RangeSet,
    /// Derived: those of `failed` that were cancelled.
    pub cancelled: u32,
    /// Derived: fuel of all results.
    pub fuel: u64,
    /// Derived: largest peak of memory among the results, in bytes.
    pub peak_memory_bytes: u64,
}

/// A committed page; its bytes are in the store, or in the log since the last snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRef {
    /// The log entry that brought it.
    pub index: u64,
    /// The tasks it covers.
    pub range: TaskRange,
    /// The name of its bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size_bytes: u64,
    /// The tasks of which it was the first result; never empty.
    pub accepted: RangeSet,
    /// Those of `accepted` that did not succeed.
    pub failed: RangeSet,
    /// Fuel of `accepted`; 0 of a kept page.
    pub fuel: u64,
    /// Largest peak of memory among `accepted`, in bytes.
    pub peak_memory_bytes: u64,
    /// Whether it is a page of the job that this one is a retry of.
    pub kept: bool,
}

/// An outcome that the scheduler gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The log entry that brought it.
    pub index: u64,
    /// The tasks that end so.
    pub range: TaskRange,
    /// The outcome; never a success.
    pub outcome: Outcome,
}

/// A committed lease of tasks that run at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Who has them.
    pub agent: AgentId,
    /// Its connection when they were granted.
    pub connection: u64,
    /// The tasks, as far as they have no result; never empty.
    pub tasks: RangeSet,
}

/// How many tasks did not succeed for one cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CauseCount {
    /// How many.
    pub tasks: u32,
    /// The lowest of them.
    pub first: u32,
}

impl Stage {
    /// The tasks of an array of `count` that have no result.
    pub fn open(&self, count: u32) -> RangeSet {
        let mut open = RangeSet::below(count);
        open.remove_all(&self.done);
        open
    }

    /// Tasks that succeeded.
    pub fn succeeded(&self) -> u32 {
        self.done.len() - self.failed.len()
    }

    /// The stage of a job that runs again what did not succeed in this one.
    pub(crate) fn retry(&self) -> Stage {
        let mut stage = Stage::default();
        for page in &self.pages {
            let mut accepted = page.accepted.clone();
            accepted.remove_all(&page.failed);
            if !accepted.is_empty() {
                let kept = PageRef {
                    accepted,
                    failed: RangeSet::new(),
                    fuel: 0,
                    peak_memory_bytes: 0,
                    kept: true,
                    ..page.clone()
                };
                stage.add_page(kept);
            }
        }
        stage
    }

    /// Adds a page whose accepted tasks have no result yet.
    pub(crate) fn add_page(&mut self, page: PageRef) {
        self.done.insert_all(&page.accepted);
        self.failed.insert_all(&page.failed);
        self.fuel = self.fuel.saturating_add(page.fuel);
        self.peak_memory_bytes = self.peak_memory_bytes.max(page.peak_memory_bytes);
        self.paused.remove_all(&page.accepted);
        for range in page.accepted.ranges() {
            self.forget_attempts(*range);
            self.forget_grants(*range);
        }
        self.pages.push_back(page);
    }

    /// Adds a verdict on tasks that have no result yet.
    pub(crate) fn add_verdict(&mut self, verdict: Verdict) {
        self.done.insert(verdict.range);
        self.failed.insert(verdict.range);
        self.paused.remove(verdict.range);
        if verdict.outcome == Outcome::Cancelled {
            self.cancelled += verdict.range.len();
        }
        self.forget_attempts(verdict.range);
        self.forget_grants(verdict.range);
        self.verdicts.push(verdict);
    }

    /// Lets tasks of an array of `count` that have no result stand still, or go on; returns how many
    /// did not before.
    pub(crate) fn pause(&mut self, tasks: &RangeSet, paused: bool, count: u32) -> u32 {
        let mut changed = tasks.within(TaskRange::new(0, count));
        changed.remove_all(&self.done);
        let before = self.paused.len();
        match paused {
            true => self.paused.insert_all(&changed),
            false => self.paused.remove_all(&changed),
        }
        self.paused.len().abs_diff(before)
    }

    /// Counts tasks that did not succeed; `first` is the lowest of them.
    pub(crate) fn count_cause(&mut self, cause: Cause, tasks: u32, first: u32) {
        let known = self.causes.contains_key(&cause) || self.causes.len() < MAX_CAUSES;
        let cause = if known { cause } else { Cause { detail: "other".to_owned(), ..cause } };
        let count = self.causes.entry(cause).or_insert(CauseCount { tasks: 0, first });
        count.tasks += tasks;
        count.first = count.first.min(first);
    }

    fn forget_attempts(&mut self, range: TaskRange) {
        let stays = |index: &u32| !(range.start..range.end).contains(index);
        self.losses.retain(|index, _| stays(index));
        self.attempts.retain(|index, _| stays(index));
    }

    fn forget_grants(&mut self, range: TaskRange) {
        if !self.granted.is_empty() {
            self.granted.values_mut().for_each(|granted| granted.tasks.remove(range));
            self.granted.retain(|_, granted| !granted.tasks.is_empty());
        }
    }

    /// What must hold between any two commands; for tests.
    pub(crate) fn check_invariants(&self, count: u32) {
        let (mut seen, mut failed) = (RangeSet::new(), RangeSet::new());
        let accepted = self.pages.iter().flat_map(|page| page.accepted.ranges().iter());
        for range in accepted.chain(self.verdicts.iter().map(|verdict| &verdict.range)) {
            assert!(seen.within(*range).is_empty(), "{range} has more than one result");
            assert!(range.end <= count, "{range} is beyond {count} tasks");
            seen.insert(*range);
        }
        for page in &self.pages {
            failed.insert_all(&page.failed);
            assert!(!page.accepted.is_empty(), "a page without a result is kept");
        }
        for verdict in &self.verdicts {
            failed.insert(verdict.range);
        }
        assert_eq!(seen, self.done, "done is what has a result");
        assert_eq!(failed, self.failed, "failed is what did not succeed");
        let caused: u32 = self.causes.values().map(|count| count.tasks).sum();
        assert_eq!(caused, failed.len(), "every failure has a cause");
        assert!(self.leased_through <= count);
        let paused = self.paused.ranges().iter();
        assert!(paused.clone().all(|range| range.end <= count && seen.within(*range).is_empty()));
        for index in self.attempts.keys().chain(self.losses.keys()) {
            assert!(!seen.contains(*index), "task {index} has a result and is tried again");
        }
        for (lease, granted) in &self.granted {
            assert!(!granted.tasks.is_empty(), "{lease} has nothing any more");
            for range in granted.tasks.ranges() {
                assert!(range.end <= count);
                assert!(seen.within(*range).is_empty(), "{range} is over, or granted twice");
                seen.insert(*range);
            }
        }
    }
}
