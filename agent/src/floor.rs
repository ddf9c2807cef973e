//! What a module costs in bare Wasmtime, for `weir bench`: the least that any scheduler around it
//! could take.
//!
//! Same profile, pool, limits and WASI as an attempt, and nothing of ours around them: no leases,
//! no results, no seeds, no timers.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Engine, InstancePre, Linker, Module, Store};
use wasmtime_wasi::{
    I32Exit, WasiCtxBuilder,
    p1::{self, WasiP1Ctx},
    p2::pipe::MemoryOutputPipe,
};
use weir_proto::{limits::Limits, metering::Metering};

use crate::{
    pool::Layout,
    profile::{self, QUANTUM_FUEL},
    sandbox::MemoryLimiter,
};

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    /// The host cannot make an engine.
    #[error("cannot make an engine of profile {profile}", profile = profile::PROFILE)]
    Engine(#[source] wasmtime::Error),
    /// The module is not one, or wants more than WASI preview 1.
    #[error("the module cannot be run")]
    Module(#[source] wasmtime::Error),
    /// The module ended otherwise than by success.
    #[error("the module does not succeed")]
    Run(#[source] wasmtime::Error),
    /// The thread has no runtime, or died.
    #[error("a thread that measures failed: {reason}")]
    Thread {
        /// What went wrong.
        reason: String,
    },
}

struct Bare {
    wasi: WasiP1Ctx,
    limiter: MemoryLimiter,
}

/// Runs a module `count` times on `workers` threads and returns the runs per second. Blocks until
/// then; must not be called on a thread of a runtime.
///
/// # Errors
/// See `FloorError`.
pub fn floor_tasks_per_s(
    module: &[u8],
    limits: &Limits,
    workers: usize,
    count: u64,
) -> Result<f64, FloorError> {
    let workers = workers.max(1);
    let engine =
        profile::engine(Metering::Fuel, Layout::of(workers as u32)).map_err(FloorError::Engine)?;
    let pre = connect(&engine, module).map_err(FloorError::Module)?;
    let each = count.div_ceil(workers as u64).max(1);
    let start = Barrier::new(workers);
    let times: Vec<Result<Duration, FloorError>> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|_| scope.spawn(|| measure(&pre, limits, each, &start))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(FloorError::Thread { reason: "it panicked".to_owned() }))
        });
        joined.collect()
    });
    let mut slowest = Duration::from_nanos(1);
    for time in times {
        slowest = slowest.max(time?);
    }
    Ok((each * workers as u64) as f64 / slowest.as_secs_f64())
}

fn connect(engine: &Engine, module: &[u8]) -> wasmtime::Result<InstancePre<Bare>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |bare: &mut Bare| &mut bare.wasi)?;
    linker.instantiate_pre(&Module::new(engine, module)?)
}

fn measure(
    pre: &InstancePre<Bare>,
    limits: &Limits,
    count: u64,
    start: &Barrier,
) -> Result<Duration, FloorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let warm = runtime.map_err(|error| FloorError::Thread { reason: error.to_string() }).and_then(
        |runtime| {
            runtime.block_on(run_once(pre, limits)).map_err(FloorError::Run)?;
            Ok(runtime)
        },
    );
    // Every thread gets here, whether it can go on or not: the others wait for it.
    start.wait();
    let runtime = warm?;
    let began = Instant::now();
    for _ in 0..count {
        runtime.block_on(run_once(pre, limits)).map_err(FloorError::Run)?;
    }
    Ok(began.elapsed())
}

async fn run_once(pre: &InstancePre<Bare>, limits: &Limits) -> wasmtime::Result<()> {
    let output = usize::try_from(limits.output_bytes).unwrap_or(usize::MAX);
    let wasi = WasiCtxBuilder::new()
        .arg("main")
        .stdout(MemoryOutputPipe::new(output))
        .stderr(MemoryOutputPipe::new(output))
        .build_p1();
    let limiter = MemoryLimiter::new(limits.memory_bytes);
    let mut store = Store::new(pre.module().engine(), Bare { wasi, limiter });
    store.limiter(|bare| &mut bare.limiter);
    store.set_fuel(limits.fuel)?;
    store.fuel_async_yield_interval(Some(QUANTUM_FUEL))?;
    let instance = pre.instantiate_async(&mut store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    match start.call_async(&mut store, ()).await {
        Err(error) if !matches!(error.downcast_ref(), Some(I32Exit(0))) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_module_runs_by_the_ten_thousands_a_second() {
        let text = "(module (memory (export \"memory\") 1) (func (export \"_start\")))";
        let module = wat::parse_str(text).expect("text that parses");
        let floor = floor_tasks_per_s(&module, &Limits::default(), 2, 100_000).expect("a figure");
        println!("floor: {floor:.0} empty tasks per second on 2 workers");
        assert!(floor > 2_000.0, "{floor}");
    }

    #[test]
    fn a_module_that_fails_has_no_floor() {
        let text = "(module (func (export \"_start\") unreachable))";
        let module = wat::parse_str(text).expect("text that parses");
        let failed = floor_tasks_per_s(&module, &Limits::default(), 2, 10);
        assert!(matches!(failed, Err(FloorError::Run(_))), "{failed:?}");
    }
}
