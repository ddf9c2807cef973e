//! A stage of a job file: its keys, what they mean, and what of them cannot go together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use weir_proto::{
    countable::{Countables, MAX_COUNT},
    job::{MAX_RETRIES, guest_path_problem},
    limits::Limits,
};

use super::{
    placeholder::{self, Tasks},
    problem::{nearest, quoted},
    reader::{At, Problems, Read, Table, Value, known_keys},
    sources::{ForeachFile, InputFile, ModuleSource, OutputsFile, StdinFile},
    values::{CapabilityWord, Cores, Fuel, Int, MeteringWord, Name, Size, TaskCount, Time},
};

/// A stage: one task, an array of tasks (`count`), or a task for each item (`foreach`), all of one
/// module.
///
/// `{index}` and `{count}` (with `count`), `{input}`, `{input.name}`, `{input.stem}` and `{index}`
/// (with `foreach`) stand for what the task is about in `args` and in the values of `env`; `{{index}}`
/// is the text `{index}`.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Stage")]
pub struct StageFile {
    /// Name of the stage within the job. Default: `main`.
    pub name: Option<Name>,
    /// The Wasm module that each task runs: the path of a `.wasm` file, relative to the job file;
    /// `blake3:DIGEST` of one that is in the store; or `name:NAME` of a name in the store.
    pub module: At<ModuleSource>,
    /// Arguments of the guest, after the name of the program. May hold placeholders.
    #[schemars(default, extend("default" = []))]
    pub args: Vec<String>,
    /// Run this many tasks, 1 to 10,000,000, which see `WEIR_TASK_INDEX` and `WEIR_TASK_COUNT`.
    /// Without `count` and `foreach` the stage is one task.
    pub count: Option<At<TaskCount>>,
    /// Run a task for each of these items: the files that a pattern matches, those of a list of
    /// patterns, or the lines of a file that are not empty. Patterns and the file are relative to the
    /// job file; files come in the order of their paths, and hidden ones only where the pattern says
    /// so.
    pub foreach: Option<At<ForeachFile>>,
    /// What the guest reads in its file system: from a path there, or a NAME that stands for
    /// `/in/NAME`, to a file or directory relative to the job file, `blake3:DIGEST`,
    /// `tree:blake3:DIGEST` or `name:NAME`. With `:rw` at the end, or `rw = true`, each task has a
    /// copy of its own that it may write to.
    #[schemars(default, extend("default" = {}))]
    pub inputs: BTreeMap<String, At<InputFile>>,
    /// What the guest reads from stdin: a file relative to the job file, `blake3:DIGEST` or
    /// `name:NAME`; the text itself as `{ text = "..." }`; or `{input}`, the task's item. Default:
    /// nothing.
    pub stdin: Option<At<StdinFile>>,
    /// Environment variables of the guest; it sees no others. Values may hold placeholders.
    #[schemars(default, extend("default" = {}))]
    pub env: BTreeMap<String, String>,
    /// What the sandbox enforces on each task.
    #[schemars(default, extend("default" = {}))]
    pub limits: LimitsFile,
    /// What each running task takes of an agent.
    #[schemars(default, extend("default" = {}))]
    pub resources: ResourcesFile,
    /// Exit codes besides 0 that are success, each 0 to 255. Default: none.
    #[schemars(default, extend("default" = []))]
    pub success_codes: Vec<Int<0, 255>>,
    /// How often a task that failed is run again, 0 to 100. Default: 0.
    #[schemars(extend("default" = 0))]
    pub retries: Option<Int<0, { MAX_RETRIES as i64 }>>,
    /// Whether a task runs at most once, whatever happens: one that an agent had which was lost is
    /// not run again. Excludes `retries`. Default: false.
    #[schemars(extend("default" = false))]
    pub once: Option<bool>,
    /// Chooses among the random sequences that the guest may see; from 0. Default: 0.
    #[schemars(extend("default" = 0))]
    pub seed: Option<Int<0, { i64::MAX }>>,
    /// What tasks may do beyond computing: `clock` to see the real time and really sleep, `random`
    /// for random numbers that nobody can foresee, `net:HOST:PORT` to reach a host. With any, they
    /// are no pure functions any more.
    /// Default: none.
    #[schemars(default, extend("default" = []))]
    pub capabilities: Vec<CapabilityWord>,
    /// How what tasks use is counted: by `fuel`, each instruction, or by `epoch`, the time that they
    /// take. By epochs inner loops are faster, and tasks are no pure functions: what they have used
    /// differs from run to run. Default: `"fuel"`.
    #[schemars(extend("default" = "fuel"))]
    pub metering: Option<MeteringWord>,
    /// Whether a task that traps leaves a core dump: its memory and its call stack, as a blob.
    /// Default: false.
    #[schemars(extend("default" = false))]
    pub coredump: Option<bool>,
    /// What of the guest's `/out` is kept: all of it, nothing, or what is at these paths beneath it.
    /// With nothing there is no `/out`. Default: false.
    pub outputs: Option<OutputsFile>,
}

