//! Tasks and the end of their job, as lines of `run --json` and `job wait --json`.

use schemars::JsonSchema;
use serde::Serialize;
use weir_sdk::{
    proto::{
        id::JobId,
        job::InputSource,
        outcome::{Exceeded, Outcome},
        page::{Output, TaskResult},
    },
    view::JobView,
};

use crate::{tally::Tally, text};

/// How a task ended, and what it wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskLine {
    /// Always `task`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its index.
    task: u32,
    #[serde(flatten)]
    outcome: TaskOutcome,
    /// Absent where it never ran to an end, such as that of a cancelled task.
    #[serde(flatten)]
    result: Option<TaskUsage>,
}

/// How a task ended; what is not known of such an end is absent.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct TaskOutcome {
    /// A stable word, such as `out_of_fuel`; the table of exit codes in `weir run --help` has all.
    outcome: &'static str,
    /// The same as a sentence.
    message: String,
    /// The guest's own, where it exited.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// The kind of a trap.
    #[serde(skip_serializing_if = "Option::is_none")]
    trap: Option<String>,
    /// Where it trapped, innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<Vec<String>>,
    /// How much it used of what its outcome names.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    /// How much it was allowed of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// The input that is not in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// How many agents were lost while they ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<u32>,
}

/// What a task used and left.
#[derive(Debug, Serialize, JsonSchema)]
struct TaskUsage {
    /// After a trap a lower bound.
    fuel: u64,
    /// Most memory at any moment.
    peak_memory_bytes: u64,
    /// Wall time, in microseconds.
    wall_us: u64,
    /// Bytes that it read from stdin and files.
    read_bytes: u64,
    /// Bytes that it wrote to stdout, stderr and files.
    written_bytes: u64,
    /// What it wrote to stdout.
    stdout: Written,
    /// What it wrote to stderr.
    stderr: Written,
    /// The tree it left in `/out`, where that is kept.
    out: Option<OutTree>,
    /// The core dump that it left when it trapped, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    coredump: Option<Coredump>,
}

/// A blob with a guest's memory and call stack.
#[derive(Debug, Serialize, JsonSchema)]
struct Coredump {
    /// `blake3:...`
    digest: String,
    /// How many.
    bytes: u64,
}

/// What a task wrote: `text` where it is UTF-8 and short, `hex` where it is short and not, `digest`
/// where it is long.
#[derive(Debug, Serialize, JsonSchema)]
struct Written {
    /// How many bytes.
    bytes: u64,
    /// The text, where it is UTF-8 and short.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The bytes, where they are not UTF-8 and few.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    /// The blob that holds it, where it is long: `blake3:...`
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// A tree that a task left.
#[derive(Debug, Serialize, JsonSchema)]
struct OutTree {
    /// `tree:blake3:...`
    digest: String,
    /// Of all its files.
    bytes: u64,
}

/// The last line: how the job ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EndedLine {
    /// Always `job`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its id, such as `job-7`.
    job: String,
    /// `succeeded`, `failed` or `cancelled`.
    status: &'static str,
    /// All its tasks.
    tasks: u32,
    /// Tasks that succeeded.
    succeeded: u32,
    /// Tasks with any other outcome, cancelled ones left out.
    failed: u32,
    /// Tasks that were cancelled.
    cancelled: u32,
    /// Fuel of all results.
    fuel: u64,
    /// Peak memory of the largest task, in bytes.
    peak_memory_bytes: u64,
    /// From its start to its end, in milliseconds.
    wall_ms: u64,
    /// What the command exits with.
    exit_code: u8,
}

/// A job that was submitted, as `submit` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SubmittedLine {
    /// Always `submitted`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its id, such as `job-7`.
    job: String,
    /// How many tasks it has.
    tasks: u32,
}

/// The line of a job that was submitted.
pub(crate) fn submitted_line(job: JobId, tasks: u32) -> serde_json::Result<String> {
    text::json_line(&SubmittedLine { kind: "submitted", job: job.to_string(), tasks })
}

/// The line of a task that has a result.
pub(crate) fn result_line(task: u32, result: &TaskResult) -> serde_json::Result<String> {
    text::json_line(&TaskLine::result(task, result))
}

/// The line of a task whose outcome the scheduler gave.
pub(crate) fn verdict_line(task: u32, given: &Outcome) -> serde_json::Result<String> {
    text::json_line(&TaskLine::verdict(task, given))
}

/// The last line: the job.
pub(crate) fn ended_line(
    view: &JobView,
    tally: &Tally,
    wall_ms: u64,
) -> serde_json::Result<String> {
    text::json_line(&EndedLine::new(view, tally, wall_ms))
}

