//! Every way a guest can end, with its numbers, and what it cannot reach.

mod coredump;
mod epochs;
mod exceptions;
mod host;
pub(super) mod prices;
pub(crate) mod running;
pub(crate) mod speed;

use wasmtime::Module;

use self::running::{attempt, run, run_in, stage, with_limits};
use super::*;
use crate::modules::Loaded;

const WASI: &str = "wasi_snapshot_preview1";

/// A module whose `_start` has this body.
fn command(body: &str) -> String {
    format!("(module (memory (export \"memory\") 1) (func (export \"_start\") {body}))")
}

/// Writes `count` bytes from address 64 to stdout, `times` over.
fn writer(count: u32, times: u32) -> String {
    format!(
        r#"(module
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.const 64) "hello")
            (func (export "_start") (local $left i32)
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const {count}))
                (local.set $left (i32.const {times}))
                (loop $again
                    (drop (call $write
                        (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                    (br_if $again (local.get $left)))))"#
    )
}

#[tokio::test]
async fn a_guest_that_returns_has_succeeded_and_its_fuel_is_counted() {
    let ran = run(&stage(), &command("")).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
    assert!(ran.usage.fuel > 0 && ran.usage.fuel < 10, "{:?}", ran.usage);
    assert_eq!(ran.usage.peak_memory_bytes, 65_536);
}

#[tokio::test]
async fn output_is_kept() {
    let ran = run(&stage(), &writer(5, 1)).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
    assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"hello"[..], &b""[..]));
}

#[tokio::test]
async fn every_exit_code_is_told_as_it_is() {
    let codes = StageSpec { success_codes: vec![3, 200], ..stage() };
    for (code, outcome) in [
        (0, Outcome::Succeeded { exit_code: 0 }),
        (3, Outcome::Succeeded { exit_code: 3 }),
        (4, Outcome::Failed { exit_code: 4 }),
        (126, Outcome::Failed { exit_code: 126 }),
        (200, Outcome::Succeeded { exit_code: 200 }),
        (255, Outcome::Failed { exit_code: 255 }),
        (-1, Outcome::Failed { exit_code: -1 }),
    ] {
        let text = format!(
            r#"(module (import "{WASI}" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (func (export "_start") (call $exit (i32.const {code}))))"#
        );
        assert_eq!(run(&codes, &text).await.outcome, outcome);
    }
}

#[tokio::test]
async fn a_trap_has_a_stable_kind_and_names_its_functions() {
    for (body, expected) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.load (i32.const -4)))", "memory_out_of_bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "integer_divide_by_zero"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", "integer_overflow"),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", "bad_conversion_to_integer"),
    ] {
        let text = format!(
            "(module (memory (export \"memory\") 1) (func $inner {body})
                (func $outer (export \"_start\") (call $inner)))"
        );
        let Outcome::Trapped(trap) = run(&stage(), &text).await.outcome else { panic!("{body}") };
        assert_eq!(trap.kind, expected);
        assert_eq!(trap.frames, ["inner", "outer"], "{trap:?}");
        assert!(!trap.message.is_empty() && !trap.message.contains("wasm trap"), "{trap:?}");
    }
}

#[tokio::test]
async fn deep_recursion_overflows_the_stack_with_few_frames() {
    let text = "(module (func $f (param i32) (result i32)
            (i32.add (i32.const 1) (call $f (local.get 0))))
        (func (export \"_start\") (drop (call $f (i32.const 1)))))";
    let Outcome::Trapped(trap) = run(&stage(), text).await.outcome else { panic!("no trap") };
    assert_eq!(trap.kind, "stack_overflow");
    assert!((10..=profile::MAX_TRAP_FRAMES).contains(&trap.frames.len()), "{trap:?}");
    assert!(trap.frames.iter().all(|name| name == "f"), "{trap:?}");
}

#[tokio::test]
async fn an_uncaught_exception_is_a_trap() {
    let text = "(module (tag $t) (func (export \"_start\") (throw $t)))";
    let Outcome::Trapped(trap) = run(&stage(), text).await.outcome else { panic!("no trap") };
    assert_eq!(trap.kind, "uncaught_exception");
}

#[tokio::test]
async fn a_host_call_without_memory_is_a_trap_that_says_so() {
    let text = format!(
        r#"(module (import "{WASI}" "sched_yield" (func $f (result i32)))
            (func (export "_start") (drop (call $f))))"#
    );
    let Outcome::Trapped(trap) = run(&stage(), &text).await.outcome else { panic!("no trap") };
    assert_eq!(trap.kind, "host_call");
    assert!(trap.message.contains("memory"), "{trap:?}");
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_fuel() {
    let stage = with_limits(|limits| limits.fuel = 5_000_000);
    let ran = run(&stage, &command("(loop br 0)")).await;
    assert_eq!(ran.outcome.to_string(), "out of fuel: used 5,000,000 of 5,000,000");
    assert_eq!(ran.usage.fuel, 5_000_000);
}

#[tokio::test]
async fn fuel_is_the_same_every_time() {
    let text = command(
        "(local i32) (loop (br_if 0 (i32.lt_u (local.tee 0
            (i32.add (local.get 0) (i32.const 1))) (i32.const 100000))))",
    );
    let first = run(&stage(), &text).await.usage.fuel;
    assert!(first > 100_000);
    assert_eq!(run(&stage(), &text).await.usage.fuel, first);
}

