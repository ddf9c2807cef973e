//! What looks at jobs and the cluster: `weir job ls`, `show`, `watch`, `logs --failed`, `outputs`,
//! `weir cluster`, `weir events`.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_tests::{
    cluster::{PATIENCE, Server, poll},
    guests::guest,
};

use crate::files_in;

/// A cluster with `first`, which succeeded, and `second`, whose three tasks failed.
fn with_two_jobs() -> Server {
    let server = Server::fresh();
    server.weir(["run", "--name", "first"]).arg(guest("echo")).run().exited_with(0);
    let second = server.weir(["run", "--name", "second", "--array", "3"]);
    second.arg(guest("exit-code")).args(["--", "7"]).run().exited_with(7);
    server
}

/// Waits until the cluster's newest job runs.
fn wait_until_running(server: &Server) {
    let running = poll(PATIENCE, || {
        let jobs = server.weir(["job", "ls", "--json"]).run().exited_with(0).json();
        jobs[0]["running"].as_u64().is_some_and(|running| running > 0)
    });
    assert!(running, "no job runs");
}

#[test]
fn jobs_are_filtered_sorted_and_limited() {
    let server = with_two_jobs();
    let ids = |flags: &[&str]| {
        let listed = server.weir(["job", "ls", "-q"]).args(flags).run().exited_with(0);
        listed.stdout_text().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(ids(&[]), ["job-2", "job-1"]);
    assert_eq!(ids(&["--reverse"]), ["job-1", "job-2"]);
    assert_eq!(ids(&["--status", "failed"]), ["job-2"]);
    assert_eq!(ids(&["--status", "active,cancelled"]), [""; 0]);
    assert_eq!(ids(&["--status", "failed", "--status", "succeeded"]), ["job-2", "job-1"]);
    assert_eq!(ids(&["--name", "irs"]), ["job-1"]);
    assert_eq!(ids(&["--since", "1h", "--sort", "name"]), ["job-1", "job-2"]);
    assert_eq!(ids(&["--since", "2020-01-01", "--sort", "tasks"]), ["job-2", "job-1"]);
    let limited = server.weir(["job", "ls", "--limit", "1"]).run().exited_with(0);
    assert_eq!(limited.stdout_text().lines().count(), 2);
    limited.says(&["1 of 2 jobs", "--limit 0"]);
}

#[test]
fn jobs_of_other_namespaces_are_listed_when_they_are_asked_for() {
    let server = Server::fresh();
    server.weir(["run", "--namespace", "blue"]).arg(guest("echo")).run().exited_with(0);

    let own = server.weir(["job", "ls"]).run().exited_with(0);
    let blue = server.weir(["job", "ls", "--namespace", "blue"]).run().exited_with(0);
    let all = server.weir(["job", "ls", "--all-namespaces"]).run().exited_with(0);

    assert_eq!(own.stdout_text(), "");
    own.says(&["no jobs in namespace default yet", "`weir run MODULE`"]);
    assert!(blue.stdout_text().contains("job-1"), "{blue}");
    let rows = all.stdout_text();
    let words: Vec<Vec<_>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!((words[0][1], words[1][1]), ("NAMESPACE", "blue"));
}

#[test]
fn a_list_that_matches_nothing_says_so_and_wrong_filters_are_refused() {
    let server = with_two_jobs();
    let ls = |flags: &[&str]| server.weir(["job", "ls"]).args(flags).run();

    let none = ls(&["--name", "nothing"]).exited_with(0);
    assert_eq!(none.stdout_text(), "");
    none.says(&["no job in namespace default matches"]);
    let json = ls(&["--name", "nothing", "--json"]).exited_with(0).json();
    assert_eq!(json, serde_json::json!([]));
    ls(&["--status", "lost"])
        .exited_with(2)
        .says(&["lost", "active, succeeded, failed, cancelled"]);
    ls(&["--since", "yesterday"]).exited_with(2).says(&["yesterday", "`10m`", "`2026-11-22`"]);
    ls(&["--sort", "age"]).exited_with(2).says(&["age", "newest"]);
    ls(&["--limit", "many"]).exited_with(2).says(&["many"]);
}

#[test]
fn a_shown_job_groups_its_outcomes_and_says_what_to_do_next() {
    let server = with_two_jobs();

    let shown = server.weir(["job", "show", "2"]).run().exited_with(0).stdout_text();
    let json = server.weir(["job", "show", "2", "--json"]).run().exited_with(0).json();

    for line in [
        "tasks        3: 0 succeeded, 3 failed\n",
        "outcomes     3 tasks  failed: exit code 7  first: task 0\n",
        "failed tasks 0-2\n",
        "next         `weir job logs 2 --failed`",
        "             `weir job retry 2 --failed`",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    let stage = &json["stages"][0];
    assert_eq!(stage["failed_tasks"], serde_json::json!([[0, 2]]));
    assert_eq!(stage["causes"][0]["tasks"], 3);
}

#[test]
fn logs_of_failed_tasks_are_told_with_how_each_ended() {
    let server = with_two_jobs();

    let logs = server.weir(["job", "logs", "2", "--failed", "--stderr"]).run().exited_with(0);
    let none = server.weir(["job", "logs", "1", "--failed"]).run().exited_with(0);

    let text = logs.stdout_text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0| exiting with 7", "1| exiting with 7", "2| exiting with 7"]);
    logs.says(&["task 0: failed with exit code 7", "task 2: failed with exit code 7"]);
    assert_eq!(none.stdout_text(), "");
    none.says(&["no task of job-1 has failed"]);
    let one = server.weir(["job", "logs", "1", "--task", "1"]).run();
    one.exited_with(125).says(&["job-1 has no task 1; its only task is 0"]);
    let three = server.weir(["job", "logs", "2", "--task", "3"]).run();
    three.exited_with(125).says(&["job-2 has no task 3; its tasks are 0 to 2"]);
}

#[test]
fn what_tasks_left_is_found_whichever_namespace_they_ran_in() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let write = server.weir(["run", "-q", "--namespace", "blue", "--out"]);
    let write = write.arg(dir.path().join("ran")).arg(guest("writer"));
    // Far more than a page of results holds inline.
    let ran = write.args(["--", "1", "300000", "--stdout"]).run().exited_with(0);

    let logs = server.weir(["job", "logs", "1"]).run().exited_with(0);
    let to = dir.path().join("out");
    server.weir(["job", "outputs", "1", "--to"]).arg(&to).run().exited_with(0);

    assert!(!ran.stdout.is_empty() && logs.stdout == ran.stdout);
    assert_eq!(files_in(&to), files_in(&dir.path().join("ran")));
}

#[test]
fn a_watch_tells_changes_and_ends_as_its_job_did() {
    let server = Server::fresh();
    let run = server.weir(["run", "--array", "4"]).args(["--allow", "clock"]).arg(guest("sleeper"));
    let run = run.args(["--", "1500"]).start();
    wait_until_running(&server);

    let lines = server.weir(["job", "watch", "1"]).start();
    let json = server.weir(["job", "watch", "1", "--json"]).run().exited_with(0).json_lines();
    run.wait().exited_with(0);

    lines.wait().exited_with(0).says(&["job-1: ", " of 4 tasks done", "job-1 succeeded: 4 tasks;"]);
    let (end, progress) = json.split_last().expect("lines");
    assert_eq!((&end["type"], &end["status"]), (&"job".into(), &"succeeded".into()));
    assert!(progress.iter().all(|line| line["type"] == "progress"), "{progress:#?}");
    assert_eq!(progress.last().map(|line| &line["succeeded"]), Some(&4.into()));
    assert!(progress.windows(2).all(|pair| pair[0] != pair[1]), "{progress:#?}");
}

#[test]
fn a_watch_of_a_failed_job_exits_with_its_code_and_ctrl_c_leaves_a_job_alone() {
    let server = with_two_jobs();
    server.weir(["job", "watch", "2"]).run().exited_with(7).says(&["job-2 failed"]);
    server.weir(["job", "watch", "9"]).run().exited_with(125).says(&["no job-9"]);

    let run = server
        .weir(["run"])
        .args(["--allow", "clock"])
        .arg(guest("sleeper"))
        .args(["--", "3600000"])
        .start();
    run.wait_for_stdout("sleeping");
    let watch = server.weir(["job", "watch", "3"]).start();
    watch.wait_for_stderr("job-3: 0 of 1 task done");
    watch.interrupt();

    watch.wait().exited_with(130).says(&["job-3 goes on", "`weir job watch 3`"]);
    let shown = server.weir(["job", "show", "3", "--json"]).run().exited_with(0).json();
    assert_eq!(shown["status"], "active");
    drop(run);
}

#[test]
fn outputs_are_downloaded_by_index_or_for_one_task() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let (ran, all, one) = (dir.path().join("ran"), dir.path().join("all"), dir.path().join("one"));
    let write = server.weir(["run", "--array", "2", "--out"]).arg(&ran).arg(guest("writer"));
    write.args(["--", "2", "10"]).run().exited_with(0);

    let told = server.weir(["job", "outputs", "1", "--to"]).arg(&all).run().exited_with(0);
    let json = server.weir(["job", "outputs", "1", "--json", "--task", "1", "--to"]).arg(&one);
    let json = json.run().exited_with(0).json();

    assert_eq!(files_in(&all), files_in(&ran));
    assert_eq!(files_in(&one), files_in(&ran.join("1")));
    assert!(told.stdout_text().starts_with("job-1 left outputs of 2 tasks, 40 B: they are in "));
    assert_eq!((&json["tasks"], &json["bytes"], &json["open"]), (&1.into(), &20.into(), &0.into()));
    let again = server.weir(["job", "outputs", "1", "--to"]).arg(&all).run();
    again.exited_with(125).says(&["not empty", "choose another"]);
    let beyond =
        server.weir(["job", "outputs", "1", "--task", "2", "--to"]).arg(dir.path().join("x"));
    beyond.run().exited_with(125).says(&["job-1 has no task 2"]);
}

