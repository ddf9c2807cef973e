//! What runs the guests of one profile: an engine with its pool, and what connects modules to the host.
//!
//! An agent has one for tasks that are metered by fuel, and makes a second one when first a task comes
//! that is metered by epochs: most agents never see any. Next: `ticker`, which makes epochs pass.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::{Engine, Linker, Store, UpdateDeadline, component};
use wasmtime_wasi::p2::bindings::CommandPre;
use weir_proto::metering::Metering;

use super::{Guest, SandboxError, host, preview2, spent::Spent, ticker::Ticker};
use crate::{
    modules::{Loaded, Pre, ReadyModule},
    pool::Layout,
    profile::{self, Allocation, QUANTUM_FUEL, Variant},
};

/// What runs the guests of one profile.
pub(crate) struct Runner {
    engine: Engine,
    pub(super) linker: Linker<Guest>,
    components: component::Linker<Guest>,
    imports: host::Imports,
    epochs: Option<Epochs>,
}

/// What a runner has besides whose guests are metered by epochs.
pub(super) struct Epochs {
    pub(super) ticker: Ticker,
    /// Its pool may be smaller than what can be leased at once: the rest waits here.
    room: Semaphore,
}

/// The runner of tasks that are metered by epochs, once there was one.
pub(super) struct LazyRunner {
    variant: Variant,
    pool: Layout,
    /// What compiled modules are kept under; known before there is a runner.
    pub(super) fingerprint: String,
    made: OnceLock<Runner>,
    making: Mutex<()>,
}

impl Runner {
    pub(super) fn new(
        metering: Metering,
        variant: Variant,
        pool: Layout,
    ) -> Result<Runner, SandboxError> {
        let failed = |source| SandboxError::Engine { profile: profile::name(metering), source };
        let engine = profile::engine_of(metering, variant, pool).map_err(failed)?;
        let linker = host::linker(&engine).map_err(failed)?;
        let components = preview2::linker(&engine).map_err(failed)?;
        let epochs = match metering {
            Metering::Fuel => None,
            Metering::Epoch => Some(Epochs {
                ticker: Ticker::start(&engine).map_err(SandboxError::Ticker)?,
                room: Semaphore::new(pool.sandboxes as usize),
            }),
        };
        Ok(Runner { engine, linker, components, imports: host::Imports::all(), epochs })
    }

    /// For whoever compiles or loads modules.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn epochs(&self) -> Option<&Epochs> {
        self.epochs.as_ref()
    }

    /// Connects a module or component to the host.
    ///
    /// # Errors
    /// The reason why it cannot run as a task, with every unknown import.
    pub(crate) fn connect(&self, loaded: &Loaded) -> Result<ReadyModule, String> {
        let pre = match loaded {
            Loaded::Module(module) => {
                self.imports.check(module)?;
                self.linker.instantiate_pre(module).map(Pre::Module)
            }
            Loaded::Component(component) => {
                host::check_component(&self.engine, component)?;
                let pre = self.components.instantiate_pre(component);
                pre.and_then(CommandPre::new).map(Pre::Component)
            }
        };
        Ok(ReadyModule { pre: pre.map_err(|error| format!("{error:#}"))? })
    }

    /// A store for a guest that yields: before instantiation, for the start function is part of the
    /// bill, and of what is limited.
    pub(super) fn store(&self, guest: Guest, fuel: u64) -> Store<Guest> {
        let spent = guest.meter.spent().cloned();
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        match spent {
            None => {
                store.set_fuel(fuel).expect("the profile counts fuel");
                store.fuel_async_yield_interval(Some(QUANTUM_FUEL)).expect("as above");
            }
            Some(spent) => {
                // Tells the store that its guest yields; the callback replaces what it would do then.
                store.epoch_deadline_async_yield_and_update(1);
                store.epoch_deadline_callback(move |_| at_epoch(&spent, fuel));
                store.set_epoch_deadline(1);
            }
        }
        store
    }
}

/// What a guest does that finds a new epoch.
fn at_epoch(spent: &Spent, limit: u64) -> wasmtime::Result<UpdateDeadline> {
    if spent.fuel() > limit {
        return Err(wasmtime::Trap::OutOfFuel.into());
    }
    // The epoch may have begun while it waited for its turn, or while another program had the core.
    match spent.in_turn() < profile::EPOCH / 2 {
        true => Ok(UpdateDeadline::Continue(1)),
        false => Ok(UpdateDeadline::Yield(1)),
    }
}

impl Epochs {
    /// Waits until the pool has a sandbox.
    pub(super) async fn room(&self) -> SemaphorePermit<'_> {
        self.room.acquire().await.expect("the semaphore is never closed")
    }
}

impl LazyRunner {
    /// One that is not made yet.
    ///
    /// # Errors
    /// `Engine` when this machine's processor is not known to the compiler.
    pub(super) fn new(variant: Variant, pool: Layout) -> Result<LazyRunner, SandboxError> {
        // Compiled code does not depend on where instances lie, and an engine without a pool is
        // made at once.
        let unpooled = Variant { allocation: Allocation::OnDemand, ..variant };
        let engine = profile::engine_of(Metering::Epoch, unpooled, pool);
        let engine = engine.map_err(|source| {
            let profile = profile::name(Metering::Epoch);
            SandboxError::Engine { profile, source }
        })?;
        Ok(LazyRunner {
            variant,
            pool,
            fingerprint: profile::fingerprint(Metering::Epoch, &engine),
            made: OnceLock::new(),
            making: Mutex::default(),
        })
    }

    /// The runner, made now if there was none.
    ///
    /// # Errors
    /// As of [`Runner::new`]; who asks again tries again.
    pub(super) fn get(&self) -> Result<&Runner, SandboxError> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let _alone = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let runner = Runner::new(Metering::Epoch, self.variant, self.pool)?;
        tracing::info!(sandboxes = self.pool.sandboxes, "made a pool for tasks metered by epochs");
        Ok(self.made.get_or_init(|| runner))
    }
}
