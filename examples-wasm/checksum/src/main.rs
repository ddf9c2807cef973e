//! Hashes the index of its task over and over and prints the result: `checksum [ROUNDS]`, default
//! 100,000. A task of any length whose output is its own, so that a test of crashes can see whether
//! each task's result is there, once, and is that task's.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("checksum: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<String, String> {
    let rounds = match env::args().nth(1) {
        None => 100_000,
        Some(rounds) => rounds
            .parse()
            .map_err(|_| format!("not a number: {rounds}\nusage: checksum [ROUNDS]"))?,
    };
    let task = task_index()?;
    Ok(format!("task {task} checksum {:016x}", checksum(task, rounds)))
}

fn task_index() -> Result<u64, String> {
    match env::var("WEIR_TASK_INDEX") {
        Err(env::VarError::NotPresent) => Ok(0),
        Err(error) => Err(format!("WEIR_TASK_INDEX: {error}")),
        Ok(index) => index.parse().map_err(|_| format!("WEIR_TASK_INDEX is not a number: {index}")),
    }
}

/// The mixing step of SplitMix64, applied to its own result: every round needs the one before.
fn checksum(task: u64, rounds: u64) -> u64 {
    let mut state = task;
    for _ in 0..rounds {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    state
}
