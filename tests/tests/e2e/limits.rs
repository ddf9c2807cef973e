//! Guests that go too far, and guests that fail: what `weir run` says and exits with.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use weir_tests::{
    cluster::{Ran, Server},
    guests::{guest, rust_compiler},
};

fn run(server: &Server, flags: &[&str], module: PathBuf, args: &[&str]) -> Ran {
    server.weir(["run"]).args(flags).arg(module).arg("--").args(args).run()
}

#[test]
fn a_guest_that_never_ends_runs_out_of_fuel_and_the_numbers_are_told() {
    let server = Server::fresh();
    let ran = run(&server, &["--fuel", "5M"], guest("spin"), &[]);
    ran.exited_with(152).says(&["out of fuel: used 5,000,000 of 5,000,000"]);
}

#[test]
fn a_guest_that_never_ends_is_ended_by_the_clock() {
    let server = Server::fresh();
    let ran = run(&server, &["--timeout", "300ms"], guest("spin"), &[]);
    ran.exited_with(124).says(&["timed out: ran", "of 300 ms"]);
}

#[test]
fn a_guest_that_sleeps_in_a_host_call_is_ended_by_the_clock() {
    let server = Server::fresh();

    let ran =
        run(&server, &["--timeout", "300ms", "--allow", "clock"], guest("sleeper"), &["3600000"]);

    assert!(ran.took < Duration::from_secs(20), "{ran}");
    assert_eq!(ran.stdout_text(), "sleeping for 3600000 ms\n");
    ran.exited_with(124).says(&["timed out: ran", "of 300 ms"]);
}

#[test]
fn a_guest_that_takes_memory_for_ever_runs_out_of_it_and_the_numbers_are_told() {
    let server = Server::fresh();
    let ran = run(&server, &["--memory", "16MiB"], guest("hog"), &[]);
    ran.exited_with(137).says(&["out of memory: asked for 1", "of 16,777,216 bytes", "16.0 MiB"]);
}

#[test]
fn each_kind_of_trap_is_told_with_its_frames() {
    let server = Server::fresh();
    for (kind, told) in [
        ("unreachable", "`unreachable` instruction executed"),
        ("panic", "as asked"),
        ("divide-by-zero", "integer divide by zero"),
        ("stack-overflow", "call stack exhausted"),
        ("out-of-bounds", "out of bounds memory access"),
    ] {
        let ran = run(&server, &[], guest("trap"), &[kind]);
        ran.exited_with(134).says(&["task 0: trapped: ", told, "    at "]);
    }
}

#[test]
fn a_core_dump_of_a_trap_is_kept_where_that_is_asked_for() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let ran = run(&server, &["--coredump"], guest("trap"), &["unreachable"]).exited_with(134);
    let told = ran.stderr_text();
    let line = told.lines().find_map(|line| line.trim().strip_prefix("core dump: "));
    let (digest, _) = line.and_then(|line| line.split_once(" (")).expect("a core dump is told");
    let path = dir.path().join("core.wasm");
    server.weir(["get", digest, "--out"]).arg(&path).run().exited_with(0);
    let dump = fs::read(&path).expect("a file");
    assert!(dump.starts_with(b"\0asm"), "{} bytes", dump.len());
    assert!(dump.windows(9).any(|window| window == b"corestack"), "{} bytes", dump.len());

    let ran = run(&server, &["--coredump", "--json"], guest("trap"), &["unreachable"]);
    let task = &ran.exited_with(134).json_lines()[0];
    assert_eq!(task["coredump"]["digest"], digest, "the same trap leaves the same dump");
    let ran = run(&server, &["--json"], guest("trap"), &["unreachable"]);
    assert_eq!(ran.exited_with(134).json_lines()[0].get("coredump"), None);
}

#[test]
fn a_guests_exit_code_is_the_commands() {
    let server = Server::fresh();
    for (guests, ours) in [("0", 0), ("7", 7), ("126", 126), ("255", 255), ("256", 255)] {
        let ran = run(&server, &[], guest("exit-code"), &[guests]);
        ran.exited_with(ours).says(&[&format!("exiting with {guests}")]);
    }
}

#[test]
fn output_over_its_limit_ends_the_task_and_is_told() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let out = out.to_str().expect("UTF-8");

    let files = ["--output-limit", "1000", "--out", out];
    let files = run(&server, &files, guest("writer"), &["3", "600"]);
    let stdout =
        run(&server, &["--output-limit", "1000"], guest("writer"), &["0", "1200", "--stdout"]);

    files.exited_with(153).says(&["output too large: wrote", "of 1,000 bytes"]);
    stdout.exited_with(153).says(&["output too large: wrote", "of 1,000 bytes"]);
}

#[test]
fn the_tasks_of_an_array_fail_each_for_itself() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");

    // Three tiles make no grid, and every task says so.
    let draw = server.weir(["run", "--json", "--array", "3", "--out"]).arg(dir.path().join("out"));
    let ran = draw.arg(guest("mandelbrot")).run();

    let lines = ran.exited_with(2).json_lines();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for line in &lines[..3] {
        assert_eq!((&line["outcome"], &line["exit_code"]), (&"failed".into(), &2.into()));
    }
    assert_eq!((&lines[3]["failed"], &lines[3]["exit_code"]), (&3.into(), &2.into()));
}

#[test]
fn a_trap_tells_source_lines_where_the_module_has_them() {
    let Some(compiler) = rust_compiler() else {
        println!("no compiler for guests: not tested");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(
        dir.path().join("crash.rs"),
        "#[inline(never)]\nfn inner() {\n    std::process::abort();\n}\n\nfn main() {\n    inner();\n}\n",
    )
    .expect("a file");
    let built = Command::new(compiler)
        .args(["-g", "--edition", "2024", "--target", "wasm32-wasip1", "crash.rs"])
        .current_dir(dir.path())
        .output();
    assert!(built.is_ok_and(|built| built.status.success()));
    let server = Server::fresh();
    let ran = run(&server, &[], dir.path().join("crash.wasm"), &[]);
    ran.exited_with(134).says(&["crash::inner", "/crash.rs:3:", "crash::main", "/crash.rs:7:"]);
}
