//! Traps, in the way its argument names, so that tests can check how each is reported:
//! `trap [unreachable | panic | divide-by-zero | stack-overflow | out-of-bounds]`, default the first.
//! It is written for wasm32 alone, where each of these is a defined trap.

use std::arch::wasm32;
use std::env;
use std::hint::{self, black_box};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    let kind = env::args().nth(1);
    match kind.as_deref().unwrap_or("unreachable") {
        "unreachable" => wasm32::unreachable(),
        // Prints its message first, and then executes `unreachable`.
        "panic" => panic!("as asked"),
        "divide-by-zero" => report(divide(black_box(1), black_box(0))),
        "stack-overflow" => report(descend(black_box(u64::MAX))),
        "out-of-bounds" => report(read_past_the_end()),
        other => eprintln!(
            "trap: no such kind: {other}\n\
             usage: trap [unreachable | panic | divide-by-zero | stack-overflow | out-of-bounds]"
        ),
    }
    ExitCode::from(2)
}

/// Uses a result that is never reached; without a use, the compiler could drop what computes it.
fn report(result: impl std::fmt::Display) {
    eprintln!("trap: survived with {result}");
}

/// Divides with the bare instruction. Rust's own `/` would check the divisor and panic instead.
#[inline(never)]
fn divide(dividend: i32, divisor: i32) -> i32 {
    // SAFETY: there is none, on purpose. The promise is broken so that the check is left out; the
    // values come out of `black_box`, so the compiler emits `i32.div_s`, which traps.
    unsafe { hint::assert_unchecked(divisor != 0) };
    dividend / divisor
}

/// Calls itself without end. It keeps nothing in linear memory, so that the host's limit on calls is
/// met and not the end of the guest's own stack, and what follows the call keeps it from being a loop.
#[inline(never)]
fn descend(depth: u64) -> u64 {
    if depth == 0 { 0 } else { descend(depth - 1).rotate_left(7) ^ depth }
}

fn read_past_the_end() -> u32 {
    let last_word = ptr::with_exposed_provenance::<u32>(0xffff_fffc);
    // SAFETY: there is none, on purpose. No guest has the last word of the 4 GiB that it could
    // address; a volatile read is not left out, and traps.
    unsafe { last_word.read_volatile() }
}
