//! Jobs as `--json` prints them.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;
use weir_sdk::{
    proto::job::{Keep, StageSpec, Stdin, TaskKind},
    view::{JobSummary, JobView, PreparingView, StageView},
};

use super::counts;
use crate::rate::Rate;

/// A job in a line, as `job ls` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobLine {
    /// Its id, such as `job-7`.
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
    /// Tasks without a result that are to stand still.
    paused: u32,
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
    /// Tasks that agents have and cannot run yet; a hint.
    preparing: Vec<Preparing>,
    /// Its stages.
    stages: Vec<Stage>,
}

/// Tasks that an agent has and cannot run yet.
#[derive(Debug, Serialize, JsonSchema)]
struct Preparing {
    /// The agent's name.
    agent: String,
    /// Which stage of the job, from 0.
    stage: u32,
    /// How many could run there at once.
    tasks: u32,
    /// What is done first: `turn` (others are compiled), `module` (it is fetched), `compile` or
    /// `inputs`.
    step: &'static str,
    /// For how long, in milliseconds.
    for_ms: u64,
}

impl From<&PreparingView> for Preparing {
    fn from(told: &PreparingView) -> Preparing {
        Preparing {
            agent: told.agent.clone(),
            stage: told.stage,
            tasks: told.tasks,
            step: told.preparing.step.word(),
            for_ms: told.preparing.for_ms,
        }
    }
}

/// A stage: what was asked for, and how far it is.
#[derive(Debug, Serialize, JsonSchema)]
struct Stage {
    /// Its name.
    name: String,
    /// Digest of the module.
    module: String,
    /// Arguments of the guest, with their placeholders.
    args: Vec<String>,
    /// Pairs of name and value, in order.
    env: Vec<(String, String)>,
    /// Digest of what tasks read from stdin, or `{input}`.
    stdin: Option<String>,
    /// What guests see in their file system.
    inputs: Vec<Input>,
    /// How many tasks.
    count: u32,
    /// `plain`, `array` or `foreach`.
    kind: &'static str,
    /// Limits of each attempt.
    limits: StageLimits,
    /// Thousandths of a core for each running task.
    cpu_millis: u32,
    /// Bytes of memory for each running task.
    memory_bytes: u64,
    /// What each running task takes by name: so many of each.
    countables: BTreeMap<String, u32>,
    /// Exit codes besides 0 that are success.
    success_codes: Vec<i32>,
    /// How often a task that fails is run again.
    retries: u32,
    /// Whether a task runs at most once, whatever happens.
    once: bool,
    /// Whether tasks have `/out`, and it is kept.
    keep_out: bool,
    /// The only paths beneath `/out` that are kept; none: all.
    keep_paths: Vec<String>,
    /// Chooses among random sequences.
    seed: u64,
    /// What tasks may do beyond computing: `clock`, `random`.
    capabilities: Vec<String>,
    /// How what tasks use is counted: `fuel` or `epoch`.
    metering: &'static str,
    /// Whether tasks are functions of what they are given: the same wherever they run.
    pure: bool,
    /// Whether tasks that trap leave a core dump.
    coredump: bool,
    /// Tasks that succeeded.
    succeeded: u32,
    /// Tasks with any other outcome, cancelled ones left out.
    failed: u32,
    /// Tasks that were cancelled.
    cancelled: u32,
    /// Tasks that run now; a hint.
    running: u32,
    /// Attempts that failed and were repeated.
    retried: u32,
    /// Fuel of all results.
    fuel: u64,
    /// Peak memory of the largest task, in bytes.
    peak_memory_bytes: u64,
    /// Wall time of all results together, in microseconds.
    wall_us: u64,
    /// Median wall time of a task, at most a quarter too long.
    wall_p50_us: u64,
    /// 99th percentile of the same.
    wall_p99_us: u64,
    /// Why tasks did not succeed, the most frequent cause first.
    causes: Vec<CauseCount>,
    /// Tasks that did not succeed, as pairs of first and last; of very many ranges the first 1,000.
    failed_tasks: Vec<(u32, u32)>,
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
    /// Instructions, counted.
    fuel: u64,
    /// Linear memory, in bytes.
    memory_bytes: u64,
    /// Wall time, in milliseconds.
    timeout_ms: u64,
    /// Bytes written to stdout, to stderr and to /out, each.
    output_bytes: u64,
    /// Bytes written to /tmp.
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
            paused: summary.paused,
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
            preparing: view.preparing.iter().map(Preparing::from).collect(),
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
        let ranges = view.failed_tasks.ranges().iter();
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
            countables: counts(&spec.resources.countables),
            success_codes: spec.success_codes.clone(),
            retries: spec.retries,
            once: spec.once,
            keep_out: spec.keep != Keep::Nothing,
            keep_paths: match &spec.keep {
                Keep::Nothing | Keep::Out => Vec::new(),
                Keep::Paths(paths) => paths.clone(),
            },
            seed: spec.seed,
            capabilities: spec.capabilities.iter().map(ToString::to_string).collect(),
            metering: spec.metering.word(),
            pure: spec.is_pure(),
            coredump: spec.coredump,
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
            causes: causes(view).collect(),
            failed_tasks: ranges.map(|range| (range.start, range.end - 1)).collect(),
        }
    }
}

