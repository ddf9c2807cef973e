//! Guests that mean harm, one file each in `hostile/`: how each ends, that the agent is afterwards as
//! it was before, and that its other tasks never notice.
//!
//! A file's first line is the outcome, a second one may change limits. What is no whole module gets
//! `prelude.wat` before it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Handle};
use weir_agent::{
    compiler::CompilerConfig,
    data::MemoryData,
    executor::{End, Executor, ExecutorConfig, Finished},
    modules::ModuleCache,
    profile::PROFILE,
    sandbox::{Sandbox, SandboxConfig},
};
use weir_proto::{
    id::{JobId, LeaseId, Namespace, StageId},
    job::{Input, InputSource, Keep, StageSpec, TaskKind},
    lease::Lease,
    limits::Limits,
    range::TaskRange,
};

/// Tasks that run beside each guest.
const NEIGHBOURS: u32 = 50;
/// Most memory that the agent may have grown by, in bytes, when all is over: what allocators keep.
const MAX_GROWTH_BYTES: u64 = 150 << 20;
/// Threads beyond those of the start: tokio's, which go when they were idle for a while.
const MAX_MORE_THREADS: usize = 8;
/// Longest wall time of one guest with its neighbours.
const MAX_TIME: Duration = Duration::from_secs(20);

/// Writes a file, reads it back, and exits with 0 if that went well.
const NEIGHBOUR: &str = r#"(func (export "_start") (local $n i32)
    (call $is (call $write (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i64.const 66))
        (i32.const 1024) (i32.const 5)) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 4096))
    (call $is (call $fd_pread (i32.const 4) (i32.const 16) (i32.const 1) (i64.const 0) (i32.const 24))
        (i32.const 0))
    (call $is (i32.load (i32.const 4096)) (i32.load (i32.const 1024)))
    (loop (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 10000)))))"#;

struct Agent {
    executor: Executor,
    data: Arc<MemoryData>,
    scratch_dir: PathBuf,
    seq: u64,
    _dir: tempfile::TempDir,
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Holds {
    memory_bytes: u64,
    descriptors: usize,
    threads: usize,
}

fn entries(dir: &str) -> usize {
    fs::read_dir(dir).expect("Linux").count()
}

/// Open descriptors, without those of compiled modules, of which the agent keeps so many.
fn descriptors() -> usize {
    let open =
        fs::read_dir("/proc/self/fd").expect("Linux").map(|entry| entry.expect("one").path());
    let is_module = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("/modules/"))
    };
    open.filter(|path| !is_module(path)).count()
}

impl Holds {
    fn now() -> Holds {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = memory.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Holds {
            memory_bytes: kib.expect("VmRSS in KiB") << 10,
            descriptors: descriptors(),
            threads: entries("/proc/self/task"),
        }
    }
}

impl Agent {
    fn start() -> Agent {
        let sandbox = Sandbox::new(SandboxConfig { max_instances: 20 }).expect("a sandbox");
        let sandbox = Arc::new(sandbox);
        let dir = tempfile::tempdir().expect("a directory");
        let modules = ModuleCache::open(
            dir.path().join("modules"),
            sandbox.clone(),
            CompilerConfig::in_this_process(),
        );
        let data = Arc::new(MemoryData::new());
        let scratch_dir = dir.path().join("scratch");
        let executor = Executor::start(
            ExecutorConfig { workers: 2, scratch_dir: scratch_dir.clone() },
            sandbox,
            Arc::new(modules.expect("a cache")),
            data.clone(),
            Handle::current(),
        );
        let executor = executor.expect("an executor");
        Agent { executor, data, scratch_dir, seq: 0, _dir: dir }
    }

    fn lease(&mut self, text: &str, tasks: u32, limits: Limits) -> Lease {
        self.seq += 1;
        let whole = text.lines().any(|line| line.starts_with("(module"));
        let text = match whole {
            true => text.to_owned(),
            false => format!("(module {}\n{text})", include_str!("hostile/prelude.wat")),
        };
        let module = self.data.insert(wat::parse_str(&text).expect("text that parses"));
        let input = InputSource::Blob(self.data.insert(&b"an input"[..]));
        Lease {
            id: LeaseId { term: 1, seq: self.seq },
            stage: StageId { job: JobId(self.seq), stage: 0 },
            range: TaskRange::new(0, tasks),
            slots: tasks.min(4),
            namespace: Namespace::default_namespace(),
            spec: StageSpec {
                count: tasks,
                kind: TaskKind::Array,
                keep: Keep::Out,
                inputs: vec![Input { path: "/in/f".to_owned(), source: input, writable: false }],
                limits,
                ..StageSpec::new("main", module)
            },
            profile: PROFILE.to_owned(),
            weights: Vec::new(),
        }
    }

