//! A master and agents in processes of their own, and what happens when one of them dies.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    cluster::{PATIENCE, Process, Ran, Server, poll},
    guests::guest,
};

/// Rounds of the guest `checksum` that take some 10 ms.
const ROUNDS: &str = "1500000";
const TASKS: u32 = 300;

/// A master and agents of one core each. Fields are dropped in their order: processes first.
struct Parts {
    master: Server,
    agents: Vec<Process>,
    data: TempDir,
}

impl Parts {
    fn start(agents: usize) -> Parts {
        let data = tempfile::tempdir().expect("a directory");
        let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
        let start = |number| {
            let name = format!("agent-{number}");
            master.start_agent(&name, &data.path().join(&name), 1)
        };
        let running: Vec<Process> = (0..agents).map(start).collect();
        master.wait_for_agents(agents);
        Parts { master, agents: running, data }
    }

    /// Starts an array, and returns when some of its tasks have results and most have not.
    fn start_array(&self) -> Process {
        let run = self.master.weir(["run", "--json", "--array", &TASKS.to_string()]);
        let run = run.arg(guest("checksum")).args(["--", ROUNDS]).start();
        let begun = poll(PATIENCE, || self.succeeded() > 0);
        assert!(begun, "the array does not begin: {run}");
        assert!(self.succeeded() < TASKS / 2, "too late to disturb the array");
        run
    }

    /// Starts a task of two seconds, and returns when it runs.
    fn start_sleeper(&self) -> Process {
        let run = self.master.weir(["run", "--allow", "clock"]).arg(guest("sleeper"));
        let run = run.args(["--", "2000"]).start();
        run.wait_for_stdout("sleeping");
        run
    }

    fn weir(&self, args: &str) -> Ran {
        self.master.weir(args.split(' ')).run()
    }

    fn state_of(&self, agent: &str) -> String {
        let agents = self.weir("cluster agents --json").exited_with(0).json();
        let agents = agents.as_array().expect("agents").clone();
        let named = agents.iter().find(|known| known["name"] == agent).expect("a known agent");
        named["state"].as_str().expect("a word").to_owned()
    }

    fn succeeded(&self) -> u32 {
        let jobs = self.master.weir(["job", "ls", "--json"]).run().exited_with(0).json();
        jobs[0]["succeeded"].as_u64().unwrap_or(0) as u32
    }
}

/// Each task has succeeded, once, with the output that only it has.
fn assert_whole(ran: Ran) {
    let lines = ran.exited_with(0).json_lines();
    let (job, tasks) = lines.split_last().expect("lines");
    let mut seen = BTreeSet::new();
    for line in tasks {
        let task = line["task"].as_u64().expect("a task's index");
        let text = line["stdout"]["text"].as_str().expect("text");
        assert!(text.starts_with(&format!("task {task} checksum ")), "{line}");
        assert!(seen.insert(task), "task {task} has two results");
    }
    assert_eq!(seen.len(), TASKS as usize);
    assert_eq!((&job["status"], &job["succeeded"]), (&"succeeded".into(), &TASKS.into()));
}

#[test]
fn an_array_is_spread_over_the_agents() {
    let parts = Parts::start(2);

    let run = parts.start_array();
    let mut status = Value::Null;
    let both = poll(PATIENCE, || {
        status = parts.master.weir(["status", "--json"]).run().exited_with(0).json();
        let agents = status["agents"].as_array().expect("agents");
        agents.iter().all(|agent| agent["used_cpu_millis"] == 1000)
    });

    assert!(both, "an agent has nothing to do: {status:#}");
    assert_whole(run.wait());
}

#[test]
fn an_agent_that_is_killed_in_the_middle_of_an_array_costs_no_result() {
    let mut parts = Parts::start(2);

    let run = parts.start_array();
    parts.agents[0].kill();

    assert_whole(run.wait());
    parts.master.wait_for_agents(1);
}

#[test]
fn a_master_that_is_killed_in_the_middle_of_an_array_goes_on_with_its_agents() {
    let parts = Parts::start(2);
    let run = parts.start_array();

    let Parts { master, agents: _running, data } = parts;
    let address = master.address().to_owned();
    master.kill();
    let master = Server::master(&data.path().join("master"), &address);

    assert_whole(run.wait());
    master.wait_for_agents(2);
}