/// What the sandbox enforces on each task; a task that exceeds one is stopped.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Limits")]
pub struct LimitsFile {
    /// Most fuel, counted instructions: `"5G"` or a number, above 0. Default: `"100G"`.
    #[schemars(extend("default" = "100G"))]
    pub fuel: Option<Fuel>,
    /// Most memory: `"256MiB"` or a number of bytes, above 0. Default: `"256MiB"`.
    #[schemars(extend("default" = "256MiB"))]
    pub memory: Option<Size>,
    /// Longest run of a task, with its unit: `"30s"`, `"1m30s"`, `"2h"`. Default: `"10m"`.
    #[schemars(extend("default" = "10m"))]
    pub timeout: Option<Time>,
    /// Most bytes on stdout, on stderr and in `/out`, each. Default: `"64MiB"`.
    #[schemars(extend("default" = "64MiB"))]
    pub output: Option<Size>,
    /// Most bytes in `/tmp`. Default: `"64MiB"`.
    #[schemars(extend("default" = "64MiB"))]
    pub scratch: Option<Size>,
}

/// What each running task takes of an agent.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema)]
#[schemars(rename = "Resources", extend("additionalProperties" = {
    "description": "So many of what operators of agents name and count, such as `gpu = 1`.",
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_COUNT,
}))]
pub struct ResourcesFile {
    /// Cores, 0.01 to 1000: `0.5`, `2`, or thousandths as `"500m"`. Default: 1.
    #[schemars(extend("default" = 1))]
    pub cpu: Option<Cores>,
    /// Memory: `"256MiB"` or a number of bytes. Default: that of `limits`.
    pub memory: Option<Size>,
    /// What operators of agents name and count, such as `gpu = 1`.
    #[schemars(skip)]
    pub countables: Countables,
}

impl LimitsFile {
    /// The limits, with the usual ones where the file says nothing.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            fuel: self.fuel.map_or(usual.fuel, |fuel| fuel.0),
            memory_bytes: self.memory.map_or(usual.memory_bytes, |size| size.0),
            timeout_ms: self.timeout.map_or(usual.timeout_ms, |time| time.0),
            output_bytes: self.output.map_or(usual.output_bytes, |size| size.0),
            scratch_bytes: self.scratch.map_or(usual.scratch_bytes, |size| size.0),
        }
    }
}

impl Read for StageFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<StageFile> {
        let mut table = value.table("{ module = \"hello.wasm\" }", problems)?;
        let stage = StageFile::ask(&mut table, problems);
        let (limits, resources) = (known_keys(LimitsFile::ask), known_keys(ResourcesFile::ask));
        let elsewhere = |key: &str| {
            let inside = |keys: &[&str], table| {
                keys.contains(&key).then(|| format!("write it as `{table}.{key}`"))
            };
            inside(&limits, "limits").or_else(|| inside(&resources, "resources"))
        };
        table.finish(elsewhere, problems);
        stage
    }
}

