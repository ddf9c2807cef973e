//! The functions that tables can call: where each is imported from, what it takes and what it gives.

use std::fmt::Write as _;

/// A function as a component imports it.
#[derive(Debug)]
pub(crate) struct Function {
    /// The instance that it is imported with, as `PRELUDE` names it.
    instance: &'static str,
    /// What the WASI documents call it; of a resource that is dropped, its type.
    name: &'static str,
    /// What tables call it.
    pub(crate) word: &'static str,
    pub(crate) takes: &'static [Takes],
    pub(crate) gives: Gives,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Descriptor,
    Listing,
    Input,
    Output,
    Error,
    Text,
    Bytes,
    Number,
    PathFlags,
    OpenFlags,
    DescriptorFlags,
    Advice,
    Time,
}

/// What a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// Nothing: a handle is dropped.
    Nothing,
    /// A handle, of a resource of this type.
    Handle(&'static str),
    Bool,
    Text,
    /// An `error-code`, or none.
    MaybeCode,
    /// Directories with their names.
    Directories,
    /// A value or an `error-code`.
    OrCode(Value),
    /// A value or a `stream-error`.
    OrStreamError(Value),
}

/// What a function answers that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Number,
    Bytes,
    BytesAndEnd,
    Text,
    Flags,
    Type,
    Stat,
    Hash,
    Entry,
    Handle(&'static str),
}

use Gives::{OrCode, OrStreamError};
use Takes::{Descriptor, Input, Number, Output, PathFlags};

const fn function(
    instance: &'static str,
    (name, word): (&'static str, &'static str),
    takes: &'static [Takes],
    gives: Gives,
) -> Function {
    Function { instance, name, word, takes, gives }
}

macro_rules! method {
    ($instance:literal, $resource:literal, $name:literal, $word:expr, $takes:expr, $gives:expr) => {
        function($instance, (concat!("[method]", $resource, ".", $name), $word), $takes, $gives)
    };
}

/// A function on a descriptor, which can fail with an `error-code`.
macro_rules! descriptor {
    ($name:literal, [$($takes:expr),*] -> $value:expr) => {
        method!("types", "descriptor", $name, $name, &[Descriptor, $($takes),*], OrCode($value))
    };
}

/// A function on an `input-stream`.
macro_rules! input {
    ($name:literal -> $value:expr) => {
        method!(
            "streams",
            "input-stream",
            $name,
            concat!("input.", $name),
            &[Input, Number],
            OrStreamError($value)
        )
    };
}

/// A function on an `output-stream`.
macro_rules! output {
    ($name:literal, [$($takes:expr),*] -> $value:expr) => {
        method!("streams", "output-stream", $name, concat!("output.", $name),
            &[Output, $($takes),*], OrStreamError($value))
    };
}

const fn dropping(resource: &'static str, word: &'static str, takes: &'static [Takes]) -> Function {
    function("", (resource, word), takes, Gives::Nothing)
}

