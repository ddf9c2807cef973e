//! Components written by hand: how each ends, what it costs, and that its time and luck are the same
//! every time. Real ones are in `tests/tests/e2e/components.rs`.

mod conformance;
mod prices;
mod text;
mod traps;

use std::time::{Duration, Instant};

use weir_proto::{
    capability::Capability,
    job::StageSpec,
    outcome::{Exceeded, Outcome},
};

use self::text::{body, component};
use crate::{
    profile::price,
    sandbox::tests::running::{Ran, SANDBOX, loaded, run_loaded, stage, with_limits},
};

/// Components that call the host and each other.
pub(in crate::sandbox) fn small_components() -> [String; 3] {
    let call = "(call $f (i32.const 8) (i32.const 9))";
    [sleeper("", 1), random_printer(), traps::pair("string", "i32 i32", call)]
}

async fn run(stage: &StageSpec, text: &str) -> Ran {
    run_loaded(stage, &loaded(text)).await
}

fn refused(text: &str) -> String {
    SANDBOX.by_fuel().connect(&loaded(text)).err().expect("a component that does not connect")
}

#[tokio::test]
async fn every_exit_code_is_told_as_it_is() {
    let codes = StageSpec { success_codes: vec![3], ..stage() };
    for (text, outcome) in [
        ("(i32.const 0)", Outcome::Succeeded { exit_code: 0 }),
        ("(i32.const 1)", Outcome::Failed { exit_code: 1 }),
        ("(call $exit (i32.const 0)) unreachable", Outcome::Succeeded { exit_code: 0 }),
        ("(call $exit (i32.const 1)) unreachable", Outcome::Failed { exit_code: 1 }),
        ("(call $exit-with-code (i32.const 3)) unreachable", Outcome::Succeeded { exit_code: 3 }),
        ("(call $exit-with-code (i32.const 200)) unreachable", Outcome::Failed { exit_code: 200 }),
    ] {
        assert_eq!(run(&codes, &body(text)).await.outcome, outcome, "{text}");
    }
}

#[tokio::test]
async fn a_trap_has_its_kind_and_names_its_functions() {
    let text = component("(func $inner unreachable)", "(call $inner) (i32.const 0)");
    let Outcome::Trapped(trap) = run(&stage(), &text).await.outcome else { panic!("no trap") };
    assert_eq!(trap.kind, "unreachable");
    assert_eq!(trap.frames, ["inner", "run"], "{trap:?}");
}

#[tokio::test]
async fn unknown_imports_are_all_named_and_a_component_must_be_a_command() {
    let reason = refused(
        r#"(component (import "wasi:keyvalue/store@0.2.0" (instance))
            (import "wasi:cli/exit@0.2.9" (instance)) (import "wasi:cli/exit@0.3.0" (instance))
            (import "env" (func)))"#,
    );
    assert!(
        reason.contains("`wasi:keyvalue/store@0.2.0`, `wasi:cli/exit@0.3.0`, `env`"),
        "{reason}"
    );
    assert!(!reason.contains("0.2.9"), "{reason}");
    let reason = refused("(component)");
    assert!(reason.contains("does not export `wasi:cli/run`"), "{reason}");
    let reason = refused(
        r#"(component (import "wasi:cli/exit@0.2.0" (instance (export "leave" (func))))
            (instance $run) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
    );
    assert!(reason.contains("leave"), "{reason}");
}

#[tokio::test]
async fn fuel_ends_a_loop_and_is_the_same_every_time() {
    let short = with_limits(|limits| limits.fuel = 3_000_000);
    let ran = run(&short, &body("(loop br 0) (i32.const 0)")).await;
    assert_eq!(ran.outcome.to_string(), "out of fuel: used 3,000,000 of 3,000,000");
    let text = body(
        "(drop (call $random-u64)) (call $random (i64.const 1000) (i32.const 0))
        (call $block (call $subscribe (i64.const 1))) (i32.const 0)",
    );
    let first = run(&stage(), &text).await.usage.fuel;
    let priced = 4 * (price::CALL + price::COMPONENT_CALL) + price::random(1008);
    assert!((priced..priced + 100).contains(&first), "{first}");
    assert_eq!(run(&stage(), &text).await.usage.fuel, first);
}

#[tokio::test]
async fn growing_memory_between_calls_costs_no_more_than_it_does() {
    let grow = "(drop (memory.grow (i32.const 1)))";
    let call = "(drop (call $now))";
    let fuel =
        async |text: &str| run(&stage(), &body(&format!("{text} (i32.const 0)"))).await.usage.fuel;
    let (calls, both) =
        (fuel(&call.repeat(20)).await, fuel(&(call.to_owned() + grow).repeat(20)).await);
    assert!(both - calls < 200, "{calls} {both}");
    assert!(calls > 20 * 200, "{calls}");
}

#[tokio::test]
async fn a_guest_that_only_calls_the_host_yields_and_times_out() {
    for call in [
        "(drop (call $now))",
        "(drop (call $random-u64))",
        "(call $random (i64.const 60000) (i32.const 0))",
        "(call $drop-pollable (call $subscribe (i64.const 5)))",
    ] {
        let stage = with_limits(|limits| {
            limits.fuel = u64::MAX;
            limits.timeout_ms = 50;
        });
        let ran = run(&stage, &body(&format!("(loop {call} (br 0)) (i32.const 0)"))).await;
        let Outcome::TimedOut(Exceeded { used, .. }) = ran.outcome else { panic!("no") };
        assert!(used < 200, "{call}: {used} ms");
        assert!(ran.usage.fuel > 1_000_000, "{call}: {}", ran.usage.fuel);
    }
}

