//! How much memory a large stdin takes: it is read where it lies. A binary of its own with one test:
//! the system counts memory for a whole process, so nothing else may run in it.

#![cfg(target_os = "linux")]

use std::{collections::BTreeMap, error::Error, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::runtime::Handle;
use weir_agent::{
    compiler::CompilerConfig,
    data::{DataError, DataFuture, MemoryData, TaskData},
    executor::{End, Executor, ExecutorConfig},
    modules::ModuleCache,
    profile::PROFILE,
    sandbox::{Sandbox, SandboxConfig},
};
use weir_proto::{
    digest::Digest,
    id::{JobId, LeaseId, Namespace, StageId},
    job::{InputSource, StageSpec, Stdin},
    lease::Lease,
    limits::Limits,
    page::OutTree,
    range::TaskRange,
};
use weir_store::{
    blobs::BlobStore, cache::CachedStore, directory::Produced, image::Image, remote::RemoteStore,
    view::BlobView,
};

const STDIN_BYTES: u64 = 300 << 20;
/// What the engine, the compiler and two buffers of 1 MiB may take beside it.
const MOST_BYTES: u64 = 60 << 20;

/// Modules in memory, stdin on disk.
struct Data {
    modules: MemoryData,
    disk: CachedStore,
    stdin: Digest,
}

impl TaskData for Data {
    fn get<'a>(&'a self, namespace: &'a Namespace, digest: Digest) -> DataFuture<'a, Bytes> {
        assert_ne!(digest, self.stdin, "stdin is not read as a whole");
        self.modules.get(namespace, digest)
    }

    fn hold<'a>(&'a self, namespace: &'a Namespace, source: InputSource) -> DataFuture<'a, Image> {
        Box::pin(async move {
            let held = self.disk.hold(namespace, source, STDIN_BYTES).await;
            held.map_err(|error| DataError::Unavailable { reason: error.to_string() })
        })
    }

    fn open(&self, namespace: &Namespace, digest: Digest) -> Result<BlobView, DataError> {
        let view = self.disk.open_view_blocking(namespace, digest);
        view.map_err(|error| DataError::Unavailable { reason: error.to_string() })
    }

    fn put<'a>(&'a self, namespace: &'a Namespace, bytes: Bytes) -> DataFuture<'a, Digest> {
        self.modules.put(namespace, bytes)
    }

    fn put_tree<'a>(
        &'a self,
        namespace: &'a Namespace,
        directory: BTreeMap<String, Produced>,
    ) -> DataFuture<'a, OutTree> {
        self.modules.put_tree(namespace, directory)
    }
}

/// Most memory that this process ever had, in bytes.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it there");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line for it");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
}

/// Reads all of stdin by preview 1, and fails unless it has so many bytes, each a 7.
fn module() -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read"
                (func $read (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 20)
            (func (export "_start") (local $total i64)
                (i32.store (i32.const 0) (i32.const 4096))
                (i32.store (i32.const 4) (i32.const 0x100000))
                (loop $more
                    (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
                        (then unreachable))
                    (if (i32.eqz (i32.load (i32.const 8))) (then
                        (if (i64.ne (local.get $total) (i64.const {STDIN_BYTES}))
                            (then unreachable))
                        (return)))
                    (if (i32.ne (i32.const 7) (i32.load8_u (i32.add (i32.const 4095)
                            (i32.load (i32.const 8))))) (then unreachable))
                    (local.set $total (i64.add (local.get $total)
                        (i64.load32_u (i32.const 8))))
                    (br $more))))"#
    )
}

