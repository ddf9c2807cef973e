//! Files of a job file: modules, inputs, stdin, patterns, outputs.
//!
//! Each says how it is read and what its JSON Schema is. Whether they are there is a matter of
//! `resolve.rs`.

use std::path::PathBuf;

use schemars::json_schema;
use weir_proto::job::keep_path_problem;

use super::{
    pattern::Pattern,
    problem::quoted,
    reader::{At, Problems, Read, Value},
    values::schema,
};
use crate::{plan::OutputsPlan, source::Source};

/// Most patterns in a list.
const MAX_PATTERNS: usize = 1000;

/// A module: a path, a digest or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSource(pub Source);

/// What an input is made of, and whether each task may write to a copy of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// What it is made of.
    pub source: Source,
    /// Whether each task has a private copy that it may write to.
    pub writable: bool,
}

/// What a task reads from stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdinFile {
    /// A file, a blob or a name.
    Source(Source),
    /// The task's item.
    Item,
    /// This text.
    Text(String),
}

/// What each task of a stage is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeachFile {
    /// A task for each file that one of these patterns matches.
    Files(Vec<At<String>>),
    /// A task for each line of a file that is not empty.
    Lines(At<PathBuf>),
}

/// What of `/out` is kept: `true`, `false` or a list of paths beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputsFile(pub OutputsPlan);

impl Read for ModuleSource {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<ModuleSource> {
        let text = value.string("\"hello.wasm\"", problems)?;
        source(value, text, problems).map(ModuleSource)
    }
}

/// A path, a digest or a name.
fn source(value: &Value<'_>, text: &str, problems: &mut Problems<'_>) -> Option<Source> {
    text.parse()
        .map_err(|why: String| {
            let (why, hint) = why.split_once("; ").unwrap_or((&why, "name a path"));
            let message = format!("{} cannot be {}: {why}", value.called(), quoted(text));
            problems.error(&value.span, message, hint);
        })
        .ok()
}

impl Read for InputFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<InputFile> {
        if let Some(text) = value.toml.as_str() {
            let (text, writable) = match text.strip_suffix(":rw") {
                Some(text) => (text, true),
                None => (text, false),
            };
            return Some(InputFile { source: source(value, text, problems)?, writable });
        }
        if value.toml.as_table().is_none() {
            value.not("a source", "\"data/words.txt\"", problems);
            return None;
        }
        let example = "{ from = \"data/words.txt\", rw = true }";
        let mut table = value.table(example, problems)?;
        let from = table.required::<Plain>("from", "\"data/words.txt\"", problems);
        let rw = table.optional::<bool>("rw", problems);
        table.finish(|_| None, problems);
        let source = source(value, &from?.0, problems)?;
        Some(InputFile { source, writable: rw.unwrap_or(false) })
    }
}

/// A string that is given on as it is.
struct Plain(String);

impl Read for Plain {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Plain> {
        value.string("\"words.txt\"", problems).map(|text| Plain(text.to_owned()))
    }
}

impl Read for bool {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<bool> {
        if value.toml.as_bool().is_none() {
            value.not("`true` or `false`", "true", problems);
        }
        value.toml.as_bool()
    }
}

impl Read for StdinFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<StdinFile> {
        if let Some(text) = value.toml.as_str() {
            return match text {
                "{input}" => Some(StdinFile::Item),
                text => source(value, text, problems).map(StdinFile::Source),
            };
        }
        if value.toml.as_table().is_none() {
            value.not("a source", "\"words.txt\"", problems);
            return None;
        }
        let mut table = value.table("{ text = \"hello\" }", problems)?;
        let text = table.required::<Plain>("text", "\"hello\"", problems);
        table.finish(|_| None, problems);
        text.map(|text| StdinFile::Text(text.0))
    }
}

