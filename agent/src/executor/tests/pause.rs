//! Tasks that stand still and go on.

use super::*;

const ONLY: LeaseId = LeaseId { term: 1, seq: 1 };

fn tasks(start: u32, end: u32) -> RangeSet {
    RangeSet::from_iter([TaskRange::new(start, end)])
}

fn wall_ms(finished: &Finished) -> u64 {
    let End::Result(result) = &finished.end else { panic!("{finished:?}") };
    result.usage.wall_us / 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_uses_no_core_and_goes_on_where_it_was() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, &burner(400_000_000), 1, 1));
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    assert!(bench.executor.pause(ONLY, &tasks(0, 1)).is_empty(), "it has begun");

    // Had it a part of the one core, this would show in its time.
    bench.executor.grant(&bench.lease(2, &burner(400_000_000), 1, 1));
    let other = bench.finish(1).await;
    assert_eq!(other[0].lease.seq, 2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bench.executor.running(), [(ONLY, 0)], "it stands still");

    bench.executor.pause(ONLY, &RangeSet::new());
    let resumed = bench.finish(1).await;
    assert_eq!(resumed[0].lease, ONLY);
    assert!(outcome(&resumed[0]).succeeded());
    let (paused_ms, other_ms) = (wall_ms(&resumed[0]), wall_ms(&other[0]));
    assert!(paused_ms < 2 * other_ms + 200, "{paused_ms} ms is more than it ran: {other_ms} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_tasks_time_limit_stands_still() {
    let bench = Bench::new(1);
    let mut lease = bench.lease(1, &burner(u64::MAX / 2), 1, 1);
    lease.spec.limits.timeout_ms = 400;
    bench.executor.grant(&lease);
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    bench.executor.pause(ONLY, &tasks(0, 1));
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(bench.executor.take_finished().is_empty(), "nobody ends while it is paused");

    let resumed = Instant::now();
    bench.executor.pause(ONLY, &RangeSet::new());
    let ended = bench.finish(1).await;
    let Outcome::TimedOut(exceeded) = outcome(&ended[0]) else { panic!("{:?}", ended[0]) };
    assert!((400..900).contains(&exceeded.used), "{} ms of its own", exceeded.used);
    assert!(resumed.elapsed() > Duration::from_millis(100), "it had most of its time left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_begun_is_taken_back() {
    let bench = Bench::new(2);
    bench.executor.grant(&bench.lease(1, &burner(u64::MAX / 2), 10, 2));
    bench.until("two run", || bench.executor.running().len() == 2).await;
    assert_eq!(bench.executor.pause(ONLY, &tasks(1, 5)), tasks(2, 5));
    assert_eq!(bench.executor.withdraw(ONLY, &tasks(0, 10)), tasks(5, 10));
    assert_eq!(bench.executor.running().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_task_can_be_stopped_and_its_sandbox_is_free_again() {
    let bench = Bench::new(1);
    for seq in 1..50 {
        let id = LeaseId { term: 1, seq };
        // A pool of 20 sandboxes: what is not given back is missing soon.
        bench.executor.grant(&bench.lease(seq, &burner(u64::MAX / 2), 1, 1));
        bench.until("it runs", || !bench.executor.running().is_empty()).await;
        bench.executor.pause(id, &tasks(0, 1));
        bench.executor.stop(id);
    }
    bench.executor.grant(&bench.lease(50, empty(), 20, 20));
    assert!(bench.finish(20).await.iter().all(|ended| outcome(ended).succeeded()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_shuts_down_although_tasks_are_paused() {
    let bench = Bench::new(1);
    bench.executor.grant(&bench.lease(1, &burner(u64::MAX / 2), 1, 1));
    bench.until("it runs", || !bench.executor.running().is_empty()).await;
    bench.executor.pause(ONLY, &tasks(0, 1));
    let began = Instant::now();
    bench.executor.shutdown();
    assert!(began.elapsed() < Duration::from_secs(2));
}
