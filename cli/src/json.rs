//! What `--json` prints: one struct for each thing, with keys that stay.

use std::time::Duration;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use weir_sdk::{
    proto::{
        job::{InputSource, Keep, StageSpec, Stdin, TaskKind},
        outcome::{Exceeded, Outcome},
        page::{Output, TaskResult},
    },
    view::{AgentView, ClusterStatus, JobSummary, JobView, StageView},
};

use crate::{source::Stored, tally::Tally};

/// A job in a line, as `job ls` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobLine {
    /// `job-7`.
    job: String,
    /// What it is called.
    name: String,
    /// Whose it is.
    namespace: String,
    /// `active`, `succeeded`, `failed` or `cancelled`.
    status: &'static str,
    /// Within its namespace, higher goes first.
    priority: i32,
    /// When it was accepted, in Unix milliseconds.
    submitted_ms: u64,
    /// When it ended, in Unix milliseconds.
    ended_ms: Option<u64>,
    /// All its tasks.
    tasks: u32,
    /// Tasks that succeeded.
    succeeded: u32,
    /// Tasks with any other outcome, cancelled ones left out.
    failed: u32,
    /// Tasks that were cancelled.
    cancelled: u32,
    /// Tasks that run now; a hint.
    running: u32,
    /// Fuel of all results.
    fuel: u64,
    /// Peak memory of the largest task, in bytes.
    peak_memory_bytes: u64,
    /// The job of which it runs again what did not succeed.
    retry_of: Option<String>,
}

/// All about a job, as `job show` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Job {
    #[serde(flatten)]
    line: JobLine,
    /// Why tasks wait, if some do.
    waiting: Vec<String>,
    /// Its stages.
    stages: Vec<Stage>,
}

/// A stage: what was asked for, and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Stage {
    name: String,
    /// Digest of the module.
    module: String,
    args: Vec<String>,
    /// Pairs of name and value, in order.
    env: Vec<(String, String)>,
    /// Digest of what tasks read from stdin, or `{input}`.
    stdin: Option<String>,
    inputs: Vec<Input>,
    /// How many tasks.
    count: u32,
    /// `plain`, `array` or `foreach`.
    kind: &'static str,
    limits: StageLimits,
    /// Thousandths of a core for each running task.
    cpu_millis: u32,
    /// Bytes of memory for each running task.
    memory_bytes: u64,
    /// Exit codes besides 0 that are success.
    success_codes: Vec<i32>,
    /// How often a task that fails is run again.
    retries: u32,
    /// Whether tasks have `/out`, and it is kept.
    keep_out: bool,
    /// The only paths beneath `/out` that are kept; none: all.
    keep_paths: Vec<String>,
    /// Chooses among random sequences.
    seed: u64,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    running: u32,
    /// Attempts that failed and were repeated.
    retried: u32,
    fuel: u64,
    peak_memory_bytes: u64,
    /// Wall time of all results together, in microseconds.
    wall_us: u64,
    /// Median wall time of a task, at most a quarter too long.
    wall_p50_us: u64,
    /// 99th percentile of the same.
    wall_p99_us: u64,
    /// Why tasks did not succeed, the most frequent cause first.
    causes: Vec<CauseCount>,
}

/// A blob or tree that guests see.
#[derive(Debug, Serialize, JsonSchema)]
struct Input {
    /// Where guests see it.
    path: String,
    /// `blake3:...` or `tree:blake3:...`.
    source: String,
    /// Whether each task may change a copy of its own.
    writable: bool,
}

/// Limits of each attempt.
#[derive(Debug, Serialize, JsonSchema)]
struct StageLimits {
    fuel: u64,
    memory_bytes: u64,
    timeout_ms: u64,
    output_bytes: u64,
    scratch_bytes: u64,
}

/// How many tasks did not succeed for one cause.
#[derive(Debug, Serialize, JsonSchema)]
struct CauseCount {
    /// The outcome's word, such as `out_of_fuel`.
    outcome: &'static str,
    /// What tells it apart, such as `exit code 3`.
    detail: String,
    /// How many tasks.
    tasks: u32,
    /// The lowest of them.
    first: u32,
}

