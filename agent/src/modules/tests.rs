//! Modules that are good, bad and damaged, compiled in this process; `tests/tests/compile.rs` does it
//! in a child.

mod bounds;

mod making;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use weir_proto::metering::Metering;

use super::*;
use crate::{pool::Pools, sandbox::SandboxConfig};

const GOOD: &str = "(module (func (export \"_start\")))";

fn sandbox() -> Arc<Sandbox> {
    let config = SandboxConfig { max_instances: 2 };
    Arc::new(Sandbox::new(config).expect("a sandbox"))
}

fn open(dir: &Path, sandbox: Arc<Sandbox>) -> Result<ModuleCache, ModuleError> {
    ModuleCache::open(dir, sandbox, CompilerConfig::in_this_process())
}

fn wasm(text: &str) -> Bytes {
    wat::parse_str(text).expect("text that parses").into()
}

/// Bytes as a module for tasks that are metered by fuel.
fn key(bytes: &[u8]) -> ModuleKey {
    ModuleKey { digest: Digest::of(bytes), metering: Metering::Fuel }
}

async fn reason(bytes: impl Into<Bytes>) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = bytes.into();
    match cache.get(key(&bytes), async || Ok(bytes)).await {
        Err(ModuleError::Refused(Refusal::Invalid { reason })) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it is valid"),
    }
}

/// Gets a good module; returns whether its bytes were fetched for that.
async fn fetched(dir: &Path, sandbox: Arc<Sandbox>) -> bool {
    let cache = open(dir, sandbox).expect("a cache");
    let bytes = wasm(GOOD);
    let fetches = AtomicU32::new(0);
    let module = cache.get(key(&bytes), async || {
        fetches.fetch_add(1, Ordering::Relaxed);
        Ok(bytes.clone())
    });
    module.await.expect("a module");
    fetches.into_inner() > 0
}

#[tokio::test]
async fn a_module_is_compiled_for_each_way_to_meter_and_both_are_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = sandbox();
    let by_fuel = key(&wasm(GOOD));
    for reopened in [false, true] {
        let cache = open(dir.path(), sandbox.clone()).expect("a cache");
        for metering in Metering::ALL {
            let fetched = AtomicU32::new(0);
            let got = cache.get(ModuleKey { metering, ..by_fuel }, async || {
                fetched.fetch_add(1, Ordering::Relaxed);
                Ok(wasm(GOOD))
            });
            let module = got.await.expect("a module");
            let Pre::Module(pre) = &module.pre else { panic!("a core module") };
            let engine = sandbox.runner(metering).expect("a runner").engine();
            assert!(wasmtime::Engine::same(pre.module().engine(), engine));
            assert_eq!(fetched.into_inner(), u32::from(!reopened));
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
}

#[tokio::test]
async fn where_there_is_no_pool_for_epochs_no_module_is_made_for_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let pools = Pools { epoch: None, ..Pools::of(2) };
    let sandbox = Arc::new(Sandbox::laid_out(pools).expect("a sandbox"));
    let cache = open(dir.path(), sandbox).expect("a cache");
    let module = ModuleKey { metering: Metering::Epoch, ..key(&wasm(GOOD)) };
    let got = cache.get(module, async || panic!("nobody asks for its bytes")).await;
    assert!(matches!(got, Err(ModuleError::Sandbox(SandboxError::NoPool { .. }))));
}

fn only_file(dir: &Path) -> PathBuf {
    let files: Vec<_> = fs::read_dir(dir).expect("a directory").collect();
    assert_eq!(files.len(), 1);
    files.into_iter().next().expect("one").expect("an entry").path()
}

#[tokio::test]
async fn what_is_not_a_module_is_refused_with_a_reason() {
    assert!(reason(&b"#!/bin/sh"[..]).await.contains("not WebAssembly"));
    assert!(reason(&b""[..]).await.contains("not WebAssembly"));
    assert!(reason(wasm("(component)")).await.contains("does not export `wasi:cli/run`"));
    assert!(reason(&b"\0asm\x09\0\x01\0"[..]).await.contains("version"));
    assert!(reason(&b"\0asm\x02\0\0\0"[..]).await.contains("version"));
    assert!(!reason(&b"\0asm\x01\0\0\0\xff"[..]).await.is_empty());
}

