//! Random numbers that replay: everything a simulation draws comes from one seed.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

/// The one source of chance in a simulated cluster.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any number but 0.
    pub(super) fn id(&mut self) -> u64 {
        self.0.next_u64().max(1)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// A number below `bound`, for indexing.
    pub(super) fn index(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.0.next_u64().is_multiple_of(times)
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// Mostly short, sometimes long: from `low`, rarely beyond a tenth of `high`.
    pub(super) fn mostly_short(&mut self, low: u64, high: u64) -> u64 {
        let high = if self.one_in(10) { high } else { low + (high - low) / 10 };
        self.between(low, high)
    }
}
