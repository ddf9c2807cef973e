//! A job's page: what was asked for, how far it is, why tasks failed, why others wait.

use maud::{Markup, html};
use weir_proto::{
    job::{Keep, StageSpec, Stdin, TaskKind},
    range::RangeSet,
    text::plain,
    units::{grouped, short_bytes, short_count},
};
use weir_scheduler::{
    stage::Stage,
    state::{Job, JobLife},
};

use super::{
    facts::JobFacts,
    format::{ago, micros, so_far, took},
    parts::{Progress, Refresh, frame, name, state_of, tile},
};
use crate::rpc::view::{status, summary};

/// Most ranges of failed tasks that are listed.
const MAX_RANGES: usize = 100;
/// Most inputs, arguments or variables that are listed.
const MAX_LISTED: usize = 32;
/// Most bytes that are shown of each.
const MAX_WORD_BYTES: usize = 200;

/// The whole page.
pub(super) fn page(facts: &JobFacts) -> String {
    let refresh = if facts.job.is_active() { Refresh::Reload } else { Refresh::Never };
    frame(&format!("{} · Weir", facts.job.id), refresh, &main(facts))
}

fn main(facts: &JobFacts) -> Markup {
    let job = &*facts.job;
    let stages = job.stages.iter().zip(&job.spec.stages);
    html! {
        main #main tabindex="-1" {
            (head(facts))
            (overview(facts))
            @if !facts.advice.waiting.is_empty() || !facts.advice.preparing.is_empty() {
                section.card.notice aria-labelledby="waiting" {
                    h2 #waiting { "Why tasks wait" }
                    ul {
                        @for told in &facts.advice.preparing { li { (plain(&told.to_string())) } }
                        @for reason in &facts.advice.waiting { li { (plain(reason)) } }
                    }
                }
            }
            @for (number, (stage, spec)) in stages.enumerate() {
                (stage_section(number, stage, spec))
            }
            p.more {
                "In a terminal: " code { "weir job show " (job.id) } ", "
                code { "weir job logs " (job.id) }
            }
        }
    }
}

fn head(facts: &JobFacts) -> Markup {
    let job = &*facts.job;
    html! {
        section.cluster aria-labelledby="job" {
            h1 #job { (job.id) " " (name(&job.spec.name)) }
            ul.line {
                li { (state_of(status(job))) }
                li { "submitted " (ago(facts.now_ms, job.submitted_ms)) }
                @match job.life {
                    JobLife::Active => {
                        li {
                            "runs for "
                            (so_far(facts.now_ms.saturating_sub(job.submitted_ms)))
                        }
                    }
                    JobLife::Ended { at_ms, .. } => {
                        li { "took " (took(at_ms.saturating_sub(job.submitted_ms))) }
                    }
                }
                li { "namespace " (job.spec.namespace) }
                li { "priority " (job.spec.priority) }
                @if let Some(before) = job.retry_of {
                    li { "retry of " a href={ "/job/" (before.0) } { (before) } }
                }
            }
        }
    }
}

fn overview(facts: &JobFacts) -> Markup {
    let job = &*facts.job;
    let summary = summary(job);
    let progress = Progress::of(&summary, facts.advice.all_running());
    html! {
        section.card aria-labelledby="progress" {
            h2 #progress { "Progress" }
            (progress.bar("Progress of the job"))
            ul.legend {
                (part("ok", "succeeded", progress.succeeded))
                (part("bad", "failed", progress.failed))
                (part("gone", "cancelled", progress.cancelled))
                (part("run", "running", progress.running))
                (part("rest", "waiting", progress.waiting()))
            }
        }
        dl.tiles {
            (tile("Tasks", &grouped(summary.tasks.into()), &retried(job)))
            (tile("Fuel", &short_count(summary.fuel), ""))
            (tile("Peak memory", &short_bytes(summary.peak_memory_bytes), "of one task"))
            (times(job))
        }
    }
}

fn part(class: &str, word: &str, count: u64) -> Markup {
    html! { li { span class={ "mark " (class) } aria-hidden="true" {} (grouped(count)) " " (word) } }
}

fn retried(job: &Job) -> String {
    match job.stages.iter().map(|stage| u64::from(stage.retried)).sum() {
        0 => String::new(),
        attempts => format!("{} failed attempts were repeated", grouped(attempts)),
    }
}

/// Of the stage with most tasks: one job has one stage yet.
fn times(job: &Job) -> Markup {
    let stage = job.stages.iter().max_by_key(|stage| stage.times.count());
    match stage.filter(|stage| stage.times.count() > 0) {
        Some(stage) => {
            let slow = format!("p99 {}", micros(stage.times.quantile_us(0.99)));
            tile("A task's time", &micros(stage.times.quantile_us(0.5)), &slow)
        }
        None => tile("A task's time", "–", "none has ended"),
    }
}

