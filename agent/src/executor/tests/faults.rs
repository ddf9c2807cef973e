//! What must not happen and does: grants that come again, data that vanishes or is not what it should be,
//! and an end in the middle of everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use weir_proto::page::OutTree;
use weir_store::{directory::Produced, image::Image, view::BlobView};

use super::*;
use crate::data::{DataError, DataFuture};

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_stops_running_guests() {
    let bench = Bench::new(2);
    bench.executor.grant(&bench.lease(1, &burner(u64::MAX / 2), 5, 5));
    bench.until("they run", || bench.executor.running().len() == 5).await;
    let began = Instant::now();
    bench.executor.shutdown();
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_comes_again_while_its_tasks_run_or_wait_runs_nothing_twice() {
    let bench = Bench::new(1);
    let lease = bench.lease(1, &burner(300_000_000), 4, 2);
    bench.executor.grant(&lease);
    bench.until("two run", || bench.executor.running().len() == 2).await;
    bench.executor.grant(&lease);
    bench.executor.grant(&lease);
    let mut indexes: Vec<u32> = bench.finish(4).await.iter().map(|f| f.task.index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(bench.executor.running().is_empty() && bench.executor.take_finished().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_vanishes_after_it_was_laid_out_makes_tasks_come_back() {
    let bench = Bench::new(1);
    let mut lease = bench.lease(1, &reader("in/a"), 2, 1);
    let digest = bench.data.insert(&b"input"[..]);
    let source = InputSource::Blob(digest);
    lease.spec.inputs = vec![Input { path: "/in/a".to_owned(), source, writable: false }];
    let executor = bench.another(digest, Fault::Vanishes);
    executor.grant(&lease);
    for ended in finish(&executor, 2).await {
        let End::CannotRun { reason } = &ended.end else { panic!("{ended:?}") };
        assert!(reason.contains("cannot read an input"), "{reason}");
        assert!(reason.contains(&digest.to_string()), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_not_what_its_digest_says_makes_tasks_come_back() {
    let bench = Bench::new(1);
    let lease = bench.lease(1, empty(), 3, 1);
    let executor = bench.another(lease.spec.module, Fault::IsCorrupt);
    executor.grant(&lease);
    for ended in finish(&executor, 3).await {
        let End::CannotRun { reason } = &ended.end else { panic!("{ended:?}") };
        assert!(reason.contains("is corrupt"), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_may_end_in_the_middle_of_everything() {
    let bench = Bench::new(2);
    let stuck = bench.data.insert(wat::parse_str("(module)").expect("text that parses"));
    let executor = bench.another(stuck, Fault::IsStuck);
    let until = async |what: &str, condition: &dyn Fn() -> bool| {
        bench.until(what, condition).await;
    };
    // One whose results nobody takes, and whose lane is idle.
    executor.grant(&bench.lease(1, empty(), 10, 2));
    until("ten have ended", &|| executor.preparing().is_empty()).await;
    // Some that run, one of which stands still; more wait than can run.
    let burning = bench.lease(4, &burner(u64::MAX / 2), 100, 4);
    executor.grant(&burning);
    until("four run", &|| executor.running().len() == 4).await;
    executor.pause(burning.id, &RangeSet::from_iter([TaskRange::new(0, 1)]));
    // One that fetches its module for ever, and one that compiles a large one.
    let mut fetching = bench.lease(2, empty(), 10, 2);
    fetching.spec.module = stuck;
    executor.grant(&fetching);
    let functions = "(func (result f64) (f64.add (f64.sqrt (f64.const 2)) (f64.const 3)))";
    let large = format!("(module {} (func (export \"_start\")))", functions.repeat(20_000));
    executor.grant(&bench.lease(3, &large, 1, 1));
    until("both prepare", &|| executor.preparing().len() == 2).await;

    let began = Instant::now();
    executor.shutdown();
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(executor.running().is_empty() && executor.preparing().is_empty());
    assert!(executor.take_finished().is_empty() && executor.take_live().is_empty());

    // What comes late finds nobody, and hurts nobody.
    executor.grant(&bench.lease(5, empty(), 3, 1));
    executor.stop(burning.id);
    assert!(executor.withdraw(fetching.id, &RangeSet::below(10)).is_empty());
    executor.shutdown();
    assert!(executor.running().is_empty());
}

/// Opens `path` below fd 3 and reads from it, which must both work.
fn reader(path: &str) -> String {
    let length = path.len();
    format!(
        r#"(module
            (import "{WASI}" "path_open" (func $open
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "{WASI}" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "{path}")
            (func (export "_start")
                (if (call $open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {length})
                        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8))
                    (then unreachable))
                (i32.store (i32.const 0) (i32.const 128))
                (i32.store (i32.const 4) (i32.const 5))
                (if (call $read (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 16))
                    (then unreachable))))"#
    )
}

async fn finish(executor: &Executor, count: usize) -> Vec<Finished> {
    let mut finished = Vec::new();
    let began = Instant::now();
    while finished.len() < count {
        finished.append(&mut executor.take_finished());
        assert!(began.elapsed() < Duration::from_secs(10), "they do not end: {finished:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    finished
}

impl Bench {
    /// An executor of the same sandboxes and data, of which one blob is not as it should be.
    fn another(&self, blob: Digest, fault: Fault) -> Executor {
        let shared = &self.executor.shared;
        let data = Arc::new(Faulty { data: self.data.clone(), blob, fault });
        let config = ExecutorConfig { workers: 2, scratch_dir: self.dir.path().join("another") };
        let (sandbox, modules) = (shared.sandbox.clone(), shared.modules.clone());
        Executor::start(config, sandbox, modules, data, Handle::current()).expect("an executor")
    }
}

/// Data with one blob that is not as it should be.
struct Faulty {
    data: Arc<MemoryData>,
    blob: Digest,
    fault: Fault,
}

#[derive(PartialEq, Eq)]
enum Fault {
    /// It is there when it is laid out, and gone when it is read.
    Vanishes,
    /// What comes does not hash to its name, which whoever fetches it notices.
    IsCorrupt,
    /// It never comes.
    IsStuck,
}

impl Faulty {
    fn is(&self, digest: Digest, fault: Fault) -> bool {
        digest == self.blob && self.fault == fault
    }
}

impl TaskData for Faulty {
    fn get<'a>(&'a self, namespace: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes> {
        Box::pin(async move {
            if self.is(digest, Fault::IsStuck) {
                std::future::pending::<()>().await;
            }
            if self.is(digest, Fault::IsCorrupt) {
                let reason = format!("blob {digest} is corrupt");
                return Err(DataError::Unavailable { reason });
            }
            self.data.get(namespace, digest).await
        })
    }

    fn hold<'a>(&'a self, namespace: &'a Namespace, source: InputSource) -> DataFuture<'a, Image> {
        self.data.hold(namespace, source)
    }

    fn open(&self, namespace: &Namespace, digest: Digest) -> Result<BlobView, DataError> {
        if self.is(digest, Fault::Vanishes) {
            return Err(DataError::NotFound(digest));
        }
        self.data.open(namespace, digest)
    }

    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        self.data.put(namespace, bytes)
    }

    fn put_tree<'a>(
        &'a self,
        namespace: &'a Namespace,
        directory: BTreeMap<String, Produced>,
    ) -> DataFuture<'a, OutTree> {
        self.data.put_tree(namespace, directory)
    }
}