#[test]
fn a_job_waits_for_an_agent_and_says_so() {
    let parts = Parts::start(0);

    let run = parts.master.weir(["run"]).arg(guest("echo")).args(["--", "at last"]).start();
    let mut reason = String::new();
    let waits = poll(PATIENCE, || {
        let shown = parts.master.weir(["job", "show", "1", "--json"]).run();
        // The job may not be there yet.
        if shown.code() == Some(0) {
            reason = shown.json()["waiting"][0].as_str().unwrap_or_default().to_owned();
        }
        !reason.is_empty()
    });
    let _agent = parts.master.start_agent("late", &parts.data.path().join("late"), 1);

    assert!(waits && reason.contains("agent"), "{reason:?}");
    assert_eq!(run.wait().exited_with(0).stdout_text(), "at last\n");
}

#[test]
fn an_agent_that_is_stopped_is_not_waited_for_and_may_come_back() {
    let mut parts = Parts::start(1);
    let agent = parts.agents.pop().expect("an agent");

    agent.terminate();
    agent.wait().exited_with(0);
    // It has said so: nobody waits for signs of life.
    assert_eq!(parts.state_of("agent-0"), "left");
    let _again = parts.master.start_agent("agent-0", &parts.data.path().join("agent-0"), 1);
    parts.master.wait_for_agents(1);

    let echo = parts.master.weir(["run"]).arg(guest("echo")).args(["--", "back"]).run();
    assert_eq!(echo.exited_with(0).stdout_text(), "back\n");
}

#[test]
fn an_agent_that_is_stopped_in_the_middle_of_an_array_gives_its_tasks_back() {
    let mut parts = Parts::start(2);
    let run = parts.start_array();

    let agent = parts.agents.remove(0);
    let asked = Instant::now();
    agent.terminate();
    agent.wait().exited_with(0);
    assert!(asked.elapsed() < Duration::from_secs(3), "it took {:?}", asked.elapsed());
    assert_eq!(parts.state_of("agent-0"), "left");

    assert_whole(run.wait());
}

#[test]
fn an_agent_that_drains_finishes_what_it_runs_and_stops() {
    let mut parts = Parts::start(1);
    let run = parts.start_sleeper();
    let agent = parts.agents.pop().expect("an agent");

    let told = parts.weir("cluster drain agent-0").exited_with(0).stdout_text();
    assert!(told.ends_with("agent-0 leaves when what it runs has ended\n"), "{told}");
    assert_eq!(parts.state_of("agent-0"), "draining");
    let waiting = parts.master.weir(["run"]).arg(guest("echo")).args(["--", "later"]).start();
    let told = poll(PATIENCE, || {
        parts.weir("job show 2").stdout_text().contains("every agent is about to leave")
    });
    assert!(told, "{waiting}");

    run.wait().exited_with(0);
    agent.wait().exited_with(0);
    assert_eq!(parts.state_of("agent-0"), "left");
    let events = parts.weir("events").exited_with(0).stdout_text();
    assert!(events.contains("is to leave") && events.contains("\"agent-0\" left"), "{events}");

    let _again = parts.master.start_agent("agent-0", &parts.data.path().join("agent-0"), 1);
    assert_eq!(waiting.wait().exited_with(0).stdout_text(), "later\n");
    parts.weir("cluster drain agent-0 --wait").exited_with(0);
    assert_eq!(parts.state_of("agent-0"), "left");
}

#[test]
fn an_agent_that_drains_may_be_told_to_stay() {
    let parts = Parts::start(1);
    let run = parts.start_sleeper();

    parts.weir("cluster drain agent-0").exited_with(0);
    parts.weir("cluster drain agent-0 --cancel").exited_with(0);
    run.wait().exited_with(0);

    let echo = parts.master.weir(["run"]).arg(guest("echo")).args(["--", "here"]).run();
    assert_eq!(echo.exited_with(0).stdout_text(), "here\n");
    assert_eq!(parts.state_of("agent-0"), "live");
}

#[test]
fn whoever_drains_what_is_not_there_is_told() {
    let mut parts = Parts::start(1);
    parts.weir("cluster drain nobody").exited_with(125).says(&["no agent", "weir cluster agents"]);
    let agent = parts.agents.pop().expect("an agent");
    agent.terminate();
    agent.wait().exited_with(0);
    parts.weir("cluster drain agent-0").exited_with(125).says(&["agent-0", "left"]);
}
