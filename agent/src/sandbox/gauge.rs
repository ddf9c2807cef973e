//! How much fuel a slot's attempts use, told while they run, and for how long they stand still: the
//! executor shares the cores out by the one, and timeouts leave the other out.
//!
//! It is no bill. What a guest burns between two host calls is known as quanta that have ended, and
//! put right when it next calls the host or ends.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::profile::QUANTUM_FUEL;

/// What an attempt takes beside its own instructions, as fuel: a sandbox takes some 4 us to make and
/// clear, and a plain instruction 0.15 ns.
const START_FUEL: u64 = 25_000;

/// The fuel of one slot. Written by whoever polls it, so by one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// What was not taken yet.
    used: AtomicU64,
    /// What is known of the attempt that runs.
    of_attempt: AtomicU64,
    /// Whether it is in a host call: then it does not burn fuel, however long that takes.
    calling: AtomicBool,
    pauses: Mutex<Pauses>,
}

/// How long a slot has been kept from running, over all its attempts.
#[derive(Debug, Default)]
struct Pauses {
    total: Duration,
    since: Option<Instant>,
}

impl Gauge {
    /// An attempt begins.
    pub(super) fn begin(&self) {
        self.used.fetch_add(START_FUEL, Relaxed);
        self.of_attempt.store(0, Relaxed);
        self.calling.store(false, Relaxed);
    }

    /// The attempt has used this much.
    pub(super) fn at(&self, fuel: u64) {
        let known = self.of_attempt.load(Relaxed);
        if fuel > known {
            self.used.fetch_add(fuel - known, Relaxed);
            self.of_attempt.store(fuel, Relaxed);
        }
    }

    /// Something took the core that costs the attempt nothing.
    pub(super) fn beside(&self, fuel: u64) {
        self.used.fetch_add(fuel, Relaxed);
    }

    /// A host call begins, or is over.
    pub(super) fn calling(&self, calling: bool) {
        self.calling.store(calling, Relaxed);
    }

    /// The attempt waits, or has used up its quantum.
    pub(super) fn stands_still(&self) {
        if !self.calling.load(Relaxed) {
            self.used.fetch_add(QUANTUM_FUEL, Relaxed);
            self.of_attempt.fetch_add(QUANTUM_FUEL, Relaxed);
        }
    }

    /// Its slot is kept from running, from now on.
    pub(crate) fn pause(&self) {
        self.pauses().since.get_or_insert_with(Instant::now);
    }

    /// Its slot runs again.
    pub(crate) fn resume(&self) {
        let mut pauses = self.pauses();
        if let Some(since) = pauses.since.take() {
            pauses.total += since.elapsed();
        }
    }

    /// How long its slot has been kept from running.
    pub(super) fn paused(&self) -> Duration {
        let pauses = self.pauses();
        pauses.total + pauses.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was used since this was last asked.
    pub(crate) fn take(&self) -> u64 {
        self.used.swap(0, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quanta_count_as_they_end_and_are_put_right_by_what_is_known() {
        let gauge = Gauge::default();
        gauge.begin();
        assert_eq!(gauge.take(), START_FUEL);
        gauge.stands_still();
        gauge.stands_still();
        assert_eq!(gauge.take(), 2 * QUANTUM_FUEL);
        gauge.at(2 * QUANTUM_FUEL + 7);
        assert_eq!(gauge.take(), 7);
        gauge.begin();
        gauge.at(5);
        assert_eq!(gauge.take(), START_FUEL + 5);
    }

    #[test]
    fn who_waits_in_a_host_call_burns_nothing() {
        let gauge = Gauge::default();
        gauge.at(10);
        gauge.calling(true);
        gauge.stands_still();
        assert_eq!(gauge.take(), 10);
        gauge.calling(false);
        gauge.stands_still();
        assert_eq!(gauge.take(), QUANTUM_FUEL);
    }
}
