//! Runs one attempt of a task under its limits, and tells how it ended.
//!
//! A guest gets its arguments, environment, stdin, two output streams, its inputs and `/out`, random
//! numbers that follow from its program key, and nothing else: no network, no other path. Left out
//! for now: clocks are the machine's, so a task that reads them is not pure; `/out` is measured
//! when the guest has ended, so until then only its fuel and time bound what it writes to disk;
//! `/tmp` does not exist; host calls other than `random_get` are not priced, so a guest that does
//! nothing but expensive ones is stopped late. The module comes from
//! `modules`; the next stop is the `executor`.

mod ending;
mod host;
mod key;
mod limiter;
mod stdio;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtime::{Engine, Linker, Module, Store};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, p1::WasiP1Ctx, p2::pipe::MemoryInputPipe};
use weir_proto::{
    job::{StageSpec, TaskKind},
    manifest::Item,
    outcome::{Exceeded, Outcome, Usage},
    template::{Values, expand},
};

pub(crate) use self::limiter::MemoryLimiter;
use self::{
    ending::{Ending, Phase},
    key::GuestRandom,
};
pub use self::{
    key::{ProgramKey, StageKey},
    stdio::OutputBuffer,
};
use crate::{
    modules::ReadyModule,
    profile::{self, QUANTUM_FUEL},
};

/// Most bytes that one host call may make the host allocate for it; a guest's larger write to a
/// file fails with `ENOMEM`.
const MAX_HOST_CALL_BYTES: usize = 64 << 20;

/// Longest wall time that is told apart from for ever; timers cannot carry much more.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How large a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Most attempts that run at once, 1 to 10,000; each reserves 8 GiB of address space. Slots of
    /// all leases together should be fewer: modules may define several memories.
    pub max_instances: u32,
}

/// What all attempts of an agent share: the engine with its pool, and the host's functions.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<Guest>,
    imports: host::Imports,
    fingerprint: String,
}

/// What one attempt is.
#[derive(Debug)]
pub struct AttemptSpec<'a> {
    /// What the stage's tasks have in common, limits included.
    pub stage: &'a StageSpec,
    /// The task's index.
    pub index: u32,
    /// Its program key.
    pub key: ProgramKey,
    /// What the guest reads from stdin.
    pub stdin: Bytes,
    /// Its item, of a foreach stage.
    pub item: Option<&'a Item>,
    /// Directories that the guest sees.
    pub mounts: &'a [Mount<'a>],
    /// The directory that the guest sees as `/out`.
    pub out_dir: Option<&'a Path>,
    /// Where stdout goes; its limit is the stream's own.
    pub stdout: &'a OutputBuffer,
    /// Where stderr goes.
    pub stderr: &'a OutputBuffer,
}

/// A directory that a guest sees.
#[derive(Debug, Clone, Copy)]
pub struct Mount<'a> {
    /// Where the guest sees it: an absolute path.
    pub guest: &'a str,
    /// Where it is.
    pub host: &'a Path,
    /// Whether the guest may change it.
    pub writable: bool,
}

/// How an attempt ended, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
}

/// Why an attempt could not be run at all: the world's failure, not the guest's.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host cannot make an engine, for example for want of address space.
    #[error("cannot make an engine of profile {profile}", profile = profile::PROFILE)]
    Engine(#[source] wasmtime::Error),
    /// The pool has no room for another instance, memory or stack.
    #[error("the sandbox is full: {reason}")]
    Busy {
        /// What there is too little of.
        reason: String,
    },
    /// A directory for the guest cannot be opened.
    #[error("cannot open {path} for a guest", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What Wasmtime says.
        source: wasmtime::Error,
    },
    /// A guest's `/out` cannot be measured.
    #[error("cannot read {path}", path = path.display())]
    Measure {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What a guest's store carries.
pub(crate) struct Guest {
    wasi: WasiP1Ctx,
    random: rand_chacha::ChaCha12Rng,
    limiter: MemoryLimiter,
    /// A priced host call yields when no more fuel than this is left.
    yield_at_fuel: u64,
}

impl AttemptSpec<'_> {
    /// What placeholders stand for, where they stand for anything.
    fn values(&self) -> Option<Values<'_>> {
        let index = self.index;
        match (self.stage.kind, self.item) {
            (TaskKind::Plain, _) | (TaskKind::Foreach { .. }, None) => None,
            (TaskKind::Array, _) => Some(Values::Array { index, count: self.stage.count }),
            (TaskKind::Foreach { .. }, Some(item)) => Some(Values::Item { index, item }),
        }
    }
}

