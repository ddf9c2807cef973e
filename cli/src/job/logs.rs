//! `weir job logs`: what a job's tasks wrote, of all or of those that failed.

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{id::JobId, job::StageSpec, outcome::Outcome, range::TaskRange},
    view::{JobSummary, JobView},
    watch::WatchOptions,
};

use crate::{
    completions::candidates,
    connect::MasterFlag,
    exit,
    follow::{Follow, Followed, OnInterrupt, follow},
    merge::Stream,
    output::{Printer, Show},
    progress::Progress,
    signals::Interrupts,
    text::{self, plain},
};

const EXAMPLES: &str = "\
Examples:
  weir job logs 7                      what every task wrote, its index before each line
  weir job logs 7 --task 42 --stderr   what one task wrote to stderr
  weir job logs 7 --failed             what those wrote that did not succeed, and how they ended
  weir job logs 7 --follow             stay until the job has ended";

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    /// Only this task, without its index before each line
    #[arg(long, value_name = "INDEX", value_parser = parse_index)]
    task: Option<u32>,
    /// What they wrote to stderr, instead of stdout
    #[arg(long)]
    stderr: bool,
    /// Only tasks that did not succeed; how each ended is told on stderr
    #[arg(long, conflicts_with = "task")]
    failed: bool,
    /// Stay, and print what running tasks write, until the job has ended
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    master: MasterFlag,
}

/// Prints.
///
/// # Errors
/// When there is no such job or task, the watch breaks, or stdout is closed.
pub(super) async fn run(args: LogsArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let view = client.job(args.job).await?;
    check_task(&view.summary, args.task)?;
    let show = args.show(&view);
    // What tasks wrote is in the job's namespace, whichever this command is in.
    let client = client.in_namespace(view.summary.namespace.clone());
    if args.failed {
        return failed(&client, &args, show, &mut interrupts).await;
    }
    let plan = Follow {
        show: Some(show),
        json: false,
        out: None,
        wait: args.follow,
        on_interrupt: OnInterrupt::Leave,
        remarks: args.follow,
        progress: Progress::none(),
    };
    match follow(&client, args.job, &mut interrupts, plan).await? {
        Followed::Ended { .. } | Followed::Told => Ok(ExitCode::SUCCESS),
        Followed::Interrupted | Followed::Detached => Ok(exit::interrupted()),
    }
}

impl LogsArgs {
    fn show(&self, view: &JobView) -> Show {
        let array = view.spec.stages.iter().any(StageSpec::is_array);
        Show {
            prefix: array && self.task.is_none(),
            only_task: self.task,
            only_stream: Some(if self.stderr { Stream::Stderr } else { Stream::Stdout }),
        }
    }
}

/// Reads a task's index.
pub(super) fn parse_index(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "a task's index is a number from 0".to_owned())
}

/// Says that a job has no such task.
///
/// # Errors
/// When it has not.
pub(super) fn check_task(job: &JobSummary, task: Option<u32>) -> Result<()> {
    let Some(task) = task.filter(|task| *task >= job.tasks) else { return Ok(()) };
    match job.tasks {
        1 => bail!("{} has no task {task}; its only task is 0", job.id),
        tasks => bail!("{} has no task {task}; its tasks are 0 to {}", job.id, tasks - 1),
    }
}

/// Prints what the tasks wrote that did not succeed. Nothing of a running task is printed: it may
/// still succeed.
async fn failed(
    client: &Client,
    args: &LogsArgs,
    show: Show,
    interrupts: &mut Interrupts,
) -> Result<ExitCode> {
    let options = WatchOptions { after: None, live: false, follow: args.follow };
    let mut watch = client.watch(args.job, options);
    let mut printer = Printer::new(client.clone(), show, Progress::none());
    let mut any = false;
    loop {
        let event = tokio::select! {
            biased;
            _ = interrupts.next() => return Ok(exit::interrupted()),
            event = watch.next() => event?,
        };
        match event {
            Some(JobEvent::Results(results)) => {
                for (task, result) in results.iter().filter(|(_, r)| !r.outcome.succeeded()) {
                    any = true;
                    text::print_error(&header(TaskRange::single(task), &result.outcome));
                    printer.result(task, result).await?;
                    printer.finish(TaskRange::single(task));
                }
            }
            Some(JobEvent::Verdict { range, outcome }) => {
                any = true;
                text::print_error(&header(range, &outcome));
            }
            Some(JobEvent::Live(_)) => {}
            Some(JobEvent::Ended(_)) | None => break,
        }
    }
    if !any {
        text::note(&format!("no task of {} has failed", args.job));
    }
    Ok(ExitCode::SUCCESS)
}

/// How tasks ended: the line before what they wrote.
fn header(tasks: TaskRange, outcome: &Outcome) -> String {
    let outcome = outcome.to_string();
    match tasks.len() {
        1 => format!("task {}: {}\n", tasks.start, plain(&outcome)),
        _ => format!("tasks {} to {}: {}\n", tasks.start, tasks.end - 1, plain(&outcome)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sample;

    #[test]
    fn a_task_beyond_the_last_is_named_with_those_there_are() {
        let mut job = sample().summary;
        assert!(check_task(&job, None).is_ok() && check_task(&job, Some(19_999)).is_ok());
        let told = |job: &JobSummary| check_task(job, Some(20_000)).map_err(|e| e.to_string());
        assert_eq!(told(&job), Err("job-7 has no task 20000; its tasks are 0 to 19999".to_owned()));
        job.tasks = 1;
        assert_eq!(told(&job), Err("job-7 has no task 20000; its only task is 0".to_owned()));
    }

    #[test]
    fn tasks_that_ended_together_are_told_in_one_line() {
        let one = header(TaskRange::single(3), &Outcome::Failed { exit_code: 7 });
        assert_eq!(one, "task 3: failed with exit code 7\n");
        let many = header(TaskRange::new(3, 100), &Outcome::Cancelled);
        assert!(many.starts_with("tasks 3 to 99: cancelled"), "{many}");
    }
}
