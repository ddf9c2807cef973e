//! `weir run` where no cluster is: it starts one of its own.

use std::{fs, net::TcpStream};

use weir_tests::{cluster::Weir, guests::guest};

use crate::skipped;

/// Whether somebody's cluster is where `weir run` looks for one.
fn a_cluster_is_here(test: &str) -> bool {
    let here = TcpStream::connect("127.0.0.1:7400").is_ok();
    if here {
        skipped(test, "something listens on 127.0.0.1:7400, which `weir run` would talk to");
    }
    here
}

#[test]
fn a_run_without_a_cluster_starts_its_own_says_so_and_leaves_nothing() {
    if a_cluster_is_here("a run without a cluster") {
        return;
    }
    let tmp = tempfile::tempdir().expect("a directory");

    let run = Weir::new(["run"]).arg(guest("echo")).args(["--", "hi"]);
    let ran = run.env("TMPDIR", tmp.path()).run().exited_with(0);

    assert_eq!(ran.stdout_text(), "hi\n");
    ran.says(&["no master at 127.0.0.1:7400", "cluster of my own"]);
    let left: Vec<_> = fs::read_dir(tmp.path()).expect("the directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_run_without_a_cluster_keeps_core_dumps_in_files_and_overwrites_none() {
    if a_cluster_is_here("a core dump without a cluster") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("core.1.wasm"), "mine").expect("a file");
    let run = |flags: &[&str]| {
        let run = Weir::new(["run", "--array", "2", "--coredump"]).args(flags).arg(guest("trap"));
        run.args(["--", "unreachable"]).current_dir(dir.path()).run().exited_with(134)
    };
    let read = |name: &str| fs::read(dir.path().join(name)).expect("a file");

    run(&[]).says(&["    core dump: core.0.wasm (", "    core dump: core.1.1.wasm ("]);
    let again = run(&["--json"]).says(&["the core dump of task 0 is in core.0.1.wasm"]);

    assert_eq!(read("core.1.wasm"), b"mine");
    let dump = read("core.0.wasm");
    assert!(dump.starts_with(b"\0asm"), "{} bytes", dump.len());
    assert!(dump.windows(9).any(|window| window == b"corestack"), "{} bytes", dump.len());
    assert_eq!(read("core.0.1.wasm"), dump, "the same trap leaves the same dump");
    assert_eq!(again.json_lines()[0]["coredump"]["bytes"].as_u64(), Some(dump.len() as u64));
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 5);
}

#[test]
fn two_runs_without_a_cluster_work_at_once() {
    if a_cluster_is_here("two runs without a cluster") {
        return;
    }
    let start = |millis: &str| {
        Weir::new(["run"])
            .args(["--allow", "clock"])
            .arg(guest("sleeper"))
            .args(["--", millis])
            .start()
    };

    let (mut one, mut two) = (start("3001"), start("3002"));
    one.wait_for_stdout("sleeping for 3001 ms\n");
    two.wait_for_stdout("sleeping for 3002 ms\n");
    let at_once = (one.is_running(), two.is_running());

    assert_eq!(at_once, (true, true));
    assert!(one.wait().exited_with(0).stdout_text().ends_with("awake after 3001 ms\n"));
    assert!(two.wait().exited_with(0).stdout_text().ends_with("awake after 3002 ms\n"));
}

#[test]
fn a_run_of_its_own_exits_as_its_guest_did_and_ends_on_ctrl_c() {
    if a_cluster_is_here("a run of its own") {
        return;
    }
    let failing = Weir::new(["run"]).arg(guest("exit-code")).args(["--", "7"]).run();
    let spinning = Weir::new(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .start();
    spinning.wait_for_stdout("sleeping");
    spinning.interrupt();

    failing.exited_with(7);
    spinning.wait().exited_with(130);
}
