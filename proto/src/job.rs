//! What a client asks for: a job of stages, each an array of tasks that run one module.

use crate::{
    capability::{Capabilities, Capability, MAX_CAPABILITIES},
    digest::Digest,
    id::Namespace,
    limits::{Limits, Resources},
    malformed::{Malformed, required},
    manifest::ITEM_DIR,
    metering::Metering,
    text::plain,
    wire,
};

/// Most tasks in one stage's array.
pub const MAX_TASKS: u32 = 10_000_000;
/// Most bytes of a job's encoded spec: it is in the log, in state and in every lease.
pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// Longest name of a job or stage, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest path of an input in the guest's file system, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// How often a task may be run again at most.
pub const MAX_RETRIES: u32 = 100;
/// A job's priority is from `-MAX_PRIORITY` to `MAX_PRIORITY`.
pub const MAX_PRIORITY: i32 = 100;
/// Where the guest's own directories are; an input can be at none of these paths, nor beneath.
pub const RESERVED_PATHS: [&str; 3] = ["/out", "/tmp", ITEM_DIR];

/// A job as a client submits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// For people; need not be unique.
    pub name: String,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// Its stages; exactly one until stages can follow each other.
    pub stages: Vec<StageSpec>,
    /// Within its namespace, whose tasks go first: -100 to 100, higher ones before lower ones.
    pub priority: i32,
}

/// An array of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSpec {
    /// Its name within the job.
    pub name: String,
    /// The Wasm module that each task runs.
    pub module: Digest,
    /// Arguments after `argv[0]`, with placeholders for what differs between tasks
    /// ([`crate::template`]).
    pub args: Vec<String>,
    /// The environment, in order; values as `args`.
    pub env: Vec<(String, String)>,
    /// What the guest reads from stdin.
    pub stdin: Stdin,
    /// What the guest sees in its file system.
    pub inputs: Vec<Input>,
    /// How many tasks, 1 to `MAX_TASKS`.
    pub count: u32,
    /// What tells its tasks apart.
    pub kind: TaskKind,
    /// What the sandbox enforces on each attempt.
    pub limits: Limits,
    /// What placement counts for each running task.
    pub resources: Resources,
    /// Exit codes besides 0 that are success.
    pub success_codes: Vec<i32>,
    /// How often a task that fails is run again, 0 to `MAX_RETRIES`.
    pub retries: u32,
    /// What is kept of `/out`.
    pub keep: Keep,
    /// Chooses among the random sequences the guest may see.
    pub seed: u64,
    /// What its tasks may do beyond computing; with none, and metered by fuel, they are pure.
    pub capabilities: Capabilities,
    /// How what its tasks use of a core is counted.
    pub metering: Metering,
    /// Whether a task that traps leaves a core dump.
    pub coredump: bool,
    /// Whether a task runs at most once: one that began on an agent which was then lost ends so, and
    /// is not run again.
    pub once: bool,
}

/// What tells the tasks of a stage apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// Nothing: they all see the same. Placeholders are not replaced.
    Plain,
    /// Their index: tasks see `WEIR_TASK_INDEX` and `WEIR_TASK_COUNT`.
    Array,
    /// Each has an item of a [`crate::manifest::Manifest`], and sees nothing of the others.
    Foreach {
        /// The manifest's digest.
        manifest: Digest,
    },
}

/// What a guest reads from stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// A blob.
    Blob(Digest),
    /// The task's item: the file's bytes, or the line with its end. Only of `Foreach`.
    Item,
}

/// What is kept of what a guest leaves in `/out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// The guest has no `/out`.
    Nothing,
    /// All of it.
    Out,
    /// Only these paths beneath it, and what is beneath them.
    Paths(Vec<String>),
}

/// A blob or tree at an absolute path in the guest's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where the guest sees it, such as `/in/NAME`.
    pub path: String,
    /// What is there.
    pub source: InputSource,
    /// Whether each task has a copy of its own, which it may change; nothing of that is kept.
    pub writable: bool,
}

/// What an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputSource {
    /// A file.
    Blob(Digest),
    /// A directory.
    Tree(Digest),
}

impl std::fmt::Display for InputSource {
    /// As people write it: `blake3:...` of a blob, `tree:blake3:...` of a tree.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InputSource::Blob(digest) => write!(f, "{digest}"),
            InputSource::Tree(digest) => write!(f, "tree:{digest}"),
        }
    }
}