fn stage_section(number: usize, stage: &Stage, spec: &StageSpec) -> Markup {
    let id = format!("stage-{number}");
    html! {
        section.card aria-labelledby=(id) {
            h2 #(id) { "Stage " (name(&spec.name)) }
            (outcomes(stage))
            (failed_tasks(&stage.failed))
            h3 { "What was asked for" }
            (spec_list(spec))
        }
    }
}

fn outcomes(stage: &Stage) -> Markup {
    let mut causes: Vec<_> = stage.causes.iter().collect();
    causes.sort_by_key(|(_, count)| (std::cmp::Reverse(count.tasks), count.first));
    let succeeded = stage.succeeded();
    html! {
        @if succeeded > 0 || !causes.is_empty() {
            div.scroll role="region" aria-label="Outcomes" tabindex="0" {
                table {
                    caption { "How tasks ended" }
                    thead {
                        tr {
                            th scope="col" { "Outcome" }
                            th.number scope="col" { "Tasks" }
                            th.number scope="col" { "First" }
                        }
                    }
                    tbody {
                        @if succeeded > 0 {
                            tr {
                                th scope="row" { "succeeded" }
                                td.number { (grouped(succeeded.into())) }
                                td.number {}
                            }
                        }
                        @for (cause, count) in causes {
                            tr {
                                th scope="row" { (plain(&cause.to_string())) }
                                td.number { (grouped(count.tasks.into())) }
                                td.number { "task " (count.first) }
                            }
                        }
                    }
                }
            }
        } @else {
            p.empty { "No task has ended yet." }
        }
    }
}

fn failed_tasks(failed: &RangeSet) -> Markup {
    let ranges = failed.ranges();
    html! {
        @if !ranges.is_empty() {
            details {
                summary { "Tasks that did not succeed: " (grouped(failed.len().into())) }
                p.ranges {
                    @for range in ranges.iter().take(MAX_RANGES) {
                        code {
                            (range.start) @if range.len() > 1 { "–" (range.end - 1) }
                        } " "
                    }
                    @if ranges.len() > MAX_RANGES {
                        "and " (grouped((ranges.len() - MAX_RANGES) as u64)) " more ranges"
                    }
                }
            }
        }
    }
}

fn spec_list(spec: &StageSpec) -> Markup {
    let limits = spec.limits;
    let codes: Vec<String> = spec.success_codes.iter().map(ToString::to_string).collect();
    let env: Vec<String> = spec.env.iter().map(|(name, _)| name.clone()).collect();
    let inputs = spec.inputs.iter().map(|input| {
        let copy = if input.writable { " (a copy that may change)" } else { "" };
        format!("{}{copy}", input.path)
    });
    let inputs: Vec<String> = inputs.collect();
    html! {
        dl.spec {
            (row("Module", html! { code.digest { (spec.module) } }))
            (row("Tasks", html! { (grouped(spec.count.into())) ", " (kind(spec.kind)) }))
            (row("Arguments", words(&spec.args)))
            // Values may be secrets; `weir job show` has them.
            (row("Environment", words(&env)))
            (row("Inputs", words(&inputs)))
            (row("Stdin", html! { (stdin(spec.stdin)) }))
            (row("Kept output", kept(&spec.keep)))
            (row("Needs", html! { (spec.resources) }))
            (row("Fuel limit", html! { (short_count(limits.fuel)) }))
            (row("Memory limit", html! { (short_bytes(limits.memory_bytes)) }))
            (row("Time limit", html! { (took(limits.timeout_ms)) }))
            (row("Output limit", html! { (short_bytes(limits.output_bytes)) }))
            (row("Retries", html! { (spec.retries) }))
            @if !codes.is_empty() { (row("Exit codes of success", html! { "0, " (codes.join(", ")) })) }
            (row("Seed", html! { (spec.seed) }))
        }
    }
}

fn row(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn words(words: &[String]) -> Markup {
    html! {
        @if words.is_empty() { span.sub { "none" } }
        @for word in words.iter().take(MAX_LISTED) {
            @let shown = &word[..word.floor_char_boundary(MAX_WORD_BYTES)];
            code { (plain(shown)) @if shown.len() < word.len() { "…" } } " "
        }
        @if words.len() > MAX_LISTED { "and " (words.len() - MAX_LISTED) " more" }
    }
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Plain => "all the same",
        TaskKind::Array => "told apart by their index",
        TaskKind::Foreach { .. } => "one for each item of a manifest",
    }
}

fn stdin(stdin: Stdin) -> String {
    match stdin {
        Stdin::Empty => "empty".to_owned(),
        Stdin::Blob(digest) => digest.to_string(),
        Stdin::Item => "the task's item".to_owned(),
    }
}

fn kept(keep: &Keep) -> Markup {
    match keep {
        Keep::Nothing => html! { "stdout and stderr" },
        Keep::Out => html! { "all of " code { "/out" } },
        Keep::Paths(paths) => words(paths),
    }
}
