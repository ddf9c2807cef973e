//! What a user sees of a change of leader, and of a cluster without a majority: commands that follow a job
//! go on and tell everything once, others say why they cannot answer.

#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_tests::{
    cluster::{PATIENCE, Process, Weir, poll},
    guests::guest,
    nemesis::machines::{MASTERS, MachineKind, Machines},
};

/// Tasks of the array, and rounds of the guest `checksum` that take each some milliseconds.
const TASKS: usize = 1_500;
const ROUNDS: &str = "1000000";
/// The leader is lost when so many are done.
const LOST_AT: u64 = TASKS as u64 / 4;
/// Longest time after which a master without a majority says so: a few calls, each with its patience.
const SAYS_SO: Duration = Duration::from_secs(45);

/// A job of an array that four commands follow.
struct Followed {
    machines: Machines,
    run: Process,
    wait: Process,
    watch: Process,
    logs: Process,
}

impl Followed {
    /// They have begun, and some tasks are done.
    fn begin() -> Followed {
        let machines = Machines::new(MachineKind::Processes, 2).expect("loopback takes no rights");
        machines.wait_for_leader();
        let tasks = TASKS.to_string();
        let run = machines.weir(&["run", "--array", &tasks]).arg(guest("checksum"));
        let run = run.args(["--", ROUNDS]).start();
        let done = |at_least: u64| {
            let enough = || {
                let shown = machines.weir(&["job", "show", "1", "--json"]).run();
                shown.code() == Some(0) && shown.json()["succeeded"].as_u64() >= Some(at_least)
            };
            assert!(poll(PATIENCE, enough), "not {at_least} tasks are done: {run}");
        };
        done(1);
        let wait = machines.weir(&["job", "wait", "1", "--json"]).start();
        let watch = machines.weir(&["job", "watch", "1", "--json"]).start();
        let logs = machines.weir(&["job", "logs", "1", "--follow"]).start();
        done(LOST_AT);
        Followed { machines, run, wait, watch, logs }
    }

    /// All four tell the whole job, each thing once.
    fn end(self) {
        let lost = Instant::now();
        let run = self.run.wait().exited_with(0).says(&["job-1 succeeded: 1,500 tasks"]);
        println!("the job has ended {:.1?} after its leader was lost", lost.elapsed());
        assert!(!run.stderr_text().contains("error"), "{run}");
        let logs = self.logs.wait().exited_with(0).stdout_text();
        assert_eq!(lines_of_all_tasks(&logs), lines_of_all_tasks(&run.stdout_text()));

        let told = self.wait.wait().exited_with(0).json_lines();
        let (end, tasks) = told.split_last().expect("lines");
        assert_eq!(end["status"], "succeeded");
        let numbers: BTreeSet<u64> =
            tasks.iter().filter_map(|line| line["task"].as_u64()).collect();
        assert_eq!((tasks.len(), numbers.len()), (TASKS, TASKS), "a line for each task");

        let told = self.watch.wait().exited_with(0).json_lines();
        let (end, progress) = told.split_last().expect("lines");
        assert_eq!((&end["type"], &end["status"]), (&"job".into(), &"succeeded".into()));
        let done: Vec<u64> =
            progress.iter().filter_map(|line| line["succeeded"].as_u64()).collect();
        assert!(done.is_sorted(), "what was told is taken back: {done:?}");
        assert!(done.len() > 2 && done.last() == Some(&(TASKS as u64)), "{done:?}");
    }
}

/// What an array printed, sorted: a line for each task.
fn lines_of_all_tasks(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let all = lines.len();
    lines.dedup();
    assert_eq!((all, lines.len()), (TASKS, TASKS), "each line once");
    lines
}

#[test]
fn run_wait_watch_and_logs_go_on_when_the_leader_is_killed() {
    let mut followed = Followed::begin();
    let (leader, _) = followed.machines.wait_for_leader();
    followed.machines.kill(leader);
    followed.end();
}

#[test]
fn they_go_on_when_the_leader_stands_still_and_keeps_its_connections() {
    let followed = Followed::begin();
    let (leader, _) = followed.machines.wait_for_leader();
    followed.machines.freeze(leader, true);
    followed.end();
}

#[test]
fn a_master_without_a_majority_says_so_to_whoever_reads_and_writes() {
    let mut machines = Machines::new(MachineKind::Processes, 0).expect("loopback takes no rights");
    let (leader, _) = machines.wait_for_leader();
    let put = machines.weir(&["put"]).arg(guest("echo")).run().exited_with(0).stdout_text();
    let left = (leader + 1) % MASTERS;
    machines.kill(leader);
    machines.kill((leader + 2) % MASTERS);
    let ask = |args: &[&str]| Weir::new(args).env("WEIR_MASTER", machines.address(left)).start();
    let asked: [&[&str]; 4] =
        [&["job", "ls"], &["status"], &["submit", put.trim()], &["name", "ls"]];
    let asked = asked.map(ask);
    for ran in asked.map(Process::wait) {
        assert!(ran.took < SAYS_SO, "after {:.1?}: {ran}", ran.took);
        ran.exited_with(125).says(&["no master leads", "a majority"]);
    }

    assert_eq!(machines.start_ended(), 2);
    let listed = machines.weir(&["job", "ls", "--json"]).run().exited_with(0);
    assert_eq!(listed.json(), Value::Array(Vec::new()));
}

#[test]
fn the_bench_of_several_masters_measures_all_of_it() {
    let bench = Weir::new(["bench", "--masters", "3", "--quick", "--json"]).run();
    let figures = bench.exited_with(0).json();
    let figures = figures.as_object().expect("an object");
    for (key, figure) in figures {
        assert!(figure.as_f64() > Some(0.0), "{key} is {figure}");
    }
    assert!(figures.len() > 10, "{figures:?}");
}
