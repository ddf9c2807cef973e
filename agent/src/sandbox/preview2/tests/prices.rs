//! That no call of a component buys wall time cheaply either: as `sandbox/tests/prices.rs`, for the
//! functions of preview 2.

use super::{
    conformance::guest::{self, number},
    text::body,
};
use crate::sandbox::tests::prices::{SPREAD, TRIES, ns_per_fuel, plain};

/// A component that calls the host in a loop.
struct Case {
    name: &'static str,
    text: String,
}

/// Calls `calls` so often, after `setup`; both know `$root`, a descriptor of `/`, and
/// `$file` and `$at`, for other handles.
fn files(name: &'static str, rounds: u32, setup: &str, calls: &str) -> Case {
    let (directories, lists) = (number("get-directories"), guest::LISTS_AT);
    let text = guest::component(&format!(
        r#"(data (i32.const 64) "in/small") (data (i32.const 80) "tmp/a")
        (data (i32.const 96) "tmp/b") (data (i32.const 112) "in/large")
        (func (export "run") (result i32) (local $n i32) (local $root i32) (local $file i32) (local $at i32)
            (call $f{directories} (i32.const 512))
            (local.set $root (i32.load (i32.load (i32.const 512))))
            {setup}
            (local.set $n (i32.const {rounds}))
            (loop $again
                (global.set $next (i32.const {lists}))
                {calls}
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (i32.const 0))"#
    ));
    Case { name, text }
}

/// A call of a function that may be refused, and is not.
fn call(word: &str, args: &str) -> String {
    format!(
        "(call $f{} {args} (i32.const 512)) (if (i32.load8_u (i32.const 512)) (then unreachable))",
        number(word)
    )
}

/// The handle that the last call gave.
const GIVEN: &str = "(local.set $at (i32.load offset=4 (i32.const 512)))";

const ROOT: &str = "(local.get $root)";
const AT: &str = "(local.get $at)";
const SMALL: &str = "(i32.const 64) (i32.const 8)";
const LARGE: &str = "(i32.const 112) (i32.const 8)";
const MADE: &str = "(i32.const 80) (i32.const 5)";
const OTHER: &str = "(i32.const 96) (i32.const 5)";

/// Opens a path below the root, with these open flags and descriptor flags.
fn open(path: &str, open_flags: u32, flags: u32) -> String {
    let args = format!("{ROOT} (i32.const 0) {path} (i32.const {open_flags}) (i32.const {flags})");
    call("open-at", &args) + GIVEN
}

fn drop_(what: &str, handle: &str) -> String {
    format!("(call $f{} {handle})", number(what))
}

fn number_arg(number: u64) -> String {
    format!("(i64.const {number})")
}

fn cases() -> Vec<Case> {
    let (small, large, made) = (open(SMALL, 0, 1), open(LARGE, 0, 1), open(MADE, 1, 3));
    let unlink = |path: &str| call("unlink-file-at", &format!("{ROOT} {path}"));
    let read = |len: u64| call("read", &format!("{AT} {} {}", number_arg(len), number_arg(0)));
    let write = |len: u32| {
        call("write", &format!("{AT} (i32.const 4096) (i32.const {len}) {}", number_arg(0)))
    };
    let of_root = |word: &str| call(word, ROOT);
    let stdout = format!("(local.set $at (call $f{}))", number("get-stdout"));
    let bytes = |len: u32| format!("{AT} (i32.const 4096) (i32.const {len})");
    let (input, output) = (drop_("drop-input", AT), drop_("drop-output", AT));
    let keep = format!("(local.set $file {AT})");
    let (file, made_file) = (small.clone() + &keep, made.clone() + &keep);
    let stream = |way: &str| call(way, &format!("(local.get $file) {}", number_arg(0))) + GIVEN;
    let (read_stream, write_stream) = (stream("read-via-stream"), stream("write-via-stream"));
    let read_input = call("input.read", &format!("{AT} {}", number_arg(1 << 16)));
    let entries = call("read-directory-entry", AT).repeat(3);
    let (listing, drop_at) = (drop_("drop-listing", AT), drop_("drop-descriptor", AT));
    vec![
        files("get-type", 1000, "", &of_root("get-type")),
        files("get-flags", 1000, "", &of_root("get-flags")),
        files("stat", 1000, "", &of_root("stat")),
        files("metadata-hash", 1000, "", &of_root("metadata-hash")),
        files("sync", 1000, &made, &call("sync", AT)),
        files("stat-at", 1000, "", &call("stat-at", &format!("{ROOT} (i32.const 0) {SMALL}"))),
        files("open-at", 1000, "", &(small.clone() + &drop_at)),
        files("open-at of a new file", 500, "", &(made.clone() + &drop_at + &unlink(MADE))),
        files("read of 1 byte", 1000, &small, &read(1)),
        files("read of 64 KiB in memory", 100, &small, &read(1 << 16)),
        files("read of 64 KiB of a file", 100, &large, &read(1 << 16)),
        files("write of 1 byte", 1000, &made, &write(1)),
        files("write of 64 KiB", 100, &made, &write(1 << 16)),
        files("set-size", 1000, &made, &call("set-size", &format!("{AT} {}", number_arg(60_000)))),
        files("read-via-stream", 1000, &file, &(read_stream.clone() + &input)),
        files("input.read of 64 KiB", 100, &file, &(read_stream + &read_input + &input)),
        files("write-via-stream", 500, &made_file, &(write_stream + &output)),
        files("read-directory", 200, "", &(call("read-directory", ROOT) + GIVEN + &entries + &listing)),
        files("create-directory-at", 500, "",
            &(call("create-directory-at", &format!("{ROOT} {MADE}"))
                + &call("remove-directory-at", &format!("{ROOT} {MADE}")))),
        files("rename-at", 500, &made,
            &(call("rename-at", &format!("{ROOT} {MADE} {ROOT} {OTHER}"))
                + &call("rename-at", &format!("{ROOT} {OTHER} {ROOT} {MADE}")))),
        files("link-at", 500, &made,
            &(call("link-at", &format!("{ROOT} (i32.const 0) {MADE} {ROOT} {OTHER}"))
                + &unlink(OTHER))),
        files("symlink-at", 500, "",
            &(call("symlink-at", &format!("{ROOT} {OTHER} {MADE}"))
                + &call("readlink-at", &format!("{ROOT} {MADE}")) + &unlink(MADE))),
        files("get-stdout", 1000, "", &(stdout.clone() + &output)),
        files("check-write", 1000, &stdout, &call("output.check-write", AT)),
        files("flush", 1000, &stdout, &call("output.flush", AT)),
        files("write of 1 byte to stdout", 1000, &stdout, &call("output.write", &bytes(1))),
        files("write of 64 KiB to stdout", 50, &stdout, &call("output.write", &bytes(1 << 16))),
        others("monotonic-clock now", 1000, "(drop (call $now))"),
        others("get-random-u64", 1000, "(drop (call $random-u64))"),
        others("get-random-bytes of 32 KiB", 50, "(call $random (i64.const 32768) (i32.const 0))"),
        others("subscribe-duration and block", 500,
            "(local.set $p (call $subscribe (i64.const 1))) (call $block (local.get $p))
            (call $drop-pollable (local.get $p))"),
        others("poll of 1", 500,
            "(local.set $p (call $subscribe (i64.const 1))) (i32.store (i32.const 64) (local.get $p))
            (call $poll (i32.const 64) (i32.const 1) (i32.const 128))
            (call $drop-pollable (local.get $p))"),
    ]
}

/// Calls functions of clocks, random numbers and polls so often.
fn others(name: &'static str, rounds: u32, calls: &str) -> Case {
    let text = body(&format!(
        "(local $n i32) (local $p i32) (local.set $n (i32.const {rounds}))
        (loop $again {calls}
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 0)"
    ));
    Case { name, text }
}

#[tokio::test]
async fn every_call_of_a_component_costs_about_as_much_time_for_its_fuel_as_plain_code() {
    let mut wrong = Vec::new();
    for Case { name, text } in cases() {
        let mut ratio = 0.0;
        for _ in 0..TRIES {
            let plain = ns_per_fuel(&plain()).await;
            ratio = ns_per_fuel(&text).await / plain;
            if (1.0 / SPREAD..=SPREAD).contains(&ratio) {
                break;
            }
        }
        println!("{name:32} {ratio:6.2} times as long for its fuel");
        if !(1.0 / SPREAD..=SPREAD).contains(&ratio) {
            wrong.push(format!("{name}: {ratio:.2}"));
        }
    }
    assert!(wrong.is_empty(), "priced too low or too high: {}", wrong.join(", "));
}
