//! What a guest gets from the host: clock, random numbers, arguments, streams, files.

use super::*;

/// Sleeps for an hour in one `poll_oneoff`, and exits with the minutes that its clock then says.
fn sleeper() -> String {
    format!(
        r#"(module
            (import "{WASI}" "poll_oneoff"
                (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "{WASI}" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
            (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 3600000000000))
                (drop (call $poll
                    (i32.const 0) (i32.const 104) (i32.const 1) (i32.const 200)))
                (drop (call $time (i32.const 1) (i64.const 0) (i32.const 8)))
                (call $exit (i32.wrap_i64 (i64.div_u
                    (i64.load (i32.const 8)) (i64.const 60000000000))))))"#
    )
}

#[tokio::test]
async fn a_guest_that_sleeps_an_hour_ends_at_once_and_sees_the_hour() {
    let began = Instant::now();
    let ran = run(&stage(), &sleeper()).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 60 });
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn with_the_capability_a_sleep_is_real_and_cut_by_the_timeout() {
    let stage = with_limits(|limits| limits.timeout_ms = 50);
    let stage = StageSpec { capabilities: [Capability::Clock].into(), ..stage };
    let began = Instant::now();
    let ran = run(&stage, &sleeper()).await;
    assert!(matches!(ran.outcome, Outcome::TimedOut(_)), "{}", ran.outcome);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn with_the_capability_random_numbers_cannot_be_foreseen() {
    let stage = StageSpec { capabilities: [Capability::Random].into(), ..stage() };
    let text = random_printer();
    assert_ne!(run(&stage, &text).await.stdout, run(&stage, &text).await.stdout);
}

/// Prints 16 random bytes.
fn random_printer() -> String {
    format!(
        r#"(module
            (import "{WASI}" "random_get" (func $random (param i32 i32) (result i32)))
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (drop (call $random (i32.const 64) (i32.const 16)))
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 16))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    )
}

#[tokio::test]
async fn random_numbers_follow_from_seed_and_index() {
    let array = StageSpec { kind: TaskKind::Array, count: 2, ..stage() };
    let text = random_printer();
    let first = run_in(&array, &text, 0, &[]).await.stdout;
    assert_eq!(first.len(), 16);
    assert_eq!(run_in(&array, &text, 0, &[]).await.stdout, first);
    assert_ne!(run_in(&array, &text, 1, &[]).await.stdout, first);
    let seeded = StageSpec { seed: 1, ..array };
    assert_ne!(run_in(&seeded, &text, 0, &[]).await.stdout, first);
}

#[tokio::test]
async fn a_guest_that_only_asks_for_random_numbers_yields_and_times_out() {
    for bytes in [1, 60_000] {
        let stage = with_limits(|limits| {
            limits.fuel = u64::MAX;
            limits.timeout_ms = 50;
        });
        let text = format!(
            r#"(module (import "{WASI}" "random_get" (func $f (param i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "_start")
                    (loop (drop (call $f (i32.const 0) (i32.const {bytes}))) (br 0))))"#
        );
        let ran = run(&stage, &text).await;
        let Outcome::TimedOut(Exceeded { used, .. }) = ran.outcome else { panic!("no") };
        assert!(used < 200, "{used} ms");
    }
}

#[tokio::test]
async fn random_numbers_beyond_memory_or_fuel_are_refused() {
    let ask = |bytes: u32| {
        format!(
            r#"(module (import "{WASI}" "random_get" (func $f (param i32 i32) (result i32)))
                (memory (export "memory") 1)
                (func (export "_start")
                    (drop (call $f (i32.const 1) (i32.const {bytes})))))"#
        )
    };
    let Outcome::Trapped(trap) = run(&stage(), &ask(65_536)).await.outcome else { panic!("no") };
    assert_eq!(trap.message, "pointer out of bounds: 65536 bytes at 1, of 65536 in all");
    let ran = run(&with_limits(|limits| limits.fuel = 10_000), &ask(60_000)).await;
    assert_eq!(ran.outcome, Outcome::OutOfFuel(Exceeded { used: 10_000, limit: 10_000 }));
}

