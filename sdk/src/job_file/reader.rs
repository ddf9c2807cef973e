//! Reading TOML with everything that is wrong collected on the way.
//!
//! A [`Table`] remembers what it was asked for, so which keys are valid is written down once: where
//! they are read. What the keys mean is in `stage.rs` and `values.rs`.

use std::{borrow::Cow, ops::Range};

use schemars::JsonSchema;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use weir_proto::units;

use super::problem::{Problem, listed, nearest, quoted};

/// A value and the bytes of the file that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it is in the file.
    pub span: Range<usize>,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// Most problems that are kept: a file of one mebibyte can have a million.
const MAX_PROBLEMS: usize = 1000;

/// What is wrong so far, and the file it is about.
#[derive(Debug)]
pub(super) struct Problems<'s> {
    /// The whole file.
    pub(super) text: &'s str,
    /// In order of discovery, at most `MAX_PROBLEMS`.
    found: Vec<Problem>,
}

impl<'s> Problems<'s> {
    pub(super) fn of(text: &'s str) -> Problems<'s> {
        Problems { text, found: Vec::new() }
    }

    /// Whether there is no room for another.
    pub(super) fn full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if !self.full() {
            self.found.push(problem);
        }
    }

    /// All of them in the order of the file.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.span.start, problem.span.end));
        self.found
    }

    pub(super) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) {
        self.push(Problem::error(span.clone(), message).hint(hint));
    }

    /// Where a part of a string is in the file; all of the string where escapes hide it.
    pub(super) fn part(&self, span: &Range<usize>, part: &str) -> Range<usize> {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let mut places = written.match_indices(part);
        match (places.next(), places.next()) {
            (Some((at, _)), None) => span.start + at..span.start + at + part.len(),
            _ => span.clone(),
        }
    }
}

/// What can be read from a TOML value.
pub(super) trait Read: Sized {
    /// How a list of such values is written.
    const LIST: &'static str = "[\"a\", \"b\"]";

    /// Reads it, or tells what is wrong with it.
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Self>;
}

/// A value in the file, and what to call it.
#[derive(Debug, Clone)]
pub(super) struct Value<'t> {
    /// What stands before its key in messages: ``, `limits.`.
    prefix: String,
    /// Its key; of an element that of its array.
    pub(super) key: &'t str,
    /// Whether it is an element of the array of that name.
    element: bool,
    /// What it is.
    pub(super) toml: &'t DeValue<'t>,
    /// Where it is.
    pub(super) span: Range<usize>,
}

impl<'t> Value<'t> {
    /// What a message calls it.
    pub(super) fn called(&self) -> String {
        let name = quoted(&format!("{}{}", self.prefix, key_written(self.key)));
        if self.element { format!("an element of {name}") } else { name }
    }

    /// How it would be written in the file with this value.
    pub(super) fn written(&self, example: &str) -> String {
        if self.element || self.key.len() > 40 {
            format!("`{example}`")
        } else {
            format!("`{} = {example}`", key_written(self.key))
        }
    }

    /// Tells that it has the wrong type.
    pub(super) fn not(&self, wanted: &str, example: &str, problems: &mut Problems<'_>) {
        let found = type_of(self.toml);
        let message = format!("{} is {found}; it must be {wanted}", self.called());
        let hint = match as_string(self.toml).filter(|_| wanted == "a string") {
            Some(quoted_value) => format!("put it in quotes: {}", self.written(&quoted_value)),
            None => format!("write it like {}", self.written(example)),
        };
        problems.error(&self.span, message, hint);
    }

    pub(super) fn string(&self, example: &str, problems: &mut Problems<'_>) -> Option<&'t str> {
        let text = self.toml.as_str();
        if text.is_none() {
            self.not("a string", example, problems);
        }
        text
    }

    /// An integer in a range.
    pub(super) fn integer(
        &self,
        range: std::ops::RangeInclusive<i128>,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<i128> {
        let Some(integer) = self.toml.as_integer() else {
            self.not("an integer", example, problems);
            return None;
        };
        let digits = integer.as_str().replace('_', "");
        let number = i128::from_str_radix(&digits, integer.radix()).ok();
        if number.is_none_or(|number| !range.contains(&number)) {
            let (least, most) = (grouped(*range.start()), grouped(*range.end()));
            let found = quoted(self.toml_text(problems));
            let message = format!("{} is {found}; it must be {least} to {most}", self.called());
            problems.push(Problem::error(self.span.clone(), message));
            return None;
        }
        number
    }

    /// The value as the file has it.
    fn toml_text<'p>(&self, problems: &Problems<'p>) -> &'p str {
        problems.text.get(self.span.clone()).unwrap_or_default()
    }

    /// The elements of an array.
    pub(super) fn elements(
        &self,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<Value<'t>>> {
        let Some(array) = self.toml.as_array() else {
            self.not("a list", example, problems);
            return None;
        };
        let elements = array.iter().map(|element| Value {
            prefix: self.prefix.clone(),
            key: self.key,
            element: true,
            toml: element.get_ref(),
            span: element.span(),
        });
        Some(elements.collect())
    }

