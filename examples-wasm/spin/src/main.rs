//! Computes and does nothing else: `spin` never ends, `spin N` ends after N million rounds and prints
//! a checksum. Tests end the first by fuel, by time and by cancelling, and measure with the second.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(|argument| argument.into_string()).collect();
    match arguments.as_slice() {
        [] => loop {
            black_box(compute(black_box(1_000_000)));
        },
        [Ok(millions)] if let Some(rounds) = rounds(millions) => {
            println!("checksum {:016x} after {rounds} rounds", compute(rounds));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: spin [MILLIONS OF ROUNDS]");
            ExitCode::from(2)
        }
    }
}

fn rounds(millions: &str) -> Option<u64> {
    millions.parse::<u64>().ok()?.checked_mul(1_000_000)
}

/// An xorshift generator: every round needs the one before, so no compiler can shorten it.
fn compute(rounds: u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}
