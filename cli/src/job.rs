//! `weir job`: what there is, how it went, what it wrote, and stopping it.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};
use weir_sdk::{
    proto::{
        id::JobId,
        job::{StageSpec, Stdin},
        units::{grouped, short_bytes, short_count, short_duration},
    },
    query::JobQuery,
    view::{JobStatus, JobSummary, JobView},
};

use crate::{
    check, config,
    connect::MasterFlag,
    exit,
    follow::{Follow, Followed, OnInterrupt, follow},
    json,
    merge::Stream,
    output::Show,
    run,
    signals::Interrupts,
    source::Stored,
    text::{self, Table, plain},
};

/// Look at jobs, wait for them, stop them
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  weir job ls
  weir job show 7
  weir job logs 7 --follow
  weir job cancel 7

A job is named `job-7` or just `7`.")]
pub(crate) enum JobCommand {
    Check(check::CheckArgs),
    /// List jobs, newest first
    #[command(after_help = "\
Examples:
  weir job ls
  weir job ls --json | jq '.[].name'")]
    Ls(LsArgs),
    /// Show what a job is and how far
    #[command(after_help = "\
Examples:
  weir job show 7
  weir job show job-7 --json")]
    Show(JobArgs),
    /// Wait until a job has ended, and exit as `weir run` would have
    Wait(WaitArgs),
    /// Print what a job's tasks wrote
    #[command(after_help = "\
Examples:
  weir job logs 7                                  each line with its task's index
  weir job logs 7 --task 3 --stderr                of one task, as it is
  weir job logs 7 --follow")]
    Logs(LogsArgs),
    /// End a job; its unfinished tasks are cancelled
    #[command(after_help = "\
Examples:
  weir job cancel 7
  weir job cancel job-7 --json")]
    Cancel(JobArgs),
}

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `show` and `cancel`.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    /// The job: `job-7` or `7`
    job: JobId,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = wait_help())]
pub(crate) struct WaitArgs {
    /// The job: `job-7` or `7`
    job: JobId,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each task and one for the job
    #[arg(long)]
    json: bool,
}

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// The job: `job-7` or `7`
    job: JobId,
    /// Only this task, without its index before each line
    #[arg(long, value_name = "INDEX")]
    task: Option<u32>,
    /// What they wrote to stderr, instead of stdout
    #[arg(long)]
    stderr: bool,
    /// Stay, and print what running tasks write, until the job has ended
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    master: MasterFlag,
}

fn wait_help() -> String {
    format!(
        "Examples:\n  weir job wait 7\n  weir job wait 7 --json | jq .outcome\n\n{}",
        exit::help()
    )
}

/// Runs the command.
///
/// # Errors
/// When there is no such job or no master.
pub(crate) async fn run(command: JobCommand) -> Result<ExitCode> {
    match command {
        JobCommand::Check(args) => check::run(&args),
        JobCommand::Ls(args) => ls(args).await,
        JobCommand::Show(args) => show(args).await,
        JobCommand::Wait(args) => wait(args).await,
        JobCommand::Logs(args) => logs(args).await,
        JobCommand::Cancel(args) => cancel(args).await,
    }
}