#[test]
fn a_job_that_keeps_no_outputs_says_how_to_keep_them() {
    let server = with_two_jobs();
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("out");

    let ran = server.weir(["job", "outputs", "1", "--to"]).arg(&to).run();

    ran.exited_with(125).says(&["job-1 keeps no outputs", "--out DIR", "`outputs = true`"]);
    assert!(!to.exists());
}

#[test]
fn outputs_of_a_running_job_are_those_that_are_there() {
    let server = Server::fresh();
    let dir = tempfile::tempdir().expect("a directory");
    let run = server
        .weir(["run", "--out"])
        .arg(dir.path().join("ran"))
        .args(["--allow", "clock"])
        .arg(guest("sleeper"));
    let run = run.args(["--", "3600000"]).start();
    run.wait_for_stdout("sleeping");

    let ran = server.weir(["job", "outputs", "1", "--to"]).arg(dir.path().join("out")).run();

    let text = ran.exited_with(0).stdout_text();
    assert_eq!(text, "job-1 left nothing to download; 1 of its tasks have no result yet\n");
    drop(run);
}

#[test]
fn the_cluster_is_looked_at_as_a_whole_and_in_parts() {
    let server = Server::fresh();
    server.wait_for_agents(1);
    let look = |args: &[&str]| server.weir(["cluster"]).args(args).run().exited_with(0);

    let (short, long) =
        (server.weir(["status", "--json"]).run().json(), look(&["status", "--json"]));
    let members = look(&["members", "--json"]).json();
    let agents = look(&["agents", "--live", "--json"]).json();

    let long = long.json();
    assert_eq!((&short["cluster"], &short["agents"]), (&long["cluster"], &long["agents"]));
    assert_eq!(long["active_jobs"], 0);
    assert_eq!((&members[0]["leads"], members.as_array().map(Vec::len)), (&true.into(), Some(1)));
    assert_eq!(
        (&agents[0]["live"], &agents[0]["agent"]),
        (&true.into(), &long["agents"][0]["agent"])
    );
    assert!(look(&["members"]).stdout_text().contains("leader"));
    assert!(look(&["agents"]).stdout_text().starts_with("AGENT"));
    server.weir(["cluster", "machines"]).run().exited_with(2).says(&["machines"]);
}

