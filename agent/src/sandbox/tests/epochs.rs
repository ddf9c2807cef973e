//! Guests that are metered by epochs: what they have used, and that they yield. That they end as those
//! metered by fuel do is in `agent/tests/determinism.rs`.

use std::sync::atomic::AtomicU32;

use weir_proto::limits::Limits;

use super::*;
use crate::sandbox::preview2::tests::small_components;

fn by_epochs(change: impl FnOnce(&mut Limits)) -> StageSpec {
    StageSpec { metering: Metering::Epoch, ..with_limits(change) }
}

/// A loop of so many rounds.
fn rounds(count: u64) -> String {
    let body = format!(
        "(local i64) (loop (br_if 0 (i64.lt_u (local.tee 0 (i64.add (local.get 0) (i64.const 1)))
            (i64.const {count}))))"
    );
    format!("(module (memory (export \"memory\") 1) (func (export \"_start\") {body}))")
}

#[tokio::test]
async fn fuel_is_the_time_that_a_guest_computes() {
    let stage = by_epochs(|limits| limits.fuel = u64::MAX);
    let short = run(&stage, &rounds(1_000)).await;
    let long = run(&stage, &rounds(100_000_000)).await;
    assert_eq!(long.outcome, Outcome::Succeeded { exit_code: 0 });
    assert!(short.usage.fuel > 0 && short.usage.fuel < long.usage.fuel / 10);
    // Nothing is computed faster than the clock passes; until it is measured, 4 fuel are 1 ns.
    assert!(long.usage.fuel / 4_000 <= long.usage.wall_us + 1, "{:?}", long.usage);
}

#[tokio::test]
async fn a_machine_that_is_twice_as_fast_bills_twice_as_much_for_the_same_time() {
    let sandbox = Sandbox::new(SandboxConfig { max_instances: 1 }).expect("a sandbox");
    let stage = by_epochs(|limits| limits.fuel = 20_000_000);
    let bytes = wat::parse_str(command("(loop br 0)")).expect("text that parses");
    let runner = sandbox.runner(Metering::Epoch).expect("a runner");
    let module = Module::new(runner.engine(), bytes).expect("a valid module");
    let module = runner.connect(&Loaded::Module(module)).expect("a module that connects");
    let mut time_us = Vec::new();
    for fuel_per_second in [100_000_000, 2_000_000_000] {
        sandbox.measured(fuel_per_second);
        let output = OutputBuffer::new(10);
        let ended = sandbox.run(&module, attempt(&stage, &[], &output, &output)).await;
        let Ended { outcome, usage, .. } = ended.expect("it runs");
        let Outcome::OutOfFuel(Exceeded { used, limit }) = outcome else { panic!("{outcome:?}") };
        assert_eq!((used, limit), (usage.fuel, 20_000_000));
        assert!(used > limit, "it is noticed when it is used up, at the next epoch");
        time_us.push(used * 1_000_000 / fuel_per_second);
    }
    // 200 ms, and 10 ms.
    assert!(time_us[0] > 4 * time_us[1], "{time_us:?}");
}

#[tokio::test]
async fn an_endless_loop_yields_times_out_and_can_be_cancelled() {
    let stage = by_epochs(|limits| {
        limits.fuel = u64::MAX;
        limits.timeout_ms = 100;
    });
    let endless = command("(loop br 0)");
    let turns = AtomicU32::new(0);
    let others = async {
        loop {
            turns.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let ran = tokio::select! {
        biased;
        ran = run(&stage, &endless) => ran,
        () = others => unreachable!("it never ends"),
    };
    assert!(matches!(ran.outcome, Outcome::TimedOut(_)), "{:?}", ran.outcome);
    // An epoch of 1 ms each, unless the machine has other things to do.
    assert!(turns.into_inner() >= 10);

    let patient = by_epochs(|limits| limits.fuel = u64::MAX);
    let cancelled = tokio::time::timeout(Duration::from_millis(20), run(&patient, &endless));
    assert!(cancelled.await.is_err());
}

#[tokio::test]
async fn a_start_function_and_a_guest_that_only_calls_are_limited_too() {
    let stage = by_epochs(|limits| limits.fuel = 8_000_000);
    for text in [
        "(module (memory (export \"memory\") 1) (func $s (loop br 0)) (start $s)
            (func (export \"_start\")))"
            .to_owned(),
        // A tail call of itself: there is no loop.
        "(module (memory (export \"memory\") 1) (func $f (export \"_start\") (return_call $f)))"
            .to_owned(),
        format!(
            "(module (import \"{WASI}\" \"random_get\" (func $random (param i32 i32) (result i32)))
                (memory (export \"memory\") 1)
                (func (export \"_start\")
                    (loop (drop (call $random (i32.const 0) (i32.const 65536))) (br 0))))"
        ),
    ] {
        let ran = run(&stage, &text).await;
        assert!(matches!(ran.outcome, Outcome::OutOfFuel(_)), "{text}: {:?}", ran.outcome);
    }
}

#[tokio::test]
async fn components_run_and_are_limited_by_epochs_too() {
    for text in small_components() {
        let by_fuel = run(&stage(), &text).await;
        let by_epochs = run(&by_epochs(|_| {}), &text).await;
        assert_eq!(by_fuel.outcome, by_epochs.outcome, "{text}");
        // One writes random numbers, which follow from the profile.
        let lengths = |ran: &running::Ran| (ran.stdout.len(), ran.stderr.len());
        assert_eq!(lengths(&by_fuel), lengths(&by_epochs));
    }
}

#[tokio::test]
async fn a_clock_follows_the_time_that_was_computed_and_a_sleep_takes_none() {
    // Sleeps for an hour, and tells by its exit code how many seconds passed, in hundreds.
    let text = format!(
        r#"(module
            (import "{WASI}" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
            (import "{WASI}" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func $time (result i64)
                (drop (call $now (i32.const 1) (i64.const 1) (i32.const 0)))
                (i64.load (i32.const 0)))
            (func (export "_start") (local i64)
                (local.set 0 (call $time))
                (i32.store (i32.const 80) (i32.const 1))
                (i64.store (i32.const 88) (i64.const 3600000000000))
                (drop (call $poll (i32.const 64) (i32.const 200) (i32.const 1) (i32.const 300)))
                (call $exit (i32.wrap_i64 (i64.div_u
                    (i64.sub (call $time) (local.get 0)) (i64.const 100000000000))))))"#
    );
    let began = Instant::now();
    let ran = run(&by_epochs(|_| {}), &text).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 36 });
    assert!(began.elapsed() < Duration::from_secs(60));
}
