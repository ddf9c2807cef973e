//! `weir bench --masters 3`: what several masters cost beside one, and how soon work goes on when the
//! one that leads is killed. On processes of its own, so it kills nobody else's.
//!
//! The limit of commits is measured in the same run as what is held against it: as many clients at once
//! as submit jobs each set a namespace's weight, which is the smallest change that masters commit and has
//! nothing to check or to run. Both are calls to the same masters over the same connection.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::task::JoinSet;
use weir_sdk::{
    Client,
    proto::{
        id::Namespace,
        units::{grouped, short_duration},
        weight::Weight,
    },
};

use super::{Bench, NOOP, WARM_UP_TASKS, failover, ms, own::Own, quantile, snapshot};
use crate::{config, embed, number::within, text};

/// Clients that submit, or set a weight, at once.
const IN_FLIGHT: u32 = 64;

/// Arguments of `bench` without a command.
#[derive(Debug, clap::Args)]
pub(crate) struct MastersArgs {
    /// Start so many masters on this machine, kill their leader, and compare them with one
    #[arg(long, value_name = "COUNT", value_parser = within(3..=5))]
    pub(super) masters: Option<u32>,
    /// How often the leader is killed
    #[arg(long, value_name = "COUNT", default_value = "20", requires = "masters", value_parser = within(1..=1_000))]
    rounds: u32,
    /// Do little of everything: it only shows that all of it works
    #[arg(long, requires = "masters")]
    quick: bool,
    /// Print JSON
    #[arg(long, requires = "masters")]
    pub(super) json: bool,
}

/// How much is done of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    /// Times that the leader is killed.
    pub(super) rounds: u32,
    /// Tasks of an array, and how often it is run.
    array: u32,
    arrays: u32,
    /// Jobs that are submitted, and weights that are set, with `IN_FLIGHT` under way.
    submissions: u32,
    /// Jobs of one task, one after another.
    singles: u32,
    /// Jobs in the state that a snapshot is taken of, and tasks of each.
    pub(super) jobs: u32,
    pub(super) tasks: u32,
}

/// What `weir bench --masters` measured, on masters and agents of its own on this machine.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MastersFigures {
    /// How many masters; the others beside them are one.
    masters: u32,
    /// How often their leader was killed.
    rounds: u32,
    /// Median time from the leader's death to the first lease of another.
    lease_after_kill_p50_ms: f64,
    /// The longest of them.
    lease_after_kill_max_ms: f64,
    /// The same median where one of two agents was killed at that instant.
    lease_after_kill_with_agent_p50_ms: f64,
    /// The longest of them.
    lease_after_kill_with_agent_max_ms: f64,
    /// Tasks a second of an array, each with a result that was read back: the median of some arrays.
    array_tasks_per_s: f64,
    /// The same with one master.
    array_tasks_per_s_one: f64,
    /// Durable submissions of jobs of one task a second, with 64 under way.
    submissions_per_s: f64,
    /// The smallest changes that the same masters commit in a second, with 64 under way.
    commit_limit_per_s: f64,
    /// Median time from submitting a job of one task to its result, one under way.
    single_p50_ms: f64,
    /// The same with one master.
    single_p50_ms_one: f64,
    /// Jobs in the state of which a snapshot was taken.
    snapshot_jobs: u32,
    /// Their finished tasks.
    snapshot_tasks: u64,
    /// The longest that a master's loop stood still while it took one.
    snapshot_stall_ms: f64,
    /// From the start of a master that was killed with that state to its answering clients.
    restart_ms: f64,
    /// The same of all masters at once, which have to elect a leader first.
    restart_all_ms: f64,
}

