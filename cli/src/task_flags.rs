//! A job that the command line describes: a module, and flags for its tasks. What is wrong is told
//! before anything is sent. `weir run` and `weir submit` share these flags.

use std::{io, path::Path, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tempfile::NamedTempFile;
use weir_sdk::{
    job_file::{pattern::Pattern, resolve::name_of},
    module_file,
    plan::{InputPlan, JobPlan, OutputsPlan, StagePlan, StdinPlan, TasksPlan},
    proto::{
        capability::Capability,
        countable::{Countable, Countables},
        job::{InputSource, MAX_PRIORITY, MAX_RETRIES, MAX_TASKS, guest_path_problem},
        limits::{Limits, Resources},
        manifest::item_problem,
        metering::Metering,
        template::{Placeholder, placeholders},
        units::{parse_bytes, parse_count, parse_duration},
    },
    source::Source,
};

use crate::{check, completions::candidates};

/// What is to be run, and how its tasks are.
#[derive(Debug, clap::Args)]
pub(crate) struct TaskFlags {
    /// Most fuel for each task: `5G` is 5,000,000,000 instructions [default: 100G]
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    fuel: Option<u64>,
    /// Most memory of each task [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Longest run of each task, such as `30s` or `1m30s` [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Most bytes each task may write to stdout, to stderr and to /out, each [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    output_limit: Option<u64>,
    /// A file or directory that tasks read at /in/NAME, or at NAME where that begins with `/`. SOURCE
    /// is a path, or what is in the store: `blake3:...`, `tree:blake3:...` or `name:...`; with `:rw`
    /// after it each task may change a copy of its own; repeatable
    #[arg(long = "in", value_name = "NAME=SOURCE", add = candidates::inputs())]
    inputs: Vec<InputFlag>,
    /// What tasks read from stdin: a file, `-` for this command's own stdin, `blake3:...`,
    /// `name:...`, or `{input}` for the task's item
    #[arg(long, value_name = "FILE|-", add = candidates::sources())]
    stdin: Option<String>,
    /// An environment variable of the guest; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,
    /// Run this many tasks, which see WEIR_TASK_INDEX and WEIR_TASK_COUNT, and for which `{index}`
    /// and `{count}` stand in arguments
    #[arg(long, value_name = "COUNT", value_parser = parse_array)]
    array: Option<u32>,
    /// Run a task for each file that matches, quoted so that the shell leaves it alone: `{input}`
    /// stands for the file in arguments, `{input.stem}` for its name without extension; repeatable
    #[arg(long, value_name = "GLOB", conflicts_with = "array")]
    foreach: Vec<String>,
    /// How often a task that fails is run again [default: 0]
    #[arg(long, value_name = "COUNT", value_parser = parse_retries)]
    retries: Option<u32>,
    /// Run each task at most once, whatever happens: one that an agent had which was lost, and that
    /// may have begun there, is not run again but by `weir job retry`
    #[arg(long, conflicts_with = "retries")]
    once: bool,
    /// Chooses among the random sequences the guest may see [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = parse_seed)]
    seed: Option<u64>,
    /// Let tasks do more than compute, and be no pure functions any more: `clock` for the real time
    /// and real sleep, `random` for random numbers that nobody can foresee, `net:HOST:PORT` for TCP,
    /// UDP and HTTP to a host, where `*` stands for any; repeatable
    #[arg(long, value_name = "CAPABILITY")]
    allow: Vec<Capability>,
    /// Count what tasks use by `fuel`, each instruction, or by `epoch`, the time that they take: then
    /// inner loops are faster, and tasks are no pure functions any more [default: fuel]
    #[arg(long, value_name = "HOW", value_parser = metering_parser())]
    metering: Option<Metering>,
    /// Take so many of what agents have by name, for each running task; repeatable
    #[arg(long, value_name = "NAME=COUNT")]
    resource: Vec<Countable>,
    /// Keep a core dump of each task that traps: its memory and its call stack, as a blob;
    /// `weir run` on a cluster of its own writes core.TASK.wasm instead
    #[arg(long)]
    coredump: bool,
    /// Which jobs of the namespace go first, -100 (last) to 100 (first) [default: 0]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = parse_priority)]
    priority: Option<i32>,
    /// Let all agents compile the module now, and not only those that get tasks, when they do
    #[arg(long)]
    precompile: bool,
    /// Name of the job, for people [default: the module's, or the job file's]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A module: a .wasm file, `blake3:...` or `name:...` of one in the store; or a job file: *.toml
    #[arg(value_name = "FILE|MODULE", add = candidates::modules())]
    target: Source,
    /// Arguments of the guest
    #[arg(last = true)]
    args: Vec<String>,
}

/// A job that can be put, and what must live until it is.
pub(crate) struct Planned {
    /// The job.
    pub(crate) plan: JobPlan,
    _stdin: Option<NamedTempFile>,
}

/// Reads how what tasks use is counted; the shell completes it.
pub(crate) fn metering_parser() -> impl TypedValueParser<Value = Metering> {
    let words = PossibleValuesParser::new(Metering::ALL.map(Metering::word));
    words.map(|word| word.parse().expect("one of the words"))
}

fn parse_array(text: &str) -> Result<u32, String> {
    parse_number(text, 1, MAX_TASKS, "an array has 1 to 10,000,000 tasks")
}

fn parse_retries(text: &str) -> Result<u32, String> {
    parse_number(text, 0, MAX_RETRIES, "a task is run again 0 to 100 times")
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a seed is a number from 0 to 18,446,744,073,709,551,615".to_owned())
}

fn parse_number(text: &str, least: u32, most: u32, range: &str) -> Result<u32, String> {
    let count = parse_count(text).map_err(|malformed| malformed.to_string())?;
    let count = u32::try_from(count).ok().filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| range.to_owned())
}

