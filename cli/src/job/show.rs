//! `weir job show`: a job's spec, how far it is, how its tasks ended and what to do next.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use weir_sdk::{
    proto::{
        id::JobId,
        job::{Keep, StageSpec, Stdin, TaskKind},
        metering::Metering,
        range::RangeSet,
        units::{grouped, short_bytes, short_count, short_duration},
    },
    view::{JobSummary, JobView, StageView},
};

use crate::{
    clock::{ago, now_ms, utc},
    completions::candidates,
    connect::{MasterFlag, StaleFlag},
    json,
    tally::count,
    text::{self, plain},
};

/// Most causes that are told.
const MAX_CAUSES: usize = 12;
/// Most ranges of failed tasks that are told.
const MAX_RANGES: usize = 20;

const EXAMPLES: &str = "\
Examples:
  weir job show 7
  weir job show job-7 --json | jq '.stages[0].causes'";

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// The job: `job-7` or `7`
    #[arg(add = candidates::jobs())]
    job: JobId,
    #[command(flatten)]
    master: MasterFlag,
    #[command(flatten)]
    stale: StaleFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows a job.
///
/// # Errors
/// When there is no such job or no master.
pub(super) async fn run(args: ShowArgs) -> Result<ExitCode> {
    let client = args.stale.of(args.master.connect().await?);
    let view = client.job(args.job).await?;
    if args.json {
        text::print_json(&json::job::Job::from(&view))?;
    } else {
        text::print(&about(&view, now_ms()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines of a property each: what it is called once, then its values below each other.
#[derive(Debug, Default)]
struct Properties(Vec<(&'static str, String)>);

impl Properties {
    fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    fn render(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        for (name, value) in &self.0 {
            let shown = if *name == last { "" } else { name };
            out.push_str(&format!("{shown:<12} {}\n", plain(value)));
            last = name;
        }
        out
    }
}

fn about(view: &JobView, now_ms: u64) -> String {
    let mut about = Properties::default();
    about_job(&mut about, &view.summary, now_ms);
    let several = view.spec.stages.len() > 1;
    for (spec, stage) in view.spec.stages.iter().zip(&view.stages) {
        if several {
            about.add("stage", &spec.name);
        }
        about_spec(&mut about, spec);
        about_progress(&mut about, stage);
    }
    for reason in view.waits() {
        about.add("waits", reason);
    }
    let job = view.summary.id.0;
    if view.summary.failed > 0 {
        about.add("next", format!("`weir job logs {job} --failed` prints what they wrote"));
    }
    if view.summary.status.ended() && view.summary.succeeded < view.summary.tasks {
        about.add("next", format!("`weir job retry {job} --failed` runs them again"));
    }
    about.render()
}

fn about_job(about: &mut Properties, job: &JobSummary, now_ms: u64) {
    about.add("job", job.id.to_string());
    about.add("name", &job.name);
    about.add("namespace", job.namespace.to_string());
    about.add("status", job.state_word());
    if job.priority != 0 {
        about.add("priority", job.priority.to_string());
    }
    if let Some(earlier) = job.retry_of {
        about.add("retry of", earlier.to_string());
    }
    let moment = |ms: u64| format!("{} ({})", ago(ms, now_ms), utc(ms));
    about.add("submitted", moment(job.submitted_ms));
    if let Some(ended_ms) = job.ended_ms {
        about.add("ended", moment(ended_ms));
    }
    let age = Duration::from_millis(now_ms.saturating_sub(job.submitted_ms));
    about.add("ran", short_duration(job.wall_time().unwrap_or(age)));
    about.add("tasks", tasks_line(job));
    about.add("fuel", short_count(job.fuel));
    about.add("peak memory", short_bytes(job.peak_memory_bytes));
}

fn tasks_line(job: &JobSummary) -> String {
    let mut line = format!(
        "{}: {} succeeded, {} failed",
        grouped(job.tasks.into()),
        grouped(job.succeeded.into()),
        grouped(job.failed.into()),
    );
    if job.cancelled > 0 {
        line.push_str(&format!(", {} cancelled", grouped(job.cancelled.into())));
    }
    if !job.status.ended() {
        let waiting = job.open().saturating_sub(job.running).saturating_sub(job.paused);
        let (running, waiting) = (grouped(job.running.into()), grouped(waiting.into()));
        line.push_str(&format!(", {running} running, {waiting} waiting"));
        if job.paused > 0 {
            line.push_str(&format!(", {} paused", grouped(job.paused.into())));
        }
    }
    line
}

/// What was asked for; placeholders are shown as they were written.
fn about_spec(about: &mut Properties, stage: &StageSpec) {
    about.add("module", stage.module.to_string());
    if !stage.args.is_empty() {
        about.add("arguments", stage.args.join(" "));
    }
    for (name, value) in &stage.env {
        about.add("environment", format!("{name}={value}"));
    }
    match stage.stdin {
        Stdin::Empty => {}
        Stdin::Blob(digest) => about.add("stdin", digest.to_string()),
        Stdin::Item => about.add("stdin", "each task's item"),
    }
    for input in &stage.inputs {
        let copy = if input.writable { ", a copy for each task" } else { "" };
        about.add("input", format!("{} = {}{copy}", input.path, input.source));
    }
    if let TaskKind::Foreach { manifest } = stage.kind {
        about.add("for each", format!("{} of {manifest}", count(stage.count.into(), "item")));
    }
    let limits = &stage.limits;
    about.add("limits", text::limits(limits));
    about.add("needs", stage.resources.to_string());
    if !stage.success_codes.is_empty() {
        let codes: Vec<String> = stage.success_codes.iter().map(i32::to_string).collect();
        about.add("success", format!("exit codes 0, {}", codes.join(", ")));
    }
    if stage.retries > 0 {
        about.add("retries", format!("up to {} of each task", stage.retries));
    }
    if stage.once {
        about.add("once", "each task runs at most once, whatever happens");
    }
    match &stage.keep {
        Keep::Nothing => {}
        Keep::Out => about.add("outputs", "all of /out"),
        Keep::Paths(paths) => about.add("outputs", format!("of /out: {}", paths.join(", "))),
    }
    if stage.seed != 0 {
        about.add("seed", stage.seed.to_string());
    }
    if !stage.capabilities.is_empty() {
        let words: Vec<String> = stage.capabilities.iter().map(ToString::to_string).collect();
        about.add("allowed", words.join(", "));
    }
    if stage.metering == Metering::Epoch {
        about.add("metering", "by epochs: fuel is the time that tasks take");
    }
    if stage.coredump {
        about.add("core dumps", "of tasks that trap");
    }
}

/// How a stage's tasks ended, the most frequent cause first.
fn about_progress(about: &mut Properties, stage: &StageView) {
    if stage.succeeded > 0 {
        about.add("outcomes", format!("{}  succeeded", count(stage.succeeded.into(), "task")));
    }
    let told = &stage.causes[..stage.causes.len().min(MAX_CAUSES)];
    let numbers: Vec<String> = told.iter().map(|cause| count(cause.tasks.into(), "task")).collect();
    let causes: Vec<String> = told.iter().map(|cause| cause.cause.to_string()).collect();
    let width = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max();
    let (first, second) = (width(&numbers).unwrap_or(0), width(&causes).unwrap_or(0));
    for ((number, cause), told) in numbers.iter().zip(&causes).zip(told) {
        let lowest = told.first;
        about.add("outcomes", format!("{number:<first$}  {cause:<second$}  first: task {lowest}"));
    }
    let others = &stage.causes[told.len()..];
    if !others.is_empty() {
        let tasks = others.iter().map(|other| u64::from(other.tasks)).sum();
        let causes = count(others.len() as u64, "other cause");
        about.add("outcomes", format!("{}  {causes}", count(tasks, "task")));
    }
    let unsuccessful = stage.failed.saturating_add(stage.cancelled);
    if unsuccessful > 0 {
        about.add("failed tasks", ranges(&stage.failed_tasks, unsuccessful));
    }
    if stage.succeeded.saturating_add(stage.failed) > 0 {
        let (median, slow) = (short_duration(stage.wall_p50), short_duration(stage.wall_p99));
        about.add("task time", format!("p50 {median}, p99 {slow}"));
    }
    if stage.retried > 0 {
        let attempts = count(stage.retried.into(), "failed attempt");
        about.add("retried", format!("{attempts} repeated"));
    }
}

/// Tasks as `3, 7-12, 40`, the first of very many.
fn ranges(tasks: &RangeSet, all: u32) -> String {
    let told = &tasks.ranges()[..tasks.ranges().len().min(MAX_RANGES)];
    let mut parts: Vec<String> = told
        .iter()
        .map(|range| match range.len() {
            1 => range.start.to_string(),
            _ => format!("{}-{}", range.start, range.end - 1),
        })
        .collect();
    let more = all.saturating_sub(told.iter().map(|range| range.len()).sum());
    if more > 0 {
        parts.push(format!("and {}", count(more.into(), "other")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use weir_sdk::{
        proto::{digest::Digest, job::Input, job::InputSource, range::TaskRange},
        view::JobStatus,
    };

    use super::*;
    use crate::job::sample;

    #[test]
    fn a_shown_job_tells_why_it_waits() {
        let shown = about(&sample(), 2_000);
        assert!(shown.contains("988 waiting"), "{shown}");
        let waits = "waits        agent pi compiles the module, for 12.00 s\n             every core is busy\n";
        assert!(shown.contains(waits), "{shown}");
        assert!(shown.contains("fuel 100 G, memory 256 MiB, time 10m00s"), "{shown}");
        assert!(shown.contains("arguments    {index}\n"), "{shown}");
        assert!(shown.contains("1.00 s ago (1970-01-01T00:00:01Z)"), "{shown}");
        assert!(!shown.contains('\x1b'));
    }

    #[test]
    fn outcomes_are_grouped_by_cause_the_most_frequent_first() {
        let shown = about(&sample(), 2_000);
        let expected = "\
outcomes     19,000 tasks  succeeded
             9 tasks  out of fuel          first: task 7
             1 task   failed: exit code 3  first: task 3
failed tasks 3, 7-15
task time    p50 10 ms, p99 40 ms
retried      4 failed attempts repeated
";
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn very_many_causes_are_told_as_the_first_and_a_count() {
        let mut view = sample();
        let cause = view.stages[0].causes[1].clone();
        view.stages[0].causes = vec![cause; 40];
        let shown = about(&view, 2_000);
        assert_eq!(shown.matches("exit code 3").count(), MAX_CAUSES, "{shown}");
        assert!(shown.contains(" 28 tasks  28 other causes\n"), "{shown}");
    }

    #[test]
    fn a_failed_job_says_what_to_do_next() {
        let mut view = sample();
        assert!(!about(&view, 2_000).contains("retry 7"), "an active job is not retried");
        view.summary.status = JobStatus::Failed;
        view.summary.ended_ms = Some(61_000);
        let shown = about(&view, 62_000);
        assert!(shown.contains("`weir job logs 7 --failed`"), "{shown}");
        assert!(shown.contains("`weir job retry 7 --failed`"), "{shown}");
        assert!(shown.contains("ran          1m00s\n"), "{shown}");
    }

    #[test]
    fn what_is_unusual_about_a_spec_is_shown() {
        let mut view = sample();
        view.summary.priority = 5;
        view.summary.retry_of = Some(JobId(3));
        let stage = &mut view.spec.stages[0];
        stage.kind = TaskKind::Foreach { manifest: Digest::of(b"items") };
        stage.stdin = Stdin::Item;
        stage.retries = 2;
        stage.success_codes = vec![3, 4];
        stage.metering = Metering::Epoch;
        stage.keep = Keep::Paths(vec!["a.png".to_owned()]);
        let source = InputSource::Tree(Digest::of(b"t"));
        stage.inputs = vec![Input { path: "/data".to_owned(), source, writable: true }];
        let shown = about(&view, 2_000);
        for line in [
            "priority     5\n",
            "retry of     job-3\n",
            "for each     20,000 items of blake3:",
            "stdin        each task's item\n",
            "metering     by epochs: fuel is the time that tasks take\n",
            "retries      up to 2 of each task\n",
            "success      exit codes 0, 3, 4\n",
            "outputs      of /out: a.png\n",
            ", a copy for each task\n",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
    }

    #[test]
    fn very_many_ranges_are_told_as_the_first_and_a_count() {
        let mut tasks = RangeSet::new();
        for task in (0..2_000).step_by(2) {
            tasks.insert(TaskRange::single(task));
        }
        let told = ranges(&tasks, 5_000);
        assert!(told.starts_with("0, 2, 4, ") && told.ends_with("and 4,980 others"), "{told}");
    }
}
