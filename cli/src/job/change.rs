//! `weir job pause`, `resume`, `cancel` and `rm`: each of several jobs, as far as it can be done.

use std::process::ExitCode;

use anyhow::Result;
use weir_sdk::{
    client::JobError,
    proto::{
        id::JobId,
        range::{RangeSet, TaskRange},
    },
    view::JobStatus,
};

use super::logs::parse_index;
use crate::{
    completions::candidates, config, connect::MasterFlag, exit, json::job::JobChanged, text,
};

const CANCEL_EXAMPLES: &str = "\
Examples:
  weir job cancel 7
  weir job cancel $(weir job ls -q --status active)";

const PAUSE_EXAMPLES: &str = "\
Examples:
  weir job pause 7
  weir job pause 7 --task 3 --task 5               two of its tasks; the others go on
  weir job pause $(weir job ls -q --status active)

A paused task that runs stays where it is, with its memory, and its time limit stands still; its core
is free for others. One that waits goes on waiting.";

const RESUME_EXAMPLES: &str = "\
Examples:
  weir job resume 7
  weir job resume 7 --task 3

A task that stood still goes on where it is, as soon as its agent has a core for it.";

const RM_EXAMPLES: &str = "\
Examples:
  weir job rm 7 job-8
  weir job rm $(weir job ls -q --status succeeded)

What the jobs put into the store, or left there, stays.";

/// Arguments of `cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = CANCEL_EXAMPLES)]
pub(crate) struct CancelArgs {
    /// The jobs: `job-7` or `7`
    #[arg(required = true, value_name = "JOB", add = candidates::active_jobs())]
    jobs: Vec<JobId>,
    #[command(flatten)]
    look: EachArgs,
}

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = PAUSE_EXAMPLES)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    chosen: TasksOfJobs,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = RESUME_EXAMPLES)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    chosen: TasksOfJobs,
}

#[derive(Debug, clap::Args)]
struct TasksOfJobs {
    /// The jobs: `job-7` or `7`
    #[arg(required = true, value_name = "JOB", add = candidates::active_jobs())]
    jobs: Vec<JobId>,
    /// Only this task, by its index; may be given again [default: all that have no result]
    #[arg(long = "task", value_name = "INDEX", value_parser = parse_index)]
    tasks: Vec<u32>,
    #[command(flatten)]
    look: EachArgs,
}

/// Arguments of `rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = RM_EXAMPLES)]
pub(crate) struct RmArgs {
    /// The jobs: `job-7` or `7`
    #[arg(required = true, value_name = "JOB", add = candidates::ended_jobs())]
    jobs: Vec<JobId>,
    #[command(flatten)]
    look: EachArgs,
}

#[derive(Debug, clap::Args)]
struct EachArgs {
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

/// Lets jobs stand still.
///
/// # Errors
/// When no master answers, or stdout is closed; what is wrong with one job does not stop the others.
pub(super) async fn pause(args: PauseArgs) -> Result<ExitCode> {
    set_paused(args.chosen, true).await
}

/// Lets paused jobs go on.
///
/// # Errors
/// As `pause`.
pub(super) async fn resume(args: ResumeArgs) -> Result<ExitCode> {
    set_paused(args.chosen, false).await
}

async fn set_paused(chosen: TasksOfJobs, paused: bool) -> Result<ExitCode> {
    let client = chosen.look.master.connect().await?;
    let mut told = Told { json: chosen.look.json, failed: false };
    let tasks: RangeSet = chosen.tasks.iter().map(|index| TaskRange::single(*index)).collect();
    let change = if paused { "paused" } else { "resumed" };
    for job in chosen.jobs {
        let view = client.pause(job, &tasks, paused).await;
        told.tell(job, view.map(|view| (change, Some(view.summary.status))))?;
    }
    Ok(told.exit_code())
}

/// Cancels jobs; one that has ended is left as it is.
///
/// # Errors
/// When no master answers, or stdout is closed; what is wrong with one job does not stop the others.
pub(super) async fn cancel(args: CancelArgs) -> Result<ExitCode> {
    let client = args.look.master.connect().await?;
    let mut told = Told { json: args.look.json, failed: false };
    for job in args.jobs {
        let status = client.cancel(job).await.map(|view| view.summary.status);
        let change =
            |status| if status == JobStatus::Cancelled { "cancelled" } else { "had_ended" };
        told.tell(job, status.map(|status| (change(status), Some(status))))?;
    }
    Ok(told.exit_code())
}

/// Removes ended jobs.
///
/// # Errors
/// As `cancel`.
pub(super) async fn rm(args: RmArgs) -> Result<ExitCode> {
    let client = args.look.master.connect().await?;
    let mut told = Told { json: args.look.json, failed: false };
    for job in args.jobs {
        let removed = client.remove(job).await.map_err(|error| not_removed(job, error));
        told.tell(job, removed.map(|()| ("removed", None)))?;
    }
    Ok(told.exit_code())
}

/// The master says that it is active; the command that helps is ours to know.
fn not_removed(job: JobId, error: JobError) -> JobError {
    match error {
        JobError::NotNow { why } => JobError::NotNow {
            why: format!("cannot remove {job}: {why}, with `weir job cancel {}`", job.0),
        },
        error => error,
    }
}

/// Tells what became of each job.
struct Told {
    json: bool,
    failed: bool,
}

impl Told {
    fn tell(
        &mut self,
        job: JobId,
        changed: Result<(&'static str, Option<JobStatus>), JobError>,
    ) -> Result<()> {
        let (change, status) = match changed {
            Ok(changed) => changed,
            Err(error @ JobError::Rpc(_)) => return Err(error.into()),
            Err(error) => {
                self.failed = true;
                text::print_error(&crate::told(&error.into()));
                return Ok(());
            }
        };
        if self.json {
            return text::print_json_line(&JobChanged {
                job: job.to_string(),
                change,
                status: status.map(JobStatus::word),
                retry_of: None,
                tasks_to_run: None,
            });
        }
        if config::current().quiet.value {
            return Ok(());
        }
        let line = match (change, status) {
            ("had_ended", Some(status)) => format!("{job} had ended: {}\n", status.word()),
            _ => format!("{job} {change}\n"),
        };
        Ok(text::print(&line)?)
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.failed { exit::WEIR_FAILED } else { exit::SUCCESS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_an_active_job_says_what_to_do() {
        let why = "job-7 is still active; wait for its end, or cancel it".to_owned();
        let error = not_removed(JobId(7), JobError::NotNow { why }).to_string();
        assert_eq!(
            error,
            "cannot remove job-7: job-7 is still active; wait for its end, or cancel it, with \
             `weir job cancel 7`"
        );
    }
}