fn parse_priority(text: &str) -> Result<i32, String> {
    let priority = text.parse().ok().filter(|p| (-MAX_PRIORITY..=MAX_PRIORITY).contains(p));
    priority.ok_or_else(|| format!("a priority is a number from -{MAX_PRIORITY} to {MAX_PRIORITY}"))
}

/// Reads `NAME=VALUE` of `--env`.
fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name before `=` is empty".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write NAME=VALUE".to_owned()),
    }
}

/// The value of `--in`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct InputFlag {
    name: String,
    source: Source,
    writable: bool,
}

impl FromStr for InputFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<InputFlag, String> {
        let Some((name, source)) = text.split_once('=') else {
            return Err("write NAME=PATH or NAME=blake3:DIGEST".to_owned());
        };
        let (source, writable) = match source.strip_suffix(":rw") {
            Some(source) => (source, true),
            None => (source, false),
        };
        Ok(InputFlag { name: name.to_owned(), source: source.parse()?, writable })
    }
}

impl InputFlag {
    fn plan(&self) -> Result<InputPlan> {
        let path = match self.name.starts_with('/') {
            true => self.name.clone(),
            false => format!("/in/{}", self.name),
        };
        if let Some(problem) = guest_path_problem(&path) {
            bail!("--in {:?} cannot be: {problem}", self.name);
        }
        check_path(&self.source, &format!("input {:?}", self.name))?;
        Ok(InputPlan { path, source: self.source.clone(), writable: self.writable })
    }
}

/// Says early that what is at a path cannot be read; `what` is what it is for.
fn check_path(source: &Source, what: &str) -> Result<()> {
    let Source::Path(path) = source else { return Ok(()) };
    let about = || format!("cannot read {what} from {}", path.display());
    let metadata = std::fs::metadata(path).with_context(about)?;
    if metadata.is_dir() {
        std::fs::read_dir(path).with_context(about)?;
    } else if metadata.is_file() {
        // Opening a pipe would wait for its other end.
        std::fs::File::open(path).with_context(about)?;
    }
    Ok(())
}

