//! Job files: a job as people write it down, in TOML, read with every problem's place.
//!
//! [`JobFile::parse`] looks at the text alone; [`resolve`] looks at the disk and makes a plan of it,
//! which [`crate::put_job`] puts and submits. The format is described in `docs/job-file.md`.

pub mod problem;

mod reader;

mod placeholder;

pub mod values;

pub mod sources;

pub mod stage;

pub mod pattern;

pub mod resolve;

pub mod schema;

use std::{fs::File, io::Read as _, ops::Range, path::Path};

use schemars::JsonSchema;
use toml::de::DeTable;
use weir_proto::{job::MAX_PRIORITY, text::plain};

pub use self::reader::At;
use self::{
    problem::{Problem, nearest},
    reader::{Problems, Read, Table, Value, known_keys},
    stage::StageFile,
    values::{Int, Name, NamespaceName},
};

/// Most bytes of a job file.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// A job: what to run, on what, and within which limits.
///
/// Paths are relative to the job file.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Job")]
pub struct JobFile {
    /// Name of the job, for people: 1 to 128 bytes without `/`. Default: the name of the file without
    /// its extension.
    pub name: Option<Name>,
    /// The namespace that the job belongs to. Default: that of who submits it.
    pub namespace: Option<NamespaceName>,
    /// Which jobs of the namespace go first, -100 (last) to 100 (first). Default: 0.
    #[schemars(extend("default" = 0))]
    pub priority: Option<Int<{ -MAX_PRIORITY as i64 }, { MAX_PRIORITY as i64 }>>,
    /// Whether all agents compile the job's module when it is submitted, and not only those that get
    /// tasks of it, when they do. Default: false.
    #[schemars(extend("default" = false))]
    pub precompile: Option<bool>,
    /// What the job runs, as `[[stage]]` tables; exactly one until stages can follow each other.
    #[schemars(length(min = 1, max = 1))]
    pub stage: Vec<StageFile>,
}

/// Why there is no text of a job file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("cannot read the job file {}", .0)]
    Read(String, #[source] std::io::Error),
    /// It is no file.
    #[error("{} is a directory; name a job file, such as `job.toml` in it", .0)]
    Directory(String),
    /// It is too large for one.
    #[error("{path} is no job file: it has {bytes}; a job file has at most 1 MiB")]
    TooLarge {
        /// The file.
        path: String,
        /// How large it is.
        bytes: String,
    },
    /// It is not text.
    #[error("{path} is no job file: it is not UTF-8 at byte {byte}, in line {line}")]
    NotText {
        /// The file.
        path: String,
        /// Place of the first byte that is wrong, from 0.
        byte: usize,
        /// Its line, from 1.
        line: usize,
    },
}

/// The text of a job file; no more than `MAX_FILE_BYTES` are ever read.
///
/// # Errors
/// As `OpenError` says.
pub fn open(path: &Path) -> Result<String, OpenError> {
    let told = plain(&path.display().to_string()).into_owned();
    let failed = |error| OpenError::Read(told.clone(), error);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(OpenError::Directory(told));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        // A pipe has no length.
        let bytes = match metadata.len() {
            0 => "more".to_owned(),
            bytes => weir_proto::units::short_bytes(bytes),
        };
        return Err(OpenError::TooLarge { path: told, bytes });
    }
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..byte].iter().filter(|byte| **byte == b'\n').count() + 1;
        OpenError::NotText { path: told, byte, line }
    })
}

impl JobFile {
    /// Reads the text of a job file: what of it could be understood, and everything that is wrong
    /// with it, in the order of the file. It can be used if no problem is an error.
    pub fn parse(text: &str) -> (JobFile, Vec<Problem>) {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut problems = Problems::of(text);
        let mut table = Table::new(String::new(), document.get_ref(), 0..0);
        let file = JobFile::ask(&mut table, &mut problems);
        let stage_keys = known_keys(StageFile::ask);
        let below = |key: &str| {
            stage_keys.contains(&key).then(|| format!("write `{key}` beneath `[[stage]]`"))
        };
        table.finish(below, &mut problems);
        (file, with_syntax(text, &errors, problems.sorted()))
    }