/// All of them, in the order of the WASI documents.
pub(crate) const FUNCTIONS: &[Function] = &[
    function("preopens", ("get-directories", "get-directories"), &[], Gives::Directories),
    descriptor!("read-via-stream", [Number] -> Value::Handle("input")),
    descriptor!("write-via-stream", [Number] -> Value::Handle("output")),
    descriptor!("append-via-stream", [] -> Value::Handle("output")),
    descriptor!("advise", [Number, Number, Takes::Advice] -> Value::Nothing),
    descriptor!("sync-data", [] -> Value::Nothing),
    descriptor!("get-flags", [] -> Value::Flags),
    descriptor!("get-type", [] -> Value::Type),
    descriptor!("set-size", [Number] -> Value::Nothing),
    descriptor!("set-times", [Takes::Time, Takes::Time] -> Value::Nothing),
    descriptor!("read", [Number, Number] -> Value::BytesAndEnd),
    descriptor!("write", [Takes::Bytes, Number] -> Value::Number),
    descriptor!("read-directory", [] -> Value::Handle("listing")),
    descriptor!("sync", [] -> Value::Nothing),
    descriptor!("create-directory-at", [Takes::Text] -> Value::Nothing),
    descriptor!("stat", [] -> Value::Stat),
    descriptor!("stat-at", [PathFlags, Takes::Text] -> Value::Stat),
    descriptor!("set-times-at", [PathFlags, Takes::Text, Takes::Time, Takes::Time] -> Value::Nothing),
    descriptor!("link-at", [PathFlags, Takes::Text, Descriptor, Takes::Text] -> Value::Nothing),
    descriptor!("open-at", [PathFlags, Takes::Text, Takes::OpenFlags, Takes::DescriptorFlags]
        -> Value::Handle("descriptor")),
    descriptor!("readlink-at", [Takes::Text] -> Value::Text),
    descriptor!("remove-directory-at", [Takes::Text] -> Value::Nothing),
    descriptor!("rename-at", [Takes::Text, Descriptor, Takes::Text] -> Value::Nothing),
    descriptor!("symlink-at", [Takes::Text, Takes::Text] -> Value::Nothing),
    descriptor!("unlink-file-at", [Takes::Text] -> Value::Nothing),
    method!(
        "types",
        "descriptor",
        "is-same-object",
        "is-same-object",
        &[Descriptor, Descriptor],
        Gives::Bool
    ),
    descriptor!("metadata-hash", [] -> Value::Hash),
    descriptor!("metadata-hash-at", [PathFlags, Takes::Text] -> Value::Hash),
    dropping("descriptor", "drop-descriptor", &[Descriptor]),
    method!(
        "types",
        "directory-entry-stream",
        "read-directory-entry",
        "read-directory-entry",
        &[Takes::Listing],
        OrCode(Value::Entry)
    ),
    dropping("listing", "drop-listing", &[Takes::Listing]),
    function(
        "types",
        ("filesystem-error-code", "filesystem-error-code"),
        &[Takes::Error],
        Gives::MaybeCode,
    ),
    function(
        "error",
        ("[method]error.to-debug-string", "to-debug-string"),
        &[Takes::Error],
        Gives::Text,
    ),
    dropping("error", "drop-error", &[Takes::Error]),
    input!("read" -> Value::Bytes),
    input!("blocking-read" -> Value::Bytes),
    input!("skip" -> Value::Number),
    input!("blocking-skip" -> Value::Number),
    dropping("input", "drop-input", &[Input]),
    output!("check-write", [] -> Value::Number),
    output!("write", [Takes::Bytes] -> Value::Nothing),
    output!("blocking-write-and-flush", [Takes::Bytes] -> Value::Nothing),
    output!("flush", [] -> Value::Nothing),
    output!("blocking-flush", [] -> Value::Nothing),
    output!("write-zeroes", [Number] -> Value::Nothing),
    output!("blocking-write-zeroes-and-flush", [Number] -> Value::Nothing),
    output!("splice", [Input, Number] -> Value::Number),
    output!("blocking-splice", [Input, Number] -> Value::Number),
    dropping("output", "drop-output", &[Output]),
    function("stdin", ("get-stdin", "get-stdin"), &[], Gives::Handle("input")),
    function("stdout", ("get-stdout", "get-stdout"), &[], Gives::Handle("output")),
    function("stderr", ("get-stderr", "get-stderr"), &[], Gives::Handle("output")),
];

