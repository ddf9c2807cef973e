//! Tasks that are metered by epochs, beside those that are metered by fuel.

use super::*;

const QUANTUM: u64 = crate::profile::QUANTUM_FUEL;

/// Never ends.
const ENDLESS: &str =
    "(module (memory (export \"memory\") 1) (func (export \"_start\") (loop br 0)))";

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_share_the_workers_by_weight_however_their_tasks_are_metered() {
    // Of a task, and of what all use together: about a second.
    const EACH: u64 = 8 * QUANTUM;
    const ALL: u64 = 4_000 * QUANTUM;
    for (workers, off) in [(1, 0.05), (2, 0.08)] {
        for heavy_by_epochs in [true, false] {
            let bench = Bench::new(workers);
            let lease = |seq, by_epochs| match by_epochs {
                true => bench.lease_by_epochs(seq, &burner(EACH), 100_000, 2),
                false => bench.lease(seq, &burner(EACH), 100_000, 2),
            };
            let (first, second) = (lease(1, heavy_by_epochs), lease(2, !heavy_by_epochs));
            bench.executor.grant(&bench.lease_of(1, "heavy", &[3], first));
            bench.executor.grant(&bench.lease_of(2, "light", &[1], second));
            // Until both are there: one begins before the other.
            let both = async || {
                let mut there = HashMap::new();
                while there.len() < 2 {
                    there.extend(bench.fuel_used(QUANTUM).await);
                }
            };
            both().await;
            let used = bench.fuel_used(ALL).await;
            let share = used[&1] as f64 / (used[&1] + used[&2]) as f64;
            // What has begun and not ended is not in the results.
            let unseen = (2 * 4 * EACH) as f64 / ALL as f64;
            assert!(
                (share - 0.75).abs() <= 0.75 * off + unseen,
                "{share} on {workers} workers, the heavy one by epochs: {heavy_by_epochs}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_ends_by_its_fuel_its_timeout_and_its_leases_end() {
    let bench = Bench::new(1);
    let limited = |seq, limits| {
        let lease = bench.lease_by_epochs(seq, ENDLESS, 1, 1);
        Lease { spec: StageSpec { limits, ..lease.spec }, ..lease }
    };
    let no_limit = Limits { fuel: u64::MAX, timeout_ms: 600_000, ..Limits::default() };
    bench.executor.grant(&limited(1, Limits { fuel: 20 * QUANTUM, ..no_limit }));
    bench.executor.grant(&limited(2, Limits { timeout_ms: 50, ..no_limit }));
    let ended = bench.finish(2).await;
    let of = |seq| ended.iter().find(|finished| finished.lease.seq == seq).expect("it ended");
    assert!(matches!(outcome(of(1)), Outcome::OutOfFuel(_)), "{:?}", of(1));
    assert!(matches!(outcome(of(2)), Outcome::TimedOut(_)), "{:?}", of(2));

    bench.executor.grant(&limited(3, no_limit));
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    bench.executor.stop(LeaseId { term: 1, seq: 3 });
    // The one worker is free again.
    bench.executor.grant(&bench.lease(4, empty(), 1, 1));
    assert_eq!(outcome(&bench.finish(1).await[0]), &Outcome::Succeeded { exit_code: 0 });

    bench.executor.grant(&limited(5, no_limit));
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    bench.executor.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_paused_uses_no_core_and_goes_on_where_it_was() {
    let bench = Bench::new(1);
    let lease = bench.lease_by_epochs(1, &burner(200 * QUANTUM), 1, 1);
    let paused = RangeSet::from_iter([TaskRange::single(0)]);
    bench.executor.grant(&lease);
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    bench.executor.pause(lease.id, &paused);
    bench.executor.grant(&bench.lease_by_epochs(2, empty(), 100, 1));
    let others = bench.finish(100).await;
    assert!(others.iter().all(|finished| finished.lease.seq == 2));
    bench.executor.pause(lease.id, &RangeSet::new());
    assert_eq!(outcome(&bench.finish(1).await[0]), &Outcome::Succeeded { exit_code: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_there_are_sandboxes_wait_for_one_another() {
    let bench = Bench::new(2);
    // The pool has 20.
    bench.executor.grant(&bench.lease_by_epochs(1, &burner(4 * QUANTUM), 100, 60));
    for finished in bench.finish(100).await {
        assert_eq!(outcome(&finished), &Outcome::Succeeded { exit_code: 0 });
    }
}
