//! Compiled modules: made once from bytes, kept on disk, connected to the host in memory.
//!
//! A compiled module is machine code that the agent will run, so a file is only loaded when its
//! checksum holds and this very build made it; anything else is thrown away and made again. That
//! guards against decay and other versions, not against somebody who can write to the agent's own
//! directory. Compiling happens on a blocking thread of this process and cannot be limited there;
//! a child process comes later. The files are not swept yet. Next: `executor`.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::OnceCell;
use wasmtime::{InstancePre, Module};
use weir_proto::digest::Digest;

use crate::{
    data::DataError,
    sandbox::{Guest, Sandbox},
};

/// Largest module in bytes; Yosys has 69 MB.
pub const MAX_MODULE_BYTES: u64 = 128 << 20;

/// Most modules that are kept connected in memory; the one used longest ago goes first.
const MAX_READY_MODULES: usize = 256;

/// Longest reason for an invalid module, in bytes: it goes into every task's result.
const MAX_REASON_BYTES: usize = 1024;

/// Begins every file of the cache; the version is of the file's own layout.
const MAGIC: &[u8; 16] = b"weir module 0001";

/// A module that can be run at once.
pub struct ReadyModule {
    pub(crate) pre: InstancePre<Guest>,
}

/// Why there is no `ReadyModule`.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// It can never run as a task: data for `Outcome::InvalidModule`.
    #[error("invalid module: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Its bytes could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The cache's directory could not be used.
    #[error("cannot use {path} for compiled modules", path = path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that compiled it died.
    #[error("compiling {digest} panicked")]
    Panicked {
        /// The module.
        digest: Digest,
    },
}

/// Modules by digest, for one sandbox.
pub struct ModuleCache {
    sandbox: Arc<Sandbox>,
    dir: PathBuf,
    entries: Mutex<HashMap<Digest, Entry>>,
}

/// What is known of a module: ready, or the reason why it never will be.
type Verdict = Result<Arc<ReadyModule>, String>;

struct Entry {
    verdict: Arc<OnceCell<Verdict>>,
    used: Instant,
}

impl ModuleCache {
    /// Opens the cache in a directory of its own, which is made if need be and readable by nobody
    /// else.
    ///
    /// # Errors
    /// `Disk` when the directory cannot be made.
    pub fn open(
        dir: impl Into<PathBuf>,
        sandbox: Arc<Sandbox>,
    ) -> Result<ModuleCache, ModuleError> {
        let dir = dir.into();
        make_private_dir(&dir).map_err(|source| ModuleError::Disk { path: dir.clone(), source })?;
        Ok(ModuleCache { sandbox, dir, entries: Mutex::new(HashMap::new()) })
    }

    /// The module with a digest. `fetch` is awaited only where it is compiled neither in memory nor
    /// on disk; however many ask at once, one compiles and the others wait.
    ///
    /// # Errors
    /// `Invalid` for ever; the others until the world is well again.
    pub async fn get<F>(
        &self,
        digest: Digest,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<ReadyModule>, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        let verdict = self.entry(digest);
        let verdict = verdict.get_or_try_init(|| self.make(digest, fetch)).await?;
        verdict.clone().map_err(|reason| ModuleError::Invalid { reason })
    }

    fn entry(&self, digest: Digest) -> Arc<OnceCell<Verdict>> {
        let mut entries = self.entries.lock().expect("no holder panics");
        if entries.len() >= MAX_READY_MODULES && !entries.contains_key(&digest) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(d, _)| *d);
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
        let entry = entries
            .entry(digest)
            .or_insert_with(|| Entry { verdict: Arc::default(), used: Instant::now() });
        entry.used = Instant::now();
        entry.verdict.clone()
    }

    async fn make<F>(
        &self,
        digest: Digest,
        fetch: impl FnOnce() -> F,
    ) -> Result<Verdict, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        let path = self.dir.join(format!("{}-{}", digest.hex(), self.sandbox.fingerprint()));
        let sandbox = self.sandbox.clone();
        let kept = on_blocking_thread(digest, {
            let (sandbox, path) = (sandbox.clone(), path.clone());
            move || load(&sandbox, &path)
        });
        if let Some(module) = kept.await? {
            return Ok(connect(&sandbox, &module));
        }
        let bytes = fetch().await?;
        on_blocking_thread(digest, move || compile(&sandbox, &bytes, &path)).await?
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    digest: Digest,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ModuleError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ModuleError::Panicked { digest })
}

fn connect(sandbox: &Sandbox, module: &Module) -> Verdict {
    sandbox.connect(module).map(Arc::new).map_err(bounded)
}

/// Loads a file of the cache; one that is not whole, or not ours, is removed.
fn load(sandbox: &Sandbox, path: &Path) -> Option<Module> {
    let file = fs::read(path).ok()?;
    let module = checked(&file).and_then(|compiled| {
        // SAFETY: the bytes came out of `precompile_module`: `compile` below is the only writer of
        // this private directory, the checksum says that nothing changed them since, and the file's
        // name holds the fingerprint of this very engine.
        unsafe { Module::deserialize(sandbox.engine(), compiled) }.ok()
    });
    if module.is_none() {
        tracing::warn!(path = %path.display(), "throwing away a compiled module that is not whole");
        let _ = fs::remove_file(path);
    }
    module
}

