//! Who gets how much of the workers, in counted fuel: on a slow machine it is the same.

use super::*;

/// Fuel between two yields.
const QUANTUM: u64 = crate::profile::QUANTUM_FUEL;

impl Bench {
    pub(super) fn lease_of(
        &self,
        seq: u64,
        namespace: &str,
        weights: &[u32],
        lease: Lease,
    ) -> Lease {
        let namespace = namespace.parse().expect("a namespace");
        let id = LeaseId { term: 1, seq };
        Lease { id, namespace, weights: weights.to_vec(), ..lease }
    }

    /// Runs until so much fuel was used altogether; what each lease has used.
    pub(super) async fn fuel_used(&self, until: u64) -> HashMap<u64, u64> {
        let mut used: HashMap<u64, u64> = HashMap::new();
        while used.values().sum::<u64>() < until {
            self.executor.changed().await;
            for finished in self.executor.take_finished() {
                let End::Result(result) = &finished.end else { panic!("{finished:?}") };
                *used.entry(finished.lease.seq).or_default() += result.usage.fuel;
            }
        }
        used
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_share_the_workers_by_weight() {
    for (workers, off) in [(1, 0.02), (2, 0.05)] {
        // (slots of the heavy one, of the light one)
        for (heavy, light) in [(3, 3), (2, 12), (12, 2)] {
            let bench = Bench::new(workers);
            let spinner = burner(2 * QUANTUM);
            let first = bench.lease(1, &spinner, 100_000, heavy);
            let second = bench.lease(2, &spinner, 100_000, light);
            bench.executor.grant(&bench.lease_of(1, "heavy", &[3], first));
            bench.executor.grant(&bench.lease_of(2, "light", &[1], second));
            // Until both are there: one begins before the other.
            bench.fuel_used(100 * QUANTUM).await;
            let used = bench.fuel_used(2_000 * QUANTUM).await;
            let share = used[&1] as f64 / (used[&1] + used[&2]) as f64;
            // What has begun and not ended is not in the results.
            let unseen = 2.0 * f64::from(heavy + light) / 2_000.0;
            assert!(
                (share - 0.75).abs() <= 0.75 * off + unseen,
                "{share} on {workers} workers with {heavy} and {light} slots"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_task_among_long_ones_of_another_namespace_ends_soon() {
    let bench = Bench::new(1);
    let others = bench.lease(1, &burner(QUANTUM), 1_000_000, 15);
    bench.executor.grant(&bench.lease_of(1, "others", &[], others));
    bench.fuel_used(200 * QUANTUM).await;
    let short = bench.lease(2, &burner(10 * QUANTUM), 1, 1);
    // Compiled and laid out by a first one.
    bench.executor.grant(&bench.lease_of(2, "own", &[], short.clone()));
    let done = |used: &HashMap<u64, u64>| used.contains_key(&2);
    while !done(&bench.fuel_used(QUANTUM).await) {}
    bench.executor.grant(&bench.lease_of(2, "own", &[], short));
    let (mut others, mut ended) = (0, false);
    while !ended {
        let used = bench.fuel_used(QUANTUM).await;
        others += used.get(&1).copied().unwrap_or(0);
        ended = done(&used);
    }
    // Twice its own quanta and 20 more, of which its own are 10; and 15 that were under way.
    assert!(others <= (2 * 10 + 20 - 10 + 15) * QUANTUM, "{} quanta", others / QUANTUM);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_namespace_share_what_it_has_however_many_slots_each_has() {
    let bench = Bench::new(1);
    for (seq, slots) in [(1, 12), (2, 1)] {
        let lease = bench.lease(seq, &burner(2 * QUANTUM), 100_000, slots);
        bench.executor.grant(&lease);
    }
    bench.fuel_used(100 * QUANTUM).await;
    let used = bench.fuel_used(1_000 * QUANTUM).await;
    let share = used[&1] as f64 / (used[&1] + used[&2]) as f64;
    assert!((share - 0.5).abs() <= 0.04, "{share}");
}
