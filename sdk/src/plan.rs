//! A job before its bytes are in the store: what a job file or a command line comes to, with paths
//! and names where the cluster's spec has digests. [`crate::put_job`] makes the spec of it.

use std::path::PathBuf;

use weir_proto::{
    capability::Capabilities,
    id::Namespace,
    limits::{Limits, Resources},
    metering::Metering,
};

use crate::source::Source;

/// A job that can be put and submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlan {
    /// For people; need not be unique.
    pub name: String,
    /// The tenant it belongs to; the client's when absent.
    pub namespace: Option<Namespace>,
    /// Which jobs of the namespace go first, -100 to 100.
    pub priority: i32,
    /// Whether all agents are told to compile its module when it is submitted.
    pub precompile: bool,
    /// Its only stage, until stages can follow each other.
    pub stage: StagePlan,
}

/// A stage that can be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// Its name within the job.
    pub name: String,
    /// The module that each task runs.
    pub module: Source,
    /// Arguments after `argv[0]`, with their placeholders.
    pub args: Vec<String>,
    /// The environment, in order, with its placeholders.
    pub env: Vec<(String, String)>,
    /// Which tasks there are.
    pub tasks: TasksPlan,
    /// What the guest sees in its file system.
    pub inputs: Vec<InputPlan>,
    /// What each task reads from stdin.
    pub stdin: StdinPlan,
    /// What the sandbox enforces on each attempt.
    pub limits: Limits,
    /// What placement counts for each running task.
    pub resources: Resources,
    /// Exit codes besides 0 that are success.
    pub success_codes: Vec<i32>,
    /// What of `/out` is kept.
    pub outputs: OutputsPlan,
    /// How often a task that failed is run again.
    pub retries: u32,
    /// Whether a task runs at most once, whatever happens.
    pub once: bool,
    /// Chooses among the random sequences the guest may see.
    pub seed: u64,
    /// What its tasks may do beyond computing; with none, and metered by fuel, they are pure.
    pub capabilities: Capabilities,
    /// How what its tasks use is counted.
    pub metering: Metering,
    /// Whether a task that traps leaves a core dump.
    pub coredump: bool,
}

/// Which tasks a stage has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TasksPlan {
    /// One.
    One,
    /// An array of so many.
    Count(u32),
    /// One for each of these files.
    Files(Vec<FileItem>),
    /// One for each of these texts.
    Lines(Vec<String>),
}

/// A file that a task is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileItem {
    /// Its path as the user's pattern tells it: `data/a.csv`.
    pub text: String,
    /// Where it is on this machine.
    pub path: PathBuf,
}

/// What a guest sees at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPlan {
    /// An absolute path in the guest's file system.
    pub path: String,
    /// What is there.
    pub source: Source,
    /// Whether each task has a copy that it may write to.
    pub writable: bool,
}

/// What a task reads from stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdinPlan {
    /// Nothing.
    Nothing,
    /// A file, or a blob.
    Source(Source),
    /// This text.
    Text(String),
    /// The task's item.
    Item,
}

/// What of `/out` is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputsPlan {
    /// Nothing: the guest has no `/out`.
    Nothing,
    /// All of it.
    All,
    /// What is at these relative paths.
    Paths(Vec<String>),
}

impl StagePlan {
    /// One task that runs a module: no arguments, no data, the usual limits.
    pub fn new(name: impl Into<String>, module: Source) -> StagePlan {
        let limits = Limits::default();
        StagePlan {
            name: name.into(),
            module,
            args: Vec::new(),
            env: Vec::new(),
            tasks: TasksPlan::One,
            inputs: Vec::new(),
            stdin: StdinPlan::Nothing,
            limits,
            resources: Resources::new(1000, limits.memory_bytes),
            success_codes: Vec::new(),
            outputs: OutputsPlan::Nothing,
            retries: 0,
            once: false,
            seed: 0,
            capabilities: Capabilities::new(),
            metering: Metering::default(),
            coredump: false,
        }
    }
}

impl TasksPlan {
    /// How many tasks.
    pub fn count(&self) -> usize {
        match self {
            TasksPlan::One => 1,
            TasksPlan::Count(count) => *count as usize,
            TasksPlan::Files(files) => files.len(),
            TasksPlan::Lines(lines) => lines.len(),
        }
    }
}