impl Sandbox {
    /// Makes the engine and reserves its pool.
    ///
    /// # Errors
    /// `Engine` when the host cannot do it.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        let engine = profile::engine(config.max_instances).map_err(SandboxError::Engine)?;
        let linker = host::linker(&engine).map_err(SandboxError::Engine)?;
        let imports = host::Imports::of(&engine, &linker);
        Ok(Sandbox { fingerprint: profile::fingerprint(&engine), engine, linker, imports })
    }

    /// The engine, for whoever compiles or loads modules for this sandbox.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What compiled modules are kept under.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Connects a module to the host.
    ///
    /// # Errors
    /// The reason why it cannot run as a task, with every unknown import.
    pub(crate) fn connect(&self, module: &Module) -> Result<ReadyModule, String> {
        self.imports.check(module)?;
        let pre = self.linker.instantiate_pre(module).map_err(|error| format!("{error:#}"))?;
        Ok(ReadyModule { pre })
    }

    /// Runs one attempt to its end. Drop the future to cancel it: at once if it waits, and
    /// otherwise when it next yields. Must be polled where a tokio runtime is entered.
    ///
    /// # Errors
    /// `Busy`, `Directory` or `Measure`, when the world failed us.
    pub async fn run(
        &self,
        module: &ReadyModule,
        attempt: AttemptSpec<'_>,
    ) -> Result<Ended, SandboxError> {
        let started = Instant::now();
        let limits = attempt.stage.limits;
        let timeout = Duration::from_millis(limits.timeout_ms).min(MAX_TIMEOUT);
        let mut store = self.store(&attempt)?;
        let result = within(started + timeout, call(&mut store, module)).await;
        let elapsed = started.elapsed();
        let fuel_used = limits.fuel - store.get_fuel().unwrap_or(0).min(limits.fuel);
        let guest = store.data();
        let usage = Usage {
            fuel: fuel_used,
            peak_memory_bytes: guest.limiter.peak_bytes(),
            wall_us: elapsed.as_micros() as u64,
        };
        let outcome = match result {
            Err(TimedOut) => Outcome::TimedOut(Exceeded {
                used: elapsed.as_millis() as u64,
                limit: limits.timeout_ms,
            }),
            Ok(result) => Ending {
                stage: attempt.stage,
                result,
                output: attempt.stdout.exceeded().or(attempt.stderr.exceeded()),
                denied: guest.limiter.denied(),
                fuel_used,
            }
            .outcome()?,
        };
        drop(store);
        let outcome = match attempt.out_dir {
            Some(dir) if outcome.succeeded() => {
                out_checked(dir, limits.output_bytes, outcome).await?
            }
            _ => outcome,
        };
        Ok(Ended { outcome, usage })
    }

    fn store(&self, attempt: &AttemptSpec<'_>) -> Result<Store<Guest>, SandboxError> {
        let limits = &attempt.stage.limits;
        let random = GuestRandom::new(attempt.key);
        let guest = Guest {
            random: random.secure.clone(),
            wasi: wasi(attempt, random)?,
            limiter: MemoryLimiter::new(limits.memory_bytes),
            yield_at_fuel: limits.fuel.saturating_sub(QUANTUM_FUEL),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(MAX_HOST_CALL_BYTES);
        // Before instantiation: the start function is part of the bill, and of what is limited.
        store.set_fuel(limits.fuel).expect("the profile counts fuel");
        store.fuel_async_yield_interval(Some(QUANTUM_FUEL)).expect("the profile counts fuel");
        Ok(store)
    }
}