    /// Asks a table for every key of a job file.
    fn ask(table: &mut Table<'_>, problems: &mut Problems<'_>) -> JobFile {
        JobFile {
            name: table.optional("name", problems),
            namespace: table.optional("namespace", problems),
            priority: table.optional("priority", problems),
            precompile: table.optional("precompile", problems),
            stage: stages(table, problems),
        }
    }
}

fn stages(table: &mut Table<'_>, problems: &mut Problems<'_>) -> Vec<StageFile> {
    let Some(value) = table.get("stage") else {
        // A misspelt key is told already, and says the same.
        if !table.entries().any(|(_, entry)| nearest(entry.key, &["stage"]).is_some()) {
            let hint = "add a line `[[stage]]`, and beneath it one like `module = \"hello.wasm\"`";
            problems.error(&(0..0), "the job has no stage", hint);
        }
        return Vec::new();
    };
    if value.toml.is_table() {
        let message = "`stage` is one table; it must be a list of tables";
        problems.error(&value.span, message, "write its header as `[[stage]]`");
        return StageFile::read(&value, problems).into_iter().collect();
    }
    let Some(stages) = value.elements("[{ module = \"hello.wasm\" }]", problems) else {
        return Vec::new();
    };
    check_stages(&stages, &value, problems);
    stages.iter().filter_map(|stage| StageFile::read(stage, problems)).collect()
}

/// Until graphs are built there is one stage; names are compared already.
fn check_stages(stages: &[Value<'_>], value: &Value<'_>, problems: &mut Problems<'_>) {
    match stages {
        [] => {
            let hint = "write a table `[[stage]]` with a `module` instead";
            problems.error(&value.span, "the job has no stage", hint);
        }
        [_] => {}
        [_, second, ..] => {
            let message = format!(
                "the job has {} stages, and stages that follow each other are not built yet",
                stages.len()
            );
            let hint = "run each stage as a job of its own, and hand its outputs on as inputs";
            problems.error(&second.span, message, hint);
        }
    }
    let mut names: Vec<&str> = Vec::new();
    for stage in stages {
        let name = stage.toml.as_table().and_then(|table| table.get("name"));
        let Some(name) = name else { continue };
        let Some(text) = name.get_ref().as_str() else { continue };
        if names.contains(&text) {
            let message = format!("two stages have the name {}", problem::quoted(text));
            problems.error(&name.span(), message, "give each stage a name of its own");
        } else if names.len() < 1000 {
            names.push(text);
        }
    }
}

/// Adds what is no TOML; what it makes look wrong in the same line, or missing, is left out.
fn with_syntax(text: &str, errors: &[toml::de::Error], meant: Vec<Problem>) -> Vec<Problem> {
    let mut problems = Problems::of(text);
    let mut lines = std::collections::BTreeSet::new();
    let line = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    for error in errors {
        if problems.full() {
            break;
        }
        let span = on_chars(text, error.span().unwrap_or(0..0));
        lines.insert(line(span.start));
        problems.push(match error.message() {
            // The library does not say which, and what to do.
            "duplicate key" => {
                let key = problem::quoted(&text[span.clone()]);
                Problem::error(span, format!("duplicate key {key}")).hint("leave one of them out")
            }
            "string values must be quoted, expected literal string" => {
                Problem::error(span, "text must be in quotes").hint("write it like `\"text\"`")
            }
            message => Problem::error(span, message),
        });
    }
    for problem in meant {
        let spoilt = !errors.is_empty()
            && (lines.contains(&line(problem.span.start)) || problem.message.contains("missing"));
        if !spoilt {
            problems.push(problem);
        }
    }
    problems.sorted()
}

/// A span within the text whose ends lie between characters.
fn on_chars(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests;