impl InputSource {
    /// The digest of the blob or of the tree's encoding.
    pub fn digest(self) -> Digest {
        match self {
            InputSource::Blob(digest) | InputSource::Tree(digest) => digest,
        }
    }
}

/// Everything that is wrong with a job spec, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct SpecProblems(pub Vec<String>);

impl From<Malformed> for SpecProblems {
    fn from(malformed: Malformed) -> SpecProblems {
        SpecProblems(vec![malformed.to_string()])
    }
}

impl StageSpec {
    /// One task that runs a module: no arguments, no data, the usual limits.
    pub fn new(name: impl Into<String>, module: Digest) -> StageSpec {
        let limits = Limits::default();
        StageSpec {
            name: name.into(),
            module,
            args: Vec::new(),
            env: Vec::new(),
            stdin: Stdin::Empty,
            inputs: Vec::new(),
            count: 1,
            kind: TaskKind::Plain,
            limits,
            resources: Resources::new(1000, limits.memory_bytes),
            success_codes: Vec::new(),
            retries: 0,
            keep: Keep::Nothing,
            seed: 0,
            capabilities: Capabilities::new(),
            metering: Metering::default(),
            coredump: false,
            once: false,
        }
    }

    /// Digests that must be in the store before a task can run; those of items are in the manifest.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        let stdin = match self.stdin {
            Stdin::Blob(digest) => Some(digest),
            Stdin::Empty | Stdin::Item => None,
        };
        let manifest = match self.kind {
            TaskKind::Foreach { manifest } => Some(manifest),
            TaskKind::Plain | TaskKind::Array => None,
        };
        let inputs = self.inputs.iter().map(|input| input.source.digest());
        [self.module].into_iter().chain(stdin).chain(manifest).chain(inputs)
    }

    /// Whether its tasks are told apart, so that what they write is.
    pub fn is_array(&self) -> bool {
        self.kind != TaskKind::Plain
    }

    /// Whether its tasks are functions of what they are given: the same wherever and however often
    /// they run.
    pub fn is_pure(&self) -> bool {
        self.capabilities.is_empty() && self.metering == Metering::Fuel
    }
}

impl From<JobSpec> for wire::JobSpec {
    fn from(spec: JobSpec) -> wire::JobSpec {
        wire::JobSpec {
            name: spec.name,
            namespace: spec.namespace.as_str().to_owned(),
            stages: spec.stages.into_iter().map(wire::StageSpec::from).collect(),
            priority: spec.priority,
        }
    }
}

impl From<StageSpec> for wire::StageSpec {
    fn from(spec: StageSpec) -> wire::StageSpec {
        let env = spec.env.into_iter().map(|(name, value)| wire::EnvVar { name, value });
        let (stdin, stdin_item) = match spec.stdin {
            Stdin::Empty => (None, false),
            Stdin::Blob(digest) => (Some(digest.to_wire()), false),
            Stdin::Item => (None, true),
        };
        let (array, manifest) = match spec.kind {
            TaskKind::Plain => (false, None),
            TaskKind::Array => (true, None),
            TaskKind::Foreach { manifest } => (false, Some(manifest.to_wire())),
        };
        let (keep_out, keep_paths) = match spec.keep {
            Keep::Nothing => (false, Vec::new()),
            Keep::Out => (true, Vec::new()),
            Keep::Paths(paths) => (true, paths),
        };
        wire::StageSpec {
            name: spec.name,
            module: spec.module.to_wire(),
            args: spec.args,
            env: env.collect(),
            stdin,
            inputs: spec.inputs.into_iter().map(wire::Input::from).collect(),
            count: spec.count,
            array,
            limits: Some(spec.limits.into()),
            resources: Some(spec.resources.into()),
            success_codes: spec.success_codes,
            keep_out,
            seed: spec.seed,
            manifest,
            stdin_item,
            retries: spec.retries,
            keep_paths,
            capabilities: spec.capabilities.iter().map(Capability::to_string).collect(),
            coredump: spec.coredump,
            once: spec.once,
            metering: spec.metering.to_wire(),
        }
    }
}

