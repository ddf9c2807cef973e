//! Modules and components at random: changed guests, and valid ones that do what they should not. None
//! may make the agent panic or hang; a leaked instance would fill the pool, which ends as `Busy`.
//!
//! Takes a second of each kind, or as many as `WEIR_FUZZ_SECONDS` says: `make fuzz`. A case that fails
//! is kept in a file and run with all tests from then on.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand_chacha::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use tokio::runtime::Builder;
use wasmtime::{Module, component::Component};
use weir_proto::{digest::Digest, job::StageSpec, limits::Limits};

use super::{
    OutputBuffer, preview2,
    tests::running::{SANDBOX, attempt, stage},
};
use crate::modules::Loaded;

/// Longest that a module of a few kilobytes may take to compile and run with 10,000 of fuel.
const MAX_TIME: Duration = Duration::from_secs(20);

/// Where failing cases are kept.
pub(super) struct Found {
    pub(super) dir: PathBuf,
}

impl Found {
    /// Runs something, and keeps its input if that panics.
    pub(super) fn keep_if_it_fails(&self, input: &[u8], ending: &str, run: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let digest = Digest::of(input).to_string();
            let name = format!("{}.{ending}", &digest["blake3:".len()..][..16]);
            fs::write(self.dir.join(&name), input).expect("a directory for what is found");
            eprintln!("kept as {}", self.dir.join(name).display());
            resume_unwind(panic);
        }
    }
}

/// Calls something for so many seconds, or what `WEIR_FUZZ_SECONDS` says, with other random numbers
/// each time: the same in every short run, and others in each long one.
pub(super) fn for_a_while(seconds: u64, mut run: impl FnMut(&mut ChaCha12Rng)) {
    let long = std::env::var("WEIR_FUZZ_SECONDS").ok();
    let first = match long {
        Some(_) => u64::from(std::process::id()) << 32,
        None => 0,
    };
    let seconds = long.map_or(seconds, |text| text.parse().expect("WEIR_FUZZ_SECONDS in seconds"));
    let began = Instant::now();
    let mut seed = first;
    while began.elapsed() < Duration::from_secs(seconds) {
        run(&mut ChaCha12Rng::seed_from_u64(seed));
        seed += 1;
    }
    println!("{} cases from seed {first}", seed - first);
    assert!(seed - first >= 5, "only {} cases in {seconds} s", seed - first);
}

pub(super) fn pick<T: Copy>(from: &[T], random: &mut ChaCha12Rng) -> T {
    from[random.next_u32() as usize % from.len()]
}

fn found_dir() -> Found {
    Found { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox/fuzz") }
}

/// Compiles and runs it, if it is a module or component at all; whether it was.
fn run(bytes: &[u8]) -> bool {
    let began = Instant::now();
    let engine = SANDBOX.by_fuel().engine();
    let module = Module::new(engine, bytes).map(Loaded::Module);
    let Ok(loaded) = module.or_else(|_| Component::new(engine, bytes).map(Loaded::Component))
    else {
        return false;
    };
    let Ok(ready) = SANDBOX.by_fuel().connect(&loaded) else { return true };
    let limits = Limits { fuel: 10_000, memory_bytes: 64 << 20, ..stage().limits };
    let stage = StageSpec { limits, ..stage() };
    let output = OutputBuffer::new(1 << 20);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ended = runtime.block_on(SANDBOX.run(&ready, attempt(&stage, &[], &output, &output)));
    let ended = ended.expect("it runs, however it ends");
    assert!(ended.usage.fuel <= limits.fuel, "{:?}", ended.usage);
    assert!(ended.usage.peak_memory_bytes <= limits.memory_bytes, "{:?}", ended.usage);
    assert!(began.elapsed() < MAX_TIME, "{:?}", began.elapsed());
    true
}

fn run_kept(bytes: &[u8]) -> bool {
    let mut was = false;
    found_dir().keep_if_it_fails(bytes, "wasm", || was = run(bytes));
    was
}

/// The guests of the hostile corpus that are whole modules.
fn whole_guests() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let files = fs::read_dir(dir).expect("the corpus").map(|file| file.expect("a file").path());
    let texts = files.map(|path| fs::read_to_string(path).expect("text"));
    let whole = texts.filter(|text| text.lines().any(|line| line.starts_with("(module")));
    let mut modules: Vec<Vec<u8>> = whole.filter_map(|text| wat::parse_str(text).ok()).collect();
    modules.sort();
    modules
}