impl From<&JobSummary> for JobLine {
    fn from(summary: &JobSummary) -> JobLine {
        JobLine {
            job: summary.id.to_string(),
            name: summary.name.clone(),
            namespace: summary.namespace.to_string(),
            status: summary.status.word(),
            priority: summary.priority,
            submitted_ms: summary.submitted_ms,
            ended_ms: summary.ended_ms,
            tasks: summary.tasks,
            succeeded: summary.succeeded,
            failed: summary.failed,
            cancelled: summary.cancelled,
            running: summary.running,
            fuel: summary.fuel,
            peak_memory_bytes: summary.peak_memory_bytes,
            retry_of: summary.retry_of.map(|job| job.to_string()),
        }
    }
}

impl From<&JobView> for Job {
    fn from(view: &JobView) -> Job {
        let stages = view.spec.stages.iter().zip(&view.stages).map(Stage::from);
        Job {
            line: JobLine::from(&view.summary),
            waiting: view.waiting.clone(),
            stages: stages.collect(),
        }
    }
}

impl From<(&StageSpec, &StageView)> for Stage {
    fn from((spec, view): (&StageSpec, &StageView)) -> Stage {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let inputs = spec.inputs.iter().map(|input| Input {
            path: input.path.clone(),
            source: input.source.to_string(),
            writable: input.writable,
        });
        let causes = view.causes.iter().map(|count| CauseCount {
            outcome: count.cause.word(),
            detail: count.cause.detail.clone(),
            tasks: count.tasks,
            first: count.first,
        });
        Stage {
            name: spec.name.clone(),
            module: spec.module.to_string(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            stdin: match spec.stdin {
                Stdin::Empty => None,
                Stdin::Blob(digest) => Some(digest.to_string()),
                Stdin::Item => Some("{input}".to_owned()),
            },
            inputs: inputs.collect(),
            count: spec.count,
            kind: match spec.kind {
                TaskKind::Plain => "plain",
                TaskKind::Array => "array",
                TaskKind::Foreach { .. } => "foreach",
            },
            limits: StageLimits {
                fuel: spec.limits.fuel,
                memory_bytes: spec.limits.memory_bytes,
                timeout_ms: spec.limits.timeout_ms,
                output_bytes: spec.limits.output_bytes,
                scratch_bytes: spec.limits.scratch_bytes,
            },
            cpu_millis: spec.resources.cpu_millis,
            memory_bytes: spec.resources.memory_bytes,
            success_codes: spec.success_codes.clone(),
            retries: spec.retries,
            keep_out: spec.keep != Keep::Nothing,
            keep_paths: match &spec.keep {
                Keep::Nothing | Keep::Out => Vec::new(),
                Keep::Paths(paths) => paths.clone(),
            },
            seed: spec.seed,
            succeeded: view.succeeded,
            failed: view.failed,
            cancelled: view.cancelled,
            running: view.running,
            retried: view.retried,
            fuel: view.fuel,
            peak_memory_bytes: view.peak_memory_bytes,
            wall_us: us(view.wall),
            wall_p50_us: us(view.wall_p50),
            wall_p99_us: us(view.wall_p99),
            causes: causes.collect(),
        }
    }
}

/// How a task ended, as lines of `run --json` and `job wait --json` say it.
pub(crate) fn outcome(outcome: &Outcome) -> Value {
    let mut value = json!({ "outcome": outcome.word(), "message": outcome.to_string() });
    let details = match outcome {
        Outcome::Succeeded { exit_code } | Outcome::Failed { exit_code } => {
            json!({ "exit_code": exit_code })
        }
        Outcome::Trapped(trap) => {
            json!({ "trap": trap.kind, "frames": trap.frames })
        }
        Outcome::OutOfFuel(Exceeded { used, limit })
        | Outcome::OutOfMemory(Exceeded { used, limit })
        | Outcome::TimedOut(Exceeded { used, limit })
        | Outcome::OutputTooLarge(Exceeded { used, limit })
        | Outcome::ScratchFull(Exceeded { used, limit }) => {
            json!({ "used": used, "limit": limit })
        }
        Outcome::MissingInput { digest } => json!({ "digest": digest.to_string() }),
        Outcome::AgentLostTooOften { losses } => json!({ "losses": losses }),
        Outcome::CompileLimit { .. }
        | Outcome::InvalidModule { .. }
        | Outcome::Cancelled
        | Outcome::UpstreamFailed
        | Outcome::DeadlineExpired => json!({}),
    };
    extend(&mut value, details);
    value
}

/// The line of a task that has a result.
pub(crate) fn result_line(task: u32, result: &TaskResult) -> Result<String> {
    let mut value = json!({ "type": "task", "task": task });
    extend(&mut value, outcome(&result.outcome));
    extend(
        &mut value,
        json!({
            "fuel": result.usage.fuel,
            "peak_memory_bytes": result.usage.peak_memory_bytes,
            "wall_us": result.usage.wall_us,
            "stdout": output(&result.stdout),
            "stderr": output(&result.stderr),
            "out": result.out.map(|out| json!({
                "digest": Stored(InputSource::Tree(out.digest)).to_string(),
                "bytes": out.size_bytes,
            })),
        }),
    );
    line(&value)
}

/// The line of a task whose outcome the scheduler gave.
pub(crate) fn verdict_line(task: u32, given: &Outcome) -> Result<String> {
    let mut value = json!({ "type": "task", "task": task });
    extend(&mut value, outcome(given));
    line(&value)
}

/// The last line: the job.
pub(crate) fn ended_line(view: &JobView, tally: &Tally, wall_ms: u64) -> Result<String> {
    line(&json!({
        "type": "job",
        "job": view.summary.id.to_string(),
        "status": view.summary.status.word(),
        "tasks": view.summary.tasks,
        "succeeded": view.summary.tasks - tally.unsuccessful(),
        "failed": tally.unsuccessful(),
        "fuel": view.summary.fuel,
        "peak_memory_bytes": view.summary.peak_memory_bytes,
        "wall_ms": wall_ms,
        "exit_code": tally.exit_code(view.summary.status),
    }))
}

/// What a task wrote: `text` where it is UTF-8 and short, `hex` where it is short and not, `digest`
/// where it is long.
fn output(output: &Output) -> Value {
    match output {
        Output::Blob { digest, size_bytes } => {
            json!({ "bytes": size_bytes, "digest": digest.to_string() })
        }
        Output::Inline(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "bytes": bytes.len(), "text": text }),
            Err(_) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "bytes": bytes.len(), "hex": hex })
            }
        },
    }
}

