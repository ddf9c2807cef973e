//! Whole leases through the executor, with modules written as text.

mod epochs;
mod faults;
mod once;
mod pause;
mod shares;
mod speed;

use std::time::{Duration, Instant};

use weir_proto::{
    digest::Digest,
    id::{JobId, Namespace, StageId},
    job::{Input, InputSource, Keep, StageSpec, Stdin, TaskKind},
    limits::Limits,
    manifest::{Item, Manifest},
    metering::Metering,
    outcome::Outcome,
    page::Output,
    range::TaskRange,
};

use super::*;
use crate::{
    compiler::CompilerConfig,
    data::MemoryData,
    profile::{EPOCH_PROFILE, PROFILE},
    sandbox::SandboxConfig,
};

const WASI: &str = "wasi_snapshot_preview1";

struct Bench {
    executor: Executor,
    data: Arc<MemoryData>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(workers: usize) -> Bench {
        let config = SandboxConfig { max_instances: 20 };
        let sandbox = Arc::new(Sandbox::new(config).expect("a sandbox"));
        let dir = tempfile::tempdir().expect("a directory");
        let modules = ModuleCache::open(
            dir.path().join("modules"),
            sandbox.clone(),
            CompilerConfig::in_this_process(),
        );
        let data = Arc::new(MemoryData::new());
        let executor = Executor::start(
            ExecutorConfig { workers, scratch_dir: dir.path().join("scratch") },
            sandbox,
            Arc::new(modules.expect("a cache")),
            data.clone(),
            Handle::current(),
        );
        Bench { executor: executor.expect("an executor"), data, dir }
    }

    fn lease(&self, seq: u64, text: &str, tasks: u32, slots: u32) -> Lease {
        let module = self.data.insert(wat::parse_str(text).expect("text that parses"));
        Lease {
            id: LeaseId { term: 1, seq },
            stage: StageId { job: JobId(seq), stage: 0 },
            range: TaskRange::new(0, tasks),
            slots,
            namespace: Namespace::default_namespace(),
            spec: StageSpec {
                count: 10_000_000,
                kind: TaskKind::Array,
                limits: Limits { fuel: u64::MAX, timeout_ms: 20_000, ..Limits::default() },
                ..StageSpec::new("main", module)
            },
            profile: PROFILE.to_owned(),
            weights: Vec::new(),
        }
    }

    /// The same, metered by epochs.
    fn lease_by_epochs(&self, seq: u64, text: &str, tasks: u32, slots: u32) -> Lease {
        let lease = self.lease(seq, text, tasks, slots);
        let spec = StageSpec { metering: Metering::Epoch, ..lease.spec };
        Lease { spec, profile: EPOCH_PROFILE.to_owned(), ..lease }
    }

    async fn finish(&self, count: usize) -> Vec<Finished> {
        let mut finished = Vec::new();
        let all = async {
            while finished.len() < count {
                finished.append(&mut self.executor.take_finished());
                if finished.len() < count {
                    self.executor.changed().await;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("tasks that end");
        assert_eq!(finished.len(), count);
        finished
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(10), "{what} does not come true");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn outcome(finished: &Finished) -> &Outcome {
    match &finished.end {
        End::Result(result) => &result.outcome,
        End::CannotRun { reason } => panic!("cannot run: {reason}"),
    }
}

fn empty() -> &'static str {
    "(module (memory (export \"memory\") 1) (func (export \"_start\")))"
}

/// Burns about this much fuel.
fn burner(fuel: u64) -> String {
    format!(
        "(module (memory (export \"memory\") 1) (func (export \"_start\") (local i64)
            (loop (br_if 0 (i64.lt_u (local.tee 0 (i64.add (local.get 0) (i64.const 7)))
                (i64.const {fuel}))))))"
    )
}

/// Writes `count` bytes to stdout, then does `body`.
fn writer(count: u32, body: &str) -> String {
    format!(
        r#"(module
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const {count}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                {body}))"#
    )
}

