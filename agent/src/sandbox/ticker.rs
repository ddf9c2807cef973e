//! The thread that makes epochs pass, for guests that look at them to know when to yield.
//!
//! It sleeps while no guest runs that does.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use wasmtime::Engine;

use crate::profile::EPOCH;

/// After so many epochs without a guest it falls asleep: to be woken costs a guest a system call.
const IDLE_EPOCHS: u32 = 50;

/// The thread; it ends when this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Guests that have a thread now.
    turns: AtomicU32,
    asleep: AtomicBool,
    stops: AtomicBool,
}

/// A guest has a thread for as long as this lives.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// # Errors
    /// Whatever the system says when it has no more threads.
    pub(super) fn start(engine: &Engine) -> io::Result<Ticker> {
        let (shared, engine) = (Arc::<Shared>::default(), engine.clone());
        let its_own = shared.clone();
        let ticks = move || its_own.tick(|| engine.increment_epoch());
        let thread = thread::Builder::new().name("weir-epochs".to_owned()).spawn(ticks)?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// A guest has a thread from now on: epochs pass.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.turns.fetch_add(1, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Shared {
    fn tick(&self, pass: impl Fn()) {
        let mut idle = 0;
        while !self.stops.load(SeqCst) {
            thread::sleep(EPOCH);
            pass();
            idle = if self.turns.load(SeqCst) > 0 { 0 } else { idle + 1 };
            if idle >= IDLE_EPOCHS {
                self.sleep();
                idle = 0;
            }
        }
    }

    /// Until a guest has a thread. Whoever comes after `asleep` is set sees it, and whoever came
    /// before is seen here.
    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        while self.turns.load(SeqCst) == 0 && !self.stops.load(SeqCst) {
            thread::park();
        }
        self.asleep.store(false, SeqCst);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stops.store(true, SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // Had it panicked, that has been reported already.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU64, time::Duration};

    use super::*;

    /// Waits until something is so; a test that waits for ever is killed.
    fn until(is_so: impl Fn() -> bool) {
        while !is_so() {
            thread::yield_now();
        }
    }

    #[test]
    fn epochs_pass_while_a_guest_runs_and_stand_still_when_none_has_for_a_while() {
        let (shared, epochs) = (Arc::<Shared>::default(), Arc::<AtomicU64>::default());
        let (its_own, counted) = (shared.clone(), epochs.clone());
        let ticks = move || {
            its_own.tick(|| {
                counted.fetch_add(1, SeqCst);
            });
        };
        let thread = Some(thread::spawn(ticks));
        let ticker = Ticker { shared, thread };
        let passed = |from: u64| epochs.load(SeqCst) >= from + 100;

        let running = ticker.running();
        until(|| passed(0));
        drop(running);
        until(|| ticker.shared.asleep.load(SeqCst));
        let stood_at = epochs.load(SeqCst);
        thread::park_timeout(Duration::from_millis(20));
        assert_eq!(epochs.load(SeqCst), stood_at);

        let _running = [ticker.running(), ticker.running()];
        until(|| passed(stood_at));
    }

    #[test]
    fn who_is_dropped_asleep_ends() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).expect("a thread");
        until(|| ticker.shared.asleep.load(SeqCst));
        drop(ticker);
    }
}