impl From<Input> for wire::Input {
    fn from(input: Input) -> wire::Input {
        let source = match input.source {
            InputSource::Blob(digest) => wire::input::Source::Blob(digest.to_wire()),
            InputSource::Tree(digest) => wire::input::Source::Tree(digest.to_wire()),
        };
        wire::Input { path: input.path, source: Some(source), writable: input.writable }
    }
}

impl TryFrom<wire::JobSpec> for JobSpec {
    type Error = SpecProblems;

    /// Reads a job, or says everything that is wrong with it.
    fn try_from(wire: wire::JobSpec) -> Result<JobSpec, SpecProblems> {
        let mut problems = Vec::new();
        let size = prost::Message::encoded_len(&wire);
        if size > MAX_SPEC_BYTES {
            problems
                .push(format!("the spec has {size} bytes; at most {MAX_SPEC_BYTES} are allowed"));
        }
        check_name("job", &wire.name, &mut problems);
        let namespace = match wire.namespace.parse::<Namespace>() {
            Ok(namespace) => namespace,
            Err(malformed) => {
                problems.push(malformed.to_string());
                Namespace::default_namespace()
            }
        };
        if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&wire.priority) {
            let priority = wire.priority;
            problems.push(format!(
                "priority is {priority}; it must be -{MAX_PRIORITY} to {MAX_PRIORITY}"
            ));
        }
        match wire.stages.len() {
            1 => {}
            0 => problems.push("the job has no stage".to_owned()),
            n => problems
                .push(format!("the job has {n} stages; jobs of more than one are not built yet")),
        }
        let mut stages = Vec::with_capacity(wire.stages.len());
        for stage in wire.stages {
            let name = stage.name.clone();
            match parse_stage(stage, &mut problems) {
                Ok(stage) => stages.push(stage),
                Err(malformed) => problems.push(format!("stage {name:?}: {malformed}")),
            }
        }
        if !problems.is_empty() {
            return Err(SpecProblems(problems));
        }
        Ok(JobSpec { name: wire.name, namespace, stages, priority: wire.priority })
    }
}

impl TryFrom<wire::StageSpec> for StageSpec {
    type Error = SpecProblems;

    fn try_from(wire: wire::StageSpec) -> Result<StageSpec, SpecProblems> {
        let mut problems = Vec::new();
        let stage = parse_stage(wire, &mut problems)?;
        if problems.is_empty() { Ok(stage) } else { Err(SpecProblems(problems)) }
    }
}

fn parse_stage(wire: wire::StageSpec, problems: &mut Vec<String>) -> Result<StageSpec, Malformed> {
    check_name("stage", &wire.name, problems);
    if !(1..=MAX_TASKS).contains(&wire.count) {
        problems.push(format!("count is {}; it must be 1 to {MAX_TASKS}", wire.count));
    }
    let resources = Resources::parse(wire.resources, problems)?;
    for arg in &wire.args {
        if arg.contains('\0') {
            problems.push(format!("argument {arg:?} contains a zero byte"));
        }
    }
    let mut env = Vec::with_capacity(wire.env.len());
    for wire::EnvVar { name, value } in wire.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            problems.push(format!("environment variable {name:?} cannot be set"));
        }
        env.push((name, value));
    }
    let mut inputs = Vec::with_capacity(wire.inputs.len());
    for input in wire.inputs {
        let input = Input::try_from(input)?;
        problems.extend(guest_path_problem(&input.path));
        inputs.push(input);
    }
    check_overlaps(&inputs, problems);
    if wire.retries > MAX_RETRIES {
        problems.push(format!("retries is {}; at most {MAX_RETRIES} are allowed", wire.retries));
    }
    if wire.once && wire.retries > 0 {
        problems.push("a task that runs at most once is not run again: no retries".to_owned());
    }
    problems.extend(wire.keep_paths.iter().filter_map(|path| keep_path_problem(path)));
    let kind = match (wire.array, wire.manifest) {
        (false, None) => TaskKind::Plain,
        (true, None) => TaskKind::Array,
        (_, Some(manifest)) => TaskKind::Foreach { manifest: Digest::try_from(&manifest[..])? },
    };
    let stdin = match (wire.stdin, wire.stdin_item) {
        (None, false) => Stdin::Empty,
        (Some(digest), _) => Stdin::Blob(Digest::try_from(&digest[..])?),
        (None, true) => Stdin::Item,
    };
    if stdin == Stdin::Item && !matches!(kind, TaskKind::Foreach { .. }) {
        problems.push("stdin is the task's item, and the stage has no items".to_owned());
    }
    let capabilities = parse_capabilities(&wire.capabilities, problems);
    Ok(StageSpec {
        name: wire.name,
        module: Digest::try_from(&wire.module[..])?,
        args: wire.args,
        env,
        stdin,
        inputs,
        count: wire.count,
        kind,
        limits: Limits::parse(wire.limits, problems)?,
        resources,
        success_codes: wire.success_codes,
        retries: wire.retries,
        keep: match (wire.keep_out, wire.keep_paths) {
            (false, _) => Keep::Nothing,
            (true, paths) if paths.is_empty() => Keep::Out,
            (true, paths) => Keep::Paths(paths),
        },
        seed: wire.seed,
        capabilities,
        coredump: wire.coredump,
        once: wire.once,
        metering: Metering::from_wire(wire.metering)?,
    })
}

