//! The host's functions as a guest imports them: WASI preview 1, with two of them our own.
//!
//! `proc_exit` in `wasmtime-wasi` turns a code of 126 and above into an error without the code, and
//! `random_get` allocates what it hands out and costs the guest nothing. Next: `ending`.

use std::collections::BTreeSet;

use rand_chacha::rand_core::Rng;
use wasmtime::{Caller, Engine, Extern, ExternType, Linker, Module, Store, Trap};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, p1};

use super::{Guest, ProgramKey, key::GuestRandom, limiter::MemoryLimiter};
use crate::profile::QUANTUM_FUEL;

const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// Preview 1's `errno::fault` and `errno::success`.
const FAULT: i32 = 21;
const SUCCESS: i32 = 0;

/// What `random_get` costs: about as many nanoseconds as that many instructions take.
const RANDOM_CALL_FUEL: u64 = 100;

/// The linker that every module of a sandbox is connected with.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(PREVIEW_1, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(I32Exit(code).into())
    })?;
    linker.func_wrap_async(PREVIEW_1, "random_get", |caller, (start, bytes): (i32, i32)| {
        Box::new(random_get(caller, start, bytes))
    })?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// Fills `[start, start + bytes)` of the guest's memory, for one fuel a byte: unpriced, a guest
/// that does little else would hold its worker for seconds between two yields.
async fn random_get(
    mut caller: Caller<'_, Guest>,
    start: i32,
    bytes: i32,
) -> wasmtime::Result<i32> {
    let (start, bytes) = (start as u32 as usize, bytes as u32 as usize);
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        wasmtime::bail!("random_get needs an exported memory");
    };
    charge(&mut caller, RANDOM_CALL_FUEL + bytes as u64).await?;
    let (memory, guest) = memory.data_and_store_mut(&mut caller);
    let Some(range) = memory.get_mut(start..).and_then(|rest| rest.get_mut(..bytes)) else {
        return Ok(FAULT);
    };
    guest.random.fill_bytes(range);
    Ok(SUCCESS)
}

/// Takes fuel for a host call, and yields if a quantum has gone since the last such yield: setting
/// a store's fuel restarts Wasmtime's own count to the next yield.
async fn charge(caller: &mut Caller<'_, Guest>, fuel: u64) -> wasmtime::Result<()> {
    let left = caller.get_fuel()?;
    let after = left.saturating_sub(fuel);
    caller.set_fuel(after)?;
    if after == 0 && fuel > left {
        return Err(Trap::OutOfFuel.into());
    }
    let guest = caller.data_mut();
    if after <= guest.yield_at_fuel {
        guest.yield_at_fuel = after.saturating_sub(QUANTUM_FUEL);
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The names that a module may import.
pub(super) struct Imports {
    known: BTreeSet<(String, String)>,
}

impl Imports {
    pub(super) fn of(engine: &Engine, linker: &Linker<Guest>) -> Imports {
        // Only a store can enumerate a linker; this one never runs anything.
        let guest = Guest {
            wasi: WasiCtxBuilder::new().build_p1(),
            random: GuestRandom::new(ProgramKey([0; 32])).secure,
            limiter: MemoryLimiter::new(0),
            yield_at_fuel: 0,
        };
        let mut store = Store::new(engine, guest);
        let known = linker
            .iter(&mut store)
            .map(|(module, name, _)| (module.to_owned(), name.to_owned()))
            .collect();
        Imports { known }
    }

    /// # Errors
    /// A reason that names every unknown import, or what is wrong with `_start`.
    pub(super) fn check(&self, module: &Module) -> Result<(), String> {
        let unknown: Vec<String> = module
            .imports()
            .filter(|import| {
                let name = (import.module().to_owned(), import.name().to_owned());
                !self.known.contains(&name)
            })
            .take(MAX_NAMED_IMPORTS)
            .map(|import| format!("`{}` from `{}`", import.name(), import.module()))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("it imports what Weir does not have: {}", unknown.join(", ")));
        }
        match module.get_export("_start") {
            Some(ExternType::Func(start))
                if start.params().len() == 0 && start.results().len() == 0 =>
            {
                Ok(())
            }
            Some(_) => Err("its export `_start` is not a function of no arguments".to_owned()),
            None => Err("it does not export `_start`; build it as a command".to_owned()),
        }
    }
}

/// Most unknown imports that a reason names.
const MAX_NAMED_IMPORTS: usize = 50;