#[test]
fn modules_that_were_found_once_end_well() {
    for file in fs::read_dir(found_dir().dir).expect("what was found") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            run(&fs::read(path).expect("bytes"));
        }
    }
}

/// Runs guests with some of their bytes changed.
fn run_changed(guests: &[Vec<u8>]) {
    for_a_while(1, |random| {
        let mut bytes = guests[random.next_u32() as usize % guests.len()].clone();
        for _ in 0..=random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 4 {
                0 => bytes.truncate(at.max(8)),
                1 => bytes.insert(at, random.next_u32() as u8),
                2 => bytes[at] ^= 1 << (random.next_u32() % 8),
                _ => bytes[at] = random.next_u32() as u8,
            }
        }
        run_kept(&bytes);
    });
}

#[test]
fn no_bytes_make_the_agent_panic_or_hang() {
    let mut guests = whole_guests();
    guests.push(b"\0asm\x01\0\0\0".to_vec());
    run_changed(&guests);
}

#[test]
fn no_bytes_of_components_make_the_agent_panic_or_hang() {
    let texts = preview2::tests::small_components();
    run_changed(&texts.map(|text| wat::parse_str(text).expect("text that parses")));
}

/// An expression of a number, not deeper than so many.
fn value(depth: u32, random: &mut ChaCha12Rng) -> String {
    let mut inner = || value(depth - 1, random);
    if depth == 0 {
        return pick(
            &["(i32.const 7)", "(i32.const -1)", "(local.get 0)", "(local.get 1)"],
            random,
        )
        .to_owned();
    }
    let (a, b, c) = (inner(), inner(), inner());
    let operators = [
        "i32.add",
        "i32.sub",
        "i32.mul",
        "i32.div_s",
        "i32.rem_u",
        "i32.rotl",
        "i32.lt_u",
        "i32.xor",
        "call $f",
    ];
    match random.next_u32() % 12 {
        0 => format!("(i32.load {a})"),
        1 => format!("(memory.grow {a})"),
        2 => format!("(if (result i32) {a} (then {b}) (else {c}))"),
        3 => format!("(call_indirect (type $t) {a} {b} {c})"),
        4 => format!("(i32.trunc_f32_u (f32.div (f32.convert_i32_s {a}) (f32.convert_i32_u {b})))"),
        5 => format!("(array.get $a (array.new $a {a} {b}) {c})"),
        6 => format!("(table.grow $g (ref.null extern) {a})"),
        _ => format!("({} {a} {b})", pick(&operators, random)),
    }
}

fn statement(depth: u32, random: &mut ChaCha12Rng) -> String {
    let (a, b, c) = (value(2, random), value(2, random), value(1, random));
    if depth == 0 {
        return format!("(local.set 1 {a})");
    }
    let inner = statement(depth - 1, random);
    match random.next_u32() % 10 {
        0 => format!("(i32.store {a} {b})"),
        1 => format!("(memory.fill {a} {b} {c})"),
        2 => format!("(memory.copy {a} {b} {c})"),
        3 => format!("(loop {inner} (br_if 0 {a}))"),
        4 => format!("(block (try_table (catch_all 0) {inner} (throw $x {a})))"),
        5 => format!("(throw $x {a})"),
        6 => format!("(drop (return_call $f {a} {b}))"),
        7 => format!("(if {a} (then {inner}))"),
        8 => format!("(table.fill $g {a} (ref.null extern) {b})"),
        _ => format!("(local.set 0 {a}) {inner}"),
    }
}

/// A module that is valid, and mostly ends badly.
fn valid_module(random: &mut ChaCha12Rng) -> String {
    let body: String = (0..1 + random.next_u32() % 8).map(|_| statement(3, random)).collect();
    let result = value(2, random);
    format!(
        "(module (type $a (array (mut i32))) (type $t (func (param i32 i32) (result i32)))
            (memory (export \"memory\") 1 900) (table funcref (elem $f)) (table $g 1 externref)
            (tag $x (param i32))
            (func $f (type $t) {body} {result})
            (func (export \"_start\") (drop (call $f (i32.const 1) (i32.const 2)))))"
    )
}

#[test]
fn no_valid_module_makes_the_agent_panic_or_hang() {
    for_a_while(1, |random| {
        let bytes = wat::parse_str(valid_module(random)).expect("text that parses");
        assert!(run_kept(&bytes), "it is valid");
    });
}
