//! `weir bench`: how many tasks a second, each in its own sandbox, each result durable and read back.
//!
//! The guest does nothing but write a line, so what is measured is Weir. `floor_tasks_per_s` is the
//! same module in bare sandboxes of this machine, without master, log, store or network.
//!
//! What several masters do beside one is in [`masters`].

mod failover;
pub(crate) mod masters;
mod own;
mod snapshot;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::task::JoinSet;
use weir_sdk::{
    Client,
    event::JobEvent,
    proto::{
        digest::Digest,
        id::JobId,
        job::{JobSpec, MAX_TASKS, StageSpec, TaskKind},
        limits::{Limits, Resources},
        page::{Output, TaskResult},
        range::{RangeSet, TaskRange},
        units::{grouped, short_duration},
    },
    watch::WatchOptions,
};

use crate::{connect::MasterFlag, embed, exit, number::within, signals::Interrupts, text};

const NOOP: &str = include_str!("noop.wat");
/// What each task must have written.
const EXPECTED_STDOUT: &[u8] = b"weir\n";
/// Tasks that run before the clock: the module is compiled and every pool warm.
const WARM_UP_TASKS: u32 = 200;
/// Sandboxes the floor is measured with: enough for a second or so on two cores.
const FLOOR_TASKS: u64 = 100_000;
/// Most jobs under way at once; each is a call that waits.
const MAX_IN_FLIGHT: u32 = 65_535;

/// Measure how fast this cluster is, or how good several masters are
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  weir bench tasks                                 20,000 tasks in one job
  weir bench tasks --count 2000 --single           a job for each task
  weir bench --masters 3                           three masters here beside one; takes minutes"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    masters: masters::MastersArgs,
}

/// What is measured of a cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BenchCommand {
    /// Run tasks that only write a line, and check that every result can be read
    Tasks(TasksArgs),
}

/// Arguments of `bench tasks`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  weir bench tasks --count 100000
  weir bench tasks --count 2000 --single --in-flight 8
  weir bench tasks --json

p50_ms and p99_ms: with --single, from before a job is submitted until its result is read; with\n\
--array, the wall time of a task in its sandbox. commit_p50_ms: propose to apply, in the master.\n\
floor_tasks_per_s: the same module and limits in bare sandboxes on all cores of this machine.")]
pub(crate) struct TasksArgs {
    /// How many tasks
    #[arg(long, value_name = "COUNT", default_value = "20000", value_parser = within(1..=MAX_TASKS))]
    count: u32,
    /// All in one job [the default]
    #[arg(long, conflicts_with = "single")]
    array: bool,
    /// A job for each task
    #[arg(long)]
    single: bool,
    /// With --single: how many jobs are under way at once
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "single", value_parser = within(1..=MAX_IN_FLIGHT))]
    in_flight: u32,
    #[command(flatten)]
    master: MasterFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed; the keys are part of the command's contract.
/// What a bench measured.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Figures {
    /// Tasks a second, each with a result that was read back.
    tasks_per_s: f64,
    /// The same module in bare sandboxes on all cores of this machine.
    floor_tasks_per_s: f64,
    /// Median of a task: of an array in its sandbox, singly from submission to the result read.
    p50_ms: f64,
    /// 99th percentile of the same.
    p99_ms: f64,
    /// Median time from propose to apply, in the master.
    commit_p50_ms: f64,
}

/// Runs the command.
///
/// # Errors
/// When there is no cluster, or a task did not succeed or has no result.
pub(crate) async fn run(args: BenchArgs) -> Result<ExitCode> {
    match (args.command, args.masters.masters) {
        (Some(BenchCommand::Tasks(tasks)), _) => run_tasks(tasks).await,
        (None, Some(count)) => run_masters(&args.masters, count).await,
        (None, None) => {
            bail!("say what to measure: `weir bench tasks` or `weir bench --masters 3`")
        }
    }
}