impl TaskLine {
    /// Of a task that has a result.
    fn result(task: u32, result: &TaskResult) -> TaskLine {
        let out = result.out.map(|out| OutTree {
            digest: InputSource::Tree(out.digest).to_string(),
            bytes: out.size_bytes,
        });
        let coredump = result.coredump.map(|coredump| Coredump {
            digest: coredump.digest.to_string(),
            bytes: coredump.size_bytes,
        });
        let usage = TaskUsage {
            fuel: result.usage.fuel,
            peak_memory_bytes: result.usage.peak_memory_bytes,
            wall_us: result.usage.wall_us,
            read_bytes: result.usage.read_bytes,
            written_bytes: result.usage.written_bytes,
            stdout: Written::from(&result.stdout),
            stderr: Written::from(&result.stderr),
            out,
            coredump,
        };
        let outcome = TaskOutcome::from(&result.outcome);
        TaskLine { kind: "task", task, outcome, result: Some(usage) }
    }

    /// Of a task whose outcome the scheduler gave.
    fn verdict(task: u32, given: &Outcome) -> TaskLine {
        TaskLine { kind: "task", task, outcome: TaskOutcome::from(given), result: None }
    }
}

impl From<&Outcome> for TaskOutcome {
    fn from(outcome: &Outcome) -> TaskOutcome {
        let word = outcome.word();
        let known = TaskOutcome { outcome: word, message: outcome.to_string(), ..Self::default() };
        match outcome {
            Outcome::Succeeded { exit_code } | Outcome::Failed { exit_code } => {
                TaskOutcome { exit_code: Some(*exit_code), ..known }
            }
            Outcome::Trapped(trap) => TaskOutcome {
                trap: Some(trap.kind.clone()),
                frames: Some(trap.frames.clone()),
                ..known
            },
            Outcome::OutOfFuel(Exceeded { used, limit })
            | Outcome::OutOfMemory(Exceeded { used, limit })
            | Outcome::TimedOut(Exceeded { used, limit })
            | Outcome::OutputTooLarge(Exceeded { used, limit })
            | Outcome::ScratchFull(Exceeded { used, limit }) => {
                TaskOutcome { used: Some(*used), limit: Some(*limit), ..known }
            }
            Outcome::MissingInput { digest } => {
                TaskOutcome { digest: Some(digest.to_string()), ..known }
            }
            Outcome::AgentLostTooOften { losses } => TaskOutcome { losses: Some(*losses), ..known },
            Outcome::CompileLimit { .. }
            | Outcome::InvalidModule { .. }
            | Outcome::Cancelled
            | Outcome::UpstreamFailed
            | Outcome::DeadlineExpired => known,
        }
    }
}

impl From<&Output> for Written {
    fn from(output: &Output) -> Written {
        let (mut text, mut hex, mut long) = (None, None, None);
        match output {
            Output::Blob { digest, .. } => long = Some(digest.to_string()),
            Output::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(utf8) => text = Some(utf8.to_owned()),
                Err(_) => hex = Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            },
        }
        Written { bytes: output.size_bytes(), text, hex, digest: long }
    }
}

impl EndedLine {
    /// Of a job that has ended, after so long.
    fn new(view: &JobView, tally: &Tally, wall_ms: u64) -> EndedLine {
        EndedLine {
            kind: "job",
            job: view.summary.id.to_string(),
            status: view.summary.status.word(),
            tasks: view.summary.tasks,
            succeeded: view.summary.tasks - tally.unsuccessful(),
            failed: tally.failed(),
            cancelled: tally.unsuccessful() - tally.failed(),
            fuel: view.summary.fuel,
            peak_memory_bytes: view.summary.peak_memory_bytes,
            wall_ms,
            exit_code: tally.exit_code(view.summary.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use weir_sdk::proto::outcome::Usage;

    use super::*;

    #[test]
    fn a_tasks_line_tells_outcome_and_output() {
        let result = TaskResult {
            outcome: Outcome::OutOfFuel(Exceeded { used: 5, limit: 5 }),
            usage: Usage { fuel: 5, peak_memory_bytes: 65_536, wall_us: 12, ..Usage::default() },
            stdout: Output::Inline(b"hi\n".to_vec()),
            stderr: Output::Inline(vec![0xff]),
            out: None,
            coredump: None,
        };
        let value = serde_json::to_value(TaskLine::result(3, &result)).expect("JSON");
        assert_eq!(value["type"], "task");
        assert_eq!(value["task"], 3);
        assert_eq!(value["outcome"], "out_of_fuel");
        assert_eq!(value["used"], 5);
        assert_eq!(value["stdout"], serde_json::json!({ "bytes": 3, "text": "hi\n" }));
        assert_eq!(value["stderr"]["hex"], "ff");
        assert_eq!(value.get("out"), Some(&Value::Null));
        assert_eq!(value.get("exit_code"), None);
    }

    #[test]
    fn a_task_that_never_ran_has_no_usage() {
        let value = serde_json::to_value(TaskLine::verdict(7, &Outcome::Cancelled)).expect("JSON");
        assert_eq!((&value["task"], &value["outcome"]), (&7.into(), &"cancelled".into()));
        assert_eq!(value.get("fuel"), None);
    }
}
