//! `weir job report`: all about an ended or running job on one page of HTML that needs no network, to be
//! kept, mailed or attached. What is told of single tasks is bounded, however many there are.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use weir_sdk::{
    event::JobEvent,
    proto::{
        id::JobId,
        job::{StageSpec, Stdin, TaskKind},
        page::{Output, TaskResult},
        units::{grouped, short_bytes, short_count, short_duration},
    },
    view::{JobView, StageView},
    watch::WatchOptions,
};

use crate::{
    clock::{now_ms, utc},
    completions::candidates,
    connect::MasterFlag,
    exit,
    signals::Interrupts,
    tally,
    text::{self, plain},
};

/// Tasks that are told one by one: of the slowest, and of those that failed.
const MAX_TASKS: usize = 25;
/// Most bytes that are shown of what a failed task wrote to stderr: the last ones.
const MAX_STDERR_BYTES: usize = 2 << 10;
const STYLE: &str = include_str!("report.css");

/// Write all about a job to one self-contained HTML file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir job report 7                  writes job-7.html
  weir job report 7 --to - | less")]
pub(crate) struct ReportArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    /// Where to write it, `-` for stdout; nothing is overwritten [default: JOB.html]
    #[arg(long, value_name = "FILE|-")]
    to: Option<PathBuf>,
    #[command(flatten)]
    master: MasterFlag,
}

/// What is told of single tasks.
#[derive(Debug, Default)]
struct Tasks {
    /// The slowest ones; the fastest of them first out.
    slowest: BinaryHeap<Reverse<(u64, u32)>>,
    /// The lowest that failed: how they ended, and the end of what they wrote to stderr.
    failed: BTreeMap<u32, (String, String)>,
    /// How many tasks ran up to so many microseconds, by powers of two.
    times: BTreeMap<u32, u32>,
}

/// Writes the report.
///
/// # Errors
/// When there is no such job or no master, or the file is there already or cannot be written.
pub(super) async fn run(args: ReportArgs) -> Result<ExitCode> {
    let client = args.master.connect().await?;
    let mut interrupts = Interrupts::listen()?;
    let view = client.job(args.job).await?;
    let mut tasks = Tasks::default();
    let mut watch =
        client.watch(args.job, WatchOptions { after: None, live: false, follow: false });
    loop {
        let event = tokio::select! {
            biased;
            _ = interrupts.next() => return Ok(exit::interrupted()),
            event = watch.next() => event?,
        };
        match event {
            Some(JobEvent::Results(results)) => {
                results.iter().for_each(|(task, result)| tasks.add(task, result));
            }
            Some(JobEvent::Verdict { .. } | JobEvent::Live(_)) => {}
            Some(JobEvent::Ended(_)) | None => break,
        }
    }
    let page = page(&view, &tasks, now_ms()).into_string();
    let to = args.to.unwrap_or_else(|| PathBuf::from(format!("{}.html", args.job)));
    if to.as_os_str() == "-" {
        text::print(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let about = || format!("cannot write the report to {}", to.display());
    let mut file = match std::fs::File::create_new(&to) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already; name another file with --to", to.display())
        }
        created => created.with_context(about)?,
    };
    file.write_all(page.as_bytes()).with_context(about)?;
    text::note(&format!("the report on {} is in {}", args.job, to.display()));
    Ok(ExitCode::SUCCESS)
}

impl Tasks {
    fn add(&mut self, task: u32, result: &TaskResult) {
        let us = result.usage.wall_us;
        *self.times.entry(us.max(1).ilog2()).or_default() += 1;
        self.slowest.push(Reverse((us, task)));
        if self.slowest.len() > MAX_TASKS {
            self.slowest.pop();
        }
        let among_lowest = self.failed.len() < MAX_TASKS
            || self.failed.last_key_value().is_some_and(|(last, _)| task < *last);
        if !result.outcome.succeeded() && among_lowest {
            self.failed.insert(task, (result.outcome.to_string(), end_of(&result.stderr)));
            if self.failed.len() > MAX_TASKS {
                self.failed.pop_last();
            }
        }
    }
}

