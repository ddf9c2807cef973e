//! Adds up how the tasks of a job ended, in bounded memory however many there are. Pure.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use weir_sdk::{
    proto::{
        outcome::{Outcome, Trap, Usage},
        page::{StoredBlob, TaskResult},
        range::{RangeSet, TaskRange},
        units::{grouped, short_bytes, short_count, short_duration},
    },
    view::{JobStatus, JobView},
};

use crate::{exit, text::plain};

/// Most failed tasks that are told one by one.
pub(crate) const MAX_TOLD: usize = 10;
/// Most frames of a trap that are told.
const MAX_FRAMES: usize = 16;

/// How the tasks of a job ended, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    seen: RangeSet,
    succeeded: u32,
    fuel: u64,
    peak_memory_bytes: u64,
    cancelled: u32,
    /// The lowest task that did not succeed, and the exit code for that.
    first: Option<(u32, u8)>,
    /// The failures of the lowest tasks, cancelled ones left out; at most `MAX_TOLD`.
    lowest: BTreeMap<u32, Failure>,
}

/// How a task failed, and what it left for a debugger.
#[derive(Debug)]
struct Failure {
    outcome: Outcome,
    coredump: Option<StoredBlob>,
    /// The file that the core dump was written to, if it was.
    kept: Option<PathBuf>,
}

impl Tally {
    /// Adds a task's result, and what it used for this job. A second one of the same task does not
    /// count.
    pub(crate) fn result(&mut self, task: u32, result: &TaskResult, usage: Usage) {
        if self.seen.contains(task) {
            return;
        }
        self.seen.insert(TaskRange::single(task));
        self.fuel = self.fuel.saturating_add(usage.fuel);
        self.peak_memory_bytes = self.peak_memory_bytes.max(usage.peak_memory_bytes);
        self.ended(task, &result.outcome, result.coredump);
    }

    /// Adds what the scheduler said of tasks that have no result of their own.
    pub(crate) fn verdict(&mut self, tasks: TaskRange, outcome: &Outcome) {
        for task in tasks.start..tasks.end {
            if !self.seen.contains(task) {
                self.ended(task, outcome, None);
            }
        }
        self.seen.insert(tasks);
    }

    fn ended(&mut self, task: u32, outcome: &Outcome, coredump: Option<StoredBlob>) {
        if outcome.succeeded() {
            self.succeeded += 1;
            return;
        }
        if self.first.is_none_or(|(first, _)| task < first) {
            self.first = Some((task, exit::of_outcome(outcome)));
        }
        if *outcome == Outcome::Cancelled {
            self.cancelled += 1;
            return;
        }
        let among_lowest = self.lowest.len() < MAX_TOLD
            || self.lowest.last_key_value().is_some_and(|(last, _)| task < *last);
        if among_lowest {
            let failure = Failure { outcome: outcome.clone(), coredump, kept: None };
            self.lowest.insert(task, failure);
            if self.lowest.len() > MAX_TOLD {
                self.lowest.pop_last();
            }
        }
    }

    /// Tasks whose end is known.
    pub(crate) fn ended_tasks(&self) -> u32 {
        self.seen.len()
    }

    /// Fuel of all results.
    pub(crate) fn fuel(&self) -> u64 {
        self.fuel
    }

    /// Whether this task's end is known.
    pub(crate) fn knows(&self, task: u32) -> bool {
        self.seen.contains(task)
    }

    /// Tasks that did not succeed.
    pub(crate) fn unsuccessful(&self) -> u32 {
        self.seen.len() - self.succeeded
    }

    /// Tasks that neither succeeded nor were cancelled.
    pub(crate) fn failed(&self) -> u32 {
        self.unsuccessful() - self.cancelled
    }

    /// What the command exits with: the code of the lowest task that failed.
    pub(crate) fn exit_code(&self, status: JobStatus) -> u8 {
        if status == JobStatus::Cancelled {
            return exit::of_outcome(&Outcome::Cancelled);
        }
        self.first.map_or(exit::SUCCESS, |(_, code)| code)
    }

    /// What the told failures left for a debugger.
    pub(crate) fn core_dumps(&self) -> Vec<(u32, StoredBlob)> {
        let left = |(task, failure): (&u32, &Failure)| Some((*task, failure.coredump?));
        self.lowest.iter().filter_map(left).collect()
    }

    /// Notes that one of those is in a file now, which is told instead of where it was.
    pub(crate) fn core_dump_is_in(&mut self, task: u32, file: PathBuf) {
        if let Some(failure) = self.lowest.get_mut(&task) {
            failure.kept = Some(file);
        }
    }

    /// A line for each of the lowest failures, its frames beneath a trap, and how many more there
    /// are. What a guest says itself by its exit code is left out of a `quiet` telling.
    pub(crate) fn failures(&self, quiet: bool) -> String {
        let mut told = String::new();
        for (task, Failure { outcome, coredump, kept }) in &self.lowest {
            if quiet && matches!(outcome, Outcome::Failed { .. }) {
                continue;
            }
            told.push_str(&format!("task {task}: {}\n", plain(&outcome.to_string())));
            if let Outcome::Trapped(trap) = outcome {
                told.push_str(&frames(trap));
            }
            if let Some(StoredBlob { digest, size_bytes }) = coredump {
                let size = short_bytes(*size_bytes);
                let place = kept.as_ref().map(|path| path.display().to_string());
                let place = place.unwrap_or_else(|| digest.to_string());
                told.push_str(&format!("    core dump: {} ({size})\n", plain(&place)));
            }
        }
        let more = self.failed() as usize - self.lowest.len();
        if more > 0 && !quiet {
            told.push_str(&format!("and {} failed\n", count(more as u64, "more task")));
        }
        told
    }

