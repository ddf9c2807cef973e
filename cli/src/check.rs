//! `weir job check`, and how a job file's problems look: each with its line, a caret and a hint, all
//! of them at once. What `weir run` and `weir submit` are given is loaded here too.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anyhow::Result;
use weir_sdk::{
    job_file::{
        self, JobFile,
        problem::{Problem, Severity},
    },
    plan::{JobPlan, OutputsPlan, TasksPlan},
    proto::units::grouped,
};

use crate::{
    config, exit, json,
    text::{self, plain},
};

/// Most problems that are shown of one file.
const MAX_SHOWN: usize = 100;
/// Most columns of a line of the file that is shown.
const MAX_COLUMNS: usize = 120;

/// Check a job file, and tell everything that is wrong with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir job check job.toml
  weir job check job.toml --json | jq '.problems[].message'")]
pub(crate) struct CheckArgs {
    /// The job file, such as `job.toml`
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// That a job file cannot be used; why was told on stderr.
#[derive(Debug)]
pub(crate) struct Shown(ExitCode);

impl From<Shown> for ExitCode {
    fn from(shown: Shown) -> ExitCode {
        shown.0
    }
}

/// A job file's text and what became of it.
struct Checked {
    text: String,
    problems: Vec<Problem>,
    plan: Option<JobPlan>,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read, or stdout is closed.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    if args.json {
        let checked = check(&args.file)?;
        text::print_json(&as_json(&args.file, &checked))?;
        let failed = ExitCode::from(exit::WEIR_FAILED);
        return Ok(checked.plan.map_or(failed, |_| ExitCode::SUCCESS));
    }
    match load(&args.file) {
        Ok(plan) => text::print(&summary(&args.file, &plan))?,
        Err(shown) => return Ok(shown.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The plan of a job file; what is wrong with it is told on stderr, warnings too.
pub(crate) fn load(file: &Path) -> Result<JobPlan, Shown> {
    let checked = check(file).map_err(|error| Shown(crate::failed(&error)))?;
    tell(file, &checked);
    checked.plan.ok_or_else(|| Shown(ExitCode::from(exit::WEIR_FAILED)))
}

fn check(file: &Path) -> Result<Checked> {
    let text = job_file::open(file)?;
    let (job, mut problems) = JobFile::parse(&text);
    // What is wrong on the disk is told also when the text is not right.
    let plan = job.plan(file).map_err(|more| problems.extend(more)).ok();
    problems.sort_by_key(|problem| problem.span.start);
    let usable = problems.iter().all(|problem| problem.severity != Severity::Error);
    Ok(Checked { text, plan: plan.filter(|_| usable), problems })
}

fn tell(file: &Path, checked: &Checked) {
    let colours = config::current().colours(&std::io::stderr());
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    text::print_error(&render(file, checked, &renderer));
}

/// All problems as they are shown, and how many there are.
fn render(file: &Path, checked: &Checked, renderer: &Renderer) -> String {
    let Checked { text, problems, .. } = checked;
    if problems.is_empty() {
        return String::new();
    }
    let renderer = renderer.clone().term_width(MAX_COLUMNS);
    let path = file.display().to_string();
    let path = plain(&path);
    let mut out = String::new();
    for problem in problems.iter().take(MAX_SHOWN) {
        out.push_str(&renderer.render(&[report(&path, text, problem)]));
        out.push_str("\n\n");
    }
    let warnings = problems.iter().filter(|problem| problem.severity == Severity::Warning).count();
    out.push_str(&match (problems.len(), warnings) {
        (all, 0) => format!("{} in {path}", counted(all, "problem")),
        (all, warnings) if all == warnings => format!("{} in {path}", counted(all, "warning")),
        (all, warnings) => {
            let warnings = counted(warnings, "warning");
            format!("{} in {path}, of them {warnings}", counted(all, "problem"))
        }
    });
    if problems.len() > MAX_SHOWN {
        out.push_str(&format!("; the first {MAX_SHOWN} are shown"));
    }
    out.push('\n');
    out
}

fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(count as u64))
}

fn report<'a>(path: &'a str, text: &'a str, problem: &'a Problem) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let line = line_at(text, &problem.span);
    let within = |at: usize| at.min(line.end) - line.start;
    let place = within(problem.span.start)..within(problem.span.end);
    let snippet = Snippet::source(harmless(&text[line.clone()]))
        .path(path)
        .line_start(line_of(text, line.start))
        .annotation(AnnotationKind::Primary.span(place));
    let group = level.primary_title(&problem.message).element(snippet);
    match &problem.hint {
        Some(hint) => group.element(Level::HELP.message(hint)),
        None => group,
    }
}

