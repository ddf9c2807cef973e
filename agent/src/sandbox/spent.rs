//! What an attempt that is metered by epochs has used: the time that its thread has computed for it,
//! told as the fuel that a core of this machine burns in that.
//!
//! Host calls are in it for what they take; waiting, and whatever else the machine does meanwhile, is
//! not. It is read a few times in an epoch, at each a system call of some 0.2 us.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// Says that no turn is under way: no thread has computed for so long.
const NO_TURN: u64 = u64::MAX;

/// What one attempt has used. Written by whoever polls it, so by one thread at a time.
#[derive(Debug)]
pub(crate) struct Spent {
    /// What a core of this machine burns, measured when the attempt began.
    fuel_per_second: u64,
    /// Nanoseconds of turns that are over.
    before_ns: AtomicU64,
    /// What the thread's clock showed when its turn began.
    turn_began_ns: AtomicU64,
}

impl Spent {
    pub(super) fn new(fuel_per_second: u64) -> Spent {
        Spent {
            fuel_per_second,
            before_ns: AtomicU64::new(0),
            turn_began_ns: AtomicU64::new(NO_TURN),
        }
    }

    /// The attempt has the calling thread from now on.
    pub(super) fn begin_turn(&self) {
        self.turn_began_ns.store(thread_ns(), Relaxed);
    }

    /// The attempt leaves the thread that it has.
    pub(super) fn end_turn(&self) {
        self.before_ns.fetch_add(self.in_turn().as_nanos() as u64, Relaxed);
        self.turn_began_ns.store(NO_TURN, Relaxed);
    }

    /// What the turn that is under way has taken; to be asked by its thread.
    pub(super) fn in_turn(&self) -> Duration {
        match self.turn_began_ns.load(Relaxed) {
            NO_TURN => Duration::ZERO,
            began => Duration::from_nanos(thread_ns().saturating_sub(began)),
        }
    }

    /// What was used until now, as fuel.
    pub(super) fn fuel(&self) -> u64 {
        let before = Duration::from_nanos(self.before_ns.load(Relaxed));
        let ns = (before + self.in_turn()).as_nanos();
        let fuel = ns * u128::from(self.fuel_per_second) / 1_000_000_000;
        u64::try_from(fuel).unwrap_or(u64::MAX)
    }
}

/// For how long the calling thread has computed.
fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    /// Computes for so long.
    fn compute(time: Duration) {
        let began = thread_ns();
        while Duration::from_nanos(thread_ns() - began) < time {}
    }

    #[test]
    fn turns_count_on_whatever_thread_they_are_and_what_is_between_them_does_not() {
        let spent = Spent::new(5_000_000_000);
        let turn = || {
            spent.begin_turn();
            compute(Duration::from_millis(2));
            assert!(spent.in_turn() >= Duration::from_millis(2));
            spent.end_turn();
        };
        assert_eq!(spent.fuel(), 0);
        turn();
        let first = spent.fuel();
        assert!(first >= 10_000_000, "{first}");
        compute(Duration::from_millis(2));
        assert_eq!((spent.fuel(), spent.in_turn()), (first, Duration::ZERO));
        thread::scope(|scope| drop(scope.spawn(turn)));
        assert!(spent.fuel() >= first + 10_000_000);
    }

    #[test]
    fn waiting_is_free() {
        let (spent, began) = (Spent::new(1_000_000_000), Instant::now());
        spent.begin_turn();
        thread::park_timeout(Duration::from_millis(50));
        spent.end_turn();
        assert!(u128::from(spent.fuel()) < began.elapsed().as_nanos() / 2, "{spent:?}");
    }
}
