//! Computes what real programs spend their time on: `kernels KERNEL [ROUNDS]`, where KERNEL is one of
//! `sha256`, `json`, `regex`, `deflate` and `nbody`, and a round takes some milliseconds. It prints a
//! number that every round went into, so that two machines can be compared in speed and in result.

mod bodies;

use std::{env, process::ExitCode};

use regex::Regex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bodies::Bodies;

/// What every kernel but `nbody` works on: this many lines of a log.
const LINES: u64 = 2_000;

const USAGE: &str = "usage: kernels sha256|json|regex|deflate|nbody [ROUNDS]";

fn main() -> ExitCode {
    match run() {
        Ok(result) => {
            println!("{result:016x}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("kernels: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<u64, String> {
    let mut args = env::args().skip(1);
    let kernel = args.next().ok_or(USAGE)?;
    let rounds = match args.next() {
        None => 10,
        Some(rounds) => rounds.parse().map_err(|_| format!("not a number: {rounds}\n{USAGE}"))?,
    };
    let kernel = match &kernel[..] {
        "sha256" => sha256,
        "json" => json,
        "regex" => regex,
        "deflate" => deflate,
        "nbody" => return Ok(nbody(rounds)),
        _ => return Err(format!("no kernel {kernel}\n{USAGE}")),
    };
    let log = log();
    (0..rounds).try_fold(0u64, |sum, round| Ok(sum.rotate_left(1) ^ kernel(&log, round)?))
}

/// Lines as a web server writes them, always the same.
fn log() -> String {
    let mut state = 1u64;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut log = String::new();
    for line in 0..LINES {
        let (user, status) = (next(500), [200, 200, 200, 304, 404, 500][next(6) as usize]);
        let (bytes, micros) = (next(100_000), next(2_000_000));
        log += &format!(
            "{{\"line\":{line},\"user\":\"user-{user}@example.org\",\"path\":\"/item/{}/view\",\
             \"status\":{status},\"bytes\":{bytes},\"seconds\":{}.{:06}}}\n",
            next(10_000),
            micros / 1_000_000,
            micros % 1_000_000
        );
    }
    log
}

fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn sha256(log: &str, round: u64) -> Result<u64, String> {
    let hash = Sha256::new().chain_update(round.to_le_bytes()).chain_update(log);
    Ok(first_bytes(&hash.finalize()))
}

/// Reads every line and writes it again, with its fields in another order.
fn json(log: &str, round: u64) -> Result<u64, String> {
    let mut sum = round;
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = serde_json::to_string(&value).map_err(|error| error.to_string())?;
        sum = sum.rotate_left(5) ^ text.len() as u64 ^ value["bytes"].as_u64().unwrap_or(0);
    }
    Ok(sum)
}

fn regex(log: &str, round: u64) -> Result<u64, String> {
    let pattern = r#""user":"(\w+)-(\d+)@[a-z.]+","path":"(/[^"]*)","status":(4|5)\d\d"#;
    let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let found = pattern.captures_iter(log);
    Ok(found
        .fold(round, |sum, found| sum.rotate_left(3) ^ number(&found[2]) ^ found[3].len() as u64))
}

/// Compresses the log and checks that it comes out as it was.
fn deflate(log: &str, round: u64) -> Result<u64, String> {
    let packed = miniz_oxide::deflate::compress_to_vec(log.as_bytes(), 6);
    let unpacked = miniz_oxide::inflate::decompress_to_vec(&packed);
    let unpacked = unpacked.map_err(|error| error.to_string())?;
    if unpacked != log.as_bytes() {
        return Err("what was unpacked is not what was packed".to_owned());
    }
    Ok(packed.len() as u64 ^ round)
}

fn nbody(rounds: u64) -> u64 {
    let mut bodies = Bodies::new();
    for _ in 0..rounds * 20_000 {
        bodies.step(0.001);
    }
    bodies.energy().to_bits()
}