/// How the cluster is, as `weir status` prints it.
pub(crate) fn status(status: &ClusterStatus, address: &str) -> Value {
    json!({
        "cluster": status.cluster.to_string(),
        "master": address,
        "version": status.version,
        "term": status.term,
        "applied_index": status.applied_index,
        "state_hash": status.state_hash,
        "commits": status.commits,
        "commit_p50_us": u64::try_from(status.commit_p50.as_micros()).unwrap_or(u64::MAX),
        "commit_p99_us": u64::try_from(status.commit_p99.as_micros()).unwrap_or(u64::MAX),
        "agents": status.agents.iter().map(agent).collect::<Vec<_>>(),
    })
}

fn agent(view: &AgentView) -> Value {
    json!({
        "agent": view.agent.id.to_string(),
        "name": view.agent.name,
        "live": view.live,
        "architecture": view.agent.architecture,
        "profile": view.agent.profile,
        "version": view.agent.version,
        "cpu_millis": view.agent.resources.cpu_millis,
        "memory_bytes": view.agent.resources.memory_bytes,
        "used_cpu_millis": view.used.cpu_millis,
        "used_memory_bytes": view.used.memory_bytes,
        "leases": view.leases,
        "fuel_per_second": view.agent.fuel_per_second,
    })
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

fn line(value: &Value) -> Result<String> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::outcome::Usage;

    use super::*;

    #[test]
    fn a_tasks_line_tells_outcome_and_output() {
        let result = TaskResult {
            outcome: Outcome::OutOfFuel(Exceeded { used: 5, limit: 5 }),
            usage: Usage { fuel: 5, peak_memory_bytes: 65_536, wall_us: 12 },
            stdout: Output::Inline(b"hi\n".to_vec()),
            stderr: Output::Inline(vec![0xff]),
            out: None,
        };
        let line = result_line(3, &result).expect("JSON");
        assert!(line.ends_with('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["task"], 3);
        assert_eq!(value["outcome"], "out_of_fuel");
        assert_eq!(value["used"], 5);
        assert_eq!(value["stdout"]["text"], "hi\n");
        assert_eq!(value["stderr"]["hex"], "ff");
        assert_eq!(value["out"], Value::Null);
    }
}
