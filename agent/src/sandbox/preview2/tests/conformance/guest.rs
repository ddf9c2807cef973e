//! The text of a component that does what a script on its stdin says: one call after the other, each
//! answer written to stderr.
//!
//! A script is its length in 4 bytes, then records of `RECORD_BYTES`: a number, which of the
//! arguments are addresses of handles (a bit each), where the answer goes, and the arguments, 8 bytes
//! each. What is behind it is left on stdin for the calls. An answer is how many bytes were allocated
//! for it (4 bytes), `ROOM_BYTES` of its place, and those bytes. It always fails, so that nobody looks at what
//! is left in `/out`.

use std::fmt::Write as _;

use super::functions::{FUNCTIONS, exports};

/// A record's number that stands for no function: copies the bytes behind it: address, length.
pub(crate) const POKE: u64 = 1000;
pub(crate) const MAX_ARGS: usize = 12;
pub(crate) const RECORD_BYTES: usize = 8 * (3 + MAX_ARGS);
/// The largest answer, without the lists in it.
pub(crate) const ROOM_BYTES: u64 = 112;
/// Where what scripts have in memory begins and ends.
pub(crate) const ARENA: std::ops::Range<u64> = 0x1000..0x3f_0000;
/// Where the handle of the root directory lies.
pub(crate) const ROOT_AT: u64 = 0x3f_0080;
/// Where lists of answers lie.
pub(crate) const LISTS_AT: u64 = 0x80_0000;

/// The types, and the functions that need them; `exports` fills in what is left out.
fn imports() -> String {
    let [error, streams, stdin, stdout, stderr, types, preopens] =
        ["error", "streams", "stdin", "stdout", "stderr", "types", "preopens"].map(exports);
    format!(
        r#"
    (import "wasi:io/error@0.2.0" (instance $error
        (export "error" (type $error (sub resource))) {error}))
    (alias export $error "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (export "input-stream" (type $input (sub resource)))
        (export "output-stream" (type $output (sub resource)))
        (alias outer 1 $error (type $error))
        (type $e (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $stream-error (eq $e))) {streams}))
    (alias export $streams "input-stream" (type $input))
    (alias export $streams "output-stream" (type $output))
    (import "wasi:cli/stdin@0.2.0" (instance $stdin
        (alias outer 1 $input (type $input)) {stdin}))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $output (type $output)) {stdout}))
    (import "wasi:cli/stderr@0.2.0" (instance $stderr
        (alias outer 1 $output (type $output)) {stderr}))
    (import "wasi:clocks/wall-clock@0.2.0" (instance $clock
        (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type (eq $d)))))
    (alias export $clock "datetime" (type $datetime))
    (import "wasi:filesystem/types@0.2.0" (instance $types
        (export "descriptor" (type $descriptor (sub resource)))
        (export "directory-entry-stream" (type $listing (sub resource)))
        (alias outer 1 $input (type $input))
        (alias outer 1 $output (type $output))
        (alias outer 1 $error (type $error))
        (alias outer 1 $datetime (type $datetime))
        (type $ec (enum {codes}))
        (export "error-code" (type $error-code (eq $ec)))
        (type $dt (enum {kinds}))
        (export "descriptor-type" (type $descriptor-type (eq $dt)))
        (type $df (flags {flags}))
        (export "descriptor-flags" (type $descriptor-flags (eq $df)))
        (type $pf (flags "symlink-follow"))
        (export "path-flags" (type $path-flags (eq $pf)))
        (type $of (flags "create" "directory" "exclusive" "truncate"))
        (export "open-flags" (type $open-flags (eq $of)))
        (type $ad (enum {advice}))
        (export "advice" (type $advice (eq $ad)))
        (type $nt (variant
            (case "no-change") (case "now") (case "timestamp" $datetime)))
        (export "new-timestamp" (type $new-timestamp (eq $nt)))
        (type $ds (record (field "type" $descriptor-type) (field "link-count" u64)
            (field "size" u64) (field "data-access-timestamp" (option $datetime))
            (field "data-modification-timestamp" (option $datetime))
            (field "status-change-timestamp" (option $datetime))))
        (export "descriptor-stat" (type $descriptor-stat (eq $ds)))
        (type $mh (record (field "lower" u64) (field "upper" u64)))
        (export "metadata-hash-value" (type $metadata-hash-value (eq $mh)))
        (type $de (record (field "type" $descriptor-type) (field "name" string)))
        (export "directory-entry" (type $directory-entry (eq $de))) {types}))
    (alias export $types "descriptor" (type $descriptor))
    (alias export $types "directory-entry-stream" (type $listing))
    (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
        (alias outer 1 $descriptor (type $descriptor)) {preopens}))"#,
        codes = quoted(CODES),
        kinds = quoted(KINDS),
        flags = quoted(DESCRIPTOR_FLAGS),
        advice = quoted(ADVICE),
    )
}

