//! How long tasks ran, in a few buckets however many there are.

use std::collections::BTreeMap;

use weir_proto::malformed::Malformed;

/// Wall times, each counted in a bucket at most a quarter wider than the times in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    buckets: BTreeMap<u8, u32>,
    /// All times together, in microseconds.
    pub sum_us: u64,
}

impl Times {
    /// Adds a time in microseconds.
    pub fn add(&mut self, us: u64) {
        let count = self.buckets.entry(bucket(us)).or_default();
        *count = count.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Adds all times of another.
    pub fn add_all(&mut self, other: &Times) {
        for (bucket, more) in &other.buckets {
            let count = self.buckets.entry(*bucket).or_default();
            *count = count.saturating_add(*more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.buckets.values().map(|count| u64::from(*count)).sum()
    }

    /// The longest time of each bucket in microseconds, and how many are in it; ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.buckets.iter().map(|(bucket, count)| (longest(*bucket), *count))
    }

    /// A quantile in microseconds, rounded up by at most a quarter; 0 without times.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        let wanted = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (longest, count) in self.buckets() {
            seen += u64::from(count);
            if seen >= wanted {
                return longest;
            }
        }
        0
    }

    /// Bucket, count, bucket, count and so on.
    pub(crate) fn to_wire(&self) -> Vec<u32> {
        self.buckets.iter().flat_map(|(bucket, count)| [u32::from(*bucket), *count]).collect()
    }

    pub(crate) fn from_wire(wire: &[u32], sum_us: u64) -> Result<Times, Malformed> {
        let wrong = || Malformed::Invalid { what: "times", why: "a bucket cannot be".to_owned() };
        let mut times = Times { buckets: BTreeMap::new(), sum_us };
        for pair in wire.chunks(2) {
            let [bucket, count] = *pair else { return Err(wrong()) };
            times.buckets.insert(u8::try_from(bucket).map_err(|_| wrong())?, count);
        }
        Ok(times)
    }
}

/// Four buckets for each doubling.
fn bucket(us: u64) -> u8 {
    if us < 4 {
        return us as u8;
    }
    let log = us.ilog2();
    let quarter = (us >> (log - 2)) & 3;
    (4 * (log - 1) + quarter as u32) as u8
}

fn longest(bucket: u8) -> u64 {
    if bucket < 4 {
        return u64::from(bucket);
    }
    let (log, quarter) = (u32::from(bucket) / 4 + 1, u64::from(bucket) % 4);
    // The very last bucket ends with the largest number there is.
    let next = u128::from(quarter + 5) << (log - 2);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_in_a_bucket_at_most_a_quarter_wider(us in any::<u64>()) {
            let upper = longest(bucket(us));
            prop_assert!(upper >= us);
            prop_assert!(upper - us <= us / 4, "{} in a bucket up to {}", us, upper);
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for number in 0..251 {
            assert_eq!(bucket(longest(number)), number);
            assert_eq!(bucket(longest(number) + 1), number + 1);
        }
        assert_eq!(longest(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn quantiles_are_near() {
        let mut times = Times::default();
        (1..=1_000).for_each(|us| times.add(us));
        assert_eq!((times.count(), times.sum_us), (1_000, 500_500));
        assert!((500..=625).contains(&times.quantile_us(0.5)), "{}", times.quantile_us(0.5));
        assert!((990..=1_240).contains(&times.quantile_us(0.99)));
        assert_eq!(Times::default().quantile_us(0.5), 0);
        let wire = times.to_wire();
        assert_eq!(Times::from_wire(&wire, times.sum_us), Ok(times));
        assert!(Times::from_wire(&[1], 0).is_err());
        assert!(Times::from_wire(&[256, 1], 0).is_err());
    }
}