#[tokio::test]
async fn unknown_imports_are_all_named() {
    let reason = reason(wasm(
        "(module (import \"env\" \"one\" (func)) (import \"env\" \"two\" (memory 1))
            (import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32)))
            (func (export \"_start\")))",
    ))
    .await;
    assert!(reason.contains("`one` from `env`, `two` from `env`"), "{reason}");
    assert!(!reason.contains("sched_yield"), "{reason}");
}

#[tokio::test]
async fn a_module_must_be_a_command() {
    assert!(reason(wasm("(module)")).await.contains("does not export `_start`"));
    let reason = reason(wasm("(module (func (export \"_start\") (param i32)))")).await;
    assert!(reason.contains("no arguments"), "{reason}");
}

#[tokio::test]
async fn an_import_of_another_type_is_refused() {
    let reason = reason(wasm(
        "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func (param f64)))
            (func (export \"_start\")))",
    ))
    .await;
    assert!(reason.contains("sched_yield"), "{reason}");
}

#[tokio::test]
async fn too_many_memories_are_refused() {
    let memories = "(memory 1)".repeat(9);
    let reason = reason(wasm(&format!("(module {memories} (func (export \"_start\")))"))).await;
    assert!(reason.contains("memories"), "{reason}");
}

#[tokio::test]
async fn a_module_is_compiled_once_however_many_ask() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = wasm(GOOD);
    let fetches = AtomicU32::new(0);
    let get = || {
        cache.get(key(&bytes), async || {
            fetches.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(bytes.clone())
        })
    };
    let (a, b, c) = tokio::join!(get(), get(), get());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(fetches.into_inner(), 1);
}

#[tokio::test]
async fn a_compiled_module_outlives_the_process() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(fetched(dir.path(), sandbox()).await);
    assert!(!fetched(dir.path(), sandbox()).await);
}

#[tokio::test]
async fn a_corrupt_or_foreign_file_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = sandbox();
    assert!(fetched(dir.path(), sandbox.clone()).await);
    let path = only_file(dir.path());
    let whole = fs::read(&path).expect("a file");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let checksum = blake3::hash(b"not code");
    let foreign = [&b"not code"[..], b"weir module 0002", checksum.as_bytes()].concat();
    let mut older = whole.clone();
    let version = whole.len() - blake3::OUT_LEN - 1;
    assert_eq!(older[version], b'2');
    older[version] = b'1';
    for bad in [&whole[..whole.len() - 1], &flipped, b"", &foreign, &older] {
        fs::write(&path, bad).expect("written");
        assert!(fetched(dir.path(), sandbox.clone()).await);
        assert!(!fetched(dir.path(), sandbox.clone()).await);
    }
}

#[tokio::test]
async fn a_failed_fetch_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = wasm(GOOD);
    let module = key(&bytes);
    let failed = cache.get(module, async || Err(DataError::NotFound(module.digest))).await;
    assert!(matches!(failed, Err(ModuleError::Data(DataError::NotFound(_)))));
    assert!(cache.get(module, async || Ok(bytes)).await.is_ok());
}

#[tokio::test]
async fn what_a_dead_agent_was_compiling_is_removed_at_start() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("compiling-x7Gk"), b"half").expect("written");
    assert!(fetched(dir.path(), sandbox()).await);
    let name = only_file(dir.path());
    assert!(!name.to_string_lossy().contains("compiling-"), "{name:?}");
}

#[tokio::test]
async fn a_refusal_stands_without_another_look() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = open(dir.path(), sandbox()).expect("a cache");
    let bytes = wasm("(module)");
    let module = key(&bytes);
    let first = cache.get(module, async || Ok(bytes)).await;
    let second = cache.get(module, async || panic!("it is known")).await;
    assert!(matches!(first, Err(ModuleError::Refused(Refusal::Invalid { .. }))));
    assert!(matches!(second, Err(ModuleError::Refused(Refusal::Invalid { .. }))));
    assert!(fs::read_dir(dir.path()).expect("a directory").next().is_none());
}
