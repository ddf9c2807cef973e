//! `weir run`: puts what the store lacks, submits, shows what the tasks write, and ends as they
//! ended. Stop 1 of a task's way; the next is the submission in `weir-sdk`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use weir_sdk::{
    Client, module_file,
    proto::{
        digest::Digest,
        job::{
            Input, InputSource, JobSpec, Keep, MAX_NAME_BYTES, MAX_TASKS, StageSpec, Stdin,
            TaskKind,
        },
        limits::{Limits, Resources},
        units::{parse_bytes, parse_count, parse_duration},
    },
    submit::SubmitError,
    view::JobView,
};

use crate::{
    config,
    connect::MasterFlag,
    exit,
    follow::{Follow, Followed, OnInterrupt, OutDir, follow},
    json,
    output::Show,
    signals::Interrupts,
    source::{InputFlag, Source, Stored, parse_env},
    tally::Tally,
    text,
};

/// Run a WebAssembly module as a task, or as an array of tasks
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct RunArgs {
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
    /// A file or directory the guest reads at /in/NAME; PATH, `blake3:...` of a blob or
    /// `tree:blake3:...` of a tree that is in the store; repeatable
    #[arg(long = "in", value_name = "NAME=PATH")]
    inputs: Vec<InputFlag>,
    /// What the guest reads from stdin: a file, `-` for this command's own stdin, or `blake3:...`
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<Source>,
    /// Give the guest a directory /out, and write what it leaves there to DIR (of an array: to
    /// DIR/INDEX); DIR must be absent or empty
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// An environment variable of the guest; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_env)]
    env: Vec<(String, String)>,
    /// Run this many tasks, which see WEIR_TASK_INDEX and WEIR_TASK_COUNT
    #[arg(long, value_name = "COUNT", value_parser = parse_array)]
    array: Option<u32>,
    /// Chooses among the random sequences the guest may see
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Name of the job, for people [default: the module's]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    master: MasterFlag,
    /// Print a line of JSON for each task and one for the job instead of what tasks write
    #[arg(long)]
    json: bool,
    /// The module: a .wasm file, or `blake3:...` of one that is in the store
    module: Source,
    /// Arguments of the guest
    #[arg(last = true)]
    args: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  weir run hello.wasm -- --greeting hi             what follows -- goes to the guest
  weir run --array 100 --out tiles tile.wasm       outputs in tiles/0 to tiles/99
  weir run --in text=book.txt count.wasm -- /in/text
  weir run --fuel 5G --memory 64MiB --timeout 1m30s hello.wasm

";

fn help() -> String {
    format!("{EXAMPLES}{}", exit::help())
}

fn parse_array(text: &str) -> Result<u32, String> {
    let count = parse_count(text).map_err(|malformed| malformed.to_string())?;
    match u32::try_from(count) {
        Ok(count @ 1..=MAX_TASKS) => Ok(count),
        _ => Err(format!("an array has 1 to {MAX_TASKS} tasks")),
    }
}

/// Runs the command; what it exits with is how the job ended.
///
/// # Errors
/// When something here is not as it must be, the job is refused, or the cluster is lost.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    args.check()?;
    let connection = tokio::select! {
        biased;
        () = interrupts.next() => return Ok(exit::interrupted()),
        connection = args.master.connect_or_embed() => connection?,
    };
    let ended = args.run_on(&connection.client, &mut interrupts).await;
    connection.close().await;
    ended
}

impl RunArgs {
    /// What can be seen to be wrong before anything is sent.
    fn check(&self) -> Result<()> {
        match &self.module {
            Source::Path(path) => module_file::check_file(path)?,
            Source::Stored(Stored(InputSource::Blob(_))) => {}
            Source::Stored(Stored(InputSource::Tree(_))) => {
                bail!("cannot run a tree; name a module by its `blake3:` digest or its path")
            }
        }
        for input in &self.inputs {
            input.check()?;
        }
        match &self.stdin {
            Some(Source::Stored(Stored(InputSource::Tree(_)))) => bail!("stdin cannot be a tree"),
            Some(Source::Path(path)) if path.is_dir() => {
                bail!("stdin cannot be the directory {}; name a file", path.display())
            }
            Some(Source::Path(path)) if path == Path::new("-") => {}
            Some(source) => source.check("stdin")?,
            None => {}
        }
        self.out.as_deref().map_or(Ok(()), check_out)
    }

    async fn run_on(&self, client: &Client, interrupts: &mut Interrupts) -> Result<ExitCode> {
        let started = Instant::now();
        let quiet = config::current().quiet.value;
        let spec = tokio::select! {
            biased;
            () = interrupts.next() => return Ok(exit::interrupted()),
            spec = self.spec(client) => spec?,
        };
        let array = self.array.is_some();
        let job = client.submit(spec).await.map_err(refused)?;
        let show = Show { prefix: array, only_task: None, only_stream: None };
        let plan = Follow {
            show: (!self.json).then_some(show),
            json: self.json,
            out: self.out.clone().map(|base| OutDir { base, by_index: array }),
            wait: true,
            on_interrupt: OnInterrupt::Cancel,
            remarks: !quiet,
        };
        match follow(client, job, interrupts, plan).await {
            Ok(Followed::Ended { view, tally }) => {
                tell_end(&view, &tally, started.elapsed(), self.json, quiet)?;
                Ok(ExitCode::from(tally.exit_code(view.summary.status)))
            }
            Ok(Followed::Told | Followed::Interrupted) => Ok(exit::interrupted()),
            Err(error) => {
                // Whoever started the job is gone: nobody would read what it writes.
                if text::output_closed(&error) {
                    client.cancel(job).await?;
                }
                Err(error)
            }
        }
    }

    /// Puts what the job needs, and says what it is.
    async fn spec(&self, client: &Client) -> Result<JobSpec> {
        let module = self.put_module(client).await?;
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for InputFlag { name, source } in &self.inputs {
            let about = || format!("cannot put input {name:?}");
            let source = source.put(client).await.with_context(about)?;
            inputs.push(Input { path: format!("/in/{name}"), source, writable: false });
        }
        let limits = self.limits();
        let stage = StageSpec {
            args: self.args.clone(),
            env: self.env.clone(),
            stdin: self.put_stdin(client).await?.map_or(Stdin::Empty, Stdin::Blob),
            inputs,
            count: self.array.unwrap_or(1),
            kind: if self.array.is_some() { TaskKind::Array } else { TaskKind::Plain },
            limits,
            resources: Resources { cpu_millis: 1000, memory_bytes: limits.memory_bytes },
            keep: if self.out.is_some() { Keep::Out } else { Keep::Nothing },
            seed: self.seed,
            ..StageSpec::new("main", module)
        };
        let name = self.name.clone().unwrap_or_else(|| name_of(&self.module));
        let namespace = client.namespace().clone();
        Ok(JobSpec { name, namespace, stages: vec![stage], priority: 0 })
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

    async fn put_module(&self, client: &Client) -> Result<Digest> {
        match &self.module {
            Source::Stored(Stored(source)) => Ok(source.digest()),
            Source::Path(path) => client.put_file(path).await.context("cannot put the module"),
        }
    }

    async fn put_stdin(&self, client: &Client) -> Result<Option<Digest>> {
        match &self.stdin {
            None => Ok(None),
            Some(Source::Stored(Stored(source))) => Ok(Some(source.digest())),
            Some(Source::Path(path)) if path == Path::new("-") => {
                let spooled = tokio::task::spawn_blocking(spool_stdin).await??;
                let put = client.put_file(spooled.path()).await;
                Ok(Some(put.context("cannot put what came on stdin")?))
            }
            Some(Source::Path(path)) => {
                Ok(Some(client.put_file(path).await.context("cannot put stdin")?))
            }
        }
    }
}

/// Several problems are easier to read as a list.
fn refused(error: SubmitError) -> anyhow::Error {
    match &error {
        SubmitError::Invalid { problems } if problems.len() > 1 => {
            let list: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
            anyhow::anyhow!("the job is refused:\n{}", list.join("\n"))
        }
        _ => error.into(),
    }
}

/// Outputs never overwrite anything; better said now than after an hour of work.
fn check_out(out: &Path) -> Result<()> {
    match std::fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!(
                "cannot write outputs to {}: it is not empty; remove it or choose another \
                 directory",
                out.display()
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot write outputs to {}", out.display()))
        }
    }
}

/// Takes all of stdin into a file: it may be larger than memory, and its length is not known.
fn spool_stdin() -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file).context("cannot read stdin")?;
    Ok(file)
}