/// The words of `error-code`, in the order of the WASI documents, as are those below.
pub(crate) const CODES: &str = "access would-block already bad-descriptor busy deadlock quota exist \
    file-too-large illegal-byte-sequence in-progress interrupted invalid io is-directory loop \
    too-many-links message-size name-too-long no-device no-entry no-lock insufficient-memory \
    insufficient-space not-directory not-empty not-recoverable unsupported no-tty no-such-device \
    overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device";

pub(crate) const KINDS: &str =
    "unknown block-device character-device directory fifo symbolic-link regular-file socket";

pub(crate) const DESCRIPTOR_FLAGS: &str = "read write file-integrity-sync data-integrity-sync \
    requested-write-sync mutate-directory";

pub(crate) const ADVICE: &str = "normal sequential random will-need dont-need no-reuse";

fn quoted(words: &str) -> String {
    words.split_whitespace().map(|word| format!("\"{word}\" ")).collect()
}

/// The number that tables' word for a function has in a script.
pub(crate) fn number(word: &str) -> usize {
    FUNCTIONS.iter().position(|function| function.word == word).expect("a function of ours")
}

/// A component of these functions, which `run` calls as `$f` and their numbers.
pub(crate) fn component(run: &str) -> String {
    let (mut lowered, mut given, mut taken, mut calls) =
        (String::new(), String::new(), String::new(), String::new());
    for (number, function) in FUNCTIONS.iter().enumerate() {
        lowered += &function.lowered(number);
        let _ = write!(given, "(export \"{number}\" (func $f{number}))");
        let params = function.core_params();
        let result = if function.is_direct() { "(result i32)" } else { "" };
        let _ = write!(
            taken,
            "(import \"host\" \"{number}\" (func $f{number} (param {}) {result}))",
            params.join(" ")
        );
        let args: String = params.iter().enumerate().map(|(n, ty)| argument(n, ty)).collect();
        let call = format!("(call $f{number} {args})");
        let call = match function.is_direct() {
            true => format!("(i32.store (i32.load offset=16 (local.get 0)) {call})"),
            false => call,
        };
        let _ = write!(
            calls,
            "(if (i32.eq (i32.load (local.get 0)) (i32.const {number})) (then {call} (return)))"
        );
    }
    let imports = imports();
    let (read, write) = (number("input.blocking-read"), number("output.write"));
    format!(
        r#"(component {imports}
    (core module $libc
        (memory (export "memory") 160)
        (global $next (export "next") (mut i32) (i32.const {LISTS_AT}))
        (func (export "realloc") (param $old i32) (param $had i32) (param $align i32)
            (param $wants i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get $align))))
            (global.set $next (i32.add (local.get $at) (local.get $wants)))
            (local.get $at)))
    (core instance $libc (instantiate $libc))
    {lowered}
    (core module $main
        (import "libc" "memory" (memory 1))
        (import "libc" "next" (global $next (mut i32)))
        {taken}
        ;; An argument that may be a handle's address: record, number.
        (func $handle (param i32 i32) (result i32) (local $value i32)
            (local.set $value (i32.load offset=24
                (i32.add (local.get 0) (i32.mul (i32.const 8) (local.get 1)))))
            (if (i32.and (i32.const 1)
                    (i32.shr_u (i32.load offset=8 (local.get 0)) (local.get 1)))
                (then (local.set $value (i32.load (local.get $value)))))
            (local.get $value))
        (func $call (param i32) {calls} unreachable)
        ;; Reads so many bytes of stdin to an address.
        (func $read (param $stdin i32) (param $at i32) (param $len i32)
            (loop $more
                (if (i32.eqz (local.get $len)) (then (return)))
                (global.set $next (i32.const {LISTS_AT}))
                (call $f{read} (local.get $stdin) (i64.extend_i32_u (local.get $len))
                    (i32.const 0x3f0020))
                (if (i32.load8_u (i32.const 0x3f0020)) (then unreachable))
                (memory.copy (local.get $at) (i32.load (i32.const 0x3f0024))
                    (i32.load (i32.const 0x3f0028)))
                (local.set $at (i32.add (local.get $at) (i32.load (i32.const 0x3f0028))))
                (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 0x3f0028))))
                (br $more)))
        (func $write (param $stderr i32) (param $at i32) (param $len i32)
            (local $most i32)
            (loop $more
                (local.set $most (select (i32.const 0x100000) (local.get $len)
                    (i32.gt_u (local.get $len) (i32.const 0x100000))))
                (call $f{write} (local.get $stderr) (local.get $at) (local.get $most)
                    (i32.const 0x3f0020))
                (local.set $at (i32.add (local.get $at) (local.get $most)))
                (local.set $len (i32.sub (local.get $len) (local.get $most)))
                (br_if $more (local.get $len))))
        {run})
    (core instance $i (instantiate $main
        (with "libc" (instance $libc)) (with "host" (instance {given}))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#
    )
}

