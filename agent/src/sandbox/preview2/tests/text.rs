//! Components as text: what they import, and what is around a `run` that a test writes.

/// Every function below under the name that a `run` calls it by; results that are lists lie at 4096.
const BEFORE: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $p (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $p))))
        (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
    (alias export $error "error" (type $an-error))
    (import "wasi:io/streams@0.2.0" (instance $streams
        (export "output-stream" (type $o (sub resource)))
        (alias outer 1 $an-error (type $e))
        (alias outer 1 $pollable (type $p))
        (type $v (variant (case "last-operation-failed" (own $e)) (case "closed")))
        (export "stream-error" (type $se (eq $v)))
        (export "[method]output-stream.subscribe"
            (func (param "self" (borrow $o)) (result (own $p))))
        (export "[method]output-stream.blocking-write-and-flush"
            (func (param "self" (borrow $o)) (param "contents" (list u8))
                (result (result (error $se)))))))
    (alias export $streams "output-stream" (type $output))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $output (type $o))
        (export "get-stdout" (func (result (own $o))))))
    (import "wasi:cli/exit@0.2.3" (instance $exit
        (export "exit" (func (param "status" (result))))
        (export "exit-with-code" (func (param "status-code" u8)))))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
        (alias outer 1 $pollable (type $p))
        (export "now" (func (result u64)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
    (import "wasi:random/random@0.2.0" (instance $random
        (export "get-random-u64" (func (result u64)))
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))

    (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
    (core instance $libc (instantiate $m))
    (core func $exit (canon lower (func $exit "exit")))
    (core func $exit-with-code (canon lower (func $exit "exit-with-code")))
    (core func $now (canon lower (func $clock "now")))
    (core func $subscribe (canon lower (func $clock "subscribe-duration")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core func $poll (canon lower (func $poll "poll")
        (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
    (core func $drop-pollable (canon resource.drop $pollable))
    (core func $random-u64 (canon lower (func $random "get-random-u64")))
    (core func $random (canon lower (func $random "get-random-bytes")
        (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
    (core func $get-stdout (canon lower (func $stdout "get-stdout")))
    (core func $subscribe-stdout
        (canon lower (func $streams "[method]output-stream.subscribe")))
    (core func $write
        (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
            (memory (core memory $libc "memory"))))

    (core module $main
        (import "libc" "memory" (memory 1))
        (import "host" "exit" (func $exit (param i32)))
        (import "host" "exit-with-code" (func $exit-with-code (param i32)))
        (import "host" "now" (func $now (result i64)))
        (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
        (import "host" "block" (func $block (param i32)))
        (import "host" "poll" (func $poll (param i32 i32 i32)))
        (import "host" "drop-pollable" (func $drop-pollable (param i32)))
        (import "host" "random-u64" (func $random-u64 (result i64)))
        (import "host" "random" (func $random (param i64 i32)))
        (import "host" "get-stdout" (func $get-stdout (result i32)))
        (import "host" "subscribe-stdout" (func $subscribe-stdout (param i32) (result i32)))
        (import "host" "write" (func $write (param i32 i32 i32 i32)))"#;

const AFTER: &str = r#")
    (core instance $i (instantiate $main
        (with "libc" (instance $libc))
        (with "host" (instance
            (export "exit" (func $exit)) (export "exit-with-code" (func $exit-with-code))
            (export "now" (func $now)) (export "subscribe" (func $subscribe))
            (export "block" (func $block)) (export "poll" (func $poll))
            (export "drop-pollable" (func $drop-pollable))
            (export "random-u64" (func $random-u64)) (export "random" (func $random))
            (export "get-stdout" (func $get-stdout))
            (export "subscribe-stdout" (func $subscribe-stdout))
            (export "write" (func $write))))))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $command (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $command)))"#;

/// A component whose `run` has this body: it returns 0 for success and 1 for failure.
pub(super) fn body(text: &str) -> String {
    component("", text)
}

/// The same, with more in its main module.
pub(super) fn component(more: &str, body: &str) -> String {
    format!(r#"{BEFORE} {more} (func $run (export "run") (result i32) {body}) {AFTER}"#)
}
