//! That no host call buys wall time cheaply: nanoseconds per fuel of each, beside those of plain code.
//!
//! Every case is a guest that does next to nothing but one call. The shortest of many short runs
//! counts, since whatever else runs on the machine only makes a run longer.

use super::{
    running::{SANDBOX, files, ready},
    *,
};

/// How far the nanoseconds per fuel of a call may be from those of plain code, either way.
pub(in crate::sandbox) const SPREAD: f64 = 5.0;

/// How often a case is measured again that is not as it should be.
pub(in crate::sandbox) const TRIES: usize = 5;

/// How many runs the shortest is taken of.
const RUNS: usize = 15;

/// A guest that calls the host in a loop.
struct Case {
    name: &'static str,
    /// How often.
    rounds: u32,
    /// Done once, before.
    setup: String,
    /// Calls whose `errno`s must all be 0.
    calls: Vec<String>,
}

fn case(name: &'static str, rounds: u32, call: impl Into<String>) -> Case {
    Case { name, rounds, setup: String::new(), calls: vec![call.into()] }
}

impl Case {
    fn after(self, call: impl Into<String>) -> Case {
        Case { setup: checked(&call.into()), ..self }
    }

    fn then(mut self, call: impl Into<String>) -> Case {
        self.calls.push(call.into());
        self
    }