/// Tells on stderr how a job ended, or as the last line of JSON on stdout.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn tell_end(
    view: &JobView,
    tally: &Tally,
    wall: Duration,
    json: bool,
    quiet: bool,
) -> Result<()> {
    if json {
        let wall_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        return Ok(text::print(&json::ended_line(view, tally, wall_ms)?)?);
    }
    let mut told = tally.failures(quiet);
    if !quiet {
        told.push_str(&tally.summary(view, wall));
    }
    text::print_error(&told);
    Ok(())
}

/// A name for a job: that of its module's file, without what a name may not have.
fn name_of(module: &Source) -> String {
    let stem = match module {
        Source::Path(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        Source::Stored(Stored(source)) => source.digest().hex()[..12].to_owned(),
    };
    let mut name = String::new();
    for c in stem.chars().map(|c| if c.is_control() || c == '/' { '_' } else { c }) {
        if name.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        name.push(c);
    }
    if name.is_empty() { "run".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_after_its_module() {
        let name = |path: &str| name_of(&Source::Path(path.into()));
        assert_eq!(name("/a/word-count.wasm"), "word-count");
        assert_eq!(name("a\nb.wasm"), "a_b");
        assert_eq!(name(".."), "run");
        assert!(name(&"ü".repeat(100)).len() <= MAX_NAME_BYTES);
    }

    #[test]
    fn outputs_go_to_a_directory_that_is_absent_or_empty() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert!(check_out(dir.path()).is_ok());
        assert!(check_out(&dir.path().join("new")).is_ok());
        std::fs::write(&file, "x").expect("a file");
        assert!(check_out(dir.path()).is_err());
        assert!(check_out(&file).is_err());
    }

    #[test]
    fn an_array_has_at_least_one_task() {
        assert_eq!(parse_array("20k"), Ok(20_000));
        assert!(parse_array("0").is_err());
        assert!(parse_array("11M").is_err());
        assert!(parse_array("x").is_err());
    }
}
