//! A guest that does what a script on its stdin says: one call after the other, each answer written
//! to stderr.
//!
//! A script is its length in 4 bytes, then records of 80 bytes: a number of 8 bytes, and 9 arguments
//! of 8. What is behind it is left on stdin for the calls.

use std::{fmt::Write as _, sync::LazyLock};

use bytes::Bytes;
use wasmtime::{ExternType, Store, ValType};
use weir_proto::{
    job::{Keep, StageSpec},
    outcome::Outcome,
};
use weir_store::view::BlobView;

use crate::{
    modules::ReadyModule,
    sandbox::{
        AttemptSpec, OutputBuffer,
        preview1::{MODULE, NAMES},
        tests::running::{SANDBOX, attempt, ready, stage},
    },
};

/// Copies the bytes behind the record to an address: address, length.
const POKE: u64 = 100;
/// Writes bytes to stderr: address, length.
const PEEK: u64 = 101;
/// From here on the interpreter keeps its own things.
pub(crate) const ARENA_END: u64 = 0x1f_0000;

static INTERPRETER: LazyLock<ReadyModule> = LazyLock::new(|| ready(&text()));

/// Records, in the making.
#[derive(Debug, Default, Clone)]
pub(crate) struct Script(Vec<u8>);

/// What came of a script.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    /// Answers and what was peeked at.
    pub(crate) answers: Vec<u8>,
}

impl Script {
    fn record(&mut self, number: u64, args: &[u64]) {
        let args = (0..9).map(|n| args.get(n).copied().unwrap_or(0));
        self.0.extend([number].into_iter().chain(args).flat_map(u64::to_le_bytes));
    }

    /// Calls a function; 4 bytes of answer.
    pub(crate) fn call(&mut self, name: &str, args: &[u64]) {
        let number = NAMES.iter().position(|other| *other == name);
        self.record(number.unwrap_or_else(|| panic!("{name} is no function")) as u64, args);
    }

    pub(crate) fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.record(POKE, &[at, bytes.len() as u64]);
        self.0.extend(bytes);
    }

    pub(crate) fn peek(&mut self, at: u64, len: u64) {
        self.record(PEEK, &[at, len]);
    }

    /// Runs it as a stage with inputs at `/in/f` and `/in/g`, and `/out`; with this on stdin.
    pub(crate) async fn run(&self, stage: &StageSpec, stdin: &[u8]) -> Ran {
        let length = (self.0.len() as u32).to_le_bytes();
        let stdin = Bytes::from([&length[..], &self.0[..], stdin].concat());
        let output = || OutputBuffer::new(stage.limits.output_bytes);
        let (stdout, stderr) = (output(), output());
        let inputs: &[(&str, &[u8])] = &[("/in/f", b"an input"), ("/in/g", b"")];
        let spec = attempt(stage, inputs, &stdout, &stderr);
        let attempt = AttemptSpec { stdin: BlobView::from(stdin), ..spec };
        let ended = SANDBOX.run(&INTERPRETER, attempt).await.expect("it runs");
        Ran { outcome: ended.outcome, answers: stderr.take() }
    }
}

/// The stage that scripts run as.
pub(crate) fn scripted() -> StageSpec {
    StageSpec {
        args: vec!["one".to_owned()],
        env: vec![("K".to_owned(), "v".to_owned())],
        keep: Keep::Out,
        ..stage()
    }
}

/// How many arguments a function takes, and whether each is of 64 bits.
pub(crate) fn wide(name: &str) -> Vec<bool> {
    let mut store = Store::new(SANDBOX.by_fuel().engine(), attempt_guest());
    let function = SANDBOX.by_fuel().linker.get(&mut store, MODULE, name).expect("it is linked");
    let ExternType::Func(signature) = function.ty(&store) else { panic!("{name}: no function") };
    signature.params().map(|ty| matches!(ty, ValType::I64)).collect()
}

/// A guest that never runs: the linker wants a store to tell types by.
fn attempt_guest() -> crate::sandbox::Guest {
    let (stage, output) = (stage(), OutputBuffer::new(0));
    attempt(&stage, &[], &output, &output).guest(None)
}

fn text() -> String {
    let (mut imports, mut calls) = (String::new(), String::new());
    for (number, name) in NAMES.iter().enumerate() {
        let wide = wide(name);
        let ty = |wide: &bool| if *wide { " i64" } else { " i32" };
        let params: String = wide.iter().map(ty).collect();
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        let _ = write!(
            imports,
            "(import \"{MODULE}\" \"{name}\" (func ${name} (param{params}) {result}))"
        );
        let load = |(n, wide): (usize, &bool)| {
            format!("({}.load offset={} (local.get 0))", ty(wide).trim(), 8 + 8 * n)
        };
        let args: String = wide.iter().enumerate().map(load).collect();
        let end = if *name == "proc_exit" { "(i32.const 0)" } else { "" };
        let _ = write!(
            calls,
            "(if (i32.eq (i32.load (local.get 0)) (i32.const {number}))
                (then (call ${name} {args}) {end} (return)))"
        );
    }
    format!(
        r#"(module {imports}
            (memory (export "memory") 64)
            (func $call (param i32) (result i32) {calls} (i32.const -1))
            (func $stream (param $fd i32) (param $at i32) (param $len i32)
                (i32.store (i32.const 0x1f0000) (local.get $at))
                (i32.store (i32.const 0x1f0004) (local.get $len))
                (if (local.get $fd)
                    (then (drop (call $fd_write (local.get $fd)
                        (i32.const 0x1f0000) (i32.const 1) (i32.const 0x1f0008))))
                    (else (drop (call $fd_read (local.get $fd)
                        (i32.const 0x1f0000) (i32.const 1) (i32.const 0x1f0008))))))
            (func (export "_start") (local $at i32) (local $end i32) (local $op i32)
                (call $stream (i32.const 0) (i32.const 0x1f0010) (i32.const 4))
                (local.set $at (i32.const 0x200000))
                (call $stream (i32.const 0) (local.get $at) (i32.load (i32.const 0x1f0010)))
                (local.set $end (i32.add (local.get $at) (i32.load (i32.const 0x1f0010))))
                (loop $next
                    (if (i32.ge_u (local.get $at) (local.get $end)) (then (return)))
                    (local.set $op (i32.load (local.get $at)))
                    (if (i32.eq (local.get $op) (i32.const {POKE})) (then
                        (memory.copy (i32.load offset=8 (local.get $at))
                            (i32.add (local.get $at) (i32.const 80))
                            (i32.load offset=16 (local.get $at)))
                        (local.set $at (i32.add (local.get $at)
                            (i32.load offset=16 (local.get $at)))))
                    (else (if (i32.eq (local.get $op) (i32.const {PEEK})) (then
                        (call $stream (i32.const 2) (i32.load offset=8 (local.get $at))
                            (i32.load offset=16 (local.get $at))))
                    (else
                        (i32.store (i32.const 0x1f0010) (call $call (local.get $at)))
                        (call $stream (i32.const 2) (i32.const 0x1f0010) (i32.const 4))))))
                    (local.set $at (i32.add (local.get $at) (i32.const 80)))
                    (br $next))))"#
    )
}
