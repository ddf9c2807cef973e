//! What is seen of a task while it runs, and stopping it.

use std::time::Duration;

use weir_tests::{
    cluster::{PATIENCE, Process, Server, poll},
    guests::guest,
};

/// Waits until the cluster's newest job runs, and returns its name.
fn wait_until_running(server: &Server) -> String {
    let mut job = String::new();
    let running = poll(PATIENCE, || {
        let jobs = server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
        job = jobs[0]["job"].as_str().unwrap_or_default().to_owned();
        jobs[0]["running"].as_u64().is_some_and(|running| running > 0)
    });
    assert!(running, "no job runs");
    job
}

fn start_spinning(server: &Server) -> (Process, String) {
    let run = server.weir(["run"]).arg(guest("spin")).start();
    let job = wait_until_running(server);
    (run, job)
}

#[test]
fn what_a_task_writes_is_seen_before_it_ends() {
    let server = Server::fresh();
    let sleeper =
        server.weir(["run"]).args(["--allow", "clock"]).arg(guest("sleeper")).args(["--", "2000"]);

    let mut running = sleeper.start();
    running.wait_for_stdout("sleeping for 2000 ms\n");
    let early = (running.is_running(), running.stdout());
    let ran = running.wait().exited_with(0);

    assert_eq!(early, (true, "sleeping for 2000 ms\n".to_owned()));
    assert_eq!(ran.stdout_text(), "sleeping for 2000 ms\nawake after 2000 ms\n");
}

#[test]
fn what_the_tasks_of_an_array_write_is_seen_by_index_before_they_end() {
    let server = Server::fresh();
    let sleeper =
        server.weir(["run", "--array", "2"]).args(["--allow", "clock"]).arg(guest("sleeper"));

    let mut running = sleeper.args(["--", "1500"]).start();
    running.wait_for_stdout("| sleeping for 1500 ms\n");
    let early = (running.is_running(), running.stdout().contains("awake"));
    let ran = running.wait().exited_with(0);

    assert_eq!(early, (true, false));
    for index in 0..2 {
        let expected =
            [format!("{index}| sleeping for 1500 ms"), format!("{index}| awake after 1500 ms")];
        let own = format!("{index}| ");
        let text = ran.stdout_text();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(&own)).collect();
        assert_eq!(lines, expected);
    }
}

#[test]
fn logs_follow_a_running_task_to_its_end() {
    let server = Server::fresh();
    let run = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "2000"])
        .start();
    let job = wait_until_running(&server);

    let logs = server.weir(["job", "logs", "--follow", &job]).start();
    run.wait().exited_with(0);

    let logs = logs.wait().exited_with(0);
    assert_eq!(logs.stdout_text(), "sleeping for 2000 ms\nawake after 2000 ms\n");
}

#[test]
fn ctrl_c_cancels_the_job_that_the_command_started() {
    let server = Server::fresh();
    let (run, job) = start_spinning(&server);

    run.interrupt();
    let ran = run.wait();

    assert!(ran.took < Duration::from_secs(30), "{ran}");
    ran.exited_with(130).says(&["cancel", &job]);
    let shown = server.weir(["job", "show", &job, "--json"]).run().exited_with(0).json();
    assert_eq!(shown["status"], "cancelled");
}

#[test]
fn job_cancel_ends_a_running_job_and_its_core_is_free_again() {
    let server = Server::fresh();
    let (run, job) = start_spinning(&server);

    let cancelled = server.weir(["job", "cancel", &job, "--json"]).run().exited_with(0).json();
    run.wait().exited_with(130);

    assert_eq!((&cancelled["job"], &cancelled["status"]), (&job.into(), &"cancelled".into()));
    let free = poll(PATIENCE, || {
        let status = server.weir(["status", "--json"]).run().exited_with(0).json();
        status["agents"][0]["used_cpu_millis"] == 0
    });
    assert!(free, "a cancelled task still holds its core");
}

#[test]
fn a_sleeping_task_is_cancelled_inside_its_host_call() {
    let server = Server::fresh();
    let run = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .start();
    run.wait_for_stdout("sleeping for 3600000 ms\n");

    run.interrupt();

    run.wait().exited_with(130);
}

#[test]
fn a_command_that_only_looks_leaves_the_job_alone_when_it_is_interrupted() {
    let server = Server::fresh();
    let run = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .start();
    let job = wait_until_running(&server);
    let logs = server.weir(["job", "logs", "--follow", &job]).start();
    logs.wait_for_stdout("sleeping for 3600000 ms\n");

    logs.interrupt();
    logs.wait().exited_with(130);

    let shown = server.weir(["job", "show", &job, "--json"]).run().exited_with(0).json();
    assert_eq!(shown["status"], "active");
    drop(run);
}