/// The line that a span begins in, without its end.
fn line_at(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let first_end = text[span.start..].find('\n').map_or(text.len(), |end| span.start + end);
    // A carriage return would be shown.
    let line = text[start..first_end].trim_end_matches('\r').len();
    start..start + line
}

/// The line of a place, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The column of a place in characters, from 1.
fn column_of(text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[line..at].chars().count() + 1
}

/// What the renderer would let through, replaced by as many bytes, so that places stay.
fn harmless(source: &str) -> String {
    let replaced = source.chars().map(|c| match c {
        '\u{80}'..='\u{9f}' => '\u{b7}',
        '\u{2028}' | '\u{2029}' => '\u{fffd}',
        c => c,
    });
    replaced.collect()
}

/// What a job file comes to, in a few lines.
fn summary(file: &Path, plan: &JobPlan) -> String {
    let stage = &plan.stage;
    let mut lines = vec![("job", plan.name.clone())];
    if let Some(namespace) = &plan.namespace {
        lines.push(("namespace", namespace.to_string()));
    }
    if plan.priority != 0 {
        lines.push(("priority", plan.priority.to_string()));
    }
    lines.push(("stage", stage.name.clone()));
    lines.push(("module", stage.module.to_string()));
    lines.push(("tasks", tasks(&stage.tasks)));
    for input in &stage.inputs {
        let writable = if input.writable { ", writable" } else { "" };
        lines.push(("input", format!("{} = {}{writable}", input.path, input.source)));
    }
    let limits = &stage.limits;
    lines.push(("limits", text::limits(limits)));
    lines.push(("needs", stage.resources.to_string()));
    match &stage.outputs {
        OutputsPlan::Nothing => {}
        OutputsPlan::All => lines.push(("keeps", "/out".to_owned())),
        OutputsPlan::Paths(paths) => {
            lines.push(("keeps", format!("/out/{}", paths.join(", /out/"))));
        }
    }
    let file = file.display().to_string();
    let mut out = format!("{} has no errors\n", plain(&file));
    for (name, value) in lines {
        out.push_str(&format!("{name:<12} {}\n", plain(&value)));
    }
    out
}

fn tasks(tasks: &TasksPlan) -> String {
    let count = counted(tasks.count(), "task").trim_end_matches(" task").replace(" tasks", "");
    match tasks {
        TasksPlan::One => "1".to_owned(),
        TasksPlan::Count(_) => count,
        TasksPlan::Files(files) => match &files[..] {
            [first, .., last] => format!("{count}, for {} to {}", first.text, last.text),
            [only] => format!("1, for {}", only.text),
            [] => "0".to_owned(),
        },
        TasksPlan::Lines(_) => format!("{count}, one for each line"),
    }
}

fn as_json(file: &Path, checked: &Checked) -> json::local::JobCheck {
    let text = &checked.text;
    let problems = checked.problems.iter().map(|problem| json::local::CheckProblem {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        line: line_of(text, problem.span.start),
        column: column_of(text, problem.span.start),
        span: [problem.span.start, problem.span.end],
    });
    let job = checked.plan.as_ref().map(|plan| json::local::CheckedJob {
        name: plan.name.clone(),
        stages: vec![json::local::CheckedStage {
            name: plan.stage.name.clone(),
            module: plan.stage.module.to_string(),
            tasks: plan.stage.tasks.count(),
        }],
    });
    let file = file.display().to_string();
    json::local::JobCheck { file, problems: problems.collect(), job }
}

#[cfg(test)]
mod tests;
