//! How much time the executor adds to what its tasks take in the sandbox, and how soon a large module
//! runs again after a restart. `make speed` runs it, with the sandbox's own pairs of measurements.

mod large;

use std::path::Path;

use super::*;
use crate::sandbox::tests::{
    running,
    speed::{
        bare::{Bare, Settings},
        pairs::{Pairs, each, seconds},
        run_ours,
    },
};

/// Tasks of one measurement.
const TASKS: u32 = 20_000;

/// How often results are taken, as the agent's link to its master does it.
const TAKEN_EVERY: Duration = Duration::from_millis(1);

/// An executor of one worker over data and compiled modules that are there already, as after a restart.
fn restarted(sandbox: &Arc<Sandbox>, data: &Arc<MemoryData>, dir: &Path) -> Executor {
    let compiler = CompilerConfig::in_this_process();
    let modules = ModuleCache::open(dir.join("modules"), sandbox.clone(), compiler);
    let config = ExecutorConfig { workers: 1, scratch_dir: dir.join("scratch") };
    let modules = Arc::new(modules.expect("a cache"));
    let runtime = Handle::current();
    Executor::start(config, sandbox.clone(), modules, data.clone(), runtime).expect("an executor")
}

/// Leases of one module, one after the other.
struct Leases {
    bench: Bench,
    next: Lease,
}

impl Leases {
    /// With the module compiled and known to the executor.
    async fn warm(workers: usize, text: &str) -> Leases {
        let bench = Bench::new(workers);
        let next = bench.lease(1, text, 1, workers as u32);
        let mut leases = Leases { bench, next };
        leases.run(1).await;
        leases
    }

    /// Seconds for each task of a new lease, from its grant to the last result.
    async fn run(&mut self, tasks: u32) -> f64 {
        self.next.id.seq += 1;
        self.next.range = TaskRange::new(0, tasks);
        let began = Instant::now();
        self.bench.executor.grant(&self.next);
        let mut finished = 0;
        while finished < tasks as usize {
            self.bench.executor.changed().await;
            let taken = self.bench.executor.take_finished();
            assert!(taken.iter().all(|finished| outcome(finished).succeeded()), "{taken:?}");
            finished += taken.len();
            if finished < tasks as usize {
                tokio::time::sleep(TAKEN_EVERY).await;
            }
        }
        let took = began.elapsed().as_secs_f64() / f64::from(tasks);
        self.bench.executor.stop(self.next.id);
        took
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

#[test]
#[ignore = "it measures: `make speed`"]
fn an_executor_takes_at_most_twice_as_long_for_a_task_as_a_bare_loop() {
    let (runtime, stage) = (runtime(), running::stage());
    let bare = Bare::new(Settings::Profile, &wat::parse_str(empty()).expect("text that parses"));
    let mut leases = runtime.block_on(Leases::warm(1, empty()));
    let pairs = Pairs::measure(
        || runtime.block_on(leases.run(TASKS)),
        || each(TASKS, || runtime.block_on(bare.run(&stage, None))),
    );
    pairs.print("a task that does nothing, of one worker", "bare pooled Wasmtime in a loop");
    assert!(pairs.ratio() <= 2.0, "{pairs:?}");
}

#[test]
#[ignore = "it measures: `make speed`"]
fn two_workers_do_nearly_twice_the_work_of_one() {
    let (runtime, text) = (runtime(), burner(1_000_000));
    let mut one = runtime.block_on(Leases::warm(1, &text));
    let mut two = runtime.block_on(Leases::warm(2, &text));
    let pairs =
        Pairs::measure(|| runtime.block_on(one.run(500)), || runtime.block_on(two.run(1_000)));
    pairs.print("a task of 1 M fuel, of one worker", "of two workers");
    assert!(pairs.ratio() >= 1.8, "{pairs:?}");
}

/// Tasks that do nothing show what workers share. Most of it is Wasmtime's: its pool of instances, its
/// counts of who uses a module and its code, the kernel's count of who changes this process's memory.
#[test]
#[ignore = "it measures: `make speed`"]
fn two_workers_take_at_most_twice_as_long_for_a_task_as_two_bare_loops() {
    let (runtime, stage) = (runtime(), running::stage());
    let bare = Bare::new(Settings::Profile, &wat::parse_str(empty()).expect("text that parses"));
    let bare_loop = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        each(TASKS, || runtime.block_on(bare.run(&stage, None)));
    };
    let mut bare_loops = || {
        let two = || {
            std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(bare_loop)).map(drop));
        };
        seconds(two) / f64::from(2 * TASKS)
    };
    let mut one = runtime.block_on(Leases::warm(1, empty()));
    let mut two = runtime.block_on(Leases::warm(2, empty()));
    let mut two_run = || runtime.block_on(two.run(2 * TASKS));
    let gains = Pairs::measure(|| runtime.block_on(one.run(TASKS)), &mut two_run);
    gains.print("a task that does nothing, of one worker", "of two workers");
    let pairs = Pairs::measure(two_run, &mut bare_loops);
    pairs.print("a task that does nothing, of two workers", "two loops of bare pooled Wasmtime");
    let gains =
        Pairs::measure(|| each(TASKS, || runtime.block_on(bare.run(&stage, None))), bare_loops);
    gains.print("one loop of bare pooled Wasmtime", "two loops of it");
    assert!(pairs.ratio() <= 2.0, "{pairs:?}");
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_lease_of_a_thousand_tasks_costs_three_microseconds_for_each() {
    let runtime = runtime();
    let mut leases = runtime.block_on(Leases::warm(1, empty()));
    let stage = StageSpec { keep: Keep::Nothing, ..running::stage() };
    let (ready, files) = (running::ready(empty()), running::files(&stage, &[]));
    let pairs = Pairs::measure(
        || (0..20).map(|_| runtime.block_on(leases.run(1_000))).sum::<f64>() / 20.0,
        || each(TASKS, || drop(runtime.block_on(run_ours(&ready, &stage, &files)))),
    );
    pairs.print("a task of a lease of 1,000", "the sandbox alone");
    assert!(pairs.difference() <= 3e-6, "{pairs:?}");
}

#[test]
#[ignore = "it measures: `make speed`"]
fn a_module_of_20_mb_runs_again_30_ms_after_a_restart() {
    let runtime = runtime();
    let sandbox = Arc::new(Sandbox::new(SandboxConfig { max_instances: 20 }).expect("a sandbox"));
    let dir = tempfile::tempdir().expect("a directory");
    let bench = runtime.block_on(async { Bench::new(1) });
    let small = bench.lease(1, empty(), 1, 1);
    let mut large = small.clone();
    large.spec.module = bench.data.insert(large::module(20 << 20));
    // All of it, from the grant to the result: the first instruction comes sooner.
    let start = |lease: &Lease| {
        let executor = runtime.block_on(async { restarted(&sandbox, &bench.data, dir.path()) });
        let time = seconds(|| {
            executor.grant(lease);
            runtime.block_on(async {
                let mut ended = Vec::new();
                while ended.is_empty() {
                    executor.changed().await;
                    ended = executor.take_finished();
                }
                assert!(outcome(&ended[0]).succeeded(), "{ended:?}");
            });
        });
        executor.shutdown();
        time
    };
    // Compiled the first time, which does not count.
    let pairs = Pairs::measure(|| start(&large), || start(&small));
    pairs.print("a start of a module of 20 MB", "of an empty one");
    assert!(pairs.ours() <= 30e-3, "{pairs:?}");
}
