//! Compiled modules: made once from bytes, kept on disk, connected to the host in memory.
//!
//! A verdict about a module stands for the life of the process: ready, never to run, or too much for
//! the compiler. Files are loaded only whole and from this very build, see `modules/file.rs`; how many
//! are kept is in `modules/disk.rs`. Who compiles is the `compiler`. Next: `executor`.

mod known;

mod disk;

mod file;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use wasmtime::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;
use weir_proto::{digest::Digest, lease::PrepareStep};

pub(crate) use self::file::Loaded;
pub use self::known::ModuleKey;
use self::{
    disk::Disk,
    file::NewFile,
    known::{Known, Place, Verdict},
};
use crate::{
    compiler::{Compiled, Compiler, CompilerConfig, CompilerError, Turn, Urgency, bounded},
    data::DataError,
    sandbox::{Guest, Runner, Sandbox, SandboxError},
};

/// A module or component that can be run at once.
pub struct ReadyModule {
    pub(crate) pre: Pre,
}

/// What is connected to the host's functions.
pub(crate) enum Pre {
    /// A command of WASI preview 1.
    Module(InstancePre<Guest>),
    /// A command of WASI preview 2.
    Component(CommandPre<Guest>),
}

/// Why there is no `ReadyModule`.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// There never will be: data for an outcome.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its bytes could not be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It could not be compiled, whatever it is.
    #[error(transparent)]
    Compiler(#[from] CompilerError),
    /// What it is compiled for could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The cache's directory could not be used.
    #[error("cannot use {path} for compiled modules", path = path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that loaded it died.
    #[error("loading {digest} panicked")]
    Panicked {
        /// The module.
        digest: Digest,
    },
}

/// Why a module will never run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It can never run as a task: `Outcome::InvalidModule`.
    #[error("invalid module: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Compiling it takes more than this agent allows: `Outcome::CompileLimit`.
    #[error("compile limit: {reason}")]
    CompileLimit {
        /// Which limit, with the numbers.
        reason: String,
    },
}

/// Modules by digest and by how they are metered, for one sandbox.
pub struct ModuleCache {
    sandbox: Arc<Sandbox>,
    compiler: Compiler,
    disk: Arc<Disk>,
    known: Arc<Known>,
}

impl ModuleCache {
    /// Opens the cache in a directory of its own, which is made if need be and readable by nobody
    /// else: no other process may use it, for which the lock of the agent's store stands. What an
    /// agent that died was compiling is removed. Files take at most a tenth of their disk, and 4 GiB.
    ///
    /// # Errors
    /// `Disk` when the directory cannot be made or read.
    pub fn open(
        dir: impl Into<PathBuf>,
        sandbox: Arc<Sandbox>,
        compiler: CompilerConfig,
    ) -> Result<ModuleCache, ModuleError> {
        ModuleCache::open_bounded(dir, None, sandbox, compiler)
    }

    /// As `open`, with files of at most so many bytes together, if that is given; of more only while
    /// those that are in use take more.
    ///
    /// # Errors
    /// As of `open`.
    pub fn open_bounded(
        dir: impl Into<PathBuf>,
        most_bytes: Option<u64>,
        sandbox: Arc<Sandbox>,
        compiler: CompilerConfig,
    ) -> Result<ModuleCache, ModuleError> {
        let dir = dir.into();
        let disk = make_private_dir(&dir)
            .and_then(|()| Disk::open(dir.clone(), most_bytes, &sandbox))
            .map_err(|source| ModuleError::Disk { path: dir, source })?;
        Ok(ModuleCache {
            compiler: Compiler::new(compiler),
            sandbox,
            disk: Arc::new(disk),
            known: Arc::default(),
        })
    }

    /// A module, compiled for tasks that are metered as it says. `fetch` is awaited only where it is compiled neither in memory nor
    /// on disk; however many ask at once, one compiles and the others wait. Should that one be
    /// dropped, its compiler is stopped and another of them begins again.
    ///
    /// # Errors
    /// `Refused` for ever; the others until the world is well again.
    pub async fn get<F>(
        &self,
        module: ModuleKey,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<ReadyModule>, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        self.get_by(module, Urgency::Now, fetch).await
    }

    /// As `get`, where no tasks wait for it yet: it is compiled when nobody who has tasks wants to
    /// compile, and becomes urgent as soon as somebody `get`s it.
    ///
    /// # Errors
    /// As of `get`.
    pub async fn get_ahead<F>(
        &self,
        module: ModuleKey,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<ReadyModule>, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        self.get_by(module, Urgency::Ahead, fetch).await
    }

