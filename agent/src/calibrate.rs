//! How much fuel one core of this machine burns in a second, measured when the agent starts.
//!
//! Shares and quotas are in fuel, so a slow machine must say that it is slow. The loop measured
//! here mixes arithmetic, memory and branches; real guests burn within a factor of two of it. The
//! figure goes to the leader in the agent's description.

use std::time::{Duration, Instant};

use wasmtime::{Module, Store};

use crate::sandbox::Sandbox;

/// How long is measured; compiling the loop takes a few milliseconds more.
const MEASURED: Duration = Duration::from_millis(100);

/// Rounds of the loop between two looks at the clock: some milliseconds on a fast core.
const ROUNDS: i32 = 200_000;

/// The loop, compiled from the text in the test below: production has no parser for text.
const LOOP: &[u8] = include_bytes!("calibrate.wasm");

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The loop cannot be compiled, or does not end as it must.
    #[error("cannot run the loop that measures this machine")]
    Loop(#[source] wasmtime::Error),
}

/// Measures for about 100 ms on the calling thread: the best of several tries, since whatever
/// else runs on the machine can only slow it down. Never 0.
///
/// # Errors
/// `Loop` when the engine does not work on this machine.
pub fn fuel_per_second(sandbox: &Sandbox) -> Result<u64, CalibrateError> {
    measure(sandbox).map_err(CalibrateError::Loop)
}

fn measure(sandbox: &Sandbox) -> wasmtime::Result<u64> {
    let engine = sandbox.engine();
    let module = Module::new(engine, LOOP)?;
    let mut store = Store::new(engine, ());
    // No yields: this is a plain call, on a thread that has nothing else to do.
    store.set_fuel(u64::MAX)?;
    let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
    let burn = instance.get_typed_func::<i32, ()>(&mut store, "burn")?;
    let began = Instant::now();
    let mut best = 1;
    while began.elapsed() < MEASURED {
        let (before, started) = (store.get_fuel()?, Instant::now());
        burn.call(&mut store, ROUNDS)?;
        let (fuel, seconds) = (before - store.get_fuel()?, started.elapsed().as_secs_f64());
        best = best.max((fuel as f64 / seconds) as u64);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxConfig;

    const TEXT: &str = r#"(module
        (memory 1)
        (func (export "burn") (param $rounds i32) (local $x i32) (local $at i32)
            (loop $again
                (local.set $x (i32.add (i32.const 1013904223)
                    (i32.mul (local.get $x) (i32.const 1664525))))
                (local.set $at (i32.and (i32.const 0xfffc)
                    (i32.shr_u (local.get $x) (i32.const 8))))
                (if (i32.and (local.get $x) (i32.const 0x40000000)) (then
                    (i32.store (local.get $at)
                        (i32.add (local.get $x) (i32.load (local.get $at))))))
                (br_if $again
                    (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"#;

    #[test]
    fn the_loop_is_compiled_from_its_text() {
        let expected = wat::parse_str(TEXT).expect("text that parses");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write("src/calibrate.wasm", &expected).expect("written");
        }
        assert!(LOOP == expected, "run this test with UPDATE=1, then again");
    }

    #[test]
    fn a_core_burns_plausible_fuel_in_little_time() {
        let config = SandboxConfig { max_instances: 2 };
        let sandbox = Sandbox::new(config).expect("a sandbox");
        let began = Instant::now();
        let fuel = fuel_per_second(&sandbox).expect("a figure");
        println!("one core burns {} of fuel per second", weir_proto::units::short_count(fuel));
        assert!((10_000_000..100_000_000_000).contains(&fuel), "{fuel}");
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    }
}
