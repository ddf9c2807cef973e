//! `weir job`: what there is, how it went, what it wrote and left, and changing it. Each command is
//! a file.

mod ls;

mod show;

mod watch;

mod wait;

mod logs;

mod outputs;

mod report;

mod change;

mod retry;

use std::process::ExitCode;

use anyhow::Result;

use crate::check;

/// Look at jobs, wait for them, pause them, stop them
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir job ls --status failed
  weir job show 7
  weir job logs 7 --follow
  weir job retry 7 --failed

A job is named `job-7` or just `7`.")]
pub(crate) enum JobCommand {
    Check(check::CheckArgs),
    /// List jobs, newest first
    Ls(ls::LsArgs),
    /// Show what a job is, how far, and how its tasks ended
    Show(show::ShowArgs),
    /// Watch a job live until it has ended, and exit as `weir run` would have
    Watch(watch::WatchArgs),
    /// Wait until a job has ended, and exit as `weir run` would have
    Wait(wait::WaitArgs),
    /// Print what a job's tasks wrote
    Logs(logs::LogsArgs),
    /// Download what a job's tasks left in /out
    Outputs(outputs::OutputsArgs),
    Report(report::ReportArgs),
    /// Let jobs stand still: their tasks keep their memory and use no core
    Pause(change::PauseArgs),
    /// Let paused jobs go on
    Resume(change::ResumeArgs),
    /// End jobs; their unfinished tasks are cancelled
    Cancel(change::CancelArgs),
    /// Run a job again: what did not succeed, or all of it
    Retry(retry::RetryArgs),
    /// Make the cluster forget ended jobs and their results
    Rm(change::RmArgs),
}

/// Runs the command.
///
/// # Errors
/// When there is no such job or no master.
pub(crate) async fn run(command: JobCommand) -> Result<ExitCode> {
    match command {
        JobCommand::Check(args) => check::run(&args),
        JobCommand::Ls(args) => ls::run(args).await,
        JobCommand::Show(args) => show::run(args).await,
        JobCommand::Watch(args) => watch::run(args).await,
        JobCommand::Wait(args) => wait::run(args).await,
        JobCommand::Logs(args) => logs::run(args).await,
        JobCommand::Outputs(args) => outputs::run(args).await,
        JobCommand::Report(args) => report::run(args).await,
        JobCommand::Pause(args) => change::pause(args).await,
        JobCommand::Resume(args) => change::resume(args).await,
        JobCommand::Cancel(args) => change::cancel(args).await,
        JobCommand::Retry(args) => retry::run(args).await,
        JobCommand::Rm(args) => change::rm(args).await,
    }
}

/// A job for tests: 20,000 tasks, most of which succeeded.
#[cfg(test)]
pub(crate) fn sample() -> weir_sdk::view::JobView {
    use std::time::Duration;

    use weir_sdk::{
        proto::{
            digest::Digest,
            id::{JobId, Namespace},
            job::{JobSpec, StageSpec, TaskKind},
            lease::{PrepareStep, Preparing},
            outcome::Cause,
            range::{RangeSet, TaskRange},
        },
        view::{CauseView, JobStatus, JobSummary, JobView, PreparingView, StageView},
    };

    let stage = StageSpec {
        args: vec!["{index}".to_owned()],
        count: 20_000,
        kind: TaskKind::Array,
        ..StageSpec::new("main", Digest::of(b"m"))
    };
    let mut failed_tasks = RangeSet::new();
    failed_tasks.insert(TaskRange::single(3));
    failed_tasks.insert(TaskRange::new(7, 16));
    let namespace = Namespace::default_namespace();
    let name = "bad\x1b[2Jname".to_owned();
    let summary = JobSummary {
        id: JobId(7),
        name: name.clone(),
        namespace: namespace.clone(),
        status: JobStatus::Active,
        submitted_ms: 1_000,
        ended_ms: None,
        tasks: 20_000,
        succeeded: 19_000,
        failed: 10,
        cancelled: 0,
        running: 2,
        paused: 0,
        fuel: 5_000_000_000,
        peak_memory_bytes: 65_536,
        priority: 0,
        retry_of: None,
    };
    let cause = |kind: u8, detail: &str| Cause { kind, detail: detail.to_owned() };
    let view = StageView {
        succeeded: 19_000,
        failed: 10,
        cancelled: 0,
        running: 2,
        retried: 4,
        fuel: summary.fuel,
        peak_memory_bytes: summary.peak_memory_bytes,
        wall: Duration::from_secs(190),
        wall_p50: Duration::from_millis(10),
        wall_p99: Duration::from_millis(40),
        causes: vec![
            CauseView { cause: cause(4, ""), tasks: 9, first: 7 },
            CauseView { cause: cause(2, "exit code 3"), tasks: 1, first: 3 },
        ],
        failed_tasks,
    };
    JobView {
        summary,
        spec: JobSpec { name, namespace, stages: vec![stage], priority: 0 },
        stages: vec![view],
        waiting: vec!["every core is busy".to_owned()],
        preparing: vec![PreparingView {
            agent: "pi".to_owned(),
            stage: 0,
            tasks: 2,
            preparing: Preparing { step: PrepareStep::Compile, for_ms: 12_000 },
        }],
    }
}