    fn text(&self) -> String {
        let calls: String = self.calls.iter().map(|call| checked(call)).collect();
        let (setup, rounds) = (&self.setup, self.rounds);
        format!(
            r#"(module {IMPORTS}
                (memory (export "memory") 32)
                (data (i32.const 0) "\00\10\00\00\01\00\00\00")
                (data (i32.const 16) "\00\10\00\00\00\00\01\00")
                (data (i32.const 64) "in/small") (data (i32.const 80) "tmp/a")
                (data (i32.const 96) "tmp/b") (data (i32.const 112) "in/large")
                (data (i32.const 128) "tmp")
                (func (export "_start") (local $n i32)
                    {setup}
                    (local.set $n (i32.const {rounds}))
                    (loop $again {calls}
                        (br_if $again
                            (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
        )
    }
}

fn checked(call: &str) -> String {
    format!("(if {call} (then unreachable))")
}

/// Calls by their names, with constants for arguments; those that end in `i64` are long.
fn call(name: &str, args: &[&str]) -> String {
    let args: String = args
        .iter()
        .map(|arg| match arg.strip_suffix("i64") {
            Some(long) => format!("(i64.const {long}) "),
            None => format!("(i32.const {arg}) "),
        })
        .collect();
    format!("(call ${name} {args})")
}

const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get"
        (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_allocate"
        (func $fd_allocate (param i32 i64 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get"
        (func $fd_fdstat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_get"
        (func $fd_filestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_filestat_set_size"
        (func $fd_filestat_set_size (param i32 i64) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pread"
        (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get"
        (func $fd_prestat_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_pwrite"
        (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
        (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir"
        (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber"
        (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_seek"
        (func $fd_seek (param i32 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_create_directory"
        (func $path_create_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_filestat_get"
        (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_link"
        (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_readlink"
        (func $path_readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_remove_directory"
        (func $path_remove_directory (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename"
        (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_symlink"
        (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file"
        (func $path_unlink_file (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get"
        (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
"#;

fn cases() -> Vec<Case> {
    let open = |path: &str, len: &str, flags: &str, rights: &str| {
        call("path_open", &["3", "0", path, len, flags, rights, "0i64", "0", "8"])
    };
    let (small, large) = (open("64", "8", "0", "2i64"), open("112", "8", "0", "2i64"));
    let made = open("80", "5", "1", "66i64");
    let (tiny, big) = (["0", "1"], ["16", "1"]);
    let at = |name: &str, fd: &str, [iovs, count]: [&str; 2]| {
        call(name, &[fd, iovs, count, "0i64", "8"])
    };
    let unlink = |path: &str| call("path_unlink_file", &["3", path, "5"]);
    vec![
        case("sched_yield", 2000, call("sched_yield", &[])),
        case("args_get", 2000, call("args_get", &["1024", "2048"])),
        case("environ_sizes_get", 2000, call("environ_sizes_get", &["8", "12"])),
        case("clock_time_get", 2000, call("clock_time_get", &["1", "0i64", "8"])),
        case("fd_prestat_get", 2000, call("fd_prestat_get", &["3", "8"])),
        case("fd_fdstat_get", 2000, call("fd_fdstat_get", &["1", "1024"])),
        case("fd_filestat_get", 2000, call("fd_filestat_get", &["3", "1024"])),
        case("fd_seek", 2000, call("fd_seek", &["4", "0i64", "0", "8"])).after(&small),
        case("fd_tell", 2000, call("fd_tell", &["4", "8"])).after(&small),
        case("fd_read of nothing", 2000, call("fd_read", &["0", "0", "1", "8"])),
        case("fd_pread of 1 byte", 2000, at("fd_pread", "4", tiny)).after(&small),
        case("fd_pread of 64 KiB in memory", 100, at("fd_pread", "4", big)).after(&small),
        case("fd_pread of 1 byte of a file", 1000, at("fd_pread", "4", tiny)).after(&large),
        case("fd_pread of 64 KiB of a file", 100, at("fd_pread", "4", big)).after(&large),
        case("fd_pwrite of 1 byte", 2000, at("fd_pwrite", "4", tiny)).after(&made),
        case("fd_pwrite of 64 KiB", 100, at("fd_pwrite", "4", big)).after(&made),
        case("fd_write of 64 KiB at the end", 100, call("fd_write", &["4", "16", "1", "8"]))
            .after(&made),
        case("fd_write of 1 byte to stdout", 2000, call("fd_write", &["1", "0", "1", "8"])),
        case("fd_write of 64 KiB to stdout", 50, call("fd_write", &["1", "16", "1", "8"])),
        case("fd_filestat_set_size", 1000, call("fd_filestat_set_size", &["4", "0i64"]))
            .after(&made)
            .then(call("fd_allocate", &["4", "0i64", "60000i64"])),
        case("fd_readdir", 500, call("fd_readdir", &["3", "4096", "512", "0i64", "8"])),
        case("path_filestat_get", 1000, call("path_filestat_get", &["3", "0", "64", "8", "1024"])),
        case("path_open", 1000, small.clone()).then(call("fd_close", &["4"])),
        case("fd_renumber", 1000, small.clone())
            .then(small.clone())
            .then(call("fd_renumber", &["4", "5"]))
            .then(call("fd_close", &["5"])),
        case("path_open of a new file", 500, made.clone())
            .then(call("fd_close", &["4"]))
            .then(unlink("80")),
        case("path_rename", 500, call("path_rename", &["3", "80", "5", "3", "96", "5"]))
            .after(&made)
            .then(call("path_rename", &["3", "96", "5", "3", "80", "5"])),
        case("path_link", 500, call("path_link", &["3", "0", "80", "5", "3", "96", "5"]))
            .after(&made)
            .then(unlink("96")),
        case("path_symlink", 500, call("path_symlink", &["128", "3", "3", "80", "5"]))
            .then(call("path_readlink", &["3", "80", "5", "1024", "64", "8"]))
            .then(unlink("80")),
        case("path_create_directory", 500, call("path_create_directory", &["3", "80", "5"]))
            .then(call("path_remove_directory", &["3", "80", "5"])),
        case("poll_oneoff of 1", 1000, call("poll_oneoff", &["8192", "1024", "1", "8"])),
        case("poll_oneoff of 1,000", 50, call("poll_oneoff", &["8192", "131072", "1000", "8"])),
        case("poll_oneoff of 4,096", 20, call("poll_oneoff", &["8192", "262144", "4096", "8"])),
        case("random_get of 1 byte", 2000, call("random_get", &["4096", "1"])),
        case("random_get of 64 KiB", 50, call("random_get", &["4096", "65536"])),
    ]
}

/// Computes, with memory and branches, as the loop that measures an agent does.
pub(in crate::sandbox) fn plain() -> String {
    command(
        "(local $n i32) (local $x i32) (local $at i32)
        (local.set $n (i32.const 100000))
        (loop $again
            (local.set $x (i32.add (i32.const 1013904223)
                (i32.mul (local.get $x) (i32.const 1664525))))
            (local.set $at (i32.and (i32.const 0xfffc)
                (i32.shr_u (local.get $x) (i32.const 8))))
            (if (i32.and (local.get $x) (i32.const 0x40000000)) (then
                (i32.store (local.get $at) (i32.add (local.get $x) (i32.load (local.get $at))))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    )
}

/// Nanoseconds per fuel of the shortest of many runs.
pub(in crate::sandbox) async fn ns_per_fuel(text: &str) -> f64 {
    let module = ready(text);
    let stage = with_limits(|limits| limits.fuel = 10_000_000_000);
    let large = vec![7; 1 << 20];
    let files = files(&stage, &[("/in/small", &[7; 1 << 16][..]), ("/in/large", &large)]);
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let stdout = OutputBuffer::new(stage.limits.output_bytes);
        let attempt =
            AttemptSpec { files: files.clone(), ..attempt(&stage, &[], &stdout, &stdout) };
        let began = Instant::now();
        let ended = SANDBOX.run(&module, attempt).await.expect("it runs");
        let ns = began.elapsed().as_nanos() as f64;
        assert_eq!(ended.outcome, Outcome::Succeeded { exit_code: 0 }, "{text}");
        best = best.min(ns / ended.usage.fuel as f64);
    }
    best
}

#[tokio::test]
async fn every_host_call_costs_about_as_much_time_for_its_fuel_as_plain_code() {
    let mut wrong = Vec::new();
    for case in cases() {
        let mut ratio = 0.0;
        for _ in 0..TRIES {
            // Together, so that a busy moment of the machine is in both or told by another try.
            let plain = ns_per_fuel(&plain()).await;
            ratio = ns_per_fuel(&case.text()).await / plain;
            if (1.0 / SPREAD..=SPREAD).contains(&ratio) {
                break;
            }
        }
        println!("{:32} {ratio:6.2} times as long for its fuel", case.name);
        if !(1.0 / SPREAD..=SPREAD).contains(&ratio) {
            wrong.push(format!("{}: {ratio:.2}", case.name));
        }
    }
    assert!(wrong.is_empty(), "priced too low or too high: {}", wrong.join(", "));
}