fn wasi(attempt: &AttemptSpec<'_>, random: GuestRandom) -> Result<WasiP1Ctx, SandboxError> {
    let stage = attempt.stage;
    let mut builder = WasiCtxBuilder::new();
    builder.arg(&stage.name);
    match attempt.values() {
        None => {
            builder.args(&stage.args).envs(&stage.env);
        }
        Some(values) => {
            for arg in &stage.args {
                builder.arg(expand(arg, values));
            }
            for (name, value) in &stage.env {
                builder.env(name, expand(value, values));
            }
        }
    }
    builder
        .stdin(MemoryInputPipe::new(attempt.stdin.clone()))
        .stdout(attempt.stdout.clone())
        .stderr(attempt.stderr.clone())
        .secure_random(random.secure)
        .insecure_random(random.insecure)
        .insecure_random_seed(random.insecure_seed)
        // It would let a guest's sleep or file access hold the worker.
        .allow_blocking_current_thread(false)
        .allow_ip_name_lookup(false)
        .allow_tcp(false)
        .allow_udp(false);
    match (stage.kind, attempt.item) {
        (TaskKind::Array, _) => {
            builder.env("WEIR_TASK_INDEX", attempt.index.to_string());
            builder.env("WEIR_TASK_COUNT", stage.count.to_string());
        }
        (TaskKind::Foreach { .. }, Some(item)) => {
            builder.env("WEIR_TASK_INPUT", item.input());
        }
        (TaskKind::Plain | TaskKind::Foreach { .. }, _) => {}
    }
    let out = attempt.out_dir.map(|host| Mount { guest: "/out", host, writable: true });
    for mount in attempt.mounts.iter().copied().chain(out) {
        let perms = if mount.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        builder
            .preopened_dir(mount.host, mount.guest, perms)
            .map_err(|source| SandboxError::Directory { path: mount.host.to_owned(), source })?;
    }
    Ok(builder.build_p1())
}

/// Instantiates the module and calls `_start`.
async fn call(
    store: &mut Store<Guest>,
    module: &ReadyModule,
) -> Result<(), (Phase, wasmtime::Error)> {
    let in_phase = |phase| move |error| (phase, error);
    let instance =
        module.pre.instantiate_async(&mut *store).await.map_err(in_phase(Phase::Instantiating))?;
    let start = instance
        .get_typed_func::<(), ()>(&mut *store, "_start")
        .map_err(in_phase(Phase::Instantiating))?;
    start.call_async(store, ()).await.map_err(in_phase(Phase::Running))
}

/// The deadline passed first.
struct TimedOut;

/// Awaits `future` until `deadline`, which is looked at whenever the future yields or waits. A
/// timer is only made when it first does, so short tasks never make one.
async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut alarm = None;
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        if Instant::now() >= deadline {
            return Poll::Ready(Err(TimedOut));
        }
        let alarm =
            alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        alarm.as_mut().poll(context).map(|()| Err(TimedOut))
    })
    .await
}

/// The outcome, or `OutputTooLarge` when the files beneath `dir` take more than `limit` bytes.
async fn out_checked(dir: &Path, limit: u64, outcome: Outcome) -> Result<Outcome, SandboxError> {
    let path = dir.to_owned();
    let measured = tokio::task::spawn_blocking(move || bytes_beneath(&path)).await;
    let used = measured
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|source| SandboxError::Measure { path: dir.to_owned(), source })?;
    if used > limit {
        return Ok(Outcome::OutputTooLarge(Exceeded { used, limit }));
    }
    Ok(outcome)
}

fn bytes_beneath(dir: &Path) -> io::Result<u64> {
    let mut total: u64 = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // Of the entry itself: a symbolic link is never followed.
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                left.push(entry.path());
            } else {
                total = total.saturating_add(metadata.len());
            }
        }
    }
    Ok(total)
}