/// What it starts ends with it, interrupted or not.
async fn run_masters(args: &masters::MastersArgs, count: u32) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        biased;
        _ = interrupts.next() => Ok(exit::interrupted()),
        done = masters::run(args, count) => done,
    }
}

async fn run_tasks(args: TasksArgs) -> Result<ExitCode> {
    let mut interrupts = Interrupts::listen()?;
    let connection = tokio::select! {
        biased;
        _ = interrupts.next() => return Ok(exit::interrupted()),
        connection = args.master.connect_or_embed() => connection?,
    };
    let figures = tokio::select! {
        biased;
        _ = interrupts.next() => Ok(None),
        figures = measure(&connection.client, &args) => figures.map(Some),
    };
    connection.close().await;
    let Some(figures) = figures? else { return Ok(exit::interrupted()) };
    if args.json {
        text::print_json(&figures)?;
    } else {
        text::print(&about(&args, &figures))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(client: &Client, args: &TasksArgs) -> Result<Figures> {
    let wasm = wat::parse_str(NOOP).context("the benchmark's own module is broken")?;
    let bench = Bench { module: client.put(wasm.clone().into()).await?, client: client.clone() };
    embed::wait_for_agent(client).await?;
    bench.array(WARM_UP_TASKS.min(args.count)).await.context("the warm-up failed")?;
    let (mut times, elapsed) = if args.single {
        for _ in 0..WARM_UP_TASKS.min(args.count) {
            bench.single().await.context("the warm-up failed")?;
        }
        let started = Instant::now();
        (bench.singles(args.count, args.in_flight).await?, started.elapsed())
    } else {
        let started = Instant::now();
        (bench.array(args.count).await?, started.elapsed())
    };
    // Before the floor, which commits nothing but keeps the cores from the master.
    let commit_p50 = client.status().await?.commit_p50;
    let floor_tasks_per_s = embed::floor(wasm, limits(), FLOOR_TASKS).await?;
    times.sort_unstable();
    Ok(Figures {
        tasks_per_s: f64::from(args.count) / elapsed.as_secs_f64(),
        floor_tasks_per_s,
        p50_ms: ms(quantile(&times, 0.50)),
        p99_ms: ms(quantile(&times, 0.99)),
        commit_p50_ms: ms(commit_p50),
    })
}

/// A client, and a module of this command's that is in its cluster's store.
#[derive(Clone)]
struct Bench {
    client: Client,
    module: Digest,
}

impl Bench {
    /// Runs one job of many tasks and reads every result; the wall time of each task.
    async fn array(&self, count: u32) -> Result<Vec<Duration>> {
        let job = self.client.submit(self.spec(count, true)).await?;
        self.results(job, count).await
    }

    /// Runs a job of one task and reads its result.
    async fn single(&self) -> Result<()> {
        let job = self.client.submit(self.spec(1, false)).await?;
        self.results(job, 1).await.map(|_| ())
    }

    /// Runs many jobs of one task, so many at once; the time of each from submission to result.
    async fn singles(&self, count: u32, in_flight: u32) -> Result<Vec<Duration>> {
        let left = Arc::new(AtomicU32::new(count));
        let mut clients = JoinSet::new();
        for _ in 0..in_flight {
            let left = Arc::clone(&left);
            let bench = Bench { client: self.client.clone(), module: self.module };
            clients.spawn(async move {
                let mut times = Vec::new();
                let one_less = |left: u32| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                    let started = Instant::now();
                    bench.single().await?;
                    times.push(started.elapsed());
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::with_capacity(count as usize);
        while let Some(done) = clients.join_next().await {
            times.extend(done??);
        }
        Ok(times)
    }

    /// Reads the results of all tasks of a job, and checks that each is what it must be.
    async fn results(&self, job: JobId, count: u32) -> Result<Vec<Duration>> {
        let mut watch =
            self.client.watch(job, WatchOptions { after: None, live: false, follow: true });
        let mut seen = RangeSet::new();
        let mut times = Vec::with_capacity(count as usize);
        // Every result is here before the job's end is, so nothing waits for the end.
        while seen.len() < count {
            match watch.next().await? {
                Some(JobEvent::Results(results)) => {
                    for (task, result) in results.iter() {
                        check(job, task, result)?;
                        if seen.contains(task) {
                            bail!("{job} told the result of task {task} twice");
                        }
                        seen.insert(TaskRange::single(task));
                        times.push(Duration::from_micros(result.usage.wall_us));
                    }
                }
                Some(JobEvent::Verdict { range, outcome }) => {
                    bail!("tasks {range} of {job} did not run: {outcome}")
                }
                Some(JobEvent::Live(_)) => {}
                Some(JobEvent::Ended(_)) | None => {
                    bail!("{job} ended with {} of {count} results", seen.len())
                }
            }
        }
        Ok(times)
    }

    fn spec(&self, count: u32, array: bool) -> JobSpec {
        let limits = limits();
        let stage = StageSpec {
            count,
            kind: if array { TaskKind::Array } else { TaskKind::Plain },
            limits,
            resources: Resources::new(1000, limits.memory_bytes),
            ..StageSpec::new("noop", self.module)
        };
        let namespace = self.client.namespace().clone();
        JobSpec { name: "bench".to_owned(), namespace, stages: vec![stage], priority: 0 }
    }
}

fn check(job: JobId, task: u32, result: &TaskResult) -> Result<()> {
    if !result.outcome.succeeded() {
        bail!("task {task} of {job} did not succeed: {}", result.outcome);
    }
    match &result.stdout {
        Output::Inline(bytes) if bytes == EXPECTED_STDOUT => Ok(()),
        other => bail!("task {task} of {job} wrote something else: {} bytes", other.size_bytes()),
    }
}

fn limits() -> Limits {
    Limits {
        fuel: 10_000_000,
        memory_bytes: 1 << 20,
        timeout_ms: 30_000,
        output_bytes: 64 << 10,
        scratch_bytes: 64 << 10,
    }
}

/// The value below which so much of a sorted list lies; the nearest one that occurs.
fn quantile(sorted: &[Duration], part: f64) -> Duration {
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn about(args: &TasksArgs, figures: &Figures) -> String {
    let time = |ms: f64| short_duration(Duration::from_secs_f64(ms / 1e3));
    let how = if args.single {
        format!("in jobs of their own, {} under way", args.in_flight)
    } else {
        "in one array".to_owned()
    };
    format!(
        "{} tasks {how}\n  tasks     {}/s\n  floor     {}/s in bare sandboxes\n  task      p50 \
         {}, p99 {}\n  commit    p50 {}\n",
        grouped(args.count.into()),
        grouped(figures.tasks_per_s as u64),
        grouped(figures.floor_tasks_per_s as u64),
        time(figures.p50_ms),
        time(figures.p99_ms),
        time(figures.commit_p50_ms)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_valid_and_calls_fd_write() {
        let wasm = wat::parse_str(NOOP).expect("valid");
        assert!(wasm.windows(8).any(|bytes| bytes == b"fd_write"));
    }

    #[test]
    fn quantiles_are_values_that_occur() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.50), Duration::from_millis(50));
        assert_eq!(quantile(&times, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&times[..1], 0.99), Duration::from_millis(1));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn the_keys_of_the_figures_are_the_contract() {
        let figures = Figures {
            tasks_per_s: 1.0,
            floor_tasks_per_s: 2.0,
            p50_ms: 3.0,
            p99_ms: 4.0,
            commit_p50_ms: 5.0,
        };
        let value = serde_json::to_value(&figures).expect("JSON");
        let keys: Vec<_> = value.as_object().expect("an object").keys().cloned().collect();
        let mut expected =
            ["tasks_per_s", "floor_tasks_per_s", "p50_ms", "p99_ms", "commit_p50_ms"];
        expected.sort_unstable();
        assert_eq!(keys, expected);
    }
}
