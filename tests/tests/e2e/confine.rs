//! Servers that give up what they do not need: what they say of it, that it holds, and that tasks run.

use std::fs;

use weir_tests::{
    cluster::{PATIENCE, Process, Server, Weir, poll},
    guests::guest,
};

/// An agent that has begun, beside its master.
struct Started {
    agent: Process,
    master: Server,
    _data: tempfile::TempDir,
}

fn start(flags: &[&str], change: impl FnOnce(Weir) -> Weir) -> Started {
    let data = tempfile::tempdir().expect("a directory");
    let master = Server::master(&data.path().join("master"), "127.0.0.1:0");
    let weir = master.weir(["agent", "--cores", "1", "--memory", "1GiB"]).args(flags);
    // Nobody made this one yet.
    let weir = weir.arg("--data-dir").arg(data.path().join("new/agent"));
    let agent = change(weir).start();
    master.wait_for_agents(1);
    Started { agent, master, _data: data }
}

impl Started {
    /// What it says of itself at its start.
    fn said(&self) -> String {
        self.agent.wait_for_stdout("Ctrl-C stops it");
        self.agent.stdout()
    }

    /// A line of what the kernel knows of it.
    fn status(&self, name: &str) -> String {
        let status = format!("/proc/{}/status", self.agent.id());
        let status = fs::read_to_string(status).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the kernel tells it").trim().to_owned()
    }

    /// A task with an input and an output of its own, of a module that is compiled for it.
    fn runs_tasks(&self) {
        let ran = self.master.weir(["run", "--json"]).arg(guest("echo")).run();
        ran.exited_with(0);
    }
}

#[test]
fn an_agent_says_what_it_gave_up_and_runs_tasks() {
    let started = start(&[], |weir| weir);
    let said = started.said();
    started.runs_tasks();
    if said.contains("; no ") {
        return super::skipped("an_agent_says_what_it_gave_up_and_runs_tasks", &said);
    }
    assert!(said.contains("; confined by Landlock "), "{said}");
    assert!(said.contains(" and seccomp; Ctrl-C"), "{said}");
    assert_eq!((&*started.status("Seccomp:"), &*started.status("NoNewPrivs:")), ("2", "1"));
}

#[test]
fn an_agent_that_is_to_give_up_nothing_says_so() {
    let started = start(&["--confine", "off"], |weir| weir);
    assert!(started.said().contains("; not confined; Ctrl-C"), "{}", started.said());
    assert_eq!(started.status("NoNewPrivs:"), "0");
    started.runs_tasks();
}

#[test]
fn an_agent_without_landlock_says_so_and_runs_tasks() {
    let started = start(&[], Weir::without_landlock);
    let said = started.said();
    assert!(said.contains("; confined by seccomp; no Landlock: this kernel has none"), "{said}");
    assert!(started.agent.stderr().contains("no Landlock"), "{}", started.agent.stderr());
    started.runs_tasks();
}

#[test]
fn a_temporary_cluster_removes_its_data_although_it_is_confined() {
    let temporary = tempfile::tempdir().expect("a directory");
    let entries = || fs::read_dir(temporary.path()).expect("a directory").count();
    let weir = Weir::new(["dev", "--ephemeral", "--listen", "127.0.0.1:0", "--cores", "1"]);
    let dev = weir.args(["--memory", "1GiB"]).env("TMPDIR", temporary.path()).start();
    dev.wait_for_stdout("Ctrl-C stops it");
    assert_eq!(entries(), 1);
    dev.interrupt();
    dev.wait().exited_with(0);
    assert!(poll(PATIENCE, || entries() == 0), "it leaves its directory behind");
}