/// Echoes what `args_get`, `environ_get` or stdin hold, from `start` of memory.
fn echo_strings(list: &str) -> String {
    format!(
        r#"(module
            (import "{WASI}" "{list}_get" (func $get (param i32 i32) (result i32)))
            (import "{WASI}" "{list}_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (drop (call $get (i32.const 100) (i32.const 1000)))
                (i32.store (i32.const 0) (i32.const 1000))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    )
}

#[tokio::test]
async fn a_guest_sees_its_arguments_and_environment() {
    let stage = StageSpec {
        args: vec!["a b".to_owned(), "{index}/{count} {x}".to_owned()],
        env: vec![("K".to_owned(), "V{index}".to_owned())],
        kind: TaskKind::Array,
        count: 9,
        ..stage()
    };
    let ran = run_in(&stage, &echo_strings("args"), 4, &[]).await;
    assert_eq!(ran.stdout, b"main\0a b\x004/9 {x}\0");
    let ran = run_in(&stage, &echo_strings("environ"), 4, &[]).await;
    assert_eq!(ran.stdout, b"K=V4\0WEIR_TASK_INDEX=4\0WEIR_TASK_COUNT=9\0");
}

#[tokio::test]
async fn a_guest_reads_stdin() {
    let text = format!(
        r#"(module
            (import "{WASI}" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 1000))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    );
    let ran = run(&stage(), &text).await;
    assert_eq!(ran.stdout, b"some input");
    assert_eq!((ran.usage.read_bytes, ran.usage.written_bytes), (10, 10));
}

/// Opens `path` below the preopened directory `fd` with `O_CREAT` to write, and writes `bytes`;
/// exits with the first errno.
fn file_writer(fd: u32, path: &str, bytes: u32) -> String {
    let length = path.len();
    format!(
        r#"(module
            (import "{WASI}" "path_open" (func $open
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "{WASI}" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 2)
            (data (i32.const 64) "{path}")
            (func (export "_start") (local $errno i32)
                (local.set $errno (call $open (i32.const {fd}) (i32.const 0)
                    (i32.const 64) (i32.const {length}) (i32.const 1)
                    (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))
                (if (local.get $errno) (then (call $exit (local.get $errno))))
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const {bytes}))
                (local.set $errno (call $write
                    (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 16)))
                (call $exit (local.get $errno))))"#
    )
}

#[tokio::test]
async fn inputs_are_read_only_and_out_is_written() {
    let stage = StageSpec { keep: Keep::Out, ..stage() };
    for (path, errno) in [("in/there", 69), ("in/new", 69), ("new", 69), ("../new", 63)] {
        let ran = run_in(&stage, &file_writer(3, path, 5), 0, &[("/in/there", b"old")]).await;
        assert_eq!(ran.outcome, Outcome::Failed { exit_code: errno }, "{path}");
    }
    let ran = run(&stage, &file_writer(3, "out/new", 5)).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
    assert_eq!((ran.usage.read_bytes, ran.usage.written_bytes), (0, 5));
    let Some(Produced::File { bytes, .. }) = ran.out.get("new") else { panic!("no file") };
    let mut read = [0; 9];
    assert_eq!(bytes.read_at(0, &mut read).expect("bytes"), 5);
    assert_eq!(&read[..5], b"out/n");
}

#[tokio::test]
async fn too_much_in_out_or_tmp_ends_the_attempt() {
    let stage = with_limits(|limits| {
        limits.output_bytes = 1000;
        limits.scratch_bytes = 2000;
    });
    let stage = StageSpec { keep: Keep::Out, ..stage };
    let ran = run(&stage, &file_writer(3, "out/big", 5000)).await;
    assert_eq!(ran.outcome.to_string(), "output too large: wrote 5,000 of 1,000 bytes");
    let ran = run(&stage, &file_writer(3, "tmp/big", 5000)).await;
    assert_eq!(ran.outcome, Outcome::ScratchFull(Exceeded { used: 5000, limit: 2000 }));
}

#[tokio::test]
async fn a_guest_without_out_has_tmp_alone() {
    let ran = run(&stage(), &file_writer(3, "out/new", 5)).await;
    assert_eq!(ran.outcome, Outcome::Failed { exit_code: 44 }, "no entry");
    let ran = run(&stage(), &file_writer(3, "tmp/new", 5)).await;
    assert_eq!(ran.outcome, Outcome::Succeeded { exit_code: 0 });
}
