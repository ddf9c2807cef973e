//! Traps that only components can have: what one hands another, and when it may call.

use weir_proto::outcome::{Exceeded, Outcome};

use super::{run, stage, with_limits};

/// Memory, and an allocator that always answers the same.
const LIBC: &str = r#"
    (core module $libc
        (memory (export "memory") 300)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
    (core instance $libc (instantiate $libc))"#;

/// Two components, of which one does this and can call the other with such a parameter, of such core
/// types.
pub(super) fn pair(ty: &str, core: &str, body: &str) -> String {
    let own = r#"(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))"#;
    format!(
        r#"(component
            (component $callee {LIBC}
                (core module $m (func (export "f") (param {core})))
                (core instance $i (instantiate $m))
                (func (export "f") (param "x" {ty}) (canon lift (core func $i "f") {own})))
            (component $caller (import "f" (func $f (param "x" {ty}))) {LIBC}
                (core func $f (canon lower (func $f) {own}))
                (core module $m (import "host" "f" (func $f (param {core})))
                    (func (export "run") (result i32) {body} (i32.const 0)))
                (core instance $i (instantiate $m
                    (with "host" (instance (export "f" (func $f))))))
                (func (export "run") (result (result)) (canon lift (core func $i "run"))))
            (instance $callee (instantiate $callee))
            (instance $caller (instantiate $caller (with "f" (func $callee "f"))))
            (instance $command (export "run" (func $caller "run")))
            (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

async fn kind(text: &str) -> String {
    match run(&stage(), text).await.outcome {
        Outcome::Trapped(trap) => trap.kind,
        outcome => outcome.to_string(),
    }
}

#[tokio::test]
async fn what_one_component_hands_another_is_checked() {
    for (ty, core, args, wanted) in [
        ("string", "i32 i32", "(i32.const 8) (i32.const 9)", "succeeded"),
        ("string", "i32 i32", "(i32.const 19660794) (i32.const 9)", "string_out_of_bounds"),
        ("string", "i32 i32", "(i32.const 8) (i32.const -1)", "string_out_of_bounds"),
        ("(list u8)", "i32 i32", "(i32.const 19660794) (i32.const 9)", "list_out_of_bounds"),
        ("(list u32)", "i32 i32", "(i32.const 8) (i32.const 0x40000000)", "list_out_of_bounds"),
        ("(list u32)", "i32 i32", "(i32.const 9) (i32.const 1)", "unaligned_pointer"),
        ("char", "i32", "(i32.const 0xd800)", "invalid_char"),
        ("char", "i32", "(i32.const 0x110000)", "invalid_char"),
        ("(option u8)", "i32 i32", "(i32.const 2) (i32.const 0)", "invalid_discriminant"),
        ("(result u8)", "i32 i32", "(i32.const -1) (i32.const 0)", "invalid_discriminant"),
    ] {
        let text = pair(ty, core, &format!("(call $f {args})"));
        assert_eq!(kind(&text).await, wanted, "{ty} {args}");
    }
}

#[tokio::test]
async fn components_that_only_hand_each_other_strings_yield_and_time_out() {
    let stage = with_limits(|limits| {
        limits.fuel = u64::MAX;
        limits.timeout_ms = 50;
    });
    let body = "(loop (call $f (i32.const 8) (i32.const 16000000)) (br 0))";
    let ran = run(&stage, &pair("string", "i32 i32", body)).await;
    let Outcome::TimedOut(Exceeded { used, .. }) = ran.outcome else { panic!("no") };
    assert!(used < 200, "{used} ms");
}

#[tokio::test]
async fn a_component_that_allocates_for_a_call_may_not_call_itself() {
    let text = r#"(component
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (export "now" (func (result u64)))))
        (import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
        (core func $now (canon lower (func $clock "now")))
        (core module $libc
            (import "host" "now" (func $now (result i64)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                (drop (call $now)) (i32.const 1024)))
        (core instance $libc (instantiate $libc
            (with "host" (instance (export "now" (func $now))))))
        (core func $random (canon lower (func $random "get-random-bytes")
            (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core module $m (import "host" "random" (func $random (param i64 i32)))
            (func (export "run") (result i32)
                (call $random (i64.const 5) (i32.const 0)) (i32.const 0)))
        (core instance $i (instantiate $m
            (with "host" (instance (export "random" (func $random))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $command (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $command)))"#;
    assert_eq!(kind(text).await, "cannot_leave_component");
}

#[tokio::test]
async fn a_component_is_not_entered_while_it_calls() {
    let text = r#"(component
        (core module $inner (func (export "f")))
        (core instance $inner (instantiate $inner))
        (func $f (canon lift (core func $inner "f")))
        (component $child (import "f" (func $f))
            (core func $f (canon lower (func $f)))
            (core module $m (import "host" "f" (func $f)) (func (export "g") (call $f)))
            (core instance $i (instantiate $m (with "host" (instance (export "f" (func $f))))))
            (func (export "g") (canon lift (core func $i "g"))))
        (instance $child (instantiate $child (with "f" (func $f))))
        (core func $g (canon lower (func $child "g")))
        (core module $m (import "host" "g" (func $g))
            (func (export "run") (result i32) (call $g) (i32.const 0)))
        (core instance $i (instantiate $m (with "host" (instance (export "g" (func $g))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $command (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $command)))"#;
    assert_eq!(kind(text).await, "cannot_enter_component");
}
