//! Runs one attempt of a task under its limits, and tells how it ended.
//!
//! A guest gets its arguments, environment, stdin, two output streams, a file system of its own, a
//! clock, random numbers that follow from its program key, and nothing else but what of the network it
//! was granted: no path of this machine. Every host call is paid for, in fuel or in the time that it takes, as its
//! stage says. The module comes from `modules`; the next stop is the `executor`.

mod clock;
mod coredump;
mod ending;
mod gauge;
mod guest;
mod host;
mod key;
mod limiter;
mod meter;
mod network;
mod preview1;
mod preview2;
mod runner;
mod spent;
mod stdio;
mod ticker;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeMap,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::{I32Exit, p2::bindings::CommandPre};
use weir_proto::{
    capability::Capability,
    job::{Keep, StageSpec, TaskKind},
    manifest::Item,
    metering::Metering,
    outcome::{Exceeded, Outcome, Trap, Usage},
    template::{Values, expand},
};
use weir_store::{directory::Produced, view::BlobView};

use self::{
    clock::Clock,
    ending::{Ending, Phase},
    guest::{Files, Stdin},
    key::GuestRandom,
    meter::Meter,
    network::Network,
    preview1::{Descriptors, Listing},
    preview2::Resources,
    runner::LazyRunner,
    spent::Spent,
    ticker::Ticker,
};
pub(crate) use self::{
    ending::bounded, gauge::Gauge, guest::Guest, limiter::MemoryLimiter, runner::Runner,
};
pub use self::{
    key::{ProgramKey, StageKey},
    stdio::OutputBuffer,
};
use crate::{
    data::DataError,
    filesystem::{FileSystemSpec, Moved, OutputError},
    modules::{Pre, ReadyModule},
    pool::Pools,
    profile::{self, FUEL_PER_NANOSECOND, Variant},
};

/// Longest wall time that is told apart from for ever; timers cannot carry much more.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How large a sandbox is, where nothing is offered to anybody: for measurements and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Most attempts that are live at once, 1 to 10,000; each reserves 8 GiB of address space.
    pub max_instances: u32,
}

/// What all attempts of an agent share: an engine for each profile with its pool, and the host's
/// functions.
pub struct Sandbox {
    fuel: Runner,
    /// What modules that are compiled for it are kept under.
    fingerprint: String,
    epoch: Option<LazyRunner>,
    /// What a core of this machine burns, as last measured: a second of time is as much fuel.
    fuel_per_second: AtomicU64,
}

/// What one attempt is.
pub(crate) struct AttemptSpec<'a> {
    /// What the stage's tasks have in common, limits included.
    pub(crate) stage: &'a StageSpec,
    /// The task's index.
    pub(crate) index: u32,
    /// Its program key.
    pub(crate) key: ProgramKey,
    /// What the guest reads from stdin.
    pub(crate) stdin: BlobView,
    /// Its item, of a foreach stage.
    pub(crate) item: Option<&'a Item>,
    /// What its file system is made of.
    pub(crate) files: Arc<FileSystemSpec>,
    /// Where stdout goes; its limit is the stream's own.
    pub(crate) stdout: &'a OutputBuffer,
    /// Where stderr goes.
    pub(crate) stderr: &'a OutputBuffer,
    /// Told what it uses, while it runs.
    pub(crate) gauge: &'a Arc<Gauge>,
}

/// How an attempt ended, what it used, and what it left.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    /// What is to be kept of `/out`, of a task that has succeeded and has one.
    pub(crate) out: Option<BTreeMap<String, Produced>>,
    /// Of a trap: where in the module each of its frames is, as far as that is known.
    pub(crate) offsets: Vec<Option<usize>>,
    /// Of a trap, where the stage asks for it: a core dump.
    pub(crate) coredump: Option<Vec<u8>>,
}

