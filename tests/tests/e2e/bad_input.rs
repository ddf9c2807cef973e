//! What a person may get wrong in a command: each is told with the thing and what to do, nothing is
//! lost, and the cluster works afterwards.

use std::{fs, path::Path};

use weir_tests::{
    cluster::{Ran, Server, Weir},
    guests::guest,
};

/// No blob hashes to this.
const NOWHERE: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";

/// A cluster that must be as it was when a test is over.
struct Unharmed {
    server: Server,
}

impl Unharmed {
    fn start() -> Unharmed {
        let server = Server::fresh();
        server.weir(["run"]).arg(guest("echo")).args(["--", "before"]).run().exited_with(0);
        Unharmed { server }
    }

    fn run(&self, flags: &[&str], module: &Path) -> Ran {
        self.server.weir(["run"]).args(flags).arg(module).run()
    }

    /// What was there is there, no job came of what was wrong, and the next job runs.
    fn check(self) {
        let logs = self.server.weir(["job", "logs", "1"]).run().exited_with(0);
        let jobs = self.server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
        let next = self.server.weir(["run"]).arg(guest("echo")).args(["--", "after"]).run();
        assert_eq!(logs.stdout_text(), "before\n");
        assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs:#}");
        assert_eq!(next.exited_with(0).stdout_text(), "after\n");
    }
}

#[test]
fn a_file_that_is_not_wasm_is_named_and_told_for_what_it_is() {
    let cluster = Unharmed::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a-script.wasm");
    fs::write(&file, "#!/bin/sh\n").expect("a file");

    let script = cluster.run(&[], &file);
    let directory = cluster.run(&[], dir.path());
    let absent = cluster.run(&[], &dir.path().join("absent.wasm"));
    // A good beginning, and nonsense after it, gets as far as the master.
    fs::write(&file, b"\0asm\x01\0\0\0 this is no section").expect("a file");
    let nonsense = cluster.run(&[], &file);

    script.exited_with(125).says(&[
        "a-script.wasm",
        "not a Wasm module",
        "script",
        "wasm32-wasip1",
    ]);
    directory.exited_with(125).says(&["is a directory", "name a .wasm file"]);
    absent.exited_with(125).says(&["absent.wasm", "no such file", "`weir new rust NAME`"]);
    nonsense.exited_with(125).says(&["the job is refused", "module"]);
    cluster.check();
}

#[test]
fn unknown_imports_are_named() {
    let cluster = Unharmed::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("module.wasm");
    let text = r#"(module
        (import "env" "launch_rocket" (func))
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "no_such_call" (func))
        (func (export "_start")))"#;
    fs::write(&file, wat::parse_str(text).expect("a module")).expect("a file");

    let ran = cluster.run(&[], &file).exited_with(125);

    assert!(!ran.stderr_text().contains("fd_write"), "{ran}");
    ran.says(&["env.launch_rocket", "wasi_snapshot_preview1.no_such_call"]);
    cluster.check();
}

#[test]
fn a_module_without_a_start_is_told_what_it_lacks() {
    let cluster = Unharmed::start();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("library.wasm");
    let text = r#"(module (func (export "add")))"#;
    fs::write(&file, wat::parse_str(text).expect("a module")).expect("a file");

    let ran = cluster.run(&[], &file);

    ran.exited_with(125).says(&["`_start`", "library", "`main`"]);
    cluster.check();
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let cluster = Unharmed::start();
    let echo = guest("echo");

    let input = cluster.run(&["--in", "text=/no/such/book.txt"], &echo);
    let stdin = cluster.run(&["--stdin", "/no/such/stdin"], &echo);
    let put = cluster.server.weir(["put", "/no/such/file"]).run();

    input.exited_with(125).says(&["\"text\"", "/no/such/book.txt", "No such file"]);
    stdin.exited_with(125).says(&["stdin", "/no/such/stdin", "No such file"]);
    put.exited_with(125).says(&["/no/such/file", "No such file"]);
    cluster.check();
}