/// What became of a job that a command changed: a line of `job pause`, `job resume`, `job cancel`, `job rm` and
/// `job retry`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobChanged {
    /// Its id, such as `job-7`.
    pub(crate) job: String,
    /// `cancelled`, `paused`, `resumed`, `had_ended`, `removed` or `submitted`.
    pub(crate) change: &'static str,
    /// How far the job is now: `active`, `succeeded`, `failed` or `cancelled`; none once removed.
    pub(crate) status: Option<&'static str>,
    /// The job that it runs again.
    pub(crate) retry_of: Option<String>,
    /// How many of its tasks run.
    pub(crate) tasks_to_run: Option<u32>,
}

/// What `job outputs` wrote.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Outputs {
    /// Its id, such as `job-7`.
    pub(crate) job: String,
    /// Where they are.
    pub(crate) directory: String,
    /// Tasks whose output is there.
    pub(crate) tasks: u32,
    /// Their bytes together.
    pub(crate) bytes: u64,
    /// Tasks without a result yet.
    pub(crate) open: u32,
}

/// A job's progress: a line of `job watch`, one for each change.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// Always `progress`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When this was so, in Unix milliseconds.
    at_ms: u64,
    #[serde(flatten)]
    line: JobLine,
    /// Tasks that end in a second, lately; absent until enough is known.
    tasks_per_s: Option<f64>,
    /// Fuel used in a second, lately.
    fuel_per_s: Option<f64>,
    /// How long the rest takes at this rate, in milliseconds.
    left_ms: Option<u64>,
    /// Why tasks wait, if some do.
    waiting: Vec<String>,
    /// Tasks that agents have and cannot run yet; a hint.
    preparing: Vec<Preparing>,
    /// Why tasks did not succeed, the most frequent cause first.
    causes: Vec<CauseCount>,
}

impl Progress {
    /// The progress of a job at a moment, at a rate.
    pub(crate) fn new(view: &JobView, rate: &Rate, at_ms: u64) -> Progress {
        let left = rate.left(view.summary.open().into());
        Progress {
            kind: "progress",
            at_ms,
            line: JobLine::from(&view.summary),
            tasks_per_s: rate.tasks_per_s(),
            fuel_per_s: rate.fuel_per_s(),
            left_ms: left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            waiting: view.waiting.clone(),
            preparing: view.preparing.iter().map(Preparing::from).collect(),
            causes: view.stages.iter().flat_map(causes).collect(),
        }
    }
}

fn causes(stage: &StageView) -> impl Iterator<Item = CauseCount> {
    stage.causes.iter().map(|count| CauseCount {
        outcome: count.cause.word(),
        detail: count.cause.detail.clone(),
        tasks: count.tasks,
        first: count.first,
    })
}
