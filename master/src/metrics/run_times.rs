//! A histogram of tasks' wall times that takes whole sets of them, bucket by bucket.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use weir_scheduler::times::Times;

/// The shortest and the longest bound are just below `2^FIRST` and `2^LAST` microseconds: 2 us and 71
/// minutes.
const FIRST: u32 = 1;
const LAST: u32 = 32;

/// The times; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct RunTimes(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    /// By the longest time of a bucket, in microseconds.
    counts: BTreeMap<u64, u64>,
    sum_us: u64,
}

impl RunTimes {
    /// Adds all of them.
    pub(super) fn add(&self, times: &Times) {
        let mut sums = self.0.lock().expect("nobody panics while holding the times");
        sums.sum_us = sums.sum_us.saturating_add(times.sum_us);
        for (longest_us, count) in times.buckets() {
            *sums.counts.entry(longest_us).or_default() += u64::from(count);
        }
    }
}

impl EncodeMetric for RunTimes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sums = self.0.lock().expect("nobody panics while holding the times");
        // Four of the buckets of `Times` make one here; they end where a doubling does, so nothing
        // is estimated.
        let bounds_us = (FIRST..=LAST).map(|log| (1_u64 << log) - 1);
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let mut below_us = 0;
        for bound_us in bounds_us {
            let within = sums.counts.range(below_us..=bound_us).map(|(_, count)| count).sum();
            buckets.push((bound_us as f64 / 1e6, within));
            below_us = bound_us + 1;
        }
        let above = sums.counts.range(below_us..).map(|(_, count)| count).sum();
        buckets.push((f64::INFINITY, above));
        let count = sums.counts.values().sum();
        encoder.encode_histogram::<NoLabelSet>(sums.sum_us as f64 / 1e6, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
