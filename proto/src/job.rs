//! What a client asks for: a job of stages, each an array of tasks that run one module.

use crate::{
    digest::Digest,
    id::Namespace,
    limits::{Limits, MIN_CPU_MILLIS, Resources},
    malformed::{Malformed, required},
    wire,
};

/// Most tasks in one stage's array.
pub const MAX_TASKS: u32 = 10_000_000;
/// Most bytes of a job's encoded spec: it is in the log, in state and in every lease.
pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// Longest name of a job or stage, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A job as a client submits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// For people; need not be unique.
    pub name: String,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// Its stages; exactly one until stages can follow each other.
    pub stages: Vec<StageSpec>,
}

/// An array of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSpec {
    /// Its name within the job.
    pub name: String,
    /// The Wasm module that each task runs.
    pub module: Digest,
    /// Arguments after `argv[0]`.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// What the guest reads from stdin; nothing when absent.
    pub stdin: Option<Digest>,
    /// What the guest sees in its file system.
    pub inputs: Vec<Input>,
    /// How many tasks, 1 to `MAX_TASKS`.
    pub count: u32,
    /// Whether tasks see `WEIR_TASK_INDEX` and `WEIR_TASK_COUNT`.
    pub array: bool,
    /// What the sandbox enforces on each attempt.
    pub limits: Limits,
    /// What placement counts for each running task.
    pub resources: Resources,
    /// Exit codes besides 0 that are success.
    pub success_codes: Vec<i32>,
    /// Whether the guest has `/out`, and it is kept.
    pub keep_out: bool,
    /// Chooses among the random sequences the guest may see.
    pub seed: u64,
}

/// A blob or tree at an absolute path in the guest's file system, read-only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where the guest sees it: `/in/NAME`.
    pub path: String,
    /// What is there.
    pub source: InputSource,
}

/// What an input is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputSource {
    /// A file.
    Blob(Digest),
    /// A directory.
    Tree(Digest),
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
    /// Digests that must be in the store before a task can run.
    pub fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        let inputs = self.inputs.iter().map(|input| input.source.digest());
        [self.module].into_iter().chain(self.stdin).chain(inputs)
    }
}

impl From<JobSpec> for wire::JobSpec {
    fn from(spec: JobSpec) -> wire::JobSpec {
        wire::JobSpec {
            name: spec.name,
            namespace: spec.namespace.as_str().to_owned(),
            stages: spec.stages.into_iter().map(wire::StageSpec::from).collect(),
        }
    }
}

impl From<StageSpec> for wire::StageSpec {
    fn from(spec: StageSpec) -> wire::StageSpec {
        let env = spec.env.into_iter().map(|(name, value)| wire::EnvVar { name, value });
        wire::StageSpec {
            name: spec.name,
            module: spec.module.to_wire(),
            args: spec.args,
            env: env.collect(),
            stdin: spec.stdin.map(Digest::to_wire),
            inputs: spec.inputs.into_iter().map(wire::Input::from).collect(),
            count: spec.count,
            array: spec.array,
            limits: Some(spec.limits.into()),
            resources: Some(spec.resources.into()),
            success_codes: spec.success_codes,
            keep_out: spec.keep_out,
            seed: spec.seed,
        }
    }
}

impl From<Input> for wire::Input {
    fn from(input: Input) -> wire::Input {
        let source = match input.source {
            InputSource::Blob(digest) => wire::input::Source::Blob(digest.to_wire()),
            InputSource::Tree(digest) => wire::input::Source::Tree(digest.to_wire()),
        };
        wire::Input { path: input.path, source: Some(source) }
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
        Ok(JobSpec { name: wire.name, namespace, stages })
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
    let resources = Resources::from(required(wire.resources, "resources")?);
    if resources.cpu_millis < MIN_CPU_MILLIS {
        let cpu = resources.cpu_millis;
        problems
            .push(format!("resource cpu_millis is {cpu}; it must be at least {MIN_CPU_MILLIS}"));
    }
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
        if !is_guest_path(&input.path) {
            problems.push(format!("input path {:?} is not like `/in/NAME`", input.path));
        }
        inputs.push(input);
    }
    check_overlaps(&inputs, problems);
    Ok(StageSpec {
        name: wire.name,
        module: Digest::try_from(&wire.module[..])?,
        args: wire.args,
        env,
        stdin: wire.stdin.map(|digest| Digest::try_from(&digest[..])).transpose()?,
        inputs,
        count: wire.count,
        array: wire.array,
        limits: Limits::parse(wire.limits, problems)?,
        resources,
        success_codes: wire.success_codes,
        keep_out: wire.keep_out,
        seed: wire.seed,
    })
}