    /// The line at the end: tasks, fuel, peak memory, wall time.
    pub(crate) fn summary(&self, view: &JobView, wall: Duration) -> String {
        format!(
            "{} {}: {}; fuel {}, peak memory {}, {}\n",
            view.summary.id,
            view.summary.status.word(),
            self.tasks(view.summary.tasks),
            short_count(self.fuel),
            short_bytes(self.peak_memory_bytes),
            short_duration(wall)
        )
    }

    fn tasks(&self, tasks: u32) -> String {
        let all = count(tasks.into(), "task");
        if self.succeeded == tasks {
            return all;
        }
        let mut parts = vec![format!("{} of {all} succeeded", grouped(self.succeeded.into()))];
        for (number, what) in [(self.failed(), "failed"), (self.cancelled, "cancelled")] {
            if number > 0 {
                parts.push(format!("{} {what}", grouped(number.into())));
            }
        }
        parts.join(", ")
    }
}

fn frames(trap: &Trap) -> String {
    let mut told = String::new();
    for frame in trap.frames.iter().take(MAX_FRAMES) {
        told.push_str(&format!("    at {}\n", plain(frame)));
    }
    if let Some(more) = trap.frames.len().checked_sub(MAX_FRAMES).filter(|more| *more > 0) {
        told.push_str(&format!("    and {}\n", count(more as u64, "more frame")));
    }
    told
}

/// `1 task`, `1,000 tasks`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::{digest::Digest, outcome::Exceeded};

    use super::*;

    const OK: Outcome = Outcome::Succeeded { exit_code: 0 };

    const USED: Usage =
        Usage { fuel: 5, peak_memory_bytes: 6, wall_us: 7, read_bytes: 0, written_bytes: 0 };

    fn left(outcome: Outcome) -> TaskResult {
        TaskResult::without_output(outcome, USED)
    }

    fn out_of_fuel() -> Outcome {
        Outcome::OutOfFuel(Exceeded { used: 5_000_000, limit: 5_000_000 })
    }

    #[test]
    fn the_lowest_failed_task_gives_the_exit_code_in_whatever_order_results_come() {
        let mut tally = Tally::default();
        tally.result(9, &left(Outcome::Failed { exit_code: 7 }), USED);
        tally.result(3, &left(out_of_fuel()), USED);
        tally.result(0, &left(OK), USED);
        assert_eq!(tally.exit_code(JobStatus::Failed), 152);
        assert_eq!(tally.exit_code(JobStatus::Cancelled), 130);
    }

    #[test]
    fn many_failures_are_told_as_the_lowest_few_and_a_count() {
        let mut tally = Tally::default();
        for task in (0..1000).rev() {
            tally.result(task, &left(out_of_fuel()), USED);
        }
        let told = tally.failures(false);
        assert_eq!(told.lines().count(), MAX_TOLD + 1, "{told}");
        let first = "task 0: out of fuel: used 5,000,000 of 5,000,000\n";
        assert!(told.starts_with(first), "{told}");
        assert!(told.ends_with("and 990 more tasks failed\n"), "{told}");
    }

    #[test]
    fn a_result_told_twice_counts_once() {
        let mut tally = Tally::default();
        tally.result(0, &left(OK), USED);
        tally.result(0, &left(OK), USED);
        tally.verdict(TaskRange::new(0, 3), &Outcome::Cancelled);
        assert_eq!((tally.ended_tasks(), tally.unsuccessful(), tally.fuel), (3, 2, 5));
    }

    #[test]
    fn cancelled_tasks_are_counted_and_not_told_one_by_one() {
        let mut tally = Tally::default();
        tally.result(0, &left(OK), USED);
        tally.result(1, &left(out_of_fuel()), USED);
        tally.verdict(TaskRange::new(2, 1000), &Outcome::Cancelled);
        assert_eq!(tally.failures(false).lines().count(), 1);
        assert_eq!(tally.tasks(1000), "1 of 1,000 tasks succeeded, 1 failed, 998 cancelled");
    }

    #[test]
    fn a_trap_shows_its_frames_without_control_characters() {
        let mut tally = Tally::default();
        let trap = Trap {
            kind: "unreachable".to_owned(),
            message: "wasm `unreachable` executed".to_owned(),
            frames: vec!["main\x1b[2J".to_owned(); 20],
        };
        let digest = Digest::of(b"dump");
        let coredump = Some(StoredBlob { digest, size_bytes: 2048 });
        tally.result(2, &TaskResult { coredump, ..left(Outcome::Trapped(trap)) }, USED);
        let told = tally.failures(true);
        assert!(told.starts_with("task 2: trapped: wasm `unreachable` executed\n    at main"));
        let end = format!("and 4 more frames\n    core dump: {digest} (2.00 KiB)\n");
        assert!(told.ends_with(&end), "{told}");
        assert!(!told.contains('\x1b'));

        assert_eq!(tally.core_dumps(), [(2, StoredBlob { digest, size_bytes: 2048 })]);
        tally.core_dump_is_in(2, "core.2.wasm".into());
        let told = tally.failures(true);
        assert!(told.ends_with("    core dump: core.2.wasm (2.00 KiB)\n"), "{told}");
    }

    #[test]
    fn a_quiet_telling_leaves_a_guests_own_exit_code_to_the_exit_code() {
        let mut tally = Tally::default();
        tally.result(0, &left(Outcome::Failed { exit_code: 3 }), USED);
        assert_eq!(tally.failures(true), "");
        assert_eq!(tally.failures(false), "task 0: failed with exit code 3\n");
    }
}