#[tokio::test]
async fn the_start_function_is_billed_and_limited() {
    let text = "(module (memory (export \"memory\") 1) (func $init (local i32)
            (loop (br_if 0 (i32.lt_u (local.tee 0
                (i32.add (local.get 0) (i32.const 1))) (i32.const 1000)))))
        (start $init) (func (export \"_start\")))";
    assert!(run(&stage(), text).await.usage.fuel > 1000);
    let short = with_limits(|limits| limits.fuel = 500);
    assert_eq!(
        run(&short, text).await.outcome,
        Outcome::OutOfFuel(Exceeded { used: 500, limit: 500 })
    );
}

#[tokio::test]
async fn a_trap_in_the_start_function_is_a_trap() {
    let text = "(module (func $init unreachable) (start $init) (func (export \"_start\")))";
    let Outcome::Trapped(trap) = run(&stage(), text).await.outcome else { panic!("no trap") };
    assert_eq!((trap.kind, trap.frames), ("unreachable".to_owned(), vec!["init".to_owned()]));
}

#[tokio::test]
async fn an_exit_in_the_start_function_is_an_exit() {
    let text = format!(
        r#"(module (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (func $init (call $exit (i32.const 7))) (start $init) (func (export "_start")))"#
    );
    assert_eq!(run(&stage(), &text).await.outcome, Outcome::Failed { exit_code: 7 });
}

#[tokio::test]
async fn an_endless_loop_with_much_fuel_ends_by_the_clock() {
    let stage = with_limits(|limits| {
        limits.fuel = u64::MAX;
        limits.timeout_ms = 100;
    });
    let ran = run(&stage, &command("(loop br 0)")).await;
    let Outcome::TimedOut(Exceeded { used, limit: 100 }) = ran.outcome else {
        panic!("{}", ran.outcome)
    };
    assert!((100..200).contains(&used), "{used} ms");
    assert!(ran.usage.fuel > 1_000_000, "{:?}", ran.usage);
}

#[tokio::test]
async fn memory_counts_over_all_memories() {
    let stage = with_limits(|limits| limits.memory_bytes = 5 << 16);
    let text = "(module (memory $a 1) (memory $b 1) (func (export \"_start\")
        (if (i32.ne (memory.grow $a (i32.const 1)) (i32.const 1)) (then unreachable))
        (if (i32.ne (memory.grow $b (i32.const 2)) (i32.const 1)) (then unreachable))
        (if (i32.ne (memory.grow $b (i32.const 1)) (i32.const -1)) (then unreachable))))";
    let ran = run(&stage, text).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 }, "a denied growth is no failure");
    assert_eq!(ran.usage.peak_memory_bytes, 5 << 16);
}

#[tokio::test]
async fn a_trap_after_a_denied_growth_is_out_of_memory() {
    let stage = with_limits(|limits| limits.memory_bytes = 4 << 16);
    let grow = |pages| {
        command(&format!(
            "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))"
        ))
    };
    let ran = run(&stage, &grow(4)).await;
    assert_eq!(ran.outcome, Outcome::OutOfMemory(Exceeded { used: 5 << 16, limit: 4 << 16 }));
    let ran = run(&stage, &grow(65_536)).await;
    let Outcome::OutOfMemory(Exceeded { used, .. }) = ran.outcome else { panic!("no") };
    assert!(used > 4 << 30, "{used}");
}