/// The last lines of what a task wrote, where they are at hand.
fn end_of(output: &Output) -> String {
    match output {
        Output::Inline(bytes) => {
            let from = bytes.len().saturating_sub(MAX_STDERR_BYTES);
            let text = String::from_utf8_lossy(&bytes[from..]);
            text.lines().map(plain).collect::<Vec<_>>().join("\n")
        }
        Output::Blob { digest, size_bytes } => format!("{} in {digest}", short_bytes(*size_bytes)),
    }
}

fn page(view: &JobView, tasks: &Tasks, now_ms: u64) -> Markup {
    let job = &view.summary;
    let age = Duration::from_millis(now_ms.saturating_sub(job.submitted_ms));
    let ran = short_duration(job.wall_time().unwrap_or(age));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (job.id) " " (plain(&job.name)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (job.id) " " span.soft { (plain(&job.name)) } }
                p { strong.(job.status.word()) { (job.status.word()) }
                    " · submitted " (utc(job.submitted_ms)) " · ran " (ran)
                    " · namespace " (job.namespace)
                    @if let Some(earlier) = job.retry_of { " · a retry of " (earlier) } }
                (bar(view))
                dl.tiles {
                    (tile("tasks", &grouped(job.tasks.into())))
                    (tile("succeeded", &grouped(job.succeeded.into())))
                    (tile("failed", &grouped(job.failed.into())))
                    (tile("cancelled", &grouped(job.cancelled.into())))
                    (tile("fuel", &short_count(job.fuel)))
                    (tile("peak memory", &short_bytes(job.peak_memory_bytes)))
                }
                @for (spec, stage) in view.spec.stages.iter().zip(&view.stages) {
                    (stage_part(spec, stage))
                }
                (times_part(tasks))
                (slowest_part(tasks))
                (failed_part(view, tasks))
                footer { "weir " (env!("CARGO_PKG_VERSION")) ", " (utc(now_ms)) }
            }
        }
    }
}

fn tile(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// How many tasks ended how, as one bar.
fn bar(view: &JobView) -> Markup {
    let job = &view.summary;
    let parts = [
        ("succeeded", job.succeeded),
        ("failed", job.failed),
        ("cancelled", job.cancelled),
        ("open", job.open()),
    ];
    let width = |tasks: u32| f64::from(tasks) * 100.0 / f64::from(job.tasks.max(1));
    let mut at = 0.0;
    html! {
        svg.bar viewBox="0 0 100 2" preserveAspectRatio="none" role="img"
            aria-label=(tally::count(job.done().into(), "task with a result")) {
            @for (class, tasks) in parts {
                @let from = at;
                @let () = at += width(tasks);
                rect.(class) x=(format!("{from:.3}")) y="0" height="2"
                    width=(format!("{:.3}", width(tasks))) {}
            }
        }
    }
}

fn stage_part(spec: &StageSpec, stage: &StageView) -> Markup {
    let limits = &spec.limits;
    let row = |name: &str, value: String| html! { tr { th { (name) } td { (plain(&value)) } } };
    html! {
        h2 { "Stage " (plain(&spec.name)) }
        table {
            caption { "How tasks ended" }
            tr { th { "outcome" } th.number { "tasks" } th { "first" } }
            tr { td { "succeeded" } td.number { (grouped(stage.succeeded.into())) } td {} }
            @for cause in &stage.causes {
                tr {
                    td { (plain(&cause.cause.to_string())) }
                    td.number { (grouped(cause.tasks.into())) }
                    td { "task " (cause.first) }
                }
            }
        }
        table {
            caption { "What was asked for" }
            (row("module", spec.module.to_string()))
            (row("arguments", spec.args.join(" ")))
            (row("tasks", match spec.kind {
                TaskKind::Plain => "one".to_owned(),
                TaskKind::Array => format!("{}, by index", grouped(spec.count.into())),
                TaskKind::Foreach { .. } => format!("{}, one for each item", grouped(spec.count.into())),
            }))
            (row("stdin", match spec.stdin {
                Stdin::Empty => "nothing".to_owned(),
                Stdin::Blob(digest) => digest.to_string(),
                Stdin::Item => "the task's item".to_owned(),
            }))
            @for input in &spec.inputs { (row("input", format!("{} = {}", input.path, input.source))) }
            (row("limits", text::limits(limits)))
            (row("needs", spec.resources.to_string()))
            (row("retries", format!("{}; {} were needed", spec.retries, grouped(stage.retried.into()))))
            (row("task time", format!(
                "p50 {}, p99 {}, together {}",
                short_duration(stage.wall_p50),
                short_duration(stage.wall_p99),
                short_duration(stage.wall)
            )))
        }
    }
}

/// How long tasks ran: a row for each power of two between the fastest and the slowest.
fn times_part(tasks: &Tasks) -> Markup {
    let (Some((first, _)), Some((last, _))) =
        (tasks.times.first_key_value(), tasks.times.last_key_value())
    else {
        return html! {};
    };
    let most = tasks.times.values().max().copied().unwrap_or(1);
    html! {
        h2 { "How long tasks ran" }
        table {
            tr { th { "up to" } th.number { "tasks" } th {} }
            @for log in *first..=*last {
                @let count = tasks.times.get(&log).copied().unwrap_or(0);
                @let width = f64::from(count) * 100.0 / f64::from(most);
                tr {
                    td { (short_duration(Duration::from_micros(2_u64.saturating_pow(log + 1)))) }
                    td.number { (grouped(count.into())) }
                    td.wide {
                        svg.line viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true" {
                            rect.running x="0" y="0" height="2" width=(format!("{width:.2}")) {}
                        }
                    }
                }
            }
        }
    }
}