    /// Runs a guest beside its neighbours; how it ended.
    async fn run(&mut self, guest: &Guest) -> Result<String, String> {
        let hostile = self.lease(&guest.text, 1, guest.limits);
        let others = self.lease(NEIGHBOUR, NEIGHBOURS, Limits { fuel: 10_000_000, ..LIMITS });
        self.executor.grant(&hostile);
        self.executor.grant(&others);
        let mut finished: Vec<Finished> = Vec::new();
        let all = async {
            while finished.len() <= NEIGHBOURS as usize {
                finished.append(&mut self.executor.take_finished());
                if finished.len() <= NEIGHBOURS as usize {
                    self.executor.changed().await;
                }
            }
        };
        let in_time = tokio::time::timeout(MAX_TIME, all).await;
        for lease in [hostile.id, others.id] {
            self.executor.stop(lease);
        }
        in_time.map_err(|_| format!("only {} tasks end", finished.len()))?;
        let mut ended = None;
        for Finished { lease, end, .. } in finished {
            match end {
                End::CannotRun { reason } => return Err(format!("cannot run: {reason}")),
                End::Result(result) if lease == hostile.id => {
                    ended = Some(result.outcome.to_string());
                }
                End::Result(result) if !result.outcome.succeeded() => {
                    return Err(format!("a neighbour {}", result.outcome));
                }
                End::Result(_) => {}
            }
        }
        ended.ok_or_else(|| "it has no end".to_owned())
    }

    /// # Errors
    /// What is not as it was, some time later.
    async fn check(&self, before: Holds) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let now = Holds::now();
            let scratch = fs::read_dir(&self.scratch_dir).expect("a directory").count();
            if now.memory_bytes <= before.memory_bytes + MAX_GROWTH_BYTES
                && now.descriptors == before.descriptors
                && now.threads <= before.threads + MAX_MORE_THREADS
                && scratch == 0
            {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(2) {
                return Err(format!("leaves {now:?} of {before:?}, {scratch} files in scratch"));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What guests get that do not say otherwise.
const LIMITS: Limits = Limits {
    fuel: 50_000_000,
    memory_bytes: 64 << 20,
    timeout_ms: 20_000,
    output_bytes: 1 << 20,
    scratch_bytes: 1 << 20,
};

struct Guest {
    name: String,
    outcome: String,
    limits: Limits,
    text: String,
}

impl Guest {
    fn read(path: &Path) -> Guest {
        let text = fs::read_to_string(path).expect("a guest");
        let mut lines = text.lines().map_while(|line| line.strip_prefix(";; "));
        let outcome = lines.next().expect("a first line with the outcome").to_owned();
        let mut limits = LIMITS;
        let changes = lines.find_map(|line| line.strip_prefix("limits: ")).unwrap_or("");
        for change in changes.split_whitespace() {
            let (name, value) = change.split_once('=').expect("name=value");
            let value = value.parse().expect("a number");
            match name {
                "fuel" => limits.fuel = value,
                "memory" => limits.memory_bytes = value,
                "scratch" => limits.scratch_bytes = value,
                other => panic!("no limit {other}"),
            }
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Guest { name, outcome, limits, text }
    }
}

/// All guests, by name.
fn guests() -> Vec<Guest> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let paths = fs::read_dir(dir).expect("the guests").map(|entry| entry.expect("one").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| !path.ends_with("prelude.wat")).collect();
    paths.sort();
    paths.iter().map(|path| Guest::read(path)).collect()
}

async fn all_guests() {
    let mut agent = Agent::start();
    let guests = guests();
    assert!(guests.len() >= 60, "{} guests", guests.len());
    // The first brings up threads, pools and caches.
    for guest in &guests[..5] {
        agent.run(guest).await.expect("it runs");
    }
    let (before, mut faults) = (Holds::now(), Vec::new());
    for guest in &guests {
        let began = Instant::now();
        match agent.run(guest).await {
            Ok(outcome) if outcome == guest.outcome => {}
            Ok(outcome) => faults.push(format!("{}: {outcome}", guest.name)),
            Err(fault) => faults.push(format!("{}: {fault}", guest.name)),
        }
        println!("{:>6} ms  {}", began.elapsed().as_millis(), guest.name);
        faults.extend(agent.check(before).await.err().map(|f| format!("{} {f}", guest.name)));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn hostile_guests_end_as_they_should_and_harm_nobody() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(all_guests());
}