/// Waits for an hour in one poll with whatever is before it, and exits with the minutes that its
/// clock then says, and 100 for each event that was told.
fn sleeper(before: &str, count: u32) -> String {
    body(&format!(
        "{before}
        (i32.store (i32.const 0) (call $subscribe (i64.const 3600000000000)))
        (call $poll (i32.const 0) (i32.const {count}) (i32.const 16))
        (call $exit-with-code (i32.add
            (i32.mul (i32.const 100) (i32.load (i32.const 20)))
            (i32.wrap_i64 (i64.div_u (call $now) (i64.const 60000000000)))))
        unreachable"
    ))
}

#[tokio::test]
async fn an_hour_ends_at_once_and_shows_the_hour() {
    let began = Instant::now();
    let ran = run(&stage(), &sleeper("", 1)).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 160 });
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn of_two_timers_the_earlier_wins() {
    let before = "(i32.store (i32.const 4) (call $subscribe (i64.const 120000000000)))";
    let ran = run(&stage(), &sleeper(before, 2)).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 102 });
}

#[tokio::test]
async fn a_ready_stream_wins_without_moving_the_clock() {
    let before = "(i32.store (i32.const 4) (call $subscribe-stdout (call $get-stdout)))";
    let ran = run(&stage(), &sleeper(before, 2)).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 100 });
}

#[tokio::test]
async fn with_the_capability_a_sleep_is_real_and_cut_by_the_timeout() {
    let stage = with_limits(|limits| limits.timeout_ms = 50);
    let stage = StageSpec { capabilities: [Capability::Clock].into(), ..stage };
    let began = Instant::now();
    let ran = run(&stage, &sleeper("", 1)).await;
    assert!(matches!(ran.outcome, Outcome::TimedOut(_)), "{}", ran.outcome);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// Prints 16 random bytes.
fn random_printer() -> String {
    body(
        "(call $random (i64.const 16) (i32.const 0))
        (call $write (call $get-stdout) (i32.load (i32.const 0)) (i32.load (i32.const 4))
            (i32.const 16))
        (i32.load8_u (i32.const 16))",
    )
}

#[tokio::test]
async fn random_numbers_follow_from_the_seed_or_cannot_be_foreseen() {
    let first = run(&stage(), &random_printer()).await;
    assert_eq!(first.outcome, Outcome::Succeeded { exit_code: 0 });
    assert_eq!(first.stdout.len(), 16);
    assert_eq!(run(&stage(), &random_printer()).await.stdout, first.stdout);
    let seeded = StageSpec { seed: 1, ..stage() };
    assert_ne!(run(&seeded, &random_printer()).await.stdout, first.stdout);
    let real = StageSpec { capabilities: [Capability::Random].into(), ..stage() };
    let drawn = run(&real, &random_printer()).await.stdout;
    assert_ne!(run(&real, &random_printer()).await.stdout, drawn);
}

#[tokio::test]
async fn more_random_numbers_than_a_call_moves_are_refused() {
    let text = body("(call $random (i64.const -1) (i32.const 0)) (i32.const 0)");
    let Outcome::Trapped(trap) = run(&stage(), &text).await.outcome else { panic!("no trap") };
    assert!(trap.message.contains("random bytes at once"), "{trap:?}");
}

#[tokio::test]
async fn memories_of_all_instances_count_together() {
    let stage = with_limits(|limits| limits.memory_bytes = 4 << 16);
    // The component's own memory is a page.
    let grow = |pages: u32| {
        component(
            "(memory $other 1)",
            &format!(
                "(memory.grow $other (i32.const {pages})) (i32.const 0) i32.lt_s
                (if (then (drop (i32.load (i32.const -4))))) (i32.const 0)"
            ),
        )
    };
    let ran = run(&stage, &grow(2)).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
    assert_eq!(ran.usage.peak_memory_bytes, 4 << 16);
    let ran = run(&stage, &grow(3)).await;
    assert_eq!(ran.outcome, Outcome::OutOfMemory(Exceeded { used: 5 << 16, limit: 4 << 16 }));
}

#[tokio::test]
async fn too_much_output_ends_the_attempt_with_numbers() {
    let stage = with_limits(|limits| limits.output_bytes = 10_000);
    let text = body(
        "(local $out i32) (local.set $out (call $get-stdout))
        (loop (call $write (local.get $out) (i32.const 0) (i32.const 4000) (i32.const 16)) (br 0))
        (i32.const 0)",
    );
    let ran = run(&stage, &text).await;
    assert_eq!(ran.outcome.to_string(), "output too large: wrote 12,000 of 10,000 bytes");
    assert_eq!(ran.stdout.len(), 10_000);
}

#[tokio::test]
async fn a_guest_that_keeps_what_it_gets_of_the_host_is_stopped() {
    let text = body("(loop (drop (call $get-stdout)) (br 0)) (i32.const 0)");
    let Outcome::Trapped(trap) = run(&stage(), &text).await.outcome else { panic!("no trap") };
    assert_eq!(trap.kind, "host_call");
    assert!(trap.message.contains("table"), "{trap:?}");
}