/// The same by preview 2.
fn component() -> String {
    format!(
        r#"(component
            (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
            (alias export $error "error" (type $an-error))
            (import "wasi:io/streams@0.2.0" (instance $streams
                (export "input-stream" (type $i (sub resource)))
                (alias outer 1 $an-error (type $e))
                (type $v (variant (case "last-operation-failed" (own $e)) (case "closed")))
                (export "stream-error" (type $se (eq $v)))
                (export "[method]input-stream.blocking-read" (func (param "self" (borrow $i))
                    (param "len" u64) (result (result (list u8) (error $se)))))))
            (alias export $streams "input-stream" (type $input))
            (import "wasi:cli/stdin@0.2.0" (instance $stdin
                (alias outer 1 $input (type $i))
                (export "get-stdin" (func (result (own $i))))))
            (core module $libc (memory (export "memory") 20)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
            (core instance $libc (instantiate $libc))
            (core func $get (canon lower (func $stdin "get-stdin")))
            (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
            (core module $main
                (import "libc" "memory" (memory 1))
                (import "host" "get" (func $get (result i32)))
                (import "host" "read" (func $read (param i32 i64 i32)))
                (func (export "run") (result i32) (local $stdin i32) (local $total i64)
                    (local.set $stdin (call $get))
                    (loop $more
                        (call $read (local.get $stdin) (i64.const -1) (i32.const 0))
                        (if (i32.load8_u (i32.const 0)) (then
                            (return (i64.ne (local.get $total) (i64.const {STDIN_BYTES})))))
                        (if (i32.ne (i32.const 7) (i32.load8_u (i32.add (i32.const 4095)
                                (i32.load (i32.const 8))))) (then unreachable))
                        (local.set $total (i64.add (local.get $total)
                            (i64.load32_u (i32.const 8))))
                        (br $more))
                    unreachable))
            (core instance $main (instantiate $main (with "libc" (instance $libc))
                (with "host" (instance (export "get" (func $get)) (export "read" (func $read))))))
            (func $run (result (result)) (canon lift (core func $main "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_stdin_is_read_in_bounded_memory() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let namespace = Namespace::default_namespace();
    let local = BlobStore::open(dir.path().join("store")).await?;
    let mut upload = local.begin_put(&namespace, None);
    let chunk = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..STDIN_BYTES >> 20 {
        upload = upload.write(chunk.clone()).await?;
    }
    let (stdin, _) = upload.finish().await?;
    // Nobody is there to be asked: all is on this disk.
    let remote = tonic::transport::Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
    let disk = CachedStore::new(local, RemoteStore::new(remote));
    let data = Arc::new(Data { modules: MemoryData::new(), disk, stdin });

    let sandbox = Arc::new(Sandbox::new(SandboxConfig { max_instances: 4 })?);
    let compiler = CompilerConfig::in_this_process();
    let modules = ModuleCache::open(dir.path().join("modules"), sandbox.clone(), compiler)?;
    let config = ExecutorConfig { workers: 2, scratch_dir: dir.path().join("scratch") };
    let executor =
        Executor::start(config, sandbox, Arc::new(modules), data.clone(), Handle::current())?;
    let before = peak_bytes();
    for (seq, text) in [(1, module()), (2, component())] {
        let module = data.modules.insert(wat::parse_str(&text)?);
        executor.grant(&Lease {
            id: LeaseId { term: 1, seq },
            stage: StageId { job: JobId(seq), stage: 0 },
            range: TaskRange::new(0, 1),
            slots: 1,
            namespace: namespace.clone(),
            spec: StageSpec {
                stdin: Stdin::Blob(stdin),
                limits: Limits { fuel: 10_000_000_000, timeout_ms: 60_000, ..Limits::default() },
                ..StageSpec::new("main", module)
            },
            profile: PROFILE.to_owned(),
            weights: Vec::new(),
        });
    }
    let mut ended = Vec::new();
    while ended.len() < 2 {
        ended.extend(executor.take_finished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for finished in ended {
        let End::Result(result) = &finished.end else { panic!("{finished:?}") };
        assert!(result.outcome.succeeded(), "{}", result.outcome);
    }
    let grown = peak_bytes() - before;
    assert!(grown < MOST_BYTES, "{grown} bytes");
    Ok(())
}