/// The component that does what its script says.
pub(crate) fn text() -> String {
    let (stdin, stderr, directories) =
        (number("get-stdin"), number("get-stderr"), number("get-directories"));
    component(&format!(
        r#"(func (export "run") (result i32)
            (local $stdin i32) (local $stderr i32) (local $at i32) (local $end i32)
            (local.set $stdin (call $f{stdin}))
            (local.set $stderr (call $f{stderr}))
            (call $f{directories} (i32.const 0x3f0020))
            (i32.store (i32.const {ROOT_AT}) (i32.load (i32.load (i32.const 0x3f0020))))
            (call $read (local.get $stdin) (i32.const 0x3f0010) (i32.const 4))
            (local.set $at (i32.const 0x400000))
            (call $read (local.get $stdin) (local.get $at) (i32.load (i32.const 0x3f0010)))
            (local.set $end (i32.add (local.get $at) (i32.load (i32.const 0x3f0010))))
            (loop $next
                (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (i32.const 1))))
                (if (i32.eq (i32.load (local.get $at)) (i32.const {POKE}))
                    (then
                        (memory.copy (i32.load offset=24 (local.get $at))
                            (i32.add (local.get $at) (i32.const {RECORD_BYTES}))
                            (i32.load offset=32 (local.get $at)))
                        (local.set $at (i32.add (local.get $at)
                            (i32.load offset=32 (local.get $at)))))
                    (else
                        (global.set $next (i32.const {LISTS_AT}))
                        (call $call (local.get $at))
                        (i32.store (i32.const 0x3f0010)
                            (i32.sub (global.get $next) (i32.const {LISTS_AT})))
                        (call $write (local.get $stderr) (i32.const 0x3f0010) (i32.const 4))
                        (call $write (local.get $stderr) (i32.load offset=16 (local.get $at))
                            (i32.const {ROOM_BYTES}))
                        (call $write (local.get $stderr) (i32.const {LISTS_AT})
                            (i32.load (i32.const 0x3f0010)))))
                (local.set $at (i32.add (local.get $at) (i32.const {RECORD_BYTES})))
                (br $next))
            unreachable)"#
    ))
}

/// Loads an argument from the record at local 0.
fn argument(number: usize, ty: &str) -> String {
    match ty {
        "i64" => format!("(i64.load offset={} (local.get 0))", 24 + 8 * number),
        _ => format!("(call $handle (local.get 0) (i32.const {number}))"),
    }
}