    async fn get_by<F>(
        &self,
        module: ModuleKey,
        urgency: Urgency,
        fetch: impl FnOnce() -> F,
    ) -> Result<Arc<ReadyModule>, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        self.sandbox.fingerprint(module.metering)?;
        let (place, mark_due) = self.known.place(module);
        if mark_due {
            let path = self.disk.path(module);
            // Nobody waits for it: it ends by itself, and how it ends changes nothing.
            tokio::task::spawn_blocking(move || disk::mark_used(&path));
        }
        if urgency == Urgency::Now {
            place.wanted.notify_one();
        }
        let make = || self.make(&place, module, urgency, fetch);
        let verdict = place.verdict.get_or_try_init(make).await?;
        Ok(verdict.clone()?)
    }

    /// What is done for a module now, and since when; nothing once it is known what it is.
    pub(crate) fn step(&self, module: ModuleKey) -> Option<(PrepareStep, Instant)> {
        self.known.step(module)
    }

    async fn make<F>(
        &self,
        place: &Place,
        module: ModuleKey,
        urgency: Urgency,
        fetch: impl FnOnce() -> F,
    ) -> Result<Verdict, ModuleError>
    where
        F: Future<Output = Result<Bytes, DataError>>,
    {
        let maker = place.maker();
        let (sandbox, path) = (self.sandbox.clone(), self.disk.path(module));
        let kept = on_blocking_thread(module.digest, move || {
            let runner = sandbox.runner(module.metering)?;
            let Some(loaded) = file::load(runner.engine(), &path) else { return Ok(None) };
            disk::mark_used(&path);
            Ok::<_, SandboxError>(Some(connect(runner, &loaded)))
        });
        if let Some(verdict) = kept.await?? {
            return Ok(verdict);
        }
        // The turn comes before the bytes: they are in memory for as many as compile, and no more.
        maker.begins(PrepareStep::Turn);
        let _turn = self.turn(place, urgency).await;
        maker.begins(PrepareStep::Module);
        let bytes = fetch().await?;
        maker.begins(PrepareStep::Compile);
        self.compile(module, bytes).await
    }

    async fn turn(&self, place: &Place, urgency: Urgency) -> Turn {
        if urgency == Urgency::Ahead {
            tokio::select! {
                turn = self.compiler.turn(Urgency::Ahead) => return turn,
                () = place.wanted.notified() => {}
            }
        }
        self.compiler.turn(Urgency::Now).await
    }

    async fn compile(&self, module: ModuleKey, bytes: Bytes) -> Result<Verdict, ModuleError> {
        let ModuleKey { digest, metering } = module;
        let disk = |source| ModuleError::Disk { path: self.disk.dir().to_owned(), source };
        let dir = self.disk.dir().to_owned();
        let new = on_blocking_thread(digest, move || NewFile::make(&dir)).await?.map_err(disk)?;
        // It is there: whether the code is kept already was looked up with it.
        let engine = self.sandbox.runner(metering)?.engine();
        let compiled = self.compiler.compile(metering, engine, bytes, new.file()).await?;
        match compiled {
            Compiled::Refused { reason } => return Ok(Err(Refusal::Invalid { reason })),
            Compiled::OverLimit { reason } => return Ok(Err(Refusal::CompileLimit { reason })),
            Compiled::Done => {}
        }
        let (sandbox, path) = (self.sandbox.clone(), self.disk.path(module));
        let finished = on_blocking_thread(digest, move || {
            let runner = sandbox.runner(metering)?;
            Ok::<_, SandboxError>(finish(runner, new, &path))
        });
        let (verdict, kept_bytes) = finished.await??.map_err(disk)?;
        let (disk, known) = (self.disk.clone(), self.known.clone());
        let sweep = move || disk.added(kept_bytes, |module| known.forget(module));
        on_blocking_thread(digest, sweep).await?;
        Ok(verdict)
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    digest: Digest,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ModuleError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ModuleError::Panicked { digest })
}

/// Loads what was compiled, and keeps the file if the module can run; with the bytes kept.
fn finish(runner: &Runner, new: NewFile, path: &Path) -> io::Result<(Verdict, u64)> {
    let new = new.seal()?;
    // The pool of instances has limits of its own, which the compiler does not know.
    let verdict = match new.load(runner.engine()) {
        Ok(loaded) => connect(runner, &loaded),
        Err(error) => Err(Refusal::Invalid { reason: bounded(format!("{error:#}")) }),
    };
    let kept_bytes = if verdict.is_ok() { new.keep(path)? } else { 0 };
    Ok((verdict, kept_bytes))
}

fn connect(runner: &Runner, loaded: &Loaded) -> Verdict {
    let invalid = |reason| Refusal::Invalid { reason: bounded(reason) };
    runner.connect(loaded).map(Arc::new).map_err(invalid)
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

#[cfg(test)]
mod tests;
