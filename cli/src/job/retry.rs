//! `weir job retry`: runs a job again, what did not succeed or all of it, as a new job.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use weir_sdk::{
    proto::{id::JobId, units::grouped},
    view::JobStatus,
};

use crate::{
    completions::candidates, config, connect::MasterFlag, json::job::JobChanged, tally::count, text,
};

const EXAMPLES: &str = "\
Examples:
  weir job retry 7 --failed       a new job keeps what succeeded, and runs the other tasks
  weir job retry 7 --all          a new job with the same spec
  weir job wait $(weir job retry 7 --failed -q)";

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "which", required = true, multiple = false, args = ["failed", "all"])]
pub(crate) struct RetryArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::ended_jobs())]
    job: JobId,
    /// Run the tasks that did not succeed; results of the others are kept
    #[arg(long)]
    failed: bool,
    /// Run every task
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Makes the new job, and does not wait for it.
///
/// # Errors
/// When there is no such job, it is active, all its tasks succeeded, or the new job is refused.
pub(super) async fn run(args: RetryArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let about = || format!("cannot run {} again", args.job);
    let view = client.job(args.job).await?;
    let (old, tasks) = (view.summary.id, view.summary.tasks);
    let (new, again) = if args.failed {
        let new = client.retry(args.job).await.with_context(about)?;
        (new, tasks.saturating_sub(view.summary.succeeded))
    } else {
        (client.submit(view.spec).await.with_context(about)?, tasks)
    };
    if args.json {
        text::print_json(&JobChanged {
            job: new.to_string(),
            change: "submitted",
            status: Some(JobStatus::Active.word()),
            retry_of: Some(old.to_string()),
            tasks_to_run: Some(again),
        })?;
    } else if config::current().quiet.value {
        text::print(&format!("{new}\n"))?;
    } else {
        text::print(&line(new, old, again, tasks))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(new: JobId, old: JobId, again: u32, tasks: u32) -> String {
    let of = if again == tasks { String::new() } else { format!("{} of ", grouped(again.into())) };
    let run = if again == 1 { "runs" } else { "run" };
    format!("{new}, a retry of {old}: {of}{} {run} again\n", count(tasks.into(), "task"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_says_how_much_runs_again() {
        let told = |again, tasks| line(JobId(9), JobId(7), again, tasks);
        assert_eq!(told(12, 100), "job-9, a retry of job-7: 12 of 100 tasks run again\n");
        assert_eq!(told(100, 100), "job-9, a retry of job-7: 100 tasks run again\n");
        assert_eq!(told(1, 1), "job-9, a retry of job-7: 1 task runs again\n");
    }
}