impl TaskFlags {
    /// What the command line, or the job file that it names, comes to. A job file's problems are told
    /// on stderr, all of them.
    ///
    /// # Errors
    /// `Err` of the outer result when something here is not as it must be; of the inner one when that
    /// was told already.
    pub(crate) async fn plan(&self) -> Result<Result<Planned, check::Shown>> {
        if let Source::Path(path) = &self.target
            && path.extension().is_some_and(|extension| extension == "toml")
        {
            return self.plan_of_file(path);
        }
        let spooled = match self.stdin.as_deref() {
            Some("-") => Some(tokio::task::spawn_blocking(spool_stdin).await??),
            _ => None,
        };
        let plan = self.plan_of_module(spooled.as_ref().map(|file| file.path()))?;
        Ok(Ok(Planned { plan, _stdin: spooled }))
    }

    fn plan_of_file(&self, path: &Path) -> Result<Result<Planned, check::Shown>> {
        let misplaced = self.misplaced();
        if !misplaced.is_empty() {
            bail!(
                "{} cannot go with a job file, which says so itself; write it into {}, or leave it \
                 out",
                misplaced.join(", "),
                path.display()
            );
        }
        Ok(check::load(path).map(|mut plan| {
            plan.name = self.name.clone().unwrap_or(plan.name);
            plan.priority = self.priority.unwrap_or(plan.priority);
            plan.precompile |= self.precompile;
            Planned { plan, _stdin: None }
        }))
    }