impl StageFile {
    /// Asks a table for every key of a stage.
    pub(super) fn ask(table: &mut Table<'_>, problems: &mut Problems<'_>) -> Option<StageFile> {
        let name = table.optional("name", problems);
        let module = table.required("module", "\"hello.wasm\"", problems);
        let args: Vec<At<String>> = table.optional("args", problems).unwrap_or_default();
        let tasks = tasks_of(table, problems);
        let count = table.optional("count", problems);
        let foreach = table.optional("foreach", problems);
        let Inputs(inputs) = table.optional("inputs", problems).unwrap_or_default();
        let stdin = table.optional("stdin", problems);
        let stdin = stdin.filter(|stdin| check_stdin(stdin, tasks, problems));
        let Variables(env) = table.optional("env", problems).unwrap_or_default();
        for text in args.iter().chain(env.values()) {
            placeholder::check(&text.value, &text.span, tasks, problems);
        }
        let later = "stages that follow each other are not built yet; run each stage as a job of its \
                     own, and hand its outputs on as inputs";
        table.refuse(
            &["after", "gather"],
            |key| format!("`{key}` cannot be used: {later}"),
            problems,
        );
        let not_yet = |key: &str| format!("`{key}` is not built yet; leave it out");
        table.refuse(&["deadline", "ttl"], not_yet, problems);
        let retries = table.optional("retries", problems);
        let once = table.optional("once", problems);
        check_once(table, retries, once, problems);
        Some(StageFile {
            name,
            args: args.into_iter().map(|arg| arg.value).collect(),
            count,
            foreach,
            inputs,
            stdin,
            env: env.into_iter().map(|(name, value)| (name, value.value)).collect(),
            limits: table.optional("limits", problems).unwrap_or_default(),
            resources: table.optional("resources", problems).unwrap_or_default(),
            success_codes: table.optional("success_codes", problems).unwrap_or_default(),
            retries,
            once,
            seed: table.optional("seed", problems),
            capabilities: table.optional("capabilities", problems).unwrap_or_default(),
            metering: table.optional("metering", problems),
            coredump: table.optional("coredump", problems),
            outputs: table.optional("outputs", problems),
            // Last, so that all the others are read without it too, for their problems.
            module: module?,
        })
    }
}

/// What makes the tasks, as the file tries to say it.
fn tasks_of(table: &Table<'_>, problems: &mut Problems<'_>) -> Tasks {
    // A misspelt key is told once, and not again by everything that needs it.
    let place = |key: &'static str| {
        table.place(key).or_else(|| {
            let mut entries = table.entries();
            entries.find(|(_, entry)| nearest(entry.key, &[key]).is_some()).map(|(span, _)| span)
        })
    };
    match (place("count"), place("foreach")) {
        (None, None) => Tasks::One,
        (Some(_), None) => Tasks::Count,
        (None, Some(_)) => Tasks::Foreach,
        (Some(count), Some(foreach)) => {
            let second = if count.start > foreach.start { count } else { foreach };
            let message = "a stage has `count` or `foreach`, not both";
            let hint = "`foreach` makes as many tasks as there are items; leave one of them out";
            problems.error(&second, message, hint);
            Tasks::Foreach
        }
    }
}

/// A task that runs at most once is not run again.
fn check_once(
    table: &Table<'_>,
    retries: Option<Int<0, { MAX_RETRIES as i64 }>>,
    once: Option<bool>,
    problems: &mut Problems<'_>,
) {
    if once != Some(true) || retries.is_none_or(|Int(retries)| retries == 0) {
        return;
    }
    if let (Some(once), Some(retries)) = (table.place("once"), table.place("retries")) {
        let second = if once.start > retries.start { once } else { retries };
        let message = "a task that runs at most once is not run again when it fails";
        let hint = "leave `retries` out, or `once`";
        problems.error(&second, message, hint);
    }
}

/// Whether stdin says a thing that can be; `{input}` is all that may vary in it.
fn check_stdin(stdin: &At<StdinFile>, tasks: Tasks, problems: &mut Problems<'_>) -> bool {
    match &stdin.value {
        StdinFile::Item => placeholder::check("{input}", &stdin.span, tasks, problems),
        StdinFile::Source(source) if placeholder::has_any(&source.to_string()) => {
            let message = "`stdin` can be `{input}`, and cannot hold a placeholder within a path";
            let hint = "make the files the items of `foreach`, and write `stdin = \"{input}\"`";
            problems.error(&stdin.span, message, hint);
            return false;
        }
        StdinFile::Source(_) | StdinFile::Text(_) => {}
    }
    true
}

impl LimitsFile {
    pub(super) fn ask(table: &mut Table<'_>, problems: &mut Problems<'_>) -> LimitsFile {
        LimitsFile {
            fuel: table.optional("fuel", problems),
            memory: table.optional("memory", problems),
            timeout: table.optional("timeout", problems),
            output: table.optional("output", problems),
            scratch: table.optional("scratch", problems),
        }
    }
}

impl Read for LimitsFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<LimitsFile> {
        let mut table = value.table("{ fuel = \"5G\", memory = \"256MiB\" }", problems)?;
        let limits = LimitsFile::ask(&mut table, problems);
        table.finish(|_| None, problems);
        Some(limits)
    }
}