async fn ls(args: LsArgs) -> Result<ExitCode> {
    let list = args.master.connect().await?.jobs(&JobQuery::default()).await?;
    if args.json {
        text::print_json(&list.jobs.iter().map(json::JobLine::from).collect::<Vec<_>>())?;
    } else {
        text::print(&jobs_table(&list.jobs, now_ms()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: JobArgs) -> Result<ExitCode> {
    let view = args.master.connect().await?.job(args.job).await?;
    if args.json {
        text::print_json(&json::Job::from(&view))?;
    } else {
        text::print(&about(&view, now_ms()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait(args: WaitArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let started = Instant::now();
    let quiet = config::current().quiet.value;
    let plan = Follow {
        show: None,
        json: args.json,
        out: None,
        wait: true,
        on_interrupt: OnInterrupt::Leave,
        remarks: !quiet,
    };
    match follow(&client, args.job, &mut interrupts, plan).await? {
        Followed::Ended { view, tally } => {
            let wall = view.summary.wall_time().unwrap_or_else(|| started.elapsed());
            run::tell_end(&view, &tally, wall, args.json, quiet)?;
            Ok(ExitCode::from(tally.exit_code(view.summary.status)))
        }
        Followed::Told => bail!("the master stopped telling about {} before its end", args.job),
        Followed::Interrupted => Ok(exit::interrupted()),
    }
}

async fn logs(args: LogsArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let view = client.job(args.job).await?;
    if let Some(task) = args.task.filter(|task| *task >= view.summary.tasks) {
        bail!("{} has no task {task}; its tasks are 0 to {}", args.job, view.summary.tasks - 1);
    }
    let array = view.spec.stages.iter().any(StageSpec::is_array);
    let show = Show {
        prefix: array && args.task.is_none(),
        only_task: args.task,
        only_stream: Some(if args.stderr { Stream::Stderr } else { Stream::Stdout }),
    };
    let plan = Follow {
        show: Some(show),
        json: false,
        out: None,
        wait: args.follow,
        on_interrupt: OnInterrupt::Leave,
        remarks: args.follow,
    };
    match follow(&client, args.job, &mut interrupts, plan).await? {
        Followed::Ended { .. } | Followed::Told => Ok(ExitCode::SUCCESS),
        Followed::Interrupted => Ok(exit::interrupted()),
    }
}

async fn cancel(args: JobArgs) -> Result<ExitCode> {
    let view = args.master.connect().await?.cancel(args.job).await?;
    if args.json {
        text::print_json(&json::Job::from(&view))?;
    } else {
        let (job, status) = (view.summary.id, view.summary.status);
        let had_ended = if status == JobStatus::Cancelled { "" } else { "had ended: " };
        text::print(&format!("{job} {had_ended}{}\n", status.word()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn jobs_table(jobs: &[JobSummary], now_ms: u64) -> String {
    if jobs.is_empty() {
        return "no jobs yet; `weir run MODULE` starts one\n".to_owned();
    }
    let headings = [
        "JOB", "NAME", "STATUS", ">TASKS", ">DONE", ">FAILED", ">RUNNING", ">FUEL", ">TIME", ">AGE",
    ];
    let mut table = Table::new(&headings);
    for job in jobs {
        let age = Duration::from_millis(now_ms.saturating_sub(job.submitted_ms));
        table.row([
            job.id.to_string(),
            job.name.clone(),
            job.status.word().to_owned(),
            grouped(job.tasks.into()),
            grouped(job.succeeded.into()),
            grouped(job.failed.into()),
            grouped(job.running.into()),
            short_count(job.fuel),
            short_duration(job.wall_time().unwrap_or(age)),
            short_duration(age),
        ]);
    }
    table.render()
}

/// Everything about a job, one property a line.
fn about(view: &JobView, now_ms: u64) -> String {
    let summary = &view.summary;
    let age = Duration::from_millis(now_ms.saturating_sub(summary.submitted_ms));
    let mut lines = vec![
        ("job", summary.id.to_string()),
        ("name", summary.name.clone()),
        ("namespace", summary.namespace.to_string()),
        ("status", summary.status.word().to_owned()),
        ("submitted", format!("{} ago", short_duration(age))),
        ("ran", short_duration(summary.wall_time().unwrap_or(age))),
        ("tasks", tasks_line(summary)),
        ("fuel", short_count(summary.fuel)),
        ("peak memory", short_bytes(summary.peak_memory_bytes)),
    ];
    for stage in &view.spec.stages {
        lines.extend(about_stage(stage));
    }
    for reason in &view.waiting {
        lines.push(("waits", reason.clone()));
    }
    let mut out = String::new();
    for (name, value) in lines {
        out.push_str(&format!("{name:<12} {}\n", plain(&value)));
    }
    out
}

fn tasks_line(view: &JobSummary) -> String {
    format!(
        "{}: {} succeeded, {} failed, {} running, {} waiting",
        grouped(view.tasks.into()),
        grouped(view.succeeded.into()),
        grouped(view.failed.into()),
        grouped(view.running.into()),
        grouped(view.open().saturating_sub(view.running).into())
    )
}

fn about_stage(stage: &StageSpec) -> Vec<(&'static str, String)> {
    let limits = &stage.limits;
    let mut lines = vec![("module", stage.module.to_string())];
    if !stage.args.is_empty() {
        lines.push(("arguments", stage.args.join(" ")));
    }
    for (name, value) in &stage.env {
        lines.push(("environment", format!("{name}={value}")));
    }
    match stage.stdin {
        Stdin::Empty => {}
        Stdin::Blob(digest) => lines.push(("stdin", digest.to_string())),
        Stdin::Item => lines.push(("stdin", "each task's item".to_owned())),
    }
    for input in &stage.inputs {
        lines.push(("input", format!("{} = {}", input.path, Stored(input.source))));
    }
    lines.push((
        "limits",
        format!(
            "fuel {}, memory {}, time {}, output {}",
            short_count(limits.fuel),
            short_bytes(limits.memory_bytes),
            short_duration(Duration::from_millis(limits.timeout_ms)),
            short_bytes(limits.output_bytes)
        ),
    ));
    lines.push(("needs", stage.resources.to_string()));
    lines
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::{
        digest::Digest,
        id::Namespace,
        job::{JobSpec, TaskKind},
    };

    use super::*;

    fn view() -> JobView {
        let stage = StageSpec {
            args: vec!["a".to_owned()],
            count: 20_000,
            kind: TaskKind::Array,
            ..StageSpec::new("main", Digest::of(b"m"))
        };
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
            fuel: 5_000_000_000,
            peak_memory_bytes: 65_536,
            priority: 0,
            retry_of: None,
        };
        JobView {
            summary,
            spec: JobSpec { name, namespace, stages: vec![stage], priority: 0 },
            stages: vec![],
            waiting: vec!["every core is busy".to_owned()],
        }
    }

    #[test]
    fn a_listed_job_shows_its_progress_in_human_units() {
        let table = jobs_table(&[view().summary], 61_000);
        let row = table.lines().nth(1).expect("a row");
        for word in ["job-7", "active", "20,000", "19,000", "5.00 G", "1m00s"] {
            assert!(row.contains(word), "{word} in {row}");
        }
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn a_shown_job_tells_why_it_waits() {
        let shown = about(&view(), 2_000);
        assert!(shown.contains("988 waiting"), "{shown}");
        assert!(shown.contains("waits        every core is busy"), "{shown}");
        assert!(shown.contains("fuel 100 G, memory 256 MiB, time 10m00s"), "{shown}");
        assert!(!shown.contains('\x1b'));
    }
}