    /// The table that it is.
    pub(super) fn table(&self, example: &str, problems: &mut Problems<'_>) -> Option<Table<'t>> {
        let Some(entries) = self.toml.as_table() else {
            self.not("a table", example, problems);
            return None;
        };
        Some(Table::new(
            format!("{}{}.", self.prefix, key_written(self.key)),
            entries,
            self.span.clone(),
        ))
    }
}

/// A list; what cannot be read is told and left out.
impl<T: Read> Read for Vec<T> {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Vec<T>> {
        let elements = value.elements(T::LIST, problems)?;
        Some(elements.iter().filter_map(|element| T::read(element, problems)).collect())
    }
}

impl Read for String {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<String> {
        value.string("\"text\"", problems).map(str::to_owned)
    }
}

impl<T: Read> Read for At<T> {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<At<T>> {
        Some(At { value: T::read(value, problems)?, span: value.span.clone() })
    }
}

/// A table of the file, and which keys it was asked for.
#[derive(Debug)]
pub(super) struct Table<'t> {
    prefix: String,
    entries: &'t DeTable<'t>,
    /// Where its header or its braces are.
    pub(super) span: Range<usize>,
    /// The keys that mean something here, in the order of the questions.
    pub(super) known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// A table whose keys messages call by `prefix` and key.
    pub(super) fn new(prefix: String, entries: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
        Table { prefix, entries, span, known: Vec::new(), refused: Vec::new() }
    }

    /// Its entries, each with the place of its key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Range<usize>, Value<'t>)> + '_ {
        self.entries.iter().map(|(key, value)| (key.span(), self.value(key.get_ref(), value)))
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        Some(self.value(key, self.entries.get(key)?))
    }

    fn value(&self, key: &'t str, value: &'t Spanned<DeValue<'t>>) -> Value<'t> {
        let prefix = self.prefix.clone();
        Value { prefix, key, element: false, toml: value.get_ref(), span: value.span() }
    }

    /// What a key says, if it is there and can be read.
    pub(super) fn optional<T: Read>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        T::read(&self.get(key)?, problems)
    }

    /// What a key says, which must be there.
    pub(super) fn required<T: Read>(
        &mut self,
        key: &'static str,
        example: &str,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let Some(value) = self.get(key) else {
            let message = format!("`{}{key}` is missing", self.prefix);
            problems.error(&self.span, message, format!("add a line like `{key} = {example}`"));
            return None;
        };
        T::read(&value, problems)
    }

    /// Tells about keys that are understood and cannot be used.
    pub(super) fn refuse(
        &mut self,
        keys: &[&'static str],
        message: impl Fn(&str) -> String,
        problems: &mut Problems<'_>,
    ) {
        for key in keys {
            self.refused.push(key);
            if let Some((written, _)) = self.entries.get_key_value(*key) {
                let message = message(key);
                let (message, hint) =
                    message.split_once("; ").unwrap_or((&message, "leave it out"));
                problems.error(&written.span(), message, hint);
            }
        }
    }

    /// Where a key is written, if it is.
    pub(super) fn place(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get_key_value(key).map(|(key, _)| key.span())
    }

    /// Tells which keys nobody asked for; `elsewhere` knows where a key would be valid.
    pub(super) fn finish(
        self,
        elsewhere: impl Fn(&str) -> Option<String>,
        problems: &mut Problems<'_>,
    ) {
        for (span, value) in self.entries() {
            if problems.full() {
                return;
            }
            let key = value.key;
            if self.known.contains(&key) || self.refused.contains(&key) {
                continue;
            }
            let hint = elsewhere(key)
                .or_else(|| Some(format!("did you mean `{}`?", nearest(key, &self.known)?)))
                .unwrap_or_else(|| format!("the keys here are {}", listed(&self.known)));
            problems.error(&span, format!("unknown key {}", value.called()), hint);
        }
    }
}

/// The keys that something asks a table for.
pub(super) fn known_keys<T>(
    ask: impl FnOnce(&mut Table<'_>, &mut Problems<'_>) -> T,
) -> Vec<&'static str> {
    let empty = DeTable::new();
    let mut table = Table::new(String::new(), &empty, 0..0);
    ask(&mut table, &mut Problems::of(""));
    table.known
}

/// A key as the file has it: in quotes where it is not of letters, digits, `-` and `_`.
fn key_written(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("\"{key}\""))
    }
}

/// A number with its thousands apart, as TOML allows it.
fn grouped(number: i128) -> String {
    let magnitude = u64::try_from(number.unsigned_abs()).map(units::grouped);
    let digits =
        magnitude.map_or_else(|_| number.unsigned_abs().to_string(), |n| n.replace(',', "_"));
    if number < 0 { format!("-{digits}") } else { digits }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(true) => "`true`",
        DeValue::Boolean(false) => "`false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A plain value as the string that was probably meant.
fn as_string(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(number) => Some(format!("\"{number}\"")),
        DeValue::Float(number) => Some(format!("\"{number}\"")),
        DeValue::Boolean(truth) => Some(format!("\"{truth}\"")),
        DeValue::Datetime(time) => Some(format!("\"{time}\"")),
        DeValue::String(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