fn parse_capabilities(words: &[String], problems: &mut Vec<String>) -> Capabilities {
    let mut capabilities = Capabilities::new();
    if words.len() > MAX_CAPABILITIES {
        let count = words.len();
        problems.push(format!("there are {count} capabilities; at most {MAX_CAPABILITIES} may be"));
        return capabilities;
    }
    for word in words {
        match word.parse::<Capability>() {
            Ok(capability) => drop(capabilities.insert(capability)),
            Err(malformed) => problems.push(malformed.to_string()),
        }
    }
    capabilities
}

impl TryFrom<wire::Input> for Input {
    type Error = Malformed;

    fn try_from(wire: wire::Input) -> Result<Input, Malformed> {
        let source = match required(wire.source, "an input's source")? {
            wire::input::Source::Blob(digest) => InputSource::Blob(Digest::try_from(&digest[..])?),
            wire::input::Source::Tree(digest) => InputSource::Tree(Digest::try_from(&digest[..])?),
        };
        Ok(Input { path: wire.path, source, writable: wire.writable })
    }
}

fn check_name(what: &str, name: &str, problems: &mut Vec<String>) {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if !fits || name.chars().any(char::is_control) || name.contains('/') {
        problems.push(format!(
            "{what} name \"{}\" is not 1 to {MAX_NAME_BYTES} bytes without `/` and control characters",
            plain(name)
        ));
    }
}

/// Why a path cannot be an input's in the guest's file system: it is absolute, has no empty, `.` or
/// `..` part, and is not where the guest's own directories are. `/` itself can be one.
pub fn guest_path_problem(path: &str) -> Option<String> {
    let whole = path == "/" || path.strip_prefix('/').is_some_and(is_plain_path);
    if !whole {
        return Some(format!(
            "input path \"{}\" is not absolute without `.` and `..`, such as `/in/NAME`",
            plain(path)
        ));
    }
    let reserved = RESERVED_PATHS.iter().find(|reserved| is_within(path, reserved))?;
    let path = plain(path);
    Some(format!("input path \"{path}\" is taken: {reserved} is the guest's own; use `/in/NAME`"))
}

/// Why a path cannot be one beneath `/out` that is kept.
pub fn keep_path_problem(path: &str) -> Option<String> {
    (!is_plain_path(path)).then(|| {
        let path = plain(path);
        format!(
            "path \"{path}\" is not one beneath /out without `.` and `..`, such as `report.txt`"
        )
    })
}

fn is_plain_path(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.len() <= MAX_PATH_BYTES && path.split('/').all(plain)
}

/// Whether a path is another one or beneath it.
fn is_within(path: &str, other: &str) -> bool {
    path.strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || other.ends_with('/'))
}

fn check_overlaps(inputs: &[Input], problems: &mut Vec<String>) {
    let mut paths: Vec<&str> = inputs.iter().map(|input| &input.path[..]).collect();
    paths.sort_unstable();
    for pair in paths.windows(2) {
        if is_within(pair[1], pair[0]) {
            problems.push(format!("inputs {:?} and {:?} overlap", pair[0], pair[1]));
        }
    }
}

#[cfg(test)]
mod tests;