/// Why an attempt could not be run at all: the world's failure, not the guest's.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host cannot make an engine, for example for want of address space.
    #[error("cannot make an engine of profile {profile}")]
    Engine {
        /// The profile.
        profile: &'static str,
        /// What Wasmtime says.
        source: wasmtime::Error,
    },
    /// This machine has no room for a second pool.
    #[error("this agent has no room for a pool of profile {profile}")]
    NoPool {
        /// The profile.
        profile: &'static str,
    },
    /// The system has no more threads.
    #[error("cannot start the thread that makes epochs pass")]
    Ticker(#[source] io::Error),
    /// The pool has no room for another instance, memory or stack.
    #[error("the sandbox is full: {reason}")]
    Busy {
        /// What there is too little of.
        reason: String,
    },
    /// An input cannot be read.
    #[error("cannot read an input")]
    Input(#[source] DataError),
    /// This machine's disk failed us under a guest's file.
    #[error("cannot use a guest's file on this machine's disk")]
    Disk(#[source] io::Error),
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

    fn args(&self) -> Vec<String> {
        let (stage, values) = (self.stage, self.values());
        let arg =
            |text: &String| values.map_or_else(|| text.clone(), |values| expand(text, values));
        [stage.name.clone()].into_iter().chain(stage.args.iter().map(arg)).collect()
    }

    fn env(&self) -> Vec<(String, String)> {
        let (stage, values) = (self.stage, self.values());
        let value =
            |text: &String| values.map_or_else(|| text.clone(), |values| expand(text, values));
        let env = stage.env.iter().map(|(name, text)| (name.clone(), value(text)));
        let own = |name: &str, value: String| (name.to_owned(), value);
        let mut env: Vec<_> = env.collect();
        match (stage.kind, self.item) {
            (TaskKind::Array, _) => {
                env.push(own("WEIR_TASK_INDEX", self.index.to_string()));
                env.push(own("WEIR_TASK_COUNT", stage.count.to_string()));
            }
            (TaskKind::Foreach { .. }, Some(item)) => {
                env.push(own("WEIR_TASK_INPUT", item.input().to_owned()));
            }
            (TaskKind::Plain | TaskKind::Foreach { .. }, _) => {}
        }
        env
    }

    fn guest(&self, spent: Option<Arc<Spent>>) -> Guest {
        let limits = &self.stage.limits;
        let allowed = &self.stage.capabilities;
        Guest {
            args: self.args(),
            env: self.env(),
            stdin: Stdin { view: self.stdin.clone(), position: 0 },
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            files: Files::Unused(self.files.clone()),
            clock: match allowed.iter().any(Capability::has_real_time) {
                true => Clock::Real { started: Instant::now() },
                false => Clock::Virtual { slept_ns: 0 },
            },
            random: match allowed.iter().any(Capability::has_real_random) {
                true => GuestRandom::Real,
                false => GuestRandom::seeded(self.key),
            },
            limiter: MemoryLimiter::new(limits.memory_bytes),
            meter: Meter::new(limits.fuel, spent, self.gauge.clone()),
            descriptors: Descriptors::new(),
            listing: Listing::default(),
            memory: None,
            resources: Resources::new(Network::granted(allowed)),
        }
    }
}

impl Sandbox {
    /// Makes an agent's engine and reserves the pool that was laid out for it; the second one only when
    /// a task comes that is metered by epochs.
    ///
    /// # Errors
    /// `Engine` when the host cannot do it.
    pub fn laid_out(pools: Pools) -> Result<Sandbox, SandboxError> {
        Sandbox::with(Variant::default(), pools)
    }

    /// Makes the engine and reserves a pool.
    ///
    /// # Errors
    /// `Engine` when the host cannot do it.
    pub fn new(config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        Sandbox::of(Variant::default(), config)
    }

    /// As `new`, for guests that are run in another way, with the same results.
    ///
    /// # Errors
    /// `Engine` when the host cannot do it.
    pub fn of(variant: Variant, config: SandboxConfig) -> Result<Sandbox, SandboxError> {
        Sandbox::with(variant, Pools::of(config.max_instances))
    }

    fn with(variant: Variant, pools: Pools) -> Result<Sandbox, SandboxError> {
        let fuel = Runner::new(Metering::Fuel, variant, pools.fuel)?;
        Ok(Sandbox {
            fingerprint: profile::fingerprint(Metering::Fuel, fuel.engine()),
            fuel,
            epoch: pools.epoch.map(|pool| LazyRunner::new(variant, pool)).transpose()?,
            // Until it is measured, as fast as a pure task's clock says.
            fuel_per_second: AtomicU64::new(FUEL_PER_NANOSECOND * 1_000_000_000),
        })
    }

    /// What runs tasks that are metered by fuel, which is always there.
    pub(crate) fn by_fuel(&self) -> &Runner {
        &self.fuel
    }

    /// What runs tasks that are metered so, and what compiles or loads modules for them. For those
    /// metered by epochs it is made now if there is none, which takes some milliseconds.
    ///
    /// # Errors
    /// `Engine`, `NoPool` or `Ticker`.
    pub(crate) fn runner(&self, metering: Metering) -> Result<&Runner, SandboxError> {
        match (metering, &self.epoch) {
            (Metering::Fuel, _) => Ok(&self.fuel),
            (Metering::Epoch, Some(epoch)) => epoch.get(),
            (Metering::Epoch, None) => {
                Err(SandboxError::NoPool { profile: profile::name(metering) })
            }
        }
    }

    /// What modules are kept under that are compiled for tasks which are metered so.
    ///
    /// # Errors
    /// `NoPool` where no such tasks are run.
    pub fn fingerprint(&self, metering: Metering) -> Result<&str, SandboxError> {
        match (metering, &self.epoch) {
            (Metering::Fuel, _) => Ok(&self.fingerprint),
            (Metering::Epoch, Some(epoch)) => Ok(&epoch.fingerprint),
            (Metering::Epoch, None) => {
                Err(SandboxError::NoPool { profile: profile::name(metering) })
            }
        }
    }

    /// A core of this machine burns so much fuel in a second: attempts that are metered by epochs and
    /// begin from now on count by that.
    pub(crate) fn measured(&self, fuel_per_second: u64) {
        self.fuel_per_second.store(fuel_per_second, Relaxed);
    }

    /// Runs one attempt to its end, of a module that was connected for its stage's metering. Drop the
    /// future to cancel it: at once if it waits, and otherwise when it next yields. Must be polled
    /// where a tokio runtime is entered.
    ///
    /// # Errors
    /// `Busy`, `Input` or `Disk`, when the world failed us.
    pub(crate) async fn run(
        &self,
        module: &ReadyModule,
        attempt: AttemptSpec<'_>,
    ) -> Result<Ended, SandboxError> {
        let (stage, limits) = (attempt.stage, &attempt.stage.limits);
        let runner = self.runner(stage.metering)?;
        let epochs = runner.epochs();
        let _room = match epochs {
            Some(epochs) => Some(epochs.room().await),
            None => None,
        };
        let spent = epochs.map(|_| Arc::new(Spent::new(self.fuel_per_second.load(Relaxed))));
        let turns = epochs.zip(spent.as_deref()).map(|(epochs, spent)| (&epochs.ticker, spent));
        let started = Instant::now();
        let timeout = Duration::from_millis(limits.timeout_ms).min(MAX_TIMEOUT);
        let gauge = attempt.gauge;
        let time = Stopwatch { started, paused_before: gauge.paused(), gauge, turns };
        let mut store = runner.store(attempt.guest(spent.clone()), limits.fuel);
        gauge.begin();
        let result = match &module.pre {
            Pre::Module(pre) => within(&time, timeout, call(&mut store, pre)).await,
            Pre::Component(pre) => {
                preview2::prepare(&mut store);
                within(&time, timeout, call_component(&mut store, pre)).await
            }
        };
        let elapsed = time.elapsed();
        let fuel_used = match &spent {
            None => limits.fuel - store.get_fuel().unwrap_or(0).min(limits.fuel),
            Some(spent) => spent.fuel(),
        };
        gauge.at(fuel_used);
        let (offsets, coredump) = match &result {
            Ok(Err((_, error))) if stage.coredump => {
                (ending::offsets(error), coredump::take(error, &mut store, &stage.name))
            }
            Ok(Err((_, error))) => (ending::offsets(error), None),
            Ok(Ok(())) | Err(TimedOut) => (Vec::new(), None),
        };
        let guest = store.into_data();
        let Moved { read_bytes, written_bytes } = guest.moved();
        let usage = Usage {
            fuel: fuel_used,
            peak_memory_bytes: guest.limiter.peak_bytes(),
            wall_us: elapsed.as_micros() as u64,
            read_bytes,
            written_bytes,
        };
        let outcome = match result {
            Err(TimedOut) => Outcome::TimedOut(Exceeded {
                used: elapsed.as_millis() as u64,
                limit: limits.timeout_ms,
            }),
            Ok(result) => {
                Ending { stage, result, denied: guest.limiter.denied(), fuel_used }.outcome()?
            }
        };
        if outcome.succeeded() && stage.keep != Keep::Nothing {
            return Ok(with_out(guest, &stage.keep, outcome, usage));
        }
        Ok(Ended { outcome, usage, out: None, offsets, coredump })
    }
}

/// The end of a guest that has succeeded, with what it left in `/out`.
fn with_out(guest: Guest, keep: &Keep, outcome: Outcome, usage: Usage) -> Ended {
    let (outcome, out) = match guest.files.into_inner().into_kept(keep) {
        Ok(out) => (outcome, out),
        Err(OutputError::TooLarge(exceeded)) => (Outcome::OutputTooLarge(exceeded), None),
        // Trying again changes nothing.
        Err(error) => {
            let (kind, message) = ("invalid_output".to_owned(), error.to_string());
            (Outcome::Trapped(Trap { kind, message, frames: Vec::new() }), None)
        }
    };
    Ended { outcome, usage, out, offsets: Vec::new(), coredump: None }
}

/// Instantiates the component and calls `wasi:cli/run`.
async fn call_component(
    store: &mut Store<Guest>,
    pre: &CommandPre<Guest>,
) -> Result<(), (Phase, wasmtime::Error)> {
    let instance = pre.instantiate_async(&mut *store).await;
    let command = instance.map_err(|error| (Phase::Instantiating, error))?;
    match command.wasi_cli_run().call_run(store).await {
        Ok(Ok(())) => Ok(()),
        // All that the interface can say of a failure.
        Ok(Err(())) => Err((Phase::Running, I32Exit(1).into())),
        Err(error) => Err((Phase::Running, error)),
    }
}

/// Instantiates the module and calls `_start`.
async fn call(
    store: &mut Store<Guest>,
    pre: &InstancePre<Guest>,
) -> Result<(), (Phase, wasmtime::Error)> {
    let in_phase = |phase| move |error| (phase, error);
    let instance =
        pre.instantiate_async(&mut *store).await.map_err(in_phase(Phase::Instantiating))?;
    let start = instance
        .get_typed_func::<(), ()>(&mut *store, "_start")
        .map_err(in_phase(Phase::Instantiating))?;
    start.call_async(store, ()).await.map_err(in_phase(Phase::Running))
}

/// The deadline passed first.
struct TimedOut;

/// How long an attempt has run, without the time in which it was paused.
struct Stopwatch<'a> {
    started: Instant,
    /// What its slot was paused before it.
    paused_before: Duration,
    gauge: &'a Gauge,
    /// Of one that is metered by epochs.
    turns: Option<(&'a Ticker, &'a Spent)>,
}

impl Stopwatch<'_> {
    fn paused(&self) -> Duration {
        self.gauge.paused().saturating_sub(self.paused_before)
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.paused())
    }

    /// Polls the attempt, and tells the gauge what it has used if it is not done.
    fn turn<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        let Some((ticker, spent)) = self.turns else {
            let polled = poll();
            if polled.is_pending() {
                self.gauge.stands_still();
            }
            return polled;
        };
        let _running = ticker.running();
        spent.begin_turn();
        let polled = poll();
        spent.end_turn();
        self.gauge.at(spent.fuel());
        polled
    }
}

/// Awaits `future` until it has run for `timeout`, which is looked at whenever the future yields or
/// waits. A timer is only made when it first does, so short tasks never make one.
async fn within<F: Future>(
    time: &Stopwatch<'_>,
    timeout: Duration,
    future: F,
) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = time.turn(|| future.as_mut().poll(context)) {
            return Poll::Ready(Ok(output));
        }
        loop {
            let deadline = time.started + timeout + time.paused();
            if Instant::now() >= deadline {
                return Poll::Ready(Err(TimedOut));
            }
            let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            // It was set before a pause.
            alarm.as_mut().reset(deadline.into());
        }
    })
    .await
}