#[test]
fn a_cluster_without_agents_says_how_to_add_one() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::master(data.path(), "127.0.0.1:0");

    let agents = server.weir(["cluster", "agents"]).run().exited_with(0);

    assert_eq!(agents.stdout_text(), "");
    agents.says(&["no agents", "`weir agent --master URL"]);
}

#[test]
fn events_tell_what_happened_in_order_and_only_since_then() {
    let server = with_two_jobs();
    let events = |flags: &[&str]| server.weir(["events"]).args(flags).run();

    let lines = events(&["--json"]).exited_with(0).json_lines();
    let text = events(&[]).exited_with(0).stdout_text();

    let words: Vec<_> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    let jobs: Vec<_> = words.iter().filter(|word| word.starts_with("job_")).collect();
    assert_eq!(jobs, [&"job_submitted", &"job_ended", &"job_submitted", &"job_ended"]);
    assert!(words.contains(&"cluster_created") && words.contains(&"agent_joined"), "{words:?}");
    assert!(text.contains("Z  job-2 \"second\" failed: 0 of 3 succeeded\n"), "{text}");
    let late = events(&["--since", "2999-01-01"]).exited_with(0);
    assert_eq!(late.stdout_text(), "");
    events(&["--since", "soon"]).exited_with(2).says(&["soon", "`10m`"]);
}

#[test]
fn events_are_followed_across_a_master_that_starts_again() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::dev(data.path());
    let address = server.address().to_owned();
    server.weir(["run", "--name", "before"]).arg(guest("echo")).run().exited_with(0);
    let events = server.weir(["events", "--follow", "--json"]).start();
    events.wait_for_stdout("\"job_ended\"");

    server.kill();
    let server = Server::dev_at(data.path(), &address);
    server.weir(["run", "--name", "after"]).arg(guest("echo")).run().exited_with(0);
    events.wait_for_stdout("\\\"after\\\" succeeded");
    events.interrupt();

    let lines = events.wait().exited_with(130).json_lines();
    let mut seen = BTreeMap::<String, u32>::new();
    for line in &lines {
        *seen.entry(place(line)).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "an event was told twice: {seen:?}");
}

fn place(event: &Value) -> String {
    format!("{}.{}", event["index"], event["sub"])
}
