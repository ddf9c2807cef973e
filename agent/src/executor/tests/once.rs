//! A task that runs at most once, where the world fails it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_run_ends_even_where_its_output_cannot_be_kept() {
    let bench = Bench::new(1);
    let mut lease = bench.lease(1, &writer(70_000, ""), 1, 1);
    bench.data.fill();
    bench.executor.grant(&lease);
    let again = bench.finish(1).await.remove(0);
    assert!(matches!(again.end, End::CannotRun { .. }), "others run it again");
    (lease.id.seq, lease.spec.once) = (2, true);
    bench.executor.grant(&lease);
    let finished = bench.finish(1).await.remove(0);
    let Outcome::Trapped(trap) = outcome(&finished) else { panic!("{finished:?}") };
    assert_eq!(trap.kind, "agent_failed");
    assert!(trap.message.contains("cannot keep the task's output"), "{}", trap.message);
}