impl Takes {
    /// The type in an instance's text.
    fn ty(self) -> &'static str {
        match self {
            Descriptor => "(borrow $descriptor)",
            Takes::Listing => "(borrow $listing)",
            Input => "(borrow $input)",
            Output => "(borrow $output)",
            Takes::Error => "(borrow $error)",
            Takes::Text => "string",
            Takes::Bytes => "(list u8)",
            Number => "u64",
            PathFlags => "$path-flags",
            Takes::OpenFlags => "$open-flags",
            Takes::DescriptorFlags => "$descriptor-flags",
            Takes::Advice => "$advice",
            Takes::Time => "$new-timestamp",
        }
    }

    /// What it is to a core module.
    fn core(self) -> &'static [&'static str] {
        match self {
            Takes::Text | Takes::Bytes => &["i32", "i32"],
            Number => &["i64"],
            Takes::Time => &["i32", "i64", "i32"],
            _ => &["i32"],
        }
    }
}

impl Value {
    fn ty(self) -> String {
        match self {
            Value::Nothing => String::new(),
            Value::Number => "u64".to_owned(),
            Value::Bytes => "(list u8)".to_owned(),
            Value::BytesAndEnd => "(tuple (list u8) bool)".to_owned(),
            Value::Text => "string".to_owned(),
            Value::Flags => "$descriptor-flags".to_owned(),
            Value::Type => "$descriptor-type".to_owned(),
            Value::Stat => "$descriptor-stat".to_owned(),
            Value::Hash => "$metadata-hash-value".to_owned(),
            Value::Entry => "(option $directory-entry)".to_owned(),
            Value::Handle(resource) => format!("(own ${resource})"),
        }
    }
}

impl Gives {
    fn ty(self) -> String {
        match self {
            Gives::Nothing => String::new(),
            Gives::Handle(resource) => format!("(own ${resource})"),
            Gives::Bool => "bool".to_owned(),
            Gives::Text => "string".to_owned(),
            Gives::MaybeCode => "(option $error-code)".to_owned(),
            Gives::Directories => "(list (tuple (own $descriptor) string))".to_owned(),
            OrCode(value) => format!("(result {} (error $error-code))", value.ty()),
            OrStreamError(value) => format!("(result {} (error $stream-error))", value.ty()),
        }
    }
}

impl Function {
    /// The function that tables call by a word.
    pub(crate) fn of(word: &str) -> Option<(usize, &'static Function)> {
        FUNCTIONS.iter().enumerate().find(|(_, function)| function.word == word)
    }

    /// Whether the answer comes back as it is, and not in memory.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.gives, Gives::Handle(_) | Gives::Bool)
    }

    fn is_drop(&self) -> bool {
        self.instance.is_empty()
    }

    /// The types of the core function's parameters, that for the answer's place included.
    pub(crate) fn core_params(&self) -> Vec<&'static str> {
        let mut params: Vec<_> =
            self.takes.iter().flat_map(|takes| takes.core()).copied().collect();
        if !self.is_direct() && !self.is_drop() {
            params.push("i32");
        }
        params
    }

    /// As an export of an imported instance.
    fn export(&self) -> String {
        let mut params = String::new();
        for (number, takes) in self.takes.iter().enumerate() {
            let name = match number {
                0 if self.name.starts_with("[method]") => "self".to_owned(),
                _ => format!("p{number}"),
            };
            let _ = write!(params, "(param \"{name}\" {}) ", takes.ty());
        }
        format!("(export \"{}\" (func {params}(result {})))\n", self.name, self.gives.ty())
    }

    /// Makes a core function of it, called `$f` and its number.
    pub(crate) fn lowered(&self, number: usize) -> String {
        let (instance, name) = (self.instance, self.name);
        if self.is_drop() {
            return format!("(core func $f{number} (canon resource.drop ${name}))\n");
        }
        format!(
            "(core func $f{number} (canon lower (func ${instance} \"{name}\")
                (memory (core memory $libc \"memory\")) (realloc (core func $libc \"realloc\"))))\n"
        )
    }
}

/// What an instance exports of `FUNCTIONS`.
pub(crate) fn exports(instance: &str) -> String {
    let of_it = FUNCTIONS.iter().filter(|function| function.instance == instance);
    of_it.map(Function::export).collect()
}
