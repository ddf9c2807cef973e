//! Compilers of a whole cluster: killed, cancelled, orphaned, and beside other tasks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    bombs::bomb,
    cluster::{PATIENCE, Process, Server, poll},
    processes::{children_of, is_running, threads_of},
};

const NOTHING: &str = "(module (func (export \"_start\")))";

/// A module on disk.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("bomb.wasm");
    fs::write(&path, bytes).expect("written");
    (dir, path)
}

/// Waits until a process compiles for this server, and is past its start.
fn wait_for_compiler(server: &Server) -> u32 {
    let mut found = None;
    let there = poll(PATIENCE, || {
        found = children_of(server.id()).into_iter().find(|child| threads_of(*child) > 1);
        found.is_some()
    });
    assert!(there, "no process compiles");
    found.expect("it is there")
}

fn start(server: &Server, module: &Path) -> Process {
    server.weir(["run"]).arg(module).start()
}

#[test]
fn a_bomb_ends_as_a_compile_limit_with_the_number_and_its_exit_code() {
    let server = Server::with_flags(&["--compile-time", "1s"]);
    let (_dir, module) = file(&bomb(3000));
    let ran = server.weir(["run"]).arg(&module).run();
    ran.exited_with(155)
        .says(&["compile limit: compiling it takes more than 1 s of processor time"]);

    let server = Server::with_flags(&["--compile-memory", "128MiB"]);
    let ran = server.weir(["run"]).arg(&module).run();
    ran.exited_with(155).says(&["compile limit: ", "134,217,728 bytes (128 MiB) of memory"]);
}

#[test]
fn a_compiler_killed_from_outside_is_started_again() {
    let server = Server::fresh();
    let (_dir, module) = file(&bomb(400));
    let running = start(&server, &module);
    let child = wait_for_compiler(&server);
    let kill = format!("kill -KILL {child}");
    Command::new("sh").args(["-c", &kill]).status().expect("a shell");
    running.wait().exited_with(0);
}

#[test]
fn a_cancelled_jobs_compiler_is_killed_and_waited_for() {
    let server = Server::fresh();
    let (_dir, module) = file(&bomb(3000));
    let running = start(&server, &module);
    let child = wait_for_compiler(&server);
    server.weir(["job", "cancel", "1"]).run().exited_with(0);
    assert!(poll(PATIENCE, || !is_running(child)), "it still compiles");
    assert!(children_of(server.id()).is_empty());
    running.wait();
}

#[test]
fn an_agent_that_is_killed_leaves_no_compiler_behind() {
    let server = Server::fresh();
    let (_dir, module) = file(&bomb(3000));
    let _running = start(&server, &module);
    let child = wait_for_compiler(&server);
    server.kill();
    assert!(poll(PATIENCE, || !is_running(child)), "it still compiles");
}

#[test]
fn a_job_whose_module_is_compiled_says_so_and_for_how_long() {
    let server = Server::fresh();
    let (_dir, module) = file(&bomb(3000));
    let running = start(&server, &module);
    wait_for_compiler(&server);
    let mut told = Value::Null;
    let compiles = poll(PATIENCE, || {
        let shown = server.weir(["job", "show", "1", "--json"]).run();
        told = if shown.code() == Some(0) { shown.json() } else { Value::Null };
        told["preparing"][0]["for_ms"].as_u64() > Some(1_000)
    });
    let shown = server.weir(["job", "show", "1"]).run().exited_with(0).stdout_text();
    let listed = server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
    server.weir(["job", "cancel", "1"]).run().exited_with(0);
    running.wait();

    assert!(compiles, "nothing is told: {told:#}");
    assert_eq!(told["preparing"][0]["step"], "compile");
    assert_eq!((&told["running"], &listed[0]["running"]), (&0.into(), &0.into()));
    let line = shown.lines().find(|line| line.starts_with("waits")).expect("a line");
    assert!(line.contains(" compiles the module, for ") && line.ends_with(" s"), "{shown}");
}

/// Run with `--nocapture` to see how much compiling slows the tasks.
#[test]
fn warm_tasks_go_on_while_bombs_are_compiled() {
    const TASKS: &str = "20000";
    // A slot for each bomb: the master counts a lease that waits for its module as one that runs.
    let server = Server::with_flags(&["--cores", "16"]);
    let (_dir, nothing) = file(&wat::parse_str(NOTHING).expect("it parses"));
    let tasks = || {
        let run = server.weir(["run", "--quiet", "--array", TASKS]).arg(&nothing);
        let started = Instant::now();
        run.run().exited_with(0);
        started.elapsed()
    };
    tasks();
    let alone = tasks();
    // More bombs than compilers: the others wait for a turn, and must not keep warm tasks waiting.
    let bombs: Vec<_> = (3000..3012).map(|depth| file(&bomb(depth))).collect();
    let _running: Vec<_> = bombs.iter().map(|(_, module)| start(&server, module)).collect();
    let child = wait_for_compiler(&server);
    let beside = tasks();
    println!("{TASKS} tasks: {alone:?} alone, {beside:?} beside compilers");
    assert!(is_running(child), "the bomb was too small to tell anything");
    assert!(beside < alone * 10 + PATIENCE / 10, "{alone:?} alone, {beside:?} beside compilers");
}
