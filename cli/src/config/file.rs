//! The user's file of settings: where it is, what it says, and what is wrong in it.

use std::{
    ffi::OsString,
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Key, Problem};

/// Most bytes that are read of it; one of every key takes some hundred.
const MAX_BYTES: u64 = 64 * 1024;
/// A misspelt key has at most so many letters too few, too many, other or swapped.
const MAX_MISSPELT: usize = 2;

/// A file, or the place where one would be.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it says, if it is there and can be read.
    pub(crate) text: Option<String>,
    /// The known keys in it.
    pub(crate) entries: Vec<Entry>,
    /// What is wrong in it, in its order.
    pub(crate) problems: Vec<Problem>,
}

/// A known key and its value, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Which.
    pub(crate) key: Key,
    /// The text of a string; `true` or `false`.
    pub(crate) value: String,
    /// Where the value is in the text.
    pub(crate) span: Range<usize>,
    /// The line of the value, from 1.
    pub(crate) line: usize,
    /// Its column, in characters from 1.
    pub(crate) column: usize,
}

/// Where the file is: what WEIR_CONFIG names, or the usual place for such files.
pub(super) fn path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(path) = variable("WEIR_CONFIG") {
        return Some(PathBuf::from(path));
    }
    // The XDG specification says that a relative path is to be ignored.
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("weir/config.toml"))
}

impl ConfigFile {
    /// Reads what is there. No file is as good as an empty one.
    pub(super) fn read(path: PathBuf) -> ConfigFile {
        let whole = |message: String| Problem { place: path.display().to_string(), message };
        match read_text(&path) {
            Ok(Some(text)) => ConfigFile::parse(path, text),
            Ok(None) => ConfigFile { path, text: None, entries: Vec::new(), problems: Vec::new() },
            Err(message) => {
                let problems = vec![whole(message)];
                ConfigFile { path, text: None, entries: Vec::new(), problems }
            }
        }
    }

    /// Takes every key that can be understood, and tells every one that cannot.
    pub(super) fn parse(path: PathBuf, text: String) -> ConfigFile {
        let mut file = ConfigFile { path, text: None, entries: Vec::new(), problems: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(&text);
        let mut found: Vec<(usize, String)> = errors
            .iter()
            .map(|error| (error.span().map_or(0, |span| span.start), error.message().to_owned()))
            .collect();
        for (name, value) in table.get_ref() {
            match entry(name.get_ref(), value) {
                Ok((key, value_text)) => {
                    let (line, column) = position(&text, value.span().start);
                    let span = value.span();
                    file.entries.push(Entry { key, value: value_text, span, line, column });
                }
                // A syntax error leaves pieces behind that would only be told twice.
                Err(_) if found.iter().any(|(at, _)| same_line(&text, *at, name.span().start)) => {}
                Err((true, message)) => found.push((name.span().start, message)),
                Err((false, message)) => found.push((value.span().start, message)),
            }
        }
        found.sort();
        for (at, message) in found {
            let (line, column) = position(&text, at);
            let place = file.place(line, column);
            file.problems.push(Problem { place, message: message.replace('\n', ", ") });
        }
        file.entries.sort_by_key(|entry| entry.span.start);
        file.text = Some(text);
        file
    }

    /// A place in it, as editors and compilers write it.
    pub(super) fn place(&self, line: usize, column: usize) -> String {
        format!("{}:{line}:{column}", self.path.display())
    }
}

/// The text of a file, none where no file is; or why it cannot be had.
fn read_text(path: &Path) -> Result<Option<String>, String> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read it: {error}")),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes; is it a file of settings?"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        format!("it is not UTF-8, from byte {} on", error.utf8_error().valid_up_to())
    })?;
    Ok(Some(text))
}

/// A key and its value as text; or whether the key is at fault, and what is wrong.
fn entry(name: &str, value: &Spanned<DeValue<'_>>) -> Result<(Key, String), (bool, String)> {
    let key = Key::from_str(name, false).map_err(|_| (true, unknown(name)))?;
    match (key, value.get_ref()) {
        (Key::Quiet, DeValue::Boolean(value)) => Ok((key, value.to_string())),
        (Key::Quiet, other) => {
            let is = other.type_str();
            Err((
                false,
                format!(
                    "`{name}` is true or false, without quotes, but this is {} {is}",
                    article(is)
                ),
            ))
        }
        (_, DeValue::String(value)) => Ok((key, value.to_string())),
        (_, other) => {
            let is = other.type_str();
            Err((false, format!("`{name}` is text in quotes, but this is {} {is}", article(is))))
        }
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn unknown(name: &str) -> String {
    let near = Key::ALL.map(|key| (strsim::damerau_levenshtein(name, key.name()), key.name()));
    match near.into_iter().min() {
        Some((distance, near)) if distance <= MAX_MISSPELT => {
            format!("there is no key {name:?}; did you mean `{near}`?")
        }
        _ => {
            let names = Key::ALL.map(Key::name).join(", ");
            format!("there is no key {name:?}; there are {names}")
        }
    }
}

/// Line and column of a byte, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

fn same_line(text: &str, a: usize, b: usize) -> bool {
    position(text, a).0 == position(text, b).0
}