    /// Flags that describe a module's tasks, where a job file does that.
    fn misplaced(&self) -> Vec<&'static str> {
        let given = [
            ("--fuel", self.fuel.is_some()),
            ("--memory", self.memory.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--output-limit", self.output_limit.is_some()),
            ("--in", !self.inputs.is_empty()),
            ("--stdin", self.stdin.is_some()),
            ("--env", !self.env.is_empty()),
            ("--array", self.array.is_some()),
            ("--foreach", !self.foreach.is_empty()),
            ("--retries", self.retries.is_some()),
            ("--once", self.once),
            ("--seed", self.seed.is_some()),
            ("--allow", !self.allow.is_empty()),
            ("--metering", self.metering.is_some()),
            ("--resource", !self.resource.is_empty()),
            ("--coredump", self.coredump),
            ("an argument after --", !self.args.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    fn plan_of_module(&self, spooled: Option<&Path>) -> Result<JobPlan> {
        match &self.target {
            Source::Path(path) => module_file::check_file(path)?,
            Source::Stored(InputSource::Tree(_)) => {
                bail!("cannot run a tree; name a module by its `blake3:` digest or its path")
            }
            Source::Stored(InputSource::Blob(_)) | Source::Name(_) => {}
        }
        let tasks = self.tasks()?;
        self.check_placeholders(&tasks)?;
        let inputs = self.inputs.iter().map(InputFlag::plan).collect::<Result<_>>()?;
        let limits = self.limits();
        let stage = StagePlan {
            name: "main".to_owned(),
            module: self.target.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            tasks,
            inputs,
            stdin: self.stdin(spooled)?,
            limits,
            resources: self.resources(limits.memory_bytes)?,
            success_codes: Vec::new(),
            outputs: OutputsPlan::Nothing,
            retries: self.retries.unwrap_or(0),
            once: self.once,
            seed: self.seed.unwrap_or(0),
            capabilities: self.allow.iter().cloned().collect(),
            metering: self.metering.unwrap_or_default(),
            coredump: self.coredump,
        };
        let name = self.name.clone().unwrap_or_else(|| job_name(&self.target));
        Ok(JobPlan {
            name,
            namespace: None,
            priority: self.priority.unwrap_or(0),
            precompile: self.precompile,
            stage,
        })
    }

    fn tasks(&self) -> Result<TasksPlan> {
        if let Some(count) = self.array {
            return Ok(TasksPlan::Count(count));
        }
        if self.foreach.is_empty() {
            return Ok(TasksPlan::One);
        }
        let mut files = Vec::new();
        for text in &self.foreach {
            let pattern = Pattern::new(text)
                .map_err(|why| anyhow::anyhow!("--foreach {text:?} is no pattern: {why}"))?;
            let matched = pattern.matches(Path::new(""));
            files.extend(matched.with_context(|| format!("cannot run --foreach {text:?}"))?);
        }
        files.sort();
        files.dedup();
        for file in &files {
            if let Some(why) = item_problem(&file.text) {
                bail!("--foreach matches a file that cannot be an item: {why}; rename it");
            }
        }
        Ok(TasksPlan::Files(files))
    }

    /// A placeholder that stands for nothing is a mistake, where others stand for something.
    fn check_placeholders(&self, tasks: &TasksPlan) -> Result<()> {
        let texts = self.args.iter().chain(self.env.iter().map(|(_, value)| value));
        for text in texts {
            for placeholder in placeholders(text) {
                let of_item = !matches!(placeholder, Placeholder::Index | Placeholder::Count);
                match tasks {
                    TasksPlan::Count(_) if of_item => bail!(
                        "{text:?} stands for an item, and tasks of --array have none; use \
                         --foreach, or double the braces to mean them literally"
                    ),
                    TasksPlan::Files(_) | TasksPlan::Lines(_)
                        if placeholder == Placeholder::Count =>
                    {
                        bail!(
                            "{text:?} stands for the tasks of --array, and tasks of --foreach do not \
                             see how many they are"
                        )
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn stdin(&self, spooled: Option<&Path>) -> Result<StdinPlan> {
        let Some(text) = self.stdin.as_deref() else { return Ok(StdinPlan::Nothing) };
        if let Some(path) = spooled {
            return Ok(StdinPlan::Source(Source::Path(path.to_owned())));
        }
        if text == "{input}" {
            if self.foreach.is_empty() {
                bail!("--stdin {{input}} is a task's item, and there is no --foreach");
            }
            return Ok(StdinPlan::Item);
        }
        let source: Source = text
            .parse()
            .map_err(|why| anyhow::anyhow!("--stdin {text:?} cannot be read: {why}"))?;
        match &source {
            Source::Stored(InputSource::Tree(_)) => bail!("stdin cannot be a tree; name a blob"),
            Source::Path(path) if path.is_dir() => {
                bail!("stdin cannot be the directory {}; name a file", path.display())
            }
            source => check_path(source, "stdin")?,
        }
        Ok(StdinPlan::Source(source))
    }

    /// A core, the memory of its limits, and what is asked for by name.
    fn resources(&self, memory_bytes: u64) -> Result<Resources> {
        let countables = Countables::of(&self.resource).context("--resource cannot be used")?;
        Ok(Resources { countables, ..Resources::new(1000, memory_bytes) })
    }

    fn limits(&self) -> Limits {
        let usual = Limits::default();
        let timeout = self.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Limits {
            fuel: self.fuel.unwrap_or(usual.fuel),
            memory_bytes: self.memory.unwrap_or(usual.memory_bytes),
            timeout_ms: timeout.unwrap_or(usual.timeout_ms),
            output_bytes: self.output_limit.unwrap_or(usual.output_bytes),
            scratch_bytes: usual.scratch_bytes,
        }
    }
}

/// Our own stdin as a file, so that it can be sent again if need be.
fn spool_stdin() -> Result<NamedTempFile> {
    let about = "cannot keep what comes on stdin";
    let mut file = NamedTempFile::new().context(about)?;
    io::copy(&mut io::stdin().lock(), &mut file).context(about)?;
    Ok(file)
}

/// A name for a job that has none: that of its module.
fn job_name(module: &Source) -> String {
    match module {
        Source::Path(path) => name_of(path),
        Source::Stored(source) => source.digest().hex()[..12].to_owned(),
        Source::Name(name) => name_of(Path::new(name.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use weir_sdk::proto::digest::Digest;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: TaskFlags,
    }

    fn flags(args: &[&str]) -> Result<TaskFlags, String> {
        let line = Line::try_parse_from(["weir"].iter().chain(args));
        line.map(|line| line.flags).map_err(|error| error.to_string())
    }

    /// A plan of flags for a module that need not be here.
    fn plan(args: &[&str]) -> Result<JobPlan, String> {
        let module = Digest::of(b"m").to_string();
        let args: Vec<&str> = std::iter::once(&module[..]).chain(args.iter().copied()).collect();
        flags(&args)?.plan_of_module(None).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_job_is_named_after_its_module() {
        assert_eq!(job_name(&Source::Path("/a/word-count.wasm".into())), "word-count");
        assert_eq!(job_name(&Source::Name("tools/resize".parse().expect("a name"))), "resize");
        assert_eq!(plan(&["--name", "x"]).expect("a plan").name, "x");
    }

    #[test]
    fn numbers_have_ranges() {
        assert_eq!(parse_array("20k"), Ok(20_000));
        for text in ["0", "11M", "x"] {
            assert!(parse_array(text).is_err(), "{text}");
        }
        assert_eq!(parse_retries("0"), Ok(0));
        assert!(parse_retries("101").is_err());
        assert_eq!(parse_priority("-100"), Ok(-100));
        assert!(parse_priority("101").is_err());
    }

    #[test]
    fn tasks_are_metered_by_fuel_unless_something_else_is_asked_for() {
        let metering = |args: &[&str]| plan(args).map(|plan| plan.stage.metering);
        assert_eq!(metering(&[]), Ok(Metering::Fuel));
        assert_eq!(metering(&["--metering", "fuel"]), Ok(Metering::Fuel));
        assert_eq!(metering(&["--metering", "epoch"]), Ok(Metering::Epoch));
        let refused = metering(&["--metering", "time"]).expect_err("there is no such way");
        assert!(refused.contains("[possible values: fuel, epoch]"), "{refused}");
    }

    #[test]
    fn resources_have_names_and_each_comes_once() {
        let asked = plan(&["--resource", "gpu=2", "--resource", "licence=1", "--memory", "1MiB"]);
        let resources = asked.expect("a plan").stage.resources;
        assert_eq!(resources.to_string(), "1 core, 1.00 MiB and gpu=2 licence=1");
        let twice = plan(&["--resource", "gpu=1", "--resource", "gpu=2"]).expect_err("twice");
        assert!(twice.contains("gpu is given twice"), "{twice}");
        assert!(plan(&["--resource", "gpu"]).expect_err("no count").contains("NAME=COUNT"));
    }

    #[test]
    fn an_input_has_a_name_or_a_path_and_a_source() {
        let input = |text: &str| -> Result<InputPlan, String> {
            let flag: InputFlag = text.parse()?;
            flag.plan().map_err(|error| format!("{error:#}"))
        };
        let digest = Digest::of(b"x");
        let plain = input(&format!("data/text={digest}")).expect("an input");
        assert_eq!((&plain.path[..], plain.writable), ("/in/data/text", false));
        let writable = input(&format!("/db=tree:{digest}:rw")).expect("an input");
        assert_eq!((&writable.path[..], writable.writable), ("/db", true));
        for text in ["a", "a=", "=x", "..=x", "/out/x=/", "a=blake3:00", "a/../b=/", "a\nb=/"] {
            assert!(input(text).is_err(), "{text:?}");
        }
        let absent = input("text=/no/such/file").expect_err("absent");
        assert!(absent.contains("/no/such/file") && absent.contains("text"), "{absent}");
    }

    #[test]
    fn a_placeholder_that_stands_for_nothing_is_told() {
        assert!(
            plan(&["--array", "3", "--", "{input}"]).expect_err("no item").contains("--foreach")
        );
        assert!(plan(&["--array", "3", "--", "{index} of {count} {x}"]).is_ok());
        assert!(plan(&["--array", "3", "--", "{{input}}"]).is_ok());
        assert!(plan(&["--", "{input}"]).is_ok());
        assert!(plan(&["--stdin", "{input}"]).is_err());
    }

    #[test]
    fn flags_of_tasks_do_not_go_with_a_job_file() {
        let flags = flags(&["job.toml", "--fuel", "5", "--", "x"]).expect("flags");
        let refused = flags.plan_of_file(Path::new("job.toml"));
        let Err(refused) = refused else { panic!("refused") };
        assert!(refused.to_string().starts_with("--fuel, an argument after -- cannot go"));
    }

    #[test]
    fn an_environment_variable_has_a_name() {
        assert_eq!(parse_env("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert!(parse_env("=b").is_err());
        assert!(parse_env("A").is_err());
    }
}
