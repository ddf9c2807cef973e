//! Runs seeds: one, or many on all cores, and says how to replay the one that failed.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{Counts, Report, Tracing, Variant, observer, world::World};

/// A seed under which something did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold, and where that was noticed.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, why } = self;
        write!(
            f,
            "seed {seed}: {why}\nWEIR_SEED={seed} cargo test --release -p weir-tests \
             --test simulation replay -- --nocapture"
        )
    }
}

/// Runs one seed.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64, variant: Variant, tracing: Tracing) -> Result<Report, Failure> {
    keep_panics_quiet();
    QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| replay(seed, variant, tracing)));
    QUIET.set(false);
    outcome.map_err(|panic| {
        let place = PLACE.take();
        Failure { seed, why: format!("{} ({place})", message(&*panic)) }
    })
}

/// Runs one seed and lets what does not hold panic here, with its backtrace.
///
/// # Panics
/// When an invariant does not hold.
pub fn replay(seed: u64, variant: Variant, tracing: Tracing) -> Report {
    observer::reset();
    World::new(seed, variant, tracing).run()
}

/// What happened under many seeds together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// How many things happened.
    pub events: u64,
    /// How many under the seed with the most, and that seed.
    pub most: (u64, u64),
    /// What happened how often.
    pub counts: Counts,
}

/// Runs seeds on all cores until one fails; returns what happened in all others together.
///
/// # Errors
/// The failure of the lowest seed that fails.
pub fn first_failure(seeds: Range<u64>, variant: Variant) -> Result<Total, Failure> {
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let total: Mutex<Total> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run(seed, variant, Tracing::Off) {
                Ok(report) => {
                    let mut total = total.lock().expect("nobody panics while adding");
                    total.events += report.events;
                    total.most = total.most.max((report.events, seed));
                    total.counts.add_all(&report.counts);
                }
                Err(failure) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    let mut failed = failed.lock().expect("nobody panics while comparing");
                    if failed.as_ref().is_none_or(|other| failure.seed < other.seed) {
                        *failed = Some(failure);
                    }
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    match failed.into_inner().expect("nobody panics while comparing") {
        Some(failure) => Err(failure),
        None => Ok(total.into_inner().expect("nobody panics while adding")),
    }
}

thread_local! {
    /// Whether panics of this thread are a simulation's findings.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// Where the last of them was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A finding is printed once, with its seed, by whoever asked for the run.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let place = info.location().map(ToString::to_string);
                PLACE.set(place.unwrap_or_default());
            } else {
                loud(info);
            }
        }));
    });
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(|text| &text[..]);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}