#[test]
fn a_digest_that_is_not_there_is_named_and_can_be_put() {
    let cluster = Unharmed::start();
    let echo = guest("echo");
    let dir = tempfile::tempdir().expect("a directory");
    let tree = format!("tree:{NOWHERE}");

    let module = cluster.run(&[], Path::new(NOWHERE));
    let input = cluster.run(&["--in", &format!("text={NOWHERE}")], &echo);
    let input_tree = cluster.run(&["--in", &format!("text={tree}")], &echo);
    let stdin = cluster.run(&["--stdin", NOWHERE], &echo);
    let blob = cluster.server.weir(["get", NOWHERE]).run();
    let tree = cluster.server.weir(["get", &tree, "--out"]).arg(dir.path().join("out")).run();
    let short = cluster.server.weir(["get", "blake3:00"]).run();

    for ran in [module, input, input_tree, stdin, blob, tree] {
        ran.exited_with(125).says(&[NOWHERE, "not in the store", "put"]);
    }
    short.exited_with(2).says(&["blake3:00", "64 hex digits"]);
    assert!(!dir.path().join("out").exists());
    cluster.check();
}

#[test]
fn limits_of_nothing_are_refused_all_at_once() {
    let cluster = Unharmed::start();

    let flags = ["--fuel", "0", "--memory", "0", "--timeout", "0s", "--output-limit", "0"];
    let ran = cluster.run(&flags, &guest("echo"));
    let array = cluster.run(&["--array", "0"], &guest("echo"));

    ran.exited_with(125).says(&[
        "fuel is 0",
        "memory_bytes is 0",
        "timeout_ms is 0",
        "output_bytes is 0",
    ]);
    array.exited_with(2).says(&["--array", "1 to"]);
    cluster.check();
}

#[test]
fn limits_above_any_agent_are_refused_with_the_largest_agent() {
    let cluster = Unharmed::start();
    cluster.server.wait_for_agents(1);

    let ran = cluster.run(&["--memory", "100TiB"], &guest("echo"));

    ran.exited_with(125).says(&["100 TiB", "no agent is as large", "lower the limits"]);
    cluster.check();
}

#[test]
fn sizes_that_make_no_sense_are_told_with_how_to_write_them() {
    let cluster = Unharmed::start();
    let echo = guest("echo");

    for (flag, value, hint) in [
        ("--fuel", "5X", "5G"),
        ("--fuel", "lots", "5G"),
        ("--fuel", "-1", "5G"),
        ("--fuel", "99999999999999T", "64 bits"),
        ("--memory", "1ZiB", "64MiB"),
        ("--memory", "1.5.5G", "64MiB"),
        ("--timeout", "3", "30s"),
        ("--timeout", "soon", "30s"),
        ("--output-limit", "", "64MiB"),
        ("--array", "many", ""),
        ("--in", "no-equals-sign", "NAME=PATH"),
        ("--env", "no-equals-sign", "NAME=VALUE"),
    ] {
        let ran = cluster.run(&[&format!("{flag}={value}")], &echo);
        ran.exited_with(2).says(&[flag, value, hint]);
    }
    cluster.check();
}

#[test]
fn a_job_or_task_that_does_not_exist_is_named() {
    let cluster = Unharmed::start();

    for command in ["show", "wait", "logs", "cancel"] {
        let ran = cluster.server.weir(["job", command, "999"]).run();
        ran.exited_with(125).says(&["no job-999", "`weir job ls`"]);
    }
    let task = cluster.server.weir(["job", "logs", "1", "--task", "5"]).run();
    let name = cluster.server.weir(["job", "show", "echo"]).run();

    task.exited_with(125).says(&["job-1 has no task 5"]);
    name.exited_with(2).says(&["\"echo\"", "`job-7`"]);
    cluster.check();
}

#[test]
fn a_master_that_does_not_listen_is_named_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);

    let echo = guest("echo");
    let run = Weir::new(["run", "--master", &address]).arg(&echo).run();
    let list = Weir::new(["job", "ls", "--master", &address]).run();
    let put = Weir::new(["put", "--master", &address]).arg(&echo).run();
    let nonsense = Weir::new(["job", "ls", "--master", "nonsense"]).run();

    for ran in [run, list, put] {
        ran.exited_with(125).says(&["nobody listens", &address, "`weir dev`"]);
    }
    nonsense.exited_with(125).says(&["\"nonsense\"", "127.0.0.1:7400"]);
}