impl Read for ForeachFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<ForeachFile> {
        let example = "\"data/*.csv\"";
        if value.toml.as_str().is_some() {
            return Some(ForeachFile::Files(vec![pattern(value, problems)?]));
        }
        if value.toml.as_array().is_some() {
            let patterns = value.elements(example, problems)?;
            if patterns.is_empty() {
                let message = format!("{} is an empty list", value.called());
                problems.error(
                    &value.span,
                    message,
                    format!("write it like {}", value.written(example)),
                );
                return None;
            }
            if patterns.len() > MAX_PATTERNS {
                let message = format!("{} has {} patterns", value.called(), patterns.len());
                let hint = format!("there are at most {MAX_PATTERNS}; list the files with `lines`");
                problems.error(&value.span, message, hint);
                return None;
            }
            let patterns = patterns.iter().filter_map(|element| pattern(element, problems));
            return Some(ForeachFile::Files(patterns.collect()));
        }
        if value.toml.as_table().is_none() {
            value.not("a pattern of files", example, problems);
            return None;
        }
        let mut table = value.table("{ lines = \"items.txt\" }", problems)?;
        let lines = table.required::<At<Plain>>("lines", "\"items.txt\"", problems);
        table.finish(|_| None, problems);
        let At { value: Plain(path), span } = lines?;
        Some(ForeachFile::Lines(At { value: PathBuf::from(path), span }))
    }
}

fn pattern(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<At<String>> {
    let text = value.string("\"data/*.csv\"", problems)?;
    match Pattern::new(text) {
        Ok(_) => Some(At { value: text.to_owned(), span: value.span.clone() }),
        Err(why) => {
            let message = format!("{} is {}: {why}", value.called(), quoted(text));
            problems.error(&value.span, message, "`*`, `?`, `[a-z]`, `{a,b}` and `**` are known");
            None
        }
    }
}

impl Read for OutputsFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<OutputsFile> {
        if let Some(all) = value.toml.as_bool() {
            return Some(OutputsFile(if all { OutputsPlan::All } else { OutputsPlan::Nothing }));
        }
        if value.toml.as_array().is_none() {
            value.not("`true`, `false` or a list of paths beneath /out", "true", problems);
            return None;
        }
        let mut paths = Vec::new();
        for element in value.elements("true", problems)? {
            let Some(path) = element.string("\"report.txt\"", problems) else { continue };
            if keep_path_problem(path).is_some() {
                let message = format!(
                    "{} is {}, which is no path beneath /out",
                    element.called(),
                    quoted(path)
                );
                let hint =
                    "write it without `/out` and without `.` and `..`, like `\"report.txt\"`";
                problems.error(&element.span, message, hint);
                continue;
            }
            paths.push(path.to_owned());
        }
        Some(OutputsFile(if paths.is_empty() {
            OutputsPlan::Nothing
        } else {
            OutputsPlan::Paths(paths)
        }))
    }
}

schema! {
    () ModuleSource: json_schema!({
        "type": "string",
        "minLength": 1,
        "examples": ["target/wasm32-wasip1/release/hello.wasm", "name:hello"],
    });
    () InputFile: json_schema!({
        "anyOf": [
            { "type": "string", "minLength": 1 },
            {
                "type": "object",
                "properties": {
                    "from": { "type": "string", "minLength": 1 },
                    "rw": { "type": "boolean", "default": false },
                },
                "required": ["from"],
                "additionalProperties": false,
            },
        ],
        "examples": ["data/words.txt", "template:rw", { "from": "odd:rw", "rw": true }],
    });
    () StdinFile: json_schema!({
        "anyOf": [
            { "type": "string", "minLength": 1 },
            {
                "type": "object",
                "properties": { "text": { "type": "string" } },
                "required": ["text"],
                "additionalProperties": false,
            },
        ],
        "examples": ["words.txt", "{input}", { "text": "hello" }],
    });
    () ForeachFile: json_schema!({
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
            {
                "type": "object",
                "properties": { "lines": { "type": "string" } },
                "required": ["lines"],
                "additionalProperties": false,
            },
        ],
        "examples": ["data/*.csv", ["a/**/*.txt", "b/*.txt"], { "lines": "items.txt" }],
    });
    () OutputsFile: json_schema!({
        "anyOf": [
            { "type": "boolean" },
            { "type": "array", "items": { "type": "string", "minLength": 1 } },
        ],
        "default": false,
        "examples": [true, ["report.txt", "images"]],
    });
}