/// Opens `path` below fd 3, which must work; with `create` it is made and 5 bytes are written.
fn opener(path: &str, create: bool) -> String {
    let (length, create_flag) = (path.len(), u32::from(create));
    let rights = if create { 64 } else { 2 };
    format!(
        r#"(module
            (import "{WASI}" "path_open" (func $open
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "{path}")
            (func (export "_start") (local $errno i32)
                (local.set $errno (call $open (i32.const 3) (i32.const 0)
                    (i32.const 64) (i32.const {length}) (i32.const {create_flag})
                    (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 8)))
                (if (local.get $errno) (then (call $exit (local.get $errno))))
                (if (i32.const {create_flag}) (then
                    (i32.store (i32.const 0) (i32.const 64))
                    (i32.store (i32.const 4) (i32.const 5))
                    (call $exit (call $write
                        (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 16)))))))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_of_a_lease_ends_once() {
    let bench = Bench::new(2);
    bench.executor.grant(&bench.lease(1, empty(), 1000, 4));
    let mut indexes: Vec<u32> =
        bench.finish(1000).await.iter().map(|finished| finished.task.index).collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..1000));
    assert!(bench.executor.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_with_two_slots_never_runs_more_than_two_tasks() {
    let bench = Bench::new(4);
    bench.executor.grant(&bench.lease(1, &burner(500_000), 1000, 2));
    let mut finished = 0;
    let mut most = 0;
    while finished < 1000 {
        most = most.max(bench.executor.running().len());
        finished += bench.executor.take_finished().len();
        tokio::task::yield_now().await;
    }
    assert_eq!(most, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_grant_adds_tasks_to_the_lease() {
    let bench = Bench::new(1);
    let mut lease = bench.lease(1, empty(), 10, 2);
    bench.executor.grant(&lease);
    bench.finish(10).await;
    lease.range = TaskRange::new(10, 25);
    bench.executor.grant(&lease);
    assert!(bench.finish(15).await.iter().all(|finished| finished.task.index >= 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_guests_share_one_worker_by_yields() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, &burner(u64::MAX / 2), 1, 1));
    bench.until("the first runs", || !bench.executor.running().is_empty()).await;
    bench.executor.grant(&bench.lease(2, &burner(10_000_000), 3, 1));
    let finished = bench.finish(3).await;
    assert!(finished.iter().all(|finished| finished.lease.seq == 2));
    assert_eq!(bench.executor.running(), [(LeaseId { term: 1, seq: 1 }, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_tasks_of_one_lease_do_not_hold_up_another() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, empty(), 10_000_000, 1));
    bench.until("the first runs", || !bench.executor.take_finished().is_empty()).await;
    bench.executor.grant(&bench.lease(2, empty(), 1, 1));
    let began = Instant::now();
    bench
        .until("the second ends", || {
            bench.executor.take_finished().iter().any(|finished| finished.lease.seq == 2)
        })
        .await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_lease_cancels_and_reports_nothing() {
    let bench = Bench::new(2);
    let lease = bench.lease(1, &burner(u64::MAX / 2), 100, 2);
    bench.executor.grant(&lease);
    bench.until("two run", || bench.executor.running().len() == 2).await;
    let began = Instant::now();
    bench.executor.stop(lease.id);
    bench.executor.grant(&bench.lease(2, empty(), 10, 2));
    let finished = bench.finish(10).await;
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(finished.iter().all(|finished| finished.lease.seq == 2));
    assert!(bench.executor.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_module_stdin_or_input_is_told_to_every_task() {
    let bench = Bench::new(1);
    let missing = Digest::of(b"missing");
    let mut module = bench.lease(1, empty(), 2, 1);
    module.spec.module = missing;
    let mut stdin = bench.lease(2, empty(), 2, 1);
    stdin.spec.stdin = Stdin::Blob(missing);
    let mut input = bench.lease(3, empty(), 2, 1);
    input.spec.inputs = vec![Input {
        path: "/in/a".to_owned(),
        source: InputSource::Tree(missing),
        writable: false,
    }];
    for lease in [module, stdin, input] {
        bench.executor.grant(&lease);
        for finished in bench.finish(2).await {
            assert_eq!(outcome(&finished), &Outcome::MissingInput { digest: missing });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_module_is_told_to_every_task_also_of_later_grants() {
    let bench = Bench::new(1);
    let lease = bench.lease(1, "(module)", 3, 1);
    for _ in 0..2 {
        bench.executor.grant(&lease);
        for finished in bench.finish(3).await {
            let Outcome::InvalidModule { reason } = outcome(&finished) else { panic!("no") };
            assert!(reason.contains("_start"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_go_on_and_progress_is_told_while_a_module_is_compiled() {
    const LEASES: u32 = 1_000;
    let bench = Bench::new(1);
    let functions = "(func (result f64) (f64.add (f64.sqrt (f64.const 2)) (f64.const 3)))";
    let large = format!("(module {} (func (export \"_start\")))", functions.repeat(20_000));
    bench.executor.grant(&bench.lease(1, empty(), 1, 1));
    bench.finish(1).await;
    let large = bench.lease(2, &large, 1, 1);
    for seq in 2..2 + u64::from(LEASES) {
        let id = LeaseId { term: 1, seq };
        bench.executor.grant(&Lease { id, ..large.clone() });
    }
    let compiling = || {
        let all = bench.executor.preparing();
        all.len() == LEASES as usize
            && all.iter().all(|(_, told)| told.step == PrepareStep::Compile)
    };
    bench.until("it compiles", compiling).await;
    // Others, meanwhile.
    let mut warm = bench.lease(1, empty(), 1, 1);
    warm.range = TaskRange::new(1, 101);
    bench.executor.grant(&warm);
    let others = bench.finish(100).await;
    assert!(others.iter().all(|finished| finished.lease.seq == 1));
    assert!(compiling(), "the module was too small to tell anything");
    assert!(bench.finish(LEASES as usize).await.iter().all(|f| outcome(f).succeeded()));
    assert_eq!(bench.executor.preparing(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_on_when_the_file_of_their_module_is_gone() {
    let bench = Bench::new(1);
    let text = "(module (memory 2) (data (i32.const 70000) \"x\") (func (export \"_start\")
        (if (i32.ne (i32.load8_u (i32.const 70000)) (i32.const 120)) (then unreachable))))";
    let mut lease = bench.lease(1, text, 1, 1);
    bench.executor.grant(&lease);
    assert!(outcome(&bench.finish(1).await[0]).succeeded());
    std::fs::remove_dir_all(bench.dir.path().join("modules")).expect("a directory");
    lease.range = TaskRange::new(1, 100);
    bench.executor.grant(&lease);
    for finished in bench.finish(99).await {
        assert!(outcome(&finished).succeeded(), "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_laid_out_and_out_becomes_a_tree() {
    let bench = Bench::new(2);
    let mut reader = bench.lease(1, &opener("in/dir/name", false), 20, 4);
    let tree = bench.data.insert_tree(&[("name", b"text")]);
    reader.spec.inputs = vec![Input {
        path: "/in/dir".to_owned(),
        source: InputSource::Tree(tree),
        writable: false,
    }];
    bench.executor.grant(&reader);
    for finished in bench.finish(20).await {
        assert_eq!(outcome(&finished), &Outcome::Succeeded { exit_code: 0 });
    }
    let mut writer = bench.lease(2, &opener("out/new", true), 1, 1);
    writer.spec.keep = Keep::Out;
    bench.executor.grant(&writer);
    let [finished] = &bench.finish(1).await[..] else { panic!("one task") };
    assert_eq!(outcome(finished), &Outcome::Succeeded { exit_code: 0 });
    let End::Result(TaskResult { out: Some(out), .. }) = &finished.end else { panic!("no out") };
    assert_eq!(out.size_bytes, 5);
    let tree = bench.data.tree(out.digest).expect("a tree");
    assert_eq!(bench.data.blob(tree["new"]).expect("a blob"), &b"out/n"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_foreach_stage_sees_the_file_of_its_item() {
    let bench = Bench::new(2);
    let items: Vec<Item> = ["a/one", "b/two", "c/one"]
        .map(|text| {
            let source = Some(InputSource::Blob(bench.data.insert(text.as_bytes().to_vec())));
            Item { text: text.to_owned(), source }
        })
        .into();
    let (manifest, chunks) = Manifest::of(&items);
    chunks.into_iter().for_each(|chunk| {
        bench.data.insert(chunk);
    });
    let manifest = bench.data.insert(manifest.encode());
    let mut lease = bench.lease(1, &opener("item/one", false), 3, 2);
    lease.spec.count = 3;
    lease.spec.kind = TaskKind::Foreach { manifest };
    bench.executor.grant(&lease);
    let mut finished = bench.finish(3).await;
    finished.sort_by_key(|finished| finished.task);
    let succeeded: Vec<bool> = finished.iter().map(|f| outcome(f).succeeded()).collect();
    assert_eq!(succeeded, [true, false, true], "{finished:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_has_its_own_copy_of_a_writable_input() {
    let bench = Bench::new(2);
    let mut lease = bench.lease(1, &opener("data/new", true), 8, 4);
    let tree = bench.data.insert_tree(&[("name", b"text")]);
    let source = InputSource::Tree(tree);
    lease.spec.inputs = vec![Input { path: "/data".to_owned(), source, writable: true }];
    bench.executor.grant(&lease);
    for finished in bench.finish(8).await {
        assert_eq!(outcome(&finished), &Outcome::Succeeded { exit_code: 0 });
    }
    lease.id.seq = 2;
    lease.spec.inputs[0].writable = false;
    bench.executor.grant(&lease);
    for finished in bench.finish(8).await {
        assert!(!outcome(&finished).succeeded(), "{finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_paths_to_be_kept_are_kept() {
    let bench = Bench::new(1);
    let mut lease = bench.lease(1, &opener("out/new", true), 1, 1);
    for (seq, path, files) in [(2, "new", 1), (3, "other", 0), (4, "new/x", 0)] {
        lease.id.seq = seq;
        lease.spec.keep = Keep::Paths(vec![path.to_owned()]);
        bench.executor.grant(&lease);
        let [finished] = &bench.finish(1).await[..] else { panic!("one task") };
        let End::Result(TaskResult { out: Some(out), .. }) = &finished.end else {
            panic!("no out: {finished:?}")
        };
        assert_eq!(bench.data.tree(out.digest).expect("a tree").len(), files, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_becomes_a_blob() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, &writer(4096, ""), 1, 1));
    bench.executor.grant(&bench.lease(2, &writer(4097, ""), 1, 1));
    let mut finished = bench.finish(2).await;
    finished.sort_by_key(|finished| finished.lease);
    let stdout = |finished: &Finished| match &finished.end {
        End::Result(result) => result.stdout.clone(),
        End::CannotRun { reason } => panic!("{reason}"),
    };
    assert!(matches!(stdout(&finished[0]), Output::Inline(bytes) if bytes.len() == 4096));
    let Output::Blob { digest, size_bytes: 4097 } = stdout(&finished[1]) else { panic!("no") };
    assert_eq!(bench.data.blob(digest).expect("a blob").len(), 4097);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_of_long_tasks_is_shown_while_they_run() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, &writer(70_000, "(loop br 0)"), 1, 1));
    let mut chunks = Vec::new();
    let began = Instant::now();
    while chunks.len() < 2 && began.elapsed() < Duration::from_secs(10) {
        chunks.append(&mut bench.executor.take_live());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let lengths: Vec<(u64, usize)> =
        chunks.iter().map(|chunk| (chunk.offset, chunk.data.len())).collect();
    assert_eq!(lengths, [(0, 65_536), (65_536, 70_000 - 65_536)]);
    assert!(bench.executor.take_live().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_tasks_run_by_the_ten_thousands_a_second() {
    let bench = Bench::new(2);
    bench.executor.grant(&bench.lease(1, empty(), 1, 1));
    bench.finish(1).await;
    let mut lease = bench.lease(1, empty(), 200_000, 2);
    lease.range = TaskRange::new(1, 200_001);
    let began = Instant::now();
    bench.executor.grant(&lease);
    let mut finished = 0;
    while finished < 200_000 {
        bench.executor.changed().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        finished += bench.executor.take_finished().len();
    }
    let rate = 200_000.0 / began.elapsed().as_secs_f64();
    println!("executor: {rate:.0} empty tasks per second on 2 workers");
    assert!(rate > 2_000.0, "{rate}");
}