/// The compiled code in a file, if the file is whole.
fn checked(file: &[u8]) -> Option<&[u8]> {
    let rest = file.strip_prefix(MAGIC)?;
    let (checksum, compiled) = rest.split_at_checked(blake3::OUT_LEN)?;
    (blake3::hash(compiled).as_bytes() == checksum).then_some(compiled)
}

fn compile(sandbox: &Sandbox, bytes: &[u8], path: &Path) -> Result<Verdict, ModuleError> {
    if let Err(reason) = looks_like_a_module(bytes) {
        return Ok(Err(reason));
    }
    let compiled = match sandbox.engine().precompile_module(bytes) {
        Ok(compiled) => compiled,
        Err(error) => return Ok(Err(bounded(format!("{error:#}")))),
    };
    // SAFETY: these bytes come from `precompile_module` of the same engine, in the line above.
    let module = match unsafe { Module::deserialize(sandbox.engine(), &compiled) } {
        Ok(module) => module,
        Err(error) => return Ok(Err(bounded(format!("{error:#}")))),
    };
    let verdict = connect(sandbox, &module);
    if verdict.is_ok() {
        keep(&compiled, path)
            .map_err(|source| ModuleError::Disk { path: path.to_owned(), source })?;
    }
    Ok(verdict)
}

/// Writes a file whole or not at all. It need not survive a crash, only never be half there.
fn keep(compiled: &[u8], path: &Path) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, MAGIC)?;
    io::Write::write_all(&mut file, blake3::hash(compiled).as_bytes())?;
    io::Write::write_all(&mut file, compiled)?;
    file.persist(path)?;
    Ok(())
}

fn looks_like_a_module(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() as u64 > MAX_MODULE_BYTES {
        return Err(format!(
            "it has {} bytes; at most {MAX_MODULE_BYTES} are allowed",
            bytes.len()
        ));
    }
    match bytes.get(..8) {
        Some(b"\0asm\x01\0\0\0") => Ok(()),
        Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => {
            Err("it is a component; only core modules run here so far".to_owned())
        }
        Some([b'\0', b'a', b's', b'm', version @ ..]) => {
            Err(format!("it is WebAssembly of a version that is not known here: {version:?}"))
        }
        _ => Err("it is not WebAssembly: it does not begin with `\\0asm`".to_owned()),
    }
}

fn bounded(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    reason
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::sandbox::SandboxConfig;

    const GOOD: &str = "(module (func (export \"_start\")))";

    fn sandbox() -> Arc<Sandbox> {
        let config = SandboxConfig { max_instances: 2 };
        Arc::new(Sandbox::new(config).expect("a sandbox"))
    }

    fn wasm(text: &str) -> Bytes {
        wat::parse_str(text).expect("text that parses").into()
    }

    async fn reason(bytes: impl Into<Bytes>) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = ModuleCache::open(dir.path(), sandbox()).expect("a cache");
        let bytes = bytes.into();
        match cache.get(Digest::of(&bytes), async || Ok(bytes)).await {
            Err(ModuleError::Invalid { reason }) => reason,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it is valid"),
        }
    }

    /// Gets a good module; returns whether its bytes were fetched for that.
    async fn fetched(dir: &Path, sandbox: Arc<Sandbox>) -> bool {
        let cache = ModuleCache::open(dir, sandbox).expect("a cache");
        let bytes = wasm(GOOD);
        let fetches = AtomicU32::new(0);
        let module = cache.get(Digest::of(&bytes), async || {
            fetches.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.clone())
        });
        module.await.expect("a module");
        fetches.into_inner() > 0
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
        assert!(reason(wasm("(component)")).await.contains("component"));
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
        let cache = ModuleCache::open(dir.path(), sandbox()).expect("a cache");
        let bytes = wasm(GOOD);
        let fetches = AtomicU32::new(0);
        let get = || {
            cache.get(Digest::of(&bytes), async || {
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
        let foreign = [&MAGIC[..], blake3::hash(b"not code").as_bytes(), b"not code"].concat();
        for bad in [&whole[..whole.len() - 1], &flipped, b"", &foreign] {
            fs::write(&path, bad).expect("written");
            assert!(fetched(dir.path(), sandbox.clone()).await);
            assert!(!fetched(dir.path(), sandbox.clone()).await);
        }
    }

    #[tokio::test]
    async fn a_failed_fetch_is_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = ModuleCache::open(dir.path(), sandbox()).expect("a cache");
        let bytes = wasm(GOOD);
        let digest = Digest::of(&bytes);
        let failed = cache.get(digest, async || Err(DataError::NotFound(digest))).await;
        assert!(matches!(failed, Err(ModuleError::Data(DataError::NotFound(_)))));
        assert!(cache.get(digest, async || Ok(bytes)).await.is_ok());
    }
}