/// Measures and prints.
pub(super) async fn run(args: &MastersArgs, masters: u32) -> Result<ExitCode> {
    let amounts = args.amounts();
    let figures = measure(masters, amounts).await?;
    if args.json {
        text::print_json(&figures)?;
    } else {
        text::print(&about(&figures))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl MastersArgs {
    fn amounts(&self) -> Amounts {
        if self.quick {
            let (rounds, array, arrays, submissions) = (1, 2_000, 1, 200);
            return Amounts {
                rounds,
                array,
                arrays,
                submissions,
                singles: 20,
                jobs: 10,
                tasks: 100,
            };
        }
        let (rounds, array, arrays, submissions) = (self.rounds, 200_000, 5, 10_000);
        Amounts { rounds, array, arrays, submissions, singles: 1_000, jobs: 1_000, tasks: 1_000 }
    }
}

async fn measure(masters: u32, amounts: Amounts) -> Result<MastersFigures> {
    let say = |what: &str| {
        if !config::current().quiet.value {
            text::remark(&format!("measuring {what}"));
        }
    };
    say("what several masters do beside one");
    let group = Own::start(masters as usize, 1).await?;
    let one = Own::start(1, 1).await?;
    let (ours, theirs) = (bench(&group).await?, bench(&one).await?);
    let (mut array, mut array_one) = (Vec::new(), Vec::new());
    // In turn: whatever else this machine does hits both.
    for _ in 0..amounts.arrays {
        array.push(array_time(&ours, amounts.array).await?);
        array_one.push(array_time(&theirs, amounts.array).await?);
    }
    let single = single_p50(&ours, amounts.singles).await?;
    let single_one = single_p50(&theirs, amounts.singles).await?;
    drop(one);
    say("how many changes they commit");
    let commit_limit_per_s = commits(&ours, amounts.submissions).await?;
    let submissions_per_s = submissions(&ours, amounts.submissions).await?;
    drop(group);

    say("how soon another master leases");
    let kills = failover::measure(masters as usize, amounts.rounds).await?;
    say("what a snapshot costs");
    let snapshot = snapshot::measure(masters as usize, amounts).await?;
    let per_s = |mut times: Vec<Duration>| {
        times.sort_unstable();
        f64::from(amounts.array) / quantile(&times, 0.5).as_secs_f64()
    };
    Ok(MastersFigures {
        masters,
        rounds: amounts.rounds,
        lease_after_kill_p50_ms: ms(quantile(&kills.alone, 0.5)),
        lease_after_kill_max_ms: ms(quantile(&kills.alone, 1.0)),
        lease_after_kill_with_agent_p50_ms: ms(quantile(&kills.with_agent, 0.5)),
        lease_after_kill_with_agent_max_ms: ms(quantile(&kills.with_agent, 1.0)),
        array_tasks_per_s: per_s(array),
        array_tasks_per_s_one: per_s(array_one),
        submissions_per_s,
        commit_limit_per_s,
        single_p50_ms: ms(single),
        single_p50_ms_one: ms(single_one),
        snapshot_jobs: amounts.jobs,
        snapshot_tasks: u64::from(amounts.jobs) * u64::from(amounts.tasks),
        snapshot_stall_ms: ms(snapshot.stall),
        restart_ms: ms(snapshot.restart),
        restart_all_ms: ms(snapshot.restart_all),
    })
}

/// Clients of a cluster whose agent has compiled the module.
async fn bench(own: &Own) -> Result<Bench> {
    let client = own.client().await?;
    let bench = warm(client, NOOP).await?;
    bench.array(WARM_UP_TASKS).await.context("the warm-up failed")?;
    Ok(bench)
}

/// A module of the benchmark's own that is in the store.
pub(super) async fn warm(client: Client, module: &str) -> Result<Bench> {
    let wasm = wat::parse_str(module).context("the benchmark's own module is broken")?;
    let module = client.put(wasm.into()).await?;
    embed::wait_for_agent(&client).await?;
    Ok(Bench { client, module })
}

async fn array_time(bench: &Bench, tasks: u32) -> Result<Duration> {
    let started = Instant::now();
    bench.array(tasks).await?;
    Ok(started.elapsed())
}

async fn single_p50(bench: &Bench, count: u32) -> Result<Duration> {
    let mut times = bench.singles(count, 1).await?;
    times.sort_unstable();
    Ok(quantile(&times, 0.5))
}

/// Durable submissions a second. What was submitted runs meanwhile, and has ended when this returns.
async fn submissions(bench: &Bench, count: u32) -> Result<f64> {
    let submit = |bench: Arc<Bench>, _| async move {
        bench.client.submit(bench.spec(1, false)).await.map(drop).map_err(anyhow::Error::from)
    };
    let rate = rate(bench, count, submit).await?;
    while bench.client.status().await?.active_jobs > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(rate)
}

/// The smallest changes a second: each client sets the weight of a namespace of its own over and over.
pub(super) async fn commits(bench: &Bench, count: u32) -> Result<f64> {
    let set = |bench: Arc<Bench>, client: u32| async move {
        let namespace: Namespace = format!("bench-{client}").parse().context("a namespace")?;
        Ok(bench.client.set_weight(&namespace, Weight::default()).await?)
    };
    rate(bench, count, set).await
}

/// How often a second something is done that `IN_FLIGHT` clients do at once, each numbered.
async fn rate<F>(
    bench: &Bench,
    count: u32,
    does: impl Fn(Arc<Bench>, u32) -> F + Copy + Send + 'static,
) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send,
{
    let left = Arc::new(AtomicU32::new(count));
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..IN_FLIGHT {
        let (left, bench) = (left.clone(), Arc::new(bench.clone()));
        clients.spawn(async move {
            let one_less = |left: u32| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
                does(bench.clone(), client).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

fn about(figures: &MastersFigures) -> String {
    let time = |ms: f64| short_duration(Duration::from_secs_f64(ms / 1e3));
    let whole = |number: f64| grouped(number as u64);
    let of = |part: f64, whole: f64| format!("{:.2}", part / whole);
    let f = figures;
    format!(
        "{} masters beside one, on this machine\n  \
         leader killed  a new lease after {}, the longest of {} {}\n  \
         and an agent   a new lease after {}, the longest of {} {}\n  \
         array          {} tasks/s, {} of one master's {}/s\n  \
         submissions    {}/s with {IN_FLIGHT} under way, {} of the limit of commits, {}/s\n  \
         single job     p50 {}, {} times one master's {}\n  \
         snapshot       of {} jobs and {} tasks stops the loop for at most {}\n  \
         restart        a master answers after {}, all at once after {}\n",
        f.masters,
        time(f.lease_after_kill_p50_ms),
        f.rounds,
        time(f.lease_after_kill_max_ms),
        time(f.lease_after_kill_with_agent_p50_ms),
        f.rounds,
        time(f.lease_after_kill_with_agent_max_ms),
        whole(f.array_tasks_per_s),
        of(f.array_tasks_per_s, f.array_tasks_per_s_one),
        whole(f.array_tasks_per_s_one),
        whole(f.submissions_per_s),
        of(f.submissions_per_s, f.commit_limit_per_s),
        whole(f.commit_limit_per_s),
        time(f.single_p50_ms),
        of(f.single_p50_ms, f.single_p50_ms_one),
        time(f.single_p50_ms_one),
        grouped(f.snapshot_jobs.into()),
        grouped(f.snapshot_tasks),
        time(f.snapshot_stall_ms),
        time(f.restart_ms),
        time(f.restart_all_ms)
    )
}
