//! How long a master's loop is busy with what came, before it looks for what came meanwhile: nobody
//! is answered during that time.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    metrics::{gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Bounds of buckets, in seconds.
const BOUNDS: [f64; 10] = [0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 4.0];

type Seconds = Gauge<f64, AtomicU64>;

/// What is known of the loop's stalls, and of the snapshots that may cause some.
#[derive(Debug)]
pub(super) struct Stalls {
    busy: Histogram,
    longest: Seconds,
    longest_in_snapshot: Seconds,
    snapshot: Histogram,
}

impl Default for Stalls {
    fn default() -> Stalls {
        Stalls {
            busy: Histogram::new(BOUNDS),
            longest: Seconds::default(),
            longest_in_snapshot: Seconds::default(),
            snapshot: Histogram::new(super::SHORT),
        }
    }
}

impl Stalls {
    pub(super) fn register(&self, weir: &mut Registry) {
        let mut seconds = |name: &str, help: &str, gauge: &Seconds| {
            weir.register_with_unit(name, help, Unit::Seconds, gauge.clone());
        };
        let help = "The longest that this master's loop was busy since it started";
        seconds("loop_longest", help, &self.longest);
        let help = "The same, of times at which a snapshot was under way";
        seconds("loop_longest_in_snapshot", help, &self.longest_in_snapshot);
        let help = "How long this master's loop was busy before it looked again";
        weir.register_with_unit("loop_busy", help, Unit::Seconds, self.busy.clone());
        let help = "From the beginning of a snapshot of ours to its being durable";
        weir.register_with_unit("snapshot_duration", help, Unit::Seconds, self.snapshot.clone());
    }

    /// The loop was busy for so long. Called by that loop alone, so nobody else raises a maximum.
    pub(super) fn busy(&self, time: Duration, in_snapshot: bool) {
        let seconds = time.as_secs_f64();
        self.busy.observe(seconds);
        raise(&self.longest, seconds);
        if in_snapshot {
            raise(&self.longest_in_snapshot, seconds);
        }
    }

    /// A snapshot is durable so long after it was begun.
    pub(super) fn snapshot_taken(&self, after: Duration) {
        self.snapshot.observe(after.as_secs_f64());
    }
}

fn raise(gauge: &Seconds, to: f64) {
    if gauge.get() < to {
        gauge.set(to);
    }
}
