//! How much fuel one core of this machine burns in a second: measured when the agent starts, and again
//! when it has long had nothing to do.
//!
//! Shares and quotas are in fuel, so a slow machine must say that it is slow. The loop measured
//! here mixes arithmetic, memory and branches; real guests burn within a factor of two of it. The
//! figure goes to the leader, and to the sandbox for tasks whose time counts; when it is taken again is
//! up to the `session`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use wasmtime::{Module, Store};

use crate::sandbox::Sandbox;

/// How long is measured; compiling the loop takes a few milliseconds more, once.
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

/// What measures, as often as it is asked to.
pub struct Calibrator {
    sandbox: Arc<Sandbox>,
    module: Module,
}

impl Calibrator {
    /// Compiles the loop.
    ///
    /// # Errors
    /// `Loop` when the engine does not work on this machine.
    pub fn new(sandbox: Arc<Sandbox>) -> Result<Calibrator, CalibrateError> {
        let module = Module::new(sandbox.by_fuel().engine(), LOOP).map_err(CalibrateError::Loop)?;
        Ok(Calibrator { sandbox, module })
    }

    /// Measures for about 100 ms on the calling thread: the best of several tries, since whatever
    /// else runs on the machine can only slow it down. Never 0.
    ///
    /// # Errors
    /// `Loop` when the engine does not work on this machine.
    pub fn fuel_per_second(&self) -> Result<u64, CalibrateError> {
        let figure = self.measure(|| true).map_err(CalibrateError::Loop)?;
        self.sandbox.measured(figure);
        Ok(figure)
    }

    /// Measures for as long as the figure is wanted, a few milliseconds at a time.
    fn measure(&self, is_wanted: impl Fn() -> bool) -> wasmtime::Result<u64> {
        let mut store = Store::new(self.sandbox.by_fuel().engine(), ());
        // No yields: this is a plain call, on a thread that has nothing else to do.
        store.set_fuel(u64::MAX)?;
        let instance = wasmtime::Instance::new(&mut store, &self.module, &[])?;
        let burn = instance.get_typed_func::<i32, ()>(&mut store, "burn")?;
        let began = Instant::now();
        let mut best = 1;
        while began.elapsed() < MEASURED && is_wanted() {
            let (before, started) = (store.get_fuel()?, Instant::now());
            burn.call(&mut store, ROUNDS)?;
            let (fuel, seconds) = (before - store.get_fuel()?, started.elapsed().as_secs_f64());
            best = best.max((fuel as f64 / seconds) as u64);
        }
        Ok(best)
    }
}

/// Measures again, on a thread that is none of the executor's.
pub(crate) struct Recalibrator {
    calibrator: Arc<Calibrator>,
    running: Option<Running>,
}

/// A measurement under way; given up when dropped.
struct Running {
    is_wanted: Arc<AtomicBool>,
    measuring: JoinHandle<Option<u64>>,
}

impl Recalibrator {
    pub(crate) fn new(calibrator: Calibrator) -> Recalibrator {
        Recalibrator { calibrator: Arc::new(calibrator), running: None }
    }

    /// Begins to measure. Not to be called again before `next` has told what came of it.
    pub(crate) fn begin(&mut self) {
        let is_wanted = Arc::new(AtomicBool::new(true));
        let (calibrator, wanted) = (self.calibrator.clone(), is_wanted.clone());
        let measuring = tokio::task::spawn_blocking(move || {
            let measured = calibrator.measure(|| wanted.load(Ordering::Relaxed));
            let figure = measured.inspect_err(|error| {
                tracing::warn!(error = format!("{error:#}"), "cannot measure this machine again");
            });
            let figure = figure.ok().filter(|_| wanted.load(Ordering::Relaxed))?;
            calibrator.sandbox.measured(figure);
            Some(figure)
        });
        self.running = Some(Running { is_wanted, measuring });
    }

    /// The figure is not wanted any more, and the core is: it is left within milliseconds.
    pub(crate) fn give_up(&self) {
        if let Some(running) = &self.running {
            running.is_wanted.store(false, Ordering::Relaxed);
        }
    }

    /// The figure, or that none came of it; never, while nothing is measured. May be dropped and
    /// called again.
    pub(crate) async fn next(&mut self) -> Option<u64> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        // A panic of the engine has been reported already.
        let figure = (&mut running.measuring).await.unwrap_or(None);
        self.running = None;
        figure
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_wanted.store(false, Ordering::Relaxed);
    }
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

    fn sandbox() -> Arc<Sandbox> {
        Arc::new(Sandbox::new(SandboxConfig { max_instances: 2 }).expect("a sandbox"))
    }

    #[test]
    fn a_core_burns_plausible_fuel_in_less_than_200_ms() {
        let sandbox = sandbox();
        let measure = || {
            let began = Instant::now();
            let calibrator = Calibrator::new(sandbox.clone()).expect("a loop");
            let fuel = calibrator.fuel_per_second().expect("a figure");
            println!("one core burns {} of fuel per second", weir_proto::units::short_count(fuel));
            assert!((10_000_000..100_000_000_000).contains(&fuel), "{fuel}");
            began.elapsed()
        };
        // Other tests may take the core away from one of them.
        let least = (0..5).map(|_| measure()).min().expect("five");
        assert!(least < Duration::from_millis(200), "{least:?}");
    }

    #[test]
    fn who_is_not_wanted_burns_nothing() {
        let calibrator = Calibrator::new(sandbox()).expect("a loop");
        let asked = std::cell::Cell::new(0);
        let until_third = || asked.replace(asked.get() + 1) < 2;
        let began = Instant::now();
        assert!(calibrator.measure(until_third).expect("a figure") > 1);
        assert_eq!(asked.get(), 3, "it asks before each part");
        assert!(began.elapsed() < MEASURED, "two parts take {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_was_given_up_has_no_figure() {
        let mut again = Recalibrator::new(Calibrator::new(sandbox()).expect("a loop"));
        again.begin();
        assert!(again.next().await > Some(1));
        again.begin();
        again.give_up();
        assert_eq!(again.next().await, None);
    }
}
