//! Tasks that run at most once, and results that outlive the agent that has them.

use std::fs;

use tempfile::TempDir;
use weir_tests::{
    cluster::{PATIENCE, Process, Server, Weir, poll},
    guests::guest,
};

/// What a task that an agent had which was lost ends with.
const AGENT_LOST: i32 = 158;

struct Parts {
    master: Server,
    agents: Vec<Process>,
    data: TempDir,
}

impl Parts {
    fn start(agents: usize) -> Parts {
        let data = tempfile::tempdir().expect("a directory");
        let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
        let mut parts = Parts { master, agents: Vec::new(), data };
        (0..agents).for_each(|number| parts.start_agent(number));
        parts.master.wait_for_agents(agents);
        parts
    }

    fn start_agent(&mut self, number: usize) {
        let dir = self.data.path().join(format!("agent-{number}"));
        self.agents.push(self.master.start_agent(&format!("agent-{number}"), &dir, 1));
    }

    /// So many tasks that sleep for so long.
    fn sleepers(&self, count: u32, millis: u32) -> Weir {
        let run = self.master.weir(["run", "--once", "--allow", "clock"]);
        let run = if count > 1 { run.args(["--array", &count.to_string()]) } else { run };
        run.arg(guest("sleeper")).args(["--", &millis.to_string()])
    }
}

/// Pages that an agent keeps; those that it is about to write are not yet kept.
fn kept(data: &TempDir, number: usize) -> usize {
    let dir = data.path().join(format!("agent-{number}/kept"));
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.file_name());
    names.filter(|name| !name.to_string_lossy().starts_with("unfinished-")).count()
}

#[test]
fn a_task_ends_with_the_agent_that_had_it_and_runs_nowhere_else() {
    let mut parts = Parts::start(2);
    let run = parts.sleepers(1, 60_000).start();
    run.wait_for_stdout("sleeping");

    let on = parts.master.weir(["cluster", "agents", "--json"]).run().exited_with(0).json();
    let busy = on[0]["used_cpu_millis"] == 1000;
    let name = on[usize::from(!busy)]["name"].as_str().expect("a name").to_owned();
    let number = usize::from(name == "agent-1");
    parts.agents[number].kill();
    parts.start_agent(number);

    let ran = run.wait().exited_with(AGENT_LOST).says(&["runs at most once"]);
    assert_eq!(ran.stdout_text().matches("sleeping").count(), 1);
}

#[test]
fn a_result_outlives_the_agent_that_has_it_and_a_master_that_was_away() {
    let parts = Parts::start(1);
    let submit = parts.master.weir(["submit", "--once", "--allow", "clock"]);
    let submitted = submit.arg(guest("sleeper")).args(["--", "2500"]).run().exited_with(0);
    let job = submitted.stdout_text().trim().to_owned();
    let running = || {
        let shown = parts.master.weir(["job", "show", "--json", &job]).run().json();
        shown["running"] == 1
    };
    assert!(poll(PATIENCE, running), "{job} does not begin");

    let Parts { master, mut agents, data } = parts;
    let address = master.address().to_owned();
    master.kill();
    assert!(poll(PATIENCE, || kept(&data, 0) == 1), "its result is not kept");
    agents[0].kill();
    let master = Server::master(&data.path().join("master"), &address);
    let mut parts = Parts { master, agents, data };
    parts.start_agent(0);

    let waited = parts.master.weir(["job", "wait", &job]).run();
    waited.exited_with(0);
    assert!(poll(PATIENCE, || kept(&parts.data, 0) == 0), "a stored page is kept for ever");
}

#[test]
fn an_agent_that_is_told_to_stop_ends_what_has_begun() {
    let parts = Parts::start(2);
    let run = parts.sleepers(12, 400).start();
    run.wait_for_stdout("sleeping");
    parts.agents[0].terminate();

    let ran = run.wait().exited_with(0);
    assert_eq!(ran.stdout_text().matches("awake").count(), 12);
}

#[test]
fn a_task_cannot_run_at_most_once_and_be_run_again() {
    Weir::new(["run", "--once", "--retries", "2", "a.wasm"])
        .run()
        .exited_with(2)
        .says(&["--once", "--retries"]);
}
