//! How many sandboxes one agent holds, and what each takes: tasks that have run for a quantum and
//! wait for their next turn, each with its instance, stack and store.
//!
//! `WEIR_SANDBOXES` sets how many; `make density` takes all that an agent may have. The bounds are
//! those of `docs/agent.md`, for Linux's usual `vm.max_map_count`.

#[path = "density/holds.rs"]
mod holds;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Handle};
use weir_agent::{
    compiler::CompilerConfig,
    data::MemoryData,
    executor::{Executor, ExecutorConfig},
    machine::Machine,
    modules::ModuleCache,
    pool::{MAX_SANDBOXES, Pools, SANDBOX_BYTES},
    profile::PROFILE,
    sandbox::Sandbox,
};
use weir_proto::{
    id::{JobId, LeaseId, Namespace, StageId},
    job::{StageSpec, TaskKind},
    lease::Lease,
    limits::{Limits, Resources},
    range::TaskRange,
};

use self::holds::Holds;

/// Sandboxes of the short form.
const FEW: u32 = 1_000;
/// What Linux allows a process unless somebody says otherwise.
const USUAL_MAPPINGS: u64 = 65_530;
/// Mappings that must be left when all is in use: most of what the layout leaves to other modules,
/// threads and memory.
const SPARE_MAPPINGS: u64 = 3_840;
/// Longest time until all are live.
const MAX_TIME: Duration = Duration::from_secs(120);

/// Its own pages: two of zeros, one of its data, one of its table.
const OWN_BYTES: u64 = 4 * 4096;

/// Tells that it is there when its first quantum is over, and goes on for ever. Its data lies in the
/// middle, so its memory is as many mappings as a memory can be.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 3)
    (table 16 funcref)
    (elem (i32.const 0) $burn)
    (data (i32.const 65536) "x")
    (func $burn (param $n i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 1))
        (i32.store (i32.const 65540) (i32.const 1))
        (i32.store (i32.const 131072) (i32.const 1))
        (call_indirect (param i32) (i32.const 1000000) (i32.const 0))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (loop (call $burn (i32.const 1000000)) (br 0))))"#;

struct Agent {
    executor: Executor,
    data: Arc<MemoryData>,
    seq: u64,
    _dir: tempfile::TempDir,
}

impl Agent {
    fn start(sandboxes: u32) -> Agent {
        let usual = Machine { mappings: Some(USUAL_MAPPINGS), ..Machine::this() };
        let offered = Resources::new(sandboxes * 10, 1 << 30);
        let pools = Pools::new(&offered, &usual).expect("a machine with room");
        let sandbox = Arc::new(Sandbox::laid_out(pools).expect("a sandbox"));
        let dir = tempfile::tempdir().expect("a directory");
        let modules = ModuleCache::open(
            dir.path().join("modules"),
            sandbox.clone(),
            CompilerConfig::in_this_process(),
        );
        let data = Arc::new(MemoryData::new());
        let executor = Executor::start(
            ExecutorConfig { workers: 2, scratch_dir: dir.path().join("scratch") },
            sandbox,
            Arc::new(modules.expect("a cache")),
            data.clone(),
            Handle::current(),
        );
        Agent { executor: executor.expect("an executor"), data, seq: 0, _dir: dir }
    }

    /// Starts tasks that never end and waits until each is past its first quantum.
    async fn fill(&mut self, tasks: u32, guest: &str) -> LeaseId {
        self.seq += 1;
        let id = LeaseId { term: 1, seq: self.seq };
        let module = self.data.insert(wat::parse_str(guest).expect("text that parses"));
        self.executor.grant(&Lease {
            id,
            stage: StageId { job: JobId(self.seq), stage: 0 },
            range: TaskRange::new(0, tasks),
            slots: tasks,
            namespace: Namespace::default_namespace(),
            spec: StageSpec {
                count: tasks,
                kind: TaskKind::Array,
                limits: Limits { fuel: 1 << 50, ..Limits::default() },
                ..StageSpec::new("main", module)
            },
            profile: PROFILE.to_owned(),
            weights: Vec::new(),
        });
        let (began, mut there) = (Instant::now(), BTreeSet::new());
        while there.len() < tasks as usize {
            assert!(began.elapsed() < MAX_TIME, "only {} are live", there.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
            there.extend(self.executor.take_live().iter().map(|chunk| chunk.task.index));
            let ended = self.executor.take_finished();
            assert!(ended.is_empty(), "{:?}", ended[0]);
        }
        println!("{tasks} are live after {:.1} s", began.elapsed().as_secs_f64());
        id
    }

    /// Stops them and waits until they are gone: each goes when its turn comes, and then nothing is
    /// left to run.
    async fn empty(&mut self, lease: LeaseId) {
        self.executor.stop(lease);
        let mut before = None;
        while before != Some(holds::processor_ticks()) {
            before = Some(holds::processor_ticks());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn live_sandboxes_are_small() {
    let count = std::env::var("WEIR_SANDBOXES").map_or(FEW, |text| text.parse().expect("a count"));
    let count = count.clamp(1, MAX_SANDBOXES);
    let at_start = Holds::now();
    let mut agent = Agent::start(count);
    let empty = Holds::now();
    let first = agent.fill(count, GUEST).await;
    println!("the pool itself: {:?}", empty.since(at_start, 1));
    check(empty, count);

    // Another module takes the same slots: nothing piles up.
    agent.empty(first).await;
    agent.fill(count, &GUEST.replace("65536) \"x\"", "65536) \"y\"")).await;
    check(empty, count);
}

/// What live sandboxes take, and what is left beside them.
fn check(empty: Holds, count: u32) {
    let full = Holds::now();
    let each = full.since(empty, count);
    println!("all together: {full:?}");
    println!("each of {count}: {each:?}, of which {OWN_BYTES} are the guest's own");
    let taken = each.memory_bytes + each.page_table_bytes;
    assert!(taken < OWN_BYTES + SANDBOX_BYTES, "{each:?}");
    // Stacks have theirs from the start. The fifth is for slots that are not used just now.
    assert!(each.mappings <= 5, "{each:?}");
    assert!(full.mappings + SPARE_MAPPINGS <= USUAL_MAPPINGS, "{full:?}");
}

#[test]
fn live_sandboxes_take_less_than_100_kib_each_and_fit_the_usual_mappings() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(live_sandboxes_are_small());
}