impl TryFrom<wire::Input> for Input {
    type Error = Malformed;

    fn try_from(wire: wire::Input) -> Result<Input, Malformed> {
        let source = match required(wire.source, "an input's source")? {
            wire::input::Source::Blob(digest) => InputSource::Blob(Digest::try_from(&digest[..])?),
            wire::input::Source::Tree(digest) => InputSource::Tree(Digest::try_from(&digest[..])?),
        };
        Ok(Input { path: wire.path, source })
    }
}

fn check_name(what: &str, name: &str, problems: &mut Vec<String>) {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if !fits || name.chars().any(char::is_control) || name.contains('/') {
        problems.push(format!(
            "{what} name {name:?} is not 1 to {MAX_NAME_BYTES} bytes without `/` and control characters"
        ));
    }
}

/// `/in/NAME`, `/in/DIR/NAME`: no empty, `.` or `..` part, nothing outside `/in`.
fn is_guest_path(path: &str) -> bool {
    path.strip_prefix("/in/").is_some_and(|rest| {
        rest.len() <= 1024
            && rest.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
    })
}

fn check_overlaps(inputs: &[Input], problems: &mut Vec<String>) {
    let mut paths: Vec<&str> = inputs.iter().map(|input| &input.path[..]).collect();
    paths.sort_unstable();
    for pair in paths.windows(2) {
        let inside = pair[1].strip_prefix(pair[0]).is_some_and(|rest| rest.starts_with('/'));
        if inside || pair[0] == pair[1] {
            problems.push(format!("inputs {:?} and {:?} overlap", pair[0], pair[1]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> wire::JobSpec {
        let stage = StageSpec {
            name: "main".to_owned(),
            module: Digest::of(b"module"),
            args: vec!["a".to_owned()],
            env: vec![("K".to_owned(), "V".to_owned())],
            stdin: None,
            inputs: vec![Input {
                path: "/in/text".to_owned(),
                source: InputSource::Tree(Digest::of(b"tree")),
            }],
            count: 3,
            array: true,
            limits: Limits::default(),
            resources: Resources { cpu_millis: 1000, memory_bytes: 1 << 20 },
            success_codes: vec![10],
            keep_out: true,
            seed: 7,
        };
        let namespace = Namespace::default_namespace();
        JobSpec { name: "job".to_owned(), namespace, stages: vec![stage] }.into()
    }

    #[test]
    fn a_job_reads_back_as_it_was_written() {
        let wire = spec();
        let parsed = JobSpec::try_from(wire.clone()).expect("a valid job");
        assert_eq!(wire::JobSpec::from(parsed), wire);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let mut wire = spec();
        wire.namespace = "No Such".to_owned();
        wire.stages[0].count = 0;
        wire.stages[0].inputs[0].path = "/etc/passwd".to_owned();
        wire.stages[0].limits = Some(wire::Limits::default());
        let SpecProblems(problems) = JobSpec::try_from(wire).expect_err("an invalid job");
        let expected = ["namespace", "count", "/etc/passwd", "fuel", "memory_bytes", "timeout_ms"];
        for word in expected {
            assert!(problems.iter().any(|p| p.contains(word)), "{word} in {problems:?}");
        }
    }

    #[test]
    fn inputs_may_not_lie_inside_each_other() {
        let mut wire = spec();
        let mut inner = wire.stages[0].inputs[0].clone();
        inner.path = "/in/text/more".to_owned();
        wire.stages[0].inputs.push(inner);
        assert!(JobSpec::try_from(wire).is_err());
    }

    #[test]
    fn a_path_cannot_climb_out_of_in() {
        assert!(is_guest_path("/in/a/b"));
        for path in ["/in", "/in/", "/in/../etc", "/in//a", "in/a", "/out/a", "/in/a/."] {
            assert!(!is_guest_path(path), "{path}");
        }
    }
}
