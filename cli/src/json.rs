//! What `--json` prints: one struct for each thing, with keys that stay.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use weir_sdk::{
    proto::{
        job::InputSource,
        outcome::{Exceeded, Outcome},
        page::{Output, TaskResult},
    },
    view::{AgentView, ClusterStatus, JobView},
};

use crate::{source::Stored, tally::Tally};

/// A job, as `job ls` and `job show` print it.
#[derive(Debug, Serialize)]
pub(crate) struct Job {
    job: String,
    name: String,
    namespace: String,
    status: &'static str,
    submitted_ms: u64,
    ended_ms: Option<u64>,
    tasks: u32,
    succeeded: u32,
    failed: u32,
    running: u32,
    fuel: u64,
    peak_memory_bytes: u64,
    waiting: Vec<String>,
    stages: Vec<Stage>,
}

#[derive(Debug, Serialize)]
struct Stage {
    name: String,
    module: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Option<String>,
    inputs: Vec<Input>,
    count: u32,
    array: bool,
    limits: Value,
    cpu_millis: u32,
    memory_bytes: u64,
    success_codes: Vec<i32>,
    keep_out: bool,
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Input {
    path: String,
    source: String,
}

impl From<&JobView> for Job {
    fn from(view: &JobView) -> Job {
        let stages = view.spec.stages.iter().map(|stage| Stage {
            name: stage.name.clone(),
            module: stage.module.to_string(),
            args: stage.args.clone(),
            env: stage.env.clone(),
            stdin: stage.stdin.map(|digest| digest.to_string()),
            inputs: stage
                .inputs
                .iter()
                .map(|input| Input {
                    path: input.path.clone(),
                    source: Stored(input.source).to_string(),
                })
                .collect(),
            count: stage.count,
            array: stage.array,
            limits: stage.limits.named().into_iter().map(|(k, v)| (k, Value::from(v))).collect(),
            cpu_millis: stage.resources.cpu_millis,
            memory_bytes: stage.resources.memory_bytes,
            success_codes: stage.success_codes.clone(),
            keep_out: stage.keep_out,
            seed: stage.seed,
        });
        Job {
            job: view.id.to_string(),
            name: view.spec.name.clone(),
            namespace: view.spec.namespace.to_string(),
            status: view.status.word(),
            submitted_ms: view.submitted_ms,
            ended_ms: view.ended_ms,
            tasks: view.tasks,
            succeeded: view.succeeded,
            failed: view.failed,
            running: view.running,
            fuel: view.fuel,
            peak_memory_bytes: view.peak_memory_bytes,
            waiting: view.waiting.clone(),
            stages: stages.collect(),
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
        "job": view.id.to_string(),
        "status": view.status.word(),
        "tasks": view.tasks,
        "succeeded": view.tasks - tally.unsuccessful(),
        "failed": tally.unsuccessful(),
        "fuel": view.fuel,
        "peak_memory_bytes": view.peak_memory_bytes,
        "wall_ms": wall_ms,
        "exit_code": tally.exit_code(view.status),
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