fn slowest_part(tasks: &Tasks) -> Markup {
    let mut slowest: Vec<(u64, u32)> = tasks.slowest.iter().map(|Reverse(task)| *task).collect();
    slowest.sort_unstable_by_key(|(us, task)| (Reverse(*us), *task));
    html! {
        @if slowest.len() > 1 {
            h2 { "The slowest tasks" }
            table.narrow {
                tr { th.number { "task" } th.number { "ran" } }
                @for (us, task) in slowest {
                    tr {
                        td.number { (task) }
                        td.number { (short_duration(Duration::from_micros(us))) }
                    }
                }
            }
        }
    }
}

fn failed_part(view: &JobView, tasks: &Tasks) -> Markup {
    let all = view.summary.failed as usize;
    html! {
        @if !tasks.failed.is_empty() {
            h2 { "Tasks that failed" }
            @if all > tasks.failed.len() {
                p.soft { "The lowest " (tasks.failed.len()) " of " (grouped(all as u64)) "." }
            }
            @for (task, (outcome, stderr)) in &tasks.failed {
                section {
                    h3 { "Task " (task) ": " (plain(outcome)) }
                    @if !stderr.is_empty() { pre { (stderr) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_sdk::proto::outcome::{Outcome, Usage};

    use super::*;
    use crate::job::sample;

    fn tasks(count: u32) -> Tasks {
        let mut tasks = Tasks::default();
        for task in 0..count {
            let usage = Usage { wall_us: u64::from(task) + 1, ..Usage::default() };
            let outcome = Outcome::Failed { exit_code: 3 };
            let stderr = Output::Inline(b"<script>\x1b[2J".to_vec());
            tasks.add(task, &TaskResult { stderr, ..TaskResult::without_output(outcome, usage) });
        }
        tasks
    }

    #[test]
    fn a_report_is_one_harmless_page() {
        let page = page(&sample(), &tasks(3), 61_000).into_string();
        for word in ["job-7", "20,000", "Task 0: failed with exit code 3", "&lt;script&gt;"] {
            assert!(page.contains(word), "{word} in {page}");
        }
        for word in ["<script", "\x1b", "http://", "https://", "src="] {
            assert!(!page.contains(word), "{word} in {page}");
        }
    }

    #[test]
    fn many_tasks_are_told_by_the_few_that_matter() {
        let tasks = tasks(100_000);
        assert_eq!((tasks.slowest.len(), tasks.failed.len()), (MAX_TASKS, MAX_TASKS));
        assert_eq!(tasks.failed.first_key_value().map(|(task, _)| *task), Some(0));
        assert_eq!(tasks.times.values().sum::<u32>(), 100_000);
        let page = page(&sample(), &tasks, 0).into_string();
        assert!(page.len() < 100_000, "{} bytes", page.len());
        assert!(page.contains(&short_duration(Duration::from_micros(100_000))), "the slowest");
    }

    #[test]
    fn a_job_without_results_has_a_report_too() {
        let page = page(&sample(), &Tasks::default(), 0).into_string();
        assert!(!page.contains("How long tasks ran"), "{page}");
    }
}
