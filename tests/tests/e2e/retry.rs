//! What changes jobs: `weir job cancel`, `rm` and `retry`, of one and of several.

use weir_tests::{cluster::Server, guests::guest};

/// A cluster whose `job-1` has two tasks, of which the second fails.
fn with_a_failed_task() -> Server {
    let server = Server::fresh();
    let run = server.weir(["run", "--array", "2", "--fuel", "1G"]).arg(guest("exit-code"));
    run.args(["--", "{index}"]).run().exited_with(1);
    server
}

#[test]
fn a_retry_runs_what_failed_and_keeps_what_succeeded() {
    let server = with_a_failed_task();

    let told = server.weir(["job", "retry", "1", "--failed"]).run().exited_with(0);
    server.weir(["job", "wait", "2"]).run().exited_with(1);

    assert_eq!(told.stdout_text(), "job-2, a retry of job-1: 1 of 2 tasks runs again\n");
    let shown = server.weir(["job", "show", "2", "--json"]).run().exited_with(0).json();
    assert_eq!((&shown["retry_of"], &shown["succeeded"]), (&"job-1".into(), &1.into()));
    let text = server.weir(["job", "show", "2"]).run().exited_with(0).stdout_text();
    assert!(text.contains("retry of     job-1\n"), "{text}");
    let quiet = server.weir(["job", "retry", "2", "--failed", "-q"]).run().exited_with(0);
    assert_eq!(quiet.stdout_text(), "job-3\n");
    let again = server.weir(["job", "retry", "job-2", "--failed", "--json"]).run().exited_with(0);
    let again = again.json();
    assert_eq!((&again["job"], &again["retry_of"]), (&"job-4".into(), &"job-2".into()));
    assert_eq!((&again["change"], &again["tasks_to_run"]), (&"submitted".into(), &1.into()));
}

#[test]
fn a_job_can_be_run_again_as_a_whole() {
    let server = with_a_failed_task();

    let told = server.weir(["job", "retry", "1", "--all"]).run().exited_with(0);
    server.weir(["job", "wait", "2"]).run().exited_with(1);

    assert_eq!(told.stdout_text(), "job-2, a retry of job-1: 2 tasks run again\n");
    let shown = server.weir(["job", "show", "2", "--json"]).run().exited_with(0).json();
    assert_eq!((&shown["succeeded"], &shown["failed"]), (&1.into(), &1.into()));
}

#[test]
fn a_retry_that_makes_no_sense_is_refused() {
    let server = Server::fresh();
    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
    let retry = |args: &[&str]| server.weir(["job", "retry"]).args(args).run();

    retry(&["1"]).exited_with(2).says(&["--failed", "--all"]);
    retry(&["1", "--failed", "--all"]).exited_with(2).says(&["--failed", "--all"]);
    retry(&["1", "--failed"]).exited_with(125).says(&["job-1", "every task", "nothing to retry"]);
    retry(&["9", "--failed"]).exited_with(125).says(&["no job-9"]);
    retry(&["echo", "--failed"]).exited_with(2).says(&["\"echo\""]);
}

#[test]
fn several_jobs_are_cancelled_and_removed_and_one_that_cannot_be_does_not_stop_the_others() {
    let server = Server::fresh();
    server.weir(["run"]).arg(guest("echo")).run().exited_with(0);
    let run = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .start();
    run.wait_for_stdout("sleeping");

    let active = server.weir(["job", "rm", "2", "1"]).run();
    let cancel = server.weir(["job", "cancel", "9", "2", "2"]).run();
    run.wait().exited_with(130);
    let rm = server.weir(["job", "rm", "2", "1", "--json"]).run();

    let active = active.exited_with(125);
    assert_eq!(active.stdout_text(), "job-1 removed\n");
    active.says(&["cannot remove job-2", "still active", "`weir job cancel 2`"]);
    let cancel = cancel.exited_with(125);
    assert_eq!(cancel.stdout_text(), "job-2 cancelled\njob-2 cancelled\n");
    cancel.says(&["no job-9"]);
    let rm = rm.exited_with(125);
    assert_eq!(rm.json_lines()[0]["change"], "removed");
    rm.says(&["no job-1"]);
    server.weir(["job", "show", "2"]).run().exited_with(125).says(&["no job-2"]);
    server.weir(["job", "rm"]).run().exited_with(2).says(&["<JOB>"]);
}