impl ResourcesFile {
    pub(super) fn ask(table: &mut Table<'_>, problems: &mut Problems<'_>) -> ResourcesFile {
        ResourcesFile {
            cpu: table.optional("cpu", problems),
            memory: table.optional("memory", problems),
            countables: Countables::new(),
        }
    }
}

impl Read for ResourcesFile {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<ResourcesFile> {
        let mut table = value.table("{ cpu = 0.5, memory = \"256MiB\" }", problems)?;
        let mut resources = ResourcesFile::ask(&mut table, problems);
        resources.countables = countables(&table, problems);
        Some(resources)
    }
}

/// What has a name of the operators' choice: every key that is not one of ours.
fn countables(table: &Table<'_>, problems: &mut Problems<'_>) -> Countables {
    let mut countables = Countables::new();
    for (span, entry) in table.entries() {
        let key = entry.key;
        if table.known.contains(&key) {
            continue;
        }
        if let Some(meant) = misspelt(key) {
            let message = format!("unknown key {}", entry.called());
            problems.error(&span, message, format!("did you mean `{meant}`?"));
            continue;
        }
        let Some(count) = entry.integer(1..=i128::from(MAX_COUNT), "1", problems) else { continue };
        if let Err(malformed) = countables.insert(key, count as u32) {
            let hint = "leave it out, or give it the name that the agents' operators gave it";
            problems.error(&span, malformed.to_string(), hint);
        }
    }
    countables
}

/// Which key of ours was meant. `gpu` and `tpu` are one letter from `cpu`, and are not meant for it.
fn misspelt(key: &str) -> Option<&'static str> {
    match key {
        key if key.starts_with("cpu") || key == "cores" => Some("cpu"),
        key if key.starts_with("mem") => Some("memory"),
        key => nearest(key, &["memory"]),
    }
}

/// `inputs`, by the guest's path.
#[derive(Default)]
struct Inputs(BTreeMap<String, At<InputFile>>);

impl Read for Inputs {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Inputs> {
        let table = value.table("{ words = \"data/words.txt\" }", problems)?;
        let mut inputs: BTreeMap<String, At<InputFile>> = BTreeMap::new();
        for (key_span, entry) in table.entries() {
            let input = InputFile::read(&entry, problems);
            let path = match entry.key {
                path if path.starts_with('/') => path.to_owned(),
                name => format!("/in/{name}"),
            };
            if let Some(why) = guest_path_problem(&path) {
                let message = why.split("; ").next().unwrap_or_default();
                let hint = "write a NAME, which is `/in/NAME`, or an absolute path in the guest";
                problems.error(&key_span, message, hint);
                continue;
            }
            if let Some(other) = overlapping(&inputs, &path) {
                let message = format!("inputs {} and {} overlap", quoted(other), quoted(&path));
                problems.error(&key_span, message, "give each input a path that is in no other");
                continue;
            }
            if let Some(value) = input {
                inputs.insert(path, At { value, span: entry.span.clone() });
            }
        }
        Some(Inputs(inputs))
    }
}

/// An input that is at this path, above it or beneath it.
fn overlapping<'i, T>(inputs: &'i BTreeMap<String, T>, path: &str) -> Option<&'i str> {
    let above = path.match_indices('/').skip(1).map(|(end, _)| &path[..end]);
    let mut at_or_above = ["/"].into_iter().chain(above).chain([path]);
    if let Some((found, _)) = at_or_above.find_map(|path| inputs.get_key_value(path)) {
        return Some(found);
    }
    let beneath = format!("{}/", path.trim_end_matches('/'));
    let (next, _) = inputs.range(beneath.clone()..).next()?;
    next.starts_with(&beneath).then_some(next)
}

/// `env`, by name.
#[derive(Default)]
struct Variables(BTreeMap<String, At<String>>);

impl Read for Variables {
    fn read(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Variables> {
        let table = value.table("{ LANG = \"C\" }", problems)?;
        let mut variables = BTreeMap::new();
        for (key_span, entry) in table.entries() {
            if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
                let message = format!("{} cannot be the name of a variable", entry.called());
                problems.error(&key_span, message, "a name is not empty and has no `=`");
            }
            if let Some(value) = At::<String>::read(&entry, problems) {
                variables.insert(entry.key.to_owned(), value);
            }
        }
        Some(Variables(variables))
    }
}