#[tokio::test]
async fn a_growth_beyond_the_guests_own_maximum_is_its_own_affair() {
    let text = "(module (memory 1 2) (func (export \"_start\")
        (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then unreachable))
        (drop (i32.load (i32.const 70000)))))";
    let ran = run(&stage(), text).await;
    let Outcome::Trapped(trap) = &ran.outcome else { panic!("{}", ran.outcome) };
    assert_eq!(trap.kind, "memory_out_of_bounds");
    assert_eq!(ran.usage.peak_memory_bytes, 1 << 16);
}

#[tokio::test]
async fn initial_memory_beyond_the_limit_is_out_of_memory() {
    let stage = with_limits(|limits| limits.memory_bytes = 3 << 16);
    let text = "(module (memory 4) (func (export \"_start\")))";
    assert_eq!(
        run(&stage, text).await.outcome,
        Outcome::OutOfMemory(Exceeded { used: 4 << 16, limit: 3 << 16 })
    );
}

#[tokio::test]
async fn tables_count_as_memory() {
    let stage = with_limits(|limits| limits.memory_bytes = 80_000);
    let text = "(module (table 10 funcref) (func (export \"_start\")
        (if (i32.eq (table.grow (ref.null func) (i32.const 9990)) (i32.const -1))
            (then unreachable))
        (if (i32.ne (table.grow (ref.null func) (i32.const 1)) (i32.const -1))
            (then unreachable))))";
    let ran = run(&stage, text).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
    assert_eq!(ran.usage.peak_memory_bytes, 80_000);
}

#[tokio::test]
async fn a_garbage_collected_heap_counts_as_memory() {
    let stage = with_limits(|limits| limits.memory_bytes = 1 << 20);
    let text = "(module (type $a (array (mut i64))) (type $l (struct (field (ref null $l))
            (field (ref $a))))
        (func (export \"_start\") (local (ref null $l))
            (loop (local.set 0 (struct.new $l (local.get 0)
                (array.new_default $a (i32.const 1000)))) (br 0))))";
    let ran = run(&stage, text).await;
    assert!(matches!(ran.outcome, Outcome::OutOfMemory(_)), "{}", ran.outcome);
    assert!(ran.usage.peak_memory_bytes > 1 << 16, "{:?}", ran.usage);
}

#[tokio::test]
async fn too_much_output_ends_the_attempt_with_numbers() {
    let stage = with_limits(|limits| limits.output_bytes = 10_000);
    let ran = run(&stage, &writer(3000, 100)).await;
    assert_eq!(ran.outcome.to_string(), "output too large: wrote 12,000 of 10,000 bytes");
    assert_eq!(ran.stdout.len(), 10_000);
}

#[tokio::test]
async fn dropping_an_attempt_cancels_it() {
    let stage = with_limits(|limits| limits.fuel = u64::MAX);
    let text = command("(loop br 0)");
    let run = tokio::time::timeout(Duration::from_millis(20), run(&stage, &text));
    let began = Instant::now();
    assert!(run.await.is_err());
    assert!(began.elapsed() < Duration::from_millis(120), "{:?}", began.elapsed());
}

#[tokio::test]
async fn more_attempts_than_instances_are_told_apart_from_failures() {
    let config = SandboxConfig { max_instances: 1 };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    let bytes = wat::parse_str(command("(loop br 0)")).expect("text that parses");
    let runner = sandbox.by_fuel();
    let module = Module::new(runner.engine(), bytes).expect("a valid module");
    let module = runner.connect(&Loaded::Module(module)).expect("a module that connects");
    let stage = with_limits(|limits| {
        limits.fuel = u64::MAX;
        limits.timeout_ms = 100;
    });
    let output = OutputBuffer::new(10);
    let attempt = || attempt(&stage, &[], &output, &output);
    let (first, second) =
        tokio::join!(sandbox.run(&module, attempt()), sandbox.run(&module, attempt()));
    assert!(matches!(first.expect("it runs").outcome, Outcome::TimedOut(_)));
    assert!(matches!(second, Err(SandboxError::Busy { .. })));
}
