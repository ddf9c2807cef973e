//! Time as a guest sees it: driven by its fuel from a fixed origin, or the machine's own.
//!
//! A pure task gets the first: sleeping costs it nothing but moves its clock, and the same program
//! reads the same times wherever it runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::profile::{CLOCK_ORIGIN_NS, FUEL_PER_NANOSECOND};

/// The clocks of one attempt.
#[derive(Debug)]
pub(crate) enum Clock {
    /// Follows the attempt's fuel, and what it slept.
    Virtual {
        /// Nanoseconds that it slept.
        slept_ns: u64,
    },
    /// The machine's.
    Real {
        /// When the attempt began: the monotonic clock's origin.
        started: Instant,
    },
}

impl Clock {
    /// Nanoseconds since the attempt began.
    pub(crate) fn monotonic_ns(&self, fuel_used: u64) -> u64 {
        match self {
            Clock::Virtual { slept_ns } => cpu_ns(fuel_used).saturating_add(*slept_ns),
            Clock::Real { started } => nanos(started.elapsed()),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn realtime_ns(&self, fuel_used: u64) -> u64 {
        match self {
            Clock::Virtual { .. } => CLOCK_ORIGIN_NS.saturating_add(self.monotonic_ns(fuel_used)),
            Clock::Real { .. } => {
                nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
            }
        }
    }

    /// Lets so much time pass: at once where the clock is virtual.
    pub(crate) async fn sleep(&mut self, ns: u64) {
        match self {
            Clock::Virtual { slept_ns } => *slept_ns = slept_ns.saturating_add(ns),
            Clock::Real { .. } => tokio::time::sleep(Duration::from_nanos(ns)).await,
        }
    }
}

/// Nanoseconds of computing that so much fuel stands for.
pub(crate) fn cpu_ns(fuel_used: u64) -> u64 {
    fuel_used / FUEL_PER_NANOSECOND
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
