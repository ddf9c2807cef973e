//! `weir job` and `weir status`: what there is, how it went, what it wrote.

use weir_tests::{cluster::Server, guests::guest};

#[test]
fn jobs_are_listed_newest_first_and_shown_one_by_one() {
    let server = Server::fresh();
    server.weir(["run", "--name", "first"]).arg(guest("echo")).run().exited_with(0);
    let second = server.weir(["run", "--name", "second", "--array", "3", "--fuel", "5M"]);
    second.arg(guest("exit-code")).args(["--", "7"]).run().exited_with(7);

    let table = server.weir(["job", "ls"]).run().exited_with(0).stdout_text();
    let list = server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
    let shown = server.weir(["job", "show", "2"]).run().exited_with(0).stdout_text();
    let json = server.weir(["job", "show", "job-2", "--json"]).run().exited_with(0).json();

    let rows: Vec<_> =
        table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(rows[0][..3], ["JOB", "NAME", "STATUS"]);
    assert_eq!(rows[1][..6], ["job-2", "second", "failed", "3", "3", "3"]);
    assert_eq!(rows[2][..6], ["job-1", "first", "succeeded", "1", "1", "0"]);
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    for (key, value) in list[0].as_object().expect("an object") {
        assert_eq!(json[key], *value, "{key}");
    }
    assert_eq!(json["stages"][0]["args"], serde_json::json!(["7"]));
    assert_eq!(json["stages"][0]["limits"]["fuel"], 5_000_000);
    for words in ["name         second", "tasks        3: 0 succeeded, 3 failed", "fuel 5.00 M"] {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
}

#[test]
fn json_of_a_run_has_a_line_for_each_task_and_one_for_the_job() {
    let server = Server::fresh();

    let run = server.weir(["run", "--json", "--array", "3"]).arg(guest("echo"));
    let ran = run.args(["--", "hi"]).run().exited_with(0);

    let lines = ran.json_lines();
    assert_eq!((lines.len(), ran.stderr_text().as_str()), (4, ""));
    let mut tasks: Vec<_> = lines[..3].iter().map(|line| line["task"].as_u64()).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, [Some(0), Some(1), Some(2)]);
    for line in &lines[..3] {
        assert_eq!((&line["type"], &line["outcome"]), (&"task".into(), &"succeeded".into()));
        assert_eq!(line["stdout"], serde_json::json!({ "bytes": 3, "text": "hi\n" }));
        assert!(line["fuel"].as_u64() > Some(0) && line["peak_memory_bytes"].as_u64() > Some(0));
    }
    let job = &lines[3];
    assert_eq!((&job["type"], &job["status"]), (&"job".into(), &"succeeded".into()));
    assert_eq!((&job["tasks"], &job["succeeded"]), (&3.into(), &3.into()));
    let fuel: Option<u64> = lines[..3].iter().map(|line| line["fuel"].as_u64()).sum();
    assert_eq!(job["fuel"].as_u64(), fuel);
}

#[test]
fn the_summary_of_a_run_is_on_stderr_and_can_be_left_out() {
    let server = Server::fresh();
    let echo = |flags: &[&str]| {
        server.weir(["run"]).args(flags).arg(guest("echo")).args(["--", "hi"]).run().exited_with(0)
    };

    let (told, quiet) = (echo(&[]), echo(&["--quiet"]));

    assert_eq!((told.stdout_text().as_str(), quiet.stdout_text().as_str()), ("hi\n", "hi\n"));
    told.says(&["job-1 succeeded: 1 task;", "fuel ", "peak memory ", " ms"]);
    assert_eq!(quiet.stderr_text(), "");
}

#[test]
fn waiting_for_a_job_ends_as_its_run_did() {
    let server = Server::fresh();
    let sleeper = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "1000"])
        .start();
    sleeper.wait_for_stdout("sleeping");

    let waited = server.weir(["job", "wait", "1"]).run();
    let ran = sleeper.wait();
    server.weir(["run"]).arg(guest("exit-code")).args(["--", "7"]).run().exited_with(7);
    let failed = server.weir(["job", "wait", "job-2", "--json"]).run();

    ran.exited_with(0);
    waited.exited_with(0).says(&["job-1 succeeded: 1 task;"]);
    let lines = failed.exited_with(7).json_lines();
    assert_eq!((&lines[0]["exit_code"], &lines[1]["exit_code"]), (&7.into(), &7.into()));
}

#[test]
fn logs_are_those_of_all_tasks_or_of_one_and_of_either_stream() {
    let server = Server::fresh();
    let checksum = server.weir(["run", "--array", "3"]).arg(guest("checksum"));
    let ran = checksum.args(["--", "5"]).run().exited_with(0);
    let failing = server.weir(["run"]).arg(guest("exit-code")).args(["--", "7"]).run();
    failing.exited_with(7);

    let logs =
        |args: &[&str]| server.weir(["job", "logs"]).args(args).run().exited_with(0).stdout_text();

    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(logs(&["1"])), sorted(ran.stdout_text()));
    assert!(logs(&["1", "--task", "2"]).starts_with("task 2 checksum "));
    assert_eq!(logs(&["job-2"]), "");
    assert_eq!(logs(&["job-2", "--stderr"]), "exiting with 7\n");
}

#[test]
fn output_of_any_size_is_whole_and_can_be_read_again() {
    let server = Server::fresh();
    let writer = server.weir(["run", "--quiet"]).arg(guest("writer"));

    // Far more than a page of results holds inline.
    let ran = writer.args(["--", "0", "3000000", "--stdout"]).run().exited_with(0);
    let logs = server.weir(["job", "logs", "1"]).run().exited_with(0);

    assert_eq!(ran.stdout.len(), 3_000_000);
    assert!(ran.stdout == logs.stdout, "the logs differ from what was streamed");
}

#[test]
fn status_tells_the_cluster_its_agent_and_its_log() {
    let server = Server::fresh();
    server.wait_for_agents(1);

    let json = server.weir(["status", "--json"]).run().exited_with(0).json();
    let table = server.weir(["status"]).run().exited_with(0).stdout_text();

    assert_eq!(json["master"], server.address());
    assert!(json["applied_index"].as_u64() > Some(0) && json["commits"].as_u64() > Some(0));
    let agent = &json["agents"][0];
    assert!(agent["fuel_per_second"].as_u64() > Some(1_000_000), "{agent:#}");
    assert!(agent["cpu_millis"].as_u64() >= Some(1000), "{agent:#}");
    for words in ["AGENT", "live", "commits since start"] {
        assert!(table.contains(words), "no {words:?} in {table}");
    }
}

#[test]
fn a_cluster_that_is_stopped_and_started_again_still_has_its_jobs() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::dev(data.path());
    server.weir(["run"]).arg(guest("echo")).args(["--", "kept"]).run().exited_with(0);
    let put = server.weir(["put"]).arg(guest("echo")).run().exited_with(0).stdout_text();

    server.stop().exited_with(0);
    let server = Server::dev(data.path());

    let logs = server.weir(["job", "logs", "1"]).run().exited_with(0);
    let got = server.weir(["get", put.trim()]).run().exited_with(0);
    let next = server.weir(["run", put.trim()]).args(["--", "by digest"]).run().exited_with(0);
    assert_eq!(logs.stdout_text(), "kept\n");
    assert!(got.stdout == std::fs::read(guest("echo")).expect("the module"));
    assert_eq!(next.stdout_text(), "by digest\n");
    next.says(&["job-2 succeeded: 1 task;"]);
}
